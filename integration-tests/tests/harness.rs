//! The harness itself: what it says it does to brokers, stores and lines really happens, and nothing outlives it.

#[path = "harness/lines.rs"]
mod lines;
#[path = "harness/processes.rs"]
mod processes;
#[path = "harness/rabbitmq.rs"]
mod rabbitmq;
#[path = "harness/redis.rs"]
mod redis;
