//! The start scripts against the distribution's own servers, in place of the images, which cannot be fetched
//! everywhere: passwords count, are in no argument and no environment, and the settings are taken.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::secrets::secrets;
use crate::{TOOL_TIMEOUT, installation, installed, root, run, said, skip};

/// Longest wait for a server to be healthy.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest wait for a server to end after a signal.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A free port. Someone else may take it before it is used; then the server says so and the test fails.
fn free_port() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port().to_string()
}

/// A command of `compose/`, with nothing of this process's environment but the way to the programs.
fn script(folder: &Path, name: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg(folder.join(name)).env_clear().kill_on_drop(true);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/rabbitmq/bin");
    command.envs(environment.iter().copied());
    command
}

/// Repeats the health check until it succeeds.
async fn healthy(child: &mut Child, mut check: impl FnMut() -> Command) {
    let started = Instant::now();
    loop {
        let output = run(&mut check(), START_TIMEOUT).await;
        if output.status.success() {
            return;
        }
        let ended = child.try_wait().expect("the server can be waited for");
        assert!(ended.is_none(), "the server ended: {ended:?}");
        assert!(started.elapsed() < START_TIMEOUT, "not healthy: {}", said(&output));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether any process of this machine shows `secret` in its arguments or its environment.
fn shown(secret: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("the list of processes").flatten();
    let files = processes.flat_map(|entry| ["cmdline", "environ"].map(|file| entry.path().join(file)));
    files
        .filter(|path| std::fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(secret)))
        .map(|path| path.display().to_string())
        .collect()
}

async fn stop(mut child: Child, signal: &str) {
    let id = child.id().expect("the server runs").to_string();
    run(Command::new("kill").args([signal, &id]), TOOL_TIMEOUT).await;
    tokio::time::timeout(STOP_TIMEOUT, child.wait())
        .await
        .expect("the server ends")
        .expect("it was waited for");
}

#[tokio::test]
async fn redis_starts_with_its_password_and_does_not_evict() {
    if installed("redis-server").is_none() {
        return skip("redis-server is not installed");
    }
    let (parent, folder) = installation().await;
    let port = free_port();
    let path = |name: &str| parent.path().join(name).display().to_string();
    let (password_file, settings) =
        (path("compose/secrets/redis_password"), path("compose/redis/redis.conf"));
    let (config, place) = (path("redis.conf"), path(""));
    let environment = [
        ("PASSWORD_FILE", &*password_file),
        ("SETTINGS_FILE", &*settings),
        ("REDIS_CONFIG_FILE", &*config),
        ("REDIS_PORT", &*port),
    ];
    let mut start = script(&folder, "redis/start.sh", &environment);
    start.args(["redis-server", "--bind", "127.0.0.1", "--port", &port, "--dir", &place]);
    let mut child = start.stdout(std::process::Stdio::null()).spawn().expect("the script starts");
    healthy(&mut child, || script(&folder, "redis/health.sh", &environment)).await;

    let password = &secrets(&folder)["redis_password"];
    assert_eq!(shown(password), Vec::<String>::new());
    let stranger = run(Command::new("redis-cli").args(["-p", &port, "ping"]), TOOL_TIMEOUT).await;
    assert!(said(&stranger).contains("NOAUTH"), "{}", said(&stranger));
    for (setting, value) in
        [("maxmemory-policy", "noeviction"), ("appendonly", "yes"), ("maxmemory", "402653184")]
    {
        let mut ask = Command::new("redis-cli");
        ask.args(["-p", &port, "config", "get", setting]).env("REDISCLI_AUTH", password);
        let answer = run(&mut ask, TOOL_TIMEOUT).await;
        assert_eq!(said(&answer).lines().collect::<Vec<_>>(), [setting, value]);
    }
    stop(child, "-TERM").await;
    let down = run(&mut script(&folder, "redis/health.sh", &environment), TOOL_TIMEOUT).await;
    assert!(!down.status.success(), "the health check notices");
}

#[tokio::test]
async fn rabbitmq_starts_with_its_user_and_its_limits() {
    if installed("rabbitmq-server").is_none() || installed("epmd").is_none() {
        return skip("rabbitmq-server is not installed");
    }
    let (parent, folder) = installation().await;
    let path = |name: &str| parent.path().join(name).display().to_string();
    let (port, distribution, mapper) = (free_port(), free_port(), free_port());
    let node = format!("compose{port}@localhost");
    std::fs::write(parent.path().join("plugins"), "[].\n").expect("written");
    let places = [
        "compose/secrets/rabbitmq_password",
        "compose/rabbitmq/rabbitmq.conf",
        "rabbitmq.conf",
        "db",
        "log",
        "plugins",
        "",
    ]
    .map(path);
    let [password_file, settings, config, data, log, plugins, home] = places.each_ref().map(String::as_str);
    let environment = [
        ("RABBITMQ_USER", "slipway-test"),
        ("PASSWORD_FILE", password_file),
        ("SETTINGS_FILE", settings),
        ("RABBITMQ_CONFIG_FILE", config),
        ("RABBITMQ_NODE_PORT", &port),
        ("RABBITMQ_DIST_PORT", &distribution),
        ("RABBITMQ_NODENAME", &node),
        ("RABBITMQ_MNESIA_BASE", data),
        ("RABBITMQ_LOG_BASE", log),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", plugins),
        ("RABBITMQ_CONF_ENV_FILE", "/dev/null"),
        ("ERL_EPMD_PORT", &mapper),
        ("HOME", home),
    ];
    let tool = |arguments: &[&str]| {
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
        command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").envs(environment).kill_on_drop(true);
        command
    };
    // The port mapper that a broker starts outlives it; this one the test can end.
    let mut names = Command::new("epmd")
        .args(["-port", &mapper, "-address", "127.0.0.1"])
        .kill_on_drop(true)
        .spawn()
        .expect("epmd starts");
    let mut start = script(&folder, "rabbitmq/start.sh", &environment);
    start.arg("/usr/lib/rabbitmq/bin/rabbitmq-server").stdout(std::process::Stdio::null());
    let mut child = start.spawn().expect("the script starts");
    healthy(&mut child, || {
        // The command of the health check in compose.yml.
        let mut check = Command::new("/usr/lib/rabbitmq/bin/rabbitmq-diagnostics");
        check
            .args(["-q", "check_port_connectivity"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(environment);
        check
    })
    .await;

    broker_is_as_configured(&secrets(&folder)["rabbitmq_password"], tool).await;
    run(&mut tool(&["-q", "stop"]), STOP_TIMEOUT).await;
    tokio::time::timeout(STOP_TIMEOUT, child.wait())
        .await
        .expect("the broker ends")
        .expect("it was waited for");
    names.kill().await.expect("epmd was ended");
}

/// One user, who needs the password, and the limits of `rabbitmq.conf`.
async fn broker_is_as_configured(password: &str, tool: impl Fn(&[&str]) -> Command) {
    assert_eq!(shown(password), Vec::<String>::new());
    let users = run(&mut tool(&["-q", "list_users", "--no-table-headers"]), TOOL_TIMEOUT).await;
    assert!(said(&users).starts_with("slipway-test"), "{}", said(&users));
    assert!(!said(&users).contains("guest"), "there is no user with a known password: {}", said(&users));
    let right = run(&mut tool(&["-q", "authenticate_user", "slipway-test", password]), TOOL_TIMEOUT).await;
    assert!(right.status.success(), "{}", said(&right));
    let wrong = run(&mut tool(&["-q", "authenticate_user", "slipway-test", "guest"]), TOOL_TIMEOUT).await;
    assert!(!wrong.status.success(), "{}", said(&wrong));
    let taken = said(&run(&mut tool(&["-q", "environment"]), TOOL_TIMEOUT).await);
    for setting in [
        "{consumer_timeout,1800000}",
        "{disk_free_limit,\"2GB\"}",
        "{vm_memory_high_watermark,{absolute,\"600MB\"}}",
    ] {
        assert!(taken.contains(setting), "{setting} is not in {taken}");
    }
}

#[tokio::test]
async fn the_git_server_serves_and_takes_with_the_token() {
    if installed("lighttpd").is_none() {
        return skip("lighttpd is not installed; it is in the image of the Git server");
    }
    let (parent, folder) = installation().await;
    let port = free_port();
    for name in ["root", "state"] {
        std::fs::create_dir(parent.path().join(name)).expect("made");
    }
    let path = |name: &str| parent.path().join(name).display().to_string();
    let places = ["root", "state", "compose/secrets/git_token", ""].map(path);
    let [repositories, state, token_file, home] = places.each_ref().map(String::as_str);
    let sample = root().join("demo/site").display().to_string();
    let environment = [
        ("GIT_SERVER_ROOT", repositories),
        ("GIT_SERVER_STATE", state),
        ("GIT_SERVER_PORT", &*port),
        ("TOKEN_FILE", token_file),
        ("SAMPLE_FOLDER", &sample),
        ("HOME", home),
    ];
    let mut start = script(&folder, "git-server/start.sh", &environment);
    start.args(["lighttpd", "-D", "-f"]).arg(folder.join("git-server/lighttpd.conf"));
    let mut child = start.stderr(std::process::Stdio::null()).spawn().expect("the script starts");
    healthy(&mut child, || script(&folder, "git-server/health.sh", &environment)).await;

    let token = &secrets(&folder)["git_token"];
    assert_eq!(shown(token), Vec::<String>::new());
    let url = format!("http://127.0.0.1:{port}/demo/site.git");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let ask = client.get(format!("{url}/info/refs?service=git-upload-pack"));
    let status = async |ask: reqwest::RequestBuilder| ask.send().await.expect("an answer").status().as_u16();
    assert_eq!(status(ask.try_clone().expect("no body")).await, 401, "nobody reads without the token");
    assert_eq!(status(ask.try_clone().expect("no body").basic_auth("oauth2", Some("guess"))).await, 401);
    assert_eq!(status(ask.basic_auth("oauth2", Some(token))).await, 200);

    let work = parent.path().join("work");
    let login = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("oauth2:{token}"))
    };
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(parent.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home);
        command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "http.extraHeader");
        command.env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {login}"));
        command
    };
    let ok = async |arguments: &[&str]| {
        let output = run(&mut git(arguments), TOOL_TIMEOUT).await;
        assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
        said(&output)
    };
    ok(&["clone", "--quiet", &url, "work"]).await;
    assert!(work.join("index.html").exists(), "the sample site is served");
    std::fs::write(work.join("large"), vec![7; 3 << 20]).expect("written");
    ok(&["-C", "work", "add", "large"]).await;
    ok(&["-C", "work", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "large"])
        .await;
    ok(&["-C", "work", "push", "--quiet"]).await;
    let here = ok(&["-C", "work", "rev-parse", "HEAD"]).await;
    assert!(ok(&["ls-remote", &url, "refs/heads/main"]).await.starts_with(here.trim()), "the push arrived");
    stop(child, "-INT").await;
}
