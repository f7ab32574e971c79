//! The measurements behind `make bench`: each part runs real processes, answers figures, and knows nothing of how
//! they are printed. BENCHMARKS.md says how each one is taken and what it does not show.

pub mod accept;
pub mod baseline;
pub mod cluster;
pub mod cpu;
pub mod deploy;
pub mod disk;
pub mod figure;
pub mod floor;
pub mod growth;
pub mod hooks;
pub mod idle;
pub mod installation;
pub mod listing;
pub mod load;
pub mod memory;
pub mod null_pipeline;
pub mod projects;
pub mod quorum_accept;
pub mod samples;
pub mod scaler;
pub mod server;
pub mod watch;
pub mod workers;
