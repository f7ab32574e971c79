//! `slipway project`: registered projects.

mod add;
mod check;
mod fields;
mod forge;
mod remove;
mod rotate;
mod set;
#[cfg(test)]
mod testing;

use secrecy::SecretString;
use serde_json::{Value, json};
use slipway_common::model::{AddressPolicy, HttpPolicy, RepositoryAddress};

use super::CommandError;
use super::deploy::new_key;
use crate::args::ProjectCommand;
use crate::client::types::{ProjectView, ProjectsPage};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::view;

pub(crate) use forge::SetupError;

/// The status of what is not there.
const NOT_FOUND: u16 = 404;

/// Carries out one of its commands.
///
/// # Errors
/// When the server or the forge cannot be reached or refuses, or a file cannot be read.
pub(super) async fn run(client: &Client, command: ProjectCommand, json: bool) -> Result<Exit, CommandError> {
    match command {
        ProjectCommand::Add(args) => add::run(client, &args.0, json).await,
        ProjectCommand::Set(args) => set::run(client, &args.0, json).await,
        ProjectCommand::List { limit, cursor } => list(client, limit, cursor, json).await,
        ProjectCommand::Show { project } => show(client, &project, json).await,
        ProjectCommand::Sweep { project } => sweep(client, &project, json).await,
        ProjectCommand::Rotate(args) => rotate::run(client, &args, json).await,
        ProjectCommand::Remove(args) => remove::run(client, &args, json).await,
        ProjectCommand::Check { file } => check::run(&file, json),
    }
}

async fn list(client: &Client, limit: u32, cursor: Option<String>, json: bool) -> Result<Exit, CommandError> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    let document: Value = client.get(&["projects"], &query).await?;
    if json {
        view::json(&document);
    } else {
        let page: ProjectsPage = read(client, document)?;
        view::project::print_page(&page, jiff::Timestamp::now());
    }
    Ok(Exit::Done)
}

async fn show(client: &Client, project: &str, json: bool) -> Result<Exit, CommandError> {
    let document: Value = client.get(&["projects", project], &[]).await?;
    if json {
        view::json(&document);
    } else {
        let project: ProjectView = read(client, document)?;
        view::project::print(&project, jiff::Timestamp::now());
    }
    Ok(Exit::Done)
}

async fn sweep(client: &Client, project: &str, json: bool) -> Result<Exit, CommandError> {
    let answer: Value = client.post(&["projects", project, "sweep"], &json!({}), &new_key()).await?;
    if json {
        view::json(&answer);
    } else {
        view::line(&format!("the branches and tags of {project} are looked at"));
    }
    Ok(Exit::Done)
}

/// What a document says.
fn read<T: serde::de::DeserializeOwned>(client: &Client, document: Value) -> Result<T, ClientError> {
    serde_json::from_value(document)
        .map_err(|error| ClientError::Answer { server: client.server().clone(), reason: error.to_string() })
}

/// Deletes something of the server. What is not there is deleted.
async fn delete(client: &Client, path: &[&str]) -> Result<(), ClientError> {
    match client.delete(path).await {
        Err(ClientError::Refused(problem)) if problem.status == NOT_FOUND => Ok(()),
        settled => settled,
    }
}

/// The repository at this address. Whether it may be one without encryption is the server's to say.
fn repository(url: &str) -> Result<RepositoryAddress, CommandError> {
    let policy = AddressPolicy { http: HttpPolicy::Always };
    RepositoryAddress::parse(url, &policy)
        .map_err(|error| CommandError::Forge(Box::new(SetupError::Address { reason: error.to_string() })))
}

/// The token of the forge, which is in a variable.
fn forge_token(variable: &str) -> Result<SecretString, CommandError> {
    let fail = |reason: String| CommandError::Secret { reason };
    let text = std::env::var(variable).map_err(|_| {
        fail(format!(
            "the variable {variable} is not set; it must hold a token of GitLab with the scope `api`"
        ))
    })?;
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fail(format!("the variable {variable} holds no token")));
    }
    Ok(SecretString::from(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{self, Answer, asked};

    #[tokio::test]
    async fn what_is_not_there_is_deleted() {
        let refusal = r#"{"title":"No","detail":"somebody else is changing it"}"#;
        let script = vec![Answer::Json(204, ""), Answer::Json(404, "{}"), Answer::Json(503, refusal)];
        let (client, requests) = fake::client(script).await;
        delete(&client, &["projects", "shop-1a2b3c"]).await.unwrap();
        delete(&client, &["credentials", "a"]).await.unwrap();
        assert!(delete(&client, &["credentials", "b"]).await.is_err());
        assert_eq!(asked(&requests)[0], "delete /projects/shop-1a2b3c");
    }

    #[test]
    fn what_is_wrong_with_an_address_or_a_token_is_said() {
        let error = repository("shop").unwrap_err().to_string();
        assert!(error.contains("address") && !error.contains("autoscaler"), "{error}");
        let error = forge_token("SLIPWAY_TEST_NOBODY_SETS_THIS").unwrap_err().to_string();
        assert!(error.contains("SLIPWAY_TEST_NOBODY_SETS_THIS") && error.contains("`api`"), "{error}");
    }

    #[tokio::test]
    async fn a_project_is_found_by_the_path_of_its_repository_too() {
        let (client, requests) = fake::client(vec![Answer::Json(202, "{}")]).await;
        sweep(&client, "gitlab.com/group/shop", true).await.unwrap();
        assert_eq!(asked(&requests), ["post /projects/gitlab.com%2fgroup%2fshop/sweep"]);
    }
}
