//! Orders of one deployment: what is done about a decision or a wish, and what becomes of it.

use jiff::Timestamp;
use slipway_common::model::autoscaler::{DecisionEntry, Silence, Wish};

use super::{Kept, SEEN_MAX_S};
use crate::control::Observation;
use crate::target::{Subject, TargetError};

/// A wish that could not be fulfilled is tried again after so long.
const WISH_RETRY_S: f64 = 5.0;
/// What was left half done is finished after so long, for a job may be about to do so.
pub(super) const UNFINISHED_S: f64 = 15.0;

/// What is to be done on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// The deployment.
    pub(crate) subject: Subject,
    /// From so many.
    pub(crate) from: u32,
    /// To so many; nothing when only what was left half done is finished.
    pub(crate) to: Option<u32>,
}

impl Kept {
    /// What has to be done on the target now, if nothing is being done and nothing stands in the way.
    pub(crate) fn order(&mut self, now_s: f64) -> Option<Order> {
        let subject = self.subject.clone()?;
        let (_, seen) = self.seen.as_ref().filter(|(seen_s, _)| now_s - seen_s <= SEEN_MAX_S)?;
        if self.acting.is_some() || seen.hands_off.is_some() {
            self.pending = self.pending.filter(|_| seen.hands_off.is_none());
            return None;
        }
        let from = seen.replicas;
        let is_settling = self.unfinished_since_s.is_some_and(|since_s| now_s - since_s >= UNFINISHED_S);
        if let Some(wish) = self.open_wish().filter(|_| now_s - self.wish_tried_s >= WISH_RETRY_S) {
            let (min, max) = self.limits();
            let (id, wanted) = (wish.id, wish.replicas.clamp(min, max));
            self.wish_tried_s = now_s;
            self.pending = Some(wanted);
            if wanted == from {
                self.wish_done = Some(id);
            }
        }
        match self.pending.take() {
            Some(to) if to != from => {
                self.acting = Some(to);
                self.is_news = true;
                Some(Order { subject, from, to: Some(to) })
            }
            Some(_) | None if is_settling => {
                self.acting = Some(from);
                Some(Order { subject, from, to: None })
            }
            Some(_) | None => None,
        }
    }

    /// How an order ended. What was not taken is worth keeping.
    pub(crate) fn acted(
        &mut self,
        order: &Order,
        result: &Result<u32, TargetError>,
        now_s: f64,
        at: Timestamp,
    ) -> Option<DecisionEntry> {
        self.acting = None;
        self.unfinished_since_s = None;
        self.is_news = true;
        if self.subject.as_ref() != Some(&order.subject) {
            return None;
        }
        match result {
            Ok(replicas) => {
                self.fault_is(None);
                self.ordered = Some(*replicas);
                if let Some((_, seen)) = &mut self.seen {
                    seen.replicas = *replicas;
                }
                let wish = self.open_wish().map(|wish| (wish.id, wish.replicas));
                if let Some((id, wanted)) = wish
                    && order.to.is_some_and(|to| to == self.clamped(wanted))
                {
                    self.wish_done = Some(id);
                }
                None
            }
            Err(TargetError::Changed) => None,
            Err(error) => {
                let fault = error.fault();
                self.fault_is(Some(fault.clone()));
                let (replicas, ready) = self.counts(now_s)?;
                let evidence = self.evidence.ok_or(Silence::NeverHeard);
                let seen =
                    Observation { now_s, replicas, ready, evidence, arrivals_per_s: None, inflight: None };
                self.noted = None;
                self.decision.is_some().then(|| self.decision_entry(&seen, at, Some(fault)))
            }
        }
    }

    pub(super) fn open_wish(&self) -> Option<&Wish> {
        self.entry.wish.as_ref().filter(|wish| self.wish_done != Some(wish.id))
    }

    fn clamped(&self, replicas: u32) -> u32 {
        let (min, max) = self.limits();
        replicas.clamp(min, max)
    }
}
