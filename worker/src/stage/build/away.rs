//! Hosts that do not answer: each is left alone for a while, so that a dead one is not asked by every job in turn, and
//! only a few jobs ask one host at once, so that one that hangs does not hold every slot.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Most hosts that are remembered.
const HOSTS_MAX: usize = 256;
/// How long a host that was away is left alone at first; doubles with every failure.
const PAUSE_MIN: Duration = Duration::from_secs(2);
/// Longest time a host is left alone when it does not say for how long.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest time a host is left alone when it says for how long.
const TOLD_MAX: Duration = Duration::from_secs(900);
/// When a job asks again that found enough others asking.
const TURN_PAUSE: Duration = Duration::from_secs(1);

/// What is remembered of hosts.
#[derive(Debug)]
pub(crate) struct Away {
    hosts: Mutex<BTreeMap<String, Host>>,
    at_once_max: usize,
}

#[derive(Debug, Default)]
struct Host {
    /// How many ask it now.
    asking: usize,
    /// That it did not answer the last time.
    gone: Option<Gone>,
}

#[derive(Debug)]
struct Gone {
    until: Instant,
    pause: Duration,
    reason: String,
}

/// A host is not to be asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    /// Why it was found to be away; absent when only enough others ask it.
    pub(crate) reason: Option<String>,
    /// After what time it can be asked.
    pub(crate) pause: Duration,
}

/// The right to ask a host, until it is dropped.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    away: &'a Away,
    host: &'a str,
}

impl Away {
    /// No host is away; of `slots` jobs half may ask one host at once.
    pub(crate) fn new(slots: usize) -> Self {
        Self { hosts: Mutex::default(), at_once_max: (slots / 2).max(1) }
    }

    /// Whether `host` may be asked at `now`. One that was away is asked by one job at a time, until it has answered.
    pub(crate) fn ask<'a>(&'a self, host: &'a str, now: Instant) -> Result<Asking<'a>, Left> {
        let mut hosts = self.lock();
        forget(&mut hosts, host, now);
        let known = hosts.entry(host.to_owned()).or_default();
        if let Some(gone) = known.gone.as_ref().filter(|gone| gone.until > now) {
            return Err(Left { reason: Some(gone.reason.clone()), pause: gone.until - now });
        }
        let at_once_max = if known.gone.is_some() { 1 } else { self.at_once_max };
        if known.asking >= at_once_max {
            let reason = known.gone.as_ref().map(|gone| gone.reason.clone());
            return Err(Left { reason, pause: TURN_PAUSE });
        }
        known.asking += 1;
        Ok(Asking { away: self, host })
    }

    /// Nothing that is done under the lock can panic half-way.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Asking<'_> {
    /// It has answered, whatever it said.
    pub(crate) fn answered(self) {
        if let Some(host) = self.away.lock().get_mut(self.host) {
            host.gone = None;
        }
    }

    /// It is away; it wants to be asked `after` a pause, if it said so. Returns for how long it is left alone.
    pub(crate) fn failed(self, reason: &str, after: Option<Duration>, now: Instant) -> Duration {
        let mut hosts = self.away.lock();
        let Some(host) = hosts.get_mut(self.host) else { return PAUSE_MIN };
        let before = host.gone.as_ref().map(|gone| gone.pause);
        let grown = before.map_or(PAUSE_MIN, |before| before.saturating_mul(2).clamp(PAUSE_MIN, PAUSE_MAX));
        let pause = after.map_or(grown, |after| after.clamp(PAUSE_MIN, TOLD_MAX));
        host.gone = Some(Gone { until: now + pause, pause, reason: reason.to_owned() });
        pause
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(host) = self.away.lock().get_mut(self.host) {
            host.asking = host.asking.saturating_sub(1);
        }
    }
}

/// Makes room for `host`: those nobody asks and that are not away go first, then those that were away longest ago.
fn forget(hosts: &mut BTreeMap<String, Host>, host: &str, now: Instant) {
    if hosts.len() < HOSTS_MAX || hosts.contains_key(host) {
        return;
    }
    hosts.retain(|_, host| host.asking > 0 || host.gone.as_ref().is_some_and(|gone| gone.until > now));
    while hosts.len() >= HOSTS_MAX {
        let idle = hosts.iter().filter(|(_, host)| host.asking == 0);
        let oldest = idle.min_by_key(|(_, host)| host.gone.as_ref().map(|gone| gone.until));
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
        hosts.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_host_that_is_away_is_left_alone_ever_longer() {
        let (away, mut now) = (Away::new(8), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let pause = away.ask("gitlab.example.com", now).unwrap().failed("no connection", None, now);
            let left = away.ask("gitlab.example.com", now + pause - SECOND).unwrap_err();
            assert_eq!(left, Left { reason: Some("no connection".to_owned()), pause: SECOND });
            assert!(away.ask("other.example.com", now).is_ok(), "others are asked");
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
        away.ask("gitlab.example.com", now).unwrap().answered();
        assert!(away.ask("gitlab.example.com", now).is_ok());
    }

    #[test]
    fn what_a_host_says_about_the_pause_is_kept_within_reason() {
        let (away, now) = (Away::new(8), Instant::now());
        let told = |after| away.ask("a", now + TOLD_MAX * 2).unwrap().failed("busy", Some(after), now);
        assert_eq!(told(Duration::from_secs(60)), Duration::from_secs(60));
        assert_eq!(told(Duration::from_secs(1_000_000)), TOLD_MAX);
        assert_eq!(told(Duration::ZERO), PAUSE_MIN);
    }

    #[test]
    fn a_host_that_hangs_does_not_hold_every_slot() {
        let (away, now) = (Away::new(4), Instant::now());
        let first = away.ask("a", now).unwrap();
        let second = away.ask("a", now).unwrap();
        assert_eq!(away.ask("a", now).unwrap_err(), Left { reason: None, pause: TURN_PAUSE });
        drop(first);
        drop(away.ask("a", now).unwrap());
        let later = now + second.failed("hangs", None, now);
        let probe = away.ask("a", later).unwrap();
        let left = away.ask("a", later).unwrap_err();
        assert_eq!(left.reason.as_deref(), Some("hangs"), "one job looks whether it is back");
        probe.answered();
        assert!(away.ask("a", later).is_ok());
        assert!(Away::new(1).ask("a", now).is_ok(), "a single slot asks");
    }

    #[test]
    fn not_more_hosts_are_remembered_than_fit() {
        let (away, now) = (Away::new(4), Instant::now());
        for number in 0..2 * HOSTS_MAX {
            let name = format!("host-{number}");
            away.ask(&name, now).unwrap().failed("away", None, now);
        }
        assert_eq!(away.lock().len(), HOSTS_MAX);
    }
}
