//! Replays of records that the simulator made, and what is proposed from them.

use jiff::{SignedDuration, Timestamp};
use slipway_common::model::autoscaler::{
    AutoscalerSettings, Evidence, Law, Mode, Observed, RawGains, RawSettings,
};

use super::*;
use crate::control::{Controller, Observation};
use crate::demand::{ContainerSample, Cpu, DemandLimits, DemandWindow, Key};
use crate::number::to_u64;
use crate::sim::load::Load;
use crate::sim::plant::PlantSettings;
use crate::sim::policy::{Cadence, Policy, View};
use crate::sim::profile::{Form, Profile};
use crate::sim::rng::Rng;
use crate::sim::run::run;

const EPOCH_S: i64 = 1_770_000_000;

fn settings(change: impl FnOnce(&mut RawSettings)) -> AutoscalerSettings {
    let mut raw: RawSettings = serde_json::from_str(r#"{"cpu_target": 0.6, "replicas_max": 100}"#).unwrap();
    change(&mut raw);
    AutoscalerSettings::try_from(raw).unwrap()
}

fn gains(kp: f64, ki: f64, kd: f64) -> AutoscalerSettings {
    settings(|raw| raw.constants = Some(RawGains { kp, ki, kd }))
}

fn at(now_s: f64) -> Timestamp {
    let millis = i64::try_from(to_u64(now_s * 1_000.0)).unwrap();
    Timestamp::from_second(EPOCH_S).unwrap() + SignedDuration::from_millis(millis)
}

/// A controller in the simulator that notes what it sees.
struct Recorder {
    controller: Controller,
    window: DemandWindow,
    observed: Vec<Observed>,
}

impl Policy for Recorder {
    fn cadence(&self) -> Cadence {
        Cadence::EVENTS_5_S
    }

    fn decide(&mut self, view: &View<'_>) -> u32 {
        for metric in view.metrics {
            let pod = view.pods.iter().find(|pod| pod.id == metric.id && !pod.draining);
            let sample = ContainerSample {
                owner: Key::of("app"),
                container: Key::from_number(metric.id),
                at_s: metric.at_s,
                cpu: Cpu::Mean { used_cores: metric.used_cores, window_s: metric.window_s },
                allowed_cores: 1.0,
                ready_since_s: pod.and_then(|pod| pod.ready_since_s),
            };
            self.window.push(&sample, view.now_s).ok();
        }
        let evidence = self.window.read(Some(view.ready()), view.now_s);
        let epoch_s = at(0.0).duration_since(Timestamp::UNIX_EPOCH).as_secs_f64();
        self.observed.push(Observed {
            at: at(view.now_s),
            replicas: view.ordered,
            ready: view.ready(),
            evidence: evidence.ok().map(|evidence| Evidence { at_s: evidence.at_s + epoch_s, ..evidence }),
            arrivals_per_s: None,
            inflight: None,
        });
        let seen = Observation {
            now_s: view.now_s,
            replicas: view.ordered,
            ready: view.ready(),
            evidence,
            arrivals_per_s: None,
            inflight: None,
        };
        self.controller.step(&seen).to().unwrap_or(view.ordered)
    }
}

fn record(settings: &AutoscalerSettings, work: Vec<f64>) -> Vec<Observed> {
    let mut recorder = Recorder {
        controller: Controller::new(settings.clone()),
        window: DemandWindow::new(Key::of("app"), DemandLimits::default()),
        observed: Vec::new(),
    };
    run(&mut recorder, &Load::of_work("recorded", work), &PlantSettings::default(), 5, None);
    recorder.observed
}

/// Two levels in turn, each for so many seconds.
fn square((low, high): (f64, f64), half_s: usize, seconds: usize) -> Vec<f64> {
    (0..seconds).map(|second| if (second / half_s).is_multiple_of(2) { low } else { high }).collect()
}

/// Two levels in turn, for times that do not repeat themselves: what comes again is ordered ahead whatever the constants.
fn uneven((low, high): (f64, f64)) -> Vec<f64> {
    const LASTING_S: [usize; 14] = [300, 410, 250, 520, 330, 460, 270, 380, 610, 290, 440, 350, 240, 550];
    let levels = LASTING_S.iter().zip([low, high].into_iter().cycle());
    levels.flat_map(|(seconds, level)| std::iter::repeat_n(level, *seconds)).collect()
}

/// An observation every 5 s, with what the metrics would say of this demand.
fn observed(index: u32, replicas: u32, ready: u32, demand: f64) -> Observed {
    let now_s = 5.0 * f64::from(index);
    let utilisation = (demand / f64::from(ready)).min(1.0);
    Observed {
        at: at(now_s),
        replicas,
        ready,
        evidence: Some(Evidence {
            at_s: now_s,
            window_s: 5.0,
            utilisation,
            saturated_share: if utilisation >= 0.95 { 1.0 } else { 0.0 },
            demand_replicas: utilisation * f64::from(ready),
            counting: ready,
            young: 0,
        }),
        arrivals_per_s: None,
        inflight: None,
    }
}

fn close(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * a.abs().max(b.abs())
}

#[test]
fn the_same_settings_reproduce_what_was_recorded() {
    for settings in [settings(|_| ()), settings(|raw| raw.mode = Mode::Calm)] {
        let observed = record(&settings, square((4.0, 10.0), 900, 5_400));
        let found = what_if(&observed, &settings);
        assert_eq!(found.points.len(), observed.len());
        let sum = |of: fn(&Point) -> f64| found.points.iter().map(of).sum::<f64>();
        let apart = sum(|point| (f64::from(point.recorded) - f64::from(point.replayed)).abs());
        let share = apart / sum(|point| f64::from(point.recorded));
        assert!(share < 0.08, "{share} of the replicas are elsewhere");
        assert!(close(found.recorded.replica_s, found.replayed.replica_s, 0.05), "{found:?}");
        assert!((found.recorded.actions - found.replayed.actions).abs() <= 8.0, "{found:?}");
        assert!((found.recorded.utilisation_mean - found.replayed.utilisation_mean).abs() < 0.02);
    }
}

#[test]
fn a_larger_target_takes_fewer_replicas() {
    let observed = record(&settings(|_| ()), square((4.0, 9.0), 600, 2_400));
    let found = what_if(&observed, &settings(|raw| raw.cpu_target = 0.85));
    assert!(found.replayed.replica_s < 0.85 * found.recorded.replica_s, "{found:?}");
    assert!(found.replayed.utilisation_mean > found.recorded.utilisation_mean + 0.05);
    let capped = what_if(&observed, &settings(|raw| raw.replicas_max = 5));
    assert!(capped.points.iter().skip(1).all(|point| point.replayed <= 5));
    assert!(capped.replayed.under_s > 900.0, "nine replicas' work on five: {capped:?}");
}

#[test]
fn the_same_record_gives_the_same_answer() {
    let observed = record(&settings(|_| ()), square((3.0, 6.0), 300, 1_200));
    let other = gains(0.5, 0.0, 2.0);
    assert_eq!(what_if(&observed, &other), what_if(&observed, &other));
}

#[test]
fn nothing_recorded_is_nothing_to_play() {
    let found = what_if(&[], &settings(|_| ()));
    assert!(found.points.is_empty());
    assert_eq!((found.span_s, found.replayed.replica_s), (0.0, 0.0));
    assert_eq!(found.starts_seen, 0);
}

#[test]
fn what_the_ceiling_hid_is_put_back() {
    let tuning = Tuning::of(Mode::Tight);
    let mut all: Vec<Observed> = (0..4).map(|index| observed(index, 4, 4, 2.0)).collect();
    // Nine replicas' work on four, then on twenty; the first measurement after still sees the queues.
    all.extend((4..10).map(|index| observed(index, 20, 4, 9.0)));
    all.push(observed(10, 20, 20, 14.0));
    all.extend((11..20).map(|index| observed(index, 20, 20, 9.0)));
    let record = Record::of(&all, &tuning);
    let demand = |index: usize| record.moments[index].demand.unwrap();
    assert_eq!((demand(3), demand(4), demand(9), demand(10)), (2.0, 9.0, 9.0, 14.0));
    assert!(close(record.saturated_share(), 6.0 / 19.0, 0.01));
    // When nothing follows, the bound is all there is.
    let record = Record::of(&all[..10], &tuning);
    assert_eq!(record.moments[9].demand, Some(4.0));
}

#[test]
fn replicas_that_have_just_come_do_not_raise_the_bound() {
    let mut one = observed(0, 12, 12, 30.0);
    one.evidence = one.evidence.map(|evidence| Evidence { counting: 4, young: 8, ..evidence });
    let record = Record::of(&[one], &Tuning::of(Mode::Tight));
    assert_eq!(record.moments[0].demand, Some(4.0));
}

#[test]
fn observations_out_of_order_are_passed_over() {
    let all =
        [observed(3, 2, 2, 1.0), observed(1, 9, 9, 1.0), observed(3, 9, 9, 1.0), observed(4, 2, 2, 1.0)];
    let record = Record::of(&all, &Tuning::of(Mode::Tight));
    assert_eq!(record.moments.len(), 2);
    assert!(close(record.span_s(), 5.0, 1e-9));
}

#[test]
fn a_start_takes_from_the_order_until_all_serve() {
    let mut all: Vec<Observed> = (0..10).map(|index| observed(index, 2, 2, 1.0)).collect();
    all.extend((10..15).map(|index| observed(index, 5, 2, 1.0)));
    all.push(observed(15, 5, 4, 1.0));
    all.extend((16..20).map(|index| observed(index, 5, 5, 1.0)));
    let record = Record::of(&all, &Tuning::of(Mode::Tight));
    assert_eq!(record.starts_seen, 1);
    assert!(close(record.startup_s, 35.0, 1e-9), "ordered at 45 s, complete at 80 s: {}", record.startup_s);
    let without = Record::of(&all[..12], &Tuning::of(Mode::Tight));
    assert_eq!((without.starts_seen, without.startup_s), (0, 30.0));
}

#[test]
fn silence_stays_silence() {
    let mut all: Vec<Observed> = (0..100).map(|index| observed(index, 4, 4, 2.4)).collect();
    for one in &mut all[20..60] {
        one.evidence = None;
    }
    let found = what_if(&all, &settings(|_| ()));
    assert!(found.points[20..60].iter().all(|point| point.demand.is_none()));
    assert!(found.points.iter().all(|point| point.replayed == 4), "silence takes nothing away");
}

#[test]
fn the_plant_is_identified() {
    let mut rng = Rng::new(3);
    let noisy = |level: f64, rng: &mut Rng| level * (1.0 + 0.04 * rng.normal());
    let all: Vec<Observed> = (0..2_000)
        .map(|index| {
            let level = if (index / 250) % 2 == 0 { 4.0 } else { 8.0 };
            observed(index, 14, 14, noisy(level, &mut rng))
        })
        .collect();
    let record = Record::of(&all, &Tuning::of(Mode::Tight));
    let model = Identified::of(&record, &record.smoothed());
    assert!(close(model.noise, 0.04, 0.15), "{model:?}");
    assert_eq!(model.changes_seen, 7);
    assert!(close(model.demand_mean, 6.0, 0.02) && close(model.demand_max, 8.0, 0.2), "{model:?}");
    assert!(close(model.interval_s, 5.0, 1e-6));
}

#[test]
fn restless_constants_on_steps_are_replaced_by_better_ones() {
    let bad = settings(|raw| {
        raw.constants = Some(RawGains { kp: 2.0, ki: 0.0, kd: 6.0 });
        raw.hold_s = Some(12);
    });
    let observed = record(&bad, uneven((4.0, 9.0)));
    let proposal = tune(&observed, &bad).unwrap();
    let (now, then) = (&proposal.expected.now, &proposal.expected.then);
    assert!(proposal.changes(), "{proposal:?}");
    assert!(then.replica_s <= 1.02 * now.replica_s && then.actions <= now.actions + 0.25, "{proposal:?}");
    assert!(then.actions < 0.8 * now.actions && then.under_s < now.under_s, "{proposal:?}");
    assert!(proposal.checked.is_some_and(|checked| checked.agrees()), "{proposal:?}");
    assert!(proposal.confidence.level >= Level::Medium && proposal.confidence.reasons.len() >= 7);
    assert!(close(proposal.cpu_target, 0.6, 1e-9), "the target is the user's");
}

/// Quicker constants would follow the wave more closely, with more changes: that is not proposed unasked.
#[test]
fn constants_that_are_only_bettered_by_more_changes_are_left_alone() {
    let slow = gains(0.1, 0.0, 0.0);
    let wave = Profile::Sine.load(Form::HeldOut);
    let work = (0..wave.duration_s()).map(|second| wave.work_replicas(second)).collect();
    let observed = record(&slow, work);
    let proposal = tune(&observed, &slow).unwrap();
    assert!(!proposal.changes() && proposal.checked.is_none(), "{proposal:?}");
    let why = "no constants were found that do better without more replicas or changes";
    assert!(proposal.confidence.reasons.iter().any(|reason| reason == why), "{proposal:?}");
    let quicker = what_if(&observed, &gains(0.9, 0.0, 1.0));
    assert!(quicker.replayed.over_percent < 0.7 * quicker.recorded.over_percent, "{:?}", quicker.replayed);
    assert!(quicker.replayed.actions > 1.5 * quicker.recorded.actions, "{:?}", quicker.replayed);
}

#[test]
fn too_little_is_refused() {
    let observed = record(&settings(|_| ()), vec![5.0; 600]);
    let refused = tune(&observed, &settings(|_| ())).unwrap_err();
    assert!(matches!(refused, TuneError::TooLittle { have_s: 500..=600, need_s: 1_800 }), "{refused:?}");
    assert!(matches!(tune(&[], &settings(|_| ())), Err(TuneError::TooLittle { have_s: 0, .. })));
}

#[test]
fn a_load_that_never_changed_gives_little_confidence_and_no_change() {
    let all: Vec<Observed> = (0..720).map(|index| observed(index, 10, 10, 5.9)).collect();
    let proposal = tune(&all, &settings(|_| ())).unwrap();
    assert!(!proposal.changes(), "{proposal:?}");
    assert_eq!(proposal.confidence.level, Level::Low);
    assert_eq!(tune(&all, &settings(|_| ())).unwrap(), proposal, "the same record, the same proposal");
    assert!(proposal.confidence.reasons.iter().any(|reason| reason.contains("0 times")), "{proposal:?}");
}

#[test]
fn the_law_of_kabernetes_can_be_tuned_too() {
    let law = settings(|raw| {
        raw.law = Law::Kabernetes;
        raw.constants = Some(RawGains { kp: 0.4, ki: 0.0, kd: 0.0 });
    });
    let observed = record(&law, square((4.0, 10.0), 600, 7_200));
    let proposal = tune(&observed, &law).unwrap();
    assert!(proposal.constants.kp <= 0.5 && proposal.constants.hold_s == proposal.now.hold_s, "{proposal:?}");
    assert!(proposal.changes() && proposal.expected.then.actions < proposal.expected.now.actions);
}
