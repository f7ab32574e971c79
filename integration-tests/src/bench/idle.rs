//! What `slipway up` costs while nobody uses it.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::figure::{Figure, Goal};
use super::memory::{Memory, mib};
use crate::slipway_process::SlipwayProcess;

/// How long it is left alone.
const IDLE: Duration = Duration::from_secs(10);
const REPETITIONS: usize = 3;
const RESIDENT_MOST_MIB: f64 = 40.0;

/// Starts it, leaves it alone, looks at its memory; the worst of several starts counts. `engine` is the Docker host,
/// if there is one: then the gateway runs too.
///
/// # Errors
/// When it does not start.
pub async fn measure(engine: Option<&str>) -> Result<Vec<Figure>> {
    let settings = engine.map(|host| format!("[docker]\nhost = \"{host}\"\n")).unwrap_or_default();
    let (mut least, mut most) = (u32::MAX, 0);
    for _ in 0..REPETITIONS {
        let process = SlipwayProcess::start(&settings, &[]).await?;
        tokio::time::sleep(IDLE).await;
        let memory = Memory::of(process.pid().context("slipway up has ended")?)?;
        least = least.min(memory.resident_kib);
        most = most.max(memory.resident_kib);
    }
    Ok(vec![
        Figure::told("idle-resident-least", mib(least), "MiB"),
        Figure::new("idle-resident-most", mib(most), "MiB", Goal::AtMost(RESIDENT_MOST_MIB)),
    ])
}
