//! The gateway's own answers: problem documents with a stable code.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use crate::{balance::NoBackend, proxy::body::ResponseBody};

/// Why the gateway answers a request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request breaks the protocol.
    BadRequest(&'static str),
    /// The gateway is no forward proxy.
    ConnectMethod,
    /// The application has no replica in service.
    NoReplicas,
    /// The health checks of all replicas fail.
    AllUnhealthy,
    /// No fit replica is known, and the engine cannot be asked for others.
    EngineUnreachable,
    /// Every fit replica has as many requests as it may have.
    Overloaded,
    /// No replica accepted a connection.
    ConnectFailed,
    /// The replica broke off before it answered.
    UpstreamBroken,
    /// The replica did not answer in time.
    UpstreamTimeout,
}

impl Refusal {
    /// Why no replica was found; while the engine cannot be read, that is the reason to give.
    pub(crate) fn no_backend(cause: NoBackend, engine_unreachable: bool) -> Self {
        match cause {
            NoBackend::NoReplicas | NoBackend::AllUnhealthy if engine_unreachable => Self::EngineUnreachable,
            NoBackend::NoReplicas => Self::NoReplicas,
            NoBackend::AllUnhealthy => Self::AllUnhealthy,
            NoBackend::Overloaded => Self::Overloaded,
            NoBackend::AllTried => Self::ConnectFailed,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::ConnectMethod => StatusCode::NOT_IMPLEMENTED,
            Self::NoReplicas | Self::AllUnhealthy | Self::EngineUnreachable | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ConnectFailed | Self::UpstreamBroken => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::ConnectMethod => "method_not_supported",
            Self::NoReplicas => "no_replicas",
            Self::AllUnhealthy => "all_unhealthy",
            Self::EngineUnreachable => "engine_unreachable",
            Self::Overloaded => "overloaded",
            Self::ConnectFailed => "upstream_connect_failed",
            Self::UpstreamBroken => "upstream_broken",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::BadRequest(reason) => reason,
            Self::ConnectMethod => "CONNECT is not supported here",
            Self::NoReplicas => "the application has no replica in service",
            Self::AllUnhealthy => "the application's replicas all fail their health checks",
            Self::EngineUnreachable => {
                "no healthy replica is known and the container engine cannot be asked for others"
            }
            Self::Overloaded => "the application's replicas all have as many requests as they may have",
            Self::ConnectFailed => "no replica of the application accepts connections",
            Self::UpstreamBroken => "the application closed the connection before it answered",
            Self::UpstreamTimeout => "the application did not answer in time",
        }
    }

    /// The answer itself.
    pub(crate) fn into_response(self) -> Response<ResponseBody> {
        let status = self.status();
        let document = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "code": self.code(),
            "detail": self.detail(),
            "message": self.detail(),
        });
        let body = Bytes::from(document.to_string());
        let mut response = Response::new(ResponseBody::Own(Full::new(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
