//! `slipway logs --pod` and `slipway events`: what a pod, or a container on Docker, has printed, and what
//! happened to it.

use jiff::Timestamp;
use serde_json::Value;

use super::{CommandError, resolve};
use crate::args::{EventsArgs, LogsArgs};
use crate::client::Client;
use crate::client::types::{PodEventsView, PodLogView};
use crate::exit::Exit;
use crate::view;
use crate::view::table::Table;
use crate::view::text::{ago, clean};

/// Prints the last lines that the pod has printed.
///
/// # Errors
/// When the deployment or the pod is not known, or the server cannot be reached.
pub(super) async fn log(
    client: &Client,
    args: &LogsArgs,
    pod: &str,
    json: bool,
) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let optional = [
        ("container", args.container.clone()),
        ("previous", args.previous.then(|| "true".to_owned())),
        ("tail_lines", args.tail.map(|lines| lines.to_string())),
    ];
    let given = optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    let query: Vec<(&str, String)> = given.collect();
    let path = ["deployments", &id, "pods", pod, "logs"];
    if json {
        let log: Value = client.get(&path, &query).await?;
        view::json(&log);
    } else {
        let log: PodLogView = client.get(&path, &query).await?;
        log.lines.iter().for_each(|text| view::line(&clean(text)));
        if log.truncated {
            eprintln!("older lines are left out: all of them are more than is shown at once");
        }
    }
    Ok(Exit::Done)
}

/// Prints what happened to the pod, newest last.
///
/// # Errors
/// When the deployment or the pod is not known, or the server cannot be reached.
pub(super) async fn events(client: &Client, args: &EventsArgs, json: bool) -> Result<Exit, CommandError> {
    let id = resolve::deployment(client, &args.id).await?;
    let path = ["deployments", &id, "pods", &args.pod, "events"];
    if json {
        let events: Value = client.get(&path, &[]).await?;
        view::json(&events);
    } else {
        let found: PodEventsView = client.get(&path, &[]).await?;
        let now = Timestamp::now();
        let mut table = Table::plain();
        for event in found.events {
            let at = event.at.map(|at| ago(at, now)).unwrap_or_default();
            table.row([at, event.reason, event.message]);
        }
        table.print("");
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{self, Answer};

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[tokio::test]
    async fn a_pod_is_asked_about_as_it_was_named() {
        let (client, heads) = fake::client(vec![
            Answer::Json(200, r#"{"pod":"a","container":"db","lines":["one"],"truncated":true}"#),
            Answer::Json(200, r#"{"pod":"a","events":[{"about":"Pod a","reason":"R","message":"m"}]}"#),
        ])
        .await;
        let args = LogsArgs {
            id: ID.to_owned(),
            stage: None,
            follow: false,
            pod: Some("../a".to_owned()),
            container: Some("db".to_owned()),
            previous: true,
            tail: Some(7),
        };
        log(&client, &args, "../a", false).await.unwrap();
        events(&client, &EventsArgs { id: ID.to_owned(), pod: "a".to_owned() }, false).await.unwrap();
        let heads = heads.lock().unwrap();
        let wanted =
            format!("get /deployments/{ID}/pods/..%2fa/logs?container=db&previous=true&tail_lines=7 http");
        assert!(heads[0].starts_with(&wanted), "{}", heads[0]);
        assert!(heads[1].starts_with(&format!("get /deployments/{ID}/pods/a/events http")), "{}", heads[1]);
    }
}
