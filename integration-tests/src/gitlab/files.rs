//! What the interface tells of the repository: files and commits.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::answer::{Handled, Reply};
use super::results;
use super::route::Call;
use super::server::Server;
use super::world::Project;

/// The commit a name stands for.
async fn commit(server: &Server, project: &Project, name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with('-') {
        return None;
    }
    let wanted = format!("{name}^{{commit}}");
    let found = server.git.git(&project.path, &["rev-parse", "--verify", "--quiet", &wanted], b"").await;
    found.ok().map(|id| id.trim().to_owned())
}

/// Whether the repository has the commit.
pub(super) async fn is_commit(server: &Server, project: &Project, name: &str) -> bool {
    commit(server, project, name).await.is_some()
}

/// The contents of a file, if the commit has it.
pub(super) async fn contents(server: &Server, project: &Project, name: &str, path: &str) -> Option<String> {
    let commit = commit(server, project, name).await?;
    server.git.git(&project.path, &["cat-file", "blob", &format!("{commit}:{path}")], b"").await.ok()
}

/// `GET` and `HEAD` below `repository`.
pub(super) async fn read(server: &Arc<Server>, call: &Call, project: &Project, rest: &[&str]) -> Handled {
    match rest {
        ["repository", "files", path] => file(server, call, project, path, false).await,
        ["repository", "files", path, "raw"] => file(server, call, project, path, true).await,
        ["repository", "commits", sha] => show_commit(server, project, sha).await,
        ["repository", "commits", sha, "statuses"] => results::list_statuses(call, project, sha),
        _ => Err(Reply::json(404, &json!({ "error": "404 Not Found" }))),
    }
}

async fn file(server: &Server, call: &Call, project: &Project, path: &str, raw: bool) -> Handled {
    let name = match call.query("ref") {
        Some(name) => name.to_owned(),
        None if raw => "HEAD".to_owned(),
        None => return Err(Reply::missing("ref")),
    };
    let Some(id) = commit(server, project, &name).await else { return Err(Reply::not_found("Commit")) };
    let text = contents(server, project, &id, path).await.ok_or_else(|| Reply::not_found("File"))?;
    if raw {
        return Ok(Reply::text(200, &text));
    }
    let body = json!({
        "file_name": path.rsplit('/').next(), "file_path": path, "size": text.len(), "encoding": "base64",
        "content": STANDARD.encode(&text), "ref": name, "commit_id": id, "last_commit_id": id,
    });
    Ok(Reply::json(200, &body)
        .header("x-gitlab-file-path", path)
        .header("x-gitlab-size", text.len().to_string())
        .header("x-gitlab-ref", name))
}

async fn show_commit(server: &Server, project: &Project, sha: &str) -> Handled {
    let Some(id) = commit(server, project, sha).await else { return Err(Reply::not_found("Commit")) };
    let message = server.git.git(&project.path, &["log", "-1", "--format=%B", &id], b"").await;
    let message = message.unwrap_or_default();
    let short: String = id.chars().take(8).collect();
    Ok(Reply::json(
        200,
        &json!({
            "id": id, "short_id": short, "title": message.lines().next(), "message": message,
            "author_name": "Ada", "author_email": "ada@example.org",
            "web_url": format!("{}/-/commit/{id}", project.web_url()),
        }),
    ))
}
