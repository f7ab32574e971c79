//! What the ledger has of jobs, in its order: read from the broker, past Slipway.

use serde_json::Value;

use crate::rabbitmq::RawMessage;

/// One event of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The job.
    pub job: String,
    /// Its name, such as `stage_started`.
    pub event: String,
    /// The stage, if it is about one.
    pub stage: Option<String>,
    /// The fencing token it was written under.
    pub fence: u64,
}

/// Every event among the records of a ledger, each once: a repetition has the same id.
#[must_use]
pub fn steps(records: &[RawMessage]) -> Vec<Step> {
    let mut seen = std::collections::BTreeSet::new();
    let read = records.iter().filter_map(|record| serde_json::from_slice::<Value>(&record.body).ok());
    let events = read.filter(|record| record["record"] == "event");
    events
        .filter(|record| seen.insert(record["id"].as_str().unwrap_or_default().to_owned()))
        .map(|record| Step {
            job: record["job"].as_str().unwrap_or_default().to_owned(),
            event: record["event"].as_str().unwrap_or_default().to_owned(),
            stage: record["stage"].as_str().map(str::to_owned),
            fence: record["fence"].as_u64().unwrap_or_default(),
        })
        .collect()
}
