//! Slipway's Git against a real Git host: reading, hostile input, broken networks, and pushing.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that should not fail, helpers included"
)]

#[path = "git/fixture.rs"]
mod fixture;
#[path = "git/hostile.rs"]
mod hostile;
#[path = "git/network.rs"]
mod network;
#[path = "git/push.rs"]
mod push;
#[path = "git/read.rs"]
mod read;
