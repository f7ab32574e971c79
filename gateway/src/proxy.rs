//! One request's way: choose a replica, send, try elsewhere while that is safe, and pass the answer on.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Version};
use hyper::{
    body::{Body, Incoming},
    upgrade::OnUpgrade,
};
use slipway_common::telemetry::chain;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::{
    balance::NoBackend,
    listener::Front,
    metrics::FailureKind,
    proxy::{
        body::{Progress, Proxied, RequestBody, ResponseBody},
        problem::Refusal,
    },
    settings::ms,
    upstream::{Lease, UpstreamKey, pool::Sender},
};

pub(crate) mod body;
pub(crate) mod headers;
pub(crate) mod problem;
mod tunnel;

/// How long a request whose replicas all refuse connections waits for others, and how often it looks: a redeploy may have
/// replaced them, and the engine has not told yet.
const ROUTES_LATE_MAX: Duration = Duration::from_millis(1_000);
const ROUTES_LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Answers one request of a client connected to `front`.
pub(crate) async fn handle(
    front: &Front,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let response = match forward(front, peer, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    front.metrics.answered(response.status());
    response
}

async fn forward(
    front: &Front,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::ConnectMethod);
    }
    let upgrade = headers::upgrade_protocol(request.headers())
        .filter(|_| request.version() == Version::HTTP_11)
        .map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
    let (mut parts, body) = request.into_parts();
    headers::check_host(&parts).map_err(Refusal::BadRequest)?;
    headers::prepare_request(&mut parts, peer, &front.authority(), front.settings.trust_forwarded);
    let mut client_upgrade = None;
    if let Some((protocol, on_upgrade)) = upgrade {
        headers::set_upgrade(&mut parts.headers, protocol);
        client_upgrade = Some(on_upgrade);
    }
    let exchange = Exchange { front, progress: Progress::now() };
    let replayable = body.is_end_stream() && parts.method.is_idempotent() && client_upgrade.is_none();
    let body = if body.is_end_stream() {
        RequestBody::Empty
    } else {
        RequestBody::Streamed { inner: body, progress: exchange.progress.clone() }
    };
    let answer = exchange.run(Request::from_parts(parts, body), replayable).await?;
    answer.into_response(front, client_upgrade)
}

/// One request on its way to a replica.
struct Exchange<'a> {
    front: &'a Front,
    progress: Progress,
}

/// What one try came to.
enum Outcome {
    Answered(Response<Incoming>, Sender),
    /// Nothing of the request left the gateway.
    Unsent(Request<RequestBody>),
    /// It may have been processed.
    Broken,
    TimedOut,
}

impl Exchange<'_> {
    async fn run(&self, mut request: Request<RequestBody>, replayable: bool) -> Result<Answer, Refusal> {
        self.front.backends().meter.arrived();
        let mut refused = Vec::new();
        for attempt in 0..self.front.settings.attempts_max {
            let lease = self.pick(&refused).await?;
            if attempt > 0 {
                self.front.metrics.retried();
            }
            // A second try takes a new connection: idle ones may have died with the first.
            let idle = if attempt == 0 { lease.upstream.idle_connection() } else { None };
            let reused = idle.is_some();
            let sender = match idle {
                Some(sender) => sender,
                None => match lease.upstream.connect().await {
                    Ok(sender) => sender,
                    Err(error) => {
                        self.note_refused(&lease, &chain(&error));
                        refused.push(lease.upstream.key.clone());
                        continue;
                    }
                },
            };
            let spare = (reused && replayable).then(|| replica_of(&request));
            match (self.send(sender, request).await, spare) {
                (Outcome::Answered(response, sender), _) => return Ok(Answer { response, sender, lease }),
                (Outcome::Unsent(unsent), _) => request = unsent,
                (Outcome::Broken, Some(spare)) => request = spare,
                (Outcome::Broken, None) => {
                    self.front.metrics.upstream_failed(FailureKind::Broken);
                    return Err(Refusal::UpstreamBroken);
                }
                (Outcome::TimedOut, _) => {
                    self.front.metrics.upstream_failed(FailureKind::Timeout);
                    return Err(Refusal::UpstreamTimeout);
                }
            }
        }
        Err(Refusal::ConnectFailed)
    }

    /// A place on a replica that has not refused yet. When all have, others are waited for once.
    async fn pick(&self, refused: &[UpstreamKey]) -> Result<Lease, Refusal> {
        match self.front.backends().pick(refused) {
            Err(NoBackend::AllTried) => self.wait_for_others(refused).await,
            picked => picked,
        }
        .map_err(|cause| self.no_backend(cause))
    }

    async fn wait_for_others(&self, refused: &[UpstreamKey]) -> Result<Lease, NoBackend> {
        let deadline = Instant::now() + ROUTES_LATE_MAX;
        let _waiting = self.front.backends().meter.waits();
        loop {
            sleep(ROUTES_LOOK_INTERVAL).await;
            match self.front.backends().pick(refused) {
                Err(NoBackend::AllTried) if Instant::now() < deadline => {}
                picked => return picked,
            }
        }
    }

    async fn send(&self, mut sender: Sender, request: Request<RequestBody>) -> Outcome {
        self.progress.touch();
        let sent = sender.try_send_request(request);
        let limit = ms(self.front.settings.response_header_timeout_ms);
        let result = tokio::select! {
            result = sent => result,
            () = self.progress.stalled(limit) => return Outcome::TimedOut,
        };
        match result {
            Ok(response) => Outcome::Answered(response, sender),
            Err(mut error) => match error.take_message() {
                Some(request) => Outcome::Unsent(request),
                None => {
                    debug!(error = chain(error.error()), "a replica broke off");
                    Outcome::Broken
                }
            },
        }
    }

    fn note_refused(&self, lease: &Lease, reason: &str) {
        debug!(replica = lease.upstream.replica.name, reason, "a replica takes no connection");
        self.front.metrics.upstream_failed(FailureKind::Connect);
        lease.upstream.eject(reason.to_owned());
    }

    fn no_backend(&self, cause: NoBackend) -> Refusal {
        Refusal::no_backend(cause, self.front.is_stale())
    }
}

/// The same request once more; only for those without a body.
fn replica_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// A replica's answer, with what must be kept while it is passed on.
struct Answer {
    response: Response<Incoming>,
    sender: Sender,
    lease: Lease,
}

impl Answer {
    fn into_response(
        self,
        front: &Front,
        client_upgrade: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let Self { mut response, sender, lease } = self;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some(client) = client_upgrade else { return Err(Refusal::UpstreamBroken) };
            let protocol = headers::upgrade_protocol(response.headers()).ok_or(Refusal::UpstreamBroken)?;
            let upstream = hyper::upgrade::on(&mut response);
            front.tracker.spawn(tunnel::run(client, upstream, lease, front.cut.clone()));
            let (mut parts, _) = response.into_parts();
            headers::strip_hop_by_hop(&mut parts.headers);
            headers::set_upgrade(&mut parts.headers, protocol);
            return Ok(Response::from_parts(parts, ResponseBody::empty()));
        }
        let (mut parts, body) = response.into_parts();
        headers::strip_hop_by_hop(&mut parts.headers);
        parts.version = Version::HTTP_11;
        let silence_limit = ms(front.settings.stream_idle_timeout_ms);
        let body = Proxied::new(body, lease, sender, silence_limit);
        Ok(Response::from_parts(parts, ResponseBody::Proxied(body)))
    }
}
