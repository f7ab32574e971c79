//! How a job gets in: one durable publication to queue and ledger, then the projection.

use crate::Backend;
use crate::model::{Event, JobMessage};
use crate::queue::QueueError;
use crate::record::Record;

/// Accepts `message`. When this returns, the job is durable; repeating it with the same job id is harmless.
///
/// # Errors
/// When the queue did not take the job. A store that lags behind is no error: the ledger has the
/// acceptance, and the store catches up from it.
pub async fn submit(backend: &Backend, message: &JobMessage) -> Result<(), QueueError> {
    backend.queue.enqueue(message).await?;
    let accepted = Record::Event(Event::accepted(message));
    if let Err(error) = backend.store.apply(&accepted).await {
        tracing::warn!(job = %message.id, error = %error, "the store will catch up with an accepted job");
    }
    Ok(())
}
