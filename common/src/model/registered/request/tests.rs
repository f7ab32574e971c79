//! Tests of registrations and patches: defaults, every wrong field named, secrets made once, sealed and replaced without a
//! gap.

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{HOOK_SECRET_OVERLAP_H, ProjectContext, ProjectPatch, ProjectRequest, Registration};
use crate::config::Config;
use crate::model::registered::{
    Forge, HookSecretKind, On, REVIEW_TTL_DEFAULT_H, REVIEWS_DEFAULT, hook_context, outgoing_context,
};
use crate::model::request::{InvalidField, ResolveContext, env_context};
use crate::model::{AddressPolicy, EnvName, HookId, Project, TargetName};
use crate::secrets::{KEY_LENGTH_BYTES, Sealer};
use crate::webhook::{check_secret, check_signing_secret};

const URL: &str = "https://git.example.com/team/shop";
/// `whsec_` and base64 of 32 bytes.
const SIGNING: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn sealer() -> Sealer {
    Sealer::new(&[7; KEY_LENGTH_BYTES])
}

/// Does `work` at second `second`, with a seed of its own.
fn with_context<T>(second: i64, work: impl FnOnce(&ProjectContext<'_>) -> T) -> T {
    let limits = Config::load(None, Vec::new()).unwrap().limits;
    let targets: [TargetName; 2] = ["local", "edge"].map(|name| name.parse().unwrap());
    let (addresses, sealer) = (AddressPolicy::default(), sealer());
    let deployments = ResolveContext {
        addresses: &addresses,
        limits: &limits,
        targets: &targets,
        clusters: &targets[1..],
        servers: &[],
        sealer: &sealer,
    };
    let now = Timestamp::from_second(second).unwrap();
    let hook = HookId::from(sealer.derived_id("hook", &second.to_be_bytes()));
    work(&ProjectContext { deployments, user: "ada", now, hook, seed: &second.to_string() })
}

/// A request with these fields besides the address.
fn request(fields: &Value) -> ProjectRequest {
    let mut body = json!({ "repository_url": URL });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(body).unwrap()
}

fn resolve(fields: &Value) -> Result<Registration, Vec<InvalidField>> {
    with_context(1, |context| request(fields).resolve(context))
}

fn registered(fields: &Value) -> Registration {
    resolve(fields).unwrap()
}

fn names(errors: Vec<InvalidField>) -> Vec<String> {
    assert!(errors.iter().all(|error| !error.reason.is_empty()));
    errors.into_iter().map(|error| error.field).collect()
}

fn refused(fields: &Value) -> Vec<String> {
    names(resolve(fields).expect_err("the request is refused"))
}

fn patch(before: &Registration, second: i64, fields: Value) -> Result<Registration, Vec<InvalidField>> {
    let patch: ProjectPatch = serde_json::from_value(fields).unwrap();
    with_context(second, |context| patch.apply(&before.project, context))
}

#[test]
fn a_bare_request_gets_every_default() {
    let Registration { project, made } = registered(&json!({}));
    assert_eq!((project.forge, project.user.as_str()), (Forge::Gitlab, "ada"));
    let rules: Vec<_> =
        project.environments.iter().map(|rule| (rule.environment.as_str(), rule.on.clone())).collect();
    assert_eq!(rules, [("default", On::DefaultBranch)]);
    assert!(project.review.is_none() && project.notify.outgoing.is_empty());
    assert!(project.notify.statuses && project.notify.deployments && project.notify.notes);
    let kinds: Vec<_> = project.hook.secrets.iter().map(|secret| (secret.kind, secret.until)).collect();
    assert_eq!(kinds, [(HookSecretKind::Signing, None), (HookSecretKind::Token, None)]);
    let place = hook_context(&project.project.slug);
    let opened = |n: usize| sealer().open(&place, &project.hook.secrets[n].secret).unwrap();
    assert_eq!(opened(0).expose_secret(), made.signing_secret.as_ref().unwrap().expose_secret());
    assert_eq!(opened(1).expose_secret(), made.token.as_ref().unwrap().expose_secret());
    check_secret(HookSecretKind::Signing, Forge::Gitlab, &opened(0)).unwrap();
    check_secret(HookSecretKind::Token, Forge::Gitlab, &opened(1)).unwrap();
}

#[test]
fn other_forges_sign_and_are_told_nothing() {
    let at = |url: &str, forge: Option<Forge>| {
        let request = ProjectRequest { forge, ..ProjectRequest::new(url) };
        with_context(1, |context| request.resolve(context)).unwrap().project
    };
    assert_eq!(at("https://GitHub.com/a/b", None).forge, Forge::Github);
    assert_eq!(at("https://github.com.example.org/a/b", None).forge, Forge::Gitlab);
    let gitea = at("https://git.example.com/a/b", Some(Forge::Gitea));
    for project in [at("https://github.com/a/b", None), gitea] {
        let kinds: Vec<_> = project.hook.secrets.iter().map(|secret| secret.kind).collect();
        assert_eq!(kinds, [HookSecretKind::Signing]);
        assert!(!project.notify.statuses && !project.notify.deployments && !project.notify.notes);
    }
    let fields = json!({
        "forge": "github", "review": {}, "notify": { "statuses": true, "notes": false }, "build": "gitlab",
        "credential": "forge", "hook": { "token": "a token that is long enough" },
    });
    assert_eq!(refused(&fields), ["build", "review", "notify.statuses", "hook.token"]);
}

#[test]
fn what_is_made_follows_from_the_seed_and_differs_between_requests() {
    let made = |second: i64| {
        let hooks = json!({ "notify": { "webhooks": [{ "url": "https://a.example/x" }] } });
        let made = with_context(second, |context| request(&hooks).resolve(context)).unwrap().made;
        let shown = |secret: &secrecy::SecretString| secret.expose_secret().to_owned();
        let (url, webhook) = &made.webhooks[0];
        assert_eq!(url, "https://a.example/x");
        check_signing_secret(webhook).unwrap();
        [shown(&made.signing_secret.unwrap()), shown(&made.token.unwrap()), shown(webhook)]
    };
    assert_eq!(made(1), made(1));
    let (one, two) = (made(1), made(2));
    assert!(one.iter().all(|secret| !two.contains(secret)));
    assert!(one[0] != one[2]);
}

#[test]
fn secrets_that_are_given_are_taken_and_not_shown() {
    let Registration { project, made } = registered(&json!({
        "hook": { "signing_secret": SIGNING, "token": "a token that is long enough" },
        "notify": { "webhooks": [{ "url": "http://127.0.0.1:9/x", "secret": SIGNING }] },
        "env": { "A": "hunter2" },
    }));
    assert!(made.is_empty());
    let slug = &project.project.slug;
    let signing = sealer().open(&hook_context(slug), &project.hook.secrets[0].secret).unwrap();
    assert_eq!(signing.expose_secret(), SIGNING);
    let outgoing = sealer().open(&outgoing_context(slug), &project.notify.outgoing[0].secret).unwrap();
    assert_eq!(outgoing.expose_secret(), SIGNING);
    let kept = serde_json::to_string(&project).unwrap();
    assert!(!kept.contains("hunter2") && !kept.contains("whsec_") && !kept.contains("long enough"));
}

#[test]
fn rules_and_reviews_are_read_as_they_are_written() {
    let project = registered(&json!({
        "environments": [
            { "name": "staging", "default_branch": true, "paths": ["api/**", "*.md"] },
            { "name": "production", "tag": "v*", "target": "edge", "replicas": 0,
              "hostnames": ["shop.example.com"] },
            { "name": "production", "branch": "release/*" },
        ],
        "review": { "target": "edge", "paths": ["api/**"], "forks": true },
    }))
    .project;
    let rules = &project.environments;
    assert_eq!(rules[0].paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["api/**", "*.md"]);
    assert!(rules[0].target.is_none());
    assert_eq!(rules[1].on, On::Tag("v*".parse().unwrap()));
    assert_eq!((rules[1].target.as_ref().unwrap().as_str(), rules[1].replicas), ("edge", Some(0)));
    assert_eq!(rules[2].on, On::Branch("release/*".parse().unwrap()));
    let review = project.review.unwrap();
    assert_eq!((review.environments_max, review.ttl_h), (REVIEWS_DEFAULT, REVIEW_TTL_DEFAULT_H));
    assert!(review.forks && review.target.is_some() && review.paths.len() == 1);
}

#[test]
fn every_wrong_field_is_named() {
    let rule = |fields: Value| json!({ "environments": [fields] });
    let webhook = |url: &str| json!({ "notify": { "webhooks": [{ "url": url }] } });
    let twice = json!({ "name": "a", "branch": "main" });
    let cases = [
        ("port", json!({ "port": 0 })),
        ("credential", json!({ "credential": "../x" })),
        ("pull_credential", json!({ "pull_credential": "../x" })),
        ("build", json!({ "build": "gitlab" })),
        ("pipeline", json!({ "pipeline": {} })),
        ("environments[0].name", rule(json!({ "name": "A", "branch": "main" }))),
        ("environments[0].name", rule(json!({ "name": "review-1", "branch": "main" }))),
        ("environments[0]", rule(json!({ "name": "a" }))),
        ("environments[0]", rule(json!({ "name": "a", "branch": "main", "tag": "v*" }))),
        ("environments[0]", rule(json!({ "name": "a", "branch": "main", "default_branch": true }))),
        ("environments[0].branch", rule(json!({ "name": "a", "branch": "" }))),
        ("environments[0].branch", rule(json!({ "name": "a", "branch": "refs/heads/main" }))),
        ("environments[0].tag", rule(json!({ "name": "a", "tag": "a\\b" }))),
        ("environments[0].paths[1]", rule(json!({ "name": "a", "tag": "v*", "paths": ["a", "/b"] }))),
        ("environments[0].target", rule(json!({ "name": "a", "tag": "v*", "target": "moon" }))),
        ("environments[0].replicas", rule(json!({ "name": "a", "tag": "v*", "replicas": 0 }))),
        ("environments[0].hostnames", rule(json!({ "name": "a", "tag": "v*", "hostnames": ["a.b"] }))),
        ("environments[1]", json!({ "environments": [twice, twice] })),
        ("review.environments_max", json!({ "review": { "environments_max": 0 } })),
        ("review.ttl_h", json!({ "review": { "ttl_h": 100_000 } })),
        ("review.paths[0]", json!({ "review": { "paths": [""] } })),
        ("review.target", json!({ "review": { "target": "moon" } })),
        ("notify.webhooks[0].url", webhook("http://example.com/")),
        ("notify.webhooks[0].url", webhook("https://user@example.com/")),
        ("notify.webhooks[0].url", webhook("ftp://example.com/")),
        ("notify.webhooks[0].url", webhook("https://example.com/#x")),
        ("notify.webhooks[0].url", webhook("/x")),
        (
            "notify.webhooks[0].secret",
            json!({ "notify": { "webhooks": [{ "url": "https://a.example", "secret": "x" }] } }),
        ),
        ("hook.signing_secret", json!({ "hook": { "signing_secret": "not a key at all, sadly" } })),
        ("hook.token", json!({ "hook": { "token": "short" } })),
        ("made.variables", json!({ "made": { "variables": [""] } })),
    ];
    for (field, fields) in cases {
        assert_eq!(refused(&fields), [field], "{fields}");
    }
    let all = json!({ "repository_url": "file:///etc", "environments": [{ "name": "A" }], "port": 0 });
    assert_eq!(refused(&all), ["repository_url", "port", "environments[0]", "environments[0].name"]);
}

#[test]
fn a_receiver_is_told_once_however_its_address_is_written() {
    let hooks = |second: &str| json!({ "notify": { "webhooks": [{ "url": "https://a.example/x" }, { "url": second }] } });
    for same in ["https://a.example/x", "https://A.example/x", "https://a.example:443/x"] {
        assert_eq!(refused(&hooks(same)), ["notify.webhooks[1].url"], "{same}");
    }
    for other in ["https://a.example/X", "https://a.example/x?y", "https://b.example/x"] {
        assert_eq!(registered(&hooks(other)).project.notify.outgoing.len(), 2, "{other}");
    }
}

#[test]
fn a_host_name_belongs_to_one_environment() {
    let rules = |second: &str| {
        let rule = |name: &str, tag: &str| json!({ "name": name, "tag": tag, "target": "edge", "hostnames": ["shop.example.com"] });
        json!({ "environments": [rule("live", "v*"), rule(second, "w*")] })
    };
    assert_eq!(refused(&rules("staging")), ["environments[1].hostnames"]);
    assert_eq!(registered(&rules("live")).project.environments.len(), 2, "two rules of one environment");
}

#[test]
fn results_go_out_encrypted_or_to_this_machine() {
    let addresses =
        ["https://example.com/x?y=1", "http://localhost:8/x", "http://127.0.0.1/", "http://[::1]:80/"];
    for good in addresses {
        let hooks = json!({ "notify": { "webhooks": [{ "url": good }] } });
        assert_eq!(registered(&hooks).project.notify.outgoing[0].url, good);
    }
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    let full = registered(&json!({
        "credential": "forge", "build": "gitlab", "pipeline": { "job": "image" }, "port": 80, "replicas": 2,
        "env": { "A": "1", "B": "2" },
        "supports": [{ "name": "db", "image": "postgres:18", "env": { "P": "x" } }],
        "environments": [{ "name": "live", "tag": "v*" }], "review": {},
        "notify": { "notes": false, "webhooks": [{ "url": "https://a.example/x" }] },
        "made": { "hook": 7 },
    }));
    let same = patch(&full, 9, json!({})).unwrap();
    assert!(same.made.is_empty());
    let mut expected = full.project.clone();
    expected.updated_at = same.project.updated_at;
    assert_eq!(same.project, expected);
    let changed = patch(
        &full,
        9,
        json!({
            "port": null, "env": { "A": null, "C": "3" }, "review": null, "build": "docker", "replicas": 3,
            "notify": { "statuses": false }, "made": null,
        }),
    )
    .unwrap()
    .project;
    let spec = &changed.spec;
    assert_eq!((spec.port, spec.replicas, spec.pipeline.job.as_deref()), (None, 3, None));
    assert_eq!(spec.env.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["B", "C"]);
    let place = env_context(&changed.project);
    let kept: EnvName = "B".parse().unwrap();
    assert_eq!(sealer().open(&place, &spec.env[&kept]).unwrap().expose_secret(), "2");
    assert_eq!((&spec.supports, changed.review.is_none()), (&full.project.spec.supports, true));
    assert!(!changed.notify.statuses && !changed.notify.notes && changed.notify.deployments);
    assert_eq!(changed.notify.outgoing, full.project.notify.outgoing);
    assert_eq!((changed.hook, changed.made.hook), (full.project.hook.clone(), None));
    let cleared = patch(&full, 9, json!({ "env": null, "supports": null, "environments": null })).unwrap();
    assert!(cleared.project.spec.env.is_empty() && cleared.project.spec.supports.is_empty());
    assert_eq!(cleared.project.environments[0].on, On::DefaultBranch);
}

#[test]
fn a_webhook_that_is_known_keeps_its_secret_and_a_new_one_gets_one() {
    let before = registered(&json!({ "notify": { "webhooks": [{ "url": "https://a.example/x" }] } }));
    let wanted = json!({ "notify": {
        "webhooks": [{ "url": "https://b.example/x" }, { "url": "https://a.example/x" }] } });
    let after = patch(&before, 9, wanted).unwrap();
    assert_eq!(after.project.notify.outgoing[1], before.project.notify.outgoing[0]);
    let made: Vec<_> = after.made.webhooks.iter().map(|(url, _)| url.as_str()).collect();
    assert_eq!(made, ["https://b.example/x"]);
    assert!(after.made.signing_secret.is_none() && after.made.token.is_none());
    let gone = patch(&after, 10, json!({ "notify": null })).unwrap();
    assert!(gone.project.notify.outgoing.is_empty());
}

#[test]
fn a_patch_that_names_part_of_an_object_leaves_the_rest_of_it() {
    let before = registered(&json!({
        "build": "gitlab", "pipeline": { "job": "image", "timeout_s": 60 },
        "health": { "path": "/a", "interval_ms": 100 }, "resources": { "pids": 50 },
        "review": { "paths": ["app/**"], "ttl_h": 9, "forks": true },
        "notify": { "notes": false, "webhooks": [{ "url": "https://a.example/x" }] },
        "environments": [{ "name": "live", "tag": "v*" }], "credential": "forge",
    }));
    let after = patch(
        &before,
        9,
        json!({
            "pipeline": { "timeout_s": 90 }, "health": { "path": "/b" }, "resources": { "cpu_millis": 100 },
            "review": { "ttl_h": 24, "forks": null }, "notify": { "statuses": false },
        }),
    );
    let after = after.unwrap();
    let (spec, was) = (&after.project.spec, &before.project.spec);
    assert_eq!((spec.pipeline.job.as_deref(), spec.pipeline.timeout_s), (Some("image"), Some(90)));
    assert_eq!((spec.health.path.as_deref(), spec.health.interval_ms), (Some("/b"), 100));
    assert_eq!((spec.resources.pids, spec.resources.cpu_millis), (was.resources.pids, 100));
    let review = after.project.review.as_ref().unwrap();
    assert_eq!((review.paths.len(), review.ttl_h, review.forks), (1, 24, false));
    let told = &after.project.notify;
    assert_eq!((told.statuses, told.notes, told.outgoing.len()), (false, false, 1));
    let none = patch(&after, 9, json!({ "notify": { "webhooks": null } })).unwrap().project.notify;
    assert_eq!((none.statuses, none.notes, none.outgoing.len()), (false, false, 0));
}

#[test]
fn a_patch_is_refused_by_the_names_of_its_fields() {
    let before = registered(&json!({ "env": { "A": "1" } }));
    for (field, fields) in [
        ("target", json!({ "target": "moon" })),
        ("environments[0].name", json!({ "environments": [{ "name": "review-2", "tag": "v*" }] })),
        ("env.1A", json!({ "env": { "1A": "x" } })),
        ("build", json!({ "build": "gitlab" })),
    ] {
        assert_eq!(names(patch(&before, 9, fields.clone()).unwrap_err()), [field], "{fields}");
    }
    for unknown in [json!({ "repository_url": URL }), json!({ "forge": "github" }), json!({ "port": "x" })] {
        assert!(serde_json::from_value::<ProjectPatch>(unknown).is_err());
    }
    let limit = Config::load(None, Vec::new()).unwrap().limits.env_count_max;
    let many: serde_json::Map<_, _> = (0..limit).map(|n| (format!("V{n}"), json!("x"))).collect();
    assert_eq!(names(patch(&before, 9, json!({ "env": many })).unwrap_err()), ["env"]);
}

#[test]
fn a_secret_that_was_replaced_is_good_for_a_while() {
    let first = registered(&json!({}));
    let second = patch(&first, 100, json!({ "rotate_hook": true })).unwrap();
    let until = |seconds: i64| {
        let begun = Timestamp::from_second(seconds).unwrap();
        Some(begun + SignedDuration::from_hours(HOOK_SECRET_OVERLAP_H))
    };
    let (old, new) = (&first.project.hook, &second.project.hook);
    assert_eq!(old.id, new.id);
    let kinds: Vec<_> = new.secrets.iter().map(|secret| (secret.kind, secret.until)).collect();
    let (signing, token) = (HookSecretKind::Signing, HookSecretKind::Token);
    assert_eq!(kinds, [(signing, None), (token, None), (signing, until(100)), (token, until(100))]);
    assert_eq!(new.secrets[2].secret, old.secrets[0].secret);
    assert!(second.made.signing_secret.is_some() && second.made.token.is_some());
    let third = patch(&second, 200, json!({ "hook": { "signing_secret": SIGNING } })).unwrap();
    let newest = &third.project.hook.secrets;
    assert_eq!(newest.len(), 4, "of each kind the last one and the one before");
    assert_eq!((&newest[2].secret, newest[2].until), (&new.secrets[0].secret, until(200)));
    assert!(third.made.signing_secret.is_none() && third.made.token.is_some());
}

#[test]
fn a_project_is_named_after_its_repository() {
    let project = registered(&json!({})).project;
    assert_eq!(project.project, Project::of(project.repository()));
}

#[test]
fn a_patch_is_sent_as_it_was_meant() {
    let sent = serde_json::to_value(ProjectPatch { port: Some(None), ..ProjectPatch::default() }).unwrap();
    assert_eq!(sent, json!({ "port": null }));
}
