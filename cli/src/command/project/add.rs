//! `slipway project add`: registers a project and connects it to GitLab, step by step; what was done is undone when a step
//! fails.

#[cfg(test)]
mod tests;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use slipway_common::model::registered::request::ProjectRequest;
use slipway_common::model::registered::{Forge, ForgeObjects};
use slipway_common::model::{CredentialName, Project, RepositoryAddress};
use slipway_common::secrets::SecretText;
use slipway_gitlab::Gitlab;

use super::forge::{self, INBOX, SetupError, VARIABLE_PROJECT, VARIABLE_URL, failed};
use super::{NOT_FOUND, delete, fields, forge_token, read, repository};
use crate::args::AddArgs;
use crate::client::types::{NewWebhookSecret, ProjectCreated, ProjectView};
use crate::client::{Client, ClientError};
use crate::command::CommandError;
use crate::command::credentials::CredentialRequest;
use crate::command::deploy::new_key;
use crate::exit::Exit;
use crate::view;

/// User name that GitLab takes beside an access token.
const TOKEN_USER: &str = "oauth2";
/// The host whose repositories are GitHub's when nothing else was said.
const GITHUB_HOST: &str = "github.com";
/// The first status of answers that do not say whether something was done.
const SERVER_ERRORS: u16 = 500;

/// Registers the project; on GitLab sets it up.
///
/// # Errors
/// When a step failed. What was done before it is undone.
pub(super) async fn run(client: &Client, args: &AddArgs, json: bool) -> Result<Exit, CommandError> {
    let request = request(args)?;
    let repository = repository(&args.url)?;
    if args.no_setup || !is_gitlab(args.forge, &repository) {
        return register_only(client, args, &request, json).await;
    }
    let token = forge_token(&args.token_env)?;
    let gitlab = forge::connect(&repository, token.clone())?;
    let mut steps = Steps::new(client, &gitlab, json);
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

fn is_gitlab(forge: Option<Forge>, repository: &RepositoryAddress) -> bool {
    match forge {
        Some(Forge::Gitlab) => true,
        Some(Forge::Github | Forge::Gitea) => false,
        None => !repository.host().eq_ignore_ascii_case(GITHUB_HOST),
    }
}

/// What was done so far, or may have been.
struct Steps<'a> {
    client: &'a Client,
    gitlab: &'a Gitlab,
    /// The project, once it may be registered.
    slug: Option<String>,
    /// What the webhook calls, once it may be there.
    hook_url: Option<String>,
    made: ForgeObjects,
    json: bool,
}

impl<'a> Steps<'a> {
    fn new(client: &'a Client, gitlab: &'a Gitlab, json: bool) -> Self {
        Self { client, gitlab, slug: None, hook_url: None, made: ForgeObjects::default(), json }
    }

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
        let slug = Project::of(repository).slug.to_string();
        self.check_new(&slug).await?;
        let info = forge::check(self.gitlab).await?;
        self.say(&format!("found {} on {}", info.path_with_namespace, self.gitlab.host()));
        let origin = repository.origin();
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host).trim_end_matches('/');
        let name = format!("gitlab-{slug}");
        self.credential(&name, Some(TOKEN_USER), token, host).await?;
        self.say(&format!("stored the token as the credential {name}"));
        request.credential = Some(name);
        if request.pull_credential.is_none()
            && let Some(image) = &info.container_registry_image_prefix
        {
            request.pull_credential = Some(self.deploy_token(&slug, image).await?);
        }
        // Noted before they are set: what was interrupted here can be undone by `slipway project remove`.
        request.made = Some(ForgeObjects { variables: variable_names(), ..self.made.clone() });
        let created = self.register(&slug, &request).await?;
        self.say(&format!("registered the project {}", created.slug));
        let url = public(&created.hook.url, args.public_url.as_ref())?;
        let hook = forge::hook(&url, &created.secrets);
        self.hook_url = Some(url.clone());
        let hook = self.gitlab.create_hook(&hook).await.map_err(failed("the webhook cannot be made"))?;
        self.made.hook = Some(hook);
        self.say(&format!("made the webhook {hook}, which calls {url}"));
        self.variables(&created.slug, &url).await?;
        let made = json!({ "made": self.made });
        let kept: Value = self.client.patch_answered(&["projects", &created.slug], &made).await?;
        let project: ProjectView = read(self.client, kept.clone())?;
        if !self.json {
            view::project::print_rules(&project);
            view::project::print_webhook_secrets(&created.secrets.webhooks);
            view::line(&format!("undo all of it with `slipway project remove {}`", created.slug));
        }
        Ok(with_secrets(kept, &created.secrets.webhooks))
    }

    /// What a project that was connected before needs would be replaced, and be gone when this set-up is undone.
    async fn check_new(&self, slug: &str) -> Result<(), CommandError> {
        match self.client.get::<Value>(&["projects", slug], &[]).await {
            Ok(_) => Err(CommandError::Forge(Box::new(SetupError::Registered { slug: slug.to_owned() }))),
            Err(ClientError::Refused(problem)) if problem.status == NOT_FOUND => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn register(
        &mut self,
        slug: &str,
        request: &ProjectRequest,
    ) -> Result<ProjectCreated, CommandError> {
        let answer: Result<Value, ClientError> = self.client.post(&["projects"], request, &new_key()).await;
        let is_refused =
            matches!(&answer, Err(ClientError::Refused(problem)) if problem.status < SERVER_ERRORS);
        if !is_refused {
            self.slug = Some(slug.to_owned());
        }
        Ok(read(self.client, answer?)?)
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
        let known: CredentialName = name.parse().map_err(|error: slipway_common::model::NameError| {
            CommandError::Forge(Box::new(SetupError::Address { reason: error.to_string() }))
        })?;
        self.made.credentials.push(known);
        Ok(self.client.put(&["credentials", name], &body).await?)
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
        let base = hook_url.split_once(INBOX).map_or(hook_url, |(base, _)| base);
        for (key, value) in [(VARIABLE_URL, base), (VARIABLE_PROJECT, slug)] {
            self.made.variables.push(key.to_owned());
            let set = self.gitlab.set_variable(key, value, false).await;
            set.map_err(failed("a CI variable cannot be set"))?;
        }
        self.say(&format!("set the CI variables {VARIABLE_URL} and {VARIABLE_PROJECT}"));
        Ok(())
    }

    /// Undoes what was done, the last first as far as things depend on each other; answers what could not be undone.
    async fn undone(&self) -> Vec<String> {
        let mut left = forge::undo(self.gitlab, &self.made).await;
        if let Some(url) = self.hook_url.as_deref().filter(|_| self.made.hook.is_none()) {
            left.extend(forge::undo_lost_hook(self.gitlab, url).await);
        }
        if let Some(slug) = &self.slug
            && let Err(error) = delete(self.client, &["projects", slug]).await
        {
            left.push(format!("project {slug}: {error}"));
        }
        for name in &self.made.credentials {
            if let Err(error) = delete(self.client, &["credentials", name.as_str()]).await {
                left.push(format!("credential {name}: {error}"));
            }
        }
        left
    }

    /// Undoes what was done, and says what could not be.
    async fn undo(&self) {
        if self.slug.is_none() && self.made == ForgeObjects::default() {
            return;
        }
        let left = self.undone().await;
        if left.is_empty() {
            eprintln!("what was done before has been undone");
        }
        for what in left {
            eprintln!("could not be undone: {}", view::text::clean(&what));
        }
    }
}

fn variable_names() -> Vec<String> {
    [VARIABLE_URL, VARIABLE_PROJECT].map(str::to_owned).to_vec()
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
    let path = url.find(INBOX).map(|at| &url[at..]);
    let path = path.ok_or_else(|| CommandError::Forge(Box::new(SetupError::NoHook)))?;
    Ok(format!("{}{path}", base.as_str().trim_end_matches('/')))
}

/// A project with what was made for its outgoing webhooks, which only the answer to its registration says.
fn with_secrets(mut project: Value, made: &[NewWebhookSecret]) -> Value {
    if !made.is_empty()
        && let Some(project) = project.as_object_mut()
    {
        project.insert("secrets".to_owned(), json!({ "webhooks": made }));
    }
    project
}

fn request(args: &AddArgs) -> Result<ProjectRequest, CommandError> {
    let flags = &args.flags;
    Ok(ProjectRequest {
        forge: args.forge,
        credential: args.credential.clone(),
        target: flags.target.clone(),
        build: flags.build.map(Into::into),
        commit: flags.commit.map(Into::into),
        pipeline: fields::pipeline(flags),
        pull_credential: flags.pull_credential.clone(),
        port: flags.port,
        replicas: flags.replicas,
        env: fields::env(flags)?,
        health: fields::health(flags),
        environments: fields::environments(flags),
        review: fields::review(&flags.review),
        notify: fields::notify(&flags.notify),
        ..ProjectRequest::new(&args.url)
    })
}
