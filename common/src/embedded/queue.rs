//! The queue: one row per job, a turn per project, and a wait that knows the next wake-up.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::codec::{Key, after, from_json, key, micros, micros_up, signed, to_json, unsigned};
use super::fault::Fault;
use super::hints::Hints;
use super::{Shared, ledger};
use crate::model::{Event, JobId, JobMessage, WorkerId};
use crate::queue::{Buried, Claim, JobQueue, QueueDepth, QueueError, UNREADABLE_KEPT_MAX_BYTES};
use crate::record::Record;
use crate::store::Change;

const READY: i64 = 0;
const PARKED: i64 = 1;
const CLAIMED: i64 = 2;
const BURIED: i64 = 3;
const UNREADABLE: i64 = 4;
pub(super) const FINISHED: i64 = 5;

#[async_trait]
impl JobQueue for Shared {
    async fn enqueue(&self, message: &JobMessage) -> Result<(), QueueError> {
        let body = to_json("job", message)?;
        let (job, project) = (key(message.id.as_uuid()), message.project.slug.as_str().to_owned());
        let accepted = micros(message.accepted_at);
        let limit_jobs = self.settings.queue_limit_jobs;
        let record = Record::Event(Event::accepted(message));
        let record_body = to_json("record", &record)?;
        let deployment = message.deployment;
        let enqueued = self.write_and_hint(
            move |connection| {
                if is_known(connection, &job)? {
                    return Ok(());
                }
                require_room(connection, limit_jobs)?;
                insert(connection, &job, &project, accepted, &body)?;
                ledger::append(connection, &record, &record_body).map(drop)
            },
            move |hints| {
                hints.job_due();
                hints.changed(Change::Event(deployment));
            },
        );
        Ok(enqueued.await?)
    }

    async fn claim(
        &self,
        worker: WorkerId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Claim>, QueueError> {
        let expires_at = after(now, ttl);
        let claimed = self.write(move |connection| {
            promote_due(connection, micros(now))?;
            while let Some(ready) = next_ready(connection)? {
                match from_json::<JobMessage>("job", &ready.body) {
                    Ok(message) => return take(connection, &ready, message, worker, expires_at).map(Some),
                    Err(fault) => set_unreadable(connection, &ready, &fault, now)?,
                }
            }
            Ok(None)
        });
        Ok(claimed.await?)
    }

    async fn renew(&self, claim: &Claim, ttl: Duration, now: Timestamp) -> Result<(), QueueError> {
        let expires = micros(after(now, ttl));
        let renew = move |connection: &Connection, job: &Key| {
            let mut update = connection.prepare_cached("UPDATE queue SET at = ?2 WHERE job = ?1")?;
            update.execute(params![job, expires])?;
            Ok(())
        };
        self.change_claimed(claim, now, renew, |_| {}).await
    }

    async fn complete(&self, claim: &Claim, now: Timestamp) -> Result<(), QueueError> {
        let finish =
            move |connection: &Connection, job: &Key| settle(connection, job, FINISHED, None, micros(now));
        self.change_claimed(claim, now, finish, |_| {}).await
    }

    async fn park(&self, claim: &Claim, until: Timestamp, now: Timestamp) -> Result<(), QueueError> {
        let park = move |connection: &Connection, job: &Key| {
            let mut update = connection.prepare_cached(
                "UPDATE queue SET state = ?2, at = ?3, deliveries = 0, worker = NULL WHERE job = ?1",
            )?;
            update.execute(params![job, PARKED, micros_up(until)])?;
            Ok(())
        };
        // Whoever waits must reckon with the new wake-up.
        self.change_claimed(claim, now, park, Hints::job_due).await
    }

    async fn bury(&self, claim: &Claim, reason: &str, now: Timestamp) -> Result<(), QueueError> {
        let reason = reason.to_owned();
        let bury = move |connection: &Connection, job: &Key| {
            settle(connection, job, BURIED, Some(&reason), micros(now))
        };
        self.change_claimed(claim, now, bury, |_| {}).await
    }

    async fn wake(&self, job: JobId, now: Timestamp) -> Result<bool, QueueError> {
        let woken = self.write_and_hint(
            move |connection| {
                let mut update = connection
                    .prepare_cached("UPDATE queue SET state = ?2, at = ?3 WHERE job = ?1 AND state = ?4")?;
                Ok(update.execute(params![key(job.as_uuid()), READY, micros(now), PARKED])? > 0)
            },
            Hints::job_due,
        );
        Ok(woken.await?)
    }

    async fn wait(&self, longest: Duration) {
        // Listening begins before looking, so that what happens in between is heard.
        let told = self.hints.next_job();
        tokio::pin!(told);
        told.as_mut().enable();
        let pause = match self.read(next_due).await {
            Ok(NextDue::Now) => return,
            Ok(NextDue::At(at)) => {
                let left = at.saturating_sub(micros(Timestamp::now()));
                longest.min(Duration::from_micros(unsigned(left)))
            }
            Ok(NextDue::Never) => longest,
            Err(fault) => {
                tracing::warn!(error = %fault, "the next wake-up could not be read");
                longest
            }
        };
        // Either way the caller looks for itself.
        drop(tokio::time::timeout(pause, told).await);
    }

    async fn depth(&self, now: Timestamp) -> Result<QueueDepth, QueueError> {
        Ok(self.read(move |connection| depth(connection, micros(now))).await?)
    }

    async fn buried(&self, limit: usize) -> Result<Vec<Buried>, QueueError> {
        Ok(self.read(move |connection| buried(connection, signed(limit))).await?)
    }

    async fn requeue(&self, id: JobId, now: Timestamp) -> Result<bool, QueueError> {
        let requeued =
            self.write_and_hint(move |connection| requeue(connection, id, micros(now)), Hints::job_due);
        Ok(requeued.await?)
    }

    async fn discard(&self, id: JobId, now: Timestamp) -> Result<bool, QueueError> {
        Ok(self.write(move |connection| discard(connection, id, micros(now))).await?)
    }
}

impl Shared {
    /// Runs `change` on the claimed job, if the claim still holds.
    async fn change_claimed<F, H>(
        &self,
        claim: &Claim,
        now: Timestamp,
        mut change: F,
        hint: H,
    ) -> Result<(), QueueError>
    where
        F: FnMut(&Connection, &Key) -> Result<(), Fault> + Send + 'static,
        H: FnOnce(&Hints) + Send + 'static,
    {
        let (id, token, now) = (claim.message.id, signed(claim.token), micros(now));
        let work = move |connection: &Connection| {
            let job = key(id.as_uuid());
            let mut select = connection.prepare_cached(
                "SELECT 1 FROM queue WHERE job = ?1 AND state = ?2 AND token = ?3 AND at > ?4",
            )?;
            if !select.exists(params![job, CLAIMED, token, now])? {
                return Err(Fault::ClaimLost { job: id });
            }
            change(connection, &job)
        };
        Ok(self.write_and_hint(work, hint).await?)
    }
}

/// Makes every claim void and its job ready; answers how many there were.
pub(super) fn release_all(connection: &Connection, now: Timestamp) -> Result<u64, Fault> {
    let released = connection.execute(
        "UPDATE queue SET state = ?1, at = ?2, worker = NULL WHERE state = ?3",
        params![READY, micros(now), CLAIMED],
    )?;
    Ok(unsigned(signed(released)))
}

fn is_known(connection: &Connection, job: &Key) -> Result<bool, Fault> {
    Ok(connection.prepare_cached("SELECT 1 FROM queue WHERE job = ?1")?.exists([job])?)
}

fn require_room(connection: &Connection, limit_jobs: u64) -> Result<(), Fault> {
    let alive: i64 =
        connection.prepare_cached("SELECT alive FROM queue_size")?.query_row([], |row| row.get(0))?;
    if unsigned(alive) < limit_jobs { Ok(()) } else { Err(Fault::QueueFull { limit_jobs }) }
}

fn insert(connection: &Connection, job: &Key, project: &str, accepted: i64, body: &str) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO queue (job, project, at, message) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![job, project, accepted, body])?;
    join_turns(connection, project)
}

/// A project that had no jobs joins at the end of the row.
fn join_turns(connection: &Connection, project: &str) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO queue_turns (project, turn)
             VALUES (?1, (SELECT COALESCE(MAX(turn), 0) + 1 FROM queue_turns)) ON CONFLICT DO NOTHING",
        )?
        .execute([project])?;
    Ok(())
}

/// Parked jobs whose time has come and claims that expired become ready.
fn promote_due(connection: &Connection, now: i64) -> Result<(), Fault> {
    let mut update = connection
        .prepare_cached("UPDATE queue SET state = ?1, worker = NULL WHERE state = ?2 AND at <= ?3")?;
    update.execute(params![READY, PARKED, now])?;
    update.execute(params![READY, CLAIMED, now])?;
    Ok(())
}

/// A ready job as its row has it.
struct Ready {
    job: Key,
    project: String,
    token: i64,
    deliveries: i64,
    body: String,
}

/// The oldest ready job of the project whose turn it is.
fn next_ready(connection: &Connection) -> Result<Option<Ready>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT job, project, token, deliveries, message FROM queue
         WHERE state = 0 AND project = (
             SELECT turns.project FROM queue_turns AS turns INDEXED BY queue_turns_by_turn
             WHERE EXISTS (SELECT 1 FROM queue AS one WHERE one.state = 0 AND one.project = turns.project)
             ORDER BY turns.turn LIMIT 1)
         ORDER BY ordinal LIMIT 1",
    )?;
    let ready = select.query_row([], |row| {
        Ok(Ready {
            job: row.get(0)?,
            project: row.get(1)?,
            token: row.get(2)?,
            deliveries: row.get(3)?,
            body: row.get(4)?,
        })
    });
    Ok(ready.optional()?)
}

fn take(
    connection: &Connection,
    ready: &Ready,
    message: JobMessage,
    worker: WorkerId,
    expires_at: Timestamp,
) -> Result<Claim, Fault> {
    let (token, deliveries) = (ready.token + 1, ready.deliveries + 1);
    connection
        .prepare_cached(
            "UPDATE queue SET state = ?2, at = ?3, token = ?4, deliveries = ?5, worker = ?6 WHERE job = ?1",
        )?
        .execute(params![ready.job, CLAIMED, micros(expires_at), token, deliveries, key(worker.as_uuid())])?;
    connection
        .prepare_cached(
            "UPDATE queue_turns SET turn = (SELECT MAX(turn) + 1 FROM queue_turns) WHERE project = ?1",
        )?
        .execute([&ready.project])?;
    let deliveries = u32::try_from(deliveries).unwrap_or(u32::MAX);
    Ok(Claim { message, token: unsigned(token), deliveries, expires_at })
}

/// Sets a job aside that nobody can read, so that it does not stand in the way of the others.
fn set_unreadable(
    connection: &Connection,
    ready: &Ready,
    fault: &Fault,
    now: Timestamp,
) -> Result<(), Fault> {
    tracing::error!(error = %fault, project = ready.project, "a queued job is unreadable and was set aside");
    settle(connection, &ready.job, UNREADABLE, Some(&fault.to_string()), micros(now))
}

/// The job leaves the queue's living; its project leaves the row when it has no other.
fn settle(
    connection: &Connection,
    job: &Key,
    state: i64,
    reason: Option<&str>,
    now: i64,
) -> Result<(), Fault> {
    connection
        .prepare_cached("UPDATE queue SET state = ?2, at = ?3, reason = ?4, worker = NULL WHERE job = ?1")?
        .execute(params![job, state, now, reason])?;
    connection
        .prepare_cached(
            "DELETE FROM queue_turns WHERE project = (SELECT project FROM queue WHERE job = ?1)
             AND NOT EXISTS (
                 SELECT 1 FROM queue WHERE project = queue_turns.project AND state <= 2)",
        )?
        .execute([job])?;
    Ok(())
}

enum NextDue {
    Now,
    At(i64),
    Never,
}

fn next_due(connection: &Connection) -> Result<NextDue, Fault> {
    if connection.prepare_cached("SELECT 1 FROM queue WHERE state = 0 LIMIT 1")?.exists([])? {
        return Ok(NextDue::Now);
    }
    let mut earliest = connection.prepare_cached("SELECT MIN(at) FROM queue WHERE state = ?1")?;
    let mut next = NextDue::Never;
    for state in [PARKED, CLAIMED] {
        let at: Option<i64> = earliest.query_row([state], |row| row.get(0))?;
        next = match (next, at) {
            (NextDue::At(known), Some(at)) => NextDue::At(known.min(at)),
            (NextDue::Never | NextDue::Now, Some(at)) => NextDue::At(at),
            (known, None) => known,
        };
    }
    Ok(next)
}

fn depth(connection: &Connection, now: i64) -> Result<QueueDepth, Fault> {
    let mut depth = QueueDepth::default();
    let mut select = connection.prepare_cached(
        "SELECT state, at <= ?1 AS due, COUNT(*) FROM queue WHERE state < ?2 GROUP BY state, due",
    )?;
    let mut rows = select.query(params![now, FINISHED])?;
    while let Some(row) = rows.next()? {
        let (state, due, count): (i64, bool, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let place = match (state, due) {
            (PARKED, false) => &mut depth.parked,
            (CLAIMED, false) => &mut depth.claimed,
            (BURIED | UNREADABLE, _) => &mut depth.buried,
            _ => &mut depth.ready,
        };
        *place += unsigned(count);
    }
    Ok(depth)
}

fn buried(connection: &Connection, limit: i64) -> Result<Vec<Buried>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT job, state, message, COALESCE(reason, ''), at FROM queue WHERE state IN (?1, ?2)
         ORDER BY at DESC, ordinal DESC LIMIT ?3",
    )?;
    let mut rows = select.query(params![BURIED, UNREADABLE, limit])?;
    let mut buried = Vec::new();
    while let Some(row) = rows.next()? {
        let (job, state, body): (Key, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let at = Timestamp::from_microsecond(row.get(4)?)
            .map_err(|error| Fault::Corrupt { what: "time", reason: error.to_string() })?;
        let message = if state == BURIED { Some(Box::new(from_json("job", &body)?)) } else { None };
        let unreadable = message.is_none().then(|| beginning(&body).to_owned());
        let id = JobId::from(Uuid::from_bytes(job));
        buried.push(Buried { id, message, unreadable, reason: row.get(3)?, at });
    }
    Ok(buried)
}

/// As much of `body` as is kept of an unreadable message.
fn beginning(body: &str) -> &str {
    let end = (0..=UNREADABLE_KEPT_MAX_BYTES.min(body.len())).rev().find(|end| body.is_char_boundary(*end));
    end.and_then(|end| body.get(..end)).unwrap_or_default()
}

fn requeue(connection: &Connection, id: JobId, now: i64) -> Result<bool, Fault> {
    let job = key(id.as_uuid());
    let requeued = connection
        .prepare_cached(
            "UPDATE queue SET state = ?2, at = ?3, deliveries = 0, reason = NULL WHERE job = ?1 AND state = ?4",
        )?
        .execute(params![job, READY, now, BURIED])?;
    if requeued == 0 {
        return Ok(false);
    }
    connection.execute("UPDATE queue_size SET alive = alive + 1", [])?;
    let project: String = connection
        .prepare_cached("SELECT project FROM queue WHERE job = ?1")?
        .query_row([job], |row| row.get(0))?;
    join_turns(connection, &project)?;
    Ok(true)
}

fn discard(connection: &Connection, id: JobId, now: i64) -> Result<bool, Fault> {
    let discarded = connection
        .prepare_cached("UPDATE queue SET state = ?2, at = ?3 WHERE job = ?1 AND state IN (?4, ?5)")?
        .execute(params![key(id.as_uuid()), FINISHED, now, BURIED, UNREADABLE])?;
    Ok(discarded > 0)
}
