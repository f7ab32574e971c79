//! `slipway project remove`: undoes what `add` has done.

use serde_json::{Value, json};
use slipway_common::model::registered::{Forge, ForgeObjects};
use slipway_gitlab::Gitlab;

use super::{delete, forge, forge_token, read, repository};
use crate::args::RemoveArgs;
use crate::client::Client;
use crate::client::types::ProjectView;
use crate::command::CommandError;
use crate::exit::Exit;
use crate::view;

/// Removes what was made on GitLab, then the project, then its credentials.
///
/// # Errors
/// When the server cannot be reached or refuses. What GitLab does not remove is said; the project stays registered then,
/// for it is where it is written what there is to remove.
pub(super) async fn run(client: &Client, args: &RemoveArgs, json: bool) -> Result<Exit, CommandError> {
    let document: Value = client.get(&["projects", &args.project], &[]).await?;
    let project: ProjectView = read(client, document)?;
    let is_set_up = project.made != ForgeObjects::default() && project.forge == Forge::Gitlab.as_str();
    let gitlab = if is_set_up && !args.keep_forge {
        let repository = repository(&project.repository_url)?;
        Some(forge::connect(&repository, forge_token(&args.token_env)?)?)
    } else {
        None
    };
    let mut left = match &gitlab {
        Some(gitlab) => undone(gitlab, &project).await,
        None => Vec::new(),
    };
    let is_removed = left.is_empty();
    if is_removed {
        left = forgotten(client, &project).await?;
    }
    print(&project.slug, is_removed, &left, json);
    Ok(if left.is_empty() { Exit::Done } else { Exit::Failed })
}

/// Removes what was made on GitLab; answers what could not be.
async fn undone(gitlab: &Gitlab, project: &ProjectView) -> Vec<String> {
    let mut left = forge::undo(gitlab, &project.made).await;
    if project.made.hook.is_none() {
        // A set-up that was interrupted has not noted it.
        left.extend(forge::undo_lost_hook(gitlab, &project.hook.url).await);
    }
    left
}

/// Deletes the project and the credentials that were made for it; answers which of those could not be.
async fn forgotten(client: &Client, project: &ProjectView) -> Result<Vec<String>, CommandError> {
    delete(client, &["projects", &project.slug]).await?;
    let mut left = Vec::new();
    for name in &project.made.credentials {
        if let Err(error) = delete(client, &["credentials", name.as_str()]).await {
            left.push(format!("credential {name}: {error}"));
        }
    }
    Ok(left)
}

fn print(slug: &str, is_removed: bool, left: &[String], json: bool) {
    if json {
        view::json(&json!({ "project": slug, "removed": is_removed, "left": left }));
        return;
    }
    for what in left {
        eprintln!("could not be removed: {}", view::text::clean(what));
    }
    if is_removed {
        view::line(&format!("the project {slug} is no longer registered; what runs goes on running"));
    } else {
        eprintln!("the project {slug} stays registered: try again, or with --keep-forge");
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::gitlab;
    use super::*;
    use crate::client::fake::{self, Answer, asked};

    const PROJECT: &str = r#"{"slug":"shop-1a2b3c","repository_url":"https://gitlab.example.com/group/shop",
        "forge":"gitlab","target":"local","hook":{"url":"http://127.0.0.1:8640/webhooks/gitlab/0198"},
        "made":{"hook":7,"deploy_token":8,"variables":["SLIPWAY_URL"],"credentials":["gitlab-shop-1a2b3c"]},
        "updated_at":"2026-11-20T10:00:00Z"}"#;

    fn project() -> ProjectView {
        serde_json::from_str(PROJECT).unwrap()
    }

    #[tokio::test]
    async fn what_somebody_else_has_removed_is_no_obstacle() {
        let gone = || Answer::Json(404, "{}");
        let (gitlab, _, requests) = gitlab(vec![gone(), gone(), gone()]).await;
        assert_eq!(undone(&gitlab, &project()).await, Vec::<String>::new());
        assert_eq!(requests.lock().unwrap().len(), 3);
        let (client, requests) = fake::client(vec![Answer::Json(204, ""), gone()]).await;
        assert_eq!(forgotten(&client, &project()).await.unwrap(), Vec::<String>::new());
        assert_eq!(
            asked(&requests),
            ["delete /projects/shop-1a2b3c", "delete /credentials/gitlab-shop-1a2b3c"]
        );
    }

    #[tokio::test]
    async fn a_hook_that_was_never_noted_is_found_by_its_path() {
        let hooks = r#"[{"id":5,"url":"https://elsewhere.example.com/webhooks/gitlab/0199"},
            {"id":6,"url":"https://slipway.example.com/webhooks/gitlab/0198"}]"#;
        let (gitlab, _, requests) = gitlab(vec![Answer::Json(200, hooks), Answer::Json(204, "")]).await;
        let project = ProjectView { made: ForgeObjects::default(), ..project() };
        assert!(undone(&gitlab, &project).await.is_empty());
        let asked = asked(&requests);
        assert!(asked.len() == 2 && asked[1].ends_with("/hooks/6"), "{asked:?}");
    }

    #[tokio::test]
    async fn without_its_forge_only_the_server_is_asked() {
        let script = vec![Answer::Json(200, PROJECT), Answer::Json(204, ""), Answer::Json(204, "")];
        let (client, requests) = fake::client(script).await;
        let args = RemoveArgs {
            project: "shop-1a2b3c".to_owned(),
            token_env: "SLIPWAY_TEST_NOBODY_SETS_THIS".to_owned(),
            keep_forge: true,
        };
        assert_eq!(run(&client, &args, true).await.unwrap(), Exit::Done);
        assert_eq!(asked(&requests).len(), 3);
        let (client, requests) = fake::client(vec![Answer::Json(200, PROJECT)]).await;
        let refused = run(&client, &RemoveArgs { keep_forge: false, ..args }, true).await;
        assert!(matches!(refused, Err(CommandError::Secret { .. })), "{refused:?}");
        assert_eq!(asked(&requests).len(), 1, "nothing was removed");
    }
}
