//! Changing the count of one deployment. New replicas serve once they are healthy, each as soon as it is; those that go
//! are drained first. Run again after any interruption it goes on from what it finds.

use futures_util::future::join_all;
use slipway_common::model::label::RoutingState;
use tokio::sync::Semaphore;

use super::DockerSettings;
use super::container::{self, Removal};
use super::copy::Original;
use super::engine::Engine;
use super::found::{self, Activity, Found};
use super::health;
use super::plan::{self, Plan};
use crate::target::{Guard, Subject, TargetError};

/// Most replicas of one deployment on one engine; the same as for deploy jobs.
const REPLICAS_MAX: u32 = 64;
/// Containers that are created or started at once.
const STARTED_AT_ONCE: usize = 8;

/// What it takes to change the count of one deployment.
pub(super) struct Scaling<'a> {
    pub(super) engine: &'a Engine,
    pub(super) settings: &'a DockerSettings,
    pub(super) subject: &'a Subject,
    pub(super) guard: &'a dyn Guard,
}

/// What it takes to bring up replicas.
#[derive(Clone, Copy)]
struct Growth<'a> {
    original: &'a Original,
    starts: &'a Semaphore,
}

impl Scaling<'_> {
    pub(super) async fn scale(&self, to: u32) -> Result<u32, TargetError> {
        if to == 0 {
            let reason = "a deployment has at least one replica: to end it, stop it".to_owned();
            return Err(TargetError::Refused { code: "invalid_input", reason });
        }
        if to > REPLICAS_MAX {
            let reason =
                format!("an engine runs at most {REPLICAS_MAX} replicas of one deployment, not {to}");
            return Err(TargetError::Refused { code: "limit_reached", reason });
        }
        let own = self.own().await?;
        let original = plan::original(&own).ok_or(TargetError::Absent)?;
        self.carry_out(&plan::plan(&own, original, Some(to)), Some(original)).await
    }

    pub(super) async fn settle(&self) -> Result<(), TargetError> {
        let own = self.own().await?;
        let original = plan::original(&own);
        let plan = match original {
            Some(original) => plan::plan(&own, original, None),
            None => plan::leftovers(&own),
        };
        self.carry_out(&plan, original).await.map(|_serving| ())
    }

    /// The application containers of the deployment, after a look at who has worked in its place.
    async fn own(&self) -> Result<Vec<Found>, TargetError> {
        self.guard.fence()?;
        let all = found::of_place(self.engine, &self.subject.place).await?;
        let deployment = Some(self.subject.deployment);
        let apps = all.into_iter().filter(Found::is_app);
        let (own, others): (Vec<_>, Vec<_>) = apps.partition(|found| found.deployment() == deployment);
        // Replicas bear the fencing token of the job that made the first of them: a larger one is a newer job's.
        let newest = own.iter().filter_map(Found::fence).max();
        let is_overtaken = others.iter().filter_map(Found::fence).any(|other| Some(other) > newest);
        if is_overtaken { Err(TargetError::Changed) } else { Ok(own) }
    }

    /// Does what is planned, and answers how many serve.
    async fn carry_out(&self, plan: &Plan<'_>, original: Option<&Found>) -> Result<u32, TargetError> {
        for found in &plan.ended {
            self.remove(&found.id, Removal::IfEnded).await?;
        }
        for found in &plan.unwanted {
            self.remove(&found.id, Removal::Forced).await?;
        }
        let (came, left) = tokio::join!(self.grow(plan, original), self.take_away(&plan.leaving));
        let came = came?;
        left?;
        Ok(plan.kept + came)
    }

    /// Brings up what is missing, all of it at once, and answers how many came to serve.
    async fn grow(&self, plan: &Plan<'_>, original: Option<&Found>) -> Result<u32, TargetError> {
        let Some(original) = original else { return Ok(0) };
        if plan.adopted.is_empty() && plan.missing.is_empty() {
            return Ok(0);
        }
        let inspected = container::inspect(self.engine, &original.id).await?.ok_or(TargetError::Changed)?;
        let (original, starts) = (Original::of(inspected)?, Semaphore::new(STARTED_AT_ONCE));
        let growth = Growth { original: &original, starts: &starts };
        let (adopted, created) = tokio::join!(
            join_all(plan.adopted.iter().map(|found| self.adopt(found, growth))),
            join_all(plan.missing.iter().map(|number| self.create(*number, growth))),
        );
        all_of(adopted.into_iter().chain(created))
    }

    /// Goes on with a replica that was left starting.
    async fn adopt(&self, found: &Found, growth: Growth<'_>) -> Result<(), TargetError> {
        let name = RoutingState::base_of(&found.name);
        let came = async {
            if found.activity == Activity::Fresh {
                self.start(&found.id, growth).await?;
            }
            self.serve(&found.id, name, growth).await
        };
        self.keep_or_remove(&found.id, came.await).await
    }

    /// Makes a replica that was not there.
    async fn create(&self, number: u32, growth: Growth<'_>) -> Result<(), TargetError> {
        let Subject { place, deployment, .. } = self.subject;
        let name = format!("slipway-{}-{}-{}-{number}", place.project, place.environment, deployment.short());
        let id = {
            let _turn = growth.starts.acquire().await;
            self.guard.fence()?;
            let body = growth.original.copy(number);
            container::create(self.engine, &RoutingState::Starting.name(&name), body).await?
        };
        let came = async {
            self.start(&id, growth).await?;
            self.serve(&id, &name, growth).await
        };
        self.keep_or_remove(&id, came.await).await
    }

    async fn start(&self, id: &str, growth: Growth<'_>) -> Result<(), TargetError> {
        let _turn = growth.starts.acquire().await;
        self.guard.fence()?;
        Ok(container::start(self.engine, id).await?)
    }

    /// Waits until the replica is healthy, and lets the gateway route to it.
    async fn serve(&self, id: &str, name: &str, growth: Growth<'_>) -> Result<(), TargetError> {
        health::wait(self.engine, id, name, &growth.original.check).await?;
        self.guard.fence()?;
        container::set_restart(self.engine, id, &growth.original.restart).await?;
        // The last look before the routing changes: who was overtaken must not get past this point.
        self.own().await?;
        self.guard.fence()?;
        container::rename(self.engine, id, name).await?;
        tracing::info!(place = %self.subject.place, replica = name, "a replica takes requests");
        Ok(())
    }

    /// Removes a replica that did not come up. Whatever else went wrong leaves it to the next look.
    async fn keep_or_remove(&self, id: &str, came: Result<(), TargetError>) -> Result<(), TargetError> {
        if matches!(came, Err(TargetError::Refused { .. })) {
            self.remove(id, Removal::Forced).await?;
        }
        came
    }

    /// Ends the routing to `leaving`, waits, asks them to end and removes them.
    async fn take_away(&self, leaving: &[&Found]) -> Result<(), TargetError> {
        for found in leaving.iter().filter(|found| found.routing() == RoutingState::Serving) {
            self.guard.fence()?;
            let name = RoutingState::Draining.name(&found.name);
            match container::rename(self.engine, &found.id, &name).await {
                Err(error) if error.is_not_found() => {}
                renamed => renamed?,
            }
            tracing::info!(place = %self.subject.place, replica = found.name, "a replica takes no more requests");
        }
        if leaving.iter().any(|found| found.is_running()) {
            tokio::time::sleep(self.settings.drain).await;
        }
        all_of(join_all(leaving.iter().map(|found| self.end(found))).await).map(|_gone| ())
    }

    async fn end(&self, found: &Found) -> Result<(), TargetError> {
        if found.is_running() {
            self.guard.fence()?;
            container::stop(self.engine, &found.id, self.settings.stop_grace_s).await?;
        }
        self.remove(&found.id, Removal::Forced).await
    }

    async fn remove(&self, id: &str, removal: Removal) -> Result<(), TargetError> {
        self.guard.fence()?;
        Ok(container::remove(self.engine, id, removal).await?)
    }
}

/// How many steps were done, or the most serious reason why one was not.
fn all_of(steps: impl IntoIterator<Item = Result<(), TargetError>>) -> Result<u32, TargetError> {
    let (mut done, mut worst) = (0, None);
    for step in steps {
        match step {
            Ok(()) => done += 1,
            Err(error) if worst.as_ref().is_none_or(|known| weight(&error) > weight(known)) => {
                worst = Some(error);
            }
            Err(_lesser) => {}
        }
    }
    worst.map_or(Ok(done), Err)
}

/// How much an error says of the whole: what keeps everything from going on comes before what is wrong with one.
fn weight(error: &TargetError) -> u8 {
    match error {
        TargetError::Refused { .. } => 0,
        TargetError::Absent => 1,
        TargetError::Changed => 2,
        TargetError::Unavailable { .. } => 3,
        TargetError::LeaseLost => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_reason_is_told_and_otherwise_what_was_done_is_counted() {
        let refused = || -> Result<(), TargetError> {
            Err(TargetError::Refused { code: "replica_exited", reason: "it exited".to_owned() })
        };
        assert_eq!(all_of([Ok(()), Ok(())]), Ok(2));
        assert_eq!(all_of([Ok(()), refused()]), refused().map(|()| 0));
        assert_eq!(all_of([refused(), Err(TargetError::LeaseLost), refused()]), Err(TargetError::LeaseLost));
        assert_eq!(all_of([Err(TargetError::Changed), refused()]), Err(TargetError::Changed));
        assert_eq!(all_of([]), Ok(0));
    }
}
