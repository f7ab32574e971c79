//! The objects a deployment consists of. Pure: the same wish gives the same objects.
//!
//! Support images run in Deployments of their own, each with a Service of its name, and not as sidecars: there is one
//! database for all replicas, it goes on while the application is replaced, and it is reached by its name.

mod ingress;
mod pod;
mod secret;
mod service;
mod workload;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::error::KubernetesError;
use super::kind::Kind;
use super::labels;
use super::settings::{ClusterSettings, Expose};
use super::wanted::Wanted;

pub(super) use ingress::hostnames;

/// One object as it shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it, as the API server takes it.
    pub body: Value,
}

impl Manifest {
    fn new(kind: Kind, wanted: &Wanted, name: &str, rest: Value) -> Self {
        let resource = kind.resource();
        let mut body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name,
                "namespace": wanted.namespace(),
                "labels": object_labels(wanted, name),
            },
        });
        if let (Value::Object(body), Value::Object(rest)) = (&mut body, rest) {
            body.extend(rest);
        }
        Self { kind, name: name.to_owned(), body }
    }

    fn with_annotation(mut self, name: &str, value: &str) -> Self {
        self.body["metadata"]["annotations"][name] = json!(value);
        self
    }
}

/// All objects of `wanted` but the namespace and the inventory, in the order they are applied in.
///
/// # Errors
/// [`KubernetesError::Invalid`] when a support container has the application's name.
pub fn render(wanted: &Wanted, cluster: &ClusterSettings) -> Result<Vec<Manifest>, KubernetesError> {
    check_names(wanted)?;
    let app = wanted.app();
    let mut objects = vec![Manifest::new(
        Kind::ServiceAccount,
        wanted,
        &app,
        json!({ "automountServiceAccountToken": false }),
    )];
    objects.extend(wanted.pull.as_ref().map(|pull| secret::of_registry(wanted, pull)));
    for support in &wanted.supports {
        objects.extend(secret::of_variables(wanted, &support.name, &support.env));
        objects.push(service::of_support(wanted, support));
        objects.push(workload::of_support(wanted, support, cluster));
    }
    objects.extend(secret::of_variables(wanted, &app, &wanted.env));
    objects.push(service::of_app(wanted, cluster.expose));
    objects.push(workload::of_app(wanted, cluster));
    if cluster.expose == Expose::Ingress {
        objects.extend(ingress::of_app(wanted, cluster));
    }
    objects.sort_by_key(|object| object.kind);
    Ok(objects)
}

/// The namespace, with the marks that tell whose it is.
pub(super) fn namespace(wanted: &Wanted, cluster: &ClusterSettings) -> Value {
    let mut labels = object_labels(wanted, &wanted.app());
    for mode in ["enforce", "warn"] {
        labels[format!("pod-security.kubernetes.io/{mode}")] = json!(cluster.pod_security.as_str());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": wanted.namespace(), "labels": labels },
    })
}

/// The labels every object carries.
pub(super) fn object_labels(wanted: &Wanted, name: &str) -> Value {
    json!({
        labels::NAME: name,
        labels::MANAGED_BY: labels::SLIPWAY,
        labels::PROJECT: wanted.project.as_str(),
        labels::ENVIRONMENT: wanted.environment.as_str(),
    })
}

fn check_names(wanted: &Wanted) -> Result<(), KubernetesError> {
    let mut taken = BTreeSet::from([wanted.app()]);
    for support in &wanted.supports {
        if !taken.insert(support.name.clone()) {
            return Err(KubernetesError::Invalid {
                what: format!("the support name {}", support.name),
                rule: "different from the application's and from every other",
            });
        }
        if support.name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(KubernetesError::Invalid {
                what: format!("the support name {}", support.name),
                rule: "one that begins with a letter, as names of Services do",
            });
        }
    }
    Ok(())
}
