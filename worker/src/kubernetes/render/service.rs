//! Services: the stable addresses of the application and of what it needs beside it.

use serde_json::{Value, json};

use super::super::kind::Kind;
use super::super::labels;
use super::super::settings::Expose;
use super::super::wanted::{Support, Wanted};
use super::Manifest;

/// The application's Service, on the port it listens on.
pub(super) fn of_app(wanted: &Wanted, expose: Expose) -> Manifest {
    let kind = match expose {
        Expose::LoadBalancer => "LoadBalancer",
        Expose::Ingress | Expose::Nothing => "ClusterIP",
    };
    let app = wanted.app();
    let spec = json!({ "type": kind, "selector": selector(&app), "ports": [port("http", wanted.port)] });
    Manifest::new(Kind::Service, wanted, &app, json!({ "spec": spec }))
}

/// A support container's Service. Without a known port it is a bare name for the container's address.
pub(super) fn of_support(wanted: &Wanted, support: &Support) -> Manifest {
    let spec = match support.port {
        Some(number) => json!({ "selector": selector(&support.name), "ports": [port("main", number)] }),
        None => json!({ "clusterIP": "None", "selector": selector(&support.name) }),
    };
    Manifest::new(Kind::Service, wanted, &support.name, json!({ "spec": spec }))
}

pub(super) fn selector(name: &str) -> Value {
    json!({ labels::NAME: name, labels::MANAGED_BY: labels::SLIPWAY })
}

fn port(name: &str, number: u16) -> Value {
    json!({ "name": name, "port": number, "targetPort": number, "protocol": "TCP" })
}
