//! What a project is set up with: hooks, deploy tokens, CI variables; and what the project says of itself.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::access::{Caller, Token};
use super::answer::{Handled, Reply, page};
use super::hooks::{Events, Hook};
use super::route::Call;
use super::world::{DeployToken, Project, Variable};

/// Most hooks of a project.
const HOOKS_MAX: usize = 100;
/// Bytes of a signing token's key.
const KEY_BYTES: usize = 32;
/// Fewest characters of a masked value.
const MASKED_MIN: usize = 8;

/// `GET projects/:id`.
pub(super) fn project(project: &Project, caller: &Caller) -> Value {
    let access = match caller {
        Caller::Somebody(token) if token.level_in(project) > 0 => {
            json!({ "access_level": token.level_in(project), "notification_level": 3 })
        }
        Caller::Somebody(_) | Caller::Nobody => Value::Null,
    };
    let name = project.path.rsplit('/').next().unwrap_or_default();
    json!({
        "id": project.id, "name": name, "path": name, "path_with_namespace": project.path,
        "default_branch": project.default_branch, "visibility": if project.public { "public" } else { "private" },
        "archived": project.archived, "web_url": project.web_url(), "http_url_to_repo": project.clone_url(),
        "empty_repo": false, "builds_access_level": if project.builds_enabled { "enabled" } else { "disabled" },
        "jobs_enabled": project.builds_enabled, "auto_devops_enabled": project.auto_devops,
        "ci_config_path": project.ci_config_path,
        "container_registry_enabled": project.image_prefix.is_some(),
        "container_registry_image_prefix": project.image_prefix,
        "permissions": { "project_access": access, "group_access": null },
        "forked_from_project": project.forked_from.map(|id| json!({ "id": id })),
    })
}

/// `GET personal_access_tokens/self`.
pub(super) fn own_token(token: &Token) -> Value {
    json!({
        "id": token.id, "name": token.name, "revoked": token.revoked, "active": true, "scopes": token.scopes,
        "expires_at": token.expires_at, "user_id": 1, "created_at": "2026-01-01T00:00:00.000Z",
        "last_used_at": null,
    })
}

fn hook_view(hook: &Hook, project: &Project) -> Value {
    json!({
        "id": hook.id, "url": hook.url, "name": hook.name, "project_id": project.id,
        "push_events": hook.events.push, "tag_push_events": hook.events.tag_push,
        "merge_requests_events": hook.events.merge_requests, "pipeline_events": hook.events.pipelines,
        "job_events": hook.events.jobs, "issues_events": false, "note_events": false,
        "enable_ssl_verification": hook.verify_tls, "alert_status": hook.alert_status(),
        "disabled_until": hook.disabled_until.map(|at| at.to_string()),
        "token_present": hook.token.is_some(), "signing_token_present": hook.signing_token.is_some(),
    })
}

/// `GET hooks`.
pub(super) fn list_hooks(call: &Call, project: &Project) -> Handled {
    Ok(page(call, &project.hooks.iter().map(|hook| hook_view(hook, project)).collect::<Vec<_>>()))
}

/// Takes over what a request says of a hook.
fn fill(call: &Call, hook: &mut Hook) -> Result<(), Reply> {
    if let Some(url) = call.text("url") {
        let good = url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !good {
            return Err(Reply::json(422, &json!({ "error": "Invalid url given" })));
        }
        hook.url = url;
    }
    if let Some(secret) = call.text("signing_token") {
        let key = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        if key.is_none_or(|key| key.len() != KEY_BYTES) {
            return Err(Reply::invalid("signing_token", "is invalid"));
        }
        hook.signing_token = Some(secret);
    }
    hook.token = call.text("token").or_else(|| hook.token.take());
    hook.name = call.text("name").or_else(|| hook.name.take());
    let flag = |name: &str, kept: bool| call.flag(name).unwrap_or(kept);
    hook.events = Events {
        push: flag("push_events", hook.events.push),
        tag_push: flag("tag_push_events", hook.events.tag_push),
        merge_requests: flag("merge_requests_events", hook.events.merge_requests),
        pipelines: flag("pipeline_events", hook.events.pipelines),
        jobs: flag("job_events", hook.events.jobs),
    };
    hook.verify_tls = flag("enable_ssl_verification", hook.verify_tls);
    Ok(())
}

/// `POST hooks`.
pub(super) fn create_hook(call: &Call, project: &mut Project, number: &mut dyn FnMut() -> u64) -> Handled {
    if call.text("url").is_none() {
        return Err(Reply::missing("url"));
    }
    if project.hooks.len() >= HOOKS_MAX {
        return Err(Reply::invalid("base", "Maximum number of project hooks (100) exceeded"));
    }
    let mut hook = Hook::new(number());
    fill(call, &mut hook)?;
    let shown = hook_view(&hook, project);
    project.hooks.push(hook);
    Ok(Reply::json(201, &shown))
}

/// `GET`, `PUT`, `DELETE hooks/:id`.
pub(super) fn hook(call: &Call, project: &mut Project, id: &str) -> Handled {
    let id: Option<u64> = id.parse().ok();
    let found = project.hooks.iter().position(|hook| Some(hook.id) == id);
    let at = found.ok_or_else(Reply::absent)?;
    match call.method.as_str() {
        "PUT" => {
            let mut hook = project.hooks[at].clone();
            fill(call, &mut hook)?;
            project.hooks[at] = hook;
        }
        "DELETE" => {
            project.hooks.remove(at);
            return Ok(Reply::empty(204));
        }
        _ => {}
    }
    Ok(Reply::json(200, &hook_view(&project.hooks[at], project)))
}

/// `GET hooks/:id/events`: what was sent, newest first.
pub(super) fn hook_events(call: &Call, project: &Project, id: &str) -> Handled {
    let id: Option<u64> = id.parse().ok();
    let hook = project.hooks.iter().find(|hook| Some(hook.id) == id).ok_or_else(Reply::absent)?;
    let rows = hook.answers.iter().rev().map(|answer| {
        json!({
            "id": 1, "url": hook.url, "trigger": answer.event,
            "request_headers": { "Idempotency-Key": answer.delivery },
            "response_status": answer.status.map_or_else(|| "internal error".to_owned(), |it| it.to_string()),
            "execution_duration": answer.took.unwrap_or(Duration::ZERO).as_secs_f64(),
        })
    });
    Ok(page(call, &rows.collect::<Vec<_>>()))
}

/// `POST deploy_tokens`.
pub(super) fn create_deploy_token(
    call: &Call,
    project: &mut Project,
    number: &mut dyn FnMut() -> u64,
) -> Handled {
    let name = call.text("name").ok_or_else(|| Reply::missing("name"))?;
    let scopes = call.texts("scopes");
    let known = ["read_repository", "write_repository", "read_registry", "write_registry"];
    if scopes.is_empty() || scopes.iter().any(|scope| !known.contains(&scope.as_str())) {
        return Err(Reply::json(400, &json!({ "error": "scopes does not have a valid value" })));
    }
    let id = number();
    let username = call.text("username").unwrap_or_else(|| format!("gitlab+deploy-token-{id}"));
    let value = format!("gldt-{}", uuid::Uuid::now_v7().simple());
    let shown = json!({
        "id": id, "name": name, "username": username, "expires_at": null, "token": value, "revoked": false,
        "expired": false, "scopes": scopes,
    });
    project.deploy_tokens.push(DeployToken { id, name, username, value, scopes });
    Ok(Reply::json(201, &shown))
}

/// `DELETE deploy_tokens/:id`.
pub(super) fn delete_deploy_token(project: &mut Project, id: &str) -> Handled {
    let id: Option<u64> = id.parse().ok();
    let before = project.deploy_tokens.len();
    project.deploy_tokens.retain(|token| Some(token.id) != id);
    let gone = project.deploy_tokens.len() < before;
    if gone { Ok(Reply::empty(204)) } else { Err(Reply::not_found("Deploy Token")) }
}

fn variable_view(key: &str, variable: &Variable) -> Value {
    json!({
        "key": key, "value": variable.value, "variable_type": "env_var", "protected": false,
        "masked": variable.masked, "raw": false, "environment_scope": "*", "description": null,
    })
}

fn variable_of(call: &Call, old: Option<&Variable>) -> Result<Variable, Reply> {
    let value = call.text("value").or_else(|| old.map(|it| it.value.clone()));
    let value = value.ok_or_else(|| Reply::missing("value"))?;
    let masked = call.flag("masked").or(old.map(|it| it.masked)).unwrap_or(false);
    let fits = |it: char| it.is_ascii_alphanumeric() || "+/=@:.~-_".contains(it);
    if masked && (value.chars().count() < MASKED_MIN || !value.chars().all(fits)) {
        return Err(Reply::invalid("value", "is invalid"));
    }
    Ok(Variable { value, masked })
}

/// `POST variables`.
pub(super) fn create_variable(call: &Call, project: &mut Project) -> Handled {
    let key = call.text("key").ok_or_else(|| Reply::missing("key"))?;
    if key.is_empty() || !key.chars().all(|it| it.is_ascii_alphanumeric() || it == '_') {
        return Err(Reply::invalid("key", "can contain only letters, digits and '_'."));
    }
    if project.variables.contains_key(&key) {
        return Err(Reply::invalid("key", &format!("({key}) has already been taken")));
    }
    let variable = variable_of(call, None)?;
    let shown = variable_view(&key, &variable);
    project.variables.insert(key, variable);
    Ok(Reply::json(201, &shown))
}

/// `GET`, `PUT`, `DELETE variables/:key`.
pub(super) fn variable(call: &Call, project: &mut Project, key: &str) -> Handled {
    let old = project.variables.get(key).cloned().ok_or_else(|| Reply::not_found("Variable"))?;
    match call.method.as_str() {
        "PUT" => {
            let new = variable_of(call, Some(&old))?;
            let shown = variable_view(key, &new);
            project.variables.insert(key.to_owned(), new);
            Ok(Reply::json(200, &shown))
        }
        "DELETE" => {
            project.variables.remove(key);
            Ok(Reply::empty(204))
        }
        _ => Ok(Reply::json(200, &variable_view(key, &old))),
    }
}
