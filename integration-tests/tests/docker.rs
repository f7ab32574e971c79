//! The Docker target on a real engine: build, apply, observe and stop, and what happens when they fail half-way.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

#[path = "docker/applying.rs"]
mod applying;
#[path = "docker/building.rs"]
mod building;
#[path = "docker/corner.rs"]
mod corner;
