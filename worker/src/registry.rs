//! What a registry says of an image: its digest, by which it is run, and the port it exposes. Registries on this machine
//! are asked by http, all others by https, as Docker does.

use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use secrecy::ExposeSecret as _;
use slipway_common::failure::FailureClass;
use slipway_common::model::ImageReference;

use crate::kubernetes::PullCredential;

/// Deadline of asking for one image.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An image that cannot move any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// `name@sha256:…`.
    pub(crate) by_digest: String,
    /// `sha256:…`.
    pub(crate) digest: String,
    /// The one port the image exposes, when the registry was asked and there is one.
    pub(crate) port: Option<u16>,
}

/// Why an image could not be resolved. Messages hold no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// There is no such image.
    #[error("image {image} does not exist")]
    NotFound { image: String },
    /// The registry refuses the credentials, or wants some.
    #[error("the registry of {image} refused access")]
    Unauthorized { image: String },
    /// The registry cannot be asked.
    #[error("the registry of {image} cannot be asked")]
    Unavailable {
        image: String,
        #[source]
        source: Box<OciDistributionError>,
    },
    /// The registry did not answer in time.
    #[error("the registry of {image} gave no answer within {limit_s} s")]
    TimedOut { image: String, limit_s: u64 },
    /// The reference cannot be understood.
    #[error("image {image} cannot be asked for: {reason}")]
    Invalid { image: String, reason: String },
}

impl RegistryError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "image_not_found",
            Self::Unauthorized { .. } => "registry_unauthorized",
            Self::Unavailable { .. } => "registry_unavailable",
            Self::TimedOut { .. } => "registry_timeout",
            Self::Invalid { .. } => "invalid_input",
        }
    }

    pub(crate) fn class(&self) -> FailureClass {
        match self {
            Self::Unavailable { .. } | Self::TimedOut { .. } => FailureClass::Transient,
            Self::NotFound { .. } | Self::Unauthorized { .. } | Self::Invalid { .. } => {
                FailureClass::Permanent
            }
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "Check the image's name and tag.",
            Self::Unauthorized { .. } => "Store credentials for this registry, or check those stored.",
            Self::Unavailable { .. } | Self::TimedOut { .. } => {
                "Check that the registry can be reached from the worker."
            }
            Self::Invalid { .. } => "Correct the reference.",
        }
    }
}

/// The host of the registry an image is at, with its port if it has one.
pub(crate) fn server_of(image: &str) -> Option<String> {
    let reference: Reference = image.parse().ok()?;
    Some(reference.registry().to_owned())
}

/// Pins an image to its digest. One that has a digest already is asked for only where its port is not known.
pub(crate) async fn resolve(
    image: &ImageReference,
    credential: Option<&PullCredential>,
) -> Result<Resolved, RegistryError> {
    resolve_within(image, credential, TIMEOUT).await
}

/// Pins an image to its digest, as [`resolve`] does, or gives up after `limit`.
pub(crate) async fn resolve_within(
    image: &ImageReference,
    credential: Option<&PullCredential>,
    limit: Duration,
) -> Result<Resolved, RegistryError> {
    let reference = parse(image)?;
    if let Some(digest) = reference.digest() {
        return Ok(Resolved {
            by_digest: by_digest(&reference, digest),
            digest: digest.to_owned(),
            port: None,
        });
    }
    let asked = tokio::time::timeout(limit, ask(&reference, credential)).await;
    let name = image.to_string();
    match asked {
        Ok(Ok((digest, port))) => Ok(Resolved { by_digest: by_digest(&reference, &digest), digest, port }),
        Ok(Err(error)) => Err(of_error(name, error)),
        Err(_elapsed) => Err(RegistryError::TimedOut { image: name, limit_s: limit.as_secs() }),
    }
}

async fn ask(
    reference: &Reference,
    credential: Option<&PullCredential>,
) -> Result<(String, Option<u16>), OciDistributionError> {
    let registry = reference.resolve_registry();
    let protocol = if is_loopback(registry) { ClientProtocol::Http } else { ClientProtocol::Https };
    let client = Client::new(ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_TIMEOUT),
        ..ClientConfig::default()
    });
    let auth = match credential.filter(|credential| credential.server == reference.registry()) {
        Some(credential) => {
            RegistryAuth::Basic(credential.username.clone(), credential.password.expose_secret().to_owned())
        }
        None => RegistryAuth::Anonymous,
    };
    let digest = client.fetch_manifest_digest(reference, &auth).await?;
    // The port is a courtesy: an image without a configuration for this platform runs all the same.
    let config = client.pull_manifest_and_config(reference, &auth).await.ok().map(|(_, _, config)| config);
    Ok((digest, config.and_then(|config| exposed_port(&config))))
}

/// The one port of the image's configuration; none when there are several. Pure.
fn exposed_port(config: &str) -> Option<u16> {
    let config: serde_json::Value = serde_json::from_str(config).ok()?;
    let mut ports = config["config"]["ExposedPorts"].as_object()?.keys();
    let (first, None) = (ports.next()?, ports.next()) else { return None };
    first.strip_suffix("/tcp").unwrap_or(first).parse().ok()
}

fn parse(image: &ImageReference) -> Result<Reference, RegistryError> {
    image.as_str().parse().map_err(|error: oci_client::ParseError| RegistryError::Invalid {
        image: image.to_string(),
        reason: error.to_string(),
    })
}

fn by_digest(reference: &Reference, digest: &str) -> String {
    format!("{}/{}@{digest}", reference.registry(), reference.repository())
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _port)| host);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn of_error(image: String, error: OciDistributionError) -> RegistryError {
    if is_missing(&error) {
        RegistryError::NotFound { image }
    } else if is_refused(&error) {
        RegistryError::Unauthorized { image }
    } else {
        RegistryError::Unavailable { image, source: Box::new(error) }
    }
}

fn is_missing(error: &OciDistributionError) -> bool {
    const CODES: [OciErrorCode; 3] =
        [OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound];
    matches!(error, OciDistributionError::ImageManifestNotFoundError(_))
        || matches!(error, OciDistributionError::ServerError { code: 404, .. })
        || says(error, &CODES)
}

fn is_refused(error: &OciDistributionError) -> bool {
    const CODES: [OciErrorCode; 2] = [OciErrorCode::Unauthorized, OciErrorCode::Denied];
    matches!(
        error,
        OciDistributionError::AuthenticationFailure(_) | OciDistributionError::UnauthorizedError { .. }
    ) || says(error, &CODES)
}

/// Whether the registry gives one of these codes as its reason.
fn says(error: &OciDistributionError, codes: &[OciErrorCode]) -> bool {
    matches!(error, OciDistributionError::RegistryError { envelope, .. }
        if envelope.errors.iter().any(|error| codes.contains(&error.code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageReference {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn what_has_a_digest_needs_no_registry() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let resolved =
            resolve(&image(&format!("registry.invalid/team/shop:1@{digest}")), None).await.unwrap();
        assert_eq!(resolved.by_digest, format!("registry.invalid/team/shop@{digest}"));
        assert_eq!(resolved.digest, digest);
    }

    #[tokio::test]
    async fn a_registry_that_is_away_is_asked_again() {
        let error = resolve(&image("127.0.0.1:1/shop:1"), None).await.unwrap_err();
        assert_eq!((error.code(), error.class()), ("registry_unavailable", FailureClass::Transient));
    }

    #[test]
    fn only_registries_on_this_machine_are_asked_by_http() {
        assert!(is_loopback("127.0.0.1:5000") && is_loopback("localhost") && is_loopback("localhost:5000"));
        assert!(!is_loopback("registry.example.com") && !is_loopback("10.0.0.1:5000"));
    }

    #[test]
    fn images_are_at_the_registry_they_name() {
        for (image, server) in [
            ("registry.example.com:5000/team/shop:1", "registry.example.com:5000"),
            ("localhost/shop", "localhost"),
            ("redis", "docker.io"),
        ] {
            assert_eq!(server_of(image).as_deref(), Some(server));
        }
        assert_eq!(server_of("not an image"), None);
    }

    #[test]
    fn one_exposed_port_is_the_port() {
        let of = |ports: &str| exposed_port(&format!("{{\"config\":{{\"ExposedPorts\":{ports}}}}}"));
        assert_eq!(of("{\"8080/tcp\":{}}"), Some(8080));
        assert_eq!(of("{\"80/tcp\":{},\"443/tcp\":{}}"), None);
        assert_eq!(exposed_port("{}"), None);
    }
}
