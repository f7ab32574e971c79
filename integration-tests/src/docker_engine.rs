//! A Docker engine for tests: the one `SLIPWAY_TEST_DOCKER` names, else a private daemon; base images built from a
//! static busybox, so that nothing is pulled; and the oracle that looks for what a test left behind.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bollard::Docker;
use bollard::query_parameters::{
    BuildImageOptions, ListContainersOptions, ListImagesOptions, ListNetworksOptions, RemoveContainerOptions,
    RemoveImageOptions,
};
use futures_util::StreamExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::OnceCell;

/// Names the engine to use, e.g. `unix:///var/run/docker.sock`.
pub const ENGINE_VARIABLE: &str = "SLIPWAY_TEST_DOCKER";

const DAEMON: &str = "/usr/sbin/dockerd";
/// A busybox that needs no libraries.
pub(crate) const BUSYBOX: &str = "/bin/busybox";
/// Runs the daemon until standard input ends, then removes all it made. A daemon without a bridge of its own would
/// delete the one of the host's daemon, and one that sets the packet filter drops that daemon's rules: so it gets a
/// bridge, and one rule that lets its containers talk to each other.
const KEEPER: &str = r#"
bridge="slipway$$"
rule="FORWARD -s $3.0.0/16 -d $3.0.0/16 -j ACCEPT"
ip link add name "$bridge" type bridge
ip addr add "$3.255.1/24" dev "$bridge"
ip link set "$bridge" up
iptables -I $rule
"$1" --data-root "$2/data" --exec-root "$2/exec" --pidfile "$2/pid" --host "unix://$2/docker.sock" \
  --bridge "$bridge" --iptables=false --ip-masq=false --default-address-pool "base=$3.0.0/17,size=24" \
  </dev/null >"$2/log" 2>&1 &
read -r _ || true
kill "$!"
wait
iptables -D $rule
ip link del "$bridge"
rm -rf "$2"
"#;
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The address of an engine, or why there is none. A private daemon is started once per process and ends with it.
///
/// # Errors
/// A sentence for [`skip`].
pub async fn docker_host() -> Result<String, String> {
    static HOST: OnceCell<Result<(String, Option<PrivateDaemon>), String>> = OnceCell::const_new();
    let started = HOST.get_or_init(|| async {
        if let Ok(host) = std::env::var(ENGINE_VARIABLE) {
            return Ok((host, None));
        }
        let daemon = PrivateDaemon::start().await.map_err(|error| format!("{error:#}"))?;
        Ok((daemon.host(), Some(daemon)))
    });
    started.await.as_ref().map(|(host, _daemon)| host.clone()).map_err(Clone::clone)
}

/// Says that a test does not run, in the one form that is counted: a line on standard error, past the test runner,
/// which keeps what a passing test prints to itself.
pub fn skip(reason: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "SKIP docker: {reason}").ok();
}

/// A daemon with its own data, bridge and addresses, beside any other one.
#[derive(Debug)]
pub struct PrivateDaemon {
    directory: PathBuf,
    process: Child,
    /// Held open as long as the daemon is wanted; its end, even by a kill, ends the daemon.
    _lifeline: ChildStdin,
}

impl PrivateDaemon {
    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When `dockerd` is not installed, this is not root, or the daemon does not come up.
    pub async fn start() -> anyhow::Result<Self> {
        if !Path::new(DAEMON).exists() {
            bail!("{ENGINE_VARIABLE} is not set and {DAEMON} is not installed");
        }
        if std::fs::metadata("/proc/self")?.uid() != 0 {
            bail!("{ENGINE_VARIABLE} is not set and a private daemon needs root");
        }
        let directory = tempfile::Builder::new().prefix("slipway-dockerd-").tempdir()?.keep();
        // One of 100 address blocks, so that several harnesses can run side by side.
        let block = format!("10.{}", 100 + std::process::id() % 100);
        let mut process = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper", DAEMON, &directory.display().to_string(), &block])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting dockerd")?;
        let lifeline = process.stdin.take().context("the keeper has no standard input")?;
        let mut daemon = Self { directory, process, _lifeline: lifeline };
        daemon.wait().await?;
        Ok(daemon)
    }

    /// Its address.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.directory.join("docker.sock").display())
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT {
            if let Some(status) = self.process.try_wait()? {
                bail!("dockerd ended with {status}");
            }
            if let Ok(docker) = connect(&self.host())
                && docker.ping().await.is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let last = log.lines().last().unwrap_or("no output");
        bail!("dockerd did not answer within {} s: {last}", START_TIMEOUT.as_secs())
    }
}

/// A plain client, for what tests check and clean up themselves.
///
/// # Errors
/// When the address is of an unknown form or the socket does not exist.
pub fn connect(host: &str) -> anyhow::Result<Docker> {
    let docker = if host.starts_with("unix://") {
        Docker::connect_with_unix(host, 120, bollard::API_DEFAULT_VERSION)?
    } else {
        Docker::connect_with_http(host, 120, bollard::API_DEFAULT_VERSION)?
    };
    Ok(docker)
}

/// A name no other test uses, valid as a project's slug.
#[must_use]
pub fn unique_name(prefix: &str) -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    format!("{prefix}-{}", &id[id.len() - 10..])
}

/// Builds `name` from nothing but a static busybox: it serves `/usr/share/nginx/html` on port 8080 and is not root.
///
/// # Errors
/// When busybox is not installed or the engine refuses the build.
pub async fn base_image(docker: &Docker, name: &str) -> anyhow::Result<()> {
    let busybox = std::fs::read(BUSYBOX).with_context(|| format!("{BUSYBOX} (Debian: busybox-static)"))?;
    let dockerfile = "FROM scratch\n\
        COPY busybox /bin/busybox\n\
        RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
        RUN [\"/bin/busybox\", \"mkdir\", \"-m\", \"1777\", \"/tmp\"]\n\
        COPY index.html /usr/share/nginx/html/index.html\n\
        ENV PATH=/bin\n\
        USER 1000:1000\n\
        EXPOSE 8080\n\
        CMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/usr/share/nginx/html\"]\n";
    let mut archive = Vec::new();
    for (path, mode, contents) in [
        ("busybox", 0o755, busybox.as_slice()),
        ("index.html", 0o644, b"hello\n".as_slice()),
        ("Dockerfile", 0o644, dockerfile.as_bytes()),
    ] {
        append_file(&mut archive, path, mode, contents);
    }
    archive.resize(archive.len() + 1024, 0);
    let options = BuildImageOptions {
        t: Some(name.to_owned()),
        rm: true,
        forcerm: true,
        ..BuildImageOptions::default()
    };
    let body = bollard::body_full(archive.into());
    let mut output = docker.build_image(options, None, Some(body));
    while let Some(message) = output.next().await {
        message.context("building the base image")?;
    }
    Ok(())
}

/// Adds one file in the oldest form of the archive format, which every reader takes.
pub(crate) fn append_file(archive: &mut Vec<u8>, path: &str, mode: u32, contents: &[u8]) {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", contents.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(contents);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// Names of all containers and networks that carry `label` (`key=value`).
///
/// # Errors
/// When the engine does not answer.
pub async fn objects_with(docker: &Docker, label: &str) -> anyhow::Result<Vec<String>> {
    let filters = Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])]));
    let options =
        ListContainersOptions { all: true, filters: filters.clone(), ..ListContainersOptions::default() };
    let containers = docker.list_containers(Some(options)).await?;
    let networks = docker.list_networks(Some(ListNetworksOptions { filters })).await?;
    let mut names: Vec<String> = containers
        .into_iter()
        .flat_map(|container| container.names.unwrap_or_default())
        .map(|name| name.trim_start_matches('/').to_owned())
        .chain(networks.into_iter().filter_map(|network| network.name))
        .collect();
    names.sort();
    Ok(names)
}

/// Fails when a container or network with `label` (`key=value`) is left.
///
/// # Errors
/// Naming what is left.
pub async fn assert_no_leftovers(docker: &Docker, label: &str) -> anyhow::Result<()> {
    let left = objects_with(docker, label).await?;
    if !left.is_empty() {
        bail!("left behind with {label}: {}", left.join(", "));
    }
    Ok(())
}

/// Removes every container, network and image that carries `label` (`key=value`).
///
/// # Errors
/// When the engine does not answer.
pub async fn remove_all(docker: &Docker, label: &str) -> anyhow::Result<()> {
    let filters = Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])]));
    let options =
        ListContainersOptions { all: true, filters: filters.clone(), ..ListContainersOptions::default() };
    for container in docker.list_containers(Some(options)).await? {
        let forced = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        docker.remove_container(container.id.as_deref().unwrap_or_default(), Some(forced)).await.ok();
    }
    let networks = docker.list_networks(Some(ListNetworksOptions { filters: filters.clone() })).await?;
    for network in networks {
        docker.remove_network(network.id.as_deref().unwrap_or_default()).await.ok();
    }
    let images =
        docker.list_images(Some(ListImagesOptions { filters, ..ListImagesOptions::default() })).await?;
    for image in images {
        let forced = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
        docker.remove_image(&image.id, Some(forced), None).await.ok();
    }
    Ok(())
}
