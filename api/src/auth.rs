//! Who may use the API: bearer tokens, known by their hash, and nothing else unless this machine is let in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpMessage as _;
use actix_web::HttpRequest;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::{Error, web};
use secrecy::SecretString;
use slipway_common::secrets::token_sha256;

use crate::refusal::Refusal;
use crate::server::Shared;

/// How long a token is believed without looking again; a revoked one stops within this time.
const BELIEVED_FOR: Duration = Duration::from_secs(3);
/// Most tokens believed at once.
const BELIEVED_MAX: usize = 1_024;
/// Longest token that is looked up.
const TOKEN_MAX_BYTES: usize = 256;
/// The user of requests from this machine that need no token. No token may have this name.
pub(crate) const LOCAL_USER: &str = "local";

/// Who sent the request: the name of the token.
#[derive(Debug, Clone)]
pub(crate) struct User(pub(crate) String);

/// Tokens that were looked up a moment ago.
#[derive(Debug, Default)]
pub(crate) struct TokenCache(Mutex<HashMap<String, (String, Instant)>>);

impl TokenCache {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, (String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, sha256: &str, now: Instant) -> Option<String> {
        let entries = self.entries();
        let (name, seen) = entries.get(sha256)?;
        (now.duration_since(*seen) < BELIEVED_FOR).then(|| name.clone())
    }

    fn put(&self, sha256: String, name: String, now: Instant) {
        let mut entries = self.entries();
        if entries.len() >= BELIEVED_MAX {
            entries.retain(|_, (_, seen)| now.duration_since(*seen) < BELIEVED_FOR);
        }
        if entries.len() < BELIEVED_MAX {
            entries.insert(sha256, (name, now));
        }
    }

    /// Forgets the token called `name` at once.
    pub(crate) fn forget(&self, name: &str) {
        self.entries().retain(|_, (known, _)| known != name);
    }
}

/// The middleware: lets open paths through and everything else only with a token.
pub(crate) async fn require_token(
    shared: web::Data<Shared>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match authorise(&shared, request.request()).await {
        Ok(user) => {
            if let Some(user) = user {
                request.extensions_mut().insert(user);
            }
            next.call(request).await.map(ServiceResponse::map_into_boxed_body)
        }
        Err(refusal) => Ok(request.into_response(refusal.problem().response())),
    }
}

async fn authorise(shared: &Shared, request: &HttpRequest) -> Result<Option<User>, Refusal> {
    let local = is_local(request);
    if is_open(request.path()) || (request.path() == "/metrics" && local) {
        return Ok(None);
    }
    match bearer(request) {
        Some(token) => token_user(shared, token).await.map(Some),
        None if local && shared.settings.open_loopback && !is_foreign_page(request) => {
            Ok(Some(User(LOCAL_USER.to_owned())))
        }
        None => Err(Refusal::Unauthorized { given: false }),
    }
}

pub(crate) fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/healthz" | "/readyz" | "/openapi.json" | "/docs")
        || path.starts_with("/docs/")
        // Deliveries prove themselves.
        || path.starts_with("/webhooks/")
}

/// Whether the request comes from this machine and through no proxy.
fn is_local(request: &HttpRequest) -> bool {
    const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];
    request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
        && !FORWARDED.iter().any(|name| request.headers().contains_key(*name))
}

/// Whether a web page of somebody else may have made a browser on this machine send the request: its `Host`
/// is not this machine (DNS rebinding), or its `Origin` is not this server.
fn is_foreign_page(request: &HttpRequest) -> bool {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_start_matches('[').trim_end_matches(']');
    let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let own_origin = text(header::ORIGIN).is_none_or(|origin| origin == format!("http://{host}"));
    !own_origin || !(loopback || name.eq_ignore_ascii_case("localhost"))
}

/// The token of the request. Anything else in its place counts as a token that is not known.
fn bearer(request: &HttpRequest) -> Option<SecretString> {
    let value = request.headers().get(header::AUTHORIZATION)?;
    let text = value.to_str().unwrap_or_default();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) | None => "",
    };
    Some(SecretString::from(token))
}

async fn token_user(shared: &Shared, token: SecretString) -> Result<User, Refusal> {
    let length = secrecy::ExposeSecret::expose_secret(&token).len();
    if length == 0 || length > TOKEN_MAX_BYTES {
        return Err(Refusal::Unauthorized { given: true });
    }
    // Looking up the hash takes the same time however much of a guessed token is right.
    let sha256 = token_sha256(&token);
    let now = Instant::now();
    if let Some(name) = shared.tokens.get(&sha256, now) {
        return Ok(User(name));
    }
    let stored = shared.backend.store.token(&sha256).await?;
    let stored = stored.ok_or(Refusal::Unauthorized { given: true })?;
    shared.tokens.put(sha256, stored.name.clone(), now);
    Ok(User(stored.name))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_request_through_a_proxy_is_not_from_this_machine() {
        let from = |peer: &str| TestRequest::get().peer_addr(peer.parse().unwrap());
        assert!(is_local(&from("127.0.0.1:9").to_http_request()));
        assert!(is_local(&from("[::1]:9").to_http_request()));
        assert!(is_local(&from("[::ffff:127.0.0.1]:9").to_http_request()));
        assert!(!is_local(&from("10.0.0.1:9").to_http_request()));
        for header in ["X-Forwarded-For", "Forwarded", "X-Real-IP"] {
            let request = from("127.0.0.1:9").insert_header((header, "127.0.0.1"));
            assert!(!is_local(&request.to_http_request()), "{header}");
        }
        assert!(!is_local(&TestRequest::get().to_http_request()), "no peer known");
    }

    #[test]
    fn a_page_of_somebody_else_is_told_apart() {
        let with = |host: &str, origin: Option<&str>| {
            let request = TestRequest::post().insert_header(("Host", host));
            match origin {
                Some(origin) => request.insert_header(("Origin", origin)).to_http_request(),
                None => request.to_http_request(),
            }
        };
        for host in ["localhost", "localhost:80", "127.0.0.1:8640", "[::1]:8640"] {
            assert!(!is_foreign_page(&with(host, None)), "{host}");
        }
        assert!(!is_foreign_page(&with("localhost:1", Some("http://localhost:1"))));
        assert!(is_foreign_page(&with("localhost:1", Some("http://evil.example"))));
        assert!(is_foreign_page(&with("localhost:1", Some("null"))));
        assert!(is_foreign_page(&with("evil.example:8640", None)));
    }

    #[test]
    fn a_token_is_believed_for_a_short_time_only() {
        let (cache, now) = (TokenCache::default(), Instant::now());
        cache.put("hash".to_owned(), "ada".to_owned(), now);
        assert_eq!(cache.get("hash", now).as_deref(), Some("ada"));
        assert_eq!(cache.get("hash", now + BELIEVED_FOR), None);
        cache.forget("ada");
        assert_eq!(cache.get("hash", now), None);
    }

    #[test]
    fn the_cache_does_not_grow_without_end() {
        let (cache, now) = (TokenCache::default(), Instant::now());
        for n in 0..2 * BELIEVED_MAX {
            cache.put(n.to_string(), "ada".to_owned(), now);
        }
        assert_eq!(cache.entries().len(), BELIEVED_MAX);
        cache.put("late".to_owned(), "bob".to_owned(), now + BELIEVED_FOR);
        assert_eq!(cache.entries().len(), 1);
    }
}
