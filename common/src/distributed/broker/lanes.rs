//! Channels for publications: each carries those of one caller at a time, many are open at once.
//!
//! One channel for all would confuse answers. The client library numbers a publication and queues its frames in two
//! steps, so two callers may swap numbers; and it hands a returned message to whichever confirmation comes next, so
//! a message that reached no queue could count as confirmed. With one caller per channel, whose publications are stored
//! all or not, neither matters.

use std::sync::{Mutex, PoisonError};

use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Most publications in flight; far below the broker's limit of channels (2047).
pub(super) const LANES_MAX: usize = 128;
/// Most broadcasts and announcements in flight.
pub(super) const BROADCAST_LANES_MAX: usize = 4;

/// The channels of one epoch.
#[derive(Debug)]
pub(super) struct Lanes {
    idle: Mutex<Vec<Channel>>,
    permits: Semaphore,
}

impl Lanes {
    /// At most `lanes_max` of them at once.
    pub(super) fn new(lanes_max: usize) -> Self {
        Self { idle: Mutex::default(), permits: Semaphore::new(lanes_max) }
    }

    /// A channel in confirm mode with nothing in flight.
    pub(super) async fn take(&self, connection: &Connection) -> lapin::Result<Lane<'_>> {
        let permit = self.permits.acquire().await;
        let Ok(permit) = permit else { unreachable!("the semaphore is never closed") };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let channel = match idle {
            Some(channel) => channel,
            None => {
                let channel = connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                channel
            }
        };
        Ok(Lane { lanes: self, channel, _permit: permit })
    }
}

/// A channel taken out. Unless it is put back, the channel is closed: something may be in flight on it.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    lanes: &'a Lanes,
    pub(super) channel: Channel,
    _permit: SemaphorePermit<'a>,
}

impl Lane<'_> {
    /// Puts the channel back; its publication was answered.
    pub(super) fn put_back(self) {
        let mut idle = self.lanes.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(self.channel.clone());
    }
}
