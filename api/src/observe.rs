//! The outermost middleware: a request id for every answer, one access log line, metrics, and no panic let out.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use futures_util::FutureExt as _;
use uuid::Uuid;

use crate::refusal::Refusal;
use crate::server::Shared;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken over from a client or proxy.
const REQUEST_ID_MAX_BYTES: usize = 64;
/// The route of requests that match none.
const NO_ROUTE: &str = "none";

/// Runs the request and reports on it. Never says more of it than method, route pattern and status.
pub(crate) async fn observe(
    shared: web::Data<Shared>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let route = request.match_pattern().unwrap_or_else(|| NO_ROUTE.to_owned());
    let outcome = without_panic(next.call(request)).await.map(ServiceResponse::map_into_boxed_body);
    let status = match &outcome {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let elapsed = begun.elapsed();
    shared.metrics.request(&method, &route, status, elapsed);
    tracing::debug!(
        request = id.to_str().unwrap_or_default(),
        method = %method,
        route,
        status = status.as_u16(),
        elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    match outcome {
        Ok(mut response) => {
            mark(response.headers_mut(), id);
            Ok(response)
        }
        Err(error) => {
            let mut response = error.error_response();
            mark(response.headers_mut(), id);
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// The headers of every answer.
fn mark(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// A panic becomes an answer; the thread goes on with its other connections.
async fn without_panic<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let caught = AssertUnwindSafe(work).catch_unwind().await;
    caught.unwrap_or_else(|_| Err(Refusal::Internal("a handler panicked").into()))
}

/// The id the request came with, if it is a harmless one, or a new one.
fn request_id(request: &ServiceRequest) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=REQUEST_ID_MAX_BYTES).contains(&value.len()) && value.as_bytes().iter().all(plain)
    };
    let given = request.headers().get(&REQUEST_ID).filter(harmless).cloned();
    given.unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("none"))
    })
}

/// Answers what no route matches.
pub(crate) async fn no_such_path() -> Result<actix_web::HttpResponse, Refusal> {
    Err(Refusal::NoSuchPath)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[actix_web::test]
    async fn a_panic_is_answered_without_saying_why() {
        let work = async { if std::hint::black_box(true) { panic!("hunter2") } else { Ok(()) } };
        let error = without_panic(work).await.unwrap_err();
        let response = error.error_response();
        assert_eq!(response.status(), 500);
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("internal_error") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn only_harmless_request_ids_are_taken_over() {
        let with =
            |id: &str| request_id(&TestRequest::get().insert_header((REQUEST_ID, id)).to_srv_request());
        assert_eq!(with("abc-1.2_3"), "abc-1.2_3");
        for bad in ["", "a b", "a;b", "a=b", &"a".repeat(65)] {
            assert_ne!(with(bad), bad);
        }
    }
}
