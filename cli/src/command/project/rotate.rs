//! `slipway project rotate`: new secrets for a webhook.

use serde_json::{Value, json};
use slipway_common::model::registered::ForgeObjects;
use slipway_gitlab::Gitlab;

use super::forge::{self, failed};
use super::{forge_token, read, repository};
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
    let Some(hook) = project.made.hook else { return by_hand(client, &project.slug, json).await };
    let repository = repository(&project.repository_url)?;
    let gitlab = forge::connect(&repository, forge_token(&args.token_env)?)?;
    let hook = renewed(client, &gitlab, &project, hook).await?;
    if json {
        view::json(&json!({ "project": project.slug, "hook": hook }));
    } else {
        view::line(&format!("the webhook {hook} has new secrets; the old ones are good for a day"));
    }
    Ok(Exit::Done)
}

/// A person has made the webhook, and enters its new secrets.
async fn by_hand(client: &Client, slug: &str, json: bool) -> Result<Exit, CommandError> {
    let answer = rotated(client, slug).await?;
    if json {
        view::json(&answer);
    } else {
        let rotated: ProjectCreated = read(client, answer)?;
        view::project::print_by_hand(&rotated, &rotated.hook.url);
    }
    Ok(Exit::Done)
}

async fn rotated(client: &Client, slug: &str) -> Result<Value, CommandError> {
    Ok(client.patch_answered(&["projects", slug], &json!({ "rotate_hook": true })).await?)
}

/// Gives the webhook new secrets; one that is gone is made again. Answers its number.
async fn renewed(
    client: &Client,
    gitlab: &Gitlab,
    project: &ProjectView,
    hook: u64,
) -> Result<u64, CommandError> {
    // Asked first: secrets that cannot be told would take the place of those GitLab has.
    let known = gitlab.hooks().await.map_err(failed("the webhooks cannot be read"))?;
    let known = known.into_iter().find(|known| known.id == hook);
    let rotated: ProjectCreated = read(client, rotated(client, &project.slug).await?)?;
    match known {
        Some(known) => {
            let wanted = forge::hook(&known.url, &rotated.secrets);
            let changed = gitlab.update_hook(hook, &wanted).await;
            changed.map_err(failed("the webhook cannot be changed"))?;
            Ok(hook)
        }
        None => made_again(client, gitlab, project, &rotated).await,
    }
}

/// Makes the webhook and notes it; one that could not be noted is removed.
async fn made_again(
    client: &Client,
    gitlab: &Gitlab,
    project: &ProjectView,
    rotated: &ProjectCreated,
) -> Result<u64, CommandError> {
    let wanted = forge::hook(&rotated.hook.url, &rotated.secrets);
    let hook = gitlab.create_hook(&wanted).await.map_err(failed("the webhook cannot be made again"))?;
    let made = ForgeObjects { hook: Some(hook), ..project.made.clone() };
    let body = json!({ "made": made });
    let noted: Result<Value, _> = client.patch_answered(&["projects", &project.slug], &body).await;
    if let Err(error) = noted {
        gitlab.delete_hook(hook).await.map_err(failed("the new webhook can be neither noted nor removed"))?;
        return Err(error.into());
    }
    Ok(hook)
}

#[cfg(test)]
mod tests {
    use super::super::testing::gitlab;
    use super::*;
    use crate::client::fake::{self, Answer, asked, body};

    const ROTATED: &str = r#"{"slug":"shop-1a2b3c","forge":"gitlab",
        "hook":{"url":"https://slipway.example.com/webhooks/gitlab/0198"},
        "secrets":{"signing_secret":"whsec_new","token":"token-new"}}"#;

    fn project() -> ProjectView {
        let document = json!({
            "slug": "shop-1a2b3c", "repository_url": "https://gitlab.example.com/group/shop",
            "forge": "gitlab", "target": "local",
            "hook": { "url": "https://slipway.example.com/webhooks/gitlab/0198" },
            "made": { "hook": 7, "deploy_token": 8 }, "updated_at": "2026-11-20T10:00:00Z",
        });
        serde_json::from_value(document).unwrap()
    }

    #[tokio::test]
    async fn a_webhook_keeps_its_address_and_gets_both_new_secrets() {
        let hooks = r#"[{"id":7,"url":"https://other.example.com/webhooks/gitlab/0198"}]"#;
        let (gitlab, _, requests) = gitlab(vec![Answer::Json(200, hooks), Answer::Json(200, "{}")]).await;
        let (client, patches) = fake::client(vec![Answer::Json(200, ROTATED)]).await;
        assert_eq!(renewed(&client, &gitlab, &project(), 7).await.unwrap(), 7);
        assert_eq!(body(&patches, 0), json!({ "rotate_hook": true }));
        let told = body(&requests, 1);
        assert_eq!(told["url"], "https://other.example.com/webhooks/gitlab/0198");
        assert_eq!(told["signing_token"], "whsec_new");
        assert_eq!(told["token"], "token-new");
    }

    #[tokio::test]
    async fn nothing_is_changed_while_gitlab_is_away() {
        let (gitlab, _, _) = gitlab(vec![Answer::Json(503, "")]).await;
        let (client, patches) = fake::client(Vec::new()).await;
        let refused = renewed(&client, &gitlab, &project(), 7).await;
        assert!(matches!(refused, Err(CommandError::Forge(_))), "{refused:?}");
        assert!(patches.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_webhook_that_is_gone_is_made_again_and_noted() {
        let script = vec![Answer::Json(200, "[]"), Answer::Json(201, r#"{"id":9}"#)];
        let (gitlab, _, requests) = gitlab(script).await;
        let (client, patches) = fake::client(vec![Answer::Json(200, ROTATED), Answer::Json(200, "{}")]).await;
        assert_eq!(renewed(&client, &gitlab, &project(), 7).await.unwrap(), 9);
        assert_eq!(body(&requests, 1)["url"], "https://slipway.example.com/webhooks/gitlab/0198");
        assert_eq!(body(&patches, 1), json!({ "made": { "hook": 9, "deploy_token": 8 } }));
    }

    #[tokio::test]
    async fn a_new_webhook_that_cannot_be_noted_is_removed() {
        let script = vec![Answer::Json(200, "[]"), Answer::Json(201, r#"{"id":9}"#), Answer::Json(204, "")];
        let (gitlab, _, requests) = gitlab(script).await;
        let (client, _) = fake::client(vec![Answer::Json(200, ROTATED), Answer::Json(503, "{}")]).await;
        assert!(renewed(&client, &gitlab, &project(), 7).await.is_err());
        let asked = asked(&requests);
        assert!(asked[2].starts_with("delete ") && asked[2].ends_with("/hooks/9"), "{asked:?}");
    }
}
