//! Growth while the CPU stands at its ceiling. There, utilisation says only that demand is at least what serves, so
//! the plain error would grow by one target's worth however great the overload is. Growth goes by rounds: one order,
//! then nothing until nearly all of it serves and the ceiling still holds (which is the anti-windup against the sensor).
//! The first order is enlarged by the size of the jump that led here and by what earlier episodes turned out to hide.

use super::tuning::Tuning;

/// Weight of one finished episode in what is learned.
const LEARN_WEIGHT: f64 = 0.3;
/// Most that an episode may teach, logarithmic.
const LEARN_MAX: f64 = 2.0;
/// Levels that are kept to know the demand before a jump, which may come in the middle of a window.
const LEVELS: usize = 4;
/// After so many start-up times a round that is not complete is given up, and the next may begin.
const ROUND_PATIENCE_STARTUPS: f64 = 3.0;

/// What is seen of the fleet in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) now_s: f64,
    /// When the window of the measurement ended.
    pub(crate) measured_s: f64,
    pub(crate) window_s: f64,
    pub(crate) saturated: bool,
    /// Whether all of the CPU is used: what is measured says nothing of how much is missing. At the ceiling without that,
    /// some containers still had room, and little can be hidden.
    pub(crate) full: bool,
    /// Logarithm of the measured demand.
    pub(crate) ln_measured: f64,
    /// Logarithm of the replicas that serve.
    pub(crate) ln_ready: f64,
    /// Replicas that served for the whole window.
    pub(crate) served: f64,
    /// Replicas ordered.
    pub(crate) ordered: f64,
    pub(crate) ki: f64,
    pub(crate) startup_s: f64,
    /// A boost that requests in flight suggest.
    pub(crate) hint: f64,
}

/// What the ceiling means for the command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outlook {
    /// The CPU can be measured.
    Clear,
    /// It can again: the measurement replaces everything that was guessed.
    Cleared,
    /// At the ceiling: this boost over what serves, now.
    Grow {
        /// Logarithmic.
        boost: f64,
        round: u32,
    },
    /// At the ceiling, and what was ordered must serve first.
    Await { round: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Episode {
    ln_ready_at_onset: f64,
    round: u32,
    round_began_s: f64,
    /// Replicas that served when the round began.
    served_before: f64,
    complete_since_s: Option<f64>,
    /// The boost that the first order did not get, because some containers still had room.
    first_boost: Option<f64>,
    /// Measurements below the ceiling in a row.
    below: u32,
}

impl Episode {
    /// Share of the replicas that the round has ordered which serve; of all of them when it has ordered none.
    fn share(&self, sight: &Sight) -> f64 {
        let more = sight.ordered - self.served_before;
        if more > 0.0 {
            (sight.served - self.served_before) / more
        } else {
            sight.served / sight.ordered.max(1.0)
        }
    }
}

impl Episode {
    /// Whether a measurement below the ceiling is no proof yet: what was ordered still starts, and it is the first.
    fn may_be_chance(&self, sight: &Sight, tuning: &Tuning) -> bool {
        self.below == 0 && self.share(sight) < tuning.round_complete
    }
}

/// State of growth at the ceiling.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blind {
    episode: Option<Episode>,
    learned: f64,
    levels: [f64; LEVELS],
}

impl Blind {
    pub(crate) fn new() -> Self {
        Self { episode: None, learned: 0.0, levels: [f64::INFINITY; LEVELS] }
    }

    /// Demand that the ceiling was found to hide, logarithmic.
    pub(crate) fn hidden(&self) -> f64 {
        self.learned
    }

    /// Takes over what was found before; not what is beyond what an episode may teach.
    pub(crate) fn recall(&mut self, hidden: f64) {
        if (0.0..=LEARN_MAX).contains(&hidden) {
            self.learned = hidden;
        }
    }

    /// Notes the level of a step in which the CPU could be measured.
    pub(crate) fn note_level(&mut self, ln_level: f64) {
        self.levels.rotate_right(1);
        self.levels[0] = ln_level;
    }

    /// Forgets the episode and the levels, keeps what was learned.
    pub(crate) fn restart(&mut self) {
        *self = Self { learned: self.learned, ..Self::new() };
    }

    pub(crate) fn look(&mut self, sight: &Sight, tuning: &Tuning) -> Outlook {
        match (self.episode, sight.saturated) {
            (None, false) => Outlook::Clear,
            (None, true) => self.enter(sight, tuning),
            (Some(episode), true) => self.stay(episode, sight, tuning),
            (Some(episode), false) if episode.may_be_chance(sight, tuning) => {
                self.episode = Some(Episode { below: episode.below + 1, ..episode });
                Outlook::Await { round: episode.round }
            }
            (Some(episode), false) => {
                let hidden = (sight.ln_measured - episode.ln_ready_at_onset).clamp(0.0, LEARN_MAX);
                self.learned += LEARN_WEIGHT * (hidden - self.learned);
                self.episode = None;
                // What was before the jump has been made good for.
                self.levels = [f64::INFINITY; LEVELS];
                Outlook::Cleared
            }
        }
    }

    fn enter(&mut self, sight: &Sight, tuning: &Tuning) -> Outlook {
        let before = self.levels.iter().copied().fold(f64::INFINITY, f64::min);
        let jump = if before.is_finite() { (sight.ln_ready - before).max(0.0) } else { 0.0 };
        let boost = (tuning.boost_jump * jump).max(tuning.boost_learned * self.learned).max(sight.hint);
        let boost = (boost * sight.ki.min(1.0)).min(tuning.boost_max);
        self.episode = Some(Episode {
            ln_ready_at_onset: sight.ln_ready,
            round: 1,
            round_began_s: sight.now_s,
            served_before: sight.served,
            complete_since_s: None,
            first_boost: (!sight.full).then_some(boost),
            below: 0,
        });
        Outlook::Grow { boost: if sight.full { boost } else { 0.0 }, round: 1 }
    }

    fn stay(&mut self, mut episode: Episode, sight: &Sight, tuning: &Tuning) -> Outlook {
        episode.below = 0;
        if sight.full
            && episode.round == 1
            && let Some(boost) = episode.first_boost.take()
        {
            self.episode = Some(episode);
            return Outlook::Grow { boost, round: 1 };
        }
        if episode.share(sight) < tuning.round_complete {
            episode.complete_since_s = None;
        } else if episode.complete_since_s.is_none() {
            episode.complete_since_s = Some(sight.measured_s - sight.window_s);
        }
        let wait_s = tuning.round_wait_windows * sight.window_s;
        let seen_whole = episode.complete_since_s.is_some_and(|since| sight.measured_s >= since + wait_s);
        let patience_s = ROUND_PATIENCE_STARTUPS * sight.startup_s;
        if seen_whole || sight.now_s - episode.round_began_s > patience_s {
            episode.round = episode.round.saturating_add(1);
            episode.round_began_s = sight.now_s;
            episode.served_before = sight.served;
            episode.complete_since_s = None;
            self.episode = Some(episode);
            let boost = (tuning.boost_round * sight.ki).max(sight.hint).min(tuning.boost_max);
            return Outlook::Grow { boost, round: episode.round };
        }
        self.episode = Some(episode);
        Outlook::Await { round: episode.round }
    }
}
