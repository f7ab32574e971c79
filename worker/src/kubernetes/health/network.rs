//! What leads traffic to pods: Service and Ingress.

use serde_json::Value;

use super::answer::{TroubleCode, Verdict};
use super::condition::{Condition, degraded, may_stay};
use super::json::{items, text, title};

/// The verdict on a Service. All types but `LoadBalancer` work from the moment they exist.
pub(super) fn service(object: &Value) -> Verdict {
    if text(object, &["spec", "type"]) != Some("LoadBalancer") {
        return Verdict::Ready;
    }
    let title = title("Service", object);
    if let Some(refused) = Condition::holding(object, "LoadBalancerPortsError") {
        let reason = format!("{title}: the load balancer cannot serve its ports: {}", refused.words());
        return degraded(TroubleCode::LoadBalancerFailed, reason, false);
    }
    if has_address(object) {
        return Verdict::Ready;
    }
    may_stay(format!("{title}: waits for a load balancer's address"))
}

/// The verdict on an Ingress.
pub(super) fn ingress(object: &Value) -> Verdict {
    if has_address(object) {
        return Verdict::Ready;
    }
    may_stay(format!("{}: no ingress controller has published an address for it", title("Ingress", object)))
}

/// Whether a load balancer or controller has taken the object up. Some publish an entry with neither `ip` nor
/// `hostname`, which is their way to say that it is served.
fn has_address(object: &Value) -> bool {
    items(object, &["status", "loadBalancer", "ingress"]).iter().any(Value::is_object)
}
