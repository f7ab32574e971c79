//! Payloads of three forges to begin with, for what changes them: one of each kind, without a forge behind them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::merge_requests::MergeRequest;
use super::payload::{self, Change, ZEROS};
use super::pipelines::NewPipeline;
use super::world::Project;

/// A commit that is nowhere.
pub const COMMIT: &str = "2f1e8c40b7a95d36e1f0a4c58d7b92e36480ac1d";

/// A push of `commit` to `branch` of the project, as if from GitLab.
#[must_use]
pub fn gitlab_push(project: &Project, branch: &str, commit: &str) -> Value {
    let change = Change {
        reference: format!("refs/heads/{branch}"),
        before: COMMIT.to_owned(),
        after: commit.to_owned(),
        commit: Some(commit.to_owned()),
        commits: Vec::new(),
        commits_total: 1,
    };
    payload::push(project, &change, &json!({}))
}

/// One of each event of GitLab's, with its name in the header.
#[must_use]
pub fn gitlab() -> Vec<(&'static str, Value)> {
    let mut project = Project::new(7, "group/shop", "http://127.0.0.1:1");
    let mut last = 0;
    let new = NewPipeline {
        sha: COMMIT.to_owned(),
        reference: "main".to_owned(),
        tag: false,
        source: "push",
        message: "A change".to_owned(),
        skip: false,
    };
    project.begin_pipeline(new, || {
        last += 1;
        last
    });
    let merge_request = MergeRequest {
        id: 99,
        iid: 3,
        title: "A proposal".to_owned(),
        source_branch: "feature".to_owned(),
        target_branch: "main".to_owned(),
        source_project_id: 7,
        sha: COMMIT.to_owned(),
        state: "opened",
        draft: false,
        created_at: Timestamp::UNIX_EPOCH,
        notes: Vec::new(),
    };
    let deleted = Change {
        reference: "refs/heads/gone".to_owned(),
        before: COMMIT.to_owned(),
        after: ZEROS.to_owned(),
        commit: None,
        commits: Vec::new(),
        commits_total: 0,
    };
    let tag = Change { reference: "refs/tags/v1.2.3".to_owned(), ..deleted.clone() };
    let mut all = vec![
        ("Push Hook", gitlab_push(&project, "main", COMMIT)),
        ("Push Hook", payload::push(&project, &deleted, &json!({ "ci": { "skip": true } }))),
        ("Tag Push Hook", payload::push(&project, &tag, &json!({}))),
        ("Merge Request Hook", payload::merge_request(&project, &merge_request, "update", Some(ZEROS))),
    ];
    for pipeline in &project.pipelines {
        all.push(("Pipeline Hook", payload::pipeline(&project, pipeline)));
        all.extend(pipeline.jobs.iter().map(|job| ("Job Hook", payload::job(&project, pipeline, job))));
    }
    all.push(("Note Hook", json!({ "object_kind": "note", "object_attributes": { "note": "/deploy" } })));
    all.push(("Deployment Hook", json!({ "object_kind": "deployment", "status": "success" })));
    all
}

/// A push, as if from GitHub.
#[must_use]
pub fn github_push(clone_url: &str, branch: &str, commit: &str) -> Value {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": COMMIT, "after": commit, "created": false,
        "deleted": false, "forced": false, "base_ref": null,
        "compare": "https://github.example.org/ada/shop/compare/2f1e...c0de",
        "commits": [], "head_commit": { "id": commit, "message": "A change", "timestamp": "2026-05-01T10:00:00+02:00" },
        "repository": { "id": 1, "name": "shop", "full_name": "ada/shop", "private": true,
            "clone_url": clone_url, "default_branch": "main" },
        "pusher": { "name": "ada", "email": "ada@example.org" },
        "sender": { "login": "ada", "id": 1 }, "installation": { "id": 2 },
    })
}

/// A push, as if from Gitea.
#[must_use]
pub fn gitea_push(clone_url: &str, branch: &str, commit: &str) -> Value {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": COMMIT, "after": commit,
        "compare_url": "", "commits": [{ "id": commit, "message": "A change\n", "url": "",
            "author": { "name": "Ada", "email": "ada@example.org", "username": "ada" },
            "timestamp": "2026-05-01T10:00:00Z", "added": null, "removed": null, "modified": null }],
        "total_commits": 1, "head_commit": { "id": commit, "message": "A change\n" },
        "repository": { "id": 1, "name": "shop", "full_name": "ada/shop", "clone_url": clone_url,
            "default_branch": "main" },
        "pusher": { "id": 1, "login": "ada" }, "sender": { "id": 1, "login": "ada" },
    })
}

/// One of each event of GitHub's.
#[must_use]
pub fn github() -> Vec<(&'static str, Value)> {
    let repository =
        json!({ "id": 1, "full_name": "ada/shop", "clone_url": "http://127.0.0.1:1/ada/shop.git" });
    vec![
        ("push", github_push("http://127.0.0.1:1/ada/shop.git", "main", COMMIT)),
        ("ping", json!({ "zen": "Keep it simple.", "hook_id": 3, "repository": repository })),
        (
            "pull_request",
            json!({ "action": "synchronize", "number": 5, "repository": repository,
                "pull_request": { "id": 6, "number": 5, "state": "open", "merged": false,
                    "head": { "ref": "feature", "sha": COMMIT }, "base": { "ref": "main", "sha": ZEROS } } }),
        ),
        ("create", json!({ "ref": "v1.2.3", "ref_type": "tag", "repository": repository })),
    ]
}

/// One of each event of Gitea's.
#[must_use]
pub fn gitea() -> Vec<(&'static str, Value)> {
    let repository =
        json!({ "id": 1, "full_name": "ada/shop", "clone_url": "http://127.0.0.1:1/ada/shop.git" });
    vec![
        ("push", gitea_push("http://127.0.0.1:1/ada/shop.git", "main", COMMIT)),
        ("delete", json!({ "ref": "gone", "ref_type": "branch", "repository": repository })),
        (
            "release",
            json!({ "action": "published", "release": { "tag_name": "v1" }, "repository": repository }),
        ),
    ]
}
