//! A load: how many requests arrive in each second.

/// Requests per second, second by second.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// What it is called in tables.
    pub name: String,
    rates_per_s: Vec<f64>,
}

/// CPU time of one request, in seconds, on average.
pub const REQUEST_CPU_S: f64 = 0.05;

impl Load {
    /// A load of one rate for each second; what is not finite or is negative counts as none.
    #[must_use]
    pub fn new(name: &str, rates_per_s: Vec<f64>) -> Self {
        let rates_per_s =
            rates_per_s.into_iter().map(|rate| if rate.is_finite() { rate.max(0.0) } else { 0.0 }).collect();
        Self { name: name.to_owned(), rates_per_s }
    }

    /// A load given as work in replicas that it keeps busy.
    #[must_use]
    pub fn of_work(name: &str, work_replicas: Vec<f64>) -> Self {
        Self::new(name, work_replicas.into_iter().map(|work| work / REQUEST_CPU_S).collect())
    }

    /// Length in seconds.
    #[must_use]
    pub fn duration_s(&self) -> usize {
        self.rates_per_s.len()
    }

    /// The rate in a second; after the end the last one holds.
    #[must_use]
    pub fn rate_per_s(&self, second: usize) -> f64 {
        let last = self.rates_per_s.len().saturating_sub(1);
        self.rates_per_s.get(second.min(last)).copied().unwrap_or(0.0)
    }

    /// The work of a second, in replicas that it keeps busy.
    #[must_use]
    pub fn work_replicas(&self, second: usize) -> f64 {
        self.rate_per_s(second) * REQUEST_CPU_S
    }

    /// The largest work of the seconds from `from` to `to`, both included.
    #[must_use]
    pub fn peak_replicas(&self, from: usize, to: usize) -> f64 {
        (from..=to).map(|second| self.work_replicas(second)).fold(0.0, f64::max)
    }
}
