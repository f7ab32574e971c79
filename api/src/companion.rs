//! What else lives in the process and has something to say in `/readyz` and `/metrics`.

/// Something that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ailment {
    /// The part, e.g. `docker`.
    pub part: String,
    /// What is wrong with it, for people. Holds no secrets.
    pub reason: String,
}

/// A part of the process beside the API, such as its worker. Must answer at once, without waiting.
pub trait Companion: Send + Sync + std::fmt::Debug {
    /// What does not work now; nothing when all is well.
    fn ailments(&self) -> Vec<Ailment>;

    /// Its metrics in the OpenMetrics text format, without the final `# EOF`.
    fn metrics(&self) -> String;
}
