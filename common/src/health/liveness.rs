//! Progress marks: each main loop marks that it moves; a mark that is too old tells of a stall that nothing else shows.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::Unready;

/// The marks of one process.
#[derive(Debug, Clone, Default)]
pub struct Liveness {
    marks: Arc<Mutex<Vec<Weak<Mark>>>>,
}

/// One loop's mark. The loop is forgotten when this is dropped.
#[derive(Debug)]
pub struct Progress(Arc<Mark>);

#[derive(Debug)]
struct Mark {
    part: String,
    limit: Duration,
    marked: Mutex<Instant>,
}

impl Liveness {
    /// Watches a loop from now on: it must mark its progress at least every `limit`.
    #[must_use]
    pub fn watch(&self, part: impl Into<String>, limit: Duration) -> Progress {
        let mark = Arc::new(Mark { part: part.into(), limit, marked: Mutex::new(Instant::now()) });
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.retain(|known| known.strong_count() > 0);
        marks.push(Arc::downgrade(&mark));
        Progress(mark)
    }

    /// The loops whose last mark is older than their limit.
    #[must_use]
    pub fn stalled(&self) -> Vec<Unready> {
        self.stalled_at(Instant::now())
    }

    fn stalled_at(&self, now: Instant) -> Vec<Unready> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().filter_map(Weak::upgrade).filter_map(|mark| mark.stall_at(now)).collect()
    }
}

impl Progress {
    /// The loop moves.
    pub fn mark(&self) {
        *self.0.marked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Mark {
    fn stall_at(&self, now: Instant) -> Option<Unready> {
        let marked = *self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(marked);
        let reason = format!("no progress for {} s; its limit is {} s", age.as_secs(), self.limit.as_secs());
        (age > self.limit).then(|| Unready::new(&self.part, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stops_marking_is_named_until_it_moves_or_ends() {
        let liveness = Liveness::default();
        let start = Instant::now();
        let after = |seconds| liveness.stalled_at(start + Duration::from_secs(seconds));
        let quick = liveness.watch("quick", Duration::from_secs(100));
        let slow = liveness.watch("slow", Duration::from_secs(10_000));
        assert!(after(50).is_empty());
        let stalled = after(200);
        assert_eq!(stalled.len(), 1);
        assert_eq!(stalled[0].part, "quick");
        assert_eq!(after(20_000).len(), 2);
        quick.mark();
        assert!(liveness.stalled().is_empty(), "it moves again");
        drop((slow, quick));
        assert!(after(20_000).is_empty(), "a loop that has ended is no stall");
    }
}
