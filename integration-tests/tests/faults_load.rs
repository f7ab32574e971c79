//! Too much work, work that is not evenly spread, and messages that are none. Real processes, one test at a time.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "faults_load/garbage.rs"]
mod garbage;
#[path = "faults_load/overload.rs"]
mod overload;
#[path = "faults_load/poison.rs"]
mod poison;
#[path = "faults_load/sharing.rs"]
mod sharing;
