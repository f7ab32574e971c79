//! `slipway autoscaler what-if` and `tune`: what was observed, played to other settings in this program.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use slipway_common::model::autoscaler::{AutoscalerSettings, RawSettings};
use slipway_scaler::replay::{self, Constants, Proposal};

use super::set::overlaid;
use super::{path, read};
use crate::args::{Back, TuneArgs, WhatIfArgs};
use crate::client::types::ObservedView;
use crate::client::{Client, ClientError};
use crate::command::{CommandError, resolve};
use crate::exit::Exit;
use crate::view;

/// Plays what was observed to the settings in force with the flags over them.
///
/// # Errors
/// When the flags make no settings, or the server cannot be reached or refuses.
pub(super) async fn what_if(client: &Client, args: &WhatIfArgs, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let kept = observed(client, &id, args.since).await?;
    let settings = valid(overlaid(&kept.settings, &args.settings))?;
    let found = replay::what_if(&kept.observed, &settings);
    if json {
        let document = json!({ "settings": RawSettings::from(settings), "what_if": found });
        view::json(&document);
    } else {
        view::autoscaler::print_what_if(&found);
    }
    Ok(Exit::Done)
}

/// Proposes constants, and sets them if asked to.
///
/// # Errors
/// When too little was observed, or the server cannot be reached or refuses.
pub(super) async fn tune(client: &Client, args: &TuneArgs, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let kept = observed(client, &id, args.since).await?;
    let proposal = replay::tune(&kept.observed, &valid(kept.settings)?)?;
    let applies = args.apply && proposal.changes();
    if applies {
        client.patch_answered::<_, Value>(&path(&id), &patch(&proposal.constants)).await.map(drop)?;
    }
    if json {
        view::json(&document(&proposal, applies));
    } else {
        view::autoscaler::print_tune(&proposal, applies);
    }
    Ok(Exit::Done)
}

async fn observed(client: &Client, id: &str, since: Option<Back>) -> Result<ObservedView, CommandError> {
    let document = seen_since(client, id, since.map(|back| back.0)).await?;
    Ok(read(client, document)?)
}

/// What was observed in the last while, or all that is kept.
pub(super) async fn seen_since(
    client: &Client,
    id: &str,
    back: Option<SignedDuration>,
) -> Result<Value, ClientError> {
    let from = back.map(|back| Timestamp::now().checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH));
    let query: Vec<(&str, String)> = from.map(|from| ("since", from.to_string())).into_iter().collect();
    client.get(&["deployments", id, "autoscaler", "observed"], &query).await
}

fn valid(settings: RawSettings) -> Result<AutoscalerSettings, CommandError> {
    AutoscalerSettings::try_from(settings)
        .map_err(|error| CommandError::Settings { reason: error.to_string() })
}

fn patch(constants: &Constants) -> Value {
    json!({
        "constants": { "kp": constants.kp, "ki": constants.ki, "kd": constants.kd },
        "hold_s": constants.hold_s
    })
}

fn document(proposal: &Proposal, applied: bool) -> Value {
    json!({ "proposal": proposal, "changes": proposal.changes(), "applied": applied })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::SettingsArgs;
    use crate::client::fake::{self, Answer};

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OBSERVED: &str = r#"{"settings":{"cpu_target":0.6,"replicas_max":9},"observed":[
        {"at":"2026-01-01T00:00:00Z","replicas":2,"ready":2,"evidence":null,"arrivals_per_s":null,"inflight":null}]}"#;

    #[tokio::test]
    async fn a_part_of_what_is_kept_is_asked_for_and_too_little_is_refused() {
        let script = vec![Answer::Json(200, OBSERVED), Answer::Json(200, OBSERVED)];
        let (client, heads) = fake::client(script).await;
        let since = Some(Back(SignedDuration::from_hours(2)));
        let settings = SettingsArgs { kd: Some(0.0), ..SettingsArgs::default() };
        what_if(&client, &WhatIfArgs { id: ID.to_owned(), since, settings }, false).await.unwrap();
        let args = TuneArgs { id: ID.to_owned(), since: None, apply: true };
        let refused = tune(&client, &args, false).await.unwrap_err();
        assert!(matches!(refused, CommandError::Tune(_)), "{refused}");
        let heads = heads.lock().unwrap();
        let asked = format!("get /deployments/{ID}/autoscaler/observed");
        assert!(heads[0].starts_with(&format!("{asked}?since=2")), "{}", heads[0]);
        assert!(heads[1].starts_with(&format!("{asked} http")), "{}", heads[1]);
    }

    #[tokio::test]
    async fn flags_that_make_no_settings_are_told() {
        let (client, _) = fake::client(vec![Answer::Json(200, OBSERVED)]).await;
        let settings = SettingsArgs { kp: Some(7.0), ..SettingsArgs::default() };
        let args = WhatIfArgs { id: ID.to_owned(), since: None, settings };
        let error = what_if(&client, &args, false).await.unwrap_err();
        assert!(error.to_string().contains("constants.kp"), "{error}");
    }

    #[test]
    fn a_proposal_becomes_a_patch_of_its_constants() {
        let constants = Constants { kp: 0.9, ki: 0.0, kd: 1.2, hold_s: 40 };
        let wanted = json!({ "constants": { "kp": 0.9, "ki": 0.0, "kd": 1.2 }, "hold_s": 40 });
        assert_eq!(patch(&constants), wanted);
    }
}
