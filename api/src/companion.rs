//! What else lives in the process: it has something to say in `/readyz` and `/metrics`, and can do what the seams cannot.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_common::store::StoreError;

/// Something that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ailment {
    /// The part, e.g. `docker`.
    pub part: String,
    /// What is wrong with it, for people. Holds no secrets.
    pub reason: String,
    /// Whether questions cannot be answered because of it. Every ailment is in the way of accepting work.
    pub hinders_reads: bool,
}

/// A part of the process beside the API, such as its worker.
#[async_trait]
pub trait Companion: Send + Sync + std::fmt::Debug {
    /// What does not work now; nothing when all is well. Is given less than a second.
    async fn ailments(&self) -> Vec<Ailment>;

    /// Its metrics, at once, in the OpenMetrics text format, without the final `# EOF`.
    fn metrics(&self) -> String;
}

/// What an operator may ask for.
#[async_trait]
pub trait Maintenance: Send + Sync + std::fmt::Debug {
    /// Empties the projection and folds the whole ledger into it again. Answers the number of records, where
    /// it is known; may take minutes.
    ///
    /// # Errors
    /// When the ledger cannot be read or the projection cannot be written.
    async fn rebuild_store(&self) -> Result<Option<u64>, StoreError>;
}

/// What is beside the API in its process.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// What else there is to say.
    pub companion: Option<Arc<dyn Companion>>,
    /// Who carries out what an operator asks for.
    pub maintenance: Option<Arc<dyn Maintenance>>,
}
