//! The seam `Inquiries`: questions about what runs, which the API has and only a worker can answer.
//!
//! The API knows no cluster and no engine. What it is asked about a pod it passes on; whichever worker is free
//! looks at the target and answers. Questions are about now: none is kept, and one that nobody answers in time
//! is over.
//!
//! Laws (tested for every adapter by `contract::inquiry`):
//! - A1: a question is given to one taker.
//! - A2: an answer reaches the asker of its question and nobody else; one that comes too late reaches nobody.
//! - A3: a question nobody answers ends as unanswered, within the time its asker has for it.
//! - A4: a question whose time is over, or that was taken, is given to nobody.
//! - A5: no more than [`QUESTIONS_MAX`] questions wait; a further one is refused at once.
//! - A6: nothing remains of a question that is over, and its place is free.
//!
//! Answers travel sealed: what an application prints may hold a secret, and no store holds one in clear.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::model::{DeploymentId, InquiryId, LiveEvent};
use crate::secrets::{Sealed, Sealer, SecretError};

/// Questions that may wait for a taker at once.
pub const QUESTIONS_MAX: usize = 256;
/// Lines of a log that are read when nobody says how many.
pub const TAIL_LINES_DEFAULT: u32 = 100;
/// Most lines of a log in one answer.
pub const TAIL_LINES_MAX: u32 = 1_000;
/// Most text of a log in one answer.
pub const LOG_MAX_BYTES: usize = 64 * 1024;
/// Longest name of a pod or a container.
pub const NAME_MAX_BYTES: usize = 253;

/// One question about a pod of a deployment, or a container where containers are what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inquiry {
    /// The question.
    pub id: InquiryId,
    /// The deployment that the pod must belong to.
    pub deployment: DeploymentId,
    /// Name of the pod.
    pub pod: String,
    /// What is asked about it.
    pub what: Asked,
}

/// What is asked about a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// The last lines it has printed.
    Log {
        /// Which of its containers; the main one if not given.
        container: Option<String>,
        /// What the container printed before it was last restarted.
        previous: bool,
        /// How many lines, at most [`TAIL_LINES_MAX`].
        tail_lines: u32,
    },
    /// What happened to it.
    Events,
}

/// What a worker found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Lines of a log.
    Log {
        /// The container that printed them.
        container: String,
        /// The lines, oldest first, without control characters and known secrets; at most [`LOG_MAX_BYTES`].
        lines: Vec<String>,
        /// Whether older lines that were asked for are missing, because all of them would have been too much.
        truncated: bool,
    },
    /// Events, oldest first.
    Events(Vec<LiveEvent>),
    /// The deployment has no such pod.
    UnknownPod,
    /// The pod has no such container.
    UnknownContainer {
        /// Those it has.
        known: Vec<String>,
    },
    /// The target could not be asked, or has nothing to say.
    Failed {
        /// Stable code of what is wrong.
        code: String,
        /// What is wrong, in one sentence.
        reason: String,
    },
}

impl Answer {
    /// Seals the answer to the question `id`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn seal(&self, sealer: &Sealer, id: InquiryId) -> Result<Sealed, SecretError> {
        let body = serde_json::to_string(self).map_err(|_| SecretError::Seal)?;
        sealer.seal(&context(id), &SecretString::from(body))
    }

    /// Opens the answer to the question `id`.
    ///
    /// # Errors
    /// When another key sealed it, it answers another question, or it was changed.
    pub fn open(sealed: &Sealed, sealer: &Sealer, id: InquiryId) -> Result<Self, SecretError> {
        let body = sealer.open(&context(id), sealed)?;
        serde_json::from_str(body.expose_secret()).map_err(|_| SecretError::Open)
    }
}

fn context(id: InquiryId) -> String {
    format!("inquiry/{id}")
}

/// A question that was given to its one taker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The question.
    pub inquiry: Inquiry,
    /// How long its asker still waits.
    pub left: Duration,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum InquiryError {
    /// Questions and answers cannot be passed on now.
    #[error("questions cannot be passed on: {reason}")]
    Unavailable {
        /// What the adapter met.
        reason: String,
    },
    /// Nobody answered in time.
    #[error("nobody answered within {after_ms} ms")]
    Unanswered {
        /// How long it was waited.
        after_ms: u64,
    },
    /// As many questions wait as may.
    #[error("{limit} questions wait already")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

impl InquiryError {
    /// Nobody answered within `longest`.
    pub(crate) fn unanswered(longest: Duration) -> Self {
        Self::Unanswered { after_ms: u64::try_from(longest.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Questions on their way to whoever can answer them, and the answers on their way back.
#[async_trait]
pub trait Inquiries: Send + Sync + std::fmt::Debug {
    /// Asks, and waits `longest` at most for the answer. An asker that goes away takes its question along.
    async fn ask(&self, inquiry: &Inquiry, longest: Duration) -> Result<Sealed, InquiryError>;

    /// Takes a question; waits `longest` at most for one.
    async fn next(&self, longest: Duration) -> Result<Option<Taken>, InquiryError>;

    /// Hands an answer to whoever asked, if they still wait.
    async fn answer(&self, taken: &Taken, answer: &Sealed) -> Result<(), InquiryError>;
}

/// Whether a pod or a container may be called so: lower-case letters, digits, inner hyphens and dots. What is
/// called otherwise does not exist, and goes nowhere near a path or a filter.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let is_outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= NAME_MAX_BYTES
        && bytes.first().is_some_and(is_outer)
        && bytes.last().is_some_and(is_outer)
        && bytes.iter().all(|byte| is_outer(byte) || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::KEY_LENGTH_BYTES;

    #[test]
    fn an_answer_opens_for_its_own_question_only() {
        let (sealer, id) = (Sealer::new(&[7; KEY_LENGTH_BYTES]), InquiryId::generate());
        let answer =
            Answer::Log { container: "web".to_owned(), lines: vec!["hunter2".to_owned()], truncated: false };
        let sealed = answer.seal(&sealer, id).unwrap();
        assert!(!serde_json::to_string(&sealed).unwrap().contains("hunter2"));
        assert_eq!(Answer::open(&sealed, &sealer, id).unwrap(), answer);
        assert!(Answer::open(&sealed, &sealer, InquiryId::generate()).is_err(), "another question");
        let other = Sealer::new(&[8; KEY_LENGTH_BYTES]);
        assert!(Answer::open(&sealed, &other, id).is_err(), "another key");
    }

    #[test]
    fn names_that_are_paths_or_filters_are_none() {
        let longest = "a".repeat(NAME_MAX_BYTES);
        for good in ["shop-7d9f8b6c5-x2x9z", "db", "slipway-shop-1a2b3c-default-456789ab-1", "a.b", &longest]
        {
            assert!(is_name(good), "{good}");
        }
        let too_long = "a".repeat(NAME_MAX_BYTES + 1);
        for bad in [
            "",
            ".",
            "..",
            "../../secrets",
            "a/b",
            "a%2Fb",
            "a\0",
            "a,b",
            "a=b",
            "A",
            "-a",
            "a-",
            ".a",
            "a.",
            "a b",
            "a\n",
            "é",
            "a?b",
            "a#b",
            &too_long,
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
