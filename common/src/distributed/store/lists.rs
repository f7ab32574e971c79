//! Reads of the projection: single deployments, jobs and events, lists and counts.

use redis::Value;

use super::RedisStore;
use super::codec::{deployment, from_json, unreadable};
use super::scripts::{COUNTS, DEAD, GUARDED, PAGE, THROUGH};
use crate::model::{Deployment, DeploymentId, DeploymentState, Event, Job, JobId};
use crate::queue::Buried;
use crate::store::filter::PAGE_LIMIT_MAX;
use crate::store::{Cursor, DeploymentFilter, DeploymentPage, Page, StoreError};

/// Most events of one read, whatever was asked for.
const EVENTS_MAX: u64 = 1_000;

impl RedisStore {
    pub(super) async fn read_deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let args = ["HGET".to_owned(), "s:deployment".to_owned(), id.to_string()];
        let stored: Option<String> = self.ask(&GUARDED, &args[..]).await?;
        self.healed(stored.map(|stored| deployment(&stored)).transpose()).await
    }

    pub(super) async fn read_job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let args = ["s:job".to_owned(), id.to_string(), "s:deployment".to_owned()];
        let stored: Option<String> = self.ask(&THROUGH, &args[..]).await?;
        let found = self.healed(stored.map(|stored| deployment(&stored)).transpose()).await?;
        Ok(found.and_then(|found| found.job(id).cloned()))
    }

    /// The deployments in the index, newest first; those up to place `last`, -1 for all.
    pub(super) async fn indexed(&self, index: String, last: i64) -> Result<Vec<DeploymentId>, StoreError> {
        let args = ["ZREVRANGE".to_owned(), index, "0".to_owned(), last.to_string()];
        let ids: Vec<String> = self.ask(&GUARDED, &args[..]).await?;
        ids.iter().map(|id| id.parse().map_err(|error| unreadable("index", error))).collect()
    }

    pub(super) async fn read_events(
        &self,
        deployment: DeploymentId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        let limit = u64::try_from(limit).unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
        let numbers = after.saturating_add(1)..after.saturating_add(1).saturating_add(limit);
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = vec!["HMGET".to_owned(), "s:event".to_owned()];
        args.extend(numbers.clone().map(|number| format!("{deployment}:{number}")));
        let bodies: Vec<Option<String>> = self.ask(&GUARDED, &args[..]).await?;
        let there = numbers.zip(bodies).map_while(|(number, body)| Some((number, body?)));
        let events = there.map(|(number, body)| Ok((number, from_json("event", &body)?)));
        self.healed(events.collect()).await
    }

    pub(super) async fn page(
        &self,
        filter: &DeploymentFilter,
        page: &Page,
    ) -> Result<DeploymentPage, StoreError> {
        let limit = usize::try_from(page.limit.min(PAGE_LIMIT_MAX)).unwrap_or_default();
        let cursor = page.cursor.map(|Cursor(id)| id.to_string()).unwrap_or_default();
        // One more than the page holds tells whether there is a next one.
        let mut args = vec![cursor, page.skip.to_string(), (limit + 1).to_string()];
        args.extend(indexes(filter));
        let mut answer: Vec<Value> = self.ask(&PAGE, &args[..]).await?;
        if answer.is_empty() {
            return Err(unreadable("list", "the total is missing"));
        }
        let total: u64 =
            redis::from_redis_value(answer.remove(0)).map_err(|error| unreadable("list", error))?;
        let more = answer.len() > limit;
        let stored = answer.into_iter().take(limit).map(|stored| {
            let stored: String =
                redis::from_redis_value(stored).map_err(|error| unreadable("deployment", error))?;
            deployment(&stored)
        });
        let deployments: Vec<Deployment> = self.healed(stored.collect()).await?;
        let next = deployments.last().filter(|_| more).map(|last| Cursor(last.id));
        Ok(DeploymentPage { deployments, total, next })
    }

    /// How many deployments are in each state, every state named.
    pub(super) async fn counts(&self) -> Result<Vec<(DeploymentState, u64)>, StoreError> {
        let args = DeploymentState::ALL.map(|state| format!("state:{state}"));
        let counts: Vec<u64> = self.ask(&COUNTS, &args[..]).await?;
        Ok(DeploymentState::ALL.into_iter().zip(counts).collect())
    }

    /// At most `limit` jobs set aside, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn dead(&self, limit: usize) -> Result<Vec<Buried>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let bodies: Vec<String> = self.ask(&DEAD, limit).await?;
        self.healed(bodies.iter().map(|body| from_json("buried job", body)).collect()).await
    }

    /// One job set aside.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn dead_job(&self, id: JobId) -> Result<Option<Buried>, StoreError> {
        let args = ["HGET".to_owned(), "dead".to_owned(), id.to_string()];
        let body: Option<String> = self.ask(&GUARDED, &args[..]).await?;
        self.healed(body.map(|body| from_json("buried job", &body)).transpose()).await
    }

    /// How many jobs are set aside.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn dead_count(&self) -> Result<u64, StoreError> {
        self.ask(&GUARDED, ("HLEN", "dead")).await
    }
}

/// The indexes that hold what the filter names; mirrors [`DeploymentFilter::matches`].
fn indexes(filter: &DeploymentFilter) -> Vec<String> {
    let mut names = Vec::new();
    names.extend(filter.project.as_ref().map(|project| format!("project:{project}")));
    names.extend(filter.environment.as_ref().map(|environment| format!("environment:{environment}")));
    names.extend(filter.state.map(|state| format!("state:{state}")));
    names.extend(filter.user.as_ref().map(|user| format!("user:{user}")));
    names
}
