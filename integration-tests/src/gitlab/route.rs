//! One call of the interface: who asks for what, and who answers it.

use std::sync::Arc;

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::access::{Caller, DEVELOPER, GUEST, MAINTAINER, REPORTER};
use super::answer::{Handled, Reply};
use super::server::Server;
use super::world::Project;
use super::{environments, files, merge_requests, pipelines, results, settings};

/// A call, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    base: String,
    path: String,
    pub(super) segments: Vec<String>,
    query: Vec<(String, String)>,
    body: Value,
    pub(super) caller: Caller,
}

impl Call {
    pub(super) fn new(
        head: &http::request::Parts,
        base: &str,
        body: &[u8],
        caller: Caller,
    ) -> Result<Self, Reply> {
        let path = head.uri.path().to_owned();
        let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        let segments = path.trim_start_matches("/api/v4").split('/').filter(|it| !it.is_empty()).map(decode);
        let query = head.uri.query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let kind = head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let body = read_body(kind, body)?;
        let segments = segments.collect();
        Ok(Self { method: head.method.clone(), base: base.to_owned(), path, segments, query, body, caller })
    }

    /// A parameter of the address.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All of a parameter that may be given more than once.
    pub(super) fn queries(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A parameter of the body, or else of the address.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match &self.body[name] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => self.query(name).map(str::to_owned),
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.text(name)?.parse().ok()
    }

    /// A list of the body.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let listed = self.body[name].as_array().into_iter().flatten();
        let listed = listed.filter_map(Value::as_str).map(str::to_owned);
        listed.chain(self.queries(&format!("{name}[]")).into_iter().map(str::to_owned)).collect()
    }

    /// The same call for another page.
    pub(super) fn address_of_page(&self, page: usize, per_page: usize) -> String {
        let kept = self.query.iter().filter(|(name, _)| name != "page" && name != "per_page");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept);
        query.append_pair("page", &page.to_string()).append_pair("per_page", &per_page.to_string());
        format!("{}{}?{}", self.base, self.path, query.finish())
    }

    fn reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// JSON, or a form.
fn read_body(kind: &str, body: &[u8]) -> Result<Value, Reply> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    if kind.starts_with("application/json") {
        let read = serde_json::from_slice(body);
        return read.map_err(|_| Reply::json(400, &json!({ "error": "The request is not valid JSON" })));
    }
    let mut read = serde_json::Map::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        match name.strip_suffix("[]") {
            Some(list) => {
                let list = read.entry(list.to_owned()).or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut() {
                    list.push(json!(value));
                }
            }
            None => drop(read.insert(name.into_owned(), json!(value))),
        }
    }
    Ok(Value::Object(read))
}

/// Answers a call.
pub(super) async fn answer(server: &Arc<Server>, call: Call) -> Handled {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    call.caller.check_scope(call.reads() || segments.first() == Some(&"personal_access_tokens"))?;
    match segments[..] {
        ["version"] => Ok(Reply::json(200, &json!({ "version": "19.2.0-ee", "revision": "8d1f7c0" }))),
        ["personal_access_tokens", "self"] => match &call.caller {
            Caller::Somebody(token) => Ok(Reply::json(200, &settings::own_token(token))),
            Caller::Nobody => Err(Reply::unauthorized()),
        },
        ["projects", name, ref rest @ ..] => {
            let level = level_for(&call.method, rest);
            let project = {
                let world = server.world();
                let found = world.project(name);
                match (found, &call.caller) {
                    (Some(project), caller) => {
                        caller.check_level(project, level).map(|()| project.clone())?
                    }
                    (None, Caller::Somebody(_)) => return Err(Reply::not_found("Project")),
                    (None, Caller::Nobody) => return Err(Reply::unauthorized()),
                }
            };
            in_project(server, &call, project, rest).await
        }
        _ if matches!(call.caller, Caller::Nobody) => Err(Reply::unauthorized()),
        _ => Err(Reply::json(404, &json!({ "error": "404 Not Found" }))),
    }
}

/// The role a call needs.
fn level_for(method: &Method, rest: &[&str]) -> u32 {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match (rest.first().copied(), reads) {
        (None, true) => GUEST,
        (Some("hooks" | "deploy_tokens" | "variables"), _) => MAINTAINER,
        (Some("merge_requests"), false) => REPORTER,
        (_, true) => REPORTER,
        (_, false) => DEVELOPER,
    }
}

/// A call below a project that is visible.
async fn in_project(server: &Arc<Server>, call: &Call, project: Project, rest: &[&str]) -> Handled {
    match (call.method.as_str(), rest) {
        ("GET" | "HEAD", ["repository", ..]) => files::read(server, call, &project, rest).await,
        ("GET" | "HEAD", _) => read(call, &project, rest),
        ("POST", ["statuses", sha]) => {
            if !files::is_commit(server, &project, sha).await {
                return Err(Reply::not_found("Commit"));
            }
            let told = change(server, &project, |it, number| results::set_status(call, it, sha, number))?;
            server.pipeline_changed(project.id, told.1);
            Ok(told.0)
        }
        ("POST", ["deployments"]) => {
            for (field, said) in
                [("sha", "The commit does not exist"), ("ref", "The branch or tag does not exist")]
            {
                let given = call.text(field).unwrap_or_default();
                if !given.is_empty() && !files::is_commit(server, &project, &given).await {
                    return Err(Reply::message(400, json!({ field: [said] })));
                }
            }
            change(server, &project, |it, number| environments::create_deployment(call, it, number))
        }
        ("POST", ["pipelines", id, action @ ("cancel" | "retry")]) => {
            let done =
                change(server, &project, |it, number| pipelines::endpoints::act(it, id, action, number))?;
            server.pipeline_changed(project.id, done.1);
            Ok(done.0)
        }
        ("POST", ["hooks", id, "test", _]) => test_hook(server, &project, id),
        _ => change(server, &project, |it, number| write(call, it, rest, number)),
    }
}

fn change<T>(
    server: &Server,
    project: &Project,
    change: impl FnOnce(&mut Project, &mut dyn FnMut() -> u64) -> Result<T, Reply>,
) -> Result<T, Reply> {
    if project.archived {
        return Err(Reply::forbidden());
    }
    server.world().change(project.id, change).unwrap_or_else(|| Err(Reply::not_found("Project")))
}

fn test_hook(server: &Arc<Server>, project: &Project, id: &str) -> Handled {
    let known = project.hooks.iter().any(|hook| hook.id.to_string() == *id);
    if !known {
        return Err(Reply::absent());
    }
    server.tell_of_tip(project);
    Ok(Reply::message(201, "201 Created"))
}

/// What changes nothing.
fn read(call: &Call, project: &Project, rest: &[&str]) -> Handled {
    match rest {
        [] => Ok(Reply::json(200, &settings::project(project, &call.caller))),
        ["pipelines"] => pipelines::endpoints::list(call, project),
        ["pipelines", "latest"] => pipelines::endpoints::latest(call, project),
        ["pipelines", id] => pipelines::endpoints::show(project, id),
        ["pipelines", id, "jobs"] => pipelines::endpoints::jobs(call, project, id),
        ["pipelines", id, "bridges"] => pipelines::endpoints::bridges(call, project, id),
        ["jobs", id] => pipelines::endpoints::job(project, id, false),
        ["jobs", id, "trace"] => pipelines::endpoints::job(project, id, true),
        ["deployments"] => environments::list_deployments(call, project),
        ["environments"] => environments::list_environments(call, project),
        ["environments", id] => environments::environment(call, &mut project.clone(), id, "GET"),
        ["merge_requests"] => merge_requests::list(call, project),
        ["merge_requests", iid] => merge_requests::show(project, iid),
        ["merge_requests", iid, "notes"] => merge_requests::list_notes(call, project, iid),
        ["merge_requests", iid, "notes", id] => merge_requests::note(call, &mut project.clone(), iid, id),
        ["hooks"] => settings::list_hooks(call, project),
        ["hooks", id] => settings::hook(call, &mut project.clone(), id),
        ["hooks", id, "events"] => settings::hook_events(call, project, id),
        ["variables", key] => settings::variable(call, &mut project.clone(), key),
        _ => Err(Reply::json(404, &json!({ "error": "404 Not Found" }))),
    }
}

/// What changes the project and nothing else.
fn write(call: &Call, project: &mut Project, rest: &[&str], number: &mut dyn FnMut() -> u64) -> Handled {
    match (call.method.as_str(), rest) {
        ("PUT", ["deployments", id]) => environments::update_deployment(call, project, id),
        ("POST", ["environments"]) => environments::create_environment(call, project, number),
        ("POST", ["environments", id, "stop"]) => environments::environment(call, project, id, "stop"),
        (method @ ("PUT" | "DELETE"), ["environments", id]) => {
            environments::environment(call, project, id, method)
        }
        ("POST", ["merge_requests", iid, "notes"]) => merge_requests::create_note(call, project, iid, number),
        ("PUT" | "DELETE", ["merge_requests", iid, "notes", id]) => {
            merge_requests::note(call, project, iid, id)
        }
        ("POST", ["hooks"]) => settings::create_hook(call, project, number),
        ("PUT" | "DELETE", ["hooks", id]) => settings::hook(call, project, id),
        ("POST", ["deploy_tokens"]) => settings::create_deploy_token(call, project, number),
        ("DELETE", ["deploy_tokens", id]) => settings::delete_deploy_token(project, id),
        ("POST", ["variables"]) => settings::create_variable(call, project),
        ("PUT" | "DELETE", ["variables", key]) => settings::variable(call, project, key),
        _ => Err(Reply::json(404, &json!({ "error": "404 Not Found" }))),
    }
}
