//! From a wish to a count: dead band, memory and margin downwards, rates, pauses, the action budget, the limits.
//! Every limit that takes part is noted.

use super::budget::ActionBudget;
use super::hold::{HoldMemory, HoldRecord};
use super::tuning::Tuning;
use crate::number::{ceil_count, to_count};
use crate::settings::AutoscalerSettings;
use slipway_common::model::autoscaler::Reason;
use slipway_common::model::autoscaler::{Clamp, Clamps};

/// Growth in one decision is at most to so many times the count, plus a few for small counts.
const GROWTH_MAX_FACTOR: f64 = 8.0;
/// The few.
const GROWTH_MAX_PLUS: u32 = 4;
/// Largest logarithm of a count that is computed with; replica limits are far below.
pub(crate) const LN_COUNT_MAX: f64 = 16.0;

/// What the law wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// Logarithm of the replicas commanded.
    pub(crate) ln_command: f64,
    /// Smallest relative change that is acted on.
    pub(crate) dead_band: f64,
    /// After a jump or at the ceiling: growth does not wait for the pause between changes.
    pub(crate) urgent: bool,
    /// Logarithm of the replicas that the measured demand needs; at the ceiling, of the fewest that it may need.
    pub(crate) ln_needed: f64,
    /// Logarithm of the replicas that what comes within a lead time needs, if it is foretold.
    pub(crate) ln_foretold: Option<f64>,
    /// What enters the memory, logarithmic; nothing while the demand is a lower bound.
    pub(crate) lasting: Option<f64>,
    /// Work waits, or the demand is a lower bound: nothing is taken away.
    pub(crate) keep: bool,
    /// Arrivals say what the demand is: work that is done later than it came does not distort it.
    pub(crate) forward: bool,
    /// Constants were changed a moment ago: at most one replica.
    pub(crate) gentle: bool,
    /// Time from an order to its effect, in seconds.
    pub(crate) lead_s: f64,
    /// Time since the last wish, in seconds.
    pub(crate) dt_s: f64,
}

/// Memory of what was done.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    hold: HoldMemory,
    budget: ActionBudget,
    /// The changes among them that were growth.
    growth: ActionBudget,
    /// How much may be taken away now, logarithmic.
    down_allowance: f64,
    /// Until then what was ordered on a guess may be given back without the limit on the rate.
    release_until_s: f64,
    last_action_s: f64,
}

impl Shape {
    pub(crate) fn new() -> Self {
        Self {
            hold: HoldMemory::new(),
            budget: ActionBudget::new(),
            growth: ActionBudget::new(),
            down_allowance: 0.0,
            release_until_s: f64::NEG_INFINITY,
            last_action_s: f64::NEG_INFINITY,
        }
    }

    /// What was learned of what earlier commands count for.
    pub(crate) fn record(&self) -> HoldRecord {
        self.hold.record()
    }

    /// Takes over what was learned before.
    pub(crate) fn recall(&mut self, record: &HoldRecord) {
        self.hold.recall(record);
    }

    /// The count that is there is what is remembered: nothing is taken away before the memory has run out.
    pub(crate) fn remember_count(&mut self, now_s: f64, hold_s: f64, replicas: u32) {
        // A hair below the whole number, so that rounding does not make it one more.
        self.hold.found(now_s, hold_s, (f64::from(replicas.max(1)) - 1e-6).ln());
        self.down_allowance = 0.0;
    }

    /// The demand can be measured again: for a while, what was ordered on a guess goes back at once.
    pub(crate) fn release(&mut self, until_s: f64) {
        self.release_until_s = until_s;
    }

    /// Whether the demand looks larger than it is, because queues are worked off after the ceiling was left.
    pub(crate) fn is_distorted(&self, now_s: f64) -> bool {
        now_s <= self.release_until_s
    }

    /// What earlier commands still count for, logarithmic.
    pub(crate) fn held(&self, now_s: f64) -> f64 {
        self.hold.counting(now_s)
    }

    /// For how long commands count now, in seconds.
    pub(crate) fn hold_s(&self, settings: &AutoscalerSettings) -> f64 {
        self.hold.length_s(settings.hold_s())
    }

    /// How often the count grew in the last hour.
    pub(crate) fn growths(&mut self, now_s: f64) -> u32 {
        self.growth.used(now_s)
    }

    /// Time passes: what may be taken away grows.
    ///
    /// The allowance grows by `-ln(1 - percent / 100)` a minute, up to one minute's worth, and at least far enough
    /// that one of two replicas can go.
    pub(crate) fn pass(&mut self, dt_s: f64, settings: &AutoscalerSettings) {
        let share = (settings.down_percent_per_min() / 100.0).min(0.999);
        let per_min = -(1.0 - share).ln();
        let most = per_min.max(2f64.ln() + 1e-9);
        self.down_allowance = (self.down_allowance + per_min * dt_s / 60.0).min(most);
    }

    /// The new count, or why it stays.
    pub(crate) fn decide(
        &mut self,
        now_s: f64,
        replicas: u32,
        wish: &Wish,
        (settings, tuning): (&AutoscalerSettings, &Tuning),
        clamps: &mut Clamps,
    ) -> Result<u32, Reason> {
        // What looks larger than it is, is not to be remembered.
        if wish.forward || !self.is_distorted(now_s) {
            if let Some(ln_lasting) = wish.lasting {
                let noted = (ln_lasting, wish.ln_needed, wish.ln_foretold);
                self.hold.note(now_s, settings.hold_s(), noted);
            }
            self.hold.learn(wish.lead_s, wish.dt_s, wish.ln_needed, tuning);
        }
        let (min, max) = settings.replicas();
        if replicas < min.get() || replicas > max.get() {
            // A limit that somebody moved holds at once, whatever was spent.
            clamps.add(if replicas < min.get() { Clamp::Min } else { Clamp::Max });
            return Ok(self.done(now_s, replicas.clamp(min.get(), max.get())));
        }
        let count = f64::from(replicas);
        let target = if wish.ln_command > count.ln() + wish.dead_band {
            self.grow(now_s, replicas, wish, (settings, tuning), clamps)?
        } else if wish.keep {
            return Err(Reason::AwaitingReplicas);
        } else {
            self.shrink(now_s, replicas, wish, (settings, tuning), clamps)?
        };
        if target > replicas {
            self.growth.note(now_s);
        }
        Ok(self.done(now_s, target))
    }

    fn grow(
        &mut self,
        now_s: f64,
        replicas: u32,
        wish: &Wish,
        (settings, tuning): (&AutoscalerSettings, &Tuning),
        clamps: &mut Clamps,
    ) -> Result<u32, Reason> {
        let mut target = ceil_count(wish.ln_command.exp()).max(replicas.saturating_add(1));
        let chunk = ceil_count(f64::from(replicas) * (1.0 + tuning.up_chunk));
        if chunk > target {
            target = chunk;
            clamps.add(Clamp::Chunk);
        }
        let most = to_count(f64::from(replicas) * GROWTH_MAX_FACTOR).saturating_add(GROWTH_MAX_PLUS);
        if target > most {
            target = most;
            clamps.add(Clamp::UpGrowth);
        }
        if wish.gentle && target > replicas + 1 {
            target = replicas + 1;
            clamps.add(Clamp::Bumpless);
        }
        let max = settings.replicas().1.get();
        if target > max {
            target = max;
            clamps.add(Clamp::Max);
        }
        if target <= replicas {
            return Err(Reason::AtLimit);
        }
        if !wish.urgent && now_s - self.last_action_s < tuning.interval_min_s {
            clamps.add(Clamp::MinInterval);
            return Err(Reason::MinInterval);
        }
        self.afford(now_s, settings, true, clamps).map(|()| target)
    }

    fn shrink(
        &mut self,
        now_s: f64,
        replicas: u32,
        wish: &Wish,
        (settings, tuning): (&AutoscalerSettings, &Tuning),
        clamps: &mut Clamps,
    ) -> Result<u32, Reason> {
        let margin = wish.dead_band.max((1.0 + settings.hysteresis()).ln());
        let wanted_now = ceil_count(wish.ln_command.exp());
        let held = self.held(now_s).max(wish.ln_command);
        let mut target = ceil_count((held + margin).exp()).max(1);
        if target >= replicas {
            return Err(why_not_fewer(wanted_now, replicas, held, wish, clamps));
        }
        let floor = settings.replicas().0.get();
        if target < floor {
            target = floor;
            clamps.add(Clamp::Min);
        }
        if wish.gentle && target + 1 < replicas {
            target = replicas - 1;
            clamps.add(Clamp::Bumpless);
        }
        let allowed = ceil_count(f64::from(replicas) * (-self.down_allowance).exp());
        if target < allowed && now_s > self.release_until_s {
            target = allowed;
            clamps.add(Clamp::DownRate);
        }
        if target >= replicas {
            return Err(if floor >= replicas { Reason::AtLimit } else { Reason::DownRate });
        }
        if now_s - self.last_action_s < tuning.interval_min_s {
            clamps.add(Clamp::MinInterval);
            return Err(Reason::MinInterval);
        }
        self.afford(now_s, settings, false, clamps)?;
        self.down_allowance -= (f64::from(replicas) / f64::from(target)).ln();
        self.down_allowance = self.down_allowance.max(0.0);
        Ok(target)
    }

    fn afford(
        &mut self,
        now_s: f64,
        settings: &AutoscalerSettings,
        growth: bool,
        clamps: &mut Clamps,
    ) -> Result<(), Reason> {
        if self.budget.allows(now_s, settings.actions_per_hour_max(), growth) {
            return Ok(());
        }
        clamps.add(Clamp::ActionBudget);
        Err(Reason::ActionBudget)
    }

    fn done(&mut self, now_s: f64, target: u32) -> u32 {
        self.last_action_s = now_s;
        self.budget.note(now_s);
        target
    }
}

fn why_not_fewer(wanted_now: u32, replicas: u32, held: f64, wish: &Wish, clamps: &mut Clamps) -> Reason {
    if wanted_now > replicas {
        clamps.add(Clamp::DeadBand);
        return Reason::DeadBand;
    }
    if wanted_now == replicas {
        return Reason::OnTarget;
    }
    let remembered = held > wish.ln_command + wish.dead_band;
    clamps.add(if remembered { Clamp::HoldMemory } else { Clamp::Hysteresis });
    Reason::HoldingDown
}
