//! Where a client stands, and its figures, told from its deployment and its autoscaler. Pure.

use jiff::{SignedDuration, Timestamp};
use slipway_common::autoscaler::Entry;
use slipway_common::model::DeploymentState;
use slipway_common::model::autoscaler::AutoscalerState;

use super::Client;
use crate::view::{ClientConstants, ClientStats, ClientStatus, STALE_AFTER};

/// How long a wish is waited for. With no scaler that fulfils it, a client must not be busy for ever.
const WISH_PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Whether a client of a deployment in this state leaves no room for another.
pub(super) fn is_alive(state: DeploymentState) -> bool {
    match state {
        DeploymentState::Queued
        | DeploymentState::Preparing
        | DeploymentState::Building
        | DeploymentState::Deploying
        | DeploymentState::Active
        | DeploymentState::Degraded => true,
        DeploymentState::Stopping
        | DeploymentState::Stopped
        | DeploymentState::Failed
        | DeploymentState::Superseded => false,
    }
}

/// Where the client stands.
pub(super) fn status(client: &Client, now: Timestamp) -> ClientStatus {
    match client.deployment.state {
        DeploymentState::Queued
        | DeploymentState::Preparing
        | DeploymentState::Building
        | DeploymentState::Deploying => ClientStatus::Starting,
        DeploymentState::Active | DeploymentState::Degraded => {
            if is_busy(client.entry.as_ref(), client.state.as_ref(), now) {
                ClientStatus::Busy
            } else {
                ClientStatus::Ready
            }
        }
        DeploymentState::Stopping => ClientStatus::Stopping,
        DeploymentState::Stopped | DeploymentState::Failed | DeploymentState::Superseded => {
            ClientStatus::Dead
        }
    }
}

/// Whether containers are being added or removed, or will be in a moment.
fn is_busy(entry: Option<&Entry>, state: Option<&AutoscalerState>, now: Timestamp) -> bool {
    let changes = state.is_some_and(|state| state.busy && now.duration_since(state.at) <= STALE_AFTER);
    let fulfilled = state.and_then(|state| state.wish);
    let wish = entry.and_then(|entry| entry.wish.as_ref()).filter(|wish| fulfilled != Some(wish.id));
    changes || wish.is_some_and(|wish| now.duration_since(wish.at) <= WISH_PATIENCE)
}

/// The client's figures. Of what is dead nothing is measured.
pub(super) fn stats(client: &Client, now: Timestamp) -> ClientStats {
    let status = status(client, now);
    let is_dead = status == ClientStatus::Dead;
    let state = client.state.as_ref().filter(|_| !is_dead);
    let settings = client.entry.as_ref().map(|entry| &entry.autoscaler.settings);
    let cpu_target = settings.map_or(0.0, |settings| percent(settings.cpu_target().get()));
    let (kp, ki, kd) = settings.map_or((0.0, 0.0, 0.0), |settings| {
        let (kp, ki, kd) = settings.gains();
        (kp.get(), ki.get(), kd.get())
    });
    let avg_cpu_usage = state.and_then(|state| state.evidence).map_or(0.0, |seen| percent(seen.utilisation));
    let unheard = if is_dead { 0 } else { client.deployment.spec.replicas };
    ClientStats {
        status,
        image: client.deployment.spec.image.as_ref().map(ToString::to_string).unwrap_or_default(),
        cpu_target,
        constants: ClientConstants { kp, kd, ki },
        error: avg_cpu_usage - cpu_target,
        avg_cpu_usage,
        containers: state.map_or(unheard, |state| state.ready),
        cpu_usage: state.map_or_else(Vec::new, |state| {
            state.containers.iter().map(|container| percent(container.utilisation)).collect()
        }),
    }
}

/// A share in percent, without the digits that come of the conversion.
fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipway_common::model::DeploymentId;
    use slipway_common::model::autoscaler::{
        Autoscaler, AutoscalerSettings, DroppedCounts, RawSettings, Wish,
    };
    use uuid::Uuid;

    use super::super::place;
    use super::*;

    fn entry(wish: Option<Uuid>, at: Timestamp) -> Entry {
        let raw: RawSettings =
            serde_json::from_value(json!({ "cpu_target": 0.5, "replicas_max": 3 })).unwrap();
        let (place, user) = (place().unwrap(), "ada".to_owned());
        let wish = wish.map(|id| Wish { id, place: place.clone(), replicas: 3, user: user.clone(), at });
        let settings = AutoscalerSettings::try_from(raw).unwrap();
        Entry { autoscaler: Autoscaler { place, settings, user, updated_at: at }, wish }
    }

    fn state(busy: bool, wish: Option<Uuid>, at: Timestamp) -> AutoscalerState {
        AutoscalerState {
            deployment: DeploymentId::generate(),
            at,
            fence: 1,
            scaler: "one".to_owned(),
            replicas: 2,
            ready: 2,
            evidence: None,
            decision: None,
            terms: None,
            startup_s: None,
            wish,
            busy,
            containers: Vec::new(),
            dropped: DroppedCounts::default(),
            fault: None,
        }
    }

    #[test]
    fn a_client_is_busy_while_it_changes_or_a_wish_is_open() {
        let (now, wish) = (Timestamp::UNIX_EPOCH, Uuid::from_u128(1));
        let busy = |wished, state: Option<AutoscalerState>, later_s| {
            let then = now + SignedDuration::from_secs(later_s);
            is_busy(Some(&entry(wished, now)), state.as_ref(), then)
        };
        assert!(!busy(None, None, 0) && !busy(None, Some(state(false, None, now)), 0));
        assert!(busy(None, Some(state(true, None, now)), 0));
        assert!(busy(Some(wish), None, 60) && busy(Some(wish), Some(state(false, None, now)), 60));
        assert!(!busy(Some(wish), Some(state(false, Some(wish), now)), 0), "it is fulfilled");
        assert!(!busy(None, Some(state(true, None, now)), 31), "nobody has said so for long");
        assert!(!busy(Some(wish), None, 61), "nobody fulfils it");
        assert!(!is_busy(None, None, now));
    }

    #[test]
    fn a_share_is_shown_as_it_was_given() {
        for given in [0.1, 7.0, 28.0, 33.3, 55.0, 57.0, 99.9, 100.0] {
            assert!((percent(given / 100.0) - given).abs() < f64::EPSILON * given, "{given}");
        }
    }
}
