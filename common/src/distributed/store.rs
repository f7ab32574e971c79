//! The store: a projection of the ledger in Redis, with leases, reservations and logs beside it.
//!
//! Every call is one script, or a few where the fold runs in between. Nothing that depends on the projection is
//! answered while it is incomplete. What Redis holds is not trusted: what cannot be read declares the projection void,
//! and the projector makes it anew from the ledger.

mod agenda;
mod apply;
mod autoscaler;
mod beside;
mod codec;
mod desk;
mod hints;
mod lists;
mod plan;
mod projects;
mod scripts;
mod turn;

#[cfg(test)]
pub(in crate::distributed) mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Cmd, FromRedisValue, ToRedisArgs};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub(crate) use agenda::RedisAgenda;
pub(crate) use apply::{Chunk, is_refused};
pub(crate) use autoscaler::RedisAutoscalers;
pub(crate) use projects::RedisProjects;
pub(crate) use turn::Turn;

use super::redis::{Redis, RedisFault, Repeat, Script};
use crate::model::{
    CredentialName, Deployment, DeploymentId, DeploymentState, EnvironmentName, Event, Job, JobId, LiveState,
    ProjectSlug, Stage,
};
use crate::record::{Record, StoredCredential, StoredToken};
use crate::store::{
    Change, DeploymentFilter, DeploymentPage, Lease, LogLine, LogPage, Page, Reservation, Store, StoreError,
};
use codec::from_json;
use hints::Hints;

/// A damaged projection is made anew at most this often without being told to.
const HEAL_PAUSE_S: u64 = 60;

/// The store in Redis; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct RedisStore {
    redis: Redis,
    keep_finished: Duration,
    hints: Arc<Hints>,
}

impl RedisStore {
    /// The store behind `redis`. Finished jobs, logs and observations are kept for `keep_finished`. Listens to the
    /// changes of other processes until `shutdown`. Must be called within a runtime.
    pub(crate) fn start(redis: Redis, keep_finished: Duration, shutdown: CancellationToken) -> Self {
        let hints = Arc::new(Hints::default());
        tokio::spawn(hints::listen(redis.clone(), Arc::clone(&hints), shutdown));
        Self { redis, keep_finished, hints }
    }

    fn keep_finished(&self) -> Duration {
        self.keep_finished
    }

    /// Wakes the projector, if it is in this process.
    pub(crate) fn nudge(&self) {
        self.hints.nudge();
    }

    /// Resolves when the projector should look at the ledger.
    pub(crate) async fn nudged(&self) {
        self.hints.nudged().await;
    }

    /// Wakes the projector wherever it is.
    fn nudge_soon(&self) {
        let redis = self.redis.clone();
        tokio::spawn(async move {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(redis.key("changes")).arg("n");
            // It looks by itself a little later.
            drop(redis.command(&publish, Repeat::Safe).await);
        });
    }

    fn tell(&self, record: &Record) {
        self.hints.recorded(record);
    }

    /// Runs a script on the projection.
    async fn ask<T: FromRedisValue>(
        &self,
        script: &'static Script,
        args: impl ToRedisArgs,
    ) -> Result<T, StoreError> {
        let asked = self.redis.ask(script, &[self.redis.key("")], args).await;
        self.healed(asked.map_err(StoreError::from)).await
    }

    async fn ask_command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let value = self.redis.command(command, Repeat::Safe).await?;
        redis::from_redis_value(value).map_err(|error| codec::unreadable("entry", error))
    }

    /// Passes a result on; what cannot be read declares the projection void.
    async fn healed<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Corrupt { what, reason }) = &result {
            tracing::error!(what, reason, "the projection is damaged and will be made anew");
            if let Err(fault) = self.declare_void(HEAL_PAUSE_S).await {
                tracing::warn!(%fault, "the damage could not be made known");
            }
        }
        result
    }

    /// Declares the projection void, at most once in `pause_s` seconds (0: in any case).
    async fn declare_void(&self, pause_s: u64) -> Result<(), RedisFault> {
        self.redis.script(&scripts::DISCARD, &[self.redis.key("")], pause_s).await.map(drop)
    }

    async fn one<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        table: &str,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        let body: Option<String> = self.ask(&scripts::GUARDED, ("HGET", table, name)).await?;
        self.healed(body.map(|body| from_json(what, &body)).transpose()).await
    }

    async fn all<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        table: &str,
    ) -> Result<Vec<T>, StoreError> {
        let bodies: Vec<String> = self.ask(&scripts::GUARDED, ("HVALS", table)).await?;
        self.healed(bodies.iter().map(|body| from_json(what, body)).collect()).await
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn apply(&self, record: &Record) -> Result<u64, StoreError> {
        let applied = self.apply_directly(std::slice::from_ref(record)).await;
        self.healed(applied).await
    }

    async fn apply_all(&self, records: &[Record]) -> Result<(), StoreError> {
        let applied = self.apply_directly(records).await;
        self.healed(applied.map(drop)).await
    }

    async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        self.read_deployment(id).await
    }

    async fn deployments(
        &self,
        filter: &DeploymentFilter,
        page: &Page,
    ) -> Result<DeploymentPage, StoreError> {
        self.page(filter, page).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        self.read_job(id).await
    }

    async fn newest(
        &self,
        project: &ProjectSlug,
        environment: &EnvironmentName,
    ) -> Result<Option<DeploymentId>, StoreError> {
        let newest = self.indexed(format!("s:i:place:{project}/{environment}"), 0).await?;
        Ok(newest.first().copied())
    }

    async fn in_service(
        &self,
        project: &ProjectSlug,
        environment: &EnvironmentName,
    ) -> Result<Vec<DeploymentId>, StoreError> {
        self.indexed(format!("s:i:serving:{project}/{environment}"), -1).await
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        self.read_events(deployment, after, limit).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.hints.subscribe()
    }

    async fn acquire_lease(
        &self,
        key: &str,
        holder: &str,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        self.take_lease(key, holder, ttl, now).await
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        self.extend_lease(lease, ttl, now).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.free_lease(lease).await
    }

    async fn reserve(
        &self,
        wanted: &Reservation,
        keep: Duration,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        self.bind(wanted, keep, now).await
    }

    async fn append_log(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        lines: &[LogLine],
        limit_bytes: u64,
    ) -> Result<(), StoreError> {
        self.write_log(deployment, stage, lines, limit_bytes).await?;
        self.hints.changed(Change::Log(deployment, stage));
        Ok(())
    }

    async fn read_log(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        after: u64,
        limit: usize,
    ) -> Result<LogPage, StoreError> {
        self.log_lines(deployment, stage, after, limit).await
    }

    async fn log_tail(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        count: usize,
    ) -> Result<Vec<LogLine>, StoreError> {
        self.log_end(deployment, stage, count).await
    }

    async fn put_live(&self, deployment: DeploymentId, live: &LiveState) -> Result<(), StoreError> {
        self.write_live(deployment, live).await
    }

    async fn live(&self, deployment: DeploymentId) -> Result<Option<LiveState>, StoreError> {
        self.read_live(deployment).await
    }

    async fn credential(&self, name: &CredentialName) -> Result<Option<StoredCredential>, StoreError> {
        self.one("credential", "s:credential", name.as_str()).await
    }

    async fn credentials(&self) -> Result<Vec<StoredCredential>, StoreError> {
        let mut all: Vec<StoredCredential> = self.all("credential", "s:credential").await?;
        all.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        Ok(all)
    }

    async fn token(&self, sha256: &str) -> Result<Option<StoredToken>, StoreError> {
        let args = ("s:token-of", sha256, "s:token");
        let body: Option<String> = self.ask(&scripts::THROUGH, args).await?;
        let token: Option<StoredToken> =
            self.healed(body.map(|body| from_json("token", &body)).transpose()).await?;
        Ok(token.filter(|token| token.sha256 == sha256))
    }

    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        let mut all: Vec<StoredToken> = self.all("token", "s:token").await?;
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    async fn count_by_state(&self) -> Result<Vec<(DeploymentState, u64)>, StoreError> {
        self.counts().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.redis.check().await?;
        self.ask::<()>(&scripts::HEARTBEAT, "").await
    }
}
