//! `slipway project set`: changes what is given of a project, and nothing else.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;
use slipway_common::model::registered::request::ProjectPatch;
use slipway_common::secrets::SecretText;

use super::{fields, read};
use crate::args::SetProjectArgs;
use crate::args::project::Unset;
use crate::client::Client;
use crate::client::types::{ProjectCreated, ProjectView};
use crate::command::CommandError;
use crate::exit::Exit;
use crate::view;

/// Changes what is given.
///
/// # Errors
/// When a variable that is to be passed on is not set, or the server cannot be reached or refuses.
pub(super) async fn run(client: &Client, args: &SetProjectArgs, json: bool) -> Result<Exit, CommandError> {
    let answer = changed(client, args).await?;
    if json {
        view::json(&answer);
        return Ok(Exit::Done);
    }
    let project: ProjectView = read(client, answer.clone())?;
    let with_secrets: ProjectCreated = read(client, answer)?;
    view::line(&view::text::clean(&format!("changed the project {}", project.slug)));
    view::project::print_rules(&project);
    view::project::print_webhook_secrets(&with_secrets.secrets.webhooks);
    Ok(Exit::Done)
}

async fn changed(client: &Client, args: &SetProjectArgs) -> Result<Value, CommandError> {
    Ok(client.patch_answered(&["projects", args.project.as_str()], &patch(args)?).await?)
}

/// What the flags say, and nothing else.
fn patch(args: &SetProjectArgs) -> Result<ProjectPatch, CommandError> {
    let flags = &args.flags;
    let environments = fields::environments(flags);
    let mut patch = ProjectPatch {
        credential: args.credential.clone().map(Some),
        target: flags.target.clone().map(Some),
        build: flags.build.map(|build| Some(build.into())),
        commit: flags.commit.map(|commit| Some(commit.into())),
        pipeline: fields::pipeline(flags).as_ref().map(|wanted| Some(wanted.into())),
        pull_credential: flags.pull_credential.clone().map(Some),
        port: flags.port.map(Some),
        replicas: flags.replicas.map(Some),
        env: env(args)?.map(Some),
        health: fields::health(flags).as_ref().map(|wanted| Some(wanted.into())),
        environments: (!environments.is_empty()).then_some(Some(environments)),
        review: fields::review(&flags.review).as_ref().map(|wanted| Some(wanted.into())),
        notify: fields::notify(&flags.notify).as_ref().map(|wanted| Some(wanted.into())),
        ..ProjectPatch::default()
    };
    for field in &args.unset {
        unset(&mut patch, *field);
    }
    Ok(patch)
}

/// Variables that get a value, and those that are taken away.
fn env(args: &SetProjectArgs) -> Result<Option<BTreeMap<String, Option<SecretText>>>, CommandError> {
    let set = fields::env(&args.flags)?.into_iter().map(|(name, value)| (name, Some(value)));
    let away = args.unset_env.iter().map(|name| (name.clone(), None));
    let all: BTreeMap<_, _> = set.chain(away).collect();
    Ok((!all.is_empty()).then_some(all))
}

fn unset(patch: &mut ProjectPatch, field: Unset) {
    match field {
        Unset::Credential => patch.credential = Some(None),
        Unset::Target => patch.target = Some(None),
        Unset::Build => patch.build = Some(None),
        Unset::Commit => patch.commit = Some(None),
        Unset::Pipeline => patch.pipeline = Some(None),
        Unset::PullCredential => patch.pull_credential = Some(None),
        Unset::Port => patch.port = Some(None),
        Unset::Replicas => patch.replicas = Some(None),
        Unset::Env => patch.env = Some(None),
        Unset::Supports => patch.supports = Some(None),
        Unset::Health => patch.health = Some(None),
        Unset::Resources => patch.resources = Some(None),
        Unset::Environments => patch.environments = Some(None),
        Unset::Review => patch.review = Some(None),
        Unset::Notify => patch.notify = Some(None),
    }
}
