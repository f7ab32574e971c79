//! `slipway project add`: registers a project and connects it to GitLab, step by step; what was done is undone when a step
//! fails.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use slipway_common::model::registered::ForgeObjects;
use slipway_common::model::registered::request::{EnvironmentRequest, ProjectRequest, ReviewRequest};
use slipway_common::model::request::{HealthRequest, PipelineRequest};
use slipway_common::model::{AddressPolicy, CredentialName, HttpPolicy, Project, RepositoryAddress};
use slipway_common::secrets::SecretText;
use slipway_gitlab::Gitlab;

use super::forge::{self, VARIABLE_PROJECT, VARIABLE_URL, failed};
use super::{forge_token, read};
use crate::args::AddArgs;
use crate::client::Client;
use crate::client::types::{ProjectCreated, ProjectView};
use crate::command::CommandError;
use crate::command::credentials::CredentialRequest;
use crate::command::deploy::new_key;
use crate::exit::Exit;
use crate::view;

/// User name that GitLab takes beside an access token.
const TOKEN_USER: &str = "oauth2";

/// Registers the project; on GitLab sets it up.
///
/// # Errors
/// When a step failed. What was done before it is undone.
pub(super) async fn run(client: &Client, args: &AddArgs, json: bool) -> Result<Exit, CommandError> {
    let request = request(args)?;
    let is_gitlab = args.forge.map_or(!args.url.contains("://github.com/"), |forge| {
        forge == slipway_common::model::registered::Forge::Gitlab
    });
    if args.no_setup || !is_gitlab {
        return register_only(client, args, &request, json).await;
    }
    let policy = AddressPolicy { http: HttpPolicy::Always };
    let repository = RepositoryAddress::parse(&args.url, &policy)
        .map_err(|error| CommandError::Settings { reason: error.to_string() })?;
    let token = forge_token(&args.token_env)?;
    let gitlab = forge::connect(&repository, token.clone())?;
    let mut steps = Steps { client, gitlab: &gitlab, slug: None, made: ForgeObjects::default(), json };
    match steps.take(args, &repository, &token, request).await {
        Ok(answer) => {
            if json {
                view::json(&answer);
            }
            Ok(Exit::Done)
        }
        Err(error) => {
            steps.undo().await;
            Err(error)
        }
    }
}

/// What was done so far.
struct Steps<'a> {
    client: &'a Client,
    gitlab: &'a Gitlab,
    /// The project, once it is registered.
    slug: Option<String>,
    made: ForgeObjects,
    json: bool,
}

impl Steps<'_> {
    fn say(&self, words: &str) {
        if !self.json {
            view::line(words);
        }
    }

    async fn take(
        &mut self,
        args: &AddArgs,
        repository: &RepositoryAddress,
        token: &SecretString,
        mut request: ProjectRequest,
    ) -> Result<Value, CommandError> {
        let info = forge::check(self.gitlab).await?;
        self.say(&format!("found {} on {}", info.path_with_namespace, self.gitlab.host()));
        let slug = Project::of(repository).slug.to_string();
        let origin = repository.origin();
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host).trim_end_matches('/');
        let name = format!("gitlab-{slug}");
        self.credential(&name, Some(TOKEN_USER), token, host).await?;
        self.say(&format!("stored the token as the credential {name}"));
        request.credential = Some(name);
        if let Some(image) = &info.container_registry_image_prefix {
            request.pull_credential = Some(self.deploy_token(&slug, image).await?);
        }
        request.made = Some(self.made.clone());
        let answer: Value = self.client.post(&["projects"], &request, &new_key()).await?;
        let created: ProjectCreated = read(self.client, answer.clone())?;
        self.slug = Some(created.slug.clone());
        self.say(&format!("registered the project {}", created.slug));
        let url = public(&created.hook.url, args.public_url.as_ref())?;
        let hook = forge::hook(&url, &created.secrets);
        let hook = self.gitlab.create_hook(&hook).await.map_err(failed("the webhook cannot be made"))?;
        self.made.hook = Some(hook);
        self.say(&format!("made the webhook {hook}, which calls {url}"));
        self.variables(&created.slug, &url).await?;
        let made = json!({ "made": self.made });
        let kept: Value = self.client.patch_answered(&["projects", &created.slug], &made).await?;
        let project: ProjectView = read(self.client, kept.clone())?;
        if !self.json {
            view::project::print_rules(&project);
            view::line(&format!("undo all of it with `slipway project remove {}`", created.slug));
        }
        Ok(kept)
    }

    async fn credential(
        &mut self,
        name: &str,
        username: Option<&str>,
        secret: &SecretString,
        host: &str,
    ) -> Result<(), CommandError> {
        let body = CredentialRequest {
            secret: SecretText::from(secret.expose_secret().to_owned()),
            username: username.map(str::to_owned),
            host: Some(host.to_owned()),
        };
        self.client.put(&["credentials", name], &body).await?;
        let name: CredentialName = name.parse().map_err(|error: slipway_common::model::NameError| {
            CommandError::Settings { reason: error.to_string() }
        })?;
        self.made.credentials.push(name);
        Ok(())
    }

    /// A deploy token with which images are pulled: it lives on when the token of a CI job has died.
    async fn deploy_token(&mut self, slug: &str, image: &str) -> Result<String, CommandError> {
        let made = self.gitlab.create_deploy_token(&format!("slipway-{slug}"), &["read_registry"]).await;
        let token = made.map_err(failed("the deploy token cannot be made"))?;
        self.made.deploy_token = Some(token.id);
        let registry = image.split('/').next().unwrap_or(image);
        let name = format!("registry-{slug}");
        self.credential(&name, Some(&token.username), &token.token, registry).await?;
        self.say(&format!("made the deploy token {} and stored it as the credential {name}", token.id));
        Ok(name)
    }

    async fn variables(&mut self, slug: &str, hook_url: &str) -> Result<(), CommandError> {
        let base = hook_url.split_once("/webhooks/").map_or(hook_url, |(base, _)| base);
        for (key, value) in [(VARIABLE_URL, base), (VARIABLE_PROJECT, slug)] {
            let set = self.gitlab.set_variable(key, value, false).await;
            set.map_err(failed("a CI variable cannot be set"))?;
            self.made.variables.push(key.to_owned());
        }
        self.say(&format!("set the CI variables {VARIABLE_URL} and {VARIABLE_PROJECT}"));
        Ok(())
    }

    /// Undoes what was done, the last first.
    async fn undo(&self) {
        let mut left = forge::undo(self.gitlab, &self.made).await;
        if let Some(slug) = &self.slug
            && let Err(error) = self.client.delete(&["projects", slug]).await
        {
            left.push(format!("project {slug}: {error}"));
        }
        for name in &self.made.credentials {
            if let Err(error) = self.client.delete(&["credentials", name.as_str()]).await {
                left.push(format!("credential {name}: {error}"));
            }
        }
        if left.is_empty() {
            eprintln!("what was done before has been undone");
        }
        for what in left {
            eprintln!("could not be undone: {}", view::text::clean(&what));
        }
    }
}

async fn register_only(
    client: &Client,
    args: &AddArgs,
    request: &ProjectRequest,
    json: bool,
) -> Result<Exit, CommandError> {
    let answer: Value = client.post(&["projects"], request, &new_key()).await?;
    if json {
        view::json(&answer);
        return Ok(Exit::Done);
    }
    let created: ProjectCreated = read(client, answer)?;
    let url = public(&created.hook.url, args.public_url.as_ref())?;
    view::project::print_by_hand(&created, &url);
    Ok(Exit::Done)
}

/// The hook's address as the forge is to call it.
fn public(url: &str, base: Option<&url::Url>) -> Result<String, CommandError> {
    let Some(base) = base else { return Ok(url.to_owned()) };
    let path = url.find("/webhooks/").map(|at| &url[at..]).ok_or_else(|| CommandError::Settings {
        reason: "the server's answer names no webhook".to_owned(),
    })?;
    Ok(format!("{}{path}", base.as_str().trim_end_matches('/')))
}

fn request(args: &AddArgs) -> Result<ProjectRequest, CommandError> {
    let mut env = BTreeMap::new();
    for name in &args.set_from_env {
        let value = std::env::var(name).map_err(|_| CommandError::Secret {
            reason: format!("the variable {name} is not set, or is not UTF-8"),
        })?;
        env.insert(name.clone(), SecretText::from(value));
    }
    for pair in &args.set {
        env.insert(pair.key.clone(), SecretText::from(pair.value.clone()));
    }
    let environments = args.environments.iter().map(|rule| EnvironmentRequest {
        name: rule.environment.clone(),
        branch: (!rule.is_tag).then(|| rule.pattern.clone()),
        tag: rule.is_tag.then(|| rule.pattern.clone()),
        ..EnvironmentRequest::default()
    });
    Ok(ProjectRequest {
        forge: args.forge,
        credential: args.credential.clone(),
        target: args.target.clone(),
        build: args.build.map(Into::into),
        commit: args.commit.map(Into::into),
        pipeline: args
            .pipeline_job
            .clone()
            .map(|job| PipelineRequest { job: Some(job), ..PipelineRequest::default() }),
        port: args.port,
        replicas: args.replicas,
        env,
        health: args
            .health_path
            .clone()
            .map(|path| HealthRequest { path: Some(path), ..HealthRequest::default() }),
        environments: environments.collect(),
        review: args.review.then(ReviewRequest::default),
        ..ProjectRequest::new(&args.url)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_hook_can_be_the_one_the_forge_sees() {
        let url = "http://127.0.0.1:8640/webhooks/gitlab/0198";
        assert_eq!(public(url, None).unwrap(), url);
        let base = "https://slipway.example.com/base/".parse().unwrap();
        assert_eq!(
            public(url, Some(&base)).unwrap(),
            "https://slipway.example.com/base/webhooks/gitlab/0198"
        );
        assert!(public("http://127.0.0.1/other", Some(&base)).is_err());
    }
}
