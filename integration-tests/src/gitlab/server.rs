//! The HTTP server: what arrives is logged, counted, spoilt if that was asked for, and handed on to Git or the
//! interface.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Reply};
use super::hooks::Event;
use super::route::Call;
use super::world::{Fault, LoggedRequest, Place, Project, Rate, World};
use super::{git, payload, route};
use crate::git_server::GitServer;

/// Largest body of a call; Git's bodies are another matter.
const BODY_MAX_BYTES: usize = 4 * 1_024 * 1_024;

/// Everything requests share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) git: GitServer,
    pub(super) client: reqwest::Client,
    /// Where clients reach it: `http://127.0.0.1:<port>`.
    pub(super) base: String,
    /// Held while a push is taken, so that what it moved is known.
    pub(super) pushes: tokio::sync::Mutex<()>,
    pub(super) stopped: CancellationToken,
    pub(super) state: Mutex<World>,
}

impl Server {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a pipeline as it is now, and of its jobs.
    pub(super) fn pipeline_changed(self: &Arc<Self>, project: u64, pipeline: u64) {
        let payloads = {
            let world = self.world();
            let Some(project) = world.projects.iter().find(|it| it.id == project) else { return };
            let Some(found) = project.pipelines.iter().find(|it| it.id == pipeline) else { return };
            let jobs = found.jobs.iter().map(|job| payload::job(project, found, job)).collect::<Vec<_>>();
            (payload::pipeline(project, found), jobs)
        };
        self.tell(project, Event::Pipeline, &payloads.0);
        for job in &payloads.1 {
            self.tell(project, Event::Job, job);
        }
    }

    /// A push hook about the default branch as it is, as the test button of a hook sends it.
    pub(super) fn tell_of_tip(self: &Arc<Self>, project: &Project) {
        let (server, project) = (Arc::clone(self), project.clone());
        tokio::spawn(async move {
            let tip = server.git.tip(&project.path, &project.default_branch).await.ok().flatten();
            let Some(tip) = tip else { return };
            let change = payload::Change {
                reference: format!("refs/heads/{}", project.default_branch),
                before: tip.clone(),
                after: tip.clone(),
                commit: Some(tip),
                commits: Vec::new(),
                commits_total: 0,
            };
            server.tell(project.id, Event::Push, &payload::push(&project, &change, &serde_json::json!({})));
        });
    }

    /// Answers one request; an error closes the connection without an answer.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Answer> {
        let path = request.uri().path();
        let place = if path.starts_with("/api/v4") { Place::Api } else { Place::Git };
        let index = self.log(&request, place);
        let answered = match self.fault(place, path) {
            Some(Fault::Status(status)) => Ok(Reply::page_for_people(status).into_answer(false)),
            Some(Fault::TooMany { retry_after_s }) => Ok(too_many(retry_after_s.into()).into_answer(false)),
            Some(Fault::Slow(pause)) => {
                tokio::time::sleep(pause).await;
                self.pass_on(request, place).await
            }
            None => self.pass_on(request, place).await,
        };
        if let Ok(answer) = &answered
            && let Some(logged) = self.world().log.get_mut(index)
        {
            logged.status = Some(answer.status().as_u16());
        }
        answered
    }

    async fn pass_on(self: &Arc<Self>, request: Request<Incoming>, place: Place) -> io::Result<Answer> {
        match place {
            Place::Git => git::answer(self, request).await,
            Place::Api => {
                let head = request.method() == Method::HEAD;
                let counted = self.count();
                let reply = match counted.refused {
                    Some(refused) => refused,
                    None => self.call(request).await?,
                };
                let headers = counted.headers.into_iter();
                Ok(headers.fold(reply, |reply, (name, value)| reply.header(name, value)).into_answer(head))
            }
        }
    }

    async fn call(self: &Arc<Self>, request: Request<Incoming>) -> io::Result<Reply> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if body.len() > BODY_MAX_BYTES {
            return Ok(Reply::text(413, "Request Entity Too Large"));
        }
        let caller = self.world().caller(&head.headers);
        let call = caller.and_then(|caller| Call::new(&head, &self.base, &body, caller));
        let handled = match call {
            Ok(call) => route::answer(self, call).await,
            Err(refused) => Err(refused),
        };
        Ok(handled.unwrap_or_else(|refused| refused))
    }

    fn log(&self, request: &Request<Incoming>, place: Place) -> usize {
        let mut world = self.world();
        let token = world.name_of(request.headers());
        world.log.push(LoggedRequest {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            place,
            token,
            at: Instant::now(),
            status: None,
        });
        world.log.len() - 1
    }

    fn fault(&self, place: Place, path: &str) -> Option<Fault> {
        let mut world = self.world();
        let meets = |rule: &&mut super::world::Rule| {
            rule.place == place && rule.times != Some(0) && path.contains(&rule.path)
        };
        let rule = world.rules.iter_mut().find(meets)?;
        rule.times = rule.times.map(|times| times.saturating_sub(1));
        Some(rule.fault)
    }

    /// Counts a call against the rate limit.
    fn count(&self) -> Counted {
        let mut world = self.world();
        let Some(rate) = &mut world.rate else { return Counted::default() };
        if rate.began.elapsed() >= rate.window {
            (rate.began, rate.observed) = (Instant::now(), 0);
        }
        rate.observed = rate.observed.saturating_add(1);
        Counted::of(rate)
    }
}

/// What the rate limit makes of a call.
#[derive(Debug, Default)]
struct Counted {
    headers: Vec<(&'static str, String)>,
    refused: Option<Reply>,
}

impl Counted {
    fn of(rate: &Rate) -> Self {
        let left_s = rate.window.saturating_sub(rate.began.elapsed()).as_secs().max(1);
        let reset = jiff::Timestamp::now().as_second() + i64::try_from(left_s).unwrap_or(i64::MAX);
        let headers = vec![
            ("RateLimit-Limit", rate.limit.to_string()),
            ("RateLimit-Name", "throttle_authenticated_api".to_owned()),
            ("RateLimit-Observed", rate.observed.to_string()),
            ("RateLimit-Remaining", rate.limit.saturating_sub(rate.observed).to_string()),
            ("RateLimit-Reset", reset.to_string()),
        ];
        Self { headers, refused: (rate.observed > rate.limit).then(|| too_many(left_s)) }
    }
}

fn too_many(retry_after_s: u64) -> Reply {
    Reply::text(429, "Retry later\n").header("retry-after", retry_after_s.to_string())
}

/// Takes connections until the server is stopped.
pub(super) async fn accept(listener: TcpListener, server: Arc<Server>) {
    loop {
        let stream = tokio::select! {
            () = server.stopped.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| Arc::clone(&server).answer(request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = server.stopped.cancelled() => {}
                // A connection that breaks is the client's to notice.
                _ended = connection => {}
            }
        });
    }
}
