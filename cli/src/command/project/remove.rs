//! `slipway project remove`: undoes what `add` has done.

use serde_json::{Value, json};
use slipway_common::model::{AddressPolicy, HttpPolicy, RepositoryAddress};

use super::{forge, forge_token, read};
use crate::args::RemoveArgs;
use crate::client::Client;
use crate::client::types::ProjectView;
use crate::command::CommandError;
use crate::exit::Exit;
use crate::view;

/// Removes what was made on GitLab, then the project, then its credentials.
///
/// # Errors
/// When the server cannot be reached or refuses. What GitLab does not remove is said, and the rest goes on.
pub(super) async fn run(client: &Client, args: &RemoveArgs, json: bool) -> Result<Exit, CommandError> {
    let document: Value = client.get(&["projects", &args.project], &[]).await?;
    let project: ProjectView = read(client, document)?;
    let made = &project.made;
    let is_set_up = made.hook.is_some() || made.deploy_token.is_some() || !made.variables.is_empty();
    let mut left = Vec::new();
    if is_set_up && !args.keep_forge {
        let policy = AddressPolicy { http: HttpPolicy::Always };
        let repository = RepositoryAddress::parse(&project.repository_url, &policy)
            .map_err(|error| CommandError::Settings { reason: error.to_string() })?;
        let gitlab = forge::connect(&repository, forge_token(&args.token_env)?)?;
        left = forge::undo(&gitlab, made).await;
    }
    client.delete(&["projects", &project.slug]).await?;
    for name in &made.credentials {
        if let Err(error) = client.delete(&["credentials", name.as_str()]).await {
            left.push(format!("credential {name}: {error}"));
        }
    }
    if json {
        view::json(&json!({ "project": project.slug, "left": left }));
    } else {
        view::line(&format!(
            "the project {} is no longer registered; what runs goes on running",
            project.slug
        ));
        for what in &left {
            eprintln!("could not be removed: {}", view::text::clean(what));
        }
    }
    Ok(if left.is_empty() { Exit::Done } else { Exit::Failed })
}
