//! `/tokens`: who may use the API. A token is shown once and kept as a hash.

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use slipway_common::model::CredentialName;
use slipway_common::record::{Record, StoredToken};
use slipway_common::secrets::{generate_token, token_sha256};

use crate::auth::{LOCAL_USER, User};
use crate::body;
use crate::idempotency::{Ask, ticket};
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::{TokenList, TokenView};

/// Most tokens there may be.
const TOKENS_MAX: usize = 1_000;

/// A token to create.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// Its name: letters, digits, `.`, `_` and `-`.
    #[schema(example = "ci")]
    name: String,
}

/// A new token, with its value: this is the one time it can be seen.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct NewToken {
    /// What is kept of it.
    #[serde(flatten)]
    view: TokenView,
    /// The token.
    #[schema(format = Password)]
    token: String,
}

/// Lists the tokens, without their values.
#[utoipa::path(
    get, path = "/tokens", tag = "tokens", operation_id = "list_tokens",
    responses((status = 200, description = "All tokens", body = TokenList))
)]
pub(crate) async fn list(shared: web::Data<Shared>) -> Result<HttpResponse, Refusal> {
    let stored = shared.backend.store.tokens().await?;
    let data: Vec<TokenView> = stored.iter().map(TokenView::from).collect();
    Ok(HttpResponse::Ok().json(TokenList { total: data.len(), data }))
}

/// Creates a token. Its value is shown in this answer alone.
#[utoipa::path(
    post, path = "/tokens", tag = "tokens", operation_id = "create_token",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "Requests under the same key are carried out once")),
    request_body(content = TokenRequest, content_type = "application/json"),
    responses(
        (status = 201, description = "Created", body = NewToken),
        (status = 409, description = "The name is taken, or there are too many", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    shared: web::Data<Shared>,
    user: User,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let wanted: TokenRequest = body::json(&request, payload, shared.body_limits()).await?;
    check_name(&wanted.name)?;
    let ask = Ask { user: &user.0, content: wanted.name.as_bytes(), deployment: None, job: None };
    let keyed = request.headers().contains_key("Idempotency-Key");
    let ticket =
        ticket(&request, ask, &shared.backend, &shared.sealer, shared.settings.idempotency_keep).await?;
    // Under a key the token follows from the key's reservation, so that a repetition gets the same one, and nobody
    // gets it again when the reservation is gone.
    let seed = || format!("{} {}", ticket.job, ticket.at);
    let token = if keyed { derived(&shared, &seed()) } else { generate_token()? };
    let (name, sha256) = (wanted.name, token_sha256(&token));
    let stored = StoredToken { name, sha256, created_at: ticket.at };
    let view = TokenView::from(&stored);
    let known = shared.backend.store.tokens().await?;
    if !known.iter().any(|token| token.sha256 == stored.sha256) {
        check_room(&known, &stored.name, ticket.repeated)?;
        shared.backend.record(&Record::TokenCreated(stored)).await?;
    }
    Ok(HttpResponse::Created().json(NewToken { view, token: token.expose_secret().to_owned() }))
}

/// A token that follows from `seed` and the installation's key: as hard to guess as the key.
fn derived(shared: &Shared, seed: &str) -> SecretString {
    SecretString::from(format!("slw_{}", shared.sealer.fingerprint(format!("api token {seed}").as_bytes())))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let valid = name.parse::<CredentialName>().is_ok();
    if valid && name != LOCAL_USER {
        Ok(())
    } else {
        Err(Refusal::field(
            "name",
            "must be 1 to 64 letters, digits, `.`, `_` and `-`, not starting with `.` or `-`, and not `local`",
        ))
    }
}

/// A repetition whose token is gone must not bring it back: it was revoked, or never made.
fn check_room(known: &[StoredToken], name: &str, repeated: bool) -> Result<(), Refusal> {
    if repeated {
        let detail = "The token of this Idempotency-Key does not exist; use a new key.";
        return Err(Refusal::conflict("token_gone", detail));
    }
    if known.iter().any(|token| token.name == name) {
        return Err(Refusal::conflict("token_exists", "A token of this name exists; revoke it first."));
    }
    if known.len() >= TOKENS_MAX {
        return Err(Refusal::conflict("too_many_tokens", format!("There are {TOKENS_MAX} tokens.")));
    }
    Ok(())
}

/// Revokes a token. The last one cannot be revoked.
#[utoipa::path(
    delete, path = "/tokens/{name}", tag = "tokens", operation_id = "revoke_token",
    params(("name" = String, Path, description = "The token")),
    responses(
        (status = 204, description = "Revoked; refused everywhere within 5 s"),
        (status = 409, description = "It is the last one", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke(
    shared: web::Data<Shared>,
    name: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let name = name.into_inner();
    let known = shared.backend.store.tokens().await?;
    if !known.iter().any(|token| token.name == name) {
        return Err(Refusal::NotFound { what: "token" });
    }
    if known.len() == 1 {
        return Err(Refusal::conflict("last_token", "This is the last token; create another one first."));
    }
    shared.backend.record(&Record::TokenRevoked { name: name.clone() }).await?;
    shared.tokens.forget(&name);
    Ok(HttpResponse::NoContent().finish())
}
