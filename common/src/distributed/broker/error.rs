//! What can go wrong at the broker, and the states its connection can be in.

use std::time::Duration;

/// Why the broker did not answer a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokerError {
    /// There is no usable connection, or it broke.
    #[error("the broker is unavailable: {reason}")]
    Unavailable {
        /// What was met.
        reason: String,
    },
    /// A queue or an exchange exists in another form than this build needs. Only an operator can say which is right.
    #[error("the broker holds a queue or exchange of another form: {reason}")]
    Misfit {
        /// The broker's words; they name queue and argument.
        reason: String,
    },
    /// The queue does not exist now; the watchdog declares it again.
    #[error("the queue {queue} does not exist")]
    Missing {
        /// Its full name.
        queue: String,
    },
    /// A step took longer than its deadline.
    #[error("the broker did not answer within {} ms: {what}", deadline.as_millis())]
    Overdue {
        /// Which step.
        what: &'static str,
        /// Its deadline.
        deadline: Duration,
    },
}

/// Why a publication is not known to be safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PublishError {
    /// Nothing was sent: no connection, or the broker takes no messages now.
    #[error("the broker is unavailable: {reason}")]
    Unavailable {
        /// What was met.
        reason: String,
    },
    /// No queue took it: a queue, a binding or the exchange is missing. It is not stored anywhere.
    #[error("no queue takes messages of {exchange} with the key {key}")]
    Unroutable {
        /// Full name of the exchange.
        exchange: String,
        /// The routing key.
        key: String,
    },
    /// At least one queue refused it: it is full, or failed. Other queues of the same key may hold it.
    #[error("the broker refused a message of {exchange} with the key {key}: a queue is full")]
    Refused {
        /// Full name of the exchange.
        exchange: String,
        /// The routing key.
        key: String,
    },
    /// It was sent and no answer came: it may be stored or not.
    #[error("it is unknown whether the broker stored the message: {reason}")]
    Unknown {
        /// What was met.
        reason: String,
    },
}

/// An acknowledgement that did not reach the broker: the message will be, or was, delivered again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the delivery is lost: {reason}")]
pub(crate) struct Lost {
    /// What was met.
    pub(crate) reason: String,
}

/// State of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BrokerState {
    /// Connected, everything declared.
    Ready,
    /// Not connected; trying.
    Away {
        /// Why.
        reason: String,
    },
    /// Connected, and the broker takes no messages: a memory or disk alarm. Consuming goes on.
    Blocked {
        /// The broker's words.
        reason: String,
    },
    /// A queue or exchange exists in another form; tried again until an operator has repaired it.
    Misfit {
        /// The broker's words; they name queue and argument.
        reason: String,
    },
}

impl BrokerState {
    /// The error that a request meets in this state; `None` when it can go on.
    pub(super) fn refusal(&self) -> Option<BrokerError> {
        match self {
            Self::Ready => None,
            Self::Away { reason } | Self::Blocked { reason } => {
                Some(BrokerError::Unavailable { reason: reason.clone() })
            }
            Self::Misfit { reason } => Some(BrokerError::Misfit { reason: reason.clone() }),
        }
    }
}

/// Reply codes of AMQP this adapter tells apart.
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const PRECONDITION_FAILED: u16 = 406;

/// The AMQP reply code of an error, when the broker gave one.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other kind carries no reply code")]
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Whether the error says that nothing was sent.
pub(super) fn was_not_sent(error: &lapin::Error) -> bool {
    use lapin::ErrorKind::{
        ChannelsLimitReached, InvalidChannel, InvalidChannelState, InvalidConnectionState,
    };
    matches!(
        error.kind(),
        ChannelsLimitReached | InvalidChannel(_) | InvalidChannelState(..) | InvalidConnectionState(_)
    )
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        if reply_code(&error) == Some(PRECONDITION_FAILED) {
            return Self::Misfit { reason: error.to_string() };
        }
        Self::Unavailable { reason: error.to_string() }
    }
}

/// Awaits one step at the broker inside its deadline.
pub(super) async fn within<T>(
    deadline: Duration,
    what: &'static str,
    step: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(deadline, step).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(BrokerError::Overdue { what, deadline }),
    }
}
