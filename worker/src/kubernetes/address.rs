//! Where an application answers.

use serde_json::Value;

use super::cluster::{Cluster, Key};
use super::error::KubernetesError;
use super::kind::Kind;
use super::render::hostnames;
use super::settings::{ClusterSettings, Expose, Tls};
use super::wanted::Wanted;

/// What is known of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// This is it, if there is any.
    Known(Option<String>),
    /// The load balancer has none yet.
    Awaited,
}

/// The address of the application as it is exposed.
pub(super) async fn of(cluster: &Cluster, wanted: &Wanted) -> Result<Address, KubernetesError> {
    match cluster.settings().expose {
        Expose::Nothing => Ok(Address::Known(None)),
        Expose::Ingress => Ok(Address::Known(by_name(cluster.settings(), wanted))),
        Expose::LoadBalancer => {
            let (namespace, app) = (wanted.namespace(), wanted.app());
            let key = Key { kind: Kind::Service, namespace: &namespace, name: &app };
            let service = cluster.get(key).await?.unwrap_or_default();
            Ok(by_load_balancer(&service, wanted.port)
                .map_or(Address::Awaited, |url| Address::Known(Some(url))))
        }
    }
}

fn by_name(settings: &ClusterSettings, wanted: &Wanted) -> Option<String> {
    let scheme = match settings.tls {
        Tls::Nothing => "http",
        Tls::Issuer(_) | Tls::Secret(_) => "https",
    };
    hostnames(wanted, settings).first().map(|host| format!("{scheme}://{host}"))
}

/// The first address of the Service's load balancer: some clouds give an IP, others a host name. Pure.
fn by_load_balancer(service: &Value, port: u16) -> Option<String> {
    let entry = &service["status"]["loadBalancer"]["ingress"][0];
    let host = entry["ip"].as_str().or_else(|| entry["hostname"].as_str()).filter(|host| !host.is_empty())?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Some(if port == 80 { format!("http://{host}") } else { format!("http://{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_load_balancer_has_an_address_or_a_name_or_neither_yet() {
        let service = |entry: Value| json!({ "status": { "loadBalancer": { "ingress": [entry] } } });
        let of = |entry: Value, port| by_load_balancer(&service(entry), port);
        assert_eq!(of(json!({ "ip": "192.0.2.7" }), 8080).as_deref(), Some("http://192.0.2.7:8080"));
        assert_eq!(of(json!({ "ip": "2001:db8::1" }), 80).as_deref(), Some("http://[2001:db8::1]"));
        assert_eq!(of(json!({ "hostname": "lb.example" }), 80).as_deref(), Some("http://lb.example"));
        assert_eq!(of(json!({}), 80), None);
        assert_eq!(by_load_balancer(&json!({}), 80), None);
    }
}
