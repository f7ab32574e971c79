//! `/metrics`: open to this machine, to everybody else with a token.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use jiff::Timestamp;

use crate::refusal::Refusal;
use crate::server::Shared;

/// Longest wait for store and queue; numbers that do not come in time keep their last value.
const READ_DEADLINE: Duration = Duration::from_millis(900);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Numbers for Prometheus. Open to this machine; everybody else needs a token.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "metrics", security((), ("bearer" = [])),
    responses((status = 200, description = "Metrics in the OpenMetrics text format", body = String,
        content_type = "application/openmetrics-text"))
)]
pub(crate) async fn metrics(shared: web::Data<Shared>) -> Result<HttpResponse, Refusal> {
    let store = tokio::time::timeout(READ_DEADLINE, shared.backend.store.count_by_state());
    let queue = tokio::time::timeout(READ_DEADLINE, shared.backend.queue.depth(Timestamp::now()));
    let (store, queue, status) = tokio::join!(store, queue, tokio::fs::read_to_string("/proc/self/status"));
    if let Ok(Ok(counts)) = store {
        shared.metrics.set_deployments(&counts);
    }
    if let Ok(Ok(depth)) = queue {
        shared.metrics.set_queue(&depth);
    }
    if let Some(bytes) = status.ok().as_deref().and_then(resident_bytes) {
        shared.metrics.set_resident_bytes(bytes);
    }
    shared.metrics.set_streams(shared.streams.open_count());
    let more = shared.beside.companion.as_ref().map(|companion| companion.metrics()).unwrap_or_default();
    let text =
        shared.metrics.encode(&more).map_err(|_| Refusal::Internal("the metrics cannot be written"))?;
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, OPENMETRICS)).body(text))
}

/// Resident memory out of the text of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads: 1\n"), Some(2_097_152));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
