//! Those who listen: the topic, and the receivers of outgoing webhooks. Each is told all messages in order, and knows
//! nothing of how far the others are.

use std::sync::Arc;

use slipway_common::model::registered::{Outgoing, RegisteredProject, outgoing_context};
use slipway_common::telemetry::chain;
use tokio::time::Instant;
use url::Url;

use super::hosts::{Entry, Hosts};
use super::message::Message;
use super::pace::{Came, Fault};
use super::post::{Receiver, Sender, Sent, host_of};
use super::told::ToldTo;
use super::until::Until;
use crate::figures::Count;
use crate::stage::Tools;

/// The messages of one deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter<'a> {
    /// All that somebody was not told of, oldest first.
    pub(super) messages: &'a [Message],
    /// Number of the last event that was looked at.
    pub(super) last: u64,
}

impl<'a> Letter<'a> {
    /// What somebody who is at `cursor` was not told.
    fn after(self, cursor: u64) -> impl Iterator<Item = &'a Message> {
        self.messages.iter().filter(move |message| message.number > cursor)
    }

    /// Whether there is nothing to tell somebody who is that far; takes note of it if so.
    pub(super) fn is_told(self, told: &mut ToldTo) -> bool {
        let is_told = told.gone || self.after(told.cursor).next().is_none();
        if is_told {
            self.done(told);
        }
        is_told
    }

    /// Somebody need be told nothing of this any more.
    pub(super) fn done(self, told: &mut ToldTo) {
        told.cursor = told.cursor.max(self.last);
    }
}

/// Publishes what was not published, each kind of event under a key of its own.
pub(super) async fn publish(
    tools: &Tools,
    place: &str,
    letter: Letter<'_>,
    told: &mut ToldTo,
    until: &Until,
) -> Came {
    for message in letter.after(told.cursor) {
        if until.is_over() {
            return Came::Busy;
        }
        let key = format!("deployment.{place}.{}", message.kind.as_str());
        if let Err(error) = tools.backend.topic.publish(&key, &message.id, message.body.as_bytes()).await {
            return Came::Failed(Fault {
                code: "topic_unavailable".to_owned(),
                reason: chain(&error),
                is_refused: false,
                retry_after: None,
            });
        }
        told.cursor = message.number;
        tools.figures.count(Count::ResultTold);
    }
    letter.done(told);
    Came::Told
}

/// Where an outgoing webhook goes, and with which secret it is signed.
pub(super) fn receiver(
    tools: &Tools,
    project: &RegisteredProject,
    outgoing: &Outgoing,
) -> Result<Receiver, Fault> {
    let refused = |code: &str, reason: String| Fault {
        code: code.to_owned(),
        reason,
        is_refused: true,
        retry_after: None,
    };
    let url = Url::parse(&outgoing.url)
        .map_err(|_| refused("outgoing_address", "the address cannot be used".to_owned()))?;
    let place = outgoing_context(&project.project.slug);
    let secret = tools.sealer.open(&place, &outgoing.secret);
    let secret = secret.map_err(|error| refused("secret_unreadable", error.to_string()))?;
    Ok(Receiver { url, secret })
}

/// Sends what was not sent. A receiver that wants to hear nothing more of the deployment is told nothing more of it.
pub(super) async fn send(
    tools: &Tools,
    (sender, hosts): (&Sender, &Arc<Hosts>),
    receiver: &Receiver,
    letter: Letter<'_>,
    told: &mut ToldTo,
    until: &Until,
) -> Came {
    let inside = match hosts.enter(&host_of(&receiver.url), Instant::now()) {
        Entry::Open(inside) => inside,
        Entry::Busy => return Came::Busy,
        Entry::Away(left) => return Came::Away(left),
    };
    for message in letter.after(told.cursor) {
        if until.is_over() {
            return Came::Busy;
        }
        match sender.send(receiver, message).await {
            Sent::Taken => {
                inside.works();
                told.cursor = message.number;
                tools.figures.count(Count::ResultTold);
            }
            Sent::Gone => {
                inside.works();
                told.gone = true;
                break;
            }
            Sent::Failed { fault, is_host_away } => {
                if is_host_away {
                    inside.failed(fault.retry_after, Instant::now());
                }
                return Came::Failed(fault);
            }
        }
    }
    letter.done(told);
    Came::Told
}
