//! One delivery of every event that is told apart, with the fields around it that forges send.

use serde_json::{Value, json};

use super::super::{DeliveryKind, Forge};

pub(super) const COMMIT: &str = "4f0c2b7e91d35a6886fbd0a1c9e27345d8b1f60a";
pub(super) const OTHER: &str = "b6d90a53e8c1472f0d6be59f8a7130c24e95d71b";
pub(super) const ZEROS: &str = "0000000000000000000000000000000000000000";

pub(super) struct Fixture {
    pub(super) what: &'static str,
    pub(super) forge: Forge,
    pub(super) event: &'static str,
    pub(super) body: Value,
    pub(super) expected: Option<DeliveryKind>,
}

fn gitlab_project() -> Value {
    json!({
        "id": 42, "name": "Shop", "path_with_namespace": "crew/shop", "default_branch": "main", "visibility_level": 0,
        "git_http_url": "https://git.example/crew/shop.git", "web_url": "https://git.example/crew/shop",
        "ci_config_path": null
    })
}

pub(super) fn gitlab_push() -> Value {
    json!({
        "object_kind": "push", "event_name": "push", "before": OTHER, "after": COMMIT, "ref": "refs/heads/main",
        "ref_protected": true, "checkout_sha": COMMIT, "user_id": 7, "user_username": "ada", "user_email": "[REDACTED]",
        "project_id": 42, "project": gitlab_project(), "total_commits_count": 31, "push_options": {"ci": {"skip": true}},
        "commits": [{
            "id": COMMIT, "title": "Sell more", "message": "Sell more\n\nKöpfe 🚢", "timestamp": "2031-02-03T04:05:06+02:00",
            "author": {"name": "Ada", "email": "[REDACTED]"}, "added": ["a"], "modified": [], "removed": []
        }]
    })
}

pub(super) fn gitlab_tag() -> Value {
    json!({
        "object_kind": "tag_push", "event_name": "tag_push", "before": ZEROS, "after": COMMIT, "ref": "refs/tags/v1.2.0",
        "checkout_sha": COMMIT, "message": "Release", "project_id": 42, "project": gitlab_project(), "commits": [],
        "total_commits_count": 0
    })
}

pub(super) fn gitlab_merge_request() -> Value {
    json!({
        "object_kind": "merge_request", "event_type": "merge_request", "user": {"id": 7, "username": "ada"},
        "project": gitlab_project(), "labels": [], "changes": {"draft": {"previous": true, "current": false}},
        "object_attributes": {
            "id": 9901, "iid": 17, "action": "update", "state": "opened", "source_branch": "feature/cart",
            "target_branch": "main", "source_project_id": 42, "target_project_id": 42, "draft": false, "oldrev": OTHER,
            "created_at": "2031-02-03 04:05:06 UTC", "last_commit": {"id": COMMIT}
        }
    })
}

pub(super) fn gitlab_pipeline() -> Value {
    json!({
        "object_kind": "pipeline", "project": gitlab_project(), "commit": {"id": COMMIT}, "merge_request": null,
        "object_attributes": {
            "id": 2366, "iid": 12, "ref": "main", "tag": false, "sha": COMMIT, "before_sha": OTHER, "source": "push",
            "status": "running", "detailed_status": "running", "stages": ["build"], "created_at": "2031-02-03 04:05:06 UTC",
            "finished_at": null, "duration": null, "variables": []
        },
        "builds": [{"id": 5, "stage": "build", "name": "image", "status": "created", "runner": null, "environment": null}]
    })
}

pub(super) fn gitlab_job() -> Value {
    json!({
        "object_kind": "build", "ref": "main", "tag": false, "before_sha": OTHER, "sha": COMMIT, "build_id": 5,
        "build_name": "image", "build_stage": "build", "build_status": "failed", "build_failure_reason": "script_failure",
        "retries_count": 0, "pipeline_id": 2366, "project_id": 42, "project_name": "Crew / Shop",
        "commit": {"id": 2366, "name": "Build", "sha": COMMIT, "status": "running", "duration": null}
    })
}

pub(super) fn github_push() -> Value {
    json!({
        "ref": "refs/heads/main", "before": OTHER, "after": COMMIT, "created": false, "deleted": false, "forced": false,
        "base_ref": null, "compare": "https://hub.example/crew/shop/compare", "commits": [],
        "head_commit": {"id": COMMIT, "message": "Sell more", "timestamp": "2031-02-03T04:05:06Z"},
        "repository": {"id": 42, "full_name": "crew/shop", "pushed_at": 1_927_857_906, "created_at": "2030-01-01T00:00:00Z"},
        "pusher": {"name": "ada", "email": null}, "sender": {"login": "ada"}
    })
}

fn push_of(reference: &str, revision: Option<&str>) -> Option<DeliveryKind> {
    Some(DeliveryKind::Push { reference: reference.to_owned(), revision: revision.map(str::to_owned) })
}

fn on_gitlab(
    what: &'static str,
    event: &'static str,
    body: Value,
    expected: Option<DeliveryKind>,
) -> Fixture {
    Fixture { what, forge: Forge::Gitlab, event, body, expected }
}

fn gitlab() -> Vec<Fixture> {
    let pipeline = || Some(DeliveryKind::Pipeline { revision: COMMIT.to_owned() });
    let main = || push_of("refs/heads/main", Some(COMMIT));
    let request = || Some(DeliveryKind::MergeRequest { iid: 17 });
    let mut created = gitlab_push();
    created["before"] = json!(ZEROS);
    created["commits"] = json!([]);
    let mut deleted = gitlab_tag();
    deleted["after"] = json!(ZEROS);
    deleted["checkout_sha"] = Value::Null;
    let mut of_instance = gitlab_push();
    of_instance.as_object_mut().unwrap().remove("object_kind");
    vec![
        on_gitlab("a push", "Push Hook", gitlab_push(), main()),
        on_gitlab("a new branch", "Push Hook", created, main()),
        on_gitlab("a push, told to the instance", "System Hook", of_instance, main()),
        on_gitlab("a tag", "Tag Push Hook", gitlab_tag(), push_of("refs/tags/v1.2.0", Some(COMMIT))),
        on_gitlab("a deleted tag", "Tag Push Hook", deleted, push_of("refs/tags/v1.2.0", None)),
        on_gitlab("a merge request", "Merge Request Hook", gitlab_merge_request(), request()),
        on_gitlab("a pipeline", "Pipeline Hook", gitlab_pipeline(), pipeline()),
        on_gitlab("a job", "Job Hook", gitlab_job(), pipeline()),
        on_gitlab(
            "refs of the instance",
            "System Hook",
            json!({"event_name": "repository_update", "changes": [{"ref": "refs/heads/main"}], "refs": ["refs/heads/main"]}),
            None,
        ),
        on_gitlab(
            "a token that ends soon",
            "Resource Access Token Hook",
            json!({"object_kind": "access_token", "event_name": "expiring_access_token", "object_attributes": {"id": 25}}),
            None,
        ),
        on_gitlab(
            "a deployment, perhaps our own",
            "Deployment Hook",
            json!({"object_kind": "deployment", "status": "success", "deployable_id": null, "ref": "main"}),
            None,
        ),
        on_gitlab(
            "a note",
            "Note Hook",
            json!({"object_kind": "note", "object_attributes": {"note": "hi"}}),
            None,
        ),
    ]
}

fn like_github(forge: Forge) -> Vec<Fixture> {
    let fixture = |what, event, body, expected| Fixture { what, forge, event, body, expected };
    let mut deleted = github_push();
    deleted["after"] = json!(ZEROS);
    deleted["deleted"] = json!(true);
    deleted["head_commit"] = Value::Null;
    let mut tag = github_push();
    tag["ref"] = json!("refs/tags/v1.2.0");
    let created = json!({"ref": "v1.2.0", "ref_type": "tag", "sha": COMMIT, "master_branch": "main", "pusher_type": "user"});
    vec![
        fixture("a push", "push", github_push(), push_of("refs/heads/main", Some(COMMIT))),
        fixture("a deleted branch", "push", deleted, push_of("refs/heads/main", None)),
        fixture("a tag", "push", tag, push_of("refs/tags/v1.2.0", Some(COMMIT))),
        fixture("a created tag", "create", created, push_of("refs/tags/v1.2.0", Some(COMMIT))),
        fixture(
            "a deleted branch by name",
            "delete",
            json!({"ref": "feature/cart", "ref_type": "branch", "pusher_type": "user"}),
            push_of("refs/heads/feature/cart", None),
        ),
        fixture(
            "a pull request",
            "pull_request",
            json!({"action": "synchronize", "number": 3, "before": OTHER, "after": COMMIT, "pull_request": {"head": {}}}),
            None,
        ),
        fixture(
            "a try",
            "ping",
            json!({"zen": "Keep it short.", "hook_id": 9, "hook": {"active": true}}),
            None,
        ),
        fixture("a release", "release", json!({"action": "published", "release": {"tag_name": "v1"}}), None),
    ]
}

pub(super) fn all() -> Vec<Fixture> {
    [gitlab(), like_github(Forge::Github), like_github(Forge::Gitea)].into_iter().flatten().collect()
}
