//! Git over HTTP, and what a push sets going: merge requests get their new commit, pipelines begin, hooks are sent.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::access::{GitAccess, git_access};
use super::answer::{Answer, Reply};
use super::hooks::Event;
use super::payload::{COMMITS_MAX, Change, ZEROS};
use super::pipelines::{NewPipeline, asks_to_skip};
use super::server::Server;
use super::world::Project;
use super::{files, payload};

/// Refs a push may move before it sends no hook at all.
const HOOK_REFS_MAX: usize = 3;

/// Every branch and tag: the object it names, and the commit.
pub(super) type Refs = BTreeMap<String, (String, String)>;

/// Answers one request of Git.
pub(super) async fn answer(server: &Arc<Server>, request: Request<Incoming>) -> io::Result<Answer> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Some((repository, service)) = split(&path) else {
        return Ok(Reply::not_found("Project").into_answer(false));
    };
    if !path.contains(".git/") {
        let to = format!("{}/{repository}.git/{service}?{query}", server.base);
        return Ok(Reply::empty(301).header("location", to).into_answer(false));
    }
    let writes = service == "git-receive-pack" || query.contains("service=git-receive-pack");
    let (project, access) = {
        let world = server.world();
        match world.project(repository) {
            Some(project) => {
                let access = git_access(&world, project, request.headers(), writes);
                (Some(project.clone()), access)
            }
            None => (None, GitAccess::Denied),
        }
    };
    match (access, project) {
        (GitAccess::Granted, Some(project)) if service == "git-receive-pack" => {
            receive(server, request, project).await
        }
        (GitAccess::Granted, Some(_)) => server.git.answer(request).await,
        (GitAccess::ReadOnly, _) => {
            Ok(Reply::text(403, "You are not allowed to push code to this project.").into_answer(false))
        }
        (GitAccess::Hidden, _) => Ok(Reply::not_found("Project").into_answer(false)),
        (GitAccess::Denied | GitAccess::Granted, _) => {
            let said = "HTTP Basic: Access denied. The provided password or token is incorrect.";
            let denied = Reply::text(401, said).header("www-authenticate", "Basic realm=\"GitLab\"");
            Ok(denied.into_answer(false))
        }
    }
}

/// The path of the project, and what is asked of its repository.
fn split(path: &str) -> Option<(&str, &str)> {
    ["info/refs", "git-upload-pack", "git-receive-pack"].iter().find_map(|service| {
        let repository = path.strip_suffix(service)?.strip_suffix('/')?.trim_start_matches('/');
        Some((repository.strip_suffix(".git").unwrap_or(repository), *service))
    })
}

/// Takes a push, and does what follows from it before it is answered.
async fn receive(server: &Arc<Server>, request: Request<Incoming>, project: Project) -> io::Result<Answer> {
    let _one_at_a_time = server.pushes.lock().await;
    let before = refs(server, &project.path).await;
    let options_before = server.git.push_options(&project.path).await.len();
    let answer = server.git.answer(request).await?;
    let options: Vec<String> =
        server.git.push_options(&project.path).await.into_iter().skip(options_before).collect();
    moved(server, &project, &before, &options).await;
    Ok(answer)
}

/// Does what follows from refs having moved since they were as in `before`.
pub(super) async fn moved(server: &Arc<Server>, project: &Project, before: &Refs, options: &[String]) {
    let after = refs(server, &project.path).await;
    let changes = changes(server, &project.path, before, &after).await;
    pushed(server, project, &changes, options).await;
}

/// Every branch and tag as it is now.
pub(super) async fn refs(server: &Server, path: &str) -> Refs {
    let format = "--format=%(refname) %(objectname) %(*objectname)";
    let listed = server.git.git(path, &["for-each-ref", format, "refs/heads", "refs/tags"], b"").await;
    let listed = listed.unwrap_or_default();
    let lines = listed.lines().filter_map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        let (name, object) = (words.next()?, words.next()?);
        let commit = words.next().filter(|word| !word.is_empty()).unwrap_or_else(|| object.clone());
        Some((name, (object, commit)))
    });
    lines.collect()
}

async fn changes(server: &Server, path: &str, before: &Refs, after: &Refs) -> Vec<Change> {
    let mut changes = Vec::new();
    for (reference, (object, commit)) in after {
        let old = before.get(reference);
        if old.is_some_and(|(known, _)| known == object) {
            continue;
        }
        let commits = match old {
            Some((_, old)) => commits(server, path, old, commit).await,
            None => Vec::new(),
        };
        changes.push(Change {
            reference: reference.clone(),
            before: old.map_or_else(|| ZEROS.to_owned(), |(object, _)| object.clone()),
            after: object.clone(),
            commit: Some(commit.clone()),
            commits_total: commits.len(),
            commits,
        });
    }
    let gone = before.iter().filter(|(reference, _)| !after.contains_key(*reference));
    changes.extend(gone.map(|(reference, (object, _))| Change {
        reference: reference.clone(),
        before: object.clone(),
        after: ZEROS.to_owned(),
        commit: None,
        commits: Vec::new(),
        commits_total: 0,
    }));
    changes
}

/// The newest commits between two, as payloads have them.
async fn commits(server: &Server, path: &str, from: &str, to: &str) -> Vec<Value> {
    let (limit, range) = (format!("-{COMMITS_MAX}"), format!("{from}..{to}"));
    let format = "--format=%x01%H%x02%aI%x02%an%x02%B%x02";
    let listed =
        server.git.git(path, &["log", &limit, "--name-status", "--no-renames", format, &range], b"").await;
    let listed = listed.unwrap_or_default();
    listed.split('\u{1}').skip(1).filter_map(commit_of).collect()
}

fn commit_of(text: &str) -> Option<Value> {
    let mut parts = text.split('\u{2}');
    let (id, at, name, message) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let files = parts.next()?;
    let of = |kind: &str| -> Vec<&str> {
        files.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix('\t')).collect()
    };
    Some(json!({
        "id": id, "message": message, "title": message.lines().next(), "timestamp": at,
        "url": format!("/-/commit/{id}"), "author": { "name": name, "email": "[REDACTED]" },
        "added": of("A"), "modified": of("M"), "removed": of("D"),
    }))
}

/// What follows from refs that moved.
async fn pushed(server: &Arc<Server>, project: &Project, changes: &[Change], options: &[String]) {
    let skip = options.iter().any(|option| option == "ci.skip");
    if changes.len() <= HOOK_REFS_MAX {
        let told = options_view(options);
        for change in changes {
            let tag = change.reference.starts_with("refs/tags/");
            let event = if tag { Event::TagPush } else { Event::Push };
            server.tell(project.id, event, &payload::push(project, change, &told));
        }
    }
    for change in changes {
        let Some(commit) = &change.commit else { continue };
        if let Some(branch) = change.reference.strip_prefix("refs/heads/") {
            server.branch_moved(project, branch, commit).await;
            propose(server, project, branch, options).await;
        }
        begin_pipeline(server, project, change, commit, skip).await;
    }
}

/// Push options as payloads have them: `ci.skip` becomes `{"ci": {"skip": true}}`.
fn options_view(options: &[String]) -> Value {
    let mut view = serde_json::Map::new();
    for option in options {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, json!(value)),
            None => (option.as_str(), json!(true)),
        };
        let (group, key) = name.split_once('.').unwrap_or(("other", name));
        let group = view.entry(group.to_owned()).or_insert_with(|| json!({}));
        if let Some(group) = group.as_object_mut() {
            group.insert(key.to_owned(), value);
        }
    }
    Value::Object(view)
}

/// Opens the merge request a push option asks for.
async fn propose(server: &Arc<Server>, project: &Project, branch: &str, options: &[String]) {
    if !options.iter().any(|option| option == "merge_request.create") || branch == project.default_branch {
        return;
    }
    let named = |name: &str| options.iter().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let target = named("merge_request.target").unwrap_or(&project.default_branch).to_owned();
    // A branch that is gone again is no reason to refuse the push.
    drop(server.open_merge_request(project.id, project.id, branch, &target).await);
}

/// Begins the pipeline of a push, if the commit has a CI file.
async fn begin_pipeline(server: &Arc<Server>, project: &Project, change: &Change, commit: &str, skip: bool) {
    // What the test has set since the push began counts.
    let current = server.world().project(&project.path).cloned();
    let Some(project) = current else { return };
    if !project.builds_enabled {
        return;
    }
    let has_file = files::contents(server, &project, commit, project.ci_file()).await.is_some();
    if !has_file && !project.auto_devops {
        return;
    }
    let message = server.git.git(&project.path, &["log", "-1", "--format=%B", commit], b"").await;
    let message = message.unwrap_or_default();
    let (tag, reference) = match change.reference.strip_prefix("refs/tags/") {
        Some(tag) => (true, tag),
        None => (false, change.reference.trim_start_matches("refs/heads/")),
    };
    let new = NewPipeline {
        sha: commit.to_owned(),
        reference: reference.to_owned(),
        tag,
        source: "push",
        skip: skip || asks_to_skip(&message),
        message,
    };
    let (delay, id) = (project.plan.delay, project.id);
    if delay == Duration::ZERO {
        server.start_pipeline(id, new);
        return;
    }
    let server = Arc::clone(server);
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        server.start_pipeline(id, new);
    });
}

impl Server {
    /// Begins a pipeline and tells of it.
    pub(super) fn start_pipeline(self: &Arc<Self>, project: u64, new: NewPipeline) {
        let begun = self.world().change(project, |it, number| it.begin_pipeline(new, number));
        if let Some(Some(pipeline)) = begun {
            self.pipeline_changed(project, pipeline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_into_project_and_question() {
        assert_eq!(split("/group/sub/shop.git/info/refs"), Some(("group/sub/shop", "info/refs")));
        assert_eq!(split("/group/shop/git-upload-pack"), Some(("group/shop", "git-upload-pack")));
        assert_eq!(split("/group/shop"), None);
    }

    #[test]
    fn push_options_are_nested_as_payloads_have_them() {
        let options = ["ci.skip", "ci.variable=A=b"].map(str::to_owned);
        assert_eq!(options_view(&options), json!({ "ci": { "skip": true, "variable": "A=b" } }));
    }
}
