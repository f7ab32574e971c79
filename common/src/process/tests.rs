//! Settings, key and folders of a service process.

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn root_has_the_systems_folder_and_users_have_their_own() {
    let home = |name: &str| (name == "HOME").then(|| "/home/ada".to_owned());
    assert_eq!(default_data_dir(true, home), Some(PathBuf::from("/var/lib/slipway")));
    assert_eq!(default_data_dir(false, home), Some(PathBuf::from("/home/ada/.local/share/slipway")));
    assert_eq!(default_data_dir(false, |_| Some("relative".to_owned())), None);
}

#[test]
fn shown_settings_hold_no_password() {
    let urls = "amqp://ada:hunter2@one:5672/%2f,amqp://ada:hunter2@two:5672/%2f";
    let startup = Startup::load(
        None,
        variables(&[
            ("SLIPWAY__BROKER__URLS", urls),
            ("SLIPWAY__REDIS__URL", "redis://:hunter2@three:6379/0"),
            ("SLIPWAY__DATA__DIR", "/data"),
        ]),
    )
    .unwrap();
    let shown = startup.print_config().unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("@one:5672") && shown.contains("@two:5672") && shown.contains("@three:6379"));
}

#[test]
fn processes_that_start_together_have_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys/shared.key");
    let startup =
        Startup::load(None, variables(&[("SLIPWAY__SECRETS__KEY_FILE", file.to_str().unwrap())])).unwrap();
    let sealers: Vec<Sealer> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| startup.sealer().unwrap())).collect();
        makers.into_iter().map(|maker| maker.join().unwrap()).collect()
    });
    let sealed = sealers[0].seal("place", &"secret".to_owned().into()).unwrap();
    for sealer in &sealers {
        assert!(sealer.open("place", &sealed).is_ok());
    }
}

#[test]
fn a_wrong_setting_is_told_apart_from_a_fault() {
    let error = Startup::load(None, variables(&[("SLIPWAY__WORKER__SLOTS", "0")])).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(ProcessError::StopTimeout { limit_s: 30 }.exit_code(), 1);
}
