//! Questions and answers within one process: who asks and who answers share its memory, so nothing leaves it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::inquiry::{Inquiries, Inquiry, InquiryError, QUESTIONS_MAX, Taken};
use crate::model::InquiryId;
use crate::secrets::Sealed;

/// Where questions are put down and taken up.
#[derive(Debug, Default)]
pub(super) struct Desk {
    open: Mutex<Open>,
    asked: Notify,
}

/// The questions whose askers wait.
#[derive(Debug, Default)]
struct Open {
    /// Those nobody has taken, oldest first.
    waiting: VecDeque<Waiting>,
    /// Where the answers to those go that somebody has taken.
    taken: HashMap<InquiryId, oneshot::Sender<Sealed>>,
}

#[derive(Debug)]
struct Waiting {
    inquiry: Inquiry,
    until: Instant,
    reply: oneshot::Sender<Sealed>,
}

/// Takes a question back when its asker ends, however it ends.
#[derive(Debug)]
struct Asker<'a> {
    desk: &'a Desk,
    id: InquiryId,
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        let mut open = self.desk.lock();
        open.waiting.retain(|waiting| waiting.inquiry.id != self.id);
        open.taken.remove(&self.id);
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a question down; answers where its answer comes.
    fn put(&self, inquiry: &Inquiry, until: Instant) -> Result<oneshot::Receiver<Sealed>, InquiryError> {
        let mut open = self.lock();
        if open.waiting.len() >= QUESTIONS_MAX {
            return Err(InquiryError::TooMany { limit: QUESTIONS_MAX });
        }
        let (reply, answer) = oneshot::channel();
        open.waiting.push_back(Waiting { inquiry: inquiry.clone(), until, reply });
        Ok(answer)
    }

    /// Takes the oldest question whose asker still waits.
    fn take(&self) -> Option<Taken> {
        let mut open = self.lock();
        let now = Instant::now();
        while let Some(Waiting { inquiry, until, reply }) = open.waiting.pop_front() {
            if until > now && !reply.is_closed() {
                open.taken.insert(inquiry.id, reply);
                return Some(Taken { inquiry, left: until.duration_since(now) });
            }
        }
        None
    }
}

#[async_trait]
impl Inquiries for Desk {
    async fn ask(&self, inquiry: &Inquiry, longest: Duration) -> Result<Sealed, InquiryError> {
        let answer = self.put(inquiry, Instant::now() + longest)?;
        let _asker = Asker { desk: self, id: inquiry.id };
        self.asked.notify_one();
        match tokio::time::timeout(longest, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(InquiryError::unanswered(longest)),
        }
    }

    async fn next(&self, longest: Duration) -> Result<Option<Taken>, InquiryError> {
        let found = async {
            loop {
                // Before the look, so that a question that is put down after it is heard of.
                let asked = self.asked.notified();
                if let Some(taken) = self.take() {
                    return taken;
                }
                asked.await;
            }
        };
        Ok(tokio::time::timeout(longest, found).await.ok())
    }

    async fn answer(&self, taken: &Taken, answer: &Sealed) -> Result<(), InquiryError> {
        let reply = self.lock().taken.remove(&taken.inquiry.id);
        if let Some(reply) = reply {
            // An asker that goes away at this very moment needs no answer.
            drop(reply.send(answer.clone()));
        }
        Ok(())
    }
}
