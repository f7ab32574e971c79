//! Secrets: environment variables, and the credential of the registry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::super::kind::Kind;
use super::super::wanted::{PullCredential, Variables, Wanted};
use super::Manifest;

/// Name of the secret nodes pull images with.
pub(super) const REGISTRY: &str = "slipway-registry";

/// The variables of `owner`, if it has any. Every version is an object of its own, so that pods of the version before
/// find theirs while they are replaced.
pub(super) fn of_variables(wanted: &Wanted, owner: &str, variables: &Variables) -> Option<Manifest> {
    let name = name(owner, variables)?;
    let data: Map<String, Value> = variables
        .values
        .iter()
        .map(|(name, value)| (name.clone(), json!(STANDARD.encode(value.expose_secret()))))
        .collect();
    Some(Manifest::new(
        Kind::Secret,
        wanted,
        &name,
        json!({ "type": "Opaque", "immutable": true, "data": data }),
    ))
}

/// Name of the secret with the variables of `owner`, if it has any.
pub(super) fn name(owner: &str, variables: &Variables) -> Option<String> {
    let version = variables.hash.get(..10).unwrap_or(&variables.hash);
    (!variables.values.is_empty()).then(|| format!("{owner}-env-{version}"))
}

/// The credential of the registry, as nodes take it.
pub(super) fn of_registry(wanted: &Wanted, pull: &PullCredential) -> Manifest {
    let password = pull.password.expose_secret();
    let auth = STANDARD.encode(format!("{}:{password}", pull.username));
    let config = json!({
        "auths": { &pull.server: { "username": pull.username, "password": password, "auth": auth } }
    });
    let data = json!({ ".dockerconfigjson": STANDARD.encode(config.to_string()) });
    let body = json!({ "type": "kubernetes.io/dockerconfigjson", "data": data });
    Manifest::new(Kind::Secret, wanted, REGISTRY, body)
}
