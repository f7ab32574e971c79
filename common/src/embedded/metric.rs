//! Metric events within one process: from whoever measures to whoever listens, through its memory.
//!
//! Events are handed on as they are, never as messages: nothing that cannot be read arrives here, so M4 has nothing to
//! say. There is no connection that could be lost either.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;

use crate::metric::{
    Backlog, Heard, METRIC_EVENTS_MAX, MetricError, MetricEvent, MetricSubscription, Metrics,
};

/// Everyone who listens.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    listeners: Mutex<Vec<Weak<Backlog>>>,
}

#[async_trait]
impl Metrics for Audience {
    async fn publish(&self, events: &[MetricEvent]) -> Result<(), MetricError> {
        // Held until all have it, so that everyone hears what several say in one and the same order.
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| {
            let Some(backlog) = listener.upgrade() else { return false };
            for message in events.chunks(METRIC_EVENTS_MAX) {
                backlog.put(Heard::Events(message.to_vec()));
            }
            true
        });
        Ok(())
    }

    fn subscribe(&self) -> Box<dyn MetricSubscription> {
        let backlog = Arc::new(Backlog::default());
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Arc::downgrade(&backlog));
        Box::new(Listener { backlog })
    }
}

/// One who listens.
#[derive(Debug)]
struct Listener {
    backlog: Arc<Backlog>,
}

#[async_trait]
impl MetricSubscription for Listener {
    async fn next(&mut self) -> Heard {
        self.backlog.next().await
    }
}
