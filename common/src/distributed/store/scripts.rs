//! The scripts, one file each; those that need the complete projection begin with the prelude.

use crate::distributed::redis::{Repeat, Script};

macro_rules! plain {
    ($file:literal) => {
        include_str!(concat!("lua/", $file))
    };
}
macro_rules! guarded {
    ($file:literal) => {
        concat!(include_str!("lua/prelude.lua"), include_str!(concat!("lua/", $file)))
    };
}
/// What works on what stands beside autoscalers.
macro_rules! scaled {
    ($file:literal) => {
        concat!(
            include_str!("lua/prelude.lua"),
            include_str!("lua/scaled.lua"),
            include_str!(concat!("lua/", $file))
        )
    };
}

/// What works on agendas.
macro_rules! agenda {
    ($file:literal) => {
        concat!(include_str!("lua/agenda.lua"), include_str!(concat!("lua/", $file)))
    };
}

pub(super) static GUARDED: Script = Script::new(guarded!("guarded.lua"), Repeat::Safe);
pub(super) static THROUGH: Script = Script::new(guarded!("through.lua"), Repeat::Safe);
pub(super) static PAGE: Script = Script::new(guarded!("page.lua"), Repeat::Safe);
pub(super) static COUNTS: Script = Script::new(guarded!("counts.lua"), Repeat::Safe);
pub(super) static DEAD: Script = Script::new(guarded!("dead.lua"), Repeat::Safe);
pub(super) static HEARTBEAT: Script = Script::new(guarded!("heartbeat.lua"), Repeat::Safe);
pub(super) static RESERVE: Script = Script::new(guarded!("reserve.lua"), Repeat::Safe);
pub(super) static LOAD: Script = Script::new(plain!("load.lua"), Repeat::Safe);
// A plan that was written already conflicts with itself: it is read again, and everything in it is known.
pub(super) static COMMIT: Script = Script::new(agenda!("commit.lua"), Repeat::Safe);
pub(super) static PROJECT: Script = Script::new(plain!("project.lua"), Repeat::Safe);
pub(super) static FINISH: Script = Script::new(agenda!("finish.lua"), Repeat::Safe);
pub(super) static DISCARD: Script = Script::new(plain!("discard.lua"), Repeat::Safe);
pub(super) static RESIGN: Script = Script::new(plain!("resign.lua"), Repeat::Safe);
pub(super) static LEASE_ACQUIRE: Script = Script::new(plain!("lease_acquire.lua"), Repeat::Safe);
pub(super) static LEASE_RENEW: Script = Script::new(plain!("lease_renew.lua"), Repeat::Safe);
pub(super) static LEASE_RELEASE: Script = Script::new(plain!("lease_release.lua"), Repeat::Safe);
pub(super) static LOG_APPEND: Script = Script::new(plain!("log_append.lua"), Repeat::Unsafe);
pub(super) static LOG_READ: Script = Script::new(plain!("log_read.lua"), Repeat::Safe);
pub(super) static SCALED_ALL: Script = Script::new(guarded!("scaled_all.lua"), Repeat::Safe);
pub(super) static SCALED_ONE: Script = Script::new(guarded!("scaled_one.lua"), Repeat::Safe);
pub(super) static SCALED_PUT: Script = Script::new(scaled!("scaled_put.lua"), Repeat::Safe);
pub(super) static SCALED_STATE: Script = Script::new(scaled!("scaled_state.lua"), Repeat::Safe);
pub(super) static SCALED_DECIDE: Script = Script::new(scaled!("scaled_decide.lua"), Repeat::Unsafe);
pub(super) static SCALED_DECISIONS: Script = Script::new(scaled!("scaled_decisions.lua"), Repeat::Safe);
pub(super) static SCALED_OBSERVE: Script = Script::new(scaled!("scaled_observe.lua"), Repeat::Unsafe);
pub(super) static SCALED_OBSERVED: Script = Script::new(scaled!("scaled_observed.lua"), Repeat::Safe);
pub(super) static SCALER_ANNOUNCE: Script = Script::new(plain!("scaler_announce.lua"), Repeat::Safe);
pub(super) static SCALER_WITHDRAW: Script = Script::new(plain!("scaler_withdraw.lua"), Repeat::Safe);
pub(super) static PROJECTS: Script = Script::new(guarded!("projects.lua"), Repeat::Safe);
pub(super) static AGENDA_NOTE: Script = Script::new(agenda!("agenda_note.lua"), Repeat::Safe);
// What a lost answer had claimed would be nobody's until its time is over.
pub(super) static AGENDA_CLAIM: Script = Script::new(agenda!("agenda_claim.lua"), Repeat::Unsafe);
pub(super) static AGENDA_RENEW: Script = Script::new(agenda!("agenda_renew.lua"), Repeat::Safe);
pub(super) static AGENDA_SETTLE: Script = Script::new(agenda!("agenda_settle.lua"), Repeat::Safe);
pub(super) static AGENDA_MEMO: Script = Script::new(agenda!("agenda_memo.lua"), Repeat::Safe);
pub(super) static AGENDA_DEPTH: Script = Script::new(agenda!("agenda_depth.lua"), Repeat::Safe);
