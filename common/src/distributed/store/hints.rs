//! Hints to those who wait: given at once in this process, and over a channel by all others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::PubSub;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::agenda::List;
use crate::distributed::redis::Redis;
use crate::model::DeploymentId;
use crate::projects;
use crate::record::Record;
use crate::store::Change;

/// Changes kept for slow readers of the hints; who falls behind misses some.
const CHANGES_KEPT: usize = 1_024;
/// Pause before listening again.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);
/// How often a silent connection is asked whether it lives, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Hints {
    changes: broadcast::Sender<Change>,
    nudge: Notify,
    sweeps: Notify,
    reports: Notify,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(CHANGES_KEPT),
            nudge: Notify::new(),
            sweeps: Notify::new(),
            reports: Notify::new(),
        }
    }
}

impl Hints {
    pub(super) fn changed(&self, change: Change) {
        // Nobody listening is no failure.
        drop(self.changes.send(change));
    }

    /// The change that a record makes, if anybody may wait for it.
    pub(super) fn recorded(&self, record: &Record) {
        if projects::due_by(record).is_some() {
            self.agenda_due(List::Sweeps);
        }
        match record {
            Record::Event(event) => self.changed(Change::Event(event.deployment)),
            Record::CredentialStored(_)
            | Record::CredentialDeleted { .. }
            | Record::TokenCreated(_)
            | Record::TokenRevoked { .. }
            | Record::AutoscalerStored(_)
            | Record::AutoscalerDeleted { .. }
            | Record::ReplicasWished(_)
            | Record::ProjectStored(_)
            | Record::ProjectDeleted { .. }
            | Record::DeliveryReceived(_)
            | Record::HeadsSeen { .. }
            | Record::JobBuried(_)
            | Record::JobUnburied { .. } => {}
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// The projector should look now.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Resolves when the projector should look.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    fn agenda(&self, list: List) -> &Notify {
        match list {
            List::Sweeps => &self.sweeps,
            List::Reports => &self.reports,
        }
    }

    /// An entry of the list may have become due.
    pub(super) fn agenda_due(&self, list: List) {
        self.agenda(list).notify_one();
    }

    /// Resolves when an entry of the list may have become due, since this was asked last.
    pub(super) async fn next_due(&self, list: List) {
        self.agenda(list).notified().await;
    }

    fn heard(&self, message: &str) {
        let mut words = message.split(' ');
        let id = |word: Option<&str>| word.and_then(|word| word.parse::<DeploymentId>().ok());
        match words.next() {
            Some("e") => id(words.next()).into_iter().for_each(|id| self.changed(Change::Event(id))),
            Some("l") => {
                let stage = |word: Option<&str>| word.and_then(|word| word.parse().ok());
                if let (Some(id), Some(stage)) = (id(words.next()), stage(words.next())) {
                    self.changed(Change::Log(id, stage));
                }
            }
            Some("n") => self.nudge(),
            Some("a") => {
                let name = words.next();
                let named =
                    [List::Sweeps, List::Reports].into_iter().find(|list| Some(list.as_str()) == name);
                named.into_iter().for_each(|list| self.agenda_due(list));
            }
            // Somebody else's message.
            Some(_) | None => {}
        }
    }
}

/// Listens to the channel until the process ends, again and again.
pub(super) async fn listen(redis: Redis, hints: Arc<Hints>, shutdown: CancellationToken) {
    let channel = redis.key("changes");
    let forever = async {
        loop {
            match redis.listen().await {
                Ok(connection) => hear(connection, &channel, &hints).await,
                Err(fault) => tracing::debug!(%fault, "changes of other processes are not heard"),
            }
            tokio::time::sleep(LISTEN_PAUSE).await;
        }
    };
    shutdown.run_until_cancelled(forever).await;
}

/// Hears until the connection ends.
async fn hear(connection: PubSub, channel: &str, hints: &Hints) {
    let (mut sink, mut stream) = connection.split();
    match tokio::time::timeout(PING_LIMIT, sink.subscribe(channel)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => return,
    }
    loop {
        match tokio::time::timeout(PING_INTERVAL, stream.next()).await {
            Ok(Some(message)) => {
                if let Ok(text) = message.get_payload::<String>() {
                    hints.heard(&text);
                }
            }
            Ok(None) => return,
            Err(_) => match tokio::time::timeout(PING_LIMIT, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Stage;

    #[test]
    fn messages_of_others_are_understood_or_ignored() {
        let hints = Hints::default();
        let mut changes = hints.subscribe();
        let id = DeploymentId::generate();
        for message in
            [format!("e {id}"), format!("l {id} build"), "e x".to_owned(), "l".to_owned(), String::new()]
        {
            hints.heard(&message);
        }
        assert_eq!(changes.try_recv(), Ok(Change::Event(id)));
        assert_eq!(changes.try_recv(), Ok(Change::Log(id, Stage::Build)));
        assert!(changes.try_recv().is_err());
    }
}
