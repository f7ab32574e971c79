//! What earlier commands still count for: replicas are taken away only down to it. How long a command counts is
//! learned: a load that keeps coming back is remembered for longer than one that goes for good.
//!
//! For `hold_s` every command counts in full. What lasts beyond that has a form, and several are tried at once: nothing;
//! the peak, which fades; the mean of what was needed; the peak, which ebbs away towards that mean; what is foretold of a
//! load that repeats itself, and nothing else. For each is known
//! what would serve now if it had been followed: the least that it commanded within the last lead time, for what is
//! ordered serves a lead time later, and what is taken away is gone at once. With `x = ln(needed / serving)` its
//! price is
//!
//! ```text
//! exp(a x) / a + exp(-x)      x at most 0.7
//! ```
//!
//! where the second part is what serves, and the first what is late: requests that wait too long grow with a power `a`
//! of the utilisation until all of them do. The sum is least where as much serves as is needed. The forms are mixed
//! by exponential weights of their mean prices (Cesa-Bianchi and Lugosi 2006, "Prediction, Learning, and Games", ch. 2).

use serde::{Deserialize, Serialize};

use super::tuning::Tuning;
use crate::number::{from_len, to_index};

/// How a command counts after `hold_s`. Time constants are multiples of that setting.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// Not at all.
    Forgotten,
    /// The highest one fades, by the same share in every second.
    Fading { times: f64 },
    /// The mean of what was needed.
    Mean { times: f64 },
    /// The highest one moves to the mean of what was needed over [`MEAN_TIMES`].
    Ebbing { times: f64 },
    /// Only what comes; while nothing is foretold, like the form with the lowest price.
    Foretold,
}

const FORMS: [Form; 10] = [
    Form::Forgotten,
    Form::Fading { times: 2.5 },
    Form::Fading { times: 12.5 },
    Form::Fading { times: 37.5 },
    Form::Mean { times: 5.0 },
    Form::Mean { times: MEAN_TIMES },
    Form::Ebbing { times: 2.5 },
    Form::Ebbing { times: 8.0 },
    Form::Ebbing { times: 25.0 },
    Form::Foretold,
];
/// Those before [`Form::Foretold`]: they take part always, and that one since something was foretold.
const OWN: usize = FORMS.len() - 1;
/// The form in use until enough was learned.
const FORM_AT_FIRST: usize = 7;
/// Enough is this long, in seconds.
const LEARNED_MIN_S: f64 = 1_200.0;
/// Time constant of the mean that [`Form::Ebbing`] moves to.
const MEAN_TIMES: f64 = 25.0;
/// A count that was found when the controller began, or that somebody else set, counts for so many times `hold_s`.
const FOUND_TIMES: f64 = 8.0;
/// Parts of `hold_s` in which the highest command is kept, and one more, so that none goes too early.
const PARTS: usize = 8;
/// Parts of a lead time in which the least command is kept.
const LEAD_PARTS: usize = 4;
/// Time constant of the mean prices, in seconds.
const PRICE_S: f64 = 3_600.0;
/// Missing more than this, a logarithm, changes nothing: every request is late then.
const MISSING_MAX: f64 = 0.7;
/// Serving more than this in vain, a logarithm, is not told apart.
const IN_VAIN_MAX: f64 = 3.0;
/// How much less weight a higher price has: a form that is dearer by one hundredth weighs half as much.
const SHARPNESS: f64 = 80.0;
/// Longest time between two commands that is computed with, in seconds.
const PAUSE_MAX_S: f64 = 3_600.0;

/// What is learned of the forms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HoldRecord {
    /// By form, as they are listed.
    price: Vec<f64>,
    learned_s: f64,
    foretold: bool,
}

/// Memory of logarithmic commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HoldMemory {
    /// The highest of each part of `hold_s`.
    highest: [f64; PARTS],
    newest: usize,
    newest_began_s: f64,
    noted_s: f64,
    /// A count that was found, and until when it counts.
    found: (f64, f64),
    /// What was needed on average, in replicas.
    mean_needed: Option<f64>,
    /// What each form makes of the commands, logarithmic.
    counts: [f64; FORMS.len()],
    /// Least command of each form, by parts of the lead time, newest first.
    least: [[f64; LEAD_PARTS]; FORMS.len()],
    part_s: f64,
    price: [f64; FORMS.len()],
    learned_s: f64,
    /// Whether anything was ever foretold.
    foretold: bool,
}

impl HoldMemory {
    pub(crate) fn new() -> Self {
        Self {
            highest: [f64::NEG_INFINITY; PARTS],
            newest: 0,
            newest_began_s: f64::NEG_INFINITY,
            noted_s: f64::NEG_INFINITY,
            found: (f64::NEG_INFINITY, f64::NEG_INFINITY),
            mean_needed: None,
            counts: [f64::NEG_INFINITY; FORMS.len()],
            least: [[f64::INFINITY; LEAD_PARTS]; FORMS.len()],
            part_s: 0.0,
            price: [0.0; FORMS.len()],
            learned_s: 0.0,
            foretold: false,
        }
    }

    /// Forgets every command and remembers a count that was found, logarithmic. What was learned stays.
    pub(crate) fn found(&mut self, now_s: f64, hold_s: f64, ln_count: f64) {
        let Self { price, learned_s, foretold, .. } = *self;
        *self = Self { price, learned_s, foretold, ..Self::new() };
        self.found = (ln_count, now_s + FOUND_TIMES * hold_s);
    }

    /// What was learned.
    pub(crate) fn record(&self) -> HoldRecord {
        HoldRecord { price: self.price.to_vec(), learned_s: self.learned_s, foretold: self.foretold }
    }

    /// Takes over what was learned before; not what is no price, or is of other forms.
    pub(crate) fn recall(&mut self, record: &HoldRecord) {
        let Ok(price) = <[f64; FORMS.len()]>::try_from(record.price.as_slice()) else { return };
        let sound = |value: &f64| (0.0..f64::MAX).contains(value);
        if price.iter().all(sound) && sound(&record.learned_s) {
            self.price = price;
            self.learned_s = record.learned_s.min(PRICE_S);
            self.foretold = record.foretold;
        }
    }

    /// Remembers a command, what was needed when it was given, and what will be, if that is foretold.
    pub(crate) fn note(
        &mut self,
        now_s: f64,
        hold_s: f64,
        (ln_command, ln_needed, ln_foretold): (f64, f64, Option<f64>),
    ) {
        self.turn(now_s, hold_s);
        let slot = &mut self.highest[self.newest];
        *slot = slot.max(ln_command);
        let dt_s = (now_s - self.noted_s).clamp(0.0, PAUSE_MAX_S);
        self.noted_s = now_s;
        let needed = ln_needed.exp();
        let mean = moved(self.mean_needed.unwrap_or(needed), needed, dt_s, MEAN_TIMES * hold_s);
        self.mean_needed = Some(mean);
        self.foretold |= ln_foretold.is_some();
        let cheapest = self.cheapest();
        for (count, form) in self.counts.iter_mut().zip(FORMS) {
            let before = if count.is_finite() { count.exp() } else { needed };
            *count = match form {
                Form::Forgotten => ln_command,
                Form::Fading { times } => ln_command.max(*count - dt_s / (times * hold_s)),
                Form::Mean { times } => moved(before, needed, dt_s, times * hold_s).ln(),
                Form::Ebbing { times } => ln_command.max(moved(before, mean, dt_s, times * hold_s).ln()),
                Form::Foretold => ln_foretold.map_or(f64::NAN, |ln_foretold| ln_foretold.max(ln_command)),
            };
        }
        if self.counts[OWN].is_nan() {
            self.counts[OWN] = self.counts[cheapest];
        }
    }

    /// Learns what each form would have cost now, when so much is needed.
    pub(crate) fn learn(&mut self, lead_s: f64, dt_s: f64, ln_needed: f64, tuning: &Tuning) {
        let in_full = self.in_full();
        if !in_full.is_finite() {
            return;
        }
        self.learned_s = (self.learned_s + dt_s).min(PRICE_S);
        let weight = (dt_s / self.learned_s.max(dt_s)).min(1.0);
        self.part_s += dt_s;
        let turns = self.part_s * from_len(LEAD_PARTS) >= lead_s;
        for (index, count) in self.counts.into_iter().enumerate() {
            let parts = &mut self.least[index];
            if turns {
                parts.rotate_right(1);
                parts[0] = f64::INFINITY;
            }
            parts[0] = parts[0].min(count.max(in_full));
            let serving = parts.iter().copied().fold(f64::INFINITY, f64::min);
            let missing = (ln_needed - serving).clamp(-IN_VAIN_MAX, MISSING_MAX);
            let price = (tuning.late_power * missing).exp() / tuning.late_power + (-missing).exp();
            self.price[index] += weight * (price - self.price[index]);
        }
        if turns {
            self.part_s = 0.0;
        }
    }

    /// What still counts, logarithmic.
    pub(crate) fn counting(&self, now_s: f64) -> f64 {
        let in_full = self.in_full();
        let mixed = self.mixed(|index| self.counts[index].max(in_full));
        let found = if now_s <= self.found.1 { self.found.0 } else { f64::NEG_INFINITY };
        mixed.max(found)
    }

    /// For how long commands count now, in seconds: `hold_s` and the time constants of the forms, as they are mixed.
    pub(crate) fn length_s(&self, hold_s: f64) -> f64 {
        let times = self.mixed(|index| match FORMS[index] {
            Form::Forgotten | Form::Foretold => 0.0,
            Form::Fading { times } | Form::Mean { times } | Form::Ebbing { times } => times,
        });
        hold_s * (1.0 + times)
    }

    /// The mean of a value of the forms by their weights; until enough was learned, that of the first one in use.
    fn mixed(&self, of: impl Fn(usize) -> f64) -> f64 {
        if self.learned_s < LEARNED_MIN_S {
            return of(FORM_AT_FIRST);
        }
        let taking_part = if self.foretold { FORMS.len() } else { OWN };
        let prices = &self.price[..taking_part];
        let least = prices.iter().copied().fold(f64::INFINITY, f64::min);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (index, price) in prices.iter().enumerate() {
            let weight = (-SHARPNESS * (price - least)).exp();
            sum += weight * of(index);
            weights += weight;
        }
        sum / weights
    }

    /// The form of its own with the lowest price; until enough was learned, the first one in use.
    fn cheapest(&self) -> usize {
        if self.learned_s < LEARNED_MIN_S {
            return FORM_AT_FIRST;
        }
        let own = self.price[..OWN].iter().enumerate();
        own.min_by(|one, other| one.1.total_cmp(other.1)).map_or(FORM_AT_FIRST, |(index, _)| index)
    }

    /// The highest command of the last `hold_s`.
    fn in_full(&self) -> f64 {
        self.highest.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Begins new parts as time passes.
    fn turn(&mut self, now_s: f64, hold_s: f64) {
        let part_s = (hold_s / from_len(PARTS - 1)).max(1e-3);
        let passed = ((now_s - self.newest_began_s) / part_s).floor();
        if passed >= from_len(PARTS) {
            self.highest = [f64::NEG_INFINITY; PARTS];
            self.newest_began_s = now_s;
        } else if passed >= 1.0 {
            for _ in 0..to_index(passed) {
                self.newest = (self.newest + 1) % PARTS;
                self.highest[self.newest] = f64::NEG_INFINITY;
            }
            self.newest_began_s += passed * part_s;
        }
    }
}

/// `to + (from - to) exp(-dt / time constant)`
fn moved(from: f64, to: f64, dt_s: f64, time_s: f64) -> f64 {
    to + (from - to) * (-dt_s / time_s).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Mode;

    const HOLD_S: f64 = 24.0;
    const LEAD_S: f64 = 35.0;

    /// A memory that was told every 5 s what is needed, for so long.
    fn told(seconds: u32, needed: impl Fn(f64) -> f64) -> HoldMemory {
        let mut memory = HoldMemory::new();
        let tuning = Tuning::of(Mode::Tight);
        for step in 0..seconds / 5 {
            let now_s = 5.0 * f64::from(step);
            let ln_needed = needed(now_s).ln();
            memory.note(now_s, HOLD_S, (ln_needed, ln_needed, None));
            memory.learn(LEAD_S, 5.0, ln_needed, &tuning);
        }
        memory
    }

    /// From 10 to 30 for a minute, again and again.
    fn bursts(now_s: f64) -> f64 {
        if now_s.rem_euclid(240.0) < 60.0 { 30.0 } else { 10.0 }
    }

    #[test]
    fn what_comes_back_is_remembered_and_what_goes_for_good_is_not() {
        let again = told(7_200, bursts);
        assert!(again.counting(7_200.0).exp() > 20.0, "{}", again.counting(7_200.0).exp());
        let once = told(7_200, |now_s| if now_s < 3_600.0 { 30.0 } else { 10.0 });
        assert!(once.counting(7_200.0).exp() < 11.0, "{}", once.counting(7_200.0).exp());
        assert!(again.length_s(HOLD_S) > once.length_s(HOLD_S));
    }

    #[test]
    fn within_the_setting_every_command_counts_in_full() {
        let mut memory = told(3_600, |_| 10.0);
        memory.note(3_600.0, HOLD_S, (50.0_f64.ln(), 50.0_f64.ln(), None));
        for since_s in [5.0, 10.0, 15.0, 20.0] {
            memory.note(3_600.0 + since_s, HOLD_S, (10.0_f64.ln(), 10.0_f64.ln(), None));
            assert!(memory.counting(3_600.0 + since_s) >= 50.0_f64.ln() - 1e-9, "{since_s}");
        }
    }

    #[test]
    fn a_count_that_was_found_counts_for_a_while_and_teaches_nothing() {
        let mut memory = told(7_200, bursts);
        let learned = memory.price;
        memory.found(7_200.0, HOLD_S, 90.0_f64.ln());
        assert_eq!(memory.price.map(f64::to_bits), learned.map(f64::to_bits));
        memory.note(7_205.0, HOLD_S, (10.0_f64.ln(), 10.0_f64.ln(), None));
        assert!(memory.counting(7_200.0 + FOUND_TIMES * HOLD_S) >= 90.0_f64.ln());
        assert!(memory.counting(7_201.0 + FOUND_TIMES * HOLD_S) < 90.0_f64.ln());
    }

    #[test]
    fn a_long_pause_forgets() {
        let mut memory = told(3_600, |_| 40.0);
        memory.note(90_000.0, HOLD_S, (10.0_f64.ln(), 10.0_f64.ln(), None));
        assert!(memory.in_full() < 11.0_f64.ln());
    }
}
