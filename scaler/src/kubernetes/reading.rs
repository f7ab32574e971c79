//! What was measured of one pod, whoever has measured it. Pure.

use jiff::Timestamp;

use super::object::{ContainerMetrics, PodMetrics};
use super::quantity::{quantity, seconds};
use crate::number;

/// One measurement of one pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    /// The end of the span that was measured.
    pub(super) at: Timestamp,
    pub(super) cpu: CpuUse,
    pub(super) memory_used_bytes: Option<u64>,
}

/// CPU use, as its source knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CpuUse {
    /// CPU time used since the containers began.
    Total { used_s: f64 },
    /// Mean use over a span.
    Mean { used_cores: f64, window_s: f64 },
}

impl Reading {
    /// What `metrics.k8s.io` says; nothing when it makes no sense.
    pub(super) fn of(metrics: &PodMetrics) -> Option<Self> {
        let window_s = seconds(&metrics.window).filter(|window_s| *window_s > 0.0)?;
        let containers = metrics.containers.as_ref().filter(|containers| !containers.is_empty())?;
        let sum = |of: fn(&ContainerMetrics) -> Option<&String>| -> Option<f64> {
            containers.iter().map(|container| quantity(of(container)?)).sum()
        };
        let used_cores = sum(|container| container.usage.cpu.as_ref())?;
        let memory_used_bytes = sum(|container| container.usage.memory.as_ref()).map(number::to_u64);
        Some(Self { at: metrics.timestamp, cpu: CpuUse::Mean { used_cores, window_s }, memory_used_bytes })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(window: &str, containers: Value) -> Option<Reading> {
        let metrics = json!({
            "metadata": { "name": "web-1", "namespace": "shop", "creationTimestamp": null },
            "timestamp": "2026-11-27T12:00:00Z",
            "window": window,
            "containers": containers,
        });
        Reading::of(&serde_json::from_value(metrics).unwrap())
    }

    #[test]
    fn the_containers_of_a_pod_are_added_up() {
        let both = json!([
            { "name": "web", "usage": { "cpu": "250m", "memory": "64Mi" } },
            { "name": "proxy", "usage": { "cpu": "500000000n", "memory": "1024" } },
        ]);
        assert_eq!(
            read("15s", both),
            Some(Reading {
                at: "2026-11-27T12:00:00Z".parse().unwrap(),
                cpu: CpuUse::Mean { used_cores: 0.75, window_s: 15.0 },
                memory_used_bytes: Some(67_109_888),
            })
        );
    }

    #[test]
    fn a_pod_of_which_a_container_is_not_known_says_nothing() {
        let known = json!({ "name": "web", "usage": { "cpu": "250m" } });
        assert!(read("15s", json!([known])).is_some_and(|reading| reading.memory_used_bytes.is_none()));
        assert_eq!(read("15s", json!([known, { "name": "proxy", "usage": {} }])), None);
        assert_eq!(read("15s", json!([known, { "name": "proxy", "usage": { "cpu": "much" } }])), None);
        for none in [json!([]), Value::Null] {
            assert_eq!(read("15s", none), None);
        }
        for window in ["0s", "", "soon"] {
            assert_eq!(read(window, json!([known])), None, "{window}");
        }
    }
}
