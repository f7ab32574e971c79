//! What a controller has learned of its load and of the starts of its replicas, in a form that outlives it: the next
//! controller of the same place need not learn it again. What is of the moment, as levels and orders, is not in it.

use serde::{Deserialize, Serialize};

use super::fleet::StartRecord;
use super::hold::HoldRecord;
use super::lead::LeadRecord;
use super::season::SeasonRecord;

/// The form that is written, and the only one that is read.
const FORM: u32 = 1;

/// What was learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Knowledge {
    form: u32,
    pub(super) season: SeasonRecord,
    pub(super) hold: HoldRecord,
    pub(super) lead: LeadRecord,
    pub(super) start: StartRecord,
    /// Demand that the ceiling hid, logarithmic.
    pub(super) hidden: f64,
}

impl Knowledge {
    pub(super) fn new(
        season: SeasonRecord,
        hold: HoldRecord,
        lead: LeadRecord,
        start: StartRecord,
        hidden: f64,
    ) -> Self {
        Self { form: FORM, season, hold, lead, start, hidden }
    }

    /// Reads what was written; nothing where it is of another form, or no knowledge at all.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|known: &Self| known.form == FORM)
    }

    /// The text that [`Knowledge::read`] reads; nothing where a number has no text.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}
