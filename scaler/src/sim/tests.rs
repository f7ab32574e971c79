//! The plant and its accounts, traces, and the command from end to end.

mod scenarios;

use clap::Parser as _;

use super::command::{SimulateArgs, simulate};
use super::controllers::StandardSetup;
use super::load::Load;
use super::plant::{Plant, PlantSettings};
use super::policy::{Cadence, Policy, View};
use super::profile::{Form, Profile};
use super::run::run;
use super::trace::{Fit, Trace, TraceError};
use crate::settings::Mode;

struct Fixed(u32);

impl Policy for Fixed {
    fn cadence(&self) -> Cadence {
        Cadence::EVENTS_5_S
    }

    fn decide(&mut self, _view: &View<'_>) -> u32 {
        self.0
    }
}

fn steady(work: f64, seconds: usize) -> Load {
    Load::of_work("steady", vec![work; seconds])
}

#[test]
fn utilisation_decides_what_is_late() {
    let late = |work: f64| {
        run(&mut Fixed(10), &steady(work, 1_800), &PlantSettings::default(), 3, None).violations_percent
    };
    let (calm, edge, full) = (late(5.0), late(7.0), late(9.0));
    assert!(calm < 0.5, "{calm}");
    assert!((0.8..4.0).contains(&edge), "{edge}");
    assert!(full > 15.0, "{full}");
}

#[test]
fn what_is_not_scored_is_run_all_the_same() {
    let mut work = vec![9.9; 600];
    work.extend([4.0; 3_000]);
    let load = Load::of_work("overload at first", work);
    let scores = |unscored_s| {
        let settings = PlantSettings { unscored_s, ..PlantSettings::default() };
        run(&mut Fixed(10), &load, &settings, 3, None)
    };
    let (all, later) = (scores(0), scores(700));
    assert!(all.violations_percent > 20.0, "{all:?}");
    assert!(later.violations_percent < 0.2 && later.under_time_percent < 1e-9, "{later:?}");
    assert!(scores(601).violations_percent > later.violations_percent, "queues are left from before");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let load = Profile::Steps.load(Form::Training);
    let scores = |seed| {
        let setup = StandardSetup::of(Mode::Tight, 0.6, 5, 200).unwrap();
        let mut policy = super::controllers::StandardPolicy::new(setup, Cadence::EVENTS_5_S, false);
        run(&mut policy, &load, &PlantSettings::default(), seed, None)
    };
    assert_eq!(scores(1), scores(1));
    assert_ne!(scores(1), scores(2));
}

#[test]
fn starting_and_draining_replicas_are_paid_for() {
    let mut plant = Plant::new(PlantSettings::default(), 2, 1);
    assert_eq!(plant.step(0.0, 10.0).billed, 2);
    assert!(plant.order(1.0, 5));
    let second = plant.step(1.0, 10.0);
    assert_eq!((second.billed, second.ready), (5, 2));
    assert!(plant.order(2.0, 3), "those that start go first");
    plant.step(2.0, 10.0);
    let second = plant.step(3.0, 10.0);
    assert_eq!((second.billed, second.ready), (3, 2));
    assert!(!plant.order(4.0, 3));
}

#[test]
fn a_saturated_replica_shows_one_core_and_no_more() {
    let settings = PlantSettings { metric_noise: 0.0, metric_loss: 0.0, ..PlantSettings::default() };
    let mut plant = Plant::new(settings, 1, 1);
    let mut rejected = 0.0;
    for second in 0..30u32 {
        rejected += plant.step(f64::from(second), 60.0).rejected;
    }
    let metrics = plant.sample(30.0);
    assert!(metrics[0].used_cores > 0.98 && metrics[0].used_cores <= 1.0);
    assert!(rejected > 100.0, "{rejected}");
}

#[test]
fn traces_are_read_cut_and_scaled() {
    let trace = Trace::parse("minute,requests\n0,10\n1,20\n2,40\n3,0;\n").unwrap();
    let fit = Fit { from: 0.0, to: 2.0, unit_s: 10.0, peak_replicas: 8.0 };
    let load = trace.fit("part", &fit).unwrap();
    assert_eq!(load.duration_s(), 20);
    assert!((load.work_replicas(0) - 2.0).abs() < 1e-9);
    assert!((load.work_replicas(15) - 6.0).abs() < 1e-9);
    assert_eq!(Trace::parse("0,1\nx,2\n"), Err(TraceError::Line { line: 2, text: "x,2".to_owned() }));
    assert_eq!(Trace::parse("0,1\n0,2\n"), Err(TraceError::Order { line: 2 }));
    assert_eq!(Trace::parse("time,rate\n0,1\n"), Err(TraceError::Empty));
    assert_eq!(Trace::parse("0,1\n1,NaN\n"), Err(TraceError::Line { line: 2, text: "1,NaN".to_owned() }));
    let far = Fit { from: 5.0, to: 9.0, ..fit };
    assert_eq!(trace.fit("none", &far), Err(TraceError::Empty));
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    args: SimulateArgs,
}

fn answer(line: &str) -> String {
    let line = Line::try_parse_from(std::iter::once("simulate").chain(line.split(' '))).unwrap();
    simulate(&line.args).unwrap()
}

#[test]
fn the_command_answers_with_a_table() {
    let text = answer("--profile steady --controllers standard,kabernetes --seeds 1 --by-load");
    assert!(text.starts_with("| controller | violations % |"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("| standard-tight |")).count(), 1, "{text}");
}

#[test]
fn the_command_compares_at_equal_cost() {
    let text = answer("--profile square --controllers standard --seeds 1 --compare --format json");
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = shown["rows"].as_array().unwrap();
    assert_eq!(rows[0]["name"], "hpa");
    let cost = |row: usize| rows[row]["mean"]["cost"].as_f64().unwrap();
    assert!(cost(1) <= 1.002 * cost(0), "{} and {}", cost(1), cost(0));
    let violations = |row: usize| rows[row]["mean"]["violations_percent"].as_f64().unwrap();
    assert!(violations(1) < violations(0), "{} and {}", violations(1), violations(0));
}

#[test]
fn who_knows_the_future_beats_who_knows_the_present() {
    let text =
        answer("--profile steps --controllers floor-present,floor-oracle --seeds 1 --compare --format json");
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = shown["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hpa", "floor-present", "floor-oracle"]);
    let of = |row: usize, field: &str| rows[row]["mean"][field].as_f64().unwrap();
    assert!((1..=2).all(|row| of(row, "cost") <= 1.002 * of(0, "cost")));
    let violations = |row: usize| of(row, "violations_percent");
    assert!(violations(1) < violations(0) && violations(1) > 1.0, "{}", violations(1));
    assert!(violations(2) < 0.3 * violations(1), "{} and {}", violations(2), violations(1));
}

#[test]
fn the_oracle_orders_a_start_up_and_five_seconds_ahead() {
    let load = Load::of_work("step", (0..600).map(|s| if s < 300 { 3.0 } else { 9.0 }).collect());
    let ordered_at = |ahead_s: usize| {
        let mut curve = Vec::new();
        let mut floor = super::controllers::FloorPolicy::new(0.6, ahead_s, 10);
        run(&mut floor, &load, &PlantSettings::default(), 1, Some(&mut curve));
        curve.iter().find(|point| point.ordered == 15).unwrap().at_s
    };
    assert_eq!((ordered_at(0), ordered_at(35)), (300.0, 265.0));
}

#[test]
fn requests_cost_more_while_a_replica_warms_up() {
    let settings =
        PlantSettings { startup_spread: 0.0, warmup_factor: 1.6, warmup_s: 30.0, ..PlantSettings::default() };
    let mut plant = Plant::new(settings, 1, 1);
    plant.order(0.0, 100);
    // 40 replicas' work: the first one alone until 30 s, then all of them, 99 of which are cold.
    let mut cores = |from: u32, to: u32, rate_per_s: f64| {
        let sum: f64 = (from..to).map(|s| plant.step(f64::from(s), rate_per_s).total_cores).sum();
        sum / f64::from(to - from)
    };
    cores(0, 30, 10.0);
    let cold = cores(30, 60, 800.0);
    let warm = cores(60, 90, 800.0);
    assert!((36.0..44.0).contains(&warm), "{warm}");
    assert!((1.45..1.75).contains(&(cold / warm)), "{cold} and {warm}");
}

#[test]
fn a_warm_up_can_be_asked_for() {
    let late = |more: &str| {
        let text = answer(&format!("--profile sine --controllers hpa --seeds 1 --format json{more}"));
        let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        shown["rows"][0]["mean"]["violations_percent"].as_f64().unwrap()
    };
    let (without, with, longer) = (late(""), late(" --warmup 1.6"), late(" --warmup 1.6 --warmup-s 90"));
    assert!(without < with && with < longer, "{without}, {with}, {longer}");
}

#[test]
fn bad_arguments_are_named() {
    let line = Line::try_parse_from(["simulate", "--startup-s", "-1"]);
    assert!(line.is_err());
    let line = Line::try_parse_from(["simulate", "--profile", "sine", "--noise", "7"]).unwrap();
    assert_eq!(simulate(&line.args).unwrap_err().to_string(), "`--noise` must be from 0 to 1");
}

#[test]
fn a_run_can_be_drawn() {
    let load = Profile::Flash.load(Form::HeldOut);
    let mut curve = Vec::new();
    run(&mut Fixed(9), &load, &PlantSettings::default(), 1, Some(&mut curve));
    let text = super::plot::svg("flash", &[("nine & fixed".to_owned(), curve)]);
    assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    assert!(text.contains("nine &amp; fixed") && text.matches("<polyline").count() == 3);
}
