//! The objects the watches have told of, by kind and namespace.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::Value;

use super::super::drift::{self, Ownership, Ownerships};
use super::super::inventory::Owned;
use super::super::kind::Kind;
use super::super::labels;
use super::super::state::{ByName, Workloads};

/// Something of each object, by namespace and name.
type Kept<T> = HashMap<String, HashMap<String, T>>;

/// Objects of one kind. There may be thousands, so what is kept of each is small.
#[derive(Debug, Default)]
struct Objects {
    /// What tells how they fare, as JSON: a tenth of what the parsed values take.
    bodies: Kept<Box<[u8]>>,
    /// The host names they serve.
    hosts: Kept<Vec<String>>,
    /// Who owns their fields; of those that may be Slipway's.
    ownerships: Kept<Ownership>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    kinds: HashMap<Kind, OfKind>,
}

/// What was seen of one kind.
#[derive(Debug, Default)]
struct OfKind {
    objects: Objects,
    /// A list that is under way; it takes the place of `objects` when it is whole.
    listing: Option<Objects>,
    is_complete: bool,
}

impl Seen {
    /// Takes in what a watch tells; returns the namespaces in which something may have changed.
    pub(super) fn take(&mut self, kind: Kind, event: Event<DynamicObject>) -> Vec<String> {
        let of_kind = self.kinds.entry(kind).or_default();
        match event {
            Event::Init => {
                of_kind.listing = Some(Objects::default());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listing) = &mut of_kind.listing {
                    listing.insert(kind, object);
                }
                Vec::new()
            }
            Event::InitDone => of_kind.complete(),
            Event::Apply(object) => of_kind.objects.insert(kind, object).into_iter().collect(),
            Event::Delete(object) => of_kind.objects.remove(&object).into_iter().collect(),
        }
    }

    /// The workloads of a namespace, once each kind was listed.
    pub(super) fn workloads(&self, namespace: &str) -> Option<Workloads> {
        Some(Workloads {
            deployments: self.of(Kind::Deployment, namespace)?,
            replica_sets: self.of(Kind::ReplicaSet, namespace)?,
            pods: self.of(Kind::Pod, namespace)?,
        })
    }

    /// The namespaces with an Ingress for the host name.
    pub(super) fn namespaces_of(&self, hostname: &str) -> Vec<String> {
        let Some(of_kind) = self.kinds.get(&Kind::Ingress) else { return Vec::new() };
        let serving = of_kind.objects.hosts.iter().filter(|(_, ingresses)| {
            ingresses.values().flatten().any(|host| host.eq_ignore_ascii_case(hostname))
        });
        serving.map(|(namespace, _)| namespace.clone()).collect()
    }

    fn of(&self, kind: Kind, namespace: &str) -> Option<ByName> {
        let of_kind = self.kinds.get(&kind).filter(|of_kind| of_kind.is_complete)?;
        let there = of_kind.objects.bodies.get(namespace).into_iter().flatten();
        let parsed = there.filter_map(|(name, body)| {
            Some((name.clone(), Arc::new(serde_json::from_slice::<Value>(body).ok()?)))
        });
        Some(parsed.collect())
    }

    /// Who owns the fields of the objects in a namespace, once each kind in which drift is seen was listed.
    pub(super) fn ownerships(&self, namespace: &str) -> Option<Ownerships> {
        let mut found = Ownerships::new();
        for kind in drift::KINDS {
            let of_kind = self.kinds.get(&kind).filter(|of_kind| of_kind.is_complete)?;
            let there = of_kind.objects.ownerships.get(namespace).into_iter().flatten();
            found.extend(
                there.map(|(name, ownership)| (Owned { kind, name: name.clone() }, ownership.clone())),
            );
        }
        Some(found)
    }
}

impl OfKind {
    fn complete(&mut self) -> Vec<String> {
        self.is_complete = true;
        let Some(listed) = self.listing.take() else { return Vec::new() };
        let before = std::mem::replace(&mut self.objects, listed).bodies;
        let now = self.objects.bodies.keys().cloned();
        let touched: HashSet<String> = before.into_keys().chain(now).collect();
        touched.into_iter().collect()
    }
}

impl Objects {
    fn insert(&mut self, kind: Kind, mut object: DynamicObject) -> Option<String> {
        let (namespace, name) = (object.metadata.namespace.clone()?, object.metadata.name.clone()?);
        let managers = object.metadata.managed_fields.take().unwrap_or_default();
        if drift::KINDS.contains(&kind) && is_managed(&object) {
            let ownership = drift::ownership(kind, &managers);
            self.ownerships.entry(namespace.clone()).or_default().insert(name.clone(), ownership);
        }
        match kind {
            Kind::Deployment | Kind::ReplicaSet | Kind::Pod => {
                let body = serde_json::to_vec(&trimmed(kind, object)?).ok()?.into_boxed_slice();
                self.bodies.entry(namespace.clone()).or_default().insert(name, body);
            }
            Kind::Ingress => {
                self.hosts.entry(namespace.clone()).or_default().insert(name, hosts(&object.data));
            }
            Kind::Namespace
            | Kind::ConfigMap
            | Kind::ServiceAccount
            | Kind::Secret
            | Kind::Service
            | Kind::Event => {}
        }
        Some(namespace)
    }

    fn remove(&mut self, object: &DynamicObject) -> Option<String> {
        let (namespace, name) = (object.metadata.namespace.clone()?, object.metadata.name.as_ref()?);
        forget(&mut self.bodies, &namespace, name);
        forget(&mut self.hosts, &namespace, name);
        forget(&mut self.ownerships, &namespace, name);
        Some(namespace)
    }
}

fn forget<T>(kept: &mut Kept<T>, namespace: &str, name: &str) {
    let Some(there) = kept.get_mut(namespace) else { return };
    there.remove(name);
    if there.is_empty() {
        kept.remove(namespace);
    }
}

/// The hosts of an Ingress.
fn hosts(ingress: &Value) -> Vec<String> {
    let rules = ingress["spec"]["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    rules.iter().filter_map(|rule| rule["host"].as_str().map(str::to_owned)).collect()
}

fn is_managed(object: &DynamicObject) -> bool {
    let labels = object.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(labels::MANAGED_BY)).is_some_and(|by| by == labels::SLIPWAY)
}

/// The labels that tell whose an object is.
const KEPT_LABELS: [&str; 5] =
    [labels::NAME, labels::TEMPLATE_HASH, labels::MANAGED_BY, labels::PROJECT, labels::ENVIRONMENT];

/// What is kept of an object: what tells how it fares and whose it is.
fn trimmed(kind: Kind, object: DynamicObject) -> Option<Value> {
    let mut value = serde_json::to_value(object).ok()?;
    keep(&mut value, "/metadata/labels", &KEPT_LABELS);
    keep(&mut value, "/metadata/annotations", &[labels::REVISION]);
    match kind {
        Kind::Deployment | Kind::ReplicaSet => keep(&mut value, "/spec", &["replicas", "paused"]),
        Kind::Pod => {
            keep(&mut value, "/spec", &["restartPolicy", "containers", "initContainers"]);
            for among in ["/spec/containers", "/spec/initContainers"] {
                keep_of_each(&mut value, among, &["name", "image", "restartPolicy", "startupProbe"]);
            }
        }
        Kind::Ingress
        | Kind::Namespace
        | Kind::ConfigMap
        | Kind::ServiceAccount
        | Kind::Secret
        | Kind::Service
        | Kind::Event => {}
    }
    Some(value)
}

/// Removes all fields but these of the object at `path`.
fn keep(value: &mut Value, path: &str, fields: &[&str]) {
    if let Some(object) = value.pointer_mut(path).and_then(Value::as_object_mut) {
        object.retain(|name, _| fields.contains(&name.as_str()));
    }
}

/// The same of every object in the array at `path`.
fn keep_of_each(value: &mut Value, path: &str, fields: &[&str]) {
    for item in value.pointer_mut(path).and_then(Value::as_array_mut).into_iter().flatten() {
        keep(item, "", fields);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: Kind, namespace: &str, name: &str, rest: Value) -> DynamicObject {
        DynamicObject::new(name, &kind.resource()).within(namespace).data(rest)
    }

    #[test]
    fn a_namespace_is_known_once_every_kind_was_listed() {
        let mut seen = Seen::default();
        for kind in [Kind::Deployment, Kind::ReplicaSet] {
            seen.take(kind, Event::Init);
            seen.take(
                kind,
                Event::InitApply(object(kind, "shop", "web", json!({ "spec": { "template": 1 } }))),
            );
            assert_eq!(seen.take(kind, Event::InitDone), ["shop"]);
        }
        assert!(seen.workloads("shop").is_none());
        seen.take(Kind::Pod, Event::Init);
        seen.take(Kind::Pod, Event::InitDone);
        let workloads = seen.workloads("shop").unwrap();
        assert!(workloads.deployment("web")["spec"]["template"].is_null());
        assert!(seen.workloads("elsewhere").unwrap().deployment("web").is_null());
    }

    #[test]
    fn a_new_list_replaces_what_was_deleted_unseen() {
        let mut seen = Seen::default();
        let pod = |name: &str| object(Kind::Pod, "shop", name, json!({}));
        for kind in [Kind::Deployment, Kind::ReplicaSet, Kind::Pod] {
            seen.take(kind, Event::Init);
            seen.take(kind, Event::InitDone);
        }
        assert_eq!(seen.take(Kind::Pod, Event::Apply(pod("a"))), ["shop"]);
        seen.take(Kind::Pod, Event::Init);
        seen.take(Kind::Pod, Event::InitApply(pod("b")));
        assert!(seen.workloads("shop").unwrap().pod("a").is_some(), "half a list changes nothing");
        seen.take(Kind::Pod, Event::InitDone);
        let workloads = seen.workloads("shop").unwrap();
        assert!(workloads.pod("a").is_none() && workloads.pod("b").is_some());
        seen.take(Kind::Pod, Event::Delete(pod("b")));
        assert!(seen.workloads("shop").unwrap().pod("b").is_none());
    }

    #[test]
    fn what_tells_how_an_object_fares_is_kept_and_the_rest_is_not() {
        let pod = json!({
            "spec": { "volumes": [1], "containers": [{ "name": "a", "image": "i", "env": [1] }] },
            "status": { "phase": "Running" },
        });
        let mut object = object(Kind::Pod, "shop", "web", pod);
        let of =
            |pairs: [(&str, &str); 2]| pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        object.metadata.labels = Some(of([(labels::NAME, "web"), ("tier", "x")]));
        object.metadata.annotations = Some(of([(labels::REVISION, "1"), ("other", "x")]));
        let kept = trimmed(Kind::Pod, object).unwrap();
        assert_eq!(kept["spec"], json!({ "containers": [{ "name": "a", "image": "i" }] }));
        assert_eq!(kept["status"], json!({ "phase": "Running" }));
        assert_eq!(kept["metadata"]["labels"], json!({ labels::NAME: "web" }));
        assert_eq!(kept["metadata"]["annotations"], json!({ labels::REVISION: "1" }));
    }

    #[test]
    fn host_names_are_found_whoever_serves_them() {
        let mut seen = Seen::default();
        let ingress = json!({ "spec": { "rules": [{ "host": "Shop.example" }, {}] } });
        seen.take(Kind::Ingress, Event::Apply(object(Kind::Ingress, "theirs", "x", ingress)));
        assert_eq!(seen.namespaces_of("shop.example"), ["theirs"]);
        assert!(seen.namespaces_of("other.example").is_empty());
    }
    #[test]
    fn ownership_is_known_of_slipways_objects_once_every_kind_was_listed() {
        let mut seen = Seen::default();
        let managers = json!([{ "manager": "slipway", "operation": "Apply", "fieldsV1": { "f:spec": {} } }]);
        let mut service = object(Kind::Service, "shop", "web", json!({}));
        service.metadata.managed_fields = serde_json::from_value(managers).unwrap();
        seen.take(Kind::Service, Event::Apply(service.clone()));
        service.metadata.labels = Some([(labels::MANAGED_BY.to_owned(), labels::SLIPWAY.to_owned())].into());
        service.metadata.name = Some("ours".to_owned());
        seen.take(Kind::Service, Event::Apply(service.clone()));
        for kind in drift::KINDS {
            assert!(seen.ownerships("shop").is_none());
            seen.take(kind, Event::InitDone);
        }
        let owned = Owned { kind: Kind::Service, name: "ours".to_owned() };
        let there = seen.ownerships("shop").unwrap();
        assert_eq!(there.keys().collect::<Vec<_>>(), [&owned]);
        assert!(!there[&owned].fields.is_empty());
        seen.take(Kind::Service, Event::Delete(service));
        assert!(seen.ownerships("shop").unwrap().is_empty());
    }
}
