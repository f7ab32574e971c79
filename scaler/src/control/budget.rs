//! The action budget: how many changes the last hour had, counted by minute, so that the memory does not grow.

/// Minutes that are counted: one more than an hour, so that no change leaves before its hour is over.
const MINUTES: usize = 61;
/// Share of the budget from which on only growth may use it.
const GROWTH_ONLY_FROM: f64 = 0.7;

/// Changes by minute.
#[derive(Debug, Clone)]
pub(crate) struct ActionBudget {
    by_minute: [u8; MINUTES],
    newest_minute: f64,
}

impl ActionBudget {
    pub(crate) fn new() -> Self {
        Self { by_minute: [0; MINUTES], newest_minute: f64::NEG_INFINITY }
    }

    /// How many changes the hour before `now_s` had, or a few more.
    pub(crate) fn used(&mut self, now_s: f64) -> u32 {
        self.forget(now_s);
        self.by_minute.iter().map(|count| u32::from(*count)).sum()
    }

    /// Whether one more change is allowed.
    pub(crate) fn allows(&mut self, now_s: f64, max: u32, growth: bool) -> bool {
        let used = f64::from(self.used(now_s));
        let limit = if growth { f64::from(max) } else { (GROWTH_ONLY_FROM * f64::from(max)).max(1.0) };
        used < limit
    }

    /// Counts one change.
    pub(crate) fn note(&mut self, now_s: f64) {
        self.forget(now_s);
        let slot = self.slot(self.newest_minute);
        self.by_minute[slot] = self.by_minute[slot].saturating_add(1);
    }

    fn forget(&mut self, now_s: f64) {
        let minute = (now_s / 60.0).floor();
        let passed = minute - self.newest_minute;
        if passed >= crate::number::from_len(MINUTES) {
            self.by_minute = [0; MINUTES];
        } else {
            for ahead in 1..=crate::number::to_index(passed.max(0.0)) {
                let slot = self.slot(self.newest_minute + crate::number::from_len(ahead));
                self.by_minute[slot] = 0;
            }
        }
        self.newest_minute = self.newest_minute.max(minute);
    }

    fn slot(&self, minute: f64) -> usize {
        crate::number::to_index(minute.rem_euclid(crate::number::from_len(MINUTES))).min(MINUTES - 1)
    }
}
