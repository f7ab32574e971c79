//! `slipway logs`: the log of one stage or of all, one after the other, over as many connections as it takes; or
//! what a pod has printed.

use std::time::Duration;

use slipway_common::model::Stage;
use tokio::time::Instant;

use super::{CommandError, pods, resolve};
use crate::args::LogsArgs;
use crate::client::types::LogLineView;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::view::{self, text::clean};

/// Longest time without a connection before the server counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(60);
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Prints the lines there are, and with `--follow` those that come.
///
/// # Errors
/// When the deployment is not known, or the server is lost for good.
pub(super) async fn run(client: &Client, args: &LogsArgs, json: bool) -> Result<Exit, CommandError> {
    if let Some(pod) = &args.pod {
        return pods::log(client, args, pod, json).await;
    }
    let id = resolve::deployment(client, &args.id).await?;
    let stages = args.stage.map_or_else(|| Stage::ALL.to_vec(), |stage| vec![stage]);
    let printer = Printer { json, named: stages.len() > 1 };
    for stage in stages {
        one_stage(client, &id, stage, args.follow, printer).await?;
    }
    Ok(Exit::Done)
}

async fn one_stage(
    client: &Client,
    id: &str,
    stage: Stage,
    follow: bool,
    printer: Printer,
) -> Result<(), ClientError> {
    let mut after = 0;
    let mut heard_at = Instant::now();
    loop {
        match one_connection(client, id, (stage, follow), printer, &mut after, &mut heard_at).await {
            Err(ClientError::Unreachable { .. }) if follow && heard_at.elapsed() < LOST_AFTER => {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            settled => return settled,
        }
    }
}

async fn one_connection(
    client: &Client,
    id: &str,
    (stage, follow): (Stage, bool),
    printer: Printer,
    after: &mut u64,
    heard_at: &mut Instant,
) -> Result<(), ClientError> {
    let query = [("stage", stage.to_string()), ("follow", follow.to_string()), ("after", after.to_string())];
    let mut lines = client.lines(&["deployments", id, "logs"], &query).await?;
    *heard_at = Instant::now();
    while let Some(document) = lines.next().await? {
        *heard_at = Instant::now();
        let line: LogLineView = serde_json::from_str(&document).map_err(|error| ClientError::Answer {
            server: client.server().clone(),
            reason: error.to_string(),
        })?;
        *after = line.number;
        printer.print(stage, &line, &document);
    }
    Ok(())
}

/// How lines are printed.
#[derive(Debug, Clone, Copy)]
struct Printer {
    json: bool,
    /// Whether the stage is named, because there are several.
    named: bool,
}

impl Printer {
    fn print(self, stage: Stage, line: &LogLineView, document: &str) {
        match (self.json, self.named) {
            (true, _) => view::line(document),
            (false, true) => view::line(&format!("{:<8}  {}", stage.as_str(), clean(&line.text))),
            (false, false) => view::line(&clean(&line.text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{self, Answer};

    #[tokio::test]
    async fn a_followed_log_goes_on_after_the_last_line_seen() {
        let (client, heads) = fake::client(vec![
            Answer::Events { text: "{\"number\":1,\"text\":\"one\"}\n{\"number\":2,\"te", cut: true },
            Answer::Events { text: "{\"number\":2,\"text\":\"two\"}\n", cut: false },
        ])
        .await;
        let printer = Printer { json: true, named: false };
        one_stage(&client, "d", Stage::Build, true, printer).await.unwrap();
        let heads = heads.lock().unwrap();
        assert!(heads[0].contains("after=0"), "{}", heads[0]);
        assert!(heads[1].contains("after=1"), "{}", heads[1]);
    }

    #[tokio::test]
    async fn a_log_that_is_not_followed_is_not_asked_for_twice() {
        let (client, heads) = fake::client(vec![Answer::Cut]).await;
        let printer = Printer { json: true, named: false };
        let lost = one_stage(&client, "d", Stage::Build, false, printer).await;
        assert!(matches!(lost, Err(ClientError::Unreachable { .. })));
        assert_eq!(heads.lock().unwrap().len(), 1);
    }
}
