//! What an observation makes of a deployment's state.

use super::*;

fn live(wanted: u32, serving: u32) -> LiveState {
    LiveState {
        replicas_wanted: wanted,
        replicas_updated: None,
        replicas_serving: serving,
        replicas: Vec::new(),
        supports: Vec::new(),
        events: Vec::new(),
        drift: Vec::new(),
        observed_at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn a_deployment_is_degraded_while_fewer_replicas_serve_than_must() {
    use DeploymentState::{Active, Degraded, Deploying, Stopping};
    let cases = [
        (Active, live(7, 7), 7, None),
        (Active, live(7, 6), 7, Some("degraded")),
        (Active, live(9, 7), 7, None),
        (Active, live(9, 6), 7, Some("degraded")),
        (Active, live(0, 0), 0, None),
        (Degraded, live(7, 6), 7, None),
        (Degraded, live(7, 7), 7, Some("recovered")),
        (Degraded, live(9, 7), 7, Some("recovered")),
        (Deploying, live(7, 0), 7, None),
        (Stopping, live(7, 0), 7, None),
    ];
    for (state, live, due, event) in cases {
        let found = transition(state, &live, due).map(|kind| kind.name());
        assert_eq!(found, event, "{state:?}: {} serve, {due} must", live.replicas_serving);
    }
}

#[test]
fn at_the_first_look_what_an_autoscaler_has_serving_suffices_and_none_never_does() {
    use DeploymentState::{Active, Degraded};
    let cases = [
        ("nobody scales", Active, false, live(7, 6), 7),
        ("it may be scaling up", Active, true, live(9, 3), 3),
        ("all serve", Active, true, live(7, 7), 7),
        ("it may be scaling down", Active, true, live(3, 5), 3),
        ("none serves", Active, true, live(7, 0), 1),
        ("none is wanted", Active, true, live(0, 0), 0),
        ("known to be degraded", Degraded, true, live(7, 6), 7),
    ];
    for (case, state, is_scaled, live, due) in cases {
        assert_eq!(first_due(state, is_scaled, &live), due, "{case}");
    }
}

/// A scale-up from the first look to its end, with a replica lost before and after.
#[test]
fn a_scale_up_is_no_loss_and_a_loss_is_one_during_and_after_it() {
    let (start, grace) = (Instant::now(), Duration::from_secs(60));
    let mut ordered = Ordered::default();
    let mut event = |second: u64, state, wanted, serving| {
        let now = start + Duration::from_secs(second);
        ordered.note(wanted, now);
        transition(state, &live(wanted, serving), ordered.due(grace, now)).map(|kind| kind.name())
    };
    assert_eq!(event(0, DeploymentState::Active, 3, 3), None);
    assert_eq!(event(10, DeploymentState::Active, 9, 3), None, "ordered");
    assert_eq!(event(20, DeploymentState::Active, 9, 6), None, "coming up");
    assert_eq!(event(22, DeploymentState::Active, 9, 2), Some("degraded"), "one of the three is lost");
    assert_eq!(event(24, DeploymentState::Degraded, 9, 9), Some("recovered"));
    assert_eq!(event(69, DeploymentState::Active, 9, 8), None, "it may still be coming up");
    assert_eq!(event(70, DeploymentState::Active, 9, 8), Some("degraded"), "it has had its time");
}
