//! One change of an autoscaler at a time.

use slipway_common::Backend;
use slipway_common::model::autoscaler::Place;

use crate::lease;
use crate::refusal::{AutoscalerRefusal, Refusal};

/// Does `work` while nobody else changes the autoscaler of `place`.
pub(crate) async fn alone<T>(
    backend: &Backend,
    place: &Place,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    lease::alone(backend, &format!("autoscaler/{place}"), AutoscalerRefusal::Busy, work).await
}
