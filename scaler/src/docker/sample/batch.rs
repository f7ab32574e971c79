//! What is published together: the newest measurement of each container, and who is gone.

use std::collections::HashMap;

use slipway_common::metric::MetricEvent;

/// Most containers whose end waits to be published; what is beyond is learned from their silence.
const GONE_MAX: usize = 2_000;

/// Events that wait to be published.
#[derive(Debug, Default)]
pub(super) struct Batch {
    gone: Vec<MetricEvent>,
    newest: HashMap<String, MetricEvent>,
}

impl Batch {
    /// A measurement of the container `id`.
    pub(super) fn take(&mut self, id: String, event: MetricEvent) {
        let known = self.newest.get(&id);
        if known.is_none_or(|known| known.at <= event.at) {
            self.newest.insert(id, event);
        }
    }

    /// The container `id` is gone.
    pub(super) fn gone(&mut self, id: &str, event: MetricEvent) {
        self.newest.remove(id);
        if self.gone.len() < GONE_MAX {
            self.gone.push(event);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.newest.is_empty()
    }

    /// All of them. Who is gone comes first: its name may already be that of another.
    pub(super) fn into_events(self) -> Vec<MetricEvent> {
        self.gone.into_iter().chain(self.newest.into_values()).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use slipway_common::metric::{ContainerMeasure, Measured};
    use slipway_common::model::DeploymentId;

    use super::*;

    fn event(name: &str, at_s: i64, gone: bool) -> MetricEvent {
        let measure = ContainerMeasure { container: name.to_owned(), gone, ..ContainerMeasure::default() };
        let at = Timestamp::from_second(at_s).unwrap();
        MetricEvent::new(DeploymentId::generate(), "docker", at, Measured::Container(measure))
    }

    #[test]
    fn each_container_is_in_a_batch_once_with_its_newest_reading() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        for at_s in [100, 102, 101] {
            batch.take("a".to_owned(), event("shop-1", at_s, false));
        }
        batch.take("b".to_owned(), event("shop-2", 100, false));
        let mut seconds: Vec<i64> = batch.into_events().iter().map(|event| event.at.as_second()).collect();
        seconds.sort_unstable();
        assert_eq!(seconds, [100, 102]);
    }

    #[test]
    fn who_is_gone_comes_before_who_has_its_name_now() {
        let mut batch = Batch::default();
        batch.take("old".to_owned(), event("shop-1", 100, false));
        batch.take("new".to_owned(), event("shop-1", 101, false));
        batch.gone("old", event("shop-1", 102, true));
        let gone = |event: &MetricEvent| matches!(&event.measured, Measured::Container(one) if one.gone);
        let all: Vec<bool> = batch.into_events().iter().map(gone).collect();
        assert_eq!(all, [true, false]);
    }
}
