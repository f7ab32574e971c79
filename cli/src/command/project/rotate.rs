//! `slipway project rotate`: new secrets for a webhook.

use serde_json::{Value, json};
use slipway_common::model::{AddressPolicy, HttpPolicy, RepositoryAddress};

use super::forge::{self, failed};
use super::{forge_token, read};
use crate::args::RotateArgs;
use crate::client::Client;
use crate::client::types::{ProjectCreated, ProjectView};
use crate::command::CommandError;
use crate::exit::Exit;
use crate::view;

/// Makes new secrets and tells GitLab.
///
/// # Errors
/// When the server or GitLab cannot be reached or refuses. The old secrets go on being good for a while.
pub(super) async fn run(client: &Client, args: &RotateArgs, json: bool) -> Result<Exit, CommandError> {
    let document: Value = client.get(&["projects", &args.project], &[]).await?;
    let project: ProjectView = read(client, document)?;
    let hook = project.made.hook;
    let token = hook.map(|_| forge_token(&args.token_env)).transpose()?;
    let body = json!({ "rotate_hook": true });
    let answer: Value = client.patch_answered(&["projects", &args.project], &body).await?;
    let rotated: ProjectCreated = read(client, answer.clone())?;
    let Some((hook, token)) = hook.zip(token) else {
        if json {
            view::json(&answer);
        } else {
            view::project::print_by_hand(&rotated, &rotated.hook.url);
        }
        return Ok(Exit::Done);
    };
    let policy = AddressPolicy { http: HttpPolicy::Always };
    let repository = RepositoryAddress::parse(&project.repository_url, &policy)
        .map_err(|error| CommandError::Settings { reason: error.to_string() })?;
    let gitlab = forge::connect(&repository, token)?;
    let known = gitlab.hooks().await.map_err(failed("the webhooks cannot be read"))?;
    let url =
        known.into_iter().find(|known| known.id == hook).map_or(rotated.hook.url.clone(), |known| known.url);
    let wanted = forge::hook(&url, &rotated.secrets);
    gitlab.update_hook(hook, &wanted).await.map_err(failed("the webhook cannot be changed"))?;
    if json {
        view::json(&json!({ "project": args.project, "hook": hook }));
    } else {
        view::line(&format!("the webhook {hook} has new secrets; the old ones are good for a day"));
    }
    Ok(Exit::Done)
}
