//! The distributed adapter: queue and ledger on RabbitMQ, store on Redis, for any number of processes.
//!
//! The ledger (a stream) is the record, the queue (quorum queues) is the promise to try, Redis is a projection of
//! the ledger with leases and hints beside it. What Redis has lost costs work, never correctness: no message is
//! dropped on its word unless that word proves that the job is done or that another copy carries the promise.

mod broker;
mod ledger;
mod projector;
mod queue;
mod redis;
mod settings;
mod store;
#[cfg(test)]
mod testing;

pub use settings::{BrokerSettings, DistributedSettings, RedisSettings, SettingsError};
