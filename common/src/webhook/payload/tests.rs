//! What follows from the deliveries of each forge, and what does not.

mod fixtures;
mod fuzz;
mod given;

use serde_json::{Value, json};

use super::*;
use fixtures::{COMMIT, OTHER, ZEROS};

fn of(forge: Forge, event: &str, body: &Value) -> Result<Parsed, Unreadable> {
    parse(forge, event, Some("application/json"), body.to_string().as_bytes())
}

fn kind(forge: Forge, event: &str, body: &Value) -> Option<DeliveryKind> {
    of(forge, event, body).unwrap_or_else(|error| panic!("{error}: {body}")).kind
}

fn push_of(reference: &str, revision: Option<&str>) -> Option<DeliveryKind> {
    Some(DeliveryKind::Push { reference: reference.to_owned(), revision: revision.map(str::to_owned) })
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body.as_object_mut().unwrap().insert(name.to_owned(), value);
    body
}

fn without(mut body: Value, name: &str) -> Value {
    body.as_object_mut().unwrap().remove(name);
    body
}

#[test]
fn every_fixture_says_what_it_should() {
    for fixture in fixtures::all() {
        let parsed = of(fixture.forge, fixture.event, &fixture.body);
        assert_eq!(parsed.map(|parsed| parsed.kind), Ok(fixture.expected), "{}", fixture.what);
    }
}

#[test]
fn a_deletion_on_gitlab_shows_in_either_field() {
    let push = fixtures::gitlab_push();
    for body in [
        with(push.clone(), "checkout_sha", Value::Null),
        with(push.clone(), "after", json!(ZEROS)),
        with(push.clone(), "after", json!("0".repeat(64))),
        without(with(push.clone(), "checkout_sha", Value::Null), "after"),
    ] {
        assert_eq!(kind(Forge::Gitlab, "Push Hook", &body), push_of("refs/heads/main", None), "{body}");
    }
    let old = without(push, "checkout_sha");
    assert_eq!(kind(Forge::Gitlab, "Push Hook", &old), push_of("refs/heads/main", Some(COMMIT)));
}

#[test]
fn a_tag_means_its_commit_and_not_the_tag_object() {
    let gitlab = with(fixtures::gitlab_tag(), "after", json!(OTHER));
    assert_eq!(kind(Forge::Gitlab, "Tag Push Hook", &gitlab), push_of("refs/tags/v1.2.0", Some(COMMIT)));
    let tag = with(fixtures::github_push(), "ref", json!("refs/tags/v1.2.0"));
    let annotated = with(tag.clone(), "after", json!(OTHER));
    for forge in [Forge::Github, Forge::Gitea] {
        assert_eq!(kind(forge, "push", &annotated), push_of("refs/tags/v1.2.0", Some(COMMIT)));
        for head_commit in [Value::Null, json!("text"), json!([1]), json!({"id": 5}), json!({})] {
            let body = with(tag.clone(), "head_commit", head_commit);
            assert_eq!(kind(forge, "push", &body), push_of("refs/tags/v1.2.0", Some(COMMIT)), "{body}");
        }
    }
}

#[test]
fn every_action_on_a_merge_request_is_looked_at() {
    for action in ["open", "reopen", "update", "close", "merge", "approved", "unapproval", "a new one"] {
        let mut body = fixtures::gitlab_merge_request();
        body["object_attributes"]["action"] = json!(action);
        let seen = kind(Forge::Gitlab, "Merge Request Hook", &body);
        assert_eq!(seen, Some(DeliveryKind::MergeRequest { iid: 17 }), "{action}");
    }
    for iid in [json!("17"), json!(17)] {
        let body = json!({"object_kind": "merge_request", "object_attributes": {"iid": iid}});
        assert!(kind(Forge::Gitlab, "", &body).is_some());
    }
    for iid in [json!(0), json!(-1), json!(1.5), json!("x"), Value::Null, json!({}), json!([17])] {
        let body = json!({"object_kind": "merge_request", "object_attributes": {"iid": iid}});
        assert_eq!(of(Forge::Gitlab, "", &body), Err(Unreadable::Missing("object_attributes.iid")), "{iid}");
    }
}

#[test]
fn a_job_is_of_the_commit_in_sha() {
    let body = fixtures::gitlab_job();
    assert_eq!(body["commit"]["id"], json!(2366), "the pipeline's number, as GitLab writes it");
    let expected = Some(DeliveryKind::Pipeline { revision: COMMIT.to_owned() });
    assert_eq!(kind(Forge::Gitlab, "Job Hook", &body), expected);
    let lost = of(Forge::Gitlab, "Job Hook", &without(body, "sha"));
    assert_eq!(lost, Err(Unreadable::Missing("sha")));
}

#[test]
fn refs_and_commits_that_are_not_safe_are_passed_over() {
    for reference in [
        "main",
        "refs/heads/",
        "refs/heads/-upload-pack=x",
        "refs/heads/a..b",
        "refs/heads/a b",
        "refs/heads/a\u{202e}b",
        "refs/heads/a\nb",
        "refs/heads/../../etc",
        "refs/heads/x.lock",
        "refs/heads/HEAD",
        "refs/tags/-v1",
        "refs/tags/a:b",
        "refs/merge-requests/1/head",
        "refs/keep-around/x",
        "refs/heads",
        "--upload-pack=x",
        &format!("refs/heads/{COMMIT}"),
        &format!("refs/tags/{COMMIT}"),
        &format!("refs/heads/{}", "a".repeat(300)),
    ] {
        let body = with(fixtures::gitlab_push(), "ref", json!(reference));
        assert_eq!(kind(Forge::Gitlab, "Push Hook", &body), None, "{reference:?}");
        let body = with(fixtures::github_push(), "ref", json!(reference));
        assert_eq!(kind(Forge::Github, "push", &body), None, "{reference:?}");
    }
    for commit in ["abc", "--", &"g".repeat(40), &"a".repeat(41), &"a".repeat(63)] {
        let body = with(without(fixtures::gitlab_push(), "checkout_sha"), "after", json!(commit));
        assert_eq!(kind(Forge::Gitlab, "Push Hook", &body), None, "{commit:?}");
        assert_eq!(kind(Forge::Gitlab, "", &json!({"object_kind": "build", "sha": commit})), None);
        let body = with(fixtures::github_push(), "after", json!(commit));
        assert_eq!(kind(Forge::Gitea, "push", &body), None, "{commit:?}");
    }
    let long = "A".repeat(64);
    let body = with(fixtures::github_push(), "after", json!(long));
    let expected = push_of("refs/heads/main", Some(&long.to_lowercase()));
    assert_eq!(kind(Forge::Github, "push", &body), expected, "SHA-256, and in lower case");
}

#[test]
fn what_is_created_or_deleted_is_named_by_type_and_short_name() {
    let body = |reference: Value, ref_type: Value| json!({"ref": reference, "ref_type": ref_type});
    for forge in [Forge::Github, Forge::Gitea] {
        for (reference, ref_type, full) in [
            ("feature/a", "branch", "refs/heads/feature/a"),
            ("v1", "tag", "refs/tags/v1"),
            ("refs/tags/v1", "tag", "refs/tags/v1"),
        ] {
            let gone = body(json!(reference), json!(ref_type));
            assert_eq!(kind(forge, "delete", &gone), push_of(full, None));
            let made = with(gone.clone(), "sha", json!(COMMIT));
            assert_eq!(kind(forge, "create", &made), push_of(full, Some(COMMIT)));
            assert_eq!(kind(forge, "create", &gone), None, "the push besides it tells the commit");
        }
        for event in ["create", "delete"] {
            assert_eq!(kind(forge, event, &body(Value::Null, json!("repository"))), None);
            assert_eq!(kind(forge, event, &body(json!("a b"), json!("branch"))), None);
            let nameless = of(forge, event, &body(Value::Null, json!("branch")));
            assert_eq!(nameless, Err(Unreadable::Missing("ref")));
            let typeless = of(forge, event, &json!({"ref": "a"}));
            assert_eq!(typeless, Err(Unreadable::Missing("ref_type")));
        }
    }
}

#[test]
fn a_form_carries_the_same_payload() {
    let json = fixtures::github_push().to_string();
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("other", "x")
        .append_pair("payload", &json)
        .finish();
    let types = [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-8",
        "Application/X-WWW-Form-Urlencoded ;x",
    ];
    for content_type in types {
        let parsed = parse(Forge::Github, "push", Some(content_type), form.as_bytes()).unwrap();
        assert_eq!(parsed.kind, push_of("refs/heads/main", Some(COMMIT)));
        let lost = parse(Forge::Github, "push", Some(content_type), json.as_bytes());
        assert_eq!(lost, Err(Unreadable::Missing("payload")));
        let broken = parse(Forge::Github, "push", Some(content_type), b"payload=%7B%ff");
        assert_eq!(broken, Err(Unreadable::NoObject));
    }
    for content_type in [None, Some(""), Some("application/json; charset=utf-8"), Some("text/plain")] {
        assert!(parse(Forge::Github, "push", content_type, json.as_bytes()).is_ok(), "{content_type:?}");
        assert!(parse(Forge::Github, "push", content_type, form.as_bytes()).is_err(), "{content_type:?}");
    }
}

#[test]
fn a_body_that_is_no_object_or_lacks_what_is_needed_is_unreadable() {
    let deep = format!("{{\"ref\":{}", "{\"id\":".repeat(100_000));
    let bodies: [&[u8]; 15] = [
        b"",
        b" ",
        b"null",
        b"1",
        b"\"text\"",
        b"[]",
        b"[\"push\", \"push\", \"refs/heads/main\"]",
        b"{",
        b"{}}",
        b"{\"object_kind\":\"push\"",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe",
        b"{\"object_kind\":\"\\ud800\"}",
        b"{\"object_kind\":\"push\",\"object_kind\":\"pipeline\"}",
        deep.as_bytes(),
    ];
    for body in bodies {
        for (forge, event) in [(Forge::Gitlab, "Push Hook"), (Forge::Github, "push"), (Forge::Gitea, "push")]
        {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
            assert_eq!(parse(forge, event, None, body), Err(Unreadable::NoObject), "{shown}");
        }
    }
    let (hub, lab) = (fixtures::github_push(), fixtures::gitlab_push());
    for (forge, event, body, missing) in [
        (Forge::Gitlab, "Push Hook", json!({}), "object_kind"),
        (Forge::Gitlab, "Push Hook", json!({"text": "from a template"}), "object_kind"),
        (Forge::Gitlab, "Push Hook", json!({"object_kind": 5}), "object_kind"),
        (Forge::Gitlab, "Push Hook", without(lab.clone(), "ref"), "ref"),
        (Forge::Gitlab, "Push Hook", with(lab.clone(), "ref", json!(["refs/heads/main"])), "ref"),
        (Forge::Gitlab, "Push Hook", without(without(lab, "after"), "checkout_sha"), "after"),
        (Forge::Gitlab, "", json!({"object_kind": "pipeline"}), "object_attributes.sha"),
        (
            Forge::Gitlab,
            "",
            json!({"object_kind": "pipeline", "object_attributes": []}),
            "object_attributes.sha",
        ),
        (Forge::Github, "push", without(hub.clone(), "ref"), "ref"),
        (Forge::Github, "push", with(hub.clone(), "ref", json!("")), "ref"),
        (Forge::Gitea, "push", without(hub, "after"), "after"),
    ] {
        assert_eq!(of(forge, event, &body), Err(Unreadable::Missing(missing)), "{body}");
    }
    assert_eq!(of(Forge::Github, "", &fixtures::github_push()), Err(Unreadable::NoEvent));
    assert_eq!(of(Forge::Gitea, "", &fixtures::github_push()), Err(Unreadable::NoEvent));
}

#[test]
fn fields_that_are_not_needed_may_hold_anything() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for junk in ["null", "[]", "{}", "-1", "1e400", "\"2011-12-12 at noon\"", "\"\\ud800\"", deep.as_str()] {
        let body = format!(
            r#"{{"project": {junk}, "commits": {junk}, "user_id": {junk}, "x": {junk}, "object_kind": "push",
                "ref": "refs/heads/main", "checkout_sha": "{COMMIT}", "after": "{COMMIT}", "total_commits_count": {junk}}}"#
        );
        for (forge, event) in [(Forge::Gitlab, "Push Hook"), (Forge::Github, "push"), (Forge::Gitea, "push")]
        {
            let parsed = parse(forge, event, None, body.as_bytes());
            let shown = &body[..body.len().min(80)];
            assert_eq!(parsed.unwrap().kind, push_of("refs/heads/main", Some(COMMIT)), "{shown}");
        }
    }
    // Fields that other events need.
    for junk in
        [Value::Null, json!(1), json!([[]]), json!({"id": {"id": {}}}), json!(-5), json!(2.5), json!(true)]
    {
        let body = with(fixtures::gitlab_push(), "object_attributes", junk.clone());
        let body = with(with(body, "sha", junk.clone()), "head_commit", junk);
        assert_eq!(kind(Forge::Gitlab, "", &body), push_of("refs/heads/main", Some(COMMIT)), "{body}");
    }
}
