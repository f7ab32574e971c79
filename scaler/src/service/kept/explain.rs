//! What is shown of a deployment that is kept. Pure.

use slipway_common::model::autoscaler::{CONTAINERS_SHOWN_MAX, ContainerUse, Reason};

use super::names::Names;
use crate::demand::DemandWindow;

/// The use of the containers that are known, by name.
pub(super) fn uses(window: &DemandWindow, names: &Names) -> Vec<ContainerUse> {
    let mut uses: Vec<ContainerUse> = window
        .uses()
        .filter_map(|(key, utilisation)| {
            Some(ContainerUse { name: names.get(key)?.to_owned(), utilisation: utilisation? })
        })
        .collect();
    uses.sort_by(|one, other| one.name.cmp(&other.name));
    uses.truncate(CONTAINERS_SHOWN_MAX);
    uses
}

/// The name of a reason, whatever it carries.
pub(super) fn name(reason: &Reason) -> &'static str {
    match reason {
        Reason::OnTarget => "on_target",
        Reason::DeadBand => "dead_band",
        Reason::HoldingDown => "holding_down",
        Reason::DownRate => "down_rate",
        Reason::MinInterval => "min_interval",
        Reason::ActionBudget => "action_budget",
        Reason::AwaitingReplicas => "awaiting_replicas",
        Reason::AtLimit => "at_limit",
        Reason::Adopted { .. } => "adopted",
        Reason::AwaitingTarget => "awaiting_target",
        Reason::Silence { .. } => "silence",
        Reason::NothingNew => "nothing_new",
        Reason::NotDue => "not_due",
        Reason::Clock => "clock",
        Reason::Stopped => "stopped",
    }
}
