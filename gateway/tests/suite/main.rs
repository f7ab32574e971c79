//! The gateway in front of real TCP servers, with its routes fed by hand; and once a real engine.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod balance;
mod docker;
mod drain;
mod limits;
mod listeners;
mod process;
mod protocol;
mod routes;
mod streaming;
mod support;
mod traffic;
