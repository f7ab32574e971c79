//! Metric events become samples of containers. Pure.

use jiff::Timestamp;
use slipway_common::metric::{ContainerMeasure, MetricEvent};

use crate::demand::{ContainerSample, Cpu, Key};

/// A moment in seconds since 1970.
pub(crate) fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// The sample of a container event.
pub(crate) fn sample(event: &MetricEvent, container: &ContainerMeasure) -> ContainerSample {
    let used_total_s = container.cpu_used_total_s;
    let cpu = match (used_total_s, container.cpu_used_cores, container.window_s) {
        (None, Some(used_cores), Some(window_s)) => Cpu::Mean { used_cores, window_s },
        // An event that is read has one of the two; what is not a number is dropped and counted as such.
        (total, _, _) => Cpu::Counter { used_total_s: total.unwrap_or(f64::NAN) },
    };
    ContainerSample {
        owner: owner(event),
        container: Key::of(&container.container),
        at_s: seconds(event.at),
        cpu,
        allowed_cores: container.cpu_allowed_cores,
        ready_since_s: container.ready_since.map(seconds),
    }
}

/// The deployment an event names, as the window knows it.
pub(crate) fn owner(event: &MetricEvent) -> Key {
    owner_of(event.deployment)
}

/// A deployment, as the window knows it.
pub(crate) fn owner_of(deployment: slipway_common::model::DeploymentId) -> Key {
    let (high, low) = deployment.as_uuid().as_u64_pair();
    Key::from_number(high ^ low.rotate_left(32))
}

#[cfg(test)]
mod tests {
    use slipway_common::metric::Measured;
    use slipway_common::model::DeploymentId;

    use super::*;

    #[test]
    fn a_counter_and_a_mean_are_told_apart() {
        let deployment = DeploymentId::generate();
        let at: Timestamp = "2026-11-27T12:00:00.5Z".parse().unwrap();
        let counter = ContainerMeasure {
            container: "a".to_owned(),
            cpu_used_total_s: Some(3.0),
            cpu_allowed_cores: 0.5,
            ready_since: Some(at),
            ..ContainerMeasure::default()
        };
        let event = MetricEvent::new(deployment, "test", at, Measured::Container(counter.clone()));
        let read = sample(&event, &counter);
        assert_eq!(read.cpu, Cpu::Counter { used_total_s: 3.0 });
        assert_eq!((read.at_s, read.ready_since_s), (seconds(at), Some(seconds(at))));
        assert!((read.at_s.fract() - 0.5).abs() < 1e-6);
        assert_eq!(read.owner, owner_of(deployment));
        let mean = ContainerMeasure {
            cpu_used_total_s: None,
            cpu_used_cores: Some(0.25),
            window_s: Some(15.0),
            ready_since: None,
            ..counter
        };
        let read = sample(&event, &mean);
        assert_eq!(read.cpu, Cpu::Mean { used_cores: 0.25, window_s: 15.0 });
        assert_eq!(read.ready_since_s, None);
    }
}
