//! What waits for one subscriber: bounded, and the oldest go first.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Heard, METRIC_BACKLOG_MAX};

/// Events that wait for a subscriber at most, however few messages they came in.
const BACKLOG_EVENTS_MAX: usize = 100_000;

/// What waits for one subscriber. Whoever fills it never waits.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Heard>,
    /// Events in all messages.
    events: usize,
    /// Messages that were dropped since this was last told.
    missed: u64,
}

impl Backlog {
    /// Puts a message behind the others, and drops the oldest if there are too many.
    pub(crate) fn put(&self, heard: Heard) {
        self.lock().put(heard);
        self.more.notify_one();
    }

    /// What is next. For one subscriber, who may give up waiting.
    pub(crate) async fn next(&self) -> Heard {
        loop {
            if let Some(heard) = self.lock().take() {
                return heard;
            }
            // What was put since the look has left a permit.
            self.more.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn put(&mut self, heard: Heard) {
        self.events += events_of(&heard);
        self.messages.push_back(heard);
        while self.messages.len() > METRIC_BACKLOG_MAX || self.events > BACKLOG_EVENTS_MAX {
            let Some(lost) = self.messages.pop_front() else { return };
            self.events -= events_of(&lost);
            self.missed += 1;
        }
    }

    fn take(&mut self) -> Option<Heard> {
        if self.missed > 0 {
            // They were older than all that is left.
            return Some(Heard::Missed(std::mem::take(&mut self.missed)));
        }
        let heard = self.messages.pop_front()?;
        self.events -= events_of(&heard);
        Some(heard)
    }
}

fn events_of(heard: &Heard) -> usize {
    match heard {
        Heard::Events(events) => events.len(),
        Heard::Refused(_) | Heard::Missed(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::metric::{METRIC_EVENTS_MAX, Measured, MetricEvent, MetricRefusal, TrafficMeasure};
    use crate::model::DeploymentId;

    fn message(events: usize) -> Heard {
        let measured = Measured::Traffic(TrafficMeasure::default());
        let event = MetricEvent::new(DeploymentId::generate(), "test", Timestamp::UNIX_EPOCH, measured);
        Heard::Events(vec![event; events])
    }

    #[tokio::test]
    async fn what_is_too_much_is_dropped_from_the_front_and_told_once() {
        let backlog = Backlog::default();
        let first = message(1);
        backlog.put(first.clone());
        for _ in 1..METRIC_BACKLOG_MAX {
            backlog.put(message(1));
        }
        assert_eq!(backlog.lock().missed, 0, "as many as may wait");
        let last = Heard::Refused(MetricRefusal::Version { version: 9 });
        backlog.put(message(1));
        backlog.put(last.clone());
        assert_eq!(backlog.next().await, Heard::Missed(2));
        for _ in 0..METRIC_BACKLOG_MAX - 1 {
            let next = backlog.next().await;
            assert!(matches!(next, Heard::Events(_)) && next != first, "{next:?}");
        }
        assert_eq!(backlog.next().await, last);
        assert!(backlog.lock().take().is_none());
    }

    #[tokio::test]
    async fn few_messages_of_many_events_are_too_much_as_well() {
        let backlog = Backlog::default();
        let fit = BACKLOG_EVENTS_MAX / METRIC_EVENTS_MAX;
        for _ in 0..fit + 3 {
            backlog.put(message(METRIC_EVENTS_MAX));
        }
        assert_eq!(backlog.next().await, Heard::Missed(3));
        for _ in 0..fit {
            assert!(matches!(backlog.next().await, Heard::Events(_)));
        }
        assert_eq!(backlog.lock().events, 0);
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_loses_nothing() {
        let backlog = Backlog::default();
        {
            let mut given_up = std::pin::pin!(backlog.next());
            assert!(futures_util::poll!(given_up.as_mut()).is_pending());
            backlog.put(message(1));
        }
        assert!(matches!(backlog.next().await, Heard::Events(_)));
    }
}
