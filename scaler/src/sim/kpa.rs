//! The rules of Knative's KPA (`autoscaler.go` at 98e5ef90), with CPU in place of concurrency: ticks of 2 s, averages
//! of 60 s and 6 s, panic at twice what serves.

use crate::number::{ceil_count, from_len, to_count};

/// Stable window, in seconds.
const STABLE_S: usize = 60;
/// Panic window, in seconds: 10 % of the stable one.
const PANIC_S: usize = 6;
/// Panic threshold: desired over ready.
const PANIC_THRESHOLD: f64 = 2.0;
/// `max-scale-up-rate`.
const UP_RATE_MAX: f64 = 1_000.0;
/// `max-scale-down-rate`.
const DOWN_RATE_MAX: f64 = 2.0;

/// One KPA.
#[derive(Debug, Clone)]
pub struct Kpa {
    /// Utilisation each replica should have.
    target: f64,
    /// `scale-down-delay`, in ticks.
    delay_ticks: usize,
    panic_since_s: Option<f64>,
    panic_most: u32,
    wanted: Vec<u32>,
}

impl Kpa {
    /// A KPA that starts calmly; `down_delay_s` is `scale-down-delay` (0 by default).
    #[must_use]
    pub fn new(target: f64, down_delay_s: f64) -> Self {
        let delay_ticks = crate::number::to_index(down_delay_s / 2.0);
        Self { target, delay_ticks, panic_since_s: None, panic_most: 0, wanted: Vec::new() }
    }

    /// One tick: total CPU of each of the last seconds, newest last, and how many replicas serve.
    pub fn tick(&mut self, now_s: f64, total_cores: &[f64], ready: u32) -> u32 {
        let ready = f64::from(ready.max(1));
        let most = (UP_RATE_MAX * ready).ceil();
        let least = (ready / DOWN_RATE_MAX).floor();
        let stable = (mean_of_last(total_cores, STABLE_S) / self.target).ceil();
        let panic = (mean_of_last(total_cores, PANIC_S) / self.target).ceil();
        let over = panic / ready >= PANIC_THRESHOLD;
        let stable_wanted = to_count(stable.clamp(least, most));
        let panic_wanted = to_count(panic.clamp(least, most));
        match self.panic_since_s {
            _ if over => self.panic_since_s = Some(now_s),
            Some(since_s) if since_s + from_len(STABLE_S) < now_s => {
                self.panic_since_s = None;
                self.panic_most = 0;
            }
            Some(_) | None => {}
        }
        let wanted = if self.panic_since_s.is_some() {
            self.panic_most = self.panic_most.max(stable_wanted).max(panic_wanted);
            self.panic_most
        } else {
            stable_wanted
        };
        self.delayed(wanted).max(1)
    }

    fn delayed(&mut self, wanted: u32) -> u32 {
        self.wanted.push(wanted);
        let keep = self.delay_ticks + 1;
        if self.wanted.len() > keep {
            let excess = self.wanted.len() - keep;
            self.wanted.drain(..excess);
        }
        self.wanted.iter().copied().max().unwrap_or(wanted)
    }

    /// The floor that a utilisation sets, for who wants the count without the rules.
    #[must_use]
    pub fn static_count(work_replicas: f64, target: f64) -> u32 {
        ceil_count(work_replicas / target).max(1)
    }
}

fn mean_of_last(values: &[f64], count: usize) -> f64 {
    let part = &values[values.len().saturating_sub(count)..];
    part.iter().sum::<f64>() / from_len(part.len().max(1))
}
