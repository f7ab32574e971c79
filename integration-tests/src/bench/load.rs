//! An open-loop load generator: requests leave by the clock, whatever became of those before, and latency counts from
//! the time a request was due. A server that stalls is charged for everyone who had to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::samples::Samples;

/// How fast, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Requests in one second.
    pub per_second: u32,
    /// Number of requests.
    pub requests: u32,
}

impl Schedule {
    /// When request `index` is due, from the start.
    fn due(self, index: u32) -> Duration {
        Duration::from_secs(1) * index / self.per_second
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// From the time a request was due to its answer; failed requests included.
    pub latencies: Option<Samples>,
    /// Requests that did not end as they should.
    pub errors: u32,
    /// The first error.
    pub first_error: Option<String>,
    /// From the start to the last answer.
    pub took: Duration,
    /// The longest time the generator itself was behind its schedule.
    pub behind_max: Duration,
}

/// Sends by `schedule`; `send` makes one request and says what was wrong with its answer.
pub async fn open_loop<F, R>(schedule: Schedule, send: F) -> Outcome
where
    F: Fn(u32) -> R,
    R: Future<Output = Result<(), String>> + Send + 'static,
{
    let start = Instant::now() + Duration::from_millis(10);
    let mut behind_max = Duration::ZERO;
    let mut sent = JoinSet::new();
    for index in 0..schedule.requests {
        let due = start + schedule.due(index);
        tokio::time::sleep_until(due).await;
        behind_max = behind_max.max(due.elapsed());
        let request = send(index);
        sent.spawn(async move {
            let answer = request.await;
            (due.elapsed(), answer)
        });
    }
    let (mut latencies, mut errors, mut first_error) = (Vec::new(), 0, None);
    while let Some(ended) = sent.join_next().await {
        let answer = match ended {
            Ok((latency, answer)) => {
                latencies.push(latency);
                answer
            }
            Err(panicked) => Err(panicked.to_string()),
        };
        if let Err(error) = answer {
            errors += 1;
            first_error.get_or_insert(error);
        }
    }
    Outcome { latencies: Samples::new(latencies), errors, first_error, took: start.elapsed(), behind_max }
}

/// Sends as fast as `at_once` requests in flight allow, for `span`. Latency counts from when a request left.
pub async fn closed_loop<F, R>(at_once: u32, span: Duration, send: F) -> Outcome
where
    F: Fn(u32) -> R + Clone + Send + 'static,
    R: Future<Output = Result<(), String>> + Send + 'static,
{
    let start = Instant::now();
    let next = Arc::new(AtomicU32::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..at_once {
        let (send, next) = (send.clone(), Arc::clone(&next));
        senders.spawn(async move {
            let mut answers = Vec::new();
            while start.elapsed() < span {
                let left = Instant::now();
                let answer = send(next.fetch_add(1, Ordering::Relaxed)).await;
                answers.push((left.elapsed(), answer));
            }
            answers
        });
    }
    let (mut latencies, mut errors, mut first_error) = (Vec::new(), 0, None);
    while let Some(ended) = senders.join_next().await {
        let answers = ended.unwrap_or_else(|panicked| vec![(Duration::ZERO, Err(panicked.to_string()))]);
        for (latency, answer) in answers {
            latencies.push(latency);
            if let Err(error) = answer {
                errors += 1;
                first_error.get_or_insert(error);
            }
        }
    }
    let took = start.elapsed();
    Outcome { latencies: Samples::new(latencies), errors, first_error, took, behind_max: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_waits_for_others_is_charged_from_when_it_was_due() {
        let schedule = Schedule { per_second: 1_000, requests: 10 };
        let busy = std::sync::Arc::new(tokio::sync::Mutex::new(()));
        let outcome = open_loop(schedule, |index| {
            let busy = std::sync::Arc::clone(&busy);
            async move {
                let _turn = busy.lock().await;
                if index == 0 {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                if index == 9 { Err("late".to_owned()) } else { Ok(()) }
            }
        })
        .await;
        assert_eq!((outcome.errors, outcome.first_error.as_deref()), (1, Some("late")));
        let latencies = outcome.latencies.unwrap();
        assert!(latencies.min_ms() >= 290.0, "{latencies:?}");
        assert!(latencies.max_ms() >= 300.0, "{latencies:?}");
    }

    #[tokio::test]
    async fn a_closed_loop_keeps_no_more_than_so_many_in_flight() {
        let (flying, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (inside, highest) = (Arc::clone(&flying), Arc::clone(&most));
        let outcome = closed_loop(3, Duration::from_millis(100), move |index| {
            let (inside, highest) = (Arc::clone(&inside), Arc::clone(&highest));
            async move {
                highest.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                if index == 0 { Err("first".to_owned()) } else { Ok(()) }
            }
        })
        .await;
        assert_eq!((outcome.errors, most.load(Ordering::SeqCst)), (1, 3));
        assert!(outcome.latencies.unwrap().count() >= 6);
    }
}
