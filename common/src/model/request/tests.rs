//! Tests of the resolution: every field error named by its path, every limit, nothing echoed, secrets sealed.

use secrecy::ExposeSecret as _;

use super::{
    CLUSTER_TOKEN_MAX_BYTES, ClusterRequest, DeploymentRequest, HealthRequest, InvalidField,
    PIPELINE_JOB_MAX_BYTES, PIPELINE_TIMEOUT_MAX_S, PipelineRequest, RequestLimits, ResolveContext,
    ResourceRequest, SupportRequest, cluster_token_context, env_context, token_context,
};
use crate::model::{
    AddressPolicy, BuildMode, CommitMode, CredentialSource, DeploymentSpec, HealthSpec, PipelineSpec,
    Project, Reference, ResourceSpec, ServerAddress, TargetName,
};
use crate::secrets::{KEY_LENGTH_BYTES, Sealer, SecretText};

/// A text that must appear in no answer.
const CANARY: &str = "C4NARY!";

fn limits() -> RequestLimits {
    RequestLimits {
        replicas_max: 10,
        supports_max: 2,
        hostnames_max: 2,
        env_count_max: 3,
        env_total_max_bytes: 100,
        token_max_bytes: 20,
        health_deadline_max_ms: 120_000,
        memory_min_bytes: 6_000_000,
        memory_max_bytes: 1_000_000_000,
        cpu_max_millis: 4_000,
        pids_max: 1_000,
    }
}

fn sealer() -> Sealer {
    Sealer::new(&[7; KEY_LENGTH_BYTES])
}

fn resolve(request: &DeploymentRequest) -> Result<(Project, DeploymentSpec), Vec<InvalidField>> {
    let targets: [TargetName; 5] =
        ["local", "edge", "north", "south", "inside"].map(|name| name.parse().unwrap());
    let servers: [(TargetName, ServerAddress); 3] = [
        (targets[1].clone(), "https://edge.example:6443".parse().unwrap()),
        (targets[2].clone(), "https://k.example".parse().unwrap()),
        (targets[3].clone(), "https://k.example".parse().unwrap()),
    ];
    let (limits, sealer) = (limits(), sealer());
    let addresses = AddressPolicy::default();
    request.resolve(&ResolveContext {
        addresses: &addresses,
        limits: &limits,
        targets: &targets,
        clusters: &targets[1..],
        servers: &servers,
        sealer: &sealer,
    })
}

fn request(change: impl FnOnce(&mut DeploymentRequest)) -> DeploymentRequest {
    let mut request = DeploymentRequest::new("https://git.example.com/team/shop");
    change(&mut request);
    request
}

/// The paths of all fields that are refused.
fn refused(change: impl FnOnce(&mut DeploymentRequest)) -> Vec<String> {
    let errors = resolve(&request(change)).expect_err("the request is refused");
    assert!(errors.iter().all(|error| !error.reason.is_empty()));
    errors.into_iter().map(|error| error.field).collect()
}

fn accepted(change: impl FnOnce(&mut DeploymentRequest)) -> DeploymentSpec {
    resolve(&request(change)).expect("the request is fine").1
}

fn support(name: &str, image: &str) -> SupportRequest {
    SupportRequest { name: name.to_owned(), image: image.to_owned(), port: None, env: [].into() }
}

fn cluster(server: Option<&str>, token: Option<&str>) -> Option<ClusterRequest> {
    let token = token.map(|token| SecretText::from(token.to_owned()));
    Some(ClusterRequest { server: server.map(str::to_owned), token })
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_bare_request_gets_every_default() {
    let (project, spec) = resolve(&request(|_| {})).unwrap();
    assert_eq!(project.path, "team/shop");
    assert_eq!(spec.reference, Reference::DefaultBranch);
    assert_eq!((spec.environment.as_str(), spec.target.as_str()), ("default", "local"));
    assert_eq!(
        (spec.port, spec.replicas, spec.build, spec.commit),
        (None, 1, BuildMode::Auto, CommitMode::Push)
    );
    assert_eq!((spec.health, spec.resources), (HealthSpec::default(), ResourceSpec::default()));
    assert!(
        spec.env.is_empty() && spec.supports.is_empty() && spec.image.is_none() && spec.credential.is_none()
    );
}

#[test]
fn what_is_given_is_taken_over() {
    let spec = accepted(|request| {
        request.branch = text("feature/x");
        request.environment = text("review-42");
        request.target = text("edge");
        request.port = Some(8080);
        request.replicas = Some(10);
        request.commit = Some(CommitMode::MergeRequest);
        request.credential = text("forge");
        request.health = Some(HealthRequest {
            path: text("/healthz"),
            interval_ms: Some(50),
            timeout_ms: Some(100),
            deadline_ms: Some(120_000),
        });
        request.resources =
            Some(ResourceRequest { memory_bytes: Some(6_000_000), cpu_millis: Some(10), pids: Some(1) });
        request.supports = vec![support("db", "postgres:18"), support("cache", "redis")];
    });
    assert!(matches!(&spec.reference, Reference::Branch(branch) if branch.as_str() == "feature/x"));
    assert_eq!((spec.environment.as_str(), spec.target.as_str()), ("review-42", "edge"));
    assert_eq!((spec.port, spec.replicas, spec.commit), (Some(8080), 10, CommitMode::MergeRequest));
    assert!(matches!(&spec.credential, Some(CredentialSource::Named(name)) if name.as_str() == "forge"));
    assert_eq!((spec.health.path.as_deref(), spec.health.timeout_ms), (Some("/healthz"), 100));
    assert_eq!((spec.resources.memory_bytes, spec.resources.pids), (6_000_000, 1));
    assert_eq!(spec.supports.len(), 2);
}

#[test]
fn every_simple_field_is_named_when_refused() {
    type Change = fn(&mut DeploymentRequest);
    let cases: [(&str, Change); 24] = [
        ("repository_url", |r| r.repository_url = "ext::sh -c id".to_owned()),
        ("repository_url", |r| r.repository_url = "http://git.example.com/team/shop".to_owned()),
        ("branch", |r| r.branch = text("../x")),
        ("revision", |r| r.revision = text("--upload-pack=id")),
        ("revision", |r| (r.branch, r.revision) = (text("main"), text("v1"))),
        ("environment", |r| r.environment = text("Not A Name")),
        ("target", |r| r.target = text("elsewhere")),
        ("target", |r| r.target = text("-")),
        ("port", |r| r.port = Some(0)),
        ("replicas", |r| r.replicas = Some(0)),
        ("replicas", |r| r.replicas = Some(11)),
        ("image", |r| r.image = text("NOT an image")),
        ("build", |r| r.build = Some(BuildMode::None)),
        ("build", |r| (r.build, r.image) = (Some(BuildMode::Docker), text("redis"))),
        ("build", |r| r.build = Some(BuildMode::Gitlab)),
        ("build", |r| {
            (r.build, r.image, r.credential) = (Some(BuildMode::Gitlab), text("redis"), text("forge"));
        }),
        ("pull_credential", |r| r.pull_credential = text("../../etc")),
        ("credential", |r| r.credential = text("../../etc")),
        ("credential", |r| (r.credential, r.repository_token) = (text("a"), Some("t".to_owned().into()))),
        ("repository_token", |r| r.repository_token = Some(String::new().into())),
        ("repository_token", |r| r.repository_token = Some("x".repeat(21).into())),
        ("repository_token", |r| r.repository_token = Some("a\r\nb".to_owned().into())),
        ("supports", |r| r.supports = ["a", "b", "c"].map(|name| support(name, "redis")).into()),
        ("supports[1].name", |r| r.supports = vec![support("db", "redis"), support("db", "redis")]),
    ];
    for (number, (field, change)) in cases.into_iter().enumerate() {
        assert_eq!(refused(change), [field], "case {number}");
    }
}

#[test]
fn every_health_and_resource_limit_holds() {
    let health = |interval_ms, timeout_ms, deadline_ms| {
        move |r: &mut DeploymentRequest| {
            r.health = Some(HealthRequest { path: None, interval_ms, timeout_ms, deadline_ms });
        }
    };
    assert_eq!(refused(health(Some(49), None, None)), ["health.interval_ms"]);
    assert_eq!(refused(health(Some(60_001), None, None)), ["health.interval_ms"]);
    assert_eq!(refused(health(None, Some(0), None)), ["health.timeout_ms"]);
    assert_eq!(refused(health(None, Some(101), Some(100))), ["health.timeout_ms"]);
    assert_eq!(refused(health(None, None, Some(120_001))), ["health.deadline_ms"]);
    for path in ["healthz", "/a b", "/a\n", &format!("/{}", "x".repeat(1_024))] {
        let fields =
            refused(|r| r.health = Some(HealthRequest { path: text(path), ..HealthRequest::default() }));
        assert_eq!(fields, ["health.path"], "{path:?}");
    }
    let resources = |memory_bytes, cpu_millis, pids| {
        move |r: &mut DeploymentRequest| {
            r.resources = Some(ResourceRequest { memory_bytes, cpu_millis, pids })
        }
    };
    assert_eq!(refused(resources(Some(5_999_999), None, None)), ["resources.memory_bytes"]);
    assert_eq!(refused(resources(Some(1_000_000_001), None, None)), ["resources.memory_bytes"]);
    assert_eq!(refused(resources(None, Some(9), None)), ["resources.cpu_millis"]);
    assert_eq!(refused(resources(None, Some(4_001), None)), ["resources.cpu_millis"]);
    assert_eq!(refused(resources(None, None, Some(0))), ["resources.pids"]);
    assert_eq!(refused(resources(None, None, Some(1_001))), ["resources.pids"]);
}

#[test]
fn a_pipeline_builds_with_a_credential_and_within_limits() {
    let by_pipeline = |pipeline: PipelineRequest| {
        move |r: &mut DeploymentRequest| {
            (r.build, r.credential, r.pipeline) = (Some(BuildMode::Gitlab), text("forge"), Some(pipeline));
        }
    };
    let full = PipelineRequest {
        image: text("registry.example.com:5050/group/shop"),
        job: text("image"),
        timeout_s: Some(PIPELINE_TIMEOUT_MAX_S),
    };
    let spec = accepted(by_pipeline(full));
    assert_eq!(spec.build, BuildMode::Gitlab);
    assert_eq!((spec.pipeline.job.as_deref(), spec.pipeline.timeout_s), (Some("image"), Some(86_400)));
    assert_eq!(spec.pipeline.image.unwrap().as_str(), "registry.example.com:5050/group/shop");
    let by_token = accepted(|r| {
        (r.build, r.repository_token) = (Some(BuildMode::Gitlab), Some("t".to_owned().into()));
    });
    assert_eq!(by_token.pipeline, PipelineSpec::default());
    let digest = format!("group/shop@sha256:{}", "a".repeat(64));
    for image in ["group/shop:latest", "Group/Shop", "", &digest] {
        let pipeline = PipelineRequest { image: text(image), ..PipelineRequest::default() };
        assert_eq!(refused(by_pipeline(pipeline)), ["pipeline.image"], "{image}");
    }
    for job in ["", "a\nb", &"x".repeat(PIPELINE_JOB_MAX_BYTES + 1)] {
        let pipeline = PipelineRequest { job: text(job), ..PipelineRequest::default() };
        assert_eq!(refused(by_pipeline(pipeline)), ["pipeline.job"]);
    }
    for timeout_s in [0, PIPELINE_TIMEOUT_MAX_S + 1] {
        let pipeline = PipelineRequest { timeout_s: Some(timeout_s), ..PipelineRequest::default() };
        assert_eq!(refused(by_pipeline(pipeline)), ["pipeline.timeout_s"]);
    }
    assert_eq!(refused(|r| r.pipeline = Some(PipelineRequest::default())), ["pipeline"]);
}

#[test]
fn host_names_are_for_clusters_and_limited() {
    let on_cluster = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        move |request: &mut DeploymentRequest| {
            request.target = text("edge");
            request.hostnames = names;
        }
    };
    let spec = accepted(on_cluster(&["b.example.com", "a.example.com"]));
    let names: Vec<&str> = spec.hostnames.iter().map(crate::model::Hostname::as_str).collect();
    assert_eq!(names, ["a.example.com", "b.example.com"]);
    assert_eq!(refused(on_cluster(&["a.example.com", "Not_A_Name"])), ["hostnames[1]"]);
    assert_eq!(refused(on_cluster(&["a.example.com", "a.example.com"])), ["hostnames[1]"]);
    assert_eq!(refused(on_cluster(&["a.b", "c.d", "e.f"])), ["hostnames"]);
    assert_eq!(refused(|request| request.hostnames = vec!["a.example.com".to_owned()]), ["hostnames"]);
}

#[test]
fn a_cluster_may_be_named_by_its_address() {
    for server in ["https://edge.example:6443", "https://edge.example:6443/", "HTTPS://Edge.Example:6443"] {
        let spec = accepted(|request| request.cluster = cluster(Some(server), None));
        assert_eq!((spec.target.as_str(), spec.cluster_token), ("edge", None), "{server}");
    }
    let both = |target: &'static str, server: &'static str| {
        move |request: &mut DeploymentRequest| {
            (request.target, request.cluster) = (text(target), cluster(Some(server), None));
        }
    };
    assert_eq!(accepted(both("edge", "https://edge.example:6443/")).target.as_str(), "edge");
    assert_eq!(accepted(both("south", "https://k.example:443")).target.as_str(), "south");
    for (target, server) in [
        ("local", "https://edge.example:6443"),
        ("north", "https://edge.example:6443"),
        ("inside", "https://k.example"),
    ] {
        assert_eq!(refused(both(target, server)), ["cluster.server"], "{target} at {server}");
    }
    assert_eq!(refused(both("elsewhere", "https://k.example")), ["target"]);
}

#[test]
fn an_address_that_is_no_targets_is_refused() {
    let reason = |server: &str| {
        let request = request(|request| request.cluster = cluster(Some(server), None));
        let errors = resolve(&request).expect_err("the request is refused");
        assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["cluster.server"]);
        errors[0].reason.clone()
    };
    for unknown in ["https://169.254.169.254", "https://edge.example", "https://kubernetes.default.svc"] {
        let reason = reason(unknown);
        assert!(reason.contains("`server` of a `[kubernetes.NAME]`"), "{unknown}: {reason}");
    }
    assert!(reason("http://edge.example:6443").contains("https"));
    let several = reason("https://k.example");
    assert!(several.contains("north, south") && several.contains("`target`"), "{several}");
}

#[test]
fn a_cluster_token_is_for_clusters_and_limited() {
    let on = |target: &'static str, token: String| {
        move |request: &mut DeploymentRequest| {
            (request.target, request.cluster) = (text(target), cluster(None, Some(&token)));
        }
    };
    for good in ["t".to_owned(), "x".repeat(CLUSTER_TOKEN_MAX_BYTES)] {
        assert!(accepted(on("inside", good)).cluster_token.is_some());
    }
    let too_long = "x".repeat(CLUSTER_TOKEN_MAX_BYTES + 1);
    for bad in [String::new(), too_long, "a b".to_owned(), "a\r\nb".to_owned(), "\u{e9}".to_owned()] {
        assert_eq!(refused(on("inside", bad)), ["cluster.token"]);
    }
    assert_eq!(refused(on("local", "t".to_owned())), ["cluster.token"], "an engine takes no token");
    assert_eq!(refused(|request| request.cluster = cluster(None, Some("t"))), ["cluster.token"]);
    assert!(accepted(|request| request.cluster = cluster(None, None)).cluster_token.is_none());
}

#[test]
fn only_a_cluster_keeps_an_application_that_rests() {
    assert_eq!(refused(|request| request.replicas = Some(0)), ["replicas"]);
    let resting = accepted(|request| (request.target, request.replicas) = (text("edge"), Some(0)));
    assert_eq!(resting.replicas, 0);
    assert_eq!(
        refused(|request| (request.target, request.replicas) = (text("edge"), Some(11))),
        ["replicas"]
    );
}

#[test]
fn every_environment_limit_holds() {
    let env = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretText::from((*value).to_owned())))
            .collect()
    };
    assert_eq!(refused(|r| r.env = env(&[("1A", "x")])), ["env.1A"]);
    assert_eq!(refused(|r| r.env = env(&[("A", "x\0y")])), ["env.A"]);
    assert_eq!(refused(|r| r.env = env(&[("A", ""), ("B", ""), ("C", ""), ("D", "")])), ["env"]);
    accepted(|r| r.env = env(&[("A", &"x".repeat(99))]));
    assert_eq!(refused(|r| r.env = env(&[("A", &"x".repeat(100))])), ["env"]);
    let fields = refused(|r| {
        r.env = env(&[("A", &"x".repeat(60))]);
        r.supports = vec![SupportRequest { env: env(&[("A", &"x".repeat(60))]), ..support("db", "redis") }];
    });
    assert_eq!(fields, ["env"], "the containers' variables count together");
    let fields = refused(|r| {
        r.supports =
            vec![SupportRequest { env: env(&[("a b", "x")]), port: Some(0), ..support("D_B", "Redis") }];
    });
    let named = ["name", "image", "port", "env.ab"].map(|field| format!("supports[0].{field}"));
    assert_eq!(fields, named);
}

#[test]
fn all_errors_are_told_at_once() {
    let fields = refused(|r| {
        r.repository_url = "file:///etc/passwd".to_owned();
        r.environment = text("A");
        r.replicas = Some(0);
        r.health = Some(HealthRequest { interval_ms: Some(1), ..HealthRequest::default() });
        r.supports = vec![support("", "")];
    });
    let expected = [
        "repository_url",
        "environment",
        "replicas",
        "supports[0].name",
        "supports[0].image",
        "health.interval_ms",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn no_value_is_echoed() {
    let bad = |suffix: &str| format!("{CANARY} {suffix}");
    let request = request(|r| {
        r.repository_url = bad("url");
        r.branch = text(&bad("branch"));
        r.environment = text(&bad("environment"));
        r.target = text(&bad("target"));
        r.image = text(&bad("image"));
        r.repository_token = Some(bad("token").into());
        r.cluster = cluster(Some(&bad("server")), Some(&bad("token")));
        r.env = [("A".to_owned(), format!("{CANARY}\0").into())].into();
        r.supports = vec![support(&bad("name"), &bad("image"))];
        r.health = Some(HealthRequest { path: text(CANARY), ..HealthRequest::default() });
    });
    let errors = resolve(&request).expect_err("nothing about it is right");
    assert!(errors.len() >= 10, "{errors:?}");
    assert!(!format!("{errors:?}").contains(CANARY), "{errors:?}");
    assert!(!format!("{:?}", request.env).contains(CANARY));
    let shown = cluster(None, Some(CANARY)).map(|cluster| format!("{cluster:?}"));
    assert!(!shown.unwrap_or_default().contains(CANARY));
}

#[test]
fn secrets_are_sealed_for_their_place() {
    let (project, spec) = resolve(&request(|r| {
        r.repository_token = Some(CANARY.to_owned().into());
        r.cluster = cluster(Some("https://edge.example:6443"), Some(CANARY));
        r.env = [("PASSWORD".to_owned(), CANARY.to_owned().into())].into();
        r.supports = vec![SupportRequest {
            env: [("PW".to_owned(), CANARY.to_owned().into())].into(),
            ..support("db", "redis")
        }];
    }))
    .unwrap();
    let shown = format!("{spec:?} {}", serde_json::to_string(&spec).unwrap());
    assert!(!shown.contains(CANARY));
    let Some(CredentialSource::Inline(token)) = &spec.credential else { panic!("an inline token") };
    let opened = sealer().open(&token_context(&project), token).unwrap();
    assert_eq!(opened.expose_secret(), CANARY);
    assert!(sealer().open(&env_context(&project), token).is_err(), "a token is no variable");
    let token = spec.cluster_token.as_ref().expect("a cluster token");
    let opened = sealer().open(&cluster_token_context(&project, &spec.target), token).unwrap();
    assert_eq!(opened.expose_secret(), CANARY);
    let elsewhere = cluster_token_context(&project, &"north".parse().unwrap());
    assert!(sealer().open(&elsewhere, token).is_err(), "it is for one target");
    assert!(sealer().open(&token_context(&project), token).is_err(), "it is for no repository");
    for sealed in spec.env.values().chain(spec.supports[0].env.values()) {
        assert_eq!(sealer().open(&env_context(&project), sealed).unwrap().expose_secret(), CANARY);
    }
}
