//! Tests of loading and checking settings.

use super::{Config, ConfigError, DEFAULTS};

fn load(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(None, pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn the_defaults_are_complete_and_fit_each_other() {
    let config = load(&[]).unwrap();
    assert_eq!(config.server.listen.port(), 8640);
    assert!(!config.auth.open_loopback);
}

#[test]
fn a_file_overrides_the_defaults_and_the_environment_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slipway.toml");
    std::fs::write(&path, "[worker]\nslots = 7\nattempts_max = 9\n").unwrap();
    let environment = [("SLIPWAY__WORKER__SLOTS".to_owned(), "3".to_owned())];
    let config = Config::load(Some(&path), environment).unwrap();
    assert_eq!((config.worker.slots, config.worker.attempts_max), (3, 9));
}

#[test]
fn an_unknown_setting_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slipway.toml");
    std::fs::write(&path, "[worker]\nslotz = 7\n").unwrap();
    let error = Config::load(Some(&path), []).unwrap_err();
    assert!(error.to_string().contains("slotz"), "{error}");
    let error = load(&[("SLIPWAY__GIT__HTPT", "never")]).unwrap_err();
    assert!(error.to_string().contains("htpt"), "{error}");
}

#[test]
fn a_setting_of_the_wrong_kind_is_refused_with_its_path() {
    let error = load(&[("SLIPWAY__WORKER__SLOTS", "many")]).unwrap_err();
    assert!(error.to_string().contains("worker.slots"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(std::path::Path::new("/nonexistent.toml")), []).unwrap_err();
    assert!(error.to_string().contains("/nonexistent.toml"), "{error}");
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    for (name, value) in [
        ("SLIPWAY__WORKER__CLAIM_RENEW_MS", "8000"),
        ("SLIPWAY__WORKER__SLOTS", "0"),
        ("SLIPWAY__WORKER__ATTEMPTS_MAX", "0"),
        ("SLIPWAY__WORKER__CRASHES_MAX", "0"),
        ("SLIPWAY__WORKER__BACKOFF_MIN_MS", "90000"),
        ("SLIPWAY__WORKER__APPLY_TIMEOUT_S", "600"),
        ("SLIPWAY__GATEWAY__PORT_MIN", "40000"),
        ("SLIPWAY__SERVER__REQUEST_BODY_MAX_BYTES", "65536"),
        ("SLIPWAY__LIMITS__MEMORY_MIN_BYTES", "99999999999"),
        ("SLIPWAY__GIT__MIRRORS_MAX_BYTES", "1"),
        ("SLIPWAY__DATA__KEEP_FINISHED_DAYS", "6"),
        ("SLIPWAY__DOCKER__PUSH_CREDENTIAL", "registry"),
        ("SLIPWAY__TEMPLATES__CI_BUILDER", "kaniko"),
        ("SLIPWAY__SERVER__ANSWER_TIMEOUT_MS", "2500"),
    ] {
        assert!(matches!(load(&[(name, value)]), Err(ConfigError::Relation(_))), "{name}={value}");
    }
}

#[test]
fn the_public_address_is_an_origin_and_nothing_else() {
    let with = |url: &str| load(&[("SLIPWAY__SERVER__PUBLIC_URL", url)]);
    for good in [
        "",
        "https://slipway.example.com",
        "https://slipway.example.com/",
        "http://10.0.0.7:8640",
        "http://[::1]:8640",
    ] {
        assert_eq!(with(good).map(|config| config.server.public_url).unwrap(), good);
    }
    for bad in [
        "slipway.example.com",
        "https:slipway.example.com",
        "ftp://slipway.example.com",
        "https://",
        "https://slipway.example.com/base",
        "https://slipway.example.com//",
        "https://slipway.example.com?x=1",
        "https://slipway.example.com#x",
        "https://user@slipway.example.com",
        "https://user:password@slipway.example.com",
        "https://slipway.example.com\n",
        "https://slipway example.com",
    ] {
        let refused = with(bad).expect_err(bad).to_string();
        assert!(refused.contains("server.public_url"), "{bad}: {refused}");
        assert!(!refused.contains("password@"), "{refused}");
    }
}

#[test]
fn a_cluster_is_reached_in_exactly_one_way() {
    let cluster = |settings: &[(&str, &str)]| {
        let name = |key: &str| format!("SLIPWAY__KUBERNETES__EDGE__{}", key.to_uppercase());
        Config::load(None, settings.iter().map(|(key, value)| (name(key), (*value).to_owned())))
    };
    let good = cluster(&[("kubeconfig", "/etc/kubeconfig"), ("context", "edge")]).unwrap();
    let names = |names: Vec<crate::model::TargetName>| {
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        (names(good.targets()), names(good.clusters())),
        ("docker edge".to_owned(), "edge".to_owned())
    );
    assert!(cluster(&[("in_cluster", "true")]).is_ok());
    let by_address =
        cluster(&[("server", "https://k.example"), ("token_file", "/t"), ("ca_file", "/c")]).unwrap();
    let edge: (crate::model::TargetName, crate::model::ServerAddress) =
        ("edge".parse().unwrap(), "https://k.example:443/".parse().unwrap());
    assert_eq!(by_address.servers(), [edge]);
    assert!(good.servers().is_empty());
    let broken: [&[(&str, &str)]; 7] = [
        &[("domain", "example.com")],
        &[("in_cluster", "true"), ("kubeconfig", "/k")],
        &[("in_cluster", "true"), ("context", "edge")],
        &[("server", "https://k.example")],
        &[("in_cluster", "true"), ("token_file", "/t")],
        &[("in_cluster", "true"), ("ca_file", "/c")],
        &[("in_cluster", "true"), ("tls_issuer", "a"), ("tls_secret", "b")],
    ];
    for settings in broken {
        let error = cluster(settings).unwrap_err();
        assert!(error.to_string().contains("kubernetes.edge"), "{settings:?}: {error}");
    }
    assert!(matches!(
        cluster(&[("in_cluster", "true"), ("colour", "red")]),
        Err(ConfigError::Setting { .. })
    ));
}

#[test]
fn there_is_a_target_and_each_has_a_name_of_its_own() {
    assert!(matches!(load(&[("SLIPWAY__DOCKER__ENABLED", "false")]), Err(ConfigError::Relation(_))));
    let twice =
        [("SLIPWAY__DOCKER__NAME", "edge"), ("SLIPWAY__KUBERNETES__EDGE__KUBECONFIG", "/etc/kubeconfig")];
    assert!(matches!(load(&twice), Err(ConfigError::Relation(_))));
    let apart = [("SLIPWAY__DOCKER__ENABLED", "false"), twice[0], twice[1]];
    assert_eq!(load(&apart).unwrap().targets().len(), 1);
}

#[test]
fn settings_are_shown_without_passwords() {
    let config = load(&[
        ("SLIPWAY__BROKER__URLS", "amqp://ada:hunter2@a:1/v,amqp://ada:hunter3@b:1/v"),
        ("SLIPWAY__REDIS__URL", "redis://:hunter4@r:1/0"),
        ("SLIPWAY__REDIS__SENTINELS", "ada:hunter5@s:1"),
        ("SLIPWAY__REDIS__MASTER_NAME", "m"),
    ])
    .unwrap();
    let shown = toml::to_string(&config.masked()).unwrap();
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("amqp://ada:***@b:1/v") && shown.contains("redis://:***@r:1/0"), "{shown}");
}

#[test]
fn every_setting_of_the_reference_is_explained() {
    let mut explained = false;
    for line in DEFAULTS.lines() {
        if line.starts_with('#') {
            explained = true;
        } else if line.is_empty() || line.starts_with('[') {
            explained = false;
        } else {
            assert!(explained, "no comment before: {line}");
        }
    }
}
