//! Who is kept: the autoscalers of the shards that are held, and the deployment in service in each of their places.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use slipway_common::Backend;
use slipway_common::autoscaler::{Entry, Mark};
use slipway_common::model::autoscaler::{AutoscalerState, Learned, Place};
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::shards::Shards;
use crate::target::{Guard as _, Subject};

/// Pause between two looks at the settings: how soon they are followed.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// Shortest pause between two looks for the deployment in service of a place; grows with the number of places.
const SUBJECT_PAUSE_MIN: Duration = Duration::from_secs(2);
/// Places looked at in a second, at most about.
const SUBJECTS_PER_S: u32 = 250;
/// Looks at once.
const AT_ONCE: usize = 16;
/// Most places one scaler keeps.
pub(crate) const KEPT_MAX: usize = 20_000;

/// One place to keep.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Settings and wish.
    pub(crate) entry: Arc<Entry>,
    /// The deployment in service.
    pub(crate) subject: Option<Subject>,
    /// Fencing token of the shard.
    pub(crate) fence: u64,
    /// What was before, the first time the place is listed under this token. There are thousands that have none.
    pub(crate) before: Option<Box<Before>>,
}

/// What scalers before this one have left of a place.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// What was said of it last.
    pub(crate) state: Option<AutoscalerState>,
    /// What was learned of its load.
    pub(crate) learned: Option<Learned>,
}

#[derive(Debug)]
struct Known {
    subject: Option<Subject>,
    fence: u64,
    looked_at: Instant,
}

/// Reads again and again who is kept.
#[derive(Debug)]
pub(crate) struct Roster {
    backend: Backend,
    shards: Shards,
    /// All autoscalers there are, by place, and how they were when they were read.
    all: Vec<Arc<Entry>>,
    mark: Option<Mark>,
    known: HashMap<Place, Known>,
}

/// What a look at one place found.
struct Found {
    entry: Arc<Entry>,
    fence: u64,
    subject: Option<Subject>,
    before: Option<Box<Before>>,
    was_looked: bool,
}

impl Roster {
    pub(crate) fn new(backend: Backend, shards: Shards) -> Self {
        Self { backend, shards, all: Vec::new(), mark: None, known: HashMap::new() }
    }

    /// Reads until `stop`; hands each list to the loop, and the subjects to whoever looks at targets.
    pub(crate) async fn keep(
        mut self,
        lists: mpsc::Sender<Vec<Listed>>,
        subjects: watch::Sender<Arc<[Subject]>>,
        stop: CancellationToken,
    ) {
        loop {
            match self.read().await {
                Ok(list) => {
                    let now: Arc<[Subject]> = list.iter().filter_map(|one| one.subject.clone()).collect();
                    subjects.send_if_modified(|known| {
                        let is_new = *known != now;
                        *known = now;
                        is_new
                    });
                    if lists.send(list).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(error = chain(&error), "the autoscalers could not be read"),
            }
            tokio::select! {
                () = tokio::time::sleep(READ_PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Listed>, StoreError> {
        if let Some((mark, all)) = self.backend.autoscalers.all_since(self.mark.as_ref()).await? {
            if all.len() > KEPT_MAX {
                let found = all.len();
                tracing::error!(found, limit = KEPT_MAX, "there are more autoscalers than one scaler keeps");
            }
            self.all = merged(&self.all, all.into_iter().take(KEPT_MAX));
            self.mark = Some(mark);
        }
        let held: Vec<(Arc<Entry>, u64)> = self
            .all
            .iter()
            .filter_map(|entry| {
                let fence = self.shards.guard(&entry.autoscaler.place)?.fence().ok()?;
                Some((Arc::clone(entry), fence))
            })
            .collect();
        let pause = SUBJECT_PAUSE_MIN
            .max(Duration::from_secs(1) * u32::try_from(held.len()).unwrap_or(u32::MAX) / SUBJECTS_PER_S);
        let mut list = Vec::with_capacity(held.len());
        let looks = held.into_iter().map(|(entry, fence)| self.look(entry, fence, pause));
        let mut looks = stream::iter(looks).buffered(AT_ONCE);
        let mut looked = Vec::new();
        while let Some(found) = looks.next().await {
            let Found { entry, fence, subject, before, was_looked } = found?;
            if was_looked {
                let known = Known { subject: subject.clone(), fence, looked_at: Instant::now() };
                looked.push((entry.autoscaler.place.clone(), known));
            }
            list.push(Listed { entry, subject, fence, before });
        }
        drop(looks);
        self.known.extend(looked);
        if self.known.len() > list.len() {
            let held: HashSet<&Place> = list.iter().map(|listed| &listed.entry.autoscaler.place).collect();
            self.known.retain(|place, _| held.contains(place));
        }
        Ok(list)
    }

    /// What is known of a place, looked at again when its time has come.
    async fn look(&self, entry: Arc<Entry>, fence: u64, pause: Duration) -> Result<Found, StoreError> {
        let place = &entry.autoscaler.place;
        let known = self.known.get(place).filter(|known| known.fence == fence);
        if let Some(known) = known
            && known.looked_at.elapsed() < pause
        {
            let subject = known.subject.clone();
            return Ok(Found { entry, fence, subject, before: None, was_looked: false });
        }
        let before = known.and_then(|known| known.subject.as_ref());
        let subject = subject_of(&self.backend, place, before).await?;
        let mut left = None;
        if known.is_none() {
            let state = self.backend.autoscalers.state(place).await?;
            let learned = self.backend.autoscalers.learned(place).await?;
            left = Some(Box::new(Before { state, learned }));
        }
        Ok(Found { entry, fence, subject, before: left, was_looked: true })
    }
}

/// What is there now, by place; of what is as it was, what was there before: it is shared with those who keep it. Pure.
fn merged(before: &[Arc<Entry>], now: impl Iterator<Item = Entry>) -> Vec<Arc<Entry>> {
    let shared = |entry: Entry| {
        let place = &entry.autoscaler.place;
        let known = before.binary_search_by(|known| known.autoscaler.place.cmp(place)).ok();
        let known = known.map(|index| &before[index]).filter(|known| ***known == entry);
        known.map_or_else(|| Arc::new(entry), Arc::clone)
    };
    let mut all = Vec::with_capacity(now.size_hint().0);
    // Collected in place, they would keep the room of whole entries.
    all.extend(now.map(shared));
    all
}

/// The deployment in service, if there is one.
async fn subject_of(
    backend: &Backend,
    place: &Place,
    before: Option<&Subject>,
) -> Result<Option<Subject>, StoreError> {
    let serving = backend.store.in_service(&place.project, &place.environment).await?;
    let Some(newest) = serving.first() else { return Ok(None) };
    if let Some(before) = before.filter(|before| before.deployment == *newest) {
        return Ok(Some(before.clone()));
    }
    let deployment = backend.store.deployment(*newest).await?;
    Ok(deployment.map(|deployment| Subject {
        place: place.clone(),
        deployment: deployment.id,
        target: deployment.target,
    }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use slipway_common::model::autoscaler::{Autoscaler, AutoscalerSettings, RawSettings};

    use super::*;

    fn entry(project: &str, replicas_max: u32) -> Entry {
        let raw = format!(r#"{{"cpu_target": 0.5, "replicas_max": {replicas_max}}}"#);
        let raw: RawSettings = serde_json::from_str(&raw).unwrap();
        let autoscaler = Autoscaler {
            place: Place { project: project.parse().unwrap(), environment: "default".parse().unwrap() },
            settings: AutoscalerSettings::try_from(raw).unwrap(),
            user: "ada".to_owned(),
            updated_at: Timestamp::UNIX_EPOCH,
        };
        Entry { autoscaler, wish: None }
    }

    #[test]
    fn what_is_as_it_was_is_shared_and_what_is_new_is_taken_over() {
        let before = merged(&[], ["blog", "news", "shop"].map(|name| entry(name, 5)).into_iter());
        let now = vec![entry("blog", 5), entry("mail", 5), entry("shop", 6)];
        let after = merged(&before, now.clone().into_iter());
        assert!(after.iter().map(|entry| &**entry).eq(&now), "{after:?}");
        assert!(Arc::ptr_eq(&after[0], &before[0]));
        assert!(!Arc::ptr_eq(&after[2], &before[2]));
        assert_eq!(after.capacity(), 3, "no more room than they need");
    }
}
