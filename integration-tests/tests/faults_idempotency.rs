//! The same thing asked twice, delivered twice or begun twice happens once. Real processes, one test at a time.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "faults_idempotency/keys.rs"]
mod keys;
#[path = "faults_idempotency/order.rs"]
mod order;
#[path = "faults_idempotency/zombie.rs"]
mod zombie;
