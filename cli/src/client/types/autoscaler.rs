//! Autoscalers as the server answers them. What this program does not understand of a decision is left out.

use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use slipway_common::model::autoscaler::{
    AutoscalerFault, ContainerUse, Decision, Evidence, Observed, RawSettings, Terms,
};

/// An autoscaler.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AutoscalerView {
    /// Name of the project.
    #[serde(default)]
    pub(crate) project: String,
    /// The environment.
    #[serde(default)]
    pub(crate) environment: String,
    /// Its settings, every default filled in.
    #[serde(deserialize_with = "settings")]
    pub(crate) settings: RawSettings,
    /// When they were set.
    pub(crate) updated_at: Timestamp,
    /// Who set them.
    #[serde(default)]
    pub(crate) updated_by: String,
    /// The count that somebody asked for last.
    #[serde(default)]
    pub(crate) wish: Option<WishView>,
    /// How it is.
    #[serde(default)]
    pub(crate) state: Option<AutoscalerStateView>,
    /// Whether nobody has said anything for a while.
    #[serde(default)]
    pub(crate) stale: bool,
    /// The newest decisions, newest last.
    #[serde(default)]
    pub(crate) decisions: Vec<AutoscalerDecisionView>,
}

/// A count that somebody asked for.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WishView {
    /// The count.
    pub(crate) replicas: u32,
    /// Who asked.
    #[serde(default)]
    pub(crate) user: String,
    /// When.
    pub(crate) at: Timestamp,
    /// Whether it was set.
    #[serde(default)]
    pub(crate) fulfilled: bool,
}

/// How an autoscaler is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AutoscalerStateView {
    /// When this was said.
    pub(crate) at: Timestamp,
    /// Who said it.
    #[serde(default)]
    pub(crate) scaler: String,
    /// Replicas ordered.
    pub(crate) replicas: u32,
    /// Replicas that serve.
    pub(crate) ready: u32,
    /// Whether replicas are being added or taken away.
    #[serde(default)]
    pub(crate) busy: bool,
    /// What the metrics said last.
    #[serde(default, deserialize_with = "if_understood")]
    pub(crate) evidence: Option<Evidence>,
    /// The last decision.
    #[serde(default, deserialize_with = "if_understood")]
    pub(crate) decision: Option<Decision>,
    /// How the last command came about.
    #[serde(default, deserialize_with = "if_understood")]
    pub(crate) terms: Option<Terms>,
    /// Learned time from an order to its last replica serving, in seconds.
    #[serde(default)]
    pub(crate) startup_s: Option<f64>,
    /// CPU use by container.
    #[serde(default)]
    pub(crate) containers: Vec<ContainerUse>,
    /// What keeps it from acting.
    #[serde(default)]
    pub(crate) fault: Option<AutoscalerFault>,
}

/// One decision.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AutoscalerDecisionView {
    /// Its number.
    pub(crate) number: u64,
    /// When.
    pub(crate) at: Timestamp,
    /// Replicas ordered when it was made.
    pub(crate) replicas: u32,
    /// What the metrics said.
    #[serde(default, deserialize_with = "if_understood")]
    pub(crate) evidence: Option<Evidence>,
    /// The decision.
    #[serde(default, deserialize_with = "if_understood")]
    pub(crate) decision: Option<Decision>,
    /// How the command came about.
    #[serde(default, deserialize_with = "if_understood")]
    pub(crate) terms: Option<Terms>,
    /// Why the target did not take it.
    #[serde(default)]
    pub(crate) fault: Option<AutoscalerFault>,
}

/// What a controller saw.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ObservedView {
    /// The settings in force.
    #[serde(deserialize_with = "settings")]
    pub(crate) settings: RawSettings,
    /// What was seen, oldest first.
    pub(crate) observed: Vec<Observed>,
}

/// A count was asked for.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct WishAccepted {
    /// The count.
    pub(crate) replicas: u32,
}

/// What a newer server says in another way is nothing.
fn if_understood<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

/// Settings without those that a newer server has and this program does not know.
fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RawSettings, D::Error> {
    let mut value = Value::deserialize(deserializer)?;
    let known = RawSettings::deserialize(serde_json::json!({ "cpu_target": 1.0, "replicas_max": 1 }))
        .and_then(serde_json::to_value)
        .map_err(D::Error::custom)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| known.get(name).is_some());
    }
    serde_json::from_value(value).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipway_common::model::autoscaler::{Reason, Silence};

    use super::*;

    #[test]
    fn decisions_are_read_as_the_server_writes_them() {
        let silence = Decision::Hold(Reason::Silence { silence: Silence::Stale });
        let scale = Decision::Scale { from: 2, to: 4, terms: Terms::default() };
        for decision in [silence, scale, Decision::Hold(Reason::DeadBand)] {
            let view: AutoscalerDecisionView = serde_json::from_value(json!({
                "number": 7, "at": "2026-01-01T00:00:00Z", "deployment": "d", "replicas": 2, "ready": 2,
                "evidence": null, "decision": decision, "terms": Terms::default(), "fault": null
            }))
            .unwrap();
            assert_eq!(view.decision, Some(decision));
            assert_eq!((view.number, view.evidence, view.terms), (7, None, Some(Terms::default())));
        }
    }

    #[test]
    fn what_a_newer_server_adds_does_no_harm() {
        let view: AutoscalerView = serde_json::from_value(json!({
            "settings": { "cpu_target": 0.6, "replicas_max": 9, "forecast": "weekly" },
            "updated_at": "2026-01-01T00:00:00Z",
            "state": {
                "at": "2026-01-01T00:00:00Z", "replicas": 2, "ready": 1, "mood": "good",
                "decision": { "decision": "migrate", "to": "elsewhere" }, "terms": { "utilisation": 0.5 }
            }
        }))
        .unwrap();
        assert_eq!(view.settings.replicas_max, 9);
        let state = view.state.unwrap();
        assert_eq!((state.replicas, state.decision, state.terms), (2, None, None));
        let wrong = json!({ "settings": { "cpu_target": "high" }, "updated_at": "2026-01-01T00:00:00Z" });
        assert!(serde_json::from_value::<AutoscalerView>(wrong).is_err());
    }
}
