//! The credentials with which images are pulled: those of the deployment before those of its target. One goes to the
//! registry it is for and to no other.

use slipway_common::model::{CredentialName, DeploymentSpec};

use super::source_of::stored_credential;
use super::{Run, StageError};
use crate::docker::RegistryAuth;
use crate::kubernetes::PullCredential;
use crate::registry;
use crate::targets::Target;

/// User name beside a token that was stored without one.
const DEFAULT_USER: &str = "slipway";

/// The credentials of a deployment whose image is at the registry `server`, the first to be preferred. Its own is left out
/// when nothing says for which registry it is.
pub(super) async fn pull_credentials(
    run: &Run<'_>,
    spec: &DeploymentSpec,
    server: Option<&str>,
) -> Result<Vec<PullCredential>, StageError> {
    let mut credentials = Vec::new();
    if let Some(name) = &spec.pull_credential {
        credentials.extend(named(run, name, server).await?);
    }
    match run.tools.target(&spec.target)? {
        Target::Kubernetes(target) => {
            if let Some(name) = &target.cluster.settings().pull_credential {
                credentials.push(named(run, name, None).await?.ok_or_else(|| without_host(name))?);
            }
        }
        Target::Docker => credentials.extend(of_engine(run).await?),
    }
    Ok(credentials)
}

/// The one for the registry `server`.
pub(super) fn for_server<'a>(credentials: &'a [PullCredential], server: &str) -> Option<&'a PullCredential> {
    credentials.iter().find(|credential| credential.server == server)
}

/// The one for the registry of `image`, as the engine takes it.
pub(super) fn engine_auth(credentials: &[PullCredential], image: &str) -> Option<RegistryAuth> {
    let credential = for_server(credentials, &registry::server_of(image)?)?;
    Some(RegistryAuth {
        server: credential.server.clone(),
        username: credential.username.clone(),
        password: credential.password.clone(),
    })
}

/// The credential for the registry that the engine's images are pushed to, if one is configured.
pub(super) async fn of_engine(run: &Run<'_>) -> Result<Option<PullCredential>, StageError> {
    let docker = &run.tools.settings.docker;
    let (Some(registry), Some(name)) = (&docker.push_to, &docker.push_credential) else { return Ok(None) };
    let name: CredentialName = name.parse().map_err(|_| StageError::Refused {
        code: "credential_not_found",
        reason: "the setting `docker.push_credential` is not the name of a credential".to_owned(),
        hint: "Correct the setting and restart Slipway.",
    })?;
    let server = registry.split('/').next().unwrap_or(registry);
    open(run, &name, server.to_owned()).await.map(Some)
}

/// A stored credential; one that is bound to no host is for the registry `server`.
async fn named(
    run: &Run<'_>,
    name: &CredentialName,
    server: Option<&str>,
) -> Result<Option<PullCredential>, StageError> {
    let stored = run.tools.backend.store.credential(name).await.map_err(StageError::Store)?;
    let bound = stored.and_then(|stored| stored.host).map(|host| host.trim_end_matches('/').to_owned());
    match bound.or_else(|| server.map(str::to_owned)) {
        Some(server) => open(run, name, server).await.map(Some),
        None => Ok(None),
    }
}

fn without_host(name: &CredentialName) -> StageError {
    StageError::Refused {
        code: "credential_without_host",
        reason: format!("the credential `{name}` for pulling images does not exist, or is bound to no host"),
        hint: "Store it with the registry's host, and retry.",
    }
}

async fn open(run: &Run<'_>, name: &CredentialName, server: String) -> Result<PullCredential, StageError> {
    let (username, password) = stored_credential(run, name, Some(&server)).await?;
    Ok(PullCredential { server, username: username.unwrap_or_else(|| DEFAULT_USER.to_owned()), password })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(server: &str, username: &str) -> PullCredential {
        let password = "hunter2".into();
        PullCredential { server: server.to_owned(), username: username.to_owned(), password }
    }

    #[test]
    fn a_credential_goes_to_its_own_registry_only() {
        let own = [credential("registry.example.com", "own"), credential("registry.example.com", "target's")];
        let digest = format!("registry.example.com/team/shop@sha256:{}", "a".repeat(64));
        assert_eq!(engine_auth(&own, &digest).map(|auth| auth.username).as_deref(), Some("own"));
        for elsewhere in ["redis:7", "registry.example.com.evil.example/x", "registry.example.com:5000/x"] {
            assert!(engine_auth(&own, elsewhere).is_none(), "{elsewhere}");
        }
    }
}
