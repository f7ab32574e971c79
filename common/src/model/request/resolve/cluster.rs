//! The cluster of a request: the target that has the address it names, and the token it brings.
//!
//! An address is looked up among those of the configured targets, and nothing is ever sent to any other:
//! otherwise whoever may deploy could have Slipway ask any server in its reach.

use secrecy::ExposeSecret as _;

use super::{Errors, ResolveContext};
use crate::model::request::ClusterRequest;
use crate::model::{Project, ServerAddress, TargetName};
use crate::secrets::Sealed;

/// Longest token of a cluster.
pub const CLUSTER_TOKEN_MAX_BYTES: usize = 16 * 1024;
/// Path of the address.
const SERVER: &str = "cluster.server";
/// Path of the token.
const TOKEN: &str = "cluster.token";

/// Place under which the cluster token of a request is sealed: it opens for this project on this target only.
#[must_use]
pub fn cluster_token_context(project: &Project, target: &TargetName) -> String {
    format!("project/{}/cluster-token/{target}", project.slug)
}

/// The target whose API server has this address.
pub(super) fn target_at(
    server: &str,
    context: &ResolveContext<'_>,
    errors: &mut Errors,
) -> Option<TargetName> {
    let found = targets_at(server, context, errors);
    errors.check(SERVER, found.len() <= 1, || {
        let names = found.iter().map(|target| target.as_str()).collect::<Vec<_>>().join(", ");
        format!("is the address of several targets; give one of them as `target`: {names}")
    });
    found.first().map(|target| (*target).clone())
}

/// Checks that the API server of `target`, which the request names too, has this address.
pub(super) fn check_server(
    server: &str,
    target: &TargetName,
    context: &ResolveContext<'_>,
    errors: &mut Errors,
) {
    let found = targets_at(server, context, errors);
    errors.check(SERVER, found.is_empty() || found.contains(&target), || {
        "is the address of another target than `target`; give one of the two".to_owned()
    });
}

/// The targets whose API server has this address. That there is none is an error of the request.
fn targets_at<'a>(server: &str, context: &ResolveContext<'a>, errors: &mut Errors) -> Vec<&'a TargetName> {
    let Some(wanted) = errors.take(SERVER, server.parse::<ServerAddress>()) else { return Vec::new() };
    let found = context.servers.iter().filter(|(_, address)| *address == wanted);
    let found: Vec<&TargetName> = found.map(|(target, _)| target).collect();
    errors.check(SERVER, !found.is_empty(), || {
        "no configured target has this address: it must be the setting `server` of a `[kubernetes.NAME]`"
            .to_owned()
    });
    found
}

/// The token, sealed.
pub(super) fn token(
    request: Option<&ClusterRequest>,
    project: Option<&Project>,
    target: Option<&TargetName>,
    context: &ResolveContext<'_>,
    errors: &mut Errors,
) -> Option<Sealed> {
    let token = request?.token.as_ref()?.secret();
    let text = token.expose_secret();
    let fits = (1..=CLUSTER_TOKEN_MAX_BYTES).contains(&text.len());
    errors.check(TOKEN, fits && text.bytes().all(|byte| byte.is_ascii_graphic()), || {
        format!("must be 1 to {CLUSTER_TOKEN_MAX_BYTES} printable ASCII characters")
    });
    let is_for_cluster = target.is_none_or(|target| context.clusters.contains(target));
    errors.check(TOKEN, is_for_cluster, || {
        "is for Kubernetes targets; the target of this request is none".to_owned()
    });
    let place = cluster_token_context(project?, target?);
    errors.take(TOKEN, context.sealer.seal(&place, token))
}
