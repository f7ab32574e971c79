//! The sampling window: the newest CPU samples of one deployment, bounded in number and age. What is no sample
//! (not a number, out of order, a repetition, from the future) is refused and counted, so that one broken source can
//! neither move a decision nor fill the memory. Silence means hold.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

#[cfg(test)]
mod tests;

/// One measurement of a deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When it was taken, by the source's clock.
    pub at: Timestamp,
    /// CPU in use over all replicas, in cores.
    pub cpu_cores: f64,
}

/// How much a window keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Most samples kept.
    pub samples_max: usize,
    /// Samples older than this, by the newest sample's clock, are forgotten.
    pub age_max: SignedDuration,
    /// How far ahead of `now` a source's clock may be.
    pub ahead_max: SignedDuration,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self {
            samples_max: 512,
            age_max: SignedDuration::from_mins(10),
            ahead_max: SignedDuration::from_secs(5),
        }
    }
}

/// Why a sample was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a number, infinite or negative.
    #[error("the value is not a finite number of cores")]
    NotANumber,
    /// Of the same time as the newest sample.
    #[error("a sample of that time is known already")]
    Duplicate,
    /// Older than the newest sample.
    #[error("the sample is older than the newest one")]
    OutOfOrder,
    /// From the future, beyond what clocks may differ.
    #[error("the sample is from the future")]
    Ahead,
}

/// How many samples were refused, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// See [`Refusal::NotANumber`].
    pub not_a_number: u64,
    /// See [`Refusal::Duplicate`].
    pub duplicate: u64,
    /// See [`Refusal::OutOfOrder`].
    pub out_of_order: u64,
    /// See [`Refusal::Ahead`].
    pub ahead: u64,
}

/// Why nothing can be decided now; the replica count stays what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// No sample was ever taken.
    Empty,
    /// The newest sample is too old: the metrics are silent.
    Stale {
        /// How old it is.
        age: SignedDuration,
    },
}

/// What the window says over a span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Mean of the samples in the span, in cores.
    pub mean_cpu_cores: f64,
    /// How many samples there were; at least one.
    pub samples: usize,
    /// When the newest of them was taken.
    pub newest_at: Timestamp,
}

/// The newest samples of one deployment.
#[derive(Debug, Clone)]
pub struct SampleWindow {
    limits: WindowLimits,
    samples: VecDeque<Sample>,
    refused: Refused,
}

impl SampleWindow {
    /// An empty window. At least one sample is kept, whatever `limits` says.
    #[must_use]
    pub fn new(limits: WindowLimits) -> Self {
        let limits = WindowLimits { samples_max: limits.samples_max.max(1), ..limits };
        Self { limits, samples: VecDeque::new(), refused: Refused::default() }
    }

    /// Takes a sample, which must be newer than all before it.
    ///
    /// # Errors
    /// When it is no sample; it is counted and changes nothing.
    pub fn push(&mut self, sample: Sample, now: Timestamp) -> Result<(), Refusal> {
        if let Err(refusal) = self.check(sample, now) {
            *self.count(refusal) += 1;
            return Err(refusal);
        }
        self.samples.push_back(sample);
        self.forget(sample.at);
        Ok(())
    }

    /// The mean over the `span` that ends with the newest sample, unless that is older than `stale_after`.
    ///
    /// # Errors
    /// When there is no sample, or none that is recent enough.
    pub fn read(
        &self,
        span: SignedDuration,
        stale_after: SignedDuration,
        now: Timestamp,
    ) -> Result<Reading, Hold> {
        let newest = self.samples.back().ok_or(Hold::Empty)?;
        let age = now.duration_since(newest.at);
        if age > stale_after {
            return Err(Hold::Stale { age });
        }
        let in_span = || self.samples.iter().rev().take_while(|s| newest.at.duration_since(s.at) <= span);
        let samples = in_span().count();
        let mut mean_cpu_cores = 0.0;
        let mut seen = 0.0;
        for sample in in_span() {
            // A running mean: the sum of many large values could overflow, this cannot.
            seen += 1.0;
            mean_cpu_cores += (sample.cpu_cores - mean_cpu_cores) / seen;
        }
        Ok(Reading { mean_cpu_cores, samples, newest_at: newest.at })
    }

    /// How many samples are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether no sample is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How many samples were refused so far.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.refused
    }

    fn check(&self, sample: Sample, now: Timestamp) -> Result<(), Refusal> {
        if !sample.cpu_cores.is_finite() || sample.cpu_cores < 0.0 {
            return Err(Refusal::NotANumber);
        }
        if sample.at.duration_since(now) > self.limits.ahead_max {
            return Err(Refusal::Ahead);
        }
        match self.samples.back() {
            Some(newest) if newest.at == sample.at => Err(Refusal::Duplicate),
            Some(newest) if newest.at > sample.at => Err(Refusal::OutOfOrder),
            Some(_) | None => Ok(()),
        }
    }

    fn count(&mut self, refusal: Refusal) -> &mut u64 {
        match refusal {
            Refusal::NotANumber => &mut self.refused.not_a_number,
            Refusal::Duplicate => &mut self.refused.duplicate,
            Refusal::OutOfOrder => &mut self.refused.out_of_order,
            Refusal::Ahead => &mut self.refused.ahead,
        }
    }

    fn forget(&mut self, newest_at: Timestamp) {
        while self.samples.len() > self.limits.samples_max
            || self
                .samples
                .front()
                .is_some_and(|oldest| newest_at.duration_since(oldest.at) > self.limits.age_max)
        {
            self.samples.pop_front();
        }
    }
}
