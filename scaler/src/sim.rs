//! The simulator: a plant of replicas under a load, the controllers that are compared on it, and the scores.
//! Deterministic: the same arguments give the same figures on every machine.

pub mod command;
pub mod compare;
pub mod controllers;
pub mod hpa;
pub mod kpa;
pub mod load;
pub mod plant;
pub mod plot;
pub mod policy;
pub mod profile;
pub mod report;
pub mod rng;
pub mod run;
pub mod score;
pub mod suite;
pub mod trace;
pub mod tune;

#[cfg(test)]
mod tests;
