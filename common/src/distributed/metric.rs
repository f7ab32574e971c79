//! Metric events between processes: a fanout at the broker.
//!
//! What was published while a subscriber had no connection is lost to it without a count, and so is what the broker
//! drops of its queue while its process does not read. Everything else that is lost is told.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use super::broker::{Broker, Listening};
use crate::metric::{
    Backlog, Heard, METRIC_EVENTS_MAX, METRIC_MESSAGE_MAX_BYTES, MetricError, MetricEvent,
    MetricSubscription, Metrics,
};

/// Metric events through this broker.
#[derive(Debug, Clone)]
pub(crate) struct RabbitMetrics {
    broker: Broker,
}

impl RabbitMetrics {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker }
    }
}

#[async_trait]
impl Metrics for RabbitMetrics {
    async fn publish(&self, events: &[MetricEvent]) -> Result<(), MetricError> {
        if events.is_empty() {
            return Ok(());
        }
        let messages = written(events).map_err(unavailable)?;
        self.broker.broadcast(&messages).await.map_err(unavailable)
    }

    fn subscribe(&self) -> Box<dyn MetricSubscription> {
        let backlog = Arc::new(Backlog::default());
        let filled = Arc::clone(&backlog);
        let listening = self.broker.listen(move |message| filled.put(heard(message)));
        Box::new(Subscriber { backlog, _listening: listening })
    }
}

/// A subscriber, whose backlog is filled as messages arrive, whether it asks for them or not.
#[derive(Debug)]
struct Subscriber {
    backlog: Arc<Backlog>,
    _listening: Listening,
}

#[async_trait]
impl MetricSubscription for Subscriber {
    async fn next(&mut self) -> Heard {
        self.backlog.next().await
    }
}

fn heard(message: &[u8]) -> Heard {
    match MetricEvent::read(message) {
        Ok(events) => Heard::Events(events),
        Err(refusal) => Heard::Refused(refusal),
    }
}

/// The messages of these events, in order; as few as can be read.
fn written(events: &[MetricEvent]) -> Result<Vec<Vec<u8>>, serde_json::Error> {
    let message = MetricEvent::write(events)?;
    let is_readable = events.len() <= METRIC_EVENTS_MAX && message.len() <= METRIC_MESSAGE_MAX_BYTES;
    if is_readable || events.len() <= 1 {
        return Ok(vec![message]);
    }
    let (first, second) = events.split_at(events.len() / 2);
    let mut messages = written(first)?;
    messages.extend(written(second)?);
    Ok(messages)
}

fn unavailable(met: impl std::fmt::Display) -> MetricError {
    MetricError::Unavailable { reason: met.to_string() }
}
