//! What of a file an installation limits, beyond what the format does.

use slipway_common::model::request::RequestLimits;

use super::Located;
use super::node::{Place, Problem};

/// A number that an installation limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    field: String,
    place: Place,
    kind: BoundKind,
    value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BoundKind {
    Replicas,
    Hostnames,
    Deadline,
    Memory,
    Cpu,
    Pids,
}

impl Bound {
    pub(super) fn of<T: Copy + TryInto<u64>>(
        kind: BoundKind,
        field: impl Into<String>,
        located: &Located<T>,
    ) -> Self {
        let value = located.value.try_into().unwrap_or(u64::MAX);
        Self { field: field.into(), place: located.place, kind, value }
    }

    pub(super) fn replicas(field: String, replicas: &Located<u32>) -> Self {
        Self::of(BoundKind::Replicas, field, replicas)
    }

    pub(super) fn hostnames(field: String, count: &Located<usize>) -> Self {
        Self::of(BoundKind::Hostnames, field, count)
    }

    /// What is wrong with it where `limits` hold.
    pub(super) fn check(&self, limits: &RequestLimits) -> Option<Problem> {
        let count = |most: usize| u64::try_from(most).unwrap_or(u64::MAX);
        let (least, most) = match self.kind {
            BoundKind::Replicas => (1, u64::from(limits.replicas_max)),
            BoundKind::Hostnames => (0, count(limits.hostnames_max)),
            BoundKind::Deadline => (1, limits.health_deadline_max_ms),
            BoundKind::Memory => (limits.memory_min_bytes, limits.memory_max_bytes),
            BoundKind::Cpu => (10, u64::from(limits.cpu_max_millis)),
            BoundKind::Pids => (1, u64::from(limits.pids_max)),
        };
        let reason = match self.kind {
            BoundKind::Hostnames => format!("has {} names, more than the limit of {most}", self.value),
            BoundKind::Replicas
            | BoundKind::Deadline
            | BoundKind::Memory
            | BoundKind::Cpu
            | BoundKind::Pids => format!("must be from {least} to {most}"),
        };
        let fits = (least..=most).contains(&self.value);
        (!fits).then(|| Problem { place: self.place, field: self.field.clone(), reason })
    }
}
