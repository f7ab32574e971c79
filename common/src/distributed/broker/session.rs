//! One epoch of the connection: from a successful start to the first error.
//!
//! Two connections, because a broker with an alarm stops reading from connections that publish: on one and the
//! same connection the acknowledgements, which would free the memory, would wait behind the publications.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connect::Line;
use super::error::BrokerError;
use super::lanes::{BROADCAST_LANES_MAX, LANES_MAX, Lanes};
use super::topology::{Survey, Topology};
use crate::distributed::BrokerSettings;

/// Longest wait for the broker's answer to our farewell.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// One epoch.
#[derive(Debug)]
pub(super) struct Session {
    /// Counts epochs from 1.
    pub(super) epoch: u64,
    /// The connection that publishes.
    pub(super) publishing: Line,
    /// The connection that consumes, declares and asks.
    pub(super) consuming: Line,
    /// Channels for publications.
    pub(super) lanes: Lanes,
    /// Channels for broadcasts and announcements, so that these never take one that a job waits for.
    pub(super) broadcasts: Lanes,
    ended: CancellationToken,
    reason: Mutex<Option<String>>,
}

impl Session {
    /// Connects and declares.
    pub(super) async fn open(
        settings: &BrokerSettings,
        topology: &Topology,
        epoch: u64,
        turn: usize,
    ) -> Result<(Arc<Self>, Survey), BrokerError> {
        let consuming = Line::open(settings, turn, "consumes").await?;
        let survey = match topology.ensure(&consuming.connection).await {
            Ok(survey) => survey,
            Err(error) => {
                farewell(&consuming).await;
                return Err(error);
            }
        };
        let publishing = Line::open(settings, turn, "publishes").await?;
        let session = Self {
            epoch,
            publishing,
            consuming,
            lanes: Lanes::new(LANES_MAX),
            broadcasts: Lanes::new(BROADCAST_LANES_MAX),
            ended: CancellationToken::new(),
            reason: Mutex::new(None),
        };
        Ok((Arc::new(session), survey))
    }

    /// Ends the epoch; the first reason counts. Both connections are cut.
    pub(super) fn fail(&self, reason: &str) {
        let mut first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            *first = Some(reason.to_owned());
        }
        drop(first);
        self.ended.cancel();
        self.publishing.cutter.cut();
        self.consuming.cutter.cut();
    }

    /// Whether the epoch is over.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits for the end of the epoch.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Why it ended.
    pub(super) fn reason(&self) -> String {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.clone().unwrap_or_else(|| "closed".to_owned())
    }

    /// Whether both connections still count as connected here.
    pub(super) fn is_connected(&self) -> bool {
        self.publishing.connection.status().connected() && self.consuming.connection.status().connected()
    }

    /// Takes leave of the broker.
    pub(super) async fn close(&self) {
        farewell(&self.publishing).await;
        farewell(&self.consuming).await;
        self.fail("closed");
    }
}

async fn farewell(line: &Line) {
    let closed = timeout(CLOSE_TIMEOUT, line.connection.close(200, "bye".into())).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("the broker did not answer the farewell");
    }
    line.cutter.cut();
}
