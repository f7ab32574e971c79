//! How many projects of one host are looked at at once. A host that is slow or away holds up its own projects alone: they
//! are put off, each to when a place should be free, and take no place of others meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Hinted projects of one host that wait here for a place, however long looks take there.
const WAITING_MIN: usize = 4;
/// Most of them, where the wait should be no longer than [`SHORT_WAIT`], and no more than these wait at all hosts together:
/// others must find room beside them.
const WAITING_MAX: usize = 12;
const SHORT_WAIT: Duration = Duration::from_secs(2);
/// Longest time for which a hinted project is put off.
const HINT_LATER_MAX: Duration = Duration::from_secs(2);
/// Longest such wait.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Shortest and longest time for which a project is put off.
const LATER_MIN: Duration = Duration::from_millis(500);
const LATER_MAX: Duration = Duration::from_secs(60);
/// What a look takes when nobody has looked yet.
const LOOK_GUESS: Duration = Duration::from_millis(200);

/// All hosts.
#[derive(Debug)]
pub(super) struct Gates {
    per_host: usize,
    wait_max: Duration,
    /// How many wait, at all hosts together.
    waiting: AtomicUsize,
    hosts: Mutex<HashMap<String, Arc<Gate>>>,
}

/// One host.
#[derive(Debug, Default)]
struct Gate {
    told: Notify,
    line: Mutex<Line>,
}

/// Who is at a host, and how that goes.
#[derive(Debug)]
struct Line {
    at_work: usize,
    waiting: usize,
    /// Whether it could not be asked the last time; then one at a time tries.
    is_away: bool,
    /// For how long a place is taken.
    took: Duration,
    /// When a place should be free for the next that is put off.
    free_at: Option<Instant>,
}

/// What becomes of somebody who wants to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Enter,
    Wait,
    Later(Duration),
}

/// Whether a host may be asked now.
#[derive(Debug)]
pub(super) enum Admission {
    /// Yes, until the pass is dropped.
    Enter(Pass),
    /// Not before this time has passed.
    Later(Duration),
}

impl Gates {
    /// Gates through which `per_host` may go at once.
    pub(super) fn new(per_host: usize) -> Self {
        Self {
            per_host: per_host.max(1),
            wait_max: WAIT_MAX,
            waiting: AtomicUsize::new(0),
            hosts: Mutex::default(),
        }
    }

    /// Asks for a place at `host`. Whoever was hinted at waits a little for one, others come again later.
    pub(super) async fn enter(&self, host: &str, is_hint: bool) -> Admission {
        let gate = self.gate(host);
        let is_crowded = self.waiting.load(Ordering::Relaxed) >= WAITING_MAX;
        let step = gate.line().admit(is_hint, is_crowded, self.per_host, Instant::now());
        match step {
            Step::Enter => Admission::Enter(Pass::new(gate)),
            Step::Later(pause) => Admission::Later(pause),
            Step::Wait => {
                let waiting = Waiting::new(&gate, &self.waiting);
                let until = Instant::now() + self.wait_max;
                loop {
                    let has_entered = gate.line().take_turn(self.per_host);
                    if has_entered {
                        drop(waiting);
                        return Admission::Enter(Pass::new(gate));
                    }
                    if tokio::time::timeout_at(until, gate.told.notified()).await.is_err() {
                        let pause = gate.line().put_off(self.per_host, Instant::now());
                        return Admission::Later(pause);
                    }
                }
            }
        }
    }

    fn gate(&self, host: &str) -> Arc<Gate> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = hosts.get(host) {
            return Arc::clone(gate);
        }
        // What is known of a host that nobody asks now is soon learnt again.
        hosts.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.line().is_away);
        Arc::clone(hosts.entry(host.to_owned()).or_default())
    }
}

impl Gate {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Line {
    fn default() -> Self {
        Self { at_work: 0, waiting: 0, is_away: false, took: LOOK_GUESS, free_at: None }
    }
}

impl Line {
    fn limit(&self, per_host: usize) -> usize {
        if self.is_away { 1 } else { per_host }
    }

    fn admit(&mut self, is_hint: bool, is_crowded: bool, per_host: usize, now: Instant) -> Step {
        if self.at_work + self.waiting < self.limit(per_host) {
            self.at_work += 1;
            return Step::Enter;
        }
        if is_hint && !self.is_away && self.has_room_to_wait(is_crowded, per_host) {
            self.waiting += 1;
            return Step::Wait;
        }
        let pause = self.put_off(per_host, now);
        // Who comes anew finds a place before those that were put off, so that hints would wait ever longer.
        Step::Later(if is_hint && !self.is_away { pause.min(HINT_LATER_MAX) } else { pause })
    }

    fn has_room_to_wait(&self, is_crowded: bool, per_host: usize) -> bool {
        let ahead = u32::try_from(self.waiting + 1).unwrap_or(u32::MAX);
        let places = u32::try_from(per_host).unwrap_or(u32::MAX).max(1);
        let is_short = self.took.saturating_mul(ahead) / places <= SHORT_WAIT;
        self.waiting < WAITING_MIN || (is_short && !is_crowded && self.waiting < WAITING_MAX)
    }

    /// Takes a place, if one is free now.
    fn take_turn(&mut self, per_host: usize) -> bool {
        let is_free = self.at_work < self.limit(per_host);
        self.at_work += usize::from(is_free);
        is_free
    }

    /// For how long the next one is put off: everybody to a time of their own, as long as that is near.
    fn put_off(&mut self, per_host: usize, now: Instant) -> Duration {
        let places = u32::try_from(self.limit(per_host)).unwrap_or(u32::MAX).max(1);
        let from = self.free_at.filter(|at| *at > now).unwrap_or(now);
        let at = (from + self.took / places).min(now + LATER_MAX);
        self.free_at = Some(at);
        at.duration_since(now).max(LATER_MIN)
    }

    /// A place was free again after it was taken for so long.
    fn leave(&mut self, held: Duration) {
        self.at_work = self.at_work.saturating_sub(1);
        self.took = (self.took * 3 + held) / 4;
    }

    fn note(&mut self, is_away: bool) {
        // The times that were given out hold, unless they were those of a host that was away.
        if self.is_away && !is_away {
            self.free_at = None;
        }
        self.is_away = is_away;
    }
}

/// Somebody in line, who is out of it when this is dropped.
#[derive(Debug)]
struct Waiting<'a> {
    gate: &'a Gate,
    all: &'a AtomicUsize,
}

impl<'a> Waiting<'a> {
    /// Who was counted at the gate, and is now among all who wait.
    fn new(gate: &'a Gate, all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self { gate, all }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut line = self.gate.line();
        line.waiting = line.waiting.saturating_sub(1);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place at a host. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    since: Instant,
}

impl Pass {
    fn new(gate: Arc<Gate>) -> Self {
        Self { gate, since: Instant::now() }
    }

    /// The host was asked: whether it was away.
    pub(super) fn asked(&self, is_away: bool) {
        self.gate.line().note(is_away);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.line().leave(self.since.elapsed());
        self.gate.told.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_HOST: usize = 2;

    async fn entered(gates: &Gates, host: &str) -> Pass {
        match gates.enter(host, false).await {
            Admission::Enter(pass) => pass,
            Admission::Later(pause) => panic!("put off by {pause:?}"),
        }
    }

    async fn is_later(gates: &Gates, host: &str) -> bool {
        matches!(gates.enter(host, false).await, Admission::Later(_))
    }

    #[tokio::test]
    async fn a_host_that_is_full_holds_up_nobody_else() {
        let gates = Gates::new(PER_HOST);
        let passes = (entered(&gates, "slow").await, entered(&gates, "slow").await);
        assert!(is_later(&gates, "slow").await);
        drop(entered(&gates, "other").await);
        drop(passes);
        drop(entered(&gates, "slow").await);
    }

    #[tokio::test]
    async fn whoever_was_hinted_at_enters_when_a_place_is_free() {
        let gates = Arc::new(Gates::new(1));
        let pass = entered(&gates, "a").await;
        let waiting = tokio::spawn({
            let gates = Arc::clone(&gates);
            async move { matches!(gates.enter("a", true).await, Admission::Enter(_)) }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        assert!(is_later(&gates, "a").await, "nobody overtakes who waits");
        drop(pass);
        assert!(waiting.await.unwrap());
        drop(entered(&gates, "a").await);
    }

    #[tokio::test]
    async fn nobody_waits_without_end() {
        let gates = Gates { wait_max: Duration::from_millis(50), ..Gates::new(1) };
        let pass = entered(&gates, "a").await;
        let begun = Instant::now();
        assert!(matches!(gates.enter("a", true).await, Admission::Later(_)));
        assert!(begun.elapsed() >= gates.wait_max);
        drop(pass);
        drop(entered(&gates, "a").await);
    }

    #[tokio::test]
    async fn a_host_that_is_away_is_tried_by_one_at_a_time() {
        let gates = Gates::new(PER_HOST);
        let pass = entered(&gates, "a").await;
        pass.asked(true);
        assert!(is_later(&gates, "a").await);
        assert!(matches!(gates.enter("a", true).await, Admission::Later(_)), "hints do not wait for it");
        pass.asked(false);
        drop(entered(&gates, "a").await);
    }

    #[test]
    fn more_may_wait_where_the_wait_is_short() {
        for (took, waiting) in [(100, WAITING_MAX), (500, 8), (5_000, WAITING_MIN)] {
            let took = Duration::from_millis(took);
            let mut line = Line { took, at_work: PER_HOST, ..Line::default() };
            let now = Instant::now();
            let admitted = std::iter::repeat_with(|| line.admit(true, false, PER_HOST, now));
            assert_eq!(admitted.take_while(|step| *step == Step::Wait).count(), waiting, "{took:?}");
            let mut crowded = Line { took, at_work: PER_HOST, ..Line::default() };
            let admitted = std::iter::repeat_with(|| crowded.admit(true, true, PER_HOST, now));
            assert_eq!(admitted.take_while(|step| *step == Step::Wait).count(), WAITING_MIN);
        }
    }

    #[test]
    fn who_was_hinted_at_is_not_put_off_for_long() {
        let took = Duration::from_secs(40);
        let (mut line, now) =
            (Line { took, at_work: PER_HOST, waiting: WAITING_MAX, ..Line::default() }, Instant::now());
        assert_eq!(line.admit(true, false, PER_HOST, now), Step::Later(HINT_LATER_MAX));
        line.is_away = true;
        assert_eq!(line.admit(true, false, PER_HOST, now), Step::Later(LATER_MAX));
    }

    #[test]
    fn a_good_look_does_not_call_all_of_those_back_who_were_put_off() {
        let (mut line, now) = (Line { took: Duration::from_secs(2), ..Line::default() }, Instant::now());
        let first = line.put_off(PER_HOST, now);
        line.leave(Duration::from_secs(2));
        line.note(false);
        assert_eq!(line.put_off(PER_HOST, now), first + Duration::from_secs(1), "a time of its own");
        line.note(true);
        line.note(false);
        assert_eq!(line.put_off(PER_HOST, now), first, "a host that is back is asked at once");
    }

    #[test]
    fn how_long_places_are_taken_decides_for_how_long_others_are_put_off() {
        let mut line = Line { took: Duration::from_secs(2), at_work: 1, ..Line::default() };
        line.leave(Duration::from_secs(10));
        assert_eq!((line.at_work, line.took), (0, Duration::from_secs(4)));
        assert_eq!(line.put_off(PER_HOST, Instant::now()), Duration::from_secs(2));
    }

    #[test]
    fn those_put_off_come_one_after_another_and_not_too_late() {
        let mut line = Line { took: Duration::from_secs(10), ..Line::default() };
        let now = Instant::now();
        let pauses_s: Vec<u64> = (0..14).map(|_| line.put_off(PER_HOST, now).as_secs()).collect();
        assert_eq!(pauses_s, [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 60, 60]);
        let mut quick = Line { took: Duration::from_millis(1), ..Line::default() };
        assert_eq!(quick.put_off(PER_HOST, now), LATER_MIN);
    }
}
