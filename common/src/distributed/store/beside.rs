//! What stands beside the projection: leases, reservations, logs and live states. The ledger has none of them, but
//! reservations of accepted jobs.

use std::time::Duration;

use jiff::Timestamp;
use redis::Value;

use super::RedisStore;
use super::codec::{after, from_json, lifetime_ms, micros, to_json};
use super::desk::CLOCK_GRACE;
use super::scripts::{LEASE_ACQUIRE, LEASE_RELEASE, LEASE_RENEW, LOG_APPEND, LOG_READ, RESERVE};
use crate::distributed::redis::Repeat;
use crate::model::{DeploymentId, LiveState, Stage};
use crate::store::log::LOG_CUT_MARKER;
use crate::store::{Lease, LogLine, LogPage, Reservation, StoreError};

/// How much longer than the lease its key is kept: tokens must grow for as long as clocks may go back.
const FENCE_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Most lines of one read, whatever was asked for.
const READ_MAX_LINES: usize = 10_000;
/// Lines appended by one script at most.
const APPEND_MAX_LINES: usize = 2_000;

impl RedisStore {
    pub(super) async fn take_lease(
        &self,
        key: &str,
        holder: &str,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        let keys = [self.lease_key(key)];
        let args = (holder, after(now, ttl), micros(now), lifetime_ms(ttl, FENCE_KEPT));
        let fence: Option<u64> = self.redis.ask(&LEASE_ACQUIRE, &keys, args).await?;
        Ok(fence.map(|fence| Lease { key: key.to_owned(), holder: holder.to_owned(), fence }))
    }

    pub(super) async fn extend_lease(
        &self,
        lease: &Lease,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let keys = [self.lease_key(&lease.key)];
        let (expires, lifetime_ms) = (after(now, ttl), lifetime_ms(ttl, FENCE_KEPT));
        let args = (&lease.holder, lease.fence, expires, micros(now), lifetime_ms);
        Ok(self.redis.ask(&LEASE_RENEW, &keys, args).await?)
    }

    pub(super) async fn free_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let keys = [self.lease_key(&lease.key)];
        self.redis.script(&LEASE_RELEASE, &keys, (&lease.holder, lease.fence)).await?;
        Ok(())
    }

    fn lease_key(&self, key: &str) -> String {
        self.redis.key(&format!("lease:{key}"))
    }

    pub(super) async fn bind(
        &self,
        wanted: &Reservation,
        keep: Duration,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        let body = to_json("reservation", wanted)?;
        for overwrite in [0, 1] {
            let times = (after(now, keep), micros(now), lifetime_ms(keep, CLOCK_GRACE));
            let args = (&wanted.scope, &body, times.0, times.1, times.2, overwrite);
            let bound: Option<String> = self.ask(&RESERVE, args).await?;
            let Some(bound) = bound else { return Ok(wanted.clone()) };
            match from_json("reservation", &bound) {
                Ok(reservation) => return Ok(reservation),
                Err(error) => tracing::warn!(%error, "an unreadable reservation gives way"),
            }
        }
        Ok(wanted.clone())
    }

    fn log_key(&self, deployment: DeploymentId, stage: Stage) -> String {
        self.redis.key(&format!("log:{deployment}:{stage}"))
    }

    pub(super) async fn write_log(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        lines: &[LogLine],
        limit_bytes: u64,
    ) -> Result<(), StoreError> {
        let key = self.log_key(deployment, stage);
        let keys = [key.clone(), format!("{key}:head")];
        for chunk in lines.chunks(APPEND_MAX_LINES) {
            let mut args = vec![
                limit_bytes.to_string(),
                self.keep_finished().as_secs().max(1).to_string(),
                self.redis.key("changes"),
                format!("l {deployment} {stage}"),
                to_json("log", &LOG_CUT_MARKER)?,
            ];
            for line in chunk {
                args.extend([(line.text.len() + 1).to_string(), line.at.to_string(), to_json("log", line)?]);
            }
            self.redis.script(&LOG_APPEND, &keys, &args[..]).await?;
        }
        Ok(())
    }

    pub(super) async fn log_lines(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        after: u64,
        limit: usize,
    ) -> Result<LogPage, StoreError> {
        let limit = u64::try_from(limit.min(READ_MAX_LINES)).unwrap_or_default();
        let first = i64::try_from(after).unwrap_or(i64::MAX);
        // Without a line wanted, an empty range: its end lies before its beginning.
        let last = after.saturating_add(limit).saturating_sub(1);
        let (first, last) =
            if limit == 0 { (1, 0) } else { (first, i64::try_from(last).unwrap_or(i64::MAX)) };
        let (total, read) = self.log_range(deployment, stage, first, last).await?;
        let end = after.saturating_add(u64::try_from(read.len()).unwrap_or_default());
        let lines = (after.saturating_add(1)..).zip(read).filter_map(|(number, line)| Some((number, line?)));
        Ok(LogPage { lines: lines.collect(), more: total > end })
    }

    pub(super) async fn log_end(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        count: usize,
    ) -> Result<Vec<LogLine>, StoreError> {
        let count = i64::try_from(count.min(READ_MAX_LINES)).unwrap_or_default();
        if count == 0 {
            return Ok(Vec::new());
        }
        let (_, lines) = self.log_range(deployment, stage, -count, -1).await?;
        Ok(lines.into_iter().flatten().collect())
    }

    /// How many lines there are, and those of the range; nothing in place of a line that cannot be read.
    async fn log_range(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        first: i64,
        last: i64,
    ) -> Result<(u64, Vec<Option<LogLine>>), StoreError> {
        let keys = [self.log_key(deployment, stage)];
        let mut answer: Vec<Value> = self.redis.ask(&LOG_READ, &keys, (first, last)).await?;
        let lines = answer.split_off(1.min(answer.len()));
        let total = answer.pop().and_then(|total| redis::from_redis_value(total).ok()).unwrap_or_default();
        let read = |value: Value| {
            let body: String = redis::from_redis_value(value).ok()?;
            serde_json::from_str(&body).ok()
        };
        Ok((total, lines.into_iter().map(read).collect()))
    }

    fn live_key(&self, deployment: DeploymentId) -> String {
        self.redis.key(&format!("live:{deployment}"))
    }

    pub(super) async fn write_live(
        &self,
        deployment: DeploymentId,
        live: &LiveState,
    ) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(self.live_key(deployment)).arg(to_json("live state", live)?);
        set.arg("EX").arg(self.keep_finished().as_secs().max(1));
        self.redis.command(&set, Repeat::Safe).await?;
        Ok(())
    }

    pub(super) async fn read_live(&self, deployment: DeploymentId) -> Result<Option<LiveState>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(self.live_key(deployment));
        // What cannot be read is as good as absent: the next observation replaces it.
        match self.ask_command::<Option<String>>(&get).await {
            Ok(body) => Ok(body.and_then(|body| serde_json::from_str(&body).ok())),
            Err(StoreError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
