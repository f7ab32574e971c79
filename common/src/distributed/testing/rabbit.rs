//! A private RabbitMQ.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::certificate::make_certificate;
use super::keeper::{Keeper, free_port, gone, signal, until_ready};

/// A folder with another RabbitMQ's programs.
const PROGRAMS_VARIABLE: &str = "SLIPWAY_TEST_RABBITMQ";
/// Where the distribution keeps the scripts that do not change to another user first.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

fn program(name: &str) -> String {
    let folder = std::env::var(PROGRAMS_VARIABLE).unwrap_or_else(|_| PROGRAMS.to_owned());
    format!("{folder}/{name}")
}

/// A RabbitMQ of one node. Ready to use; ended on drop.
pub(crate) struct TestRabbit {
    folder: PathBuf,
    port: u16,
    /// Where it serves over TLS, if it does.
    secure_port: Option<u16>,
    epmd_port: u16,
    dist_port: u16,
    keeper: Mutex<Option<Keeper>>,
}

impl TestRabbit {
    /// Starts one and waits until it serves (about five seconds).
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts one that serves over TLS too, under a certificate of [`Self::authority`].
    pub(crate) async fn start_secure() -> Self {
        Self::start_with(Some(free_port())).await
    }

    async fn start_with(secure_port: Option<u16>) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        if secure_port.is_some() {
            make_certificate(&folder).await;
        }
        let rabbit = Self {
            folder,
            port: free_port(),
            secure_port,
            epmd_port: free_port(),
            dist_port: free_port(),
            keeper: Mutex::new(None),
        };
        rabbit.write_files();
        rabbit.start_again().await;
        rabbit
    }

    /// Its address, with user and password.
    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Its address over TLS, without user and password.
    pub(crate) fn secure_url(&self) -> String {
        format!("amqps://127.0.0.1:{}/%2f", self.secure_port.expect("it was started with TLS"))
    }

    /// The certificate of the authority to trust, as PEM.
    pub(crate) fn authority(&self) -> Vec<u8> {
        std::fs::read(self.folder.join("ca.pem")).expect("it was started with TLS")
    }

    /// The port it serves on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it without notice. Call [`Self::settle`] before when queues were declared a moment ago.
    pub(crate) async fn kill(&self) {
        let keeper = self.keeper.lock().await.take();
        keeper.expect("it runs").end();
        gone(self.port).await;
        gone(self.epmd_port).await;
        gone(self.dist_port).await;
    }

    /// Starts it again on its data and waits until it serves.
    pub(crate) async fn start_again(&self) {
        let command = [program("rabbitmq-server")];
        drop(std::fs::remove_file(self.pid_file()));
        let keeper = Keeper::start(&self.folder, Some(&self.pid_file()), &command, &self.variables());
        *self.keeper.lock().await = Some(keeper);
        let port = self.port;
        until_ready(&self.folder, || greets(port)).await;
    }

    /// Stops all its work without closing anything.
    pub(crate) async fn freeze(&self) {
        signal("STOP", &self.pid_file()).await;
    }

    /// Lets it go on.
    pub(crate) async fn thaw(&self) {
        signal("CONT", &self.pid_file()).await;
    }

    /// Runs `rabbitmqctl` with these arguments and returns what it printed.
    pub(crate) async fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("rabbitmqctl"));
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = command.envs(self.variables()).output().await.expect("rabbitmqctl runs");
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {text}");
        text
    }

    /// Makes it write down which queues there are. A node does that now and then, so that one which is killed soon
    /// after a declaration may come back without the queue, or with one that never elects a leader.
    pub(crate) async fn settle(&self) {
        self.control(&["eval", "mnesia:sync_log(), [dets:sync(Table) || Table <- dets:all()]."]).await;
    }

    /// Raises (or ends) the memory alarm, which blocks every publishing connection.
    pub(crate) async fn memory_alarm(&self, raised: bool) {
        let level = if raised { "0.00001" } else { "0.4" };
        self.control(&["set_vm_memory_high_watermark", level]).await;
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("rabbit.pid")
    }

    fn write_files(&self) {
        let mut conf = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nlog.console = false\nlog.file.level = warning\n\
             total_memory_available_override_value = 2GB\nvm_memory_high_watermark.relative = 0.4\n\
             disk_free_limit.absolute = 50MB\n",
            self.port
        );
        if let Some(port) = self.secure_port {
            let path = |name: &str| self.folder.join(name).display().to_string();
            conf += &format!(
                "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
                 ssl_options.keyfile = {}\n",
                path("ca.pem"),
                path("cert.pem"),
                path("key.pem")
            );
        }
        let home = self.folder.join("home");
        std::fs::create_dir(&home).expect("a home");
        let cookie = home.join(".erlang.cookie");
        std::fs::write(&cookie, "SLIPWAYTESTCOOKIE").expect("a cookie");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(&cookie, mode).expect("a mode");
        for (name, text) in [("rabbitmq.conf", conf.as_str()), ("env.conf", ""), ("enabled_plugins", "[].")] {
            std::fs::write(self.folder.join(name), text).expect("a file");
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let quiet = "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}";
        vec![
            ("EPMD", self.epmd_port.to_string()),
            ("ERL_EPMD_PORT", self.epmd_port.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("HOME", path("home")),
            ("LANG", "C.UTF-8".to_owned()),
            ("RABBITMQ_NODENAME", "t@localhost".to_owned()),
            ("RABBITMQ_DIST_PORT", self.dist_port.to_string()),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_CONF_ENV_FILE", path("env.conf")),
            ("RABBITMQ_MNESIA_BASE", path("mnesia")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_GENERATED_CONFIG_DIR", path("gen")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_PID_FILE", path("rabbit.pid")),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", quiet.to_owned()),
        ]
    }
}

/// Whether an AMQP server answers the protocol header: it serves from then on.
async fn greets(port: u16) -> bool {
    let greeting = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        stream.read_u8().await
    };
    matches!(timeout(Duration::from_secs(2), greeting).await, Ok(Ok(1)))
}
