//! `slipway autoscaler`: one flag for every setting, and what can be asked of an autoscaler.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use jiff::SignedDuration;
use slipway_common::model::autoscaler::{Law, Mode};

const GET_EXAMPLES: &str = "Example:
  slipway autoscaler get 4f1c22d09a3e";

const SET_EXAMPLES: &str = "Examples:
  slipway autoscaler set 4f1c22d09a3e --max 10                     CPU target 0.6, at least 1 replica
  slipway autoscaler set 4f1c22d09a3e --cpu-target 0.7 --min 2 --max 20 --mode calm
  slipway autoscaler set 4f1c22d09a3e --kp 0.8 --kd 1.5            the rest stays as it is
  slipway autoscaler set 4f1c22d09a3e --replicas 6                 once, by hand; then it goes on from there

Another mode or law brings its own defaults for what is not given.";

const WATCH_EXAMPLES: &str = "Examples:
  slipway autoscaler watch 4f1c22d09a3e                            a chart, until Ctrl-C
  slipway autoscaler watch 4f1c22d09a3e --json                     one object a line";

const WHAT_IF_EXAMPLES: &str = "Examples:
  slipway autoscaler what-if 4f1c22d09a3e --mode calm --since 2h
  slipway autoscaler what-if 4f1c22d09a3e --cpu-target 0.8 --kd 0

Nothing is changed. The recorded demand is played to a controller with these settings, here, in this program.";

const TUNE_EXAMPLES: &str = "Examples:
  slipway autoscaler tune 4f1c22d09a3e --since 6h
  slipway autoscaler tune 4f1c22d09a3e --apply

The target stays. What is proposed costs no more than now, by 2 % at most, and changes the number no more often.";

/// `slipway autoscaler`
#[derive(Debug, Subcommand)]
pub(crate) enum AutoscalerCommand {
    /// Show the settings of an autoscaler, how it is, and what it decided last.
    #[command(after_help = GET_EXAMPLES)]
    Get {
        /// The deployment: its id, or at least six characters of it.
        id: String,
    },
    /// Make an autoscaler, or change settings of the one there is; ask for a number of replicas by hand.
    #[command(after_help = SET_EXAMPLES)]
    Set(Box<SetArgs>),
    /// Delete the autoscaler. The number of replicas stays what it is.
    Off {
        /// The deployment: its id, or at least six characters of it.
        id: String,
    },
    /// Follow what an autoscaler sees and decides, as a chart on a terminal.
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        /// The deployment: its id, or at least six characters of it.
        id: String,
    },
    /// Play what was observed of a deployment to other settings, and compare.
    #[command(after_help = WHAT_IF_EXAMPLES)]
    WhatIf(Box<WhatIfArgs>),
    /// Propose constants from what was observed of a deployment, and say how sure that is.
    #[command(after_help = TUNE_EXAMPLES)]
    Tune(TuneArgs),
}

/// `slipway autoscaler set`
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The deployment: its id, or at least six characters of it.
    pub(crate) id: String,
    /// Ask for this number of replicas, once.
    #[arg(short = 'n', long, value_name = "REPLICAS")]
    pub(crate) replicas: Option<u32>,
    /// What to set.
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// `slipway autoscaler what-if`
#[derive(Debug, Args)]
pub(crate) struct WhatIfArgs {
    /// The deployment: its id, or at least six characters of it.
    pub(crate) id: String,
    /// How far back; all that is kept if not given.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Back>,
    /// What to try.
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// `slipway autoscaler tune`
#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    /// The deployment: its id, or at least six characters of it.
    pub(crate) id: String,
    /// How far back; all that is kept if not given.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Back>,
    /// Set what is proposed.
    #[arg(long)]
    pub(crate) apply: bool,
}

/// Settings of an autoscaler.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SettingsArgs {
    /// Share of its CPU that one replica should use, up to 1; 0.6 for a new autoscaler.
    #[arg(long, value_name = "SHARE")]
    pub(crate) cpu_target: Option<f64>,
    /// Fewest replicas.
    #[arg(long, value_name = "REPLICAS")]
    pub(crate) min: Option<u32>,
    /// Most replicas; needed for a new autoscaler.
    #[arg(long, value_name = "REPLICAS")]
    pub(crate) max: Option<u32>,
    /// Proportional gain: share of an error that one decision takes away.
    #[arg(long, value_name = "GAIN")]
    pub(crate) kp: Option<f64>,
    /// Integral gain: growth while the CPU stands at its ceiling, and trim.
    #[arg(long, value_name = "GAIN")]
    pub(crate) ki: Option<f64>,
    /// Derivative gain: how much of a rise is carried forward, and of what comes again is ordered ahead; 0 is nothing.
    #[arg(long, value_name = "GAIN")]
    pub(crate) kd: Option<f64>,
    /// How closely the load is followed.
    #[arg(long, value_enum)]
    pub(crate) mode: Option<ModeArg>,
    /// Which rule decides.
    #[arg(long, value_enum)]
    pub(crate) law: Option<LawArg>,
    /// Shortest pause between two decisions, in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) interval_s: Option<u32>,
    /// CPU use is averaged over at least this many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) window_s: Option<u32>,
    /// After this many seconds of silence the metrics count as missing.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) stale_after_s: Option<u32>,
    /// For at least this many seconds the highest demand is remembered before replicas are taken away.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) hold_s: Option<u32>,
    /// Most replicas taken away in a minute, in percent.
    #[arg(long, value_name = "PERCENT")]
    pub(crate) down_percent_per_min: Option<f64>,
    /// Replicas go only when the rest stays below the target by this share.
    #[arg(long, value_name = "SHARE")]
    pub(crate) hysteresis: Option<f64>,
    /// Most changes in any hour.
    #[arg(long, value_name = "CHANGES")]
    pub(crate) actions_per_hour_max: Option<u32>,
}

/// `--mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// As closely as the measurements allow.
    Tight,
    /// With few changes.
    Calm,
}

impl From<ModeArg> for Mode {
    fn from(arg: ModeArg) -> Self {
        match arg {
            ModeArg::Tight => Self::Tight,
            ModeArg::Calm => Self::Calm,
        }
    }
}

/// `--law`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LawArg {
    /// Works on the demand.
    Standard,
    /// The law of Kabernetes, sign and all.
    Kabernetes,
}

impl From<LawArg> for Law {
    fn from(arg: LawArg) -> Self {
        match arg {
            LawArg::Standard => Self::Standard,
            LawArg::Kabernetes => Self::Kabernetes,
        }
    }
}

/// `90m`, `2h`: a time that goes back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Back(pub(crate) SignedDuration);

impl FromStr for Back {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<SignedDuration>() {
            Ok(time) if time.is_positive() => Ok(Self(time)),
            Ok(_) | Err(_) => Err("must be a time such as 90m or 2h".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "slipway")]
    struct Line {
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        group: Group,
    }

    #[derive(Debug, Subcommand)]
    enum Group {
        #[command(subcommand)]
        Autoscaler(AutoscalerCommand),
    }

    fn read(line: &str) -> Result<AutoscalerCommand, clap::Error> {
        let words = line.split("   ").next().unwrap_or_default().split_whitespace();
        let Group::Autoscaler(command) = Line::try_parse_from(words)?.group;
        Ok(command)
    }

    #[test]
    fn every_example_is_understood() {
        let examples =
            [GET_EXAMPLES, SET_EXAMPLES, WATCH_EXAMPLES, WHAT_IF_EXAMPLES, TUNE_EXAMPLES].join("\n");
        let lines: Vec<&str> = examples.lines().filter(|line| line.starts_with("  slipway ")).collect();
        assert_eq!(lines.len(), 11);
        for line in lines {
            read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        assert!(matches!(read("slipway autoscaler off 4f1c22"), Ok(AutoscalerCommand::Off { .. })));
    }

    #[test]
    fn settings_are_read_as_they_are_given() {
        let line = "slipway autoscaler set abcdef --cpu-target 0.7 --min 2 --max 20 --mode calm --law kabernetes \
                    --kp 0.5 --hold-s 60 --down-percent-per-min 9.5 --hysteresis 0.1 --actions-per-hour-max 30 -n 4";
        let AutoscalerCommand::Set(args) = read(line).unwrap() else { panic!("not set") };
        let wanted = SettingsArgs {
            cpu_target: Some(0.7),
            min: Some(2),
            max: Some(20),
            kp: Some(0.5),
            mode: Some(ModeArg::Calm),
            law: Some(LawArg::Kabernetes),
            hold_s: Some(60),
            down_percent_per_min: Some(9.5),
            hysteresis: Some(0.1),
            actions_per_hour_max: Some(30),
            ..SettingsArgs::default()
        };
        assert_eq!((args.settings, args.replicas), (wanted, Some(4)));
    }

    #[test]
    fn a_time_goes_back() {
        let AutoscalerCommand::Tune(args) = read("slipway autoscaler tune abcdef --since 90m").unwrap()
        else {
            panic!("not tune")
        };
        assert_eq!((args.since, args.apply), (Some(Back(SignedDuration::from_mins(90))), false));
        for bad in ["2", "-1h", "0s", "soon", "2026-01-01T00:00:00Z"] {
            assert!(bad.parse::<Back>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_setting_is_a_usage_error() {
        for bad in ["--mode loose", "--law newton", "--min -1", "--kp much", "--gain 1"] {
            assert!(read(&format!("slipway autoscaler set abcdef {bad}")).is_err(), "{bad}");
        }
    }
}
