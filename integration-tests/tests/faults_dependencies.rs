//! Faults of the parts Slipway depends on: RabbitMQ and Redis down, frozen, silent, full, failing over; and a worker
//! whose disk is full. Real processes, one test at a time.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "faults_dependencies/broker.rs"]
mod broker;
#[path = "faults_dependencies/consumer.rs"]
mod consumer;
#[path = "faults_dependencies/disk.rs"]
mod disk;
#[path = "faults_dependencies/redis.rs"]
mod redis;
