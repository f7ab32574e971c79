//! The index in Redis beside the queue: which copy of a job is the newest, who works on it, until when.
//!
//! It is a hint that saves work. Three of its words make a copy be dropped, and each proves that nothing is lost by
//! that: *done* and *buried* are written by whoever ended the job, and a larger *generation* is written only after the
//! copy that carries it was confirmed by the broker. Every other word, its absence, and its being a second out of
//! date lead to a job being offered once too often, never to its being lost.

use std::time::Duration;

use jiff::Timestamp;
use redis::Value;

use super::message::micros;
use crate::distributed::redis::{Redis, RedisFault, Repeat, Script};
use crate::model::{JobId, JobMessage, WorkerId};

static LOOK: Script = Script::new(include_str!("lua/look.lua"), Repeat::Safe);
static OFFERED: Script = Script::new(include_str!("lua/offered.lua"), Repeat::Safe);
static CLAIM: Script = Script::new(include_str!("lua/claim.lua"), Repeat::Unsafe);
static RENEW: Script = Script::new(include_str!("lua/renew.lua"), Repeat::Safe);
static SETTLE: Script = Script::new(include_str!("lua/settle.lua"), Repeat::Safe);
static PARKED_AGAIN: Script = Script::new(include_str!("lua/parked_again.lua"), Repeat::Safe);
static SET_ASIDE: Script = Script::new(include_str!("lua/set_aside.lua"), Repeat::Safe);

/// Open jobs are remembered at least this long after their last change.
const KEEP_MIN: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Entries of jobs that never came to an end leave the counts this long after their time.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// Which of the two job queues a copy is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Workers take jobs from here.
    Front,
    /// Further jobs of projects that have many in front.
    Backlog,
}

impl Lane {
    /// The routing key of moves to it.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Backlog => "backlog",
        }
    }
}

/// What an acceptance has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether the job was accepted before.
    pub(super) is_known: bool,
    /// Jobs of its project that are ready in front.
    pub(super) front: u64,
    /// Jobs of its project in the backlog.
    pub(super) backlog: u64,
}

/// A copy of a job that somebody wants to work on.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) message: &'a JobMessage,
    pub(super) generation: u64,
    pub(super) worker: WorkerId,
    pub(super) now: Timestamp,
    pub(super) expires: Timestamp,
    /// Token and count of the claim of this process that expired on it; zeros when there was none.
    pub(super) expired: (u64, u32),
    /// A job that was handed out this often already is not taken now.
    pub(super) deliveries_max: Option<u32>,
}

/// The index's word on a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The job is done or buried, or a newer copy exists: drop this one.
    Drop,
    /// A living process works on the job, or it is not the turn of one that was handed out so often: wait.
    Alive,
    /// It is the caller's.
    Taken {
        /// Token of the claim.
        token: u64,
        /// Claims since the job was last parked, this one included.
        deliveries: u32,
    },
}

/// A claim as it is renewed and ended.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    pub(super) message: &'a JobMessage,
    pub(super) generation: u64,
    pub(super) token: u64,
}

/// What becomes of a job when its claim ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End<'a> {
    Done,
    Buried,
    /// Ready again at once, with a fresh count.
    Ready,
    /// Parked until then (microseconds), with its body.
    Parked {
        until_us: i64,
        body: &'a [u8],
    },
}

/// What is remembered of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) state: String,
    pub(super) generation: u64,
    pub(super) token: u64,
    pub(super) holder: String,
    pub(super) expires_us: i64,
    pub(super) until_us: i64,
    pub(super) at_us: i64,
    pub(super) body: Option<Vec<u8>>,
}

/// The index.
#[derive(Debug, Clone)]
pub(super) struct Index {
    redis: Redis,
    /// Names this process while it lives.
    process: String,
    keep_s: u64,
}

impl Index {
    pub(super) fn new(redis: Redis, process: String, keep_finished: Duration) -> Self {
        Self { redis, process, keep_s: keep_finished.max(KEEP_MIN).as_secs() }
    }

    fn job_key(&self, job: JobId) -> String {
        self.redis.key(&format!("q:job:{job}"))
    }

    fn lane_key(&self, lane: Lane, project: &str) -> String {
        self.redis.key(&format!("q:{}:{project}", lane.key()))
    }

    fn process_key(&self, process: &str) -> String {
        self.redis.key(&format!("q:process:{process}"))
    }

    /// Job, claims, parked, lane front, lane backlog: what the scripts are given.
    fn keys(&self, job: JobId, project: &str) -> [String; 5] {
        [
            self.job_key(job),
            self.redis.key("q:claims"),
            self.redis.key("q:parked"),
            self.lane_key(Lane::Front, project),
            self.lane_key(Lane::Backlog, project),
        ]
    }

    pub(super) async fn look(&self, message: &JobMessage) -> Result<Look, RedisFault> {
        let [job, _, _, front, backlog] = self.keys(message.id, message.project.slug.as_str());
        let (known, front, backlog): (u64, u64, u64) =
            self.redis.ask(&LOOK, &[job, front, backlog], message.id.to_string()).await?;
        Ok(Look { is_known: known > 0, front, backlog })
    }

    /// A copy of the job was confirmed in a lane. `anew`: its count of deliveries begins again.
    pub(super) async fn offered(
        &self,
        message: &JobMessage,
        generation: u64,
        lane: Lane,
        anew: bool,
    ) -> Result<(), RedisFault> {
        let project = message.project.slug.as_str();
        let [job, claims, parked, front, backlog] = self.keys(message.id, project);
        let keys = match lane {
            Lane::Front => [job, claims, parked, front, backlog],
            Lane::Backlog => [job, claims, parked, backlog, front],
        };
        let args = (message.id.to_string(), generation, project, self.at(), self.keep_s, u8::from(anew));
        self.redis.script(&OFFERED, &keys, args).await.map(drop)
    }

    /// Asks for a copy of a job.
    pub(super) async fn claim(&self, wish: &Wish<'_>) -> Result<Word, RedisFault> {
        let project = wish.message.project.slug.as_str();
        let (own_token, own_deliveries) = wish.expired;
        let args = [
            wish.message.id.to_string(),
            wish.generation.to_string(),
            self.process.clone(),
            wish.worker.to_string(),
            micros(wish.now).to_string(),
            micros(wish.expires).to_string(),
            own_token.to_string(),
            own_deliveries.to_string(),
            self.keep_s.to_string(),
            project.to_owned(),
            self.process_key(""),
            self.at().to_string(),
            wish.deliveries_max.unwrap_or(0).to_string(),
        ];
        let keys = self.keys(wish.message.id, project);
        let (word, token, deliveries): (String, u64, u32) = self.redis.ask(&CLAIM, &keys, &args[..]).await?;
        match word.as_str() {
            "done" | "old" => Ok(Word::Drop),
            "alive" => Ok(Word::Alive),
            "taken" => Ok(Word::Taken { token, deliveries }),
            other => Err(RedisFault::Corrupt { reason: format!("a claim was answered `{other}`") }),
        }
    }

    /// Extends a claim; `false` when it was lost to a later one.
    pub(super) async fn renew(
        &self,
        ours: &Ours<'_>,
        deliveries: u32,
        worker: WorkerId,
        expires: Timestamp,
    ) -> Result<bool, RedisFault> {
        let project = ours.message.project.slug.as_str();
        let args = [
            ours.message.id.to_string(),
            ours.generation.to_string(),
            ours.token.to_string(),
            deliveries.to_string(),
            self.process.clone(),
            worker.to_string(),
            micros(expires).to_string(),
            self.keep_s.to_string(),
            project.to_owned(),
            self.at().to_string(),
        ];
        let renewed: u8 = self.redis.ask(&RENEW, &self.keys(ours.message.id, project), &args[..]).await?;
        Ok(renewed > 0)
    }

    /// Ends a claim; `false` when it was lost to a later one.
    pub(super) async fn settle(&self, ours: &Ours<'_>, end: End<'_>) -> Result<bool, RedisFault> {
        let project = ours.message.project.slug.as_str();
        let (state, until_us, body): (&str, i64, &[u8]) = match end {
            End::Done => ("done", 0, b""),
            End::Buried => ("buried", 0, b""),
            End::Ready => ("ready", 0, b""),
            End::Parked { until_us, body } => ("parked", until_us, body),
        };
        let numbers = (ours.token, state, ours.generation, until_us);
        let args = (ours.message.id.to_string(), numbers, body, self.keep_s, project, self.at());
        let settled: u8 = self.redis.ask(&SETTLE, &self.keys(ours.message.id, project), args).await?;
        Ok(settled > 0)
    }

    /// A further copy of a parked job was confirmed; `false` when it counts for nothing.
    pub(super) async fn parked_again(
        &self,
        message: &JobMessage,
        generation: u64,
        until_us: i64,
        body: &[u8],
    ) -> Result<bool, RedisFault> {
        let project = message.project.slug.as_str();
        let args = (message.id.to_string(), generation, until_us, body, self.keep_s, project, self.at());
        let parked: u8 = self.redis.ask(&PARKED_AGAIN, &self.keys(message.id, project), args).await?;
        Ok(parked > 0)
    }

    /// The last word on a job nobody has a claim on; `false` when it counts for nothing.
    pub(super) async fn set_aside(
        &self,
        job: JobId,
        project: &str,
        end: End<'_>,
        generation: u64,
    ) -> Result<bool, RedisFault> {
        let state = match end {
            End::Buried => "buried",
            End::Done | End::Ready | End::Parked { .. } => "done",
        };
        let args = (job.to_string(), state, generation, self.keep_s, self.at());
        let set: u8 = self.redis.ask(&SET_ASIDE, &self.keys(job, project), args).await?;
        Ok(set > 0)
    }

    /// What is remembered of the job; `None` when nothing is.
    pub(super) async fn entry(&self, job: JobId) -> Result<Option<Entry>, RedisFault> {
        let mut ask = redis::cmd("HMGET");
        ask.arg(self.job_key(job)).arg(&["s", "g", "t", "i", "e", "u", "at", "b"]);
        let answer = self.redis.command(&ask, Repeat::Safe).await?;
        type Fields = (
            Option<String>,
            Option<u64>,
            Option<u64>,
            Option<String>,
            Option<i64>,
            Option<i64>,
            Option<i64>,
            Option<Vec<u8>>,
        );
        let (state, generation, token, holder, expires, until, at, body): Fields = parse(answer)?;
        Ok(state.map(|state| Entry {
            state,
            generation: generation.unwrap_or(0),
            token: token.unwrap_or(0),
            holder: holder.unwrap_or_default(),
            expires_us: expires.unwrap_or(0),
            until_us: until.unwrap_or(0),
            at_us: at.unwrap_or(0),
            body,
        }))
    }

    /// Parked jobs whose time has not come, and claims that have not expired.
    pub(super) async fn counts(&self, now: Timestamp) -> Result<(u64, u64), RedisFault> {
        let mut ask = redis::pipe();
        for name in ["q:parked", "q:claims"] {
            ask.cmd("ZCOUNT").arg(self.redis.key(name)).arg(format!("({}", micros(now))).arg("+inf");
        }
        let answers = self.redis.pipeline(&ask, Repeat::Safe).await?;
        let [parked, claimed] = <[Value; 2]>::try_from(answers)
            .map_err(|_| RedisFault::Corrupt { reason: "two counts were asked for".to_owned() })?;
        Ok((parse(parked)?, parse(claimed)?))
    }

    /// Says for `longest` that this process lives.
    pub(super) async fn live(&self, longest: Duration) -> Result<(), RedisFault> {
        let mut set = redis::cmd("SET");
        let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        set.arg(self.process_key(&self.process)).arg(1).arg("PX").arg(longest_ms);
        self.redis.command(&set, Repeat::Safe).await.map(drop)
    }

    /// Says that this process lives no more.
    pub(super) async fn leave(&self) -> Result<(), RedisFault> {
        let mut delete = redis::cmd("DEL");
        delete.arg(self.process_key(&self.process));
        self.redis.command(&delete, Repeat::Safe).await.map(drop)
    }

    /// Whether the process that holds this entry's claim lives.
    pub(super) async fn is_living(&self, process: &str) -> Result<bool, RedisFault> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.process_key(process));
        parse(self.redis.command(&exists, Repeat::Safe).await?)
    }

    /// Lets entries that never came to an end leave the counts.
    pub(super) async fn prune(&self, now: Timestamp) -> Result<(), RedisFault> {
        let before = now.saturating_sub(STALE_AFTER).unwrap_or(now);
        let mut prune = redis::pipe();
        for name in ["q:parked", "q:claims"] {
            prune.cmd("ZREMRANGEBYSCORE").arg(self.redis.key(name)).arg("-inf").arg(micros(before));
        }
        self.redis.pipeline(&prune, Repeat::Safe).await.map(drop)
    }

    /// Marks the job as seen, for the planted fault alone; `false` when it was marked before.
    pub(super) async fn mark_seen(&self, job: JobId, generation: u64) -> Result<bool, RedisFault> {
        let mut set = redis::cmd("SET");
        set.arg(self.redis.key(&format!("q:seen:{job}:{generation}"))).arg(1).arg("NX");
        let answer: Option<String> = parse(self.redis.command(&set, Repeat::Unsafe).await?)?;
        Ok(answer.is_some())
    }

    fn at(&self) -> i64 {
        micros(Timestamp::now())
    }
}

fn parse<T: redis::FromRedisValue>(value: Value) -> Result<T, RedisFault> {
    redis::from_redis_value(value).map_err(|error| RedisFault::Corrupt { reason: error.to_string() })
}
