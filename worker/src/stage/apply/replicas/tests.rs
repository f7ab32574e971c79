//! The rule as a table, and what it reads over the embedded adapter.

use jiff::Timestamp;
use slipway_common::model::DeploymentId;
use slipway_common::model::autoscaler::{
    Autoscaler, AutoscalerSettings, AutoscalerState, DroppedCounts, RawSettings,
};
use slipway_common::record::Record;

use super::*;
use crate::testing::{Installation, Mood};

#[test]
fn an_autoscaler_decides_within_its_limits_and_a_person_otherwise() {
    let scaling = |replicas_min, replicas_max, ordered| Some(Scaling { replicas_min, replicas_max, ordered });
    let cases = [
        ("nobody scales", 3, None, (3, false)),
        ("it holds seven", 1, scaling(1, 10, Some(7)), (7, true)),
        ("it holds fewer than were asked for", 9, scaling(1, 10, Some(2)), (2, true)),
        ("it has ordered nothing yet", 3, scaling(1, 10, None), (3, true)),
        ("fewer were asked for than it allows", 1, scaling(4, 10, None), (4, true)),
        ("more were asked for than it allows", 32, scaling(1, 10, None), (10, true)),
        ("its limit was lowered since", 1, scaling(1, 5, Some(7)), (5, true)),
        ("its limit was raised since", 1, scaling(8, 10, Some(7)), (8, true)),
        ("it saw a stopped application", 2, scaling(1, 10, Some(0)), (2, true)),
        ("none are wanted", 0, scaling(1, 10, Some(7)), (0, false)),
        ("none are wanted, and nobody scales", 0, None, (0, false)),
    ];
    for (case, asked, scaling, (replicas, is_scaled)) in cases {
        assert_eq!(decide(asked, scaling), Size { replicas, is_scaled }, "{case}");
    }
}

#[test]
fn a_target_cuts_off_what_an_autoscaler_orders_and_hears_what_a_person_asks_for() {
    assert_eq!(Size { replicas: 100, is_scaled: true }.at_most(64), 64);
    assert_eq!(Size { replicas: 7, is_scaled: true }.at_most(64), 7);
    assert_eq!(Size { replicas: 100, is_scaled: false }.at_most(64), 100);
}

fn autoscaler(place: &Place) -> Record {
    let raw: RawSettings = serde_json::from_str(r#"{"cpu_target": 0.6, "replicas_max": 10}"#).unwrap();
    Record::AutoscalerStored(Box::new(Autoscaler {
        place: place.clone(),
        settings: AutoscalerSettings::try_from(raw).unwrap(),
        user: "ada".to_owned(),
        updated_at: Timestamp::now(),
    }))
}

fn state(replicas: u32) -> AutoscalerState {
    AutoscalerState {
        deployment: DeploymentId::generate(),
        at: Timestamp::now(),
        fence: 1,
        scaler: "scaler-1".to_owned(),
        replicas,
        ready: replicas,
        evidence: None,
        decision: None,
        terms: None,
        startup_s: None,
        wish: None,
        busy: false,
        containers: Vec::new(),
        dropped: DroppedCounts::default(),
        fault: None,
    }
}

#[tokio::test]
async fn i16_a_deployment_for_which_one_was_asked_takes_over_the_seven_of_the_one_before() {
    let installation = Installation::open();
    let autoscalers = installation.backend.autoscalers.clone();
    let place = Place { project: "shop-1a2b3c".parse().unwrap(), environment: "staging".parse().unwrap() };
    let size = async || size(autoscalers.as_ref(), &place, 1).await.unwrap();
    assert_eq!(size().await, Size { replicas: 1, is_scaled: false }, "nobody scales");
    installation.backend.record(&autoscaler(&place)).await.unwrap();
    assert_eq!(size().await, Size { replicas: 1, is_scaled: true }, "nothing was ordered yet");
    autoscalers.put_states(&[(place.clone(), state(7))]).await.unwrap();
    assert_eq!(size().await, Size { replicas: 7, is_scaled: true });
    let elsewhere = Place { environment: "production".parse().unwrap(), ..place.clone() };
    let other = super::size(autoscalers.as_ref(), &elsewhere, 1).await.unwrap();
    assert_eq!(other, Size { replicas: 1, is_scaled: false }, "another place");
}

#[tokio::test]
async fn a_store_that_cannot_be_asked_is_no_answer() {
    let installation = Installation::open();
    let place = Place { project: "shop-1a2b3c".parse().unwrap(), environment: "staging".parse().unwrap() };
    installation.backend.record(&autoscaler(&place)).await.unwrap();
    for method in ["autoscaler", "state"] {
        installation.autoscalers.set(Mood::Refuses(method));
        let size = size(installation.backend.autoscalers.as_ref(), &place, 1).await;
        assert!(matches!(size, Err(StageError::Store(_))), "{method}: {size:?}");
    }
}
