//! When somebody who could not be told is tried again, and when they are given up. Pure.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::told::Trouble;

/// Pause after the first failure; doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest pause that a receiver may ask for.
const ASKED_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);
/// Pause before a busy host is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// Why somebody was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// A stable code.
    pub(super) code: String,
    /// What happened, without secrets.
    pub(super) reason: String,
    /// Whether it was refused, so that only a person can change it.
    pub(super) is_refused: bool,
    /// The pause the receiver wants.
    pub(super) retry_after: Option<Duration>,
}

/// What came of telling somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// Everything is told.
    Told,
    /// There was no room or no time for all of it.
    Busy,
    /// The host is left in peace for so long; nothing was tried.
    Away(Duration),
    /// It did not work.
    Failed(Fault),
}

/// What is decided after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing more is to be done.
    Done,
    /// It is tried again.
    Again {
        /// When.
        at: Timestamp,
        /// What is remembered of it.
        trouble: Option<Trouble>,
    },
    /// It is not tried any more.
    GivenUp(Trouble),
}

/// The circumstances of a look at one deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Now.
    pub(super) now: Timestamp,
    /// Number of its last event.
    pub(super) seen: u64,
    /// How long somebody is tried.
    pub(super) give_up: Duration,
    /// From 0 to 1; spreads those that failed together.
    pub(super) jitter: f64,
}

/// Whether somebody may be tried now, and if not, when again; never means after the next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Now.
    Now,
    /// At this time.
    Later(Timestamp),
    /// When something has happened.
    Never,
}

impl Turn {
    /// When somebody whose turn it is not is tried again, if a time is known.
    pub(super) fn again(self) -> Option<Timestamp> {
        match self {
            Self::Later(at) => Some(at),
            Self::Now | Self::Never => None,
        }
    }
}

impl Pace {
    /// Whether somebody with this trouble may be tried.
    pub(super) fn turn(&self, trouble: Option<&Trouble>) -> Turn {
        let Some(trouble) = trouble else { return Turn::Now };
        match trouble.given_up {
            Some(after) if self.seen <= after => Turn::Never,
            None if trouble.next > self.now => Turn::Later(trouble.next),
            Some(_) | None => Turn::Now,
        }
    }

    /// What follows for somebody who had this trouble before.
    pub(super) fn after(&self, before: Option<Trouble>, came: &Came) -> Verdict {
        let before = before.filter(|trouble| trouble.given_up.is_none());
        match came {
            Came::Told => Verdict::Done,
            Came::Busy => Verdict::Again { at: self.later(self.spread(BUSY_PAUSE)), trouble: before },
            Came::Away(left) => {
                let trouble = before.unwrap_or_else(|| self.begun());
                let next = self.later(left.saturating_add(self.spread(BUSY_PAUSE)));
                self.patient(Trouble { next, ..trouble })
            }
            Came::Failed(fault) => {
                let trouble = before.unwrap_or_else(|| self.begun());
                let next = self.later(self.pause(trouble.tries, fault));
                let refused = fault.is_refused.then(|| fault.code.clone());
                self.patient(Trouble { tries: trouble.tries.saturating_add(1), next, refused, ..trouble })
            }
        }
    }

    fn begun(&self) -> Trouble {
        Trouble { since: self.now, tries: 0, next: self.now, refused: None, given_up: None }
    }

    /// Goes on, unless it has lasted too long.
    fn patient(&self, trouble: Trouble) -> Verdict {
        let give_up = SignedDuration::try_from(self.give_up).unwrap_or(SignedDuration::MAX);
        if self.now.duration_since(trouble.since) >= give_up {
            return Verdict::GivenUp(Trouble { given_up: Some(self.seen), ..trouble });
        }
        Verdict::Again { at: trouble.next, trouble: Some(trouble) }
    }

    /// Who refuses is asked rarely; others ever more rarely, and not before they want to be.
    fn pause(&self, tries: u32, fault: &Fault) -> Duration {
        let full = PAUSE_MIN.saturating_mul(1 << tries.min(16)).min(PAUSE_MAX);
        let full = if fault.is_refused { PAUSE_MAX } else { full };
        let asked = fault.retry_after.unwrap_or_default().min(ASKED_PAUSE_MAX);
        self.spread(full).max(asked)
    }

    /// At least half of it, the rest by chance.
    fn spread(&self, pause: Duration) -> Duration {
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 1.0) } else { 0.0 };
        pause / 2 + (pause / 2).mul_f64(jitter)
    }

    fn later(&self, pause: Duration) -> Timestamp {
        later(self.now, pause)
    }
}

/// `pause` after `now`.
pub(super) fn later(now: Timestamp, pause: Duration) -> Timestamp {
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// From 0 to 1, spread over keys and over the looks at one of them.
pub(super) fn jitter(key: &str, token: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    (key, token).hash(&mut hasher);
    let [first, second, ..] = hasher.finish().to_be_bytes();
    f64::from(u16::from_be_bytes([first, second])) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVE_UP: Duration = Duration::from_secs(24 * 3_600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn pace(now: Timestamp) -> Pace {
        Pace { now, seen: 7, give_up: GIVE_UP, jitter: 1.0 }
    }

    fn failed(is_refused: bool, retry_after_s: Option<u64>) -> Came {
        Came::Failed(Fault {
            code: "some_code".to_owned(),
            reason: "it did not work".to_owned(),
            is_refused,
            retry_after: retry_after_s.map(Duration::from_secs),
        })
    }

    fn again(verdict: Verdict) -> (Timestamp, Trouble) {
        match verdict {
            Verdict::Again { at, trouble: Some(trouble) } => (at, trouble),
            other @ (Verdict::Again { .. } | Verdict::Done | Verdict::GivenUp(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let (mut now, mut trouble) = (at(0), None);
        let mut pauses_s = Vec::new();
        for _ in 0..11 {
            let (next, met) = again(pace(now).after(trouble.take(), &failed(false, None)));
            pauses_s.push(next.duration_since(now).as_secs());
            (now, trouble) = (next, Some(met));
        }
        assert_eq!(pauses_s, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pace(now).after(trouble, &Came::Told), Verdict::Done);
    }

    #[test]
    fn half_of_a_pause_is_by_chance() {
        for (jitter, pause_ms) in [(0.0, 500), (0.5, 750), (1.0, 1_000), (f64::NAN, 500), (9.0, 1_000)] {
            let pace = Pace { jitter, ..pace(at(0)) };
            let (next, _) = again(pace.after(None, &failed(false, None)));
            assert_eq!(next.duration_since(at(0)).as_millis(), pause_ms, "{jitter}");
        }
        let spread: Vec<f64> = (0..200).map(|token| jitter("a", token)).collect();
        assert!(spread.iter().all(|jitter| (0.0..=1.0).contains(jitter)));
        assert!(spread.iter().any(|jitter| *jitter < 0.2) && spread.iter().any(|jitter| *jitter > 0.8));
        assert!((jitter("a", 1) - jitter("a", 1)).abs() < f64::EPSILON);
    }

    #[test]
    fn a_receiver_says_when_it_wants_to_be_asked_again() {
        let pause_s = |came: &Came| again(pace(at(0)).after(None, came)).0.duration_since(at(0)).as_secs();
        assert_eq!(pause_s(&failed(false, Some(90))), 90);
        assert_eq!(pause_s(&failed(false, Some(u64::MAX))), 3_600, "not for ever");
        assert_eq!(pause_s(&failed(true, None)), 300, "who refuses is asked rarely");
        assert_eq!(pause_s(&failed(true, Some(600))), 600);
    }

    #[test]
    fn a_refusal_is_remembered_until_it_is_another_fault() {
        let (_, trouble) = again(pace(at(0)).after(None, &failed(true, None)));
        assert_eq!(trouble.refused.as_deref(), Some("some_code"));
        let (_, trouble) = again(pace(at(300)).after(Some(trouble), &failed(false, None)));
        assert_eq!((trouble.refused, trouble.since), (None, at(0)));
    }

    #[test]
    fn somebody_is_given_up_after_a_day_until_something_happens() {
        let (_, trouble) = again(pace(at(0)).after(None, &failed(false, None)));
        let day_s = 24 * 3_600;
        again(pace(at(day_s - 1)).after(Some(trouble.clone()), &failed(false, None)));
        let verdict = pace(at(day_s)).after(Some(trouble.clone()), &failed(false, None));
        let Verdict::GivenUp(given_up) = verdict else { panic!("a day is over") };
        assert_eq!(pace(at(day_s + 1)).turn(Some(&given_up)), Turn::Never);
        let next_event = Pace { seen: 8, ..pace(at(day_s + 1)) };
        assert_eq!(next_event.turn(Some(&given_up)), Turn::Now);
        let (_, anew) = again(next_event.after(Some(given_up), &failed(false, None)));
        assert_eq!((anew.since, anew.tries), (at(day_s + 1), 1), "patience begins anew");
        let away = pace(at(day_s)).after(Some(trouble), &Came::Away(Duration::from_secs(60)));
        assert!(matches!(away, Verdict::GivenUp(_)), "a host that stays away is given up, too");
    }

    #[test]
    fn waiting_for_a_host_is_no_try() {
        let (_, trouble) = again(pace(at(0)).after(None, &failed(false, None)));
        let away = pace(at(5)).after(Some(trouble.clone()), &Came::Away(Duration::from_secs(60)));
        let (next, met) = again(away);
        assert!(next.duration_since(at(5)).as_secs() >= 60);
        assert_eq!((met.tries, met.since), (1, at(0)));
        let busy = pace(at(5)).after(None, &Came::Busy);
        assert!(matches!(busy, Verdict::Again { trouble: None, at: next } if next <= at(6)), "{busy:?}");
    }

    #[test]
    fn who_is_in_trouble_is_not_tried_before_the_time() {
        let (next, trouble) = again(pace(at(0)).after(None, &failed(false, None)));
        assert_eq!(pace(at(0)).turn(Some(&trouble)), Turn::Later(next));
        assert_eq!(pace(next).turn(Some(&trouble)), Turn::Now);
        assert_eq!(pace(at(0)).turn(None), Turn::Now);
    }
}
