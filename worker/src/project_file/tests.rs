//! The file of a project: what is read of it, and how what is wrong is told.

use proptest::prelude::*;
use slipway_common::contract::sample;
use slipway_common::model::registered::{NotifySettings, On};
use slipway_common::model::{HealthSpec, ResourceSpec};

use super::*;
use crate::source::{MemoryTree, SourceKind};

const WHOLE: &str = r#"# How this repository is deployed.
version: 1
environments:
  - name: production
    default_branch: true
    paths: ["api/**", go.mod]
    replicas: 3
    hostnames: [shop.example.com]
  - name: staging
    branch: release/*
    target: cluster
  - name: versions
    tag: "v*"
review:
  environments_max: 5
  ttl_h: 24
  forks: true
notify:
  notes: false
port: 8080
replicas: 2
health:
  path: /health
  timeout_ms: 500
resources:
  memory_bytes: 268435456
build: gitlab
commit: merge_request
pipeline:
  image: registry.example.com/team/shop
  job: build image
  timeout_s: 900
"#;

fn limits() -> RequestLimits {
    RequestLimits {
        replicas_max: 32,
        supports_max: 8,
        hostnames_max: 1,
        env_count_max: 8,
        env_total_max_bytes: 1_024,
        token_max_bytes: 1_024,
        health_deadline_max_ms: 600_000,
        memory_min_bytes: 6_291_456,
        memory_max_bytes: 1 << 30,
        cpu_max_millis: 4_000,
        pids_max: 1_000,
    }
}

/// The errors of a text as `line:column field reason`.
fn errors(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err(text);
    let told =
        |error: &FileError| format!("{}:{} {} {}", error.line, error.column, error.field, error.reason);
    errors.iter().map(told).collect()
}

/// Asserts that the one error of a text begins so.
fn assert_error(text: &str, begin: &str) {
    let errors = errors(text);
    assert_eq!(errors.len(), 1, "{text:?}: {errors:?}");
    assert!(errors[0].starts_with(begin), "{text:?}: {errors:?}");
}

#[test]
fn a_whole_file_is_read() {
    let file = parse(WHOLE).unwrap();
    file.check(&limits()).unwrap();
    let rules = file.environments().unwrap();
    let on: Vec<&On> = rules.iter().map(|rule| &rule.on).collect();
    let expected =
        [On::DefaultBranch, On::Branch("release/*".parse().unwrap()), On::Tag("v*".parse().unwrap())];
    assert_eq!(on, expected.iter().collect::<Vec<_>>());
    assert_eq!((rules[0].paths.len(), rules[0].replicas, rules[0].hostnames.len()), (2, Some(3), 1));
    assert_eq!(rules[1].target.as_ref().map(ToString::to_string).as_deref(), Some("cluster"));
    let review = file.review().unwrap().unwrap();
    assert_eq!((review.environments_max, review.ttl_h, review.forks), (5, 24, true));
    let mut notify = NotifySettings::default();
    file.notify().unwrap().apply(&mut notify);
    assert_eq!((notify.statuses, notify.deployments, notify.notes), (true, true, false));
}

#[test]
fn what_concerns_one_deployment_takes_the_place_of_what_was_registered() {
    let mut spec = sample::spec("shop");
    spec.pipeline.job = Some("other".to_owned());
    parse(WHOLE).unwrap().apply(&mut spec, &limits()).unwrap();
    assert_eq!((spec.port, spec.replicas), (Some(8080), 2));
    assert_eq!((spec.build, spec.commit), (BuildMode::Gitlab, CommitMode::MergeRequest));
    assert_eq!(
        spec.health,
        HealthSpec { path: Some("/health".to_owned()), timeout_ms: 500, ..HealthSpec::default() }
    );
    assert_eq!(spec.resources, ResourceSpec { memory_bytes: 268_435_456, ..ResourceSpec::default() });
    assert_eq!(spec.pipeline.image.as_ref().unwrap().as_str(), "registry.example.com/team/shop");
    assert_eq!((spec.pipeline.job.as_deref(), spec.pipeline.timeout_s), (Some("build image"), Some(900)));
}

#[test]
fn what_the_file_does_not_say_stays_as_it_is() {
    let before = sample::spec("shop");
    for text in ["", "# nothing\n", "---\n", "version: 1\n", "\u{feff}version: 1\r\n"] {
        let file = parse(text).unwrap_or_else(|errors| panic!("{text:?}: {errors:?}"));
        let mut spec = before.clone();
        file.apply(&mut spec, &limits()).unwrap();
        assert_eq!(spec, before, "{text:?}");
        assert!(file.environments().is_none() && file.review().is_none() && file.notify().is_none());
    }
}

#[test]
fn review_is_switched_or_described() {
    assert_eq!(parse("review: false\n").unwrap().review(), Some(None));
    assert_eq!(parse("review: true\n").unwrap().review(), Some(Some(ReviewRule::default())));
    assert_eq!(parse("environments: []\n").unwrap().environments(), Some(Vec::new()));
    assert_error("review: yes\n", "1:9 review must be a mapping");
    assert_error("review: \"true\"\n", "1:9 review must be a mapping");
}

#[test]
fn every_error_has_its_place_and_all_are_told_at_once() {
    let text = "\
port: 0
replicas: many
build: none
enviroments: []
environments:
  - name: production
  - name: Staging!
    branch: main
    tag: v1
  - name: review-7
    default_branch: false
health:
  interval_ms: 10
  path: health
";
    let found = errors(text);
    let begins = [
        "1:7 port must be a whole number from 1 to 65535",
        "2:11 replicas must be a whole number",
        "3:8 build must be one of `auto`, `docker`, `gitlab`",
        "4:1 enviroments is no key that is known here; there are `version`, `environments`,",
        "6:5 environments[0] needs one of `branch`, `tag`",
        "7:11 environments[1].name ",
        "9:10 environments[1].tag is too much",
        "10:11 environments[2].name is the name of a merge request's environment",
        "11:21 environments[2].default_branch must be true",
        "13:16 health.interval_ms must be a whole number from 50 to 60000",
        "14:9 health.path must begin with `/`",
    ];
    assert_eq!(found.len(), begins.len(), "{found:#?}");
    for (found, begin) in found.iter().zip(begins) {
        assert!(found.starts_with(begin), "{found:?} is not {begin:?}");
    }
}

#[test]
fn secrets_and_variables_are_not_read_and_the_error_says_where_they_belong() {
    assert_error("env:\n  TOKEN: abc\n", "1:1 env is not read from the repository: variables");
    assert_error("credential: x\n", "1:1 credential is not read from the repository: credentials");
    assert!(!errors("env: {A: hunter2}\n").concat().contains("hunter2"));
}

#[test]
fn what_yaml_has_beyond_plain_values_is_refused_where_it_stands() {
    for (text, begin) in [
        ("port: &p 80\n", "1:10  anchors and tags"),
        ("commit: !!str push\n", "1:15  anchors and tags"),
        ("environments:\n  - {name: a, branch: *x}\n", "2:23  aliases"),
        ("port: 80\n---\nport: 81\n", "2:1  the file must be one document"),
        ("port: 80\nport: 81\n", "2:1 port is given twice; it stands in line 1"),
        ("? [a]\n: 1\n", "1:3  a key must be a word"),
        ("- 1\n", "1:1  must be a mapping"),
        ("text\n", "1:1  must be a mapping"),
        ("port: [1\n", "1:7  this is no YAML"),
        ("%YAML 1.2\n---\nport: 1\n", "1:1  this is no YAML"),
    ] {
        assert_error(text, begin);
    }
}

#[test]
fn an_alias_that_is_meant_as_a_pattern_is_explained() {
    let found = errors("environments:\n  - name: a\n    branch: *\n").concat();
    assert!(found.starts_with("3:"), "{found}");
}

#[test]
fn bombs_are_refused_before_anything_is_expanded() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n";
    assert!(errors(bomb).len() > 10);
    let deep = format!("a: {}\n", "[".repeat(5_000));
    assert_eq!(errors(&deep).len(), 1);
    let blocks: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(errors(&blocks).iter().any(|error| error.contains("nest") || error.contains("YAML")), "{blocks}");
    let many = format!("environments: [{}]\n", "1,".repeat(node::NODES_MAX));
    assert!(errors(&many).concat().contains("more than 4000 values"));
    assert_error(&"#".repeat(PROJECT_FILE_MAX_BYTES + 1), "1:1  the file has 65537 bytes");
    let unknown: String = (0..1_000).map(|number| format!("k{number}: 1\n")).collect();
    assert_eq!(errors(&unknown).len(), FILE_ERRORS_MAX);
}

#[test]
fn two_rules_that_say_the_same_are_one_too_many() {
    let text = "environments:\n  - {name: a, branch: main}\n  - {name: a, branch: main, replicas: 2}\n";
    assert_error(text, "3:5 environments[1] says the same as the rule in line 2");
    let apart = "environments:\n  - {name: a, branch: main}\n  - {name: a, tag: main}\n";
    assert_eq!(parse(apart).unwrap().environments().unwrap().len(), 2);
}

#[test]
fn limits_of_the_installation_are_told_with_their_place() {
    let text = "\
replicas: 33
health: {deadline_ms: 700000}
resources:
  memory_bytes: 1
  cpu_millis: 5000
environments:
  - {name: a, branch: main, replicas: 99, hostnames: [a.example.com, b.example.com]}
";
    let found = parse(text).unwrap().check(&limits()).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "line 1, column 11: `replicas` must be from 1 to 32",
            "line 2, column 23: `health.deadline_ms` must be from 1 to 600000",
            "line 4, column 17: `resources.memory_bytes` must be from 6291456 to 1073741824",
            "line 5, column 15: `resources.cpu_millis` must be from 10 to 4000",
            "line 7, column 39: `environments[0].replicas` must be from 1 to 32",
            "line 7, column 54: `environments[0].hostnames` has 2 names, more than the limit of 1",
        ]
    );
    let mut spec = sample::spec("shop");
    let before = spec.clone();
    assert!(parse(text).unwrap().apply(&mut spec, &limits()).is_err());
    let health = "port: 99\nhealth: {timeout_ms: 90000}\n";
    let found = parse(health).unwrap().apply(&mut spec, &limits()).unwrap_err();
    assert_eq!((found[0].line, found[0].field.as_str()), (2, "health"));
    assert_eq!(spec, before, "what is refused changes nothing");
}

#[test]
fn an_image_of_the_pipeline_has_no_tag_of_its_own() {
    let with_image = |name: &str| format!("pipeline: {{image: \"registry.example.com:5000/{name}\"}}\n");
    assert_error(&with_image("a:latest"), "1:19 pipeline.image must have no tag");
    assert!(parse(&with_image("a")).is_ok());
}

#[test]
fn the_file_is_found_in_the_tree() {
    assert!(read(&MemoryTree::of([("docs/slipway.yml", "port: x")])).unwrap().is_none());
    assert_eq!(read(&MemoryTree::of([(PROJECT_FILE, "port: 80\n")])).unwrap().unwrap().port, Some(80));
    let error = read(&MemoryTree::of([(PROJECT_FILE, "a: 1\nb: 1\nc: 1\nd: 1\n")])).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("slipway.yml: line 1, column 1: `a` is no key"), "{text}");
    assert!(text.ends_with("; and 1 more"), "{text}");
    assert_eq!((error.code(), error.class()), ("project_file_invalid", FailureClass::Permanent));
    let mut tree = MemoryTree::default();
    tree.insert(PROJECT_FILE, SourceKind::Symlink, "/etc/passwd");
    assert!(read(&tree).unwrap_err().to_string().contains("no link"));
    let large = MemoryTree::of([(PROJECT_FILE, vec![b'#'; PROJECT_FILE_MAX_BYTES + 1])]);
    assert!(read(&large).unwrap_err().to_string().contains("65537 bytes"));
    let binary = MemoryTree::of([(PROJECT_FILE, b"port: 80\nx\xff".to_vec())]);
    assert!(read(&binary).unwrap_err().to_string().contains("line 2, column 2: the file is not valid UTF-8"));
}

/// Asserts that every error of `text` stands inside it.
fn assert_inside(text: &str) {
    let Err(errors) = parse(text) else { return };
    let lines: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    assert!(!errors.is_empty() && errors.len() <= FILE_ERRORS_MAX);
    for error in errors {
        let length = lines.get(error.line - 1).copied();
        let inside = length.is_some_and(|length| (1..=length + 1).contains(&error.column));
        assert!(inside, "{error:?} is outside of {text:?}");
        assert!(!error.reason.is_empty() && !error.to_string().contains('\n'), "{error:?}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,200}") {
        assert_inside(&text);
    }

    #[test]
    fn no_yaml_is_too_strange(
        text in "[-a-z:#&*!|>'\"%@`{}\\[\\],? \t\r\n\u{85}\u{2028}\u{feff}é0-9.~<=\\\\]{0,120}",
    ) {
        assert_inside(&text);
    }

    #[test]
    fn a_file_that_was_changed_somewhere_is_read_or_refused(
        at in 0..WHOLE.len(),
        taken in 0..8_usize,
        put in "[-a-z:#&*!|{}\\[\\], \n\t0-9~]{0,6}",
    ) {
        let end = (at + taken).min(WHOLE.len());
        assert_inside(&format!("{}{put}{}", &WHOLE[..at], &WHOLE[end..]));
    }
}
