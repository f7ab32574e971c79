//! The objects the watches have told of, by kind and namespace.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::Value;

use super::super::kind::Kind;
use super::super::state::{ByName, Workloads};

/// Objects of one kind by namespace.
type ByNamespace = HashMap<String, ByName>;

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    kinds: HashMap<Kind, OfKind>,
}

/// What was seen of one kind.
#[derive(Debug, Default)]
struct OfKind {
    objects: ByNamespace,
    /// A list that is under way; it takes the place of `objects` when it is whole.
    listing: Option<ByNamespace>,
    is_complete: bool,
}

impl Seen {
    /// Takes in what a watch tells; returns the namespaces in which something may have changed.
    pub(super) fn take(&mut self, kind: Kind, event: Event<DynamicObject>) -> Vec<String> {
        let of_kind = self.kinds.entry(kind).or_default();
        match event {
            Event::Init => {
                of_kind.listing = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                if let Some(listing) = &mut of_kind.listing {
                    insert(listing, kind, object);
                }
                Vec::new()
            }
            Event::InitDone => of_kind.complete(),
            Event::Apply(object) => insert(&mut of_kind.objects, kind, object).into_iter().collect(),
            Event::Delete(object) => remove(&mut of_kind.objects, &object).into_iter().collect(),
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
        let serving = of_kind.objects.iter().filter(|(_, ingresses)| {
            ingresses.values().any(|ingress| hosts(ingress).any(|host| host.eq_ignore_ascii_case(hostname)))
        });
        serving.map(|(namespace, _)| namespace.clone()).collect()
    }

    fn of(&self, kind: Kind, namespace: &str) -> Option<ByName> {
        let of_kind = self.kinds.get(&kind).filter(|of_kind| of_kind.is_complete)?;
        Some(of_kind.objects.get(namespace).cloned().unwrap_or_default())
    }
}

impl OfKind {
    fn complete(&mut self) -> Vec<String> {
        self.is_complete = true;
        let Some(listed) = self.listing.take() else { return Vec::new() };
        let before = std::mem::replace(&mut self.objects, listed);
        let touched: HashSet<String> = before.into_keys().chain(self.objects.keys().cloned()).collect();
        touched.into_iter().collect()
    }
}

fn hosts(ingress: &Value) -> impl Iterator<Item = &str> {
    let rules = ingress["spec"]["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    rules.iter().filter_map(|rule| rule["host"].as_str())
}

fn insert(objects: &mut ByNamespace, kind: Kind, object: DynamicObject) -> Option<String> {
    let (namespace, name) = (object.metadata.namespace.clone()?, object.metadata.name.clone()?);
    let kept = Arc::new(trimmed(kind, object)?);
    objects.entry(namespace.clone()).or_default().insert(name, kept);
    Some(namespace)
}

fn remove(objects: &mut ByNamespace, object: &DynamicObject) -> Option<String> {
    let (namespace, name) = (object.metadata.namespace.clone()?, object.metadata.name.as_ref()?);
    if let Some(there) = objects.get_mut(&namespace) {
        there.remove(name);
        if there.is_empty() {
            objects.remove(&namespace);
        }
    }
    Some(namespace)
}

/// What is kept of an object: thousands of them are held in memory.
fn trimmed(kind: Kind, mut object: DynamicObject) -> Option<Value> {
    object.metadata.managed_fields = None;
    let mut value = serde_json::to_value(object).ok()?;
    if matches!(kind, Kind::Deployment | Kind::ReplicaSet)
        && let Some(spec) = value["spec"].as_object_mut()
    {
        spec.remove("template");
    }
    Some(value)
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
    fn host_names_are_found_whoever_serves_them() {
        let mut seen = Seen::default();
        let ingress = json!({ "spec": { "rules": [{ "host": "Shop.example" }, {}] } });
        seen.take(Kind::Ingress, Event::Apply(object(Kind::Ingress, "theirs", "x", ingress)));
        assert_eq!(seen.namespaces_of("shop.example"), ["theirs"]);
        assert!(seen.namespaces_of("other.example").is_empty());
    }
}
