//! The connection to Redis: one server or Sentinel, with own deadlines.
//!
//! It is made when first needed and made anew when it was lost, by whoever needs it next; while attempts fail,
//! callers are told at once what the last attempt met. No call takes longer than the two deadlines of the settings
//! together. A request is sent a second time only when that cannot do it twice, see [`Repeat`].

mod connect;
mod fault;
mod script;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisResult, ToRedisArgs, Value};
use tokio::sync::watch;

pub(crate) use fault::{RedisFault, RedisState};
pub(crate) use script::{Repeat, Script};

use fault::Verdict;

use crate::distributed::RedisSettings;

/// Pause after the first failed attempt to connect; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_millis(1_000);
const PAUSE_DOUBLINGS_MAX: u32 = 5;
/// How long a caller waits for an attempt when the server was silent or the attempt before failed.
const PATIENCE_SHORT: Duration = Duration::from_millis(150);
/// How often the server's role and policy are looked at while it is used.
const INSPECT_INTERVAL: Duration = Duration::from_secs(30);
/// The same under Sentinel, which is asked too: a primary that was replaced takes writes for seconds, in vain.
const INSPECT_INTERVAL_SENTINEL: Duration = Duration::from_secs(1);

/// The connection to Redis, shared by all clones.
#[derive(Clone)]
pub(crate) struct Redis(Arc<Inner>);

struct Inner {
    settings: RedisSettings,
    link: Mutex<Link>,
    attempting: AtomicBool,
    attempts: watch::Sender<u64>,
    inspecting: AtomicBool,
}

struct Link {
    open: Option<Open>,
    epoch: u64,
    state: RedisState,
    /// Attempts that failed in a row.
    failures: u32,
    /// No attempt before this.
    retry_at: Option<Instant>,
    /// The server may hang, so that waiting for it is likely to be in vain.
    doubtful: bool,
    inspected: Instant,
}

#[derive(Clone)]
struct Open {
    epoch: u64,
    client: Client,
    connection: MultiplexedConnection,
}

/// One request.
enum Request<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    Script { call: &'a Cmd, load: &'a Cmd },
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redis").field("prefix", &self.0.settings.prefix).finish_non_exhaustive()
    }
}

impl Redis {
    /// A connection to be made when first needed. Never fails.
    pub(crate) fn new(settings: RedisSettings) -> Self {
        let state = RedisState::Away { reason: "not connected yet".to_owned() };
        let link = Link {
            open: None,
            epoch: 0,
            state,
            failures: 0,
            retry_at: None,
            doubtful: false,
            inspected: Instant::now(),
        };
        Self(Arc::new(Inner {
            settings,
            link: Mutex::new(link),
            attempting: AtomicBool::new(false),
            attempts: watch::Sender::new(0),
            inspecting: AtomicBool::new(false),
        }))
    }

    /// The full name of the key called `name`.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.0.settings.prefix)
    }

    /// What is known of the server without asking it.
    pub(crate) fn state(&self) -> RedisState {
        self.link().state.clone()
    }

    /// Runs a script. `args` is anything the client can write: a tuple, a slice, a number.
    ///
    /// # Errors
    /// When it could not be run, or answered with an error.
    pub(crate) async fn script(
        &self,
        script: &'static Script,
        keys: &[String],
        args: impl ToRedisArgs,
    ) -> Result<Value, RedisFault> {
        let args = args.to_redis_args();
        let build = |name: &str, body: &str| {
            let mut cmd = redis::cmd(name);
            cmd.arg(body).arg(keys.len()).arg(keys).arg(&args[..]);
            cmd
        };
        let (call, load) = (build("EVALSHA", script.hash()), build("EVAL", script.text()));
        self.run(Request::Script { call: &call, load: &load }, script.repeat()).await
    }

    /// Runs a script whose answer is a `T`.
    ///
    /// # Errors
    /// As [`Self::script`], and when the answer is something else.
    pub(crate) async fn ask<T: FromRedisValue>(
        &self,
        script: &'static Script,
        keys: &[String],
        args: impl ToRedisArgs,
    ) -> Result<T, RedisFault> {
        parse(self.script(script, keys, args).await?)
    }

    /// Sends one command.
    ///
    /// # Errors
    /// When it could not be sent, or answered with an error.
    pub(crate) async fn command(&self, command: &Cmd, repeat: Repeat) -> Result<Value, RedisFault> {
        self.run(Request::Command(command), repeat).await
    }

    /// Sends several commands at once; answers their answers.
    ///
    /// # Errors
    /// When they could not be sent, or one of them answered with an error.
    pub(crate) async fn pipeline(
        &self,
        pipeline: &Pipeline,
        repeat: Repeat,
    ) -> Result<Vec<Value>, RedisFault> {
        parse(self.run(Request::Pipeline(pipeline), repeat).await?)
    }

    /// Looks at the server now: whether it answers, is a primary and keeps what it is given.
    ///
    /// # Errors
    /// When it cannot or must not be used.
    pub(crate) async fn check(&self) -> Result<(), RedisFault> {
        let mut open = self.open().await?;
        let looked = self.inspect(&mut open).await;
        if let Err(fault) = &looked {
            self.lost(open.epoch, fault, false);
        }
        looked
    }

    /// A connection of its own for listening to channels, to the server in use.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn listen(&self) -> Result<PubSub, RedisFault> {
        let client = self.open().await?.client;
        let limit = self.0.settings.connect_timeout;
        tokio::time::timeout(limit, client.get_async_pubsub())
            .await
            .map_err(|_| Verdict::silent(limit.as_millis()).fault)?
            .map_err(|error| Verdict::of(&error).fault)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.0.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, request: Request<'_>, repeat: Repeat) -> Result<Value, RedisFault> {
        let settings = &self.0.settings;
        let limit = settings.connect_timeout + settings.response_timeout;
        let whole = async {
            let (epoch, verdict) = match self.attempt(&request).await? {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            let again = verdict.not_run || (repeat == Repeat::Safe && !verdict.silent);
            if !(verdict.reconnect && again) {
                return Err(verdict.fault);
            }
            tracing::debug!(epoch, fault = %verdict.fault, "a request to Redis is sent again");
            self.attempt(&request).await?.map_err(|(_, verdict)| verdict.fault)
        };
        let late = || Err(Verdict::silent(limit.as_millis()).fault);
        tokio::time::timeout(limit, whole).await.unwrap_or_else(|_| late())
    }

    /// Sends the request once. The outer error: there was no connection to send it on.
    async fn attempt(&self, request: &Request<'_>) -> Result<Result<Value, (u64, Verdict)>, RedisFault> {
        let mut open = self.open().await?;
        let limit = self.0.settings.response_timeout;
        let answer = tokio::time::timeout(limit, send(request, &mut open.connection)).await;
        let verdict = match answer {
            Ok(Ok(value)) => return Ok(Ok(value)),
            Ok(Err(error)) => Verdict::of(&error),
            Err(_) => Verdict::silent(limit.as_millis()),
        };
        if verdict.reconnect {
            self.lost(open.epoch, &verdict.fault, verdict.silent);
        }
        Ok(Err((open.epoch, verdict)))
    }

    /// The connection of epoch `epoch` is no good any more.
    fn lost(&self, epoch: u64, fault: &RedisFault, silent: bool) {
        let mut link = self.link();
        if link.open.as_ref().is_none_or(|open| open.epoch != epoch) {
            return;
        }
        tracing::warn!(%fault, "the connection to Redis is given up");
        link.open = None;
        link.doubtful = silent;
        link.state = state_of(fault);
    }

    /// The connection there is, or the one that is made now.
    async fn open(&self) -> Result<Open, RedisFault> {
        let patience = {
            let link = self.link();
            match (&link.open, link.retry_at) {
                (Some(open), _) => {
                    let (open, due) = (open.clone(), link.inspected.elapsed() >= self.inspect_interval());
                    drop(link);
                    if due {
                        self.inspect_soon(&open);
                    }
                    return Ok(open);
                }
                (None, Some(retry_at)) if Instant::now() < retry_at => return Err(fault_of(&link.state)),
                (None, _) if link.doubtful || link.failures > 0 => PATIENCE_SHORT,
                (None, _) => self.0.settings.connect_timeout,
            }
        };
        let mut attempts = self.0.attempts.subscribe();
        if !self.0.attempting.swap(true, Ordering::AcqRel) {
            tokio::spawn(connect(self.clone()));
        }
        // Whether it ended or not, what stands then counts.
        drop(tokio::time::timeout(patience, attempts.changed()).await);
        let link = self.link();
        link.open.clone().ok_or_else(|| fault_of(&link.state))
    }

    fn inspect_interval(&self) -> Duration {
        if self.0.settings.sentinels.is_empty() { INSPECT_INTERVAL } else { INSPECT_INTERVAL_SENTINEL }
    }

    /// Looks in the background whether the server is still the right one.
    fn inspect_soon(&self, open: &Open) {
        if self.0.inspecting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (redis, mut open) = (self.clone(), open.clone());
        tokio::spawn(async move {
            if let Err(fault) = redis.inspect(&mut open).await {
                redis.lost(open.epoch, &fault, false);
            }
            redis.link().inspected = Instant::now();
            redis.0.inspecting.store(false, Ordering::Release);
        });
    }

    async fn inspect(&self, open: &mut Open) -> Result<(), RedisFault> {
        let settings = &self.0.settings;
        connect::still_named(settings, open.client.get_connection_info()).await?;
        connect::inspect(&mut open.connection, settings.response_timeout).await
    }
}

/// Says that an attempt has ended, however it ended.
struct Ended(Redis);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.0.attempting.store(false, Ordering::Release);
        self.0.0.attempts.send_modify(|count| *count += 1);
    }
}

/// One attempt to connect.
async fn connect(redis: Redis) {
    let _ended = Ended(redis.clone());
    let needed = redis.link().open.is_none();
    if needed {
        let opened = connect::open(&redis.0.settings).await;
        let mut link = redis.link();
        match opened {
            Ok((client, connection)) => {
                link.epoch += 1;
                link.open = Some(Open { epoch: link.epoch, client, connection });
                link.state = RedisState::Ready;
                (link.failures, link.retry_at, link.doubtful) = (0, None, false);
                link.inspected = Instant::now();
                tracing::info!(epoch = link.epoch, "connected to Redis");
            }
            Err(fault) => {
                if link.failures == 0 {
                    tracing::warn!(%fault, "Redis cannot be used");
                }
                let pause = PAUSE_FIRST * 2_u32.pow(link.failures.min(PAUSE_DOUBLINGS_MAX));
                link.retry_at = Some(Instant::now() + pause.min(PAUSE_LONGEST));
                link.failures = link.failures.saturating_add(1);
                link.state = state_of(&fault);
            }
        }
    }
}

async fn send(request: &Request<'_>, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
    match request {
        Request::Command(command) => command.query_async(connection).await,
        Request::Pipeline(pipeline) => pipeline.query_async(connection).await,
        Request::Script { call, load } => match call.query_async(connection).await {
            Err(error) if fault::is_unknown_script(&error) => load.query_async(connection).await,
            other => other,
        },
    }
}

fn parse<T: FromRedisValue>(value: Value) -> Result<T, RedisFault> {
    redis::from_redis_value(value).map_err(|error| RedisFault::Corrupt { reason: error.to_string() })
}

fn state_of(fault: &RedisFault) -> RedisState {
    match fault {
        RedisFault::Misfit { reason } => RedisState::Misfit { reason: reason.clone() },
        RedisFault::Away { reason } => RedisState::Away { reason: reason.clone() },
        RedisFault::NotRebuilt | RedisFault::Corrupt { .. } => RedisState::Away { reason: fault.to_string() },
    }
}

fn fault_of(state: &RedisState) -> RedisFault {
    match state {
        RedisState::Ready => RedisFault::Away { reason: "the connection was lost".to_owned() },
        RedisState::Away { reason } => RedisFault::Away { reason: reason.clone() },
        RedisState::Misfit { reason } => RedisFault::Misfit { reason: reason.clone() },
    }
}

#[cfg(test)]
mod tests;
