//! A deployment that is kept: from events to orders, and what becomes of them.

use slipway_common::model::DeploymentId;
use slipway_common::model::autoscaler::{Autoscaler, RawSettings, Silence, Wish};

use super::orders::UNFINISHED_S;
use super::*;

const START_S: i64 = 1_800_000_000;

fn at(second: f64) -> Timestamp {
    let start = Timestamp::from_second(START_S).unwrap();
    start.checked_add(jiff::SignedDuration::try_from_secs_f64(second).unwrap()).unwrap()
}

fn now(second: f64) -> f64 {
    seconds(at(second))
}

fn settings(more: &str) -> AutoscalerSettings {
    let raw: RawSettings =
        serde_json::from_str(&format!(r#"{{"cpu_target": 0.5, "replicas_max": 10{more}}}"#)).unwrap();
    AutoscalerSettings::try_from(raw).unwrap()
}

fn place() -> Place {
    Place { project: "shop-1a2b3c".parse().unwrap(), environment: "default".parse().unwrap() }
}

fn entry(more: &str) -> Arc<Entry> {
    let autoscaler =
        Autoscaler { place: place(), settings: settings(more), user: "ada".to_owned(), updated_at: at(0.0) };
    Arc::new(Entry { autoscaler, wish: None })
}

fn with_wish(replicas: u32) -> Arc<Entry> {
    Arc::new(Entry { wish: Some(wish(replicas)), ..Entry::clone(&entry("")) })
}

fn wish(replicas: u32) -> Wish {
    Wish { id: Uuid::now_v7(), place: place(), replicas, user: "ada".to_owned(), at: at(0.0) }
}

fn subject() -> Subject {
    Subject { place: place(), deployment: DeploymentId::generate(), target: "docker".parse().unwrap() }
}

fn kept(more: &str) -> (Kept, Subject) {
    let subject = subject();
    let mut kept = Kept::new(entry(more), 1, None, None);
    kept.update(entry(more), Some(subject.clone()), 1);
    (kept, subject)
}

fn seen(replicas: u32) -> Option<Seen> {
    Some(Seen { replicas, ready: replicas, unfinished: 0, hands_off: None })
}

/// Every replica used this share of one core since the second before.
fn events(subject: &Subject, replicas: u32, second: f64, used: f64) -> Vec<MetricEvent> {
    let measure = |number: u32| ContainerMeasure {
        container: format!("shop-{number}"),
        cpu_used_cores: Some(used),
        window_s: Some(5.0),
        cpu_allowed_cores: 1.0,
        ready_since: Some(at(-1_000.0)),
        ..ContainerMeasure::default()
    };
    let event = |number| {
        MetricEvent::new(subject.deployment, "test", at(second), Measured::Container(measure(number)))
    };
    (1..=replicas).map(event).collect()
}

/// Steps every five seconds with this use, until something is ordered.
fn until_order(kept: &mut Kept, subject: &Subject, replicas: u32, from_s: f64, used: f64) -> Option<Order> {
    for round in 0..60 {
        let second = from_s + f64::from(round) * 5.0;
        kept.see(seen(replicas), now(second));
        for event in events(subject, replicas, second, used) {
            assert!(kept.take(&event, now(second)));
        }
        if kept.is_due(now(second)) {
            kept.step(now(second), at(second));
        }
        if let Some(order) = kept.order(now(second)) {
            return Some(order);
        }
    }
    None
}

#[test]
fn load_above_the_target_becomes_one_order_and_its_success_the_count() {
    let (mut kept, subject) = kept("");
    let order = until_order(&mut kept, &subject, 2, 0.0, 0.9).unwrap();
    assert_eq!((order.from, &order.subject), (2, &subject));
    let to = order.to.unwrap();
    assert!((4..=6).contains(&to), "{to}");
    assert_eq!(kept.order(now(1.0)), None, "one at a time");
    let state = kept.news("one", at(1.0)).unwrap();
    assert!(state.busy);
    assert_eq!((state.replicas, state.ready), (to, 2), "what is ordered, and what serves");
    assert_eq!(kept.acted(&order, &Ok(to), now(2.0), at(2.0)), None);
    let state = kept.news("one", at(2.0)).unwrap();
    assert_eq!((state.replicas, state.busy, state.fault), (to, false, None));
    assert_eq!(kept.news("one", at(2.0)), None, "nothing is new");
}

#[test]
fn an_order_that_fails_is_told_and_the_count_that_is_there_counts() {
    let (mut kept, subject) = kept("");
    let order = until_order(&mut kept, &subject, 2, 0.0, 0.9).unwrap();
    let error = TargetError::Refused { code: "replica_exited", reason: "it ended with 1".to_owned() };
    let told = kept.acted(&order, &Err(error), now(1.0), at(1.0)).unwrap();
    assert_eq!(told.fault.as_ref().map(|fault| fault.code.as_str()), Some("replica_exited"));
    let state = kept.news("one", at(1.0)).unwrap();
    assert_eq!((state.replicas, state.busy), (2, false));
    assert!(until_order(&mut kept, &subject, 2, 300.0, 0.9).is_some(), "and it is tried again");
}

#[test]
fn silence_holds_and_says_so() {
    let (mut kept, _) = kept("");
    let mut decisions = Vec::new();
    for second in 0..600 {
        let second = f64::from(second);
        kept.see(seen(7), now(second));
        if kept.is_due(now(second)) {
            decisions.extend(kept.step(now(second), at(second)).decision);
        }
        assert_eq!(kept.order(now(second)), None);
    }
    assert_eq!(decisions.len(), 1, "the same reason is kept once");
    let silence = Reason::Silence { silence: Silence::NeverHeard };
    assert_eq!(decisions[0].decision, Decision::Hold(silence));
}

#[test]
fn a_count_outside_the_limits_is_brought_into_them_without_metrics() {
    let (mut kept, _) = kept(r#", "replicas_min": 3"#);
    kept.see(seen(1), now(0.0));
    kept.step(now(0.0), at(0.0));
    assert_eq!(kept.order(now(0.0)).and_then(|order| order.to), Some(3));
    let (mut kept, _) = self::kept("");
    kept.see(seen(12), now(0.0));
    kept.step(now(0.0), at(0.0));
    assert_eq!(kept.order(now(0.0)).and_then(|order| order.to), Some(10));
    let (mut kept, _) = self::kept("");
    kept.see(seen(0), now(0.0));
    kept.step(now(0.0), at(0.0));
    assert_eq!(kept.order(now(0.0)), None, "what somebody stopped is not started");
}

#[test]
fn a_wish_is_fulfilled_once_even_by_the_next_scaler() {
    let (mut kept, subject) = kept("");
    kept.see(seen(2), now(0.0));
    let wished = with_wish(5);
    kept.update(wished.clone(), Some(subject.clone()), 1);
    let order = kept.order(now(0.0)).unwrap();
    assert_eq!(order.to, Some(5));
    assert!(kept.news("one", at(0.0)).unwrap().busy);
    kept.acted(&order, &Ok(5), now(1.0), at(1.0));
    let state = kept.news("one", at(1.0)).unwrap();
    assert_eq!((state.wish, state.busy), (wished.wish.as_ref().map(|wish| wish.id), false));
    kept.see(seen(4), now(60.0));
    assert_eq!(kept.order(now(60.0)), None);
    let mut next = Kept::new(wished.clone(), 2, Some(&state), None);
    next.update(wished, Some(subject), 2);
    next.see(seen(4), now(61.0));
    assert_eq!(next.order(now(61.0)), None);
}

#[test]
fn a_wish_is_kept_within_the_limits_and_tried_again() {
    let (mut kept, subject) = kept("");
    kept.see(seen(2), now(0.0));
    kept.update(with_wish(50), Some(subject), 1);
    let order = kept.order(now(0.0)).unwrap();
    assert_eq!(order.to, Some(10));
    let away = TargetError::Unavailable { reason: "away".to_owned() };
    kept.acted(&order, &Err(away), now(1.0), at(1.0));
    assert_eq!(kept.order(now(2.0)), None, "not at once");
    assert_eq!(kept.order(now(6.0)).and_then(|order| order.to), Some(10));
}

#[test]
fn hands_off_what_another_autoscaler_keeps() {
    let (mut kept, subject) = kept("");
    let hands_off = AutoscalerFault { code: "hpa_targets_it".to_owned(), reason: "an HPA".to_owned() };
    for round in 0..20 {
        let second = f64::from(round) * 5.0;
        kept.see(seen(2).map(|seen| Seen { hands_off: Some(hands_off.clone()), ..seen }), now(second));
        for event in events(&subject, 2, second, 0.95) {
            kept.take(&event, now(second));
        }
        kept.step(now(second), at(second));
        assert_eq!(kept.order(now(second)), None);
    }
    assert_eq!(kept.news("one", at(100.0)).unwrap().fault, Some(hands_off));
}

#[test]
fn a_new_deployment_is_measured_anew_and_events_of_the_old_one_do_not_count() {
    let (mut kept, old) = kept("");
    for event in events(&old, 2, 0.0, 0.9) {
        assert!(kept.take(&event, now(0.0)));
    }
    let new = subject();
    kept.update(entry(""), Some(new.clone()), 1);
    assert!(!kept.take(&events(&old, 1, 5.0, 0.9)[0], now(5.0)));
    assert!(kept.take(&events(&new, 1, 5.0, 0.9)[0], now(5.0)));
    kept.see(seen(1), now(5.0));
    let state = kept.news("one", at(5.0)).unwrap();
    assert_eq!((state.deployment, state.dropped.foreign), (new.deployment, 1));
}

#[test]
fn what_was_left_half_done_is_finished_after_a_while() {
    let (mut kept, subject) = kept("");
    let half_done = |second: f64| (seen(2).map(|seen| Seen { unfinished: 1, ..seen }), now(second));
    let (look, now_s) = half_done(0.0);
    kept.see(look, now_s);
    assert_eq!(kept.order(now_s), None, "a job may be about to do so");
    let (look, now_s) = half_done(UNFINISHED_S);
    kept.see(look, now_s);
    assert_eq!(kept.order(now_s), Some(Order { subject, from: 2, to: None }));
}

#[test]
fn a_look_that_is_too_old_decides_nothing() {
    let (mut kept, subject) = kept("");
    kept.see(seen(2), now(0.0));
    for event in events(&subject, 2, 40.0, 0.95) {
        kept.take(&event, now(40.0));
    }
    assert!(kept.step(now(40.0), at(40.0)).decision.is_none());
    kept.see_nothing(&TargetError::Unavailable { reason: "away".to_owned() });
    assert_eq!(kept.news("one", at(40.0)).unwrap().fault.unwrap().code, "target_unavailable");
}

#[test]
fn arrivals_that_are_no_number_or_late_are_not_taken() {
    let (mut kept, subject) = kept("");
    let traffic = |second: f64, arrivals: f64| {
        let measure = TrafficMeasure { arrivals_per_s: Some(arrivals), inflight: None };
        MetricEvent::new(subject.deployment, "test", at(second), Measured::Traffic(measure))
    };
    assert!(kept.take(&traffic(10.0, 5.0), now(10.0)));
    for bad in [traffic(11.0, f64::NAN), traffic(11.0, -1.0), traffic(9.0, 5.0), traffic(99.0, 5.0)] {
        assert!(!kept.take(&bad, now(11.0)));
    }
    assert_eq!(kept.traffic(now(11.0)).0, Some(5.0));
    assert_eq!(kept.traffic(now(50.0)).0, None, "stale");
}

#[test]
fn what_was_learned_is_handed_on_now_and_then_and_taken_over() {
    let (mut kept, _) = kept("");
    assert_eq!(kept.learned(now(0.0), false), None, "there is nothing yet");
    let handed_on: Vec<f64> = (1..=1_200)
        .map(|step| 5.0 * f64::from(step))
        .filter(|second| kept.learned(now(*second), false).is_some())
        .collect();
    assert!(handed_on[0] <= 2.0 * LEARNED_PAUSE_S, "{handed_on:?}");
    assert!(
        handed_on.windows(2).all(|two| (two[1] - two[0] - LEARNED_PAUSE_S).abs() < 1e-6),
        "{handed_on:?}"
    );
    let learned = kept.learned(now(6_001.0), true).expect("at once");
    assert_eq!(learned.fence, 1);
    let known =
        learned.body.replace(r#""startup_s":30.0,"starts_seen":0"#, r#""startup_s":77.0,"starts_seen":3"#);
    let next = |body: &str| Kept::new(entry(""), 2, None, Some(&Learned { fence: 1, body: body.to_owned() }));
    assert_eq!(next(&known).controller.startup_s(), Some(77.0));
    assert_eq!(next("damaged").controller.startup_s(), Some(30.0));
}

#[test]
fn places_take_turns() {
    let turns: Vec<f64> = (0..200)
        .map(|number| Place { project: format!("shop-{number}").parse().unwrap(), ..place() })
        .map(|place| turn_of(&place))
        .collect();
    assert!(turns.iter().all(|turn| (0.0..=1.0).contains(turn)));
    let early = turns.iter().filter(|turn| **turn < 0.5).count();
    assert!((40..=160).contains(&early), "{early} of 200");
}

/// Everything a deployment has in the loop besides what hangs on it: its strings, containers, observations, and what is
/// remembered of its load.
#[test]
fn what_is_kept_of_one_deployment_is_small() {
    let (kept, controller) = (size_of::<Kept>(), size_of::<crate::control::StandardLaw>());
    let observed = OBSERVED_CHUNK * size_of::<Observed>();
    let sum = kept + controller + observed;
    assert!(sum <= 3_584, "{kept} and {controller} and {observed} bytes");
}
