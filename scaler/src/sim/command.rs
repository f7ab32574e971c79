//! `slipway-scaler simulate`: arguments, and the text that answers them.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::compare::{self, Contender, Named, Row};
use super::controllers::StandardSetup;
use super::hpa::{HpaSettings, RateAmount, RatePolicy};
use super::load::Load;
use super::plant::PlantSettings;
use super::policy::Cadence;
use super::profile::{Form, Profile};
use super::run::{CurvePoint, run};
use super::suite::{self, SuiteError};
use super::trace::{Fit, TraceError};
use super::{plot, report, tune};
use crate::control::KabernetesGains;
use crate::settings::{Mode, SettingsError};

/// Most seeds.
const SEEDS_MAX: u64 = 1_000;

/// What to simulate.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  slipway-scaler simulate --profile flash --plot flash.svg
  slipway-scaler simulate --trace load.csv --unit-s 60 --peak 20 --controllers standard,hpa --compare
  slipway-scaler simulate --suite traces --compare --seeds 3 --format json")]
pub struct SimulateArgs {
    /// A CSV file of time and rate.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "suite"])]
    pub trace: Option<PathBuf>,
    /// Simulated seconds for one unit of the trace's time.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, requires = "trace")]
    pub unit_s: f64,
    /// The trace's highest point keeps so many replicas busy.
    #[arg(long, value_name = "REPLICAS", default_value_t = 20.0, requires = "trace")]
    pub peak: f64,
    /// First time of the trace that is used, in its unit.
    #[arg(long, value_name = "TIME", requires = "trace")]
    pub from: Option<f64>,
    /// Last time of the trace that is used, in its unit.
    #[arg(long, value_name = "TIME", requires = "trace")]
    pub to: Option<f64>,
    /// A generated load.
    #[arg(long, value_enum, conflicts_with = "suite")]
    pub profile: Option<Profile>,
    /// The loads figures are reported for: generated ones, and parts of the recorded traces in this folder:
    /// worldcup98_per_minute_0608_0713.csv, nasa_http_1995_per_minute.csv and wikipedia_limbo_hourly.txt.
    #[arg(long, value_name = "FOLDER")]
    pub suite: Option<PathBuf>,
    /// Use the half of the suite that constants are chosen on.
    #[arg(long, requires = "suite")]
    pub training: bool,
    /// Which controllers; the HPA with its defaults is always the reference of `--compare`.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES", default_values_t = DEFAULT_CONTROLLERS)]
    pub controllers: Vec<ControllerName>,
    /// Compare at equal cost: the target of each is moved until it costs what the HPA with its defaults costs.
    #[arg(long)]
    pub compare: bool,
    /// CPU target of a run without `--compare`.
    #[arg(long, value_name = "SHARE", default_value_t = 0.6)]
    pub cpu_target: f64,
    /// Proportional gain of the law `standard`; default by mode.
    #[arg(long)]
    pub kp: Option<f64>,
    /// Integral gain of the law `standard`; default by mode.
    #[arg(long)]
    pub ki: Option<f64>,
    /// Derivative gain of the law `standard`; default by mode.
    #[arg(long)]
    pub kd: Option<f64>,
    /// Number of seeds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=SEEDS_MAX))]
    pub seeds: u64,
    /// Time from the order of a replica to its service, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub startup_s: f64,
    /// Noise of one measurement, relative.
    #[arg(long, value_name = "SHARE", default_value_t = 0.03)]
    pub noise: f64,
    /// Share of measurements that are lost.
    #[arg(long, value_name = "SHARE", default_value_t = 0.005)]
    pub loss: f64,
    /// The metrics are silent for 60 s every so many seconds; 0 is never.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub silence_every_s: usize,
    /// After the start of a replica its requests cost so many times as much.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub warmup: f64,
    /// For so long they do, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub warmup_s: f64,
    /// So many seconds at the beginning of every load are run and not scored, for what is learned until then.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub unscored_s: usize,
    /// How the answer looks.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Show violations and changes of every load too.
    #[arg(long)]
    pub by_load: bool,
    /// Write the runs of the first load and seed as a picture.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Search constants on the loads instead of comparing: so many evaluations for the first controller named.
    #[arg(long, value_name = "EVALUATIONS")]
    pub tune: Option<u32>,
}

const DEFAULT_CONTROLLERS: [ControllerName; 4] =
    [ControllerName::Hpa, ControllerName::Kpa, ControllerName::StandardTight, ControllerName::StandardCalm];

/// How the answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table in Markdown.
    Table,
    /// JSON.
    Json,
}

/// The controllers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ControllerName {
    /// Kubernetes' HPA with its defaults, on 15-s metrics.
    Hpa,
    /// The HPA with constants searched on the training half, on 15-s metrics.
    HpaTuned,
    /// The HPA's rules, so tuned, on 5-s events.
    HpaEvents,
    /// Knative's KPA on CPU, 2-s ticks, perfect 1-s values.
    Kpa,
    /// The same, with a `scale-down-delay` searched on the training half.
    KpaTuned,
    /// The law of Kabernetes.
    Kabernetes,
    /// The law `standard`, mode `tight`, 5-s events.
    #[value(alias = "standard")]
    StandardTight,
    /// The same on 2-s events.
    StandardTight2s,
    /// The same on 5-s events, with arrivals as a gateway counts them.
    StandardArrivals,
    /// The law `standard`, mode `calm`, 5-s events.
    StandardCalm,
    /// Knows the true load of the present.
    FloorPresent,
    /// Knows the load a start-up and 5 s ahead.
    FloorOracle,
}

impl ControllerName {
    /// All of them, in the order of the published table.
    pub const ALL: [Self; 12] = [
        Self::Hpa,
        Self::HpaTuned,
        Self::HpaEvents,
        Self::Kpa,
        Self::KpaTuned,
        Self::Kabernetes,
        Self::StandardTight,
        Self::StandardTight2s,
        Self::StandardArrivals,
        Self::StandardCalm,
        Self::FloorPresent,
        Self::FloorOracle,
    ];
}

impl std::fmt::Display for ControllerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.write_str(value.get_name()),
            None => Ok(()),
        }
    }
}

/// Why nothing was simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A trace or a folder of traces.
    #[error("the load")]
    Suite(#[source] SuiteError),
    /// A trace does not fit.
    #[error("the trace")]
    Trace(#[source] TraceError),
    /// A setting.
    #[error("the settings of the controller")]
    Settings(#[source] SettingsError),
    /// An argument.
    #[error("{0}")]
    Argument(&'static str),
    /// The picture.
    #[error("write {path}")]
    Plot {
        /// Where to.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The answer could not be written as JSON.
    #[error("write the answer as JSON")]
    Json(#[source] serde_json::Error),
}

/// Simulates, and returns what is to be printed. Writes a file only for `--plot`.
///
/// # Errors
/// When an argument, a trace or a setting is of no use.
pub fn simulate(args: &SimulateArgs) -> Result<String, SimulateError> {
    let plant = plant(args)?;
    let loads = loads(args)?;
    let contenders = contenders(args)?;
    let seeds: Vec<u64> = (1..=args.seeds).collect();
    if let Some(evaluations) = args.tune {
        let Some(first) = contenders.last() else { return Err(SimulateError::Argument("name a controller")) };
        return Ok(tune::tune(&first.contender, evaluations, &loads, &plant, &seeds));
    }
    if let Some(path) = &args.plot {
        draw(args, path, &contenders, &loads, &plant)?;
    }
    let rows = if args.compare {
        compare::compare(&contenders, args.cpu_target, &loads, &plant, &seeds)
    } else {
        compare::as_they_are(&contenders, args.cpu_target, &loads, &plant, &seeds)
    };
    answer(args, &rows)
}

#[derive(Serialize)]
struct Answer<'a> {
    equal_cost: bool,
    seeds: u64,
    startup_s: f64,
    rows: &'a [Row],
}

fn answer(args: &SimulateArgs, rows: &[Row]) -> Result<String, SimulateError> {
    match args.format {
        Format::Json => {
            let answer =
                Answer { equal_cost: args.compare, seeds: args.seeds, startup_s: args.startup_s, rows };
            serde_json::to_string_pretty(&answer).map_err(SimulateError::Json)
        }
        Format::Table if args.by_load => Ok(format!("{}\n{}", report::table(rows), report::by_load(rows))),
        Format::Table => Ok(report::table(rows)),
    }
}

fn plant(args: &SimulateArgs) -> Result<PlantSettings, SimulateError> {
    let within = |value: f64, low: f64, high: f64| (low..=high).contains(&value);
    let checks = [
        (within(args.startup_s, 0.0, 3_600.0), "`--startup-s` must be from 0 to 3600"),
        (within(args.noise, 0.0, 1.0), "`--noise` must be from 0 to 1"),
        (within(args.loss, 0.0, 1.0), "`--loss` must be from 0 to 1"),
        (within(args.warmup, 1.0, 10.0), "`--warmup` must be from 1 to 10"),
        (within(args.warmup_s, 0.0, 3_600.0), "`--warmup-s` must be from 0 to 3600"),
        (within(args.cpu_target, 0.01, 1.0), "`--cpu-target` must be from 0.01 to 1"),
        (within(args.peak, 0.01, 10_000.0), "`--peak` must be from 0.01 to 10000"),
        (within(args.unit_s, 0.001, 86_400.0), "`--unit-s` must be from 0.001 to 86400"),
        (args.unscored_s <= 86_400, "`--unscored-s` must be at most 86400"),
        (
            args.silence_every_s == 0 || args.silence_every_s > 60,
            "`--silence-every-s` must be above 60, or 0",
        ),
    ];
    if let Some((_, broken)) = checks.into_iter().find(|(holds, _)| !holds) {
        return Err(SimulateError::Argument(broken));
    }
    Ok(PlantSettings {
        startup_s: args.startup_s,
        metric_noise: args.noise,
        metric_loss: args.loss,
        silence_every_s: args.silence_every_s,
        warmup_factor: args.warmup,
        warmup_s: args.warmup_s,
        unscored_s: args.unscored_s,
        ..PlantSettings::default()
    })
}

fn loads(args: &SimulateArgs) -> Result<Vec<Load>, SimulateError> {
    if let Some(path) = &args.trace {
        let trace = suite::read(path).map_err(SimulateError::Suite)?;
        let (first, last) = trace.span();
        let fit = Fit {
            from: args.from.unwrap_or(first),
            to: args.to.unwrap_or(last),
            unit_s: args.unit_s,
            peak_replicas: args.peak,
        };
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        return Ok(vec![trace.fit(&name, &fit).map_err(SimulateError::Trace)?]);
    }
    if let Some(profile) = args.profile {
        return Ok(vec![profile.load(Form::HeldOut)]);
    }
    let form = if args.training { Form::Training } else { Form::HeldOut };
    suite::loads(args.suite.as_deref(), form).map_err(SimulateError::Suite)
}

/// The reference first, then those that were named.
fn contenders(args: &SimulateArgs) -> Result<Vec<Named>, SimulateError> {
    let mut names = args.controllers.clone();
    if args.compare {
        names.retain(|name| *name != ControllerName::Hpa);
        names.insert(0, ControllerName::Hpa);
    }
    names.into_iter().map(|name| named(name, args)).collect()
}

/// The HPA's constants, from 240 evaluations of the same search on the training half, on 15-s metrics.
#[must_use]
pub fn hpa_tuned() -> HpaSettings {
    let of = |amount| RatePolicy { amount, period_s: 15.0 };
    HpaSettings {
        tolerance_up: 0.125,
        tolerance_down: 0.06,
        stabilization_up_s: 6.0,
        stabilization_down_s: 15.0,
        policies_up: vec![of(RateAmount::Percent(345.0)), of(RateAmount::Pods(1))],
        policies_down: vec![of(RateAmount::Percent(7.4))],
        ..HpaSettings::default()
    }
}

/// The KPA's `scale-down-delay` from 30 evaluations of the same search, in seconds; it is its only constant.
pub const KPA_TUNED_DELAY_S: f64 = 60.0;

fn named(name: ControllerName, args: &SimulateArgs) -> Result<Named, SimulateError> {
    let replicas_max = PlantSettings::default().replicas_max;
    let standard = |mode, interval_s, cadence, arrivals| {
        let setup =
            StandardSetup::of(mode, 0.6, interval_s, replicas_max).map_err(SimulateError::Settings)?;
        let setup = gains(setup, args)?;
        Ok(Contender::Standard { setup, cadence, arrivals })
    };
    let contender = match name {
        ControllerName::Hpa => {
            Contender::Hpa { settings: HpaSettings::default(), cadence: Cadence::RESOURCE_METRICS }
        }
        ControllerName::HpaTuned => {
            Contender::Hpa { settings: hpa_tuned(), cadence: Cadence::RESOURCE_METRICS }
        }
        ControllerName::HpaEvents => Contender::Hpa { settings: hpa_tuned(), cadence: Cadence::EVENTS_5_S },
        ControllerName::Kpa => Contender::Kpa { down_delay_s: 0.0 },
        ControllerName::KpaTuned => Contender::Kpa { down_delay_s: KPA_TUNED_DELAY_S },
        ControllerName::Kabernetes => {
            Contender::Kabernetes(KabernetesGains { kp: 0.05, ki: 0.0, kd: 0.02, band_replicas: None })
        }
        ControllerName::StandardTight => standard(Mode::Tight, 5, Cadence::EVENTS_5_S, false)?,
        ControllerName::StandardTight2s => standard(Mode::Tight, 2, Cadence::EVENTS_2_S, false)?,
        ControllerName::StandardArrivals => standard(Mode::Tight, 5, Cadence::EVENTS_5_S, true)?,
        ControllerName::StandardCalm => standard(Mode::Calm, 5, Cadence::EVENTS_5_S, false)?,
        ControllerName::FloorPresent => Contender::Floor { ahead_s: 0 },
        ControllerName::FloorOracle => {
            Contender::Floor { ahead_s: crate::number::to_index(args.startup_s) + 5 }
        }
    };
    Ok(Named { name: name.to_string(), contender })
}

fn gains(setup: StandardSetup, args: &SimulateArgs) -> Result<StandardSetup, SimulateError> {
    if args.kp.is_none() && args.ki.is_none() && args.kd.is_none() {
        return Ok(setup);
    }
    let (kp, ki, kd) = setup.settings.gains();
    let given = crate::settings::RawGains {
        kp: args.kp.unwrap_or(kp.get()),
        ki: args.ki.unwrap_or(ki.get()),
        kd: args.kd.unwrap_or(kd.get()),
    };
    setup.with_gains(given).map_err(SimulateError::Settings)
}

fn draw(
    args: &SimulateArgs,
    path: &Path,
    contenders: &[Named],
    loads: &[Load],
    plant: &PlantSettings,
) -> Result<(), SimulateError> {
    let Some(load) = loads.first() else { return Ok(()) };
    let curves: Vec<(String, Vec<CurvePoint>)> = contenders
        .iter()
        .map(|named| {
            let mut curve = Vec::new();
            run(&mut *named.contender.policy(args.cpu_target, 0), load, plant, 1, Some(&mut curve));
            (named.name.clone(), curve)
        })
        .collect();
    std::fs::write(path, plot::svg(&load.name, &curves))
        .map_err(|source| SimulateError::Plot { path: path.display().to_string(), source })
}
