//! The hooks of all registered projects, in memory: a delivery is answered while the store is away. They are read anew every
//! few seconds, and a single one when it is not known, or when a delivery is not proven by what is known of it.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use slipway_common::model::HookId;
use slipway_common::model::registered::HookEntry;
use slipway_common::projects::Projects;
use slipway_common::store::StoreError;
use slipway_common::telemetry::chain;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::refusal::DeliveryRefusal;

/// Pause between two readings of all hooks.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
/// Pause after a reading that failed.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Longest reading of all hooks.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest look at one hook.
const LOOK_TIMEOUT: Duration = Duration::from_millis(400);
/// Most looks at single hooks per [`LOOKS_PERIOD`]: who guesses ids does not keep the store busy.
const LOOKS_MAX: u32 = 20;
/// Most checks of hooks that are known per [`LOOKS_PERIOD`]; apart from the looks of those who guess.
const CHECKS_MAX: u32 = 20;
/// The time looks and checks are counted over.
const LOOKS_PERIOD: Duration = Duration::from_secs(1);
/// A hook that is known is checked once in this time: until it is over, what the check found is what counts.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How often the store was asked lately.
#[derive(Debug)]
struct Looks {
    since: Instant,
    count: u32,
}

impl Looks {
    fn none(now: Instant) -> Mutex<Self> {
        Mutex::new(Self { since: now, count: 0 })
    }
}

/// The last check of a hook that is known.
#[derive(Debug, Default)]
struct Checked {
    /// When it began.
    at: Option<Instant>,
    /// Whether the store answered.
    is_sure: bool,
}

impl Checked {
    /// Whether it is not long ago.
    fn holds(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| now.saturating_duration_since(at) < CHECK_EVERY)
    }
}

/// Of each hook that was checked lately, its last check.
type Checks = HashMap<HookId, Arc<tokio::sync::Mutex<Checked>>>;

/// What is known, and what has changed since the last reading began: a reading may not have seen it.
#[derive(Debug, Default)]
struct Known {
    entries: HashMap<HookId, Arc<HookEntry>>,
    changed: HashMap<HookId, Option<Arc<HookEntry>>>,
}

impl Known {
    fn set(&mut self, id: HookId, entry: Option<Arc<HookEntry>>) {
        match &entry {
            Some(entry) => self.entries.insert(id, Arc::clone(entry)),
            None => self.entries.remove(&id),
        };
        self.changed.insert(id, entry);
    }

    fn replace(&mut self, entries: HashMap<HookId, Arc<HookEntry>>) {
        self.entries = entries;
        for (id, entry) in std::mem::take(&mut self.changed) {
            self.set(id, entry);
        }
    }
}

/// The hooks that are known.
#[derive(Debug)]
pub(crate) struct Hooks {
    projects: Arc<dyn Projects>,
    known: RwLock<Known>,
    looks: Mutex<Looks>,
    checks: Mutex<Looks>,
    /// The last checks of hooks; those of one hook take turns.
    checked: Mutex<Checks>,
    /// Whether all hooks could be read when they were to be read last.
    is_current: AtomicBool,
}

impl Hooks {
    /// Knows none yet.
    pub(crate) fn new(projects: Arc<dyn Projects>) -> Self {
        Self {
            projects,
            known: RwLock::default(),
            looks: Looks::none(Instant::now()),
            checks: Looks::none(Instant::now()),
            checked: Mutex::default(),
            is_current: AtomicBool::new(false),
        }
    }

    /// A hook. Asks the store for one that is not known.
    pub(crate) async fn find(&self, id: HookId) -> Result<Option<Arc<HookEntry>>, DeliveryRefusal> {
        match self.known(id) {
            Some(entry) => Ok(Some(entry)),
            None => self.look(id).await,
        }
    }

    /// Looks for a hook that is not known, as far as the store may be asked.
    async fn look(&self, id: HookId) -> Result<Option<Arc<HookEntry>>, DeliveryRefusal> {
        if !may_ask(&self.looks, LOOKS_MAX, Instant::now()) {
            return self.without_a_look();
        }
        let looked = timeout(LOOK_TIMEOUT, self.ask(id)).await;
        looked.unwrap_or(Err(DeliveryRefusal::Unsure))
    }

    /// A hook that is known as the store has it now, or had it a moment ago: somebody else may have changed its secrets
    /// since all were read. Whoever asks again and again is answered from what the last check found, and the store is
    /// asked no more often for it.
    pub(crate) async fn check(&self, id: HookId) -> Result<Option<Arc<HookEntry>>, DeliveryRefusal> {
        let last = Arc::clone(self.checked().entry(id).or_default());
        let checking = async {
            // Whoever comes while it is being checked waits for that.
            let mut last = last.lock().await;
            let now = Instant::now();
            if last.holds(now) {
                return if last.is_sure { Ok(self.known(id)) } else { Err(DeliveryRefusal::Unsure) };
            }
            if !may_ask(&self.checks, CHECKS_MAX, now) {
                return Err(DeliveryRefusal::Unsure);
            }
            // Should this be given up, it has failed.
            *last = Checked { at: Some(now), is_sure: false };
            let found = self.ask(id).await?;
            last.is_sure = true;
            Ok(found)
        };
        timeout(LOOK_TIMEOUT, checking).await.unwrap_or(Err(DeliveryRefusal::Unsure))
    }

    /// Asks the store for a hook.
    async fn ask(&self, id: HookId) -> Result<Option<Arc<HookEntry>>, DeliveryRefusal> {
        match self.projects.hook(id).await {
            Ok(found) => Ok(found.map(|entry| self.put(entry))),
            Err(error) => {
                tracing::debug!(error = chain(&error), "a hook cannot be looked for");
                Err(DeliveryRefusal::Unsure)
            }
        }
    }

    /// What is not known does not exist, if all could be read a moment ago.
    fn without_a_look(&self) -> Result<Option<Arc<HookEntry>>, DeliveryRefusal> {
        if self.is_current.load(Ordering::Relaxed) { Ok(None) } else { Err(DeliveryRefusal::Unsure) }
    }

    fn checked(&self) -> MutexGuard<'_, Checks> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, id: HookId) -> Option<Arc<HookEntry>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).entries.get(&id).cloned()
    }

    /// Knows a hook from now on.
    pub(crate) fn put(&self, entry: HookEntry) -> Arc<HookEntry> {
        let entry = Arc::new(entry);
        self.change().set(entry.hook.id, Some(Arc::clone(&entry)));
        entry
    }

    /// Forgets a hook.
    pub(crate) fn remove(&self, id: HookId) {
        self.change().set(id, None);
    }

    fn change(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all hooks. Those known before stay when they cannot be read.
    async fn refresh(&self) -> Result<(), StoreError> {
        self.change().changed.clear();
        let read = timeout(REFRESH_TIMEOUT, self.projects.hooks()).await;
        let silent = |_| Err(StoreError::Unavailable { reason: "it does not answer".to_owned() });
        let read = read.unwrap_or_else(silent);
        self.is_current.store(read.is_ok(), Ordering::Relaxed);
        let entries = read?.into_iter().map(|entry| (entry.hook.id, Arc::new(entry))).collect();
        self.change().replace(entries);
        // No more checks are remembered than there are hooks.
        self.checked().clear();
        Ok(())
    }

    /// Reads all hooks again and again, until the server stops.
    pub(crate) async fn keep(self: Arc<Self>, stopping: watch::Receiver<bool>) {
        tokio::select! {
            () = self.refresh_for_ever() => {}
            () = stopped(stopping) => {}
        }
    }

    async fn refresh_for_ever(&self) {
        loop {
            let pause = match self.refresh().await {
                Ok(()) => REFRESH_EVERY,
                Err(error) => {
                    tracing::debug!(error = chain(&error), "the hooks cannot be read; the known ones stay");
                    RETRY_EVERY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}

/// Whether the store may be asked once more, of `most` times per [`LOOKS_PERIOD`].
fn may_ask(asked: &Mutex<Looks>, most: u32, now: Instant) -> bool {
    let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    if now.saturating_duration_since(asked.since) >= LOOKS_PERIOD {
        *asked = Looks { since: now, count: 0 };
    }
    asked.count = asked.count.saturating_add(1);
    asked.count <= most
}

/// Waits until the server stops. Where nobody can say so any more, it goes on.
pub(crate) async fn stopped(mut stopping: watch::Receiver<bool>) {
    let is_stopped = stopping.wait_for(|is_stopping| *is_stopping).await.is_ok();
    if !is_stopped {
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use slipway_common::model::ProjectSlug;
    use slipway_common::model::registered::{Forge, Head, Hook, RegisteredProject};

    use super::*;

    /// Projects of which only the hooks are asked for.
    #[derive(Debug, Default)]
    struct OnlyHooks {
        entries: Mutex<Vec<HookEntry>>,
        is_away: AtomicBool,
        looks: Mutex<u32>,
    }

    impl OnlyHooks {
        fn answer<T>(&self, answer: T) -> Result<T, StoreError> {
            if self.is_away.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable { reason: "away".to_owned() });
            }
            Ok(answer)
        }
    }

    #[async_trait]
    impl Projects for OnlyHooks {
        async fn project(&self, _slug: &ProjectSlug) -> Result<Option<RegisteredProject>, StoreError> {
            self.answer(None)
        }

        async fn page(
            &self,
            _after: Option<&ProjectSlug>,
            _limit: usize,
        ) -> Result<Vec<RegisteredProject>, StoreError> {
            self.answer(Vec::new())
        }

        async fn count(&self) -> Result<u64, StoreError> {
            self.answer(0)
        }

        async fn hook(&self, id: HookId) -> Result<Option<HookEntry>, StoreError> {
            *self.looks.lock().unwrap() += 1;
            let found = self.entries.lock().unwrap().iter().find(|entry| entry.hook.id == id).cloned();
            self.answer(found)
        }

        async fn hooks(&self) -> Result<Vec<HookEntry>, StoreError> {
            let all = self.entries.lock().unwrap().clone();
            self.answer(all)
        }

        async fn heads(&self, _slug: &ProjectSlug) -> Result<Vec<Head>, StoreError> {
            self.answer(Vec::new())
        }
    }

    fn entry() -> HookEntry {
        HookEntry {
            project: "shop-1a2b3c".parse().unwrap(),
            forge: Forge::Gitlab,
            hook: Hook { id: HookId::generate(), secrets: Vec::new() },
        }
    }

    fn hooks() -> (Arc<OnlyHooks>, Hooks) {
        let projects = Arc::new(OnlyHooks::default());
        (Arc::clone(&projects), Hooks::new(projects))
    }

    #[tokio::test]
    async fn what_is_known_is_found_while_the_store_is_away() {
        let (projects, hooks) = hooks();
        let known = entry();
        projects.entries.lock().unwrap().push(known.clone());
        hooks.refresh().await.unwrap();
        projects.is_away.store(true, Ordering::SeqCst);
        assert!(hooks.refresh().await.is_err());
        assert_eq!(*hooks.find(known.hook.id).await.unwrap().unwrap(), known);
        assert_eq!(hooks.find(HookId::generate()).await, Err(DeliveryRefusal::Unsure));
    }

    #[tokio::test]
    async fn a_hook_that_is_new_elsewhere_is_looked_for() {
        let (projects, hooks) = hooks();
        hooks.refresh().await.unwrap();
        let new = entry();
        projects.entries.lock().unwrap().push(new.clone());
        assert_eq!(*hooks.find(new.hook.id).await.unwrap().unwrap(), new);
        assert_eq!(hooks.find(HookId::generate()).await, Ok(None));
        projects.entries.lock().unwrap().clear();
        hooks.refresh().await.unwrap();
        assert_eq!(hooks.find(new.hook.id).await, Ok(None), "what was deleted elsewhere is forgotten");
    }

    #[tokio::test]
    async fn who_guesses_does_not_keep_the_store_busy() {
        let (projects, hooks) = hooks();
        hooks.refresh().await.unwrap();
        let begun = Instant::now();
        for _ in 0..100 {
            assert_eq!(hooks.find(HookId::generate()).await, Ok(None));
        }
        let seconds = u32::try_from(begun.elapsed().as_secs()).unwrap();
        assert!(*projects.looks.lock().unwrap() <= LOOKS_MAX * (seconds + 1));
    }

    #[tokio::test]
    async fn a_hook_that_was_changed_elsewhere_is_checked_and_a_store_that_is_away_decides_nothing() {
        let (projects, hooks) = hooks();
        let known = entry();
        let id = hooks.put(known.clone()).hook.id;
        projects.is_away.store(true, Ordering::SeqCst);
        assert_eq!(hooks.check(id).await, Err(DeliveryRefusal::Unsure));
        projects.is_away.store(false, Ordering::SeqCst);
        let elsewhere = HookEntry { project: "blog-1a2b3c".parse().unwrap(), ..known };
        projects.entries.lock().unwrap().push(elsewhere.clone());
        let asked = *projects.looks.lock().unwrap();
        assert_eq!(hooks.check(id).await, Err(DeliveryRefusal::Unsure), "it is not asked again at once");
        assert_eq!(*projects.looks.lock().unwrap(), asked);
        tokio::time::sleep(CHECK_EVERY).await;
        assert_eq!(*hooks.check(id).await.unwrap().unwrap(), elsewhere);
        assert_eq!(*hooks.find(id).await.unwrap().unwrap(), elsewhere, "it is known from now on");
    }

    #[tokio::test]
    async fn who_sends_wrong_signatures_is_answered_and_does_not_keep_the_store_busy() {
        let (projects, hooks) = hooks();
        let known = entry();
        projects.entries.lock().unwrap().push(known.clone());
        let id = hooks.put(known.clone()).hook.id;
        let begun = Instant::now();
        for _ in 0..50 {
            let (one, other) = tokio::join!(hooks.check(id), hooks.check(id));
            assert_eq!((*one.unwrap().unwrap()).clone(), known, "however often, it is sure");
            assert!(other.unwrap().is_some(), "also whoever comes meanwhile");
        }
        let seconds = u32::try_from(begun.elapsed().as_secs()).unwrap();
        assert!(*projects.looks.lock().unwrap() <= seconds + 1);
    }

    #[tokio::test]
    async fn many_hooks_together_do_not_keep_the_store_busy_and_guesses_take_nothing_from_them() {
        let (projects, hooks) = hooks();
        hooks.refresh().await.unwrap();
        for _ in 0..100 {
            hooks.find(HookId::generate()).await.unwrap();
        }
        let (begun, guesses) = (Instant::now(), *projects.looks.lock().unwrap());
        let mut sure = 0;
        for _ in 0..100 {
            sure += u32::from(hooks.check(hooks.put(entry()).hook.id).await.is_ok());
        }
        let seconds = u32::try_from(begun.elapsed().as_secs()).unwrap();
        assert!((CHECKS_MAX..=CHECKS_MAX * (seconds + 2)).contains(&sure), "{sure} checks");
        assert_eq!(*projects.looks.lock().unwrap() - guesses, sure);
        hooks.refresh().await.unwrap();
        assert!(hooks.checked().is_empty(), "nothing is remembered for ever");
    }

    #[tokio::test]
    async fn what_was_put_and_removed_here_counts_at_once() {
        let (_, hooks) = hooks();
        hooks.refresh().await.unwrap();
        let id = hooks.put(entry()).hook.id;
        assert!(hooks.find(id).await.unwrap().is_some());
        hooks.remove(id);
        assert_eq!(hooks.find(id).await, Ok(None));
    }

    #[test]
    fn what_changes_while_all_are_read_is_not_undone() {
        let (mut known, new, gone) = (Known::default(), Arc::new(entry()), Arc::new(entry()));
        known.set(new.hook.id, Some(Arc::clone(&new)));
        known.set(gone.hook.id, None);
        known.replace(HashMap::from([(gone.hook.id, gone)]));
        assert_eq!(known.entries, HashMap::from([(new.hook.id, new)]));
    }

    #[tokio::test]
    async fn the_reading_ends_with_the_server() {
        let (_, hooks) = hooks();
        let (stop, stopping) = watch::channel(false);
        let reading = tokio::spawn(Arc::new(hooks).keep(stopping));
        stop.send_replace(true);
        timeout(Duration::from_secs(5), reading).await.expect("it ends").unwrap();
    }
}
