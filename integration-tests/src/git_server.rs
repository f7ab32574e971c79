//! A real Git host for tests and demonstrations: `git http-backend` behind a small HTTP server on loopback,
//! with tokens, protected branches, push options, faults to switch on, and a record of every effect.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::kept::Kept;

mod backend;
mod kept;
mod repository;

pub use kept::Asked;
pub use repository::{FileMode, RefUpdate, TreeFile};

/// What the server does wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Never answers.
    Stall,
    /// Answers the fetch of a pack up to so many bytes, and then nothing more.
    StallPack {
        /// Bytes sent before the silence.
        after_bytes: usize,
    },
    /// Sends every body slowly.
    Trickle {
        /// Bytes sent every 100 ms.
        bytes_per_tick: usize,
    },
    /// Takes a push and closes the connection instead of answering.
    CutAfterPush,
    /// Takes one push, closes the connection instead of answering, and answers 500 from then on.
    GoneAfterPush,
    /// Answers 500.
    ServerError,
    /// Redirects every request to the same path below another address.
    Redirect {
        /// Such as `http://127.0.0.1:1234`.
        to: String,
    },
    /// Redirects `…/project` to `…/project.git`.
    RedirectToSuffix,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// All headers, with lower-case names.
    pub headers: Vec<(String, String)>,
    /// Whether the body asks for a pack.
    pub asks_for_pack: bool,
}

impl RecordedRequest {
    /// The value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Default)]
struct Settings {
    token: Option<String>,
    fault: Fault,
    only_tips: bool,
    kept: Option<Arc<Kept>>,
}

#[derive(Debug)]
struct State {
    root: PathBuf,
    address: SocketAddr,
    settings: Mutex<Settings>,
    requests: Mutex<Vec<RecordedRequest>>,
    stopped: CancellationToken,
}

impl State {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, Vec<RecordedRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running Git host. Dropping it closes every connection, ends its programs and deletes its repositories.
#[derive(Debug)]
pub struct GitServer {
    state: Arc<State>,
    _root: TempDir,
}

impl GitServer {
    /// Starts a host on a free port of 127.0.0.1. Without a token everybody may read and write.
    ///
    /// # Errors
    /// When no port can be bound or no directory made.
    pub async fn start() -> Result<Self> {
        let root = tempfile::tempdir().context("making the directory of the Git host")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding the Git host")?;
        let state = Arc::new(State {
            root: root.path().to_path_buf(),
            address: listener.local_addr().context("reading the address of the Git host")?,
            settings: Mutex::default(),
            requests: Mutex::default(),
            stopped: CancellationToken::new(),
        });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { state, _root: root })
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.state.address)
    }

    /// The address of the repository at `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}.git", self.base_url())
    }

    /// Asks every request for this token from now on: as password of any user, or as `PRIVATE-TOKEN`.
    pub fn require_token(&self, token: Option<&str>) {
        self.state.settings().token = token.map(str::to_owned);
    }

    /// Switches a fault on, or off with [`Fault::None`].
    pub fn set_fault(&self, fault: Fault) {
        self.state.settings().fault = fault;
    }

    /// Whether only the tips of branches and tags can be fetched, as some hosts have it.
    pub fn serve_only_tips(&self, only_tips: bool) {
        self.state.settings().only_tips = only_tips;
    }

    /// Makes each answer to a reader once and repeats it from now on, until the ref moves by a push, [`Self::commit`] or
    /// [`Self::move_branch`]. Requests are counted, and recorded no more.
    pub fn keep_answers(&self) {
        self.state.settings().kept = Some(Arc::new(Kept::new(None)));
    }

    /// The same, and every address is the repository at `path`.
    pub fn serve_everywhere(&self, path: &str) {
        self.state.settings().kept = Some(Arc::new(Kept::new(Some(path.to_owned()))));
    }

    /// How much was asked since answers are kept; `None` when they are not.
    #[must_use]
    pub fn asked(&self) -> Option<Asked> {
        self.state.settings().kept.as_ref().map(|kept| kept.asked())
    }

    /// Keeps no answers about this repository from before.
    fn forget(&self, path: &str) {
        if let Some(kept) = &self.state.settings().kept {
            kept.forget(path);
        }
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.requests().clone()
    }

    /// Answers one request as if it had arrived here, for a server that has the repositories below its own address.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> std::io::Result<Response<BoxBody<Bytes, Infallible>>> {
        backend::answer(request, Arc::clone(&self.state)).await
    }

    /// The bare repository on disk.
    #[must_use]
    pub fn directory(&self, path: &str) -> PathBuf {
        self.state.root.join(format!("{path}.git"))
    }

    fn root(&self) -> &Path {
        &self.state.root
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.state.stopped.cancel();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let stream = tokio::select! {
            () = state.stopped.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| backend::answer(request, Arc::clone(&state)));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = state.stopped.cancelled() => {}
                // A connection that breaks is the client's to notice.
                _ended = connection => {}
            }
        });
    }
}
