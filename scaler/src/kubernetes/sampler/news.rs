//! What is new in a round of measurements: each of them is passed on once, and that a replica is gone as
//! well. Pure.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use slipway_common::metric::{ContainerMeasure, Measured, MetricEvent};
use slipway_common::model::DeploymentId;

use super::super::object::{ObjectName, Pod};
use super::super::pod::Wanted;
use super::super::reading::{CpuUse, Reading};
use crate::target::Subject;

/// The replicas of which something was passed on, by deployment and pod.
#[derive(Debug, Default)]
pub(super) struct Published {
    last: HashMap<(DeploymentId, String), Last>,
}

/// What was passed on last.
#[derive(Debug, Clone, Copy)]
struct Last {
    at: Timestamp,
    cpu_allowed_cores: f64,
}

/// What is to be passed on.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) events: Vec<MetricEvent>,
    /// Replicas of which is not known what they may use: they cannot be told.
    pub(super) unbounded: usize,
}

impl Published {
    /// Forgets the deployments that are wanted no more.
    pub(super) fn retain(&mut self, wanted: &Wanted) {
        let deployments: HashSet<DeploymentId> = wanted.values().map(|subject| subject.deployment).collect();
        self.last.retain(|(deployment, _), _| deployments.contains(deployment));
    }

    /// What is new in these pods and readings.
    pub(super) fn news(
        &self,
        source: &str,
        wanted: &Wanted,
        pods: &[Pod],
        readings: &HashMap<ObjectName, Reading>,
        now: Timestamp,
    ) -> News {
        let mut news = News::default();
        let mut there = HashSet::new();
        for pod in pods {
            let Some(subject) = pod.subject(wanted) else { continue };
            let Some(cpu_allowed_cores) = pod.cpu_allowed_cores() else {
                news.unbounded += 1;
                continue;
            };
            let key = (subject.deployment, pod.metadata.name.clone());
            let last = self.last.get(&key).map(|last| last.at);
            there.insert(key);
            let reading = readings.get(&pod.metadata.object_name());
            if let Some(reading) = reading.filter(|reading| last.is_none_or(|last| reading.at > last)) {
                news.events.push(event(source, subject, pod, cpu_allowed_cores, reading));
            }
        }
        let gone = self.last.iter().filter(|(key, _)| !there.contains(*key));
        news.events.extend(gone.map(|((deployment, pod), last)| {
            let measure = ContainerMeasure {
                container: pod.clone(),
                cpu_allowed_cores: last.cpu_allowed_cores,
                gone: true,
                ..ContainerMeasure::default()
            };
            MetricEvent::new(*deployment, source, now, Measured::Container(measure))
        }));
        news
    }

    /// These were passed on.
    pub(super) fn note(&mut self, events: &[MetricEvent]) {
        for event in events {
            let Measured::Container(measure) = &event.measured else { continue };
            let key = (event.deployment, measure.container.clone());
            if measure.gone {
                self.last.remove(&key);
            } else {
                let last = Last { at: event.at, cpu_allowed_cores: measure.cpu_allowed_cores };
                self.last.insert(key, last);
            }
        }
    }
}

fn event(
    source: &str,
    subject: &Subject,
    pod: &Pod,
    cpu_allowed_cores: f64,
    reading: &Reading,
) -> MetricEvent {
    let (cpu_used_total_s, cpu_used_cores, window_s) = match reading.cpu {
        CpuUse::Total { used_s } => (Some(used_s), None, None),
        CpuUse::Mean { used_cores, window_s } => (None, Some(used_cores), Some(window_s)),
    };
    let measure = ContainerMeasure {
        container: pod.metadata.name.clone(),
        owner: pod.controller().map(|owner| format!("{} {}", owner.kind, owner.name)),
        cpu_used_total_s,
        cpu_used_cores,
        window_s,
        cpu_allowed_cores,
        memory_used_bytes: reading.memory_used_bytes,
        memory_allowed_bytes: pod.memory_allowed_bytes(),
        ready_since: pod.ready_since(),
        gone: false,
    };
    MetricEvent::new(subject.deployment, source, reading.at, Measured::Container(measure))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use slipway_common::model::autoscaler::Place;

    use super::*;

    const SOURCE: &str = "metrics.k8s.io";

    fn subject() -> Subject {
        Subject {
            place: Place { project: "shop-1a2b3c".parse().unwrap(), environment: "default".parse().unwrap() },
            deployment: DeploymentId::generate(),
            target: "here".parse().unwrap(),
        }
    }

    fn wanted(subject: &Subject) -> Wanted {
        Wanted::from([(ObjectName::of(subject), subject.clone())])
    }

    fn pod(name: &str, containers: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "namespace": "shop-1a2b3c--default",
                "labels": {
                    "app.kubernetes.io/name": "shop",
                    "app.kubernetes.io/managed-by": "slipway",
                    "slipway.dev/project": "shop-1a2b3c",
                    "slipway.dev/environment": "default",
                    "pod-template-hash": "7d9f",
                },
                "ownerReferences": [
                    { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-7d9f", "controller": true },
                ],
            },
            "spec": { "containers": containers },
            "status": { "phase": "Running", "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-27T11:00:00Z" },
            ] },
        }))
        .unwrap()
    }

    fn bounded(name: &str) -> Pod {
        pod(name, json!([{ "resources": { "limits": { "cpu": "500m", "memory": "1Ki" } } }]))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn readings(second: i64, names: &[&str]) -> HashMap<ObjectName, Reading> {
        let cpu = CpuUse::Mean { used_cores: 0.25, window_s: 15.0 };
        let reading = Reading { at: at(second), cpu, memory_used_bytes: Some(512) };
        let name = |name: &&str| ObjectName {
            namespace: "shop-1a2b3c--default".to_owned(),
            name: (*name).to_owned(),
        };
        names.iter().map(|one| (name(one), reading)).collect()
    }

    fn measures(news: &News) -> Vec<&ContainerMeasure> {
        let of_containers = news.events.iter().filter_map(|event| match &event.measured {
            Measured::Container(measure) => Some(measure),
            Measured::Traffic(_) => None,
        });
        of_containers.collect()
    }

    #[test]
    fn a_measurement_is_passed_on_once() {
        let subject = subject();
        let wanted = wanted(&subject);
        let mut published = Published::default();
        let pods = [bounded("shop-7d9f-a")];
        let first = published.news(SOURCE, &wanted, &pods, &readings(100, &["shop-7d9f-a"]), at(101));
        assert_eq!(first.events.len(), 1);
        assert_eq!((first.events[0].at, first.events[0].deployment), (at(100), subject.deployment));
        let expected = ContainerMeasure {
            container: "shop-7d9f-a".to_owned(),
            owner: Some("ReplicaSet shop-7d9f".to_owned()),
            cpu_used_cores: Some(0.25),
            window_s: Some(15.0),
            cpu_allowed_cores: 0.5,
            memory_used_bytes: Some(512),
            memory_allowed_bytes: Some(1_024),
            ready_since: "2026-11-27T11:00:00Z".parse().ok(),
            ..ContainerMeasure::default()
        };
        assert_eq!(measures(&first), [&expected]);
        let message = MetricEvent::write(&first.events).unwrap();
        assert_eq!(MetricEvent::read(&message).unwrap(), first.events, "it is one that is read");

        let again = published.news(SOURCE, &wanted, &pods, &readings(100, &["shop-7d9f-a"]), at(106));
        assert_eq!(again.events.len(), 1, "what was not passed on is new still");
        published.note(&first.events);
        for second in [99, 100] {
            let old = published.news(SOURCE, &wanted, &pods, &readings(second, &["shop-7d9f-a"]), at(106));
            assert!(old.events.is_empty(), "{second}");
        }
        let next = published.news(SOURCE, &wanted, &pods, &readings(115, &["shop-7d9f-a"]), at(116));
        assert_eq!(next.events.len(), 1);
        assert!(published.news(SOURCE, &wanted, &pods, &HashMap::new(), at(116)).events.is_empty());
    }

    #[test]
    fn that_a_replica_is_gone_is_said_once() {
        let wanted = wanted(&subject());
        let mut published = Published::default();
        let pods = [bounded("shop-7d9f-a"), bounded("shop-7d9f-b")];
        let there = readings(100, &["shop-7d9f-a", "shop-7d9f-b"]);
        published.note(&published.news(SOURCE, &wanted, &pods, &there, at(101)).events);
        let news = published.news(SOURCE, &wanted, &pods[..1], &there, at(106));
        let gone = measures(&news);
        assert_eq!((gone.len(), gone[0].container.as_str(), gone[0].gone), (1, "shop-7d9f-b", true));
        let message = MetricEvent::write(&news.events).unwrap();
        assert_eq!(MetricEvent::read(&message).unwrap(), news.events, "it is one that is read");
        published.note(&news.events);
        assert!(published.news(SOURCE, &wanted, &pods[..1], &there, at(111)).events.is_empty());
    }

    #[test]
    fn a_new_deployment_hears_of_all_and_the_old_one_of_nothing() {
        let (before, after) = (subject(), subject());
        let mut published = Published::default();
        let pods = [bounded("shop-7d9f-a")];
        let there = readings(100, &["shop-7d9f-a"]);
        published.note(&published.news(SOURCE, &wanted(&before), &pods, &there, at(101)).events);
        let wanted = wanted(&after);
        published.retain(&wanted);
        let news = published.news(SOURCE, &wanted, &pods, &there, at(106));
        assert_eq!(news.events.len(), 1);
        assert_eq!((news.events[0].deployment, measures(&news)[0].gone), (after.deployment, false));
    }

    #[test]
    fn a_pod_without_bounds_is_counted_and_not_told() {
        let wanted = wanted(&subject());
        let pods = [pod("shop-7d9f-a", json!([{}])), bounded("shop-7d9f-b")];
        let there = readings(100, &["shop-7d9f-a", "shop-7d9f-b"]);
        let news = Published::default().news(SOURCE, &wanted, &pods, &there, at(101));
        assert_eq!((news.unbounded, measures(&news).len()), (1, 1));
        assert_eq!(measures(&news)[0].container, "shop-7d9f-b");
    }
}
