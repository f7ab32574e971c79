//! No answer takes longer than the settings allow, whatever a dependency does. Time in which the client sends its body
//! is its own and has a limit of its own.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpMessage as _;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, web};
use tokio::time::{Instant, sleep_until};

use crate::refusal::Refusal;
use crate::server::Shared;

/// When the answer to one request is due.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    due: Rc<Cell<Instant>>,
    limit: Duration,
}

impl Clock {
    fn start(limit: Duration) -> Self {
        Self { due: Rc::new(Cell::new(Instant::now() + limit)), limit }
    }

    /// The clock of a request; a stopped one where nobody set one.
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// The client has the word, for `longest` at most.
    pub(crate) fn pause(&self, longest: Duration) {
        self.due.set(Instant::now() + longest + self.limit);
    }

    /// The request is whole: the time for the answer begins.
    pub(crate) fn restart(&self) {
        self.due.set(Instant::now() + self.limit);
    }
}

/// The middleware: an answer that is not there in time is a 503.
pub(crate) async fn limit_answer(
    shared: web::Data<Shared>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let limit = shared.settings.answer_timeout;
    let clock = Clock::start(limit);
    request.extensions_mut().insert(clock.clone());
    let changes_nothing = matches!(*request.method(), Method::GET | Method::HEAD);
    match in_time(next.call(request), &clock).await {
        Some(answered) => answered.map(ServiceResponse::map_into_boxed_body),
        None if changes_nothing => Err(Refusal::Timeout { limit_ms: limit.as_millis() }.into()),
        None => Err(Refusal::OutcomeUnknown { limit_ms: limit.as_millis() }.into()),
    }
}

/// Waits for `work` until the clock says that it is due; the clock may be moved by the work.
async fn in_time<T>(work: impl Future<Output = T>, clock: &Clock) -> Option<T> {
    let mut work = pin!(work);
    let mut alarm = pin!(sleep_until(clock.due.get()));
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        let due = clock.due.get();
        if alarm.deadline() != due {
            alarm.as_mut().reset(due);
        }
        alarm.as_mut().poll(context).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn what_is_due_is_not_waited_for() {
        assert_eq!(in_time(async { 1 }, &Clock::start(LIMIT)).await, Some(1));
        assert_eq!(in_time(pending::<u8>(), &Clock::start(LIMIT)).await, None);
    }

    #[tokio::test]
    async fn the_clients_time_does_not_count() {
        let clock = Clock::start(LIMIT);
        let work = async {
            clock.pause(LIMIT * 50);
            tokio::time::sleep(LIMIT * 3).await;
            clock.restart();
            1
        };
        assert_eq!(in_time(work, &clock).await, Some(1));
        let work = async {
            clock.pause(LIMIT * 5_000);
            tokio::task::yield_now().await;
            clock.restart();
            pending::<u8>().await
        };
        let begun = Instant::now();
        assert_eq!(in_time(work, &clock).await, None);
        assert!(begun.elapsed() < LIMIT * 2_500, "the restarted clock counts");
    }
}
