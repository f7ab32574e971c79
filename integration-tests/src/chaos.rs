//! The long fault run behind `make chaos`: many jobs, many random faults over every part, and the effect ledger as
//! the judge. Everything random comes from one seed.

mod client;
mod dice;
mod faults;
mod history;
mod plan;
mod report;
mod run;
mod site;
mod watch;

pub use dice::Dice;
pub use plan::{Fault, FaultKind, Part, Plan, Planned, Shape};
pub use report::{Report, Tally};
pub use run::{ChaosSettings, run};
pub use site::Site;
