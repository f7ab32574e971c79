//! The `slipway` program as people and scripts use it: what it prints, what it answers the shell, how it ends.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use slipway_integration_tests::programs::Program;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// Longest wait for one command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for `slipway up` to answer or to end.
const UP_TIMEOUT: Duration = Duration::from_secs(40);
/// An address nobody listens at.
const NOBODY: &str = "http://127.0.0.1:1";

/// `slipway`, with nothing of this process's environment but the path.
async fn slipway() -> Result<Command> {
    let mut command = Command::new(Program::Slipway.path().await?);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("SLIPWAY__DATA__DIR", "/nonexistent")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

async fn run(arguments: &[&str]) -> Result<Output> {
    let output = slipway().await?.args(arguments).output();
    timeout(COMMAND_TIMEOUT, output)
        .await
        .with_context(|| format!("{arguments:?} took too long"))?
        .context("slipway")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A `slipway up` of its own, with what it printed.
struct Up {
    folder: TempDir,
    child: Child,
    url: String,
}

impl Up {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let out = std::fs::File::create(folder.path().join("out"))?;
        let child =
            up_command(&folder.path().join("data")).await?.stdout(out.try_clone()?).stderr(out).spawn()?;
        let mut up = Self { folder, child, url: String::new() };
        let announced = up.data("up.json");
        let deadline = Instant::now() + UP_TIMEOUT;
        while !announced.exists() {
            if up.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("slipway up did not start: {}", up.printed()?);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let document: Value = serde_json::from_str(&std::fs::read_to_string(announced)?)?;
        up.url = document["url"].as_str().context("up.json has no url")?.to_owned();
        Ok(up)
    }

    fn data(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("data").join(name)
    }

    fn printed(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("out"))?)
    }

    /// A client command with this server's first token.
    async fn client(&self, arguments: &[&str]) -> Result<Output> {
        let token = self.data("admin.token");
        let mut command = slipway().await?;
        command.args(["--server", &self.url, "--token-file"]).arg(token).args(arguments);
        timeout(COMMAND_TIMEOUT, command.output()).await.context("took too long")?.context("slipway")
    }

    async fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().context("slipway up has ended")?.to_string();
        // `kill` is a shell builtin everywhere, and a program not everywhere.
        let status =
            Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &pid]).status().await?;
        ensure!(status.success(), "kill failed");
        Ok(())
    }

    async fn ended(&mut self) -> Result<Option<i32>> {
        Ok(timeout(UP_TIMEOUT, self.child.wait()).await.context("slipway up did not end")??.code())
    }
}

async fn up_command(data: &Path) -> Result<Command> {
    let mut command = slipway().await?;
    command
        // No engine answers there: what these tests look at works without one.
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data);
    Ok(command)
}

#[tokio::test]
async fn version_help_and_completion_need_no_server() -> Result<()> {
    let version = run(&["--version"]).await?;
    assert!(text(&version.stdout).starts_with("slipway 0."), "{version:?}");
    for arguments in [&["--help"][..], &["deploy", "--help"], &["up", "--help"], &["rollback", "--help"]] {
        let help = run(arguments).await?;
        assert_eq!(help.status.code(), Some(0), "{arguments:?}");
        assert!(text(&help.stdout).contains("Examples:"), "{arguments:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let completion = run(&["completion", shell]).await?;
        assert_eq!(completion.status.code(), Some(0), "{shell}");
        assert!(text(&completion.stdout).contains("rollback"), "{shell}");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2_and_no_server_is_3() -> Result<()> {
    for arguments in [
        &["fly"][..],
        &["deploy"],
        &["deploy", "https://h/r", "--build", "magic"],
        &["list", "--limit", "0"],
        &["--server", NOBODY, "deploy", "https://h/r", "--token-env", "NOT_SET"],
        &["--server", NOBODY, "--token-file", "/nonexistent", "list"],
        &["--server", "ftp://h", "list"],
        &["--server", NOBODY, "status", "abc"],
    ] {
        let output = run(arguments).await?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
    for arguments in [&["list"][..], &["deploy", "https://h/g/r"], &["status", "abcdef"]] {
        let output = run(&[&["--server", NOBODY][..], arguments].concat()).await?;
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains("cannot be reached"), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("slipway up"), "a hint: {}", text(&output.stderr));
    }
    Ok(())
}

#[tokio::test]
async fn check_config_prints_what_is_in_force_and_names_what_is_wrong() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("slipway.toml");
    let path = file.to_str().context("path")?;
    std::fs::write(&file, "[worker]\nslots = 7\n")?;
    let good = run(&["up", "--check-config", "--config", path]).await?;
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).contains("slots = 7"), "{}", text(&good.stdout));
    std::fs::write(
        &file,
        "[broker]\nurls = [\"amqp://ada:hunter2@mq/v\"]\n[redis]\nurl = \"redis://:hunter2@r/0\"\n",
    )?;
    let masked = run(&["up", "--check-config", "--config", path]).await?;
    let shown = text(&masked.stdout);
    assert!(shown.contains("amqp://ada:***@mq/v") && shown.contains("redis://:***@r/0"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    std::fs::write(&file, "[worker]\nslotz = 7\n")?;
    let bad = run(&["up", "--check-config", "--config", path]).await?;
    assert_eq!(bad.status.code(), Some(2), "{}", text(&bad.stderr));
    assert!(text(&bad.stderr).contains("slotz"), "{}", text(&bad.stderr));
    Ok(())
}

#[tokio::test]
async fn up_says_what_it_chose_and_what_is_missing_but_never_the_token() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let up = Up::start().await?;
    let token_file = up.data("admin.token");
    let token = std::fs::read_to_string(&token_file)?;
    assert_eq!(std::fs::metadata(&token_file)?.permissions().mode() & 0o777, 0o600);
    let printed = up.printed()?;
    for words in
        [up.url.trim_end_matches('/'), "SQLite", "admin.token", "docker", "/nonexistent/docker.sock", "not"]
    {
        assert!(printed.contains(words), "`{words}` is not in: {printed}");
    }
    assert!(!printed.contains(token.trim()), "the token was printed");
    Ok(())
}

#[tokio::test]
async fn clients_list_nothing_and_see_what_is_wrong() -> Result<()> {
    let up = Up::start().await?;
    let list = up.client(&["list"]).await?;
    assert_eq!((list.status.code(), text(&list.stdout).trim()), (Some(0), "no deployments"));
    let list: Value = serde_json::from_slice(&up.client(&["list", "--json"]).await?.stdout)?;
    assert_eq!(list["total"], 0);

    let refused = up.client(&["deploy", "file:///etc/passwd"]).await?;
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("repository_url"), "{}", text(&refused.stderr));
    let refused = up.client(&["--json", "deploy", "https://h/g/r", "--replicas", "100000"]).await?;
    let problem: Value = serde_json::from_slice(&refused.stderr)?;
    assert_eq!(problem["error"]["errors"][0]["field"], "replicas");

    let unknown = up.client(&["status", "00000000-0000-7000-8000-000000000000"]).await?;
    assert_eq!(unknown.status.code(), Some(1));
    let unknown = up.client(&["status", "abcdef"]).await?;
    assert!(text(&unknown.stderr).contains("slipway list"), "{}", text(&unknown.stderr));

    let stranger = run(&["--server", &up.url, "list"]).await?;
    assert_eq!(stranger.status.code(), Some(1));
    assert!(text(&stranger.stderr).contains("401"), "{}", text(&stranger.stderr));
    assert!(text(&stranger.stderr).contains("SLIPWAY_TOKEN"), "a hint: {}", text(&stranger.stderr));
    Ok(())
}

#[tokio::test]
async fn credentials_come_from_standard_input_or_a_variable_and_are_never_shown() -> Result<()> {
    use tokio::io::AsyncWriteExt as _;

    let up = Up::start().await?;
    let token_file = up.data("admin.token");
    let set = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (url, token_file) = (up.url.clone(), token_file.clone());
        async move {
            let mut command = slipway().await?;
            command.args(["--server", &url, "--token-file"]).arg(token_file).args(["credentials", "set"]);
            command.args(arguments).env("SECRET_HERE", "hunter2-variable");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn()?;
            let mut input = child.stdin.take().context("no standard input")?;
            input.write_all(b"hunter2-input\n").await?;
            drop(input);
            anyhow::Ok(timeout(COMMAND_TIMEOUT, child.wait_with_output()).await??)
        }
    };
    let stored = set(&["one", "--host", "gitlab.example.com"]).await?;
    assert_eq!(stored.status.code(), Some(0), "{}", text(&stored.stderr));
    let stored = set(&["two", "--from-env", "SECRET_HERE", "--username", "ada"]).await?;
    assert_eq!(stored.status.code(), Some(0), "{}", text(&stored.stderr));
    assert_eq!(set(&["three", "--from-env", "NOT_SET"]).await?.status.code(), Some(2));

    let list = text(&up.client(&["credentials", "list"]).await?.stdout);
    assert!(list.contains("gitlab.example.com") && list.contains("ada"), "{list}");
    assert!(!list.contains("hunter2"), "{list}");
    assert_eq!(up.client(&["credentials", "delete", "one"]).await?.status.code(), Some(0));
    assert!(!text(&up.client(&["credentials", "list"]).await?.stdout).contains("gitlab.example.com"));
    Ok(())
}

#[tokio::test]
async fn a_new_token_lets_in_until_it_is_revoked() -> Result<()> {
    let up = Up::start().await?;
    let file = up.data("ci.token");
    let path = file.to_str().context("path")?;
    let created = up.client(&["tokens", "create", "ci", "--output", path]).await?;
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    let list = ["--server", &up.url, "--token-file", path, "list"];
    assert_eq!(run(&list).await?.status.code(), Some(0));
    assert!(text(&up.client(&["tokens", "list"]).await?.stdout).contains("ci"));
    assert_eq!(up.client(&["tokens", "revoke", "ci"]).await?.status.code(), Some(0));
    assert_eq!(run(&list).await?.status.code(), Some(1));
    Ok(())
}

#[tokio::test]
async fn no_token_is_an_argument_of_any_process() -> Result<()> {
    let up = Up::start().await?;
    let token = std::fs::read_to_string(up.data("admin.token"))?;
    let pid = up.child.id().context("slipway up has ended")?;
    let arguments = text(&std::fs::read(format!("/proc/{pid}/cmdline"))?);
    assert!(arguments.contains("up") && !arguments.contains(token.trim()), "{arguments}");
    // The client takes it from a file or a variable; there is no flag for it.
    let refused = run(&["--server", &up.url, "--token", token.trim(), "list"]).await?;
    assert_eq!(refused.status.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn the_first_signal_ends_it_gracefully() -> Result<()> {
    for signal in ["TERM", "INT"] {
        let mut up = Up::start().await?;
        up.signal(signal).await?;
        assert_eq!(up.ended().await?, Some(0), "SIG{signal}: {}", up.printed()?);
        assert!(!up.data("up.json").exists(), "SIG{signal}: the address was left behind");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() -> Result<()> {
    let up = Up::start().await?;
    let second = up_command(&up.folder.path().join("data")).await?.output();
    let second = timeout(UP_TIMEOUT, second).await.context("took too long")??;
    assert_eq!(second.status.code(), Some(1), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("in use by another process"), "{}", text(&second.stderr));
    assert!(up.data("up.json").exists(), "the first one's address is kept");
    assert_eq!(up.client(&["list"]).await?.status.code(), Some(0), "the first one goes on");
    Ok(())
}

#[tokio::test]
async fn the_dead_are_listed_and_the_store_is_rebuilt() -> Result<()> {
    let up = Up::start().await?;
    let list = up.client(&["dead", "list"]).await?;
    assert_eq!(list.status.code(), Some(0), "{}", text(&list.stderr));
    assert!(text(&list.stdout).starts_with("ID "), "{}", text(&list.stdout));
    let document: Value = serde_json::from_slice(&up.client(&["--json", "dead", "list"]).await?.stdout)?;
    assert_eq!(document["total"], 0);
    for arguments in [
        &["dead", "show", "01890a5d-ac96-774b-bcce-b302099a8057"][..],
        &["dead", "drop", "01890a5d-ac96-774b-bcce-b302099a8057"],
        &["dead", "requeue", "abcdef"],
    ] {
        let output = up.client(arguments).await?;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stderr));
    }
    let rebuilt = up.client(&["admin", "rebuild-store"]).await?;
    assert_eq!(rebuilt.status.code(), Some(0), "{}", text(&rebuilt.stderr));
    assert!(text(&rebuilt.stdout).starts_with("rebuilt the store from "), "{}", text(&rebuilt.stdout));
    Ok(())
}
