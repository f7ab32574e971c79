//! The Ingress: which host names lead to the application.

use serde_json::{Value, json};

use super::super::kind::Kind;
use super::super::names;
use super::super::settings::{ClusterSettings, Tls};
use super::super::wanted::Wanted;
use super::Manifest;

/// Annotation that has cert-manager issue the certificate.
const ISSUER: &str = "cert-manager.io/cluster-issuer";

/// All host names of the application: the one under the target's domain first, then its own.
pub(in super::super) fn hostnames(wanted: &Wanted, cluster: &ClusterSettings) -> Vec<String> {
    let under_domain =
        cluster.domain.as_ref().map(|domain| names::host(&wanted.app(), &wanted.namespace(), domain));
    let mut all: Vec<String> = under_domain.into_iter().collect();
    for hostname in &wanted.hostnames {
        if !all.contains(hostname) {
            all.push(hostname.clone());
        }
    }
    all
}

/// The application's Ingress, if it has any host name.
pub(super) fn of_app(wanted: &Wanted, cluster: &ClusterSettings) -> Option<Manifest> {
    let hostnames = hostnames(wanted, cluster);
    if hostnames.is_empty() {
        return None;
    }
    let app = wanted.app();
    let mut spec =
        json!({ "rules": hostnames.iter().map(|host| rule(host, &app, wanted.port)).collect::<Vec<_>>() });
    if let Some(class) = &cluster.ingress_class {
        spec["ingressClassName"] = json!(class);
    }
    let secret = match &cluster.tls {
        Tls::Nothing => None,
        Tls::Issuer(_) => Some(format!("{app}-tls")),
        Tls::Secret(name) => Some(name.clone()),
    };
    if let Some(secret) = secret {
        spec["tls"] = json!([{ "hosts": hostnames, "secretName": secret }]);
    }
    let ingress = Manifest::new(Kind::Ingress, wanted, &app, json!({ "spec": spec }));
    Some(match &cluster.tls {
        Tls::Issuer(issuer) => ingress.with_annotation(ISSUER, issuer),
        Tls::Nothing | Tls::Secret(_) => ingress,
    })
}

fn rule(host: &str, app: &str, port: u16) -> Value {
    let backend = json!({ "service": { "name": app, "port": { "number": port } } });
    json!({ "host": host, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } })
}
