//! How errors are shown, and which exit code they mean.

use slipway_common::telemetry::chain;
use slipway_scaler::replay::TuneError;

use super::text::clean;
use crate::client::{ClientError, Problem};
use crate::command::CommandError;
use crate::command::resolve::What;
use crate::exit::Exit;

/// Prints the error on standard error, as JSON if asked for, and answers the exit code.
pub(crate) fn print(error: &CommandError, json: bool) -> Exit {
    if json {
        eprintln!("{}", as_json(error));
    } else {
        for line in as_text(error) {
            eprintln!("{line}");
        }
    }
    exit(error)
}

fn exit(error: &CommandError) -> Exit {
    match error {
        CommandError::Client(ClientError::Unreachable { .. }) => Exit::Unreachable,
        CommandError::Client(ClientError::Token(_) | ClientError::Server { .. })
        | CommandError::Request(_)
        | CommandError::Secret { .. }
        | CommandError::Settings { .. }
        | CommandError::Read { .. }
        | CommandError::ShortId { .. } => Exit::Usage,
        CommandError::Client(
            ClientError::Setup(_) | ClientError::Refused(_) | ClientError::Answer { .. },
        )
        | CommandError::Tune(_)
        | CommandError::UnknownId { .. }
        | CommandError::AmbiguousId { .. }
        | CommandError::Rebuild { .. }
        | CommandError::Forge(_)
        | CommandError::Write { .. } => Exit::Failed,
    }
}

fn as_json(error: &CommandError) -> serde_json::Value {
    match refusal(error) {
        Some(problem) => serde_json::json!({ "error": problem }),
        None => serde_json::json!({ "error": { "detail": chain(error) } }),
    }
}

fn as_text(error: &CommandError) -> Vec<String> {
    let mut lines = vec![format!("error: {}", clean(&chain(error)))];
    if let Some(problem) = refusal(error) {
        lines.extend(
            problem.errors.iter().map(|field| clean(&format!("  {}: {}", field.field, field.reason))),
        );
    }
    lines.extend(hint(error).map(|hint| format!("hint: {hint}")));
    lines
}

fn refusal(error: &CommandError) -> Option<&Problem> {
    match error {
        CommandError::Client(ClientError::Refused(problem)) => Some(problem),
        CommandError::Client(
            ClientError::Setup(_)
            | ClientError::Token(_)
            | ClientError::Server { .. }
            | ClientError::Unreachable { .. }
            | ClientError::Answer { .. },
        )
        | CommandError::Request(_)
        | CommandError::Secret { .. }
        | CommandError::Settings { .. }
        | CommandError::Tune(_)
        | CommandError::ShortId { .. }
        | CommandError::UnknownId { .. }
        | CommandError::AmbiguousId { .. }
        | CommandError::Rebuild { .. }
        | CommandError::Forge(_)
        | CommandError::Read { .. }
        | CommandError::Write { .. } => None,
    }
}

/// What the client itself knows to advise.
fn hint(error: &CommandError) -> Option<&'static str> {
    match error {
        CommandError::Client(ClientError::Unreachable { .. }) => {
            Some("start a server with `slipway up`, or name one with --server or SLIPWAY_SERVER")
        }
        CommandError::Client(ClientError::Refused(problem)) if problem.status == 401 => Some(
            "give a token with SLIPWAY_TOKEN or --token-file; `slipway up` says where it left the first one",
        ),
        CommandError::Client(ClientError::Refused(problem)) if problem.code == "autoscaler_absent" => {
            Some("`slipway autoscaler set ID --max REPLICAS` makes one")
        }
        CommandError::Tune(TuneError::TooLittle { .. }) => {
            Some("let the autoscaler run on through changes of the load, or look further back with --since")
        }
        CommandError::UnknownId { what, .. } | CommandError::AmbiguousId { what, .. } => Some(match what {
            What::Deployment => "`slipway list` shows the deployments there are",
            What::DeadJob => "`slipway dead list` shows the jobs there are",
        }),
        CommandError::Forge(error) => error.hint(),
        CommandError::Client(_)
        | CommandError::Request(_)
        | CommandError::Secret { .. }
        | CommandError::Settings { .. }
        | CommandError::ShortId { .. }
        | CommandError::Rebuild { .. }
        | CommandError::Read { .. }
        | CommandError::Write { .. } => None,
    }
}
