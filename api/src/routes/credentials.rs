//! `/credentials`: secrets for repositories and registries. They go in and never come out.

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use slipway_common::model::CredentialName;
use slipway_common::model::request::InvalidField;
use slipway_common::record::{Record, StoredCredential};
use slipway_common::secrets::SecretText;

use crate::body;
use crate::refusal::{Refusal, RequestPart};
use crate::server::Shared;
use crate::view::{CredentialList, CredentialView};

/// Most credentials that are stored.
const CREDENTIALS_MAX: usize = 1_000;
/// Longest user name.
const USERNAME_MAX_BYTES: usize = 255;
/// Longest host with port.
const HOST_MAX_BYTES: usize = 260;

/// A credential to store.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialRequest {
    /// The secret: a token or a password. Never shown again.
    secret: SecretText,
    /// User name to send with it; most forges accept any.
    #[serde(default)]
    username: Option<String>,
    /// The only host it may be sent to.
    #[serde(default)]
    #[schema(example = "gitlab.com")]
    host: Option<String>,
}

/// Place under which a credential's secret is sealed.
fn context(name: &CredentialName) -> String {
    format!("credential/{name}")
}

/// Lists the stored credentials, without their secrets.
#[utoipa::path(
    get, path = "/credentials", tag = "credentials", operation_id = "list_credentials",
    responses((status = 200, description = "All credentials", body = CredentialList))
)]
pub(crate) async fn list(shared: web::Data<Shared>) -> Result<HttpResponse, Refusal> {
    let stored = shared.backend.store.credentials().await?;
    let data: Vec<CredentialView> = stored.iter().map(CredentialView::from).collect();
    Ok(HttpResponse::Ok().json(CredentialList { total: data.len(), data }))
}

/// Shows a stored credential, without its secret.
#[utoipa::path(
    get, path = "/credentials/{name}", tag = "credentials", operation_id = "show_credential",
    params(("name" = String, Path, description = "The credential")),
    responses((status = 200, description = "The credential", body = CredentialView))
)]
pub(crate) async fn show(
    shared: web::Data<Shared>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let stored = find(&shared, &parse_name(&name)?).await?;
    Ok(HttpResponse::Ok().json(CredentialView::from(&stored)))
}

/// Stores a credential or replaces it.
#[utoipa::path(
    put, path = "/credentials/{name}", tag = "credentials", operation_id = "store_credential",
    params(("name" = String, Path, description = "The credential")),
    request_body(content = CredentialRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Replaced", body = CredentialView),
        (status = 201, description = "Stored", body = CredentialView),
        (status = 409, description = "There are too many", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn store(
    shared: web::Data<Shared>,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let name = parse_name(&name)?;
    let wanted: CredentialRequest = body::json(&request, payload, shared.body_limits()).await?;
    check(&wanted, shared.settings.limits.token_max_bytes)?;
    let known = shared.backend.store.credentials().await?;
    let replaces = known.iter().any(|stored| stored.name == name);
    if !replaces && known.len() >= CREDENTIALS_MAX {
        return Err(Refusal::conflict("too_many_credentials", format!("{CREDENTIALS_MAX} are stored.")));
    }
    let stored = StoredCredential {
        secret: shared.sealer.seal(&context(&name), wanted.secret.secret())?,
        name,
        username: wanted.username,
        host: wanted.host.map(|host| host.to_ascii_lowercase()),
        updated_at: Timestamp::now(),
    };
    let view = CredentialView::from(&stored);
    shared.backend.record(&Record::CredentialStored(stored)).await?;
    Ok(if replaces { HttpResponse::Ok() } else { HttpResponse::Created() }.json(view))
}

/// Deletes a credential.
#[utoipa::path(
    delete, path = "/credentials/{name}", tag = "credentials", operation_id = "delete_credential",
    params(("name" = String, Path, description = "The credential")),
    responses((status = 204, description = "Deleted"))
)]
pub(crate) async fn delete(
    shared: web::Data<Shared>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let name = find(&shared, &parse_name(&name)?).await?.name;
    shared.backend.record(&Record::CredentialDeleted { name }).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn find(shared: &Shared, name: &CredentialName) -> Result<StoredCredential, Refusal> {
    let stored = shared.backend.store.credential(name).await?;
    stored.ok_or(Refusal::NotFound { what: "credential" })
}

fn parse_name(text: &str) -> Result<CredentialName, Refusal> {
    text.parse().map_err(|error: slipway_common::model::NameError| Refusal::Malformed {
        part: RequestPart::Path,
        field: "name",
        reason: format!("is not valid: {error}"),
    })
}

fn check(wanted: &CredentialRequest, secret_max_bytes: usize) -> Result<(), Refusal> {
    let mut errors = Vec::new();
    let mut refuse_unless = |holds: bool, field: &str, reason: String| {
        if !holds {
            errors.push(InvalidField { field: field.to_owned(), reason });
        }
    };
    let secret = wanted.secret.secret().expose_secret();
    let fits = (1..=secret_max_bytes).contains(&secret.len()) && !secret.chars().any(char::is_control);
    refuse_unless(
        fits,
        "secret",
        format!("must be 1 to {secret_max_bytes} bytes without control characters"),
    );
    let username = wanted.username.as_deref().is_none_or(|name| {
        (1..=USERNAME_MAX_BYTES).contains(&name.len())
            && !name.contains(':')
            && !name.chars().any(char::is_control)
    });
    refuse_unless(
        username,
        "username",
        format!("must be 1 to {USERNAME_MAX_BYTES} bytes without `:` and control characters"),
    );
    let host = wanted.host.as_deref().is_none_or(is_host);
    refuse_unless(host, "host", "must be a host name or address, with a port if need be".to_owned());
    if errors.is_empty() { Ok(()) } else { Err(Refusal::Fields(errors)) }
}

/// `host`, `host:port` or `[v6]:port`.
fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let is_v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match is_v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.starts_with(['-', '.']) && host.bytes().all(plain),
    };
    text.len() <= HOST_MAX_BYTES
        && host_fits
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_plain_names_or_addresses() {
        for good in ["gitlab.com", "gitlab.com:8443", "127.0.0.1:80", "[::1]", "[::1]:80", "a_b"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "a/b", "https://a", "a:b", "a:0", "-x", "a@b", "a b", "[::1", ":80", "a:1:2", "é"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
