//! From what the engine says of a container's use to a measurement. Pure.

use bollard::models::{ContainerCpuStats, ContainerMemoryStats, ContainerStatsResponse, HostConfig};
use jiff::{SignedDuration, Timestamp};
use slipway_common::metric::ContainerMeasure;

use crate::number::{from_len, from_u64};

/// How old a reading may be, and how far ahead of this clock the engine's may go, before its time is not believed.
const READ_AGE_MAX: SignedDuration = SignedDuration::from_secs(10);
const READ_AHEAD_MAX: SignedDuration = SignedDuration::from_secs(2);
/// The period a quota is for when none is given.
const CPU_PERIOD_DEFAULT_US: u64 = 100_000;
const NANOS_PER_S: f64 = 1e9;

/// What the container used by this reading. Nothing when it does not run, or the engine does not say enough.
pub(super) fn measure(stats: &ContainerStatsResponse, limit_cores: Option<f64>) -> Option<ContainerMeasure> {
    let cpu = stats.cpu_stats.as_ref()?;
    let memory = stats.memory_stats.as_ref();
    Some(ContainerMeasure {
        cpu_used_total_s: Some(from_u64(cpu_total_ns(stats)?) / NANOS_PER_S),
        cpu_allowed_cores: limit_cores.or_else(|| machine_cores(cpu))?,
        memory_used_bytes: memory.and_then(memory_used_bytes),
        memory_allowed_bytes: memory.and_then(|memory| memory.limit).filter(|limit| *limit > 0),
        ..ContainerMeasure::default()
    })
}

/// CPU time since the container was started last; nothing when it does not run.
pub(super) fn cpu_total_ns(stats: &ContainerStatsResponse) -> Option<u64> {
    stats.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage.filter(|total| *total > 0)
}

/// When the reading was taken: by the engine's clock if that can be, otherwise `now`.
pub(super) fn read_at(stats: &ContainerStatsResponse, now: Timestamp) -> Timestamp {
    let read = stats.read.as_deref().and_then(|read| read.parse::<Timestamp>().ok());
    let plausible = |read: &Timestamp| {
        let age = now.duration_since(*read);
        age <= READ_AGE_MAX && age >= -READ_AHEAD_MAX
    };
    read.filter(plausible).unwrap_or(now)
}

/// The cores a container may use by its limits; nothing when it has none.
pub(super) fn limit_cores(host: &HostConfig) -> Option<f64> {
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).filter(|v| *v > 0);
    if let Some(nanos) = positive(host.nano_cpus) {
        return Some(from_u64(nanos) / NANOS_PER_S);
    }
    let quota = positive(host.cpu_quota)?;
    Some(from_u64(quota) / from_u64(positive(host.cpu_period).unwrap_or(CPU_PERIOD_DEFAULT_US)))
}

fn machine_cores(cpu: &ContainerCpuStats) -> Option<f64> {
    let online = cpu.online_cpus.filter(|cores| *cores > 0).map(f64::from);
    let counted = || Some(cpu.cpu_usage.as_ref()?.percpu_usage.as_ref()?.len()).filter(|cores| *cores > 0);
    online.or_else(|| counted().map(from_len))
}

/// Without the page cache that can be given back.
fn memory_used_bytes(memory: &ContainerMemoryStats) -> Option<u64> {
    let detail = |key: &str| memory.stats.as_ref().and_then(|all| all.get(key).copied());
    // Named `inactive_file` by version 2 of control groups, `total_inactive_file` by version 1.
    let cache = detail("total_inactive_file").or_else(|| detail("inactive_file")).unwrap_or(0);
    Some(memory.usage?.saturating_sub(cache))
}

#[cfg(test)]
mod tests;
