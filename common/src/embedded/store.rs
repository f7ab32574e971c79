//! The store: every call handed to the table it concerns, reads to a reader and writes to the writer.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;

use super::codec::{after, micros, to_json};
use super::{Shared, lease, lists, live, log, projection, reservation, vault};
use crate::model::{
    CredentialName, Deployment, DeploymentId, DeploymentState, EnvironmentName, Event, Job, JobId, LiveState,
    ProjectSlug, Stage,
};
use crate::record::{Record, StoredCredential, StoredToken};
use crate::store::{
    Change, DeploymentFilter, DeploymentPage, Lease, LogLine, LogPage, Page, Reservation, Store, StoreError,
};

#[async_trait]
impl Store for Shared {
    async fn apply(&self, record: &Record) -> Result<u64, StoreError> {
        let wanted = record.clone();
        if let Some(number) = self.read(move |connection| projection::known(connection, &wanted)).await? {
            return Ok(number);
        }
        let (wanted, told) = (record.clone(), record.clone());
        let applied = self.write_and_hint(
            move |connection| match projection::known(connection, &wanted)? {
                Some(number) => Ok(number),
                None => projection::project(connection, None, &wanted),
            },
            move |hints| hints.recorded(&told),
        );
        Ok(applied.await?)
    }

    async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        Ok(self.read(move |connection| lists::deployment(connection, id)).await?)
    }

    async fn deployments(
        &self,
        filter: &DeploymentFilter,
        page: &Page,
    ) -> Result<DeploymentPage, StoreError> {
        let (filter, page) = (filter.clone(), *page);
        Ok(self.read(move |connection| lists::page(connection, &filter, &page)).await?)
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        Ok(self.read(move |connection| lists::job(connection, id)).await?)
    }

    async fn newest(
        &self,
        project: &ProjectSlug,
        environment: &EnvironmentName,
    ) -> Result<Option<DeploymentId>, StoreError> {
        let (project, environment) = (project.clone(), environment.clone());
        let newest = self
            .read(move |connection| lists::newest(connection, project.as_str(), environment.as_str()))
            .await?;
        Ok(newest)
    }

    async fn in_service(
        &self,
        project: &ProjectSlug,
        environment: &EnvironmentName,
    ) -> Result<Vec<DeploymentId>, StoreError> {
        let (project, environment) = (project.clone(), environment.clone());
        let ids = self
            .read(move |connection| lists::in_service(connection, project.as_str(), environment.as_str()))
            .await?;
        Ok(ids)
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        Ok(self.read(move |connection| lists::events(connection, deployment, after, limit)).await?)
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
        let (key, holder, expires, now) =
            (key.to_owned(), holder.to_owned(), micros(after(now, ttl)), micros(now));
        Ok(self.write(move |connection| lease::acquire(connection, &key, &holder, expires, now)).await?)
    }

    async fn renew_lease(&self, lease: &Lease, ttl: Duration, now: Timestamp) -> Result<bool, StoreError> {
        let (lease, expires, now) = (lease.clone(), micros(after(now, ttl)), micros(now));
        Ok(self.write(move |connection| lease::renew(connection, &lease, expires, now)).await?)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = lease.clone();
        Ok(self.write(move |connection| lease::release(connection, &lease)).await?)
    }

    async fn reserve(
        &self,
        wanted: &Reservation,
        keep: Duration,
        now: Timestamp,
    ) -> Result<Reservation, StoreError> {
        let (wanted, expires, now) = (wanted.clone(), micros(after(now, keep)), micros(now));
        Ok(self.write(move |connection| reservation::reserve(connection, &wanted, expires, now)).await?)
    }

    async fn append_log(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        lines: &[LogLine],
        limit_bytes: u64,
    ) -> Result<(), StoreError> {
        let lines = lines.to_vec();
        let appended = self.write_and_hint(
            move |connection| log::append(connection, deployment, stage, &lines, limit_bytes),
            move |hints| hints.changed(Change::Log(deployment, stage)),
        );
        Ok(appended.await?)
    }

    async fn read_log(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        after: u64,
        limit: usize,
    ) -> Result<LogPage, StoreError> {
        Ok(self.read(move |connection| log::read(connection, deployment, stage, after, limit)).await?)
    }

    async fn log_tail(
        &self,
        deployment: DeploymentId,
        stage: Stage,
        count: usize,
    ) -> Result<Vec<LogLine>, StoreError> {
        Ok(self.read(move |connection| log::tail(connection, deployment, stage, count)).await?)
    }

    async fn put_live(&self, deployment: DeploymentId, live: &LiveState) -> Result<(), StoreError> {
        let body = to_json("live state", live)?;
        Ok(self.write(move |connection| live::put(connection, deployment, &body)).await?)
    }

    async fn live(&self, deployment: DeploymentId) -> Result<Option<LiveState>, StoreError> {
        Ok(self.read(move |connection| live::get(connection, deployment)).await?)
    }

    async fn credential(&self, name: &CredentialName) -> Result<Option<StoredCredential>, StoreError> {
        let name = name.clone();
        Ok(self.read(move |connection| vault::credential(connection, &name)).await?)
    }

    async fn credentials(&self) -> Result<Vec<StoredCredential>, StoreError> {
        Ok(self.read(vault::credentials).await?)
    }

    async fn token(&self, sha256: &str) -> Result<Option<StoredToken>, StoreError> {
        let sha256 = sha256.to_owned();
        Ok(self.read(move |connection| vault::token(connection, &sha256)).await?)
    }

    async fn tokens(&self) -> Result<Vec<StoredToken>, StoreError> {
        Ok(self.read(vault::tokens).await?)
    }

    async fn count_by_state(&self) -> Result<Vec<(DeploymentState, u64)>, StoreError> {
        Ok(self.read(lists::count_by_state).await?)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let beat = self.write(|connection| {
            connection.prepare_cached("UPDATE heartbeat SET beats = beats + 1")?.execute([])?;
            Ok(())
        });
        Ok(beat.await?)
    }
}
