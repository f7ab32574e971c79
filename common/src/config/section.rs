//! The sections, one struct each. Their meaning and defaults stand in `default.toml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::embedded::Synchronous;
use crate::model::{HttpPolicy, TargetName};
use crate::telemetry::LogFormat;

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)+
        }
    };
}

section!(
    /// `[server]`
    ServerConfig {
        /// Address the API listens on.
        listen: std::net::SocketAddr,
        /// Largest request body.
        request_body_max_bytes: usize,
        /// Longest wait for the head of a request.
        request_head_timeout_ms: u64,
        /// Most event and log streams open at once.
        streams_max: usize,
        /// Pause between two keep-alive comments.
        stream_keep_alive_s: u64,
        /// Longest time from a whole request to its answer.
        answer_timeout_ms: u64,
        /// Address under which forges reach the API; empty for the one a client has asked.
        public_url: String,
    }
);

section!(
    /// `[inbox]`
    InboxConfig {
        /// Largest delivery.
        delivery_max_bytes: usize,
        /// How far the time of a signed delivery may be off.
        signature_tolerance_s: u64,
    }
);

section!(
    /// `[sweeps]`
    SweepsConfig {
        /// How often refs are compared.
        interval_s: u64,
        /// Projects looked at at once.
        at_once: usize,
        /// Projects of one host looked at at once.
        per_host_at_once: usize,
        /// Longest look at one project.
        timeout_s: u64,
    }
);

section!(
    /// `[pipelines]`
    PipelinesConfig {
        /// Longest wait for a pipeline.
        timeout_s: u64,
        /// How often a pipeline is looked at.
        poll_interval_s: u64,
        /// How long a pipeline may take to appear.
        appear_max_s: u64,
    }
);

section!(
    /// `[reports]`
    ReportsConfig {
        /// Deployments whose results are told at once.
        at_once: usize,
        /// Of them, those told to one host.
        per_host_at_once: usize,
        /// Longest wait for one answer.
        timeout_ms: u64,
        /// How long a receiver is tried again.
        give_up_h: u64,
    }
);

section!(
    /// `[auth]`
    AuthConfig {
        /// Accept requests from this machine without a token.
        open_loopback: bool,
        /// File with the first token; empty to make one.
        first_token_file: String,
    }
);

section!(
    /// `[data]`
    DataConfig {
        /// Folder; empty for the default.
        dir: String,
        /// When a commit is durable.
        synchronous: Synchronous,
        /// How long finished jobs and idempotency keys are remembered.
        keep_finished_days: u32,
        /// Most jobs in the queue.
        queue_max_jobs: u64,
    }
);

section!(
    /// `[secrets]`
    SecretsConfig {
        /// File with the sealing key; empty for the one in the data folder.
        key_file: String,
    }
);

section!(
    /// `[broker]`
    BrokerConfig {
        /// Nodes of one cluster.
        urls: Vec<String>,
        /// User; empty for the one of the addresses.
        username: String,
        /// File with the password; empty for the one of the addresses.
        password_file: String,
        /// Further certificates to trust; empty for none.
        ca_file: String,
        /// Beginning of every name.
        prefix: String,
        /// Heartbeat of a connection.
        heartbeat_s: u16,
        /// Longest wait for a connection.
        connect_timeout_ms: u64,
        /// Longest wait for a confirmation.
        confirm_timeout_ms: u64,
        /// How often broker and belief are compared.
        watch_interval_ms: u64,
        /// Longest time a delivery is held.
        delivery_hold_max_s: u64,
        /// Deliveries before the broker sets a message aside.
        delivery_limit: u32,
        /// Most jobs in each job queue.
        queue_max_jobs: u32,
        /// Days the ledger is kept; 0 for ever.
        ledger_max_age_days: u32,
        /// Size of the ledger; 0 for no limit.
        ledger_max_bytes: u64,
    }
);

section!(
    /// `[redis]`
    RedisConfig {
        /// Address, unless Sentinel knows it.
        url: String,
        /// Sentinels, `host:port`.
        sentinels: Vec<String>,
        /// The primary's name at the sentinels.
        master_name: String,
        /// User; empty for the one of the address.
        username: String,
        /// File with the password; empty for the one of the address.
        password_file: String,
        /// Further certificates to trust; empty for none.
        ca_file: String,
        /// Longest wait for a connection.
        connect_timeout_ms: u64,
        /// Longest wait for an answer.
        response_timeout_ms: u64,
    }
);

section!(
    /// `[health]`
    HealthConfig {
        /// Where worker and scaler say how they are.
        listen: std::net::SocketAddr,
    }
);

section!(
    /// `[worker]`
    WorkerConfig {
        /// Jobs worked on at once.
        slots: usize,
        /// A worker that does not renew its claim for this long has lost the job.
        claim_ttl_ms: u64,
        /// How often a claim is renewed.
        claim_renew_ms: u64,
        /// Attempts at a stage before the job fails.
        attempts_max: u32,
        /// Pause before the second attempt.
        backoff_min_ms: u64,
        /// Longest pause between two attempts.
        backoff_max_ms: u64,
        /// Crashes on one job before it is set aside.
        crashes_max: u32,
        /// Longest clone stage.
        clone_timeout_s: u64,
        /// Longest template stage.
        template_timeout_s: u64,
        /// Longest commit stage.
        commit_timeout_s: u64,
        /// Longest build stage.
        build_timeout_s: u64,
        /// Longest apply stage.
        apply_timeout_s: u64,
        /// Longest stop stage.
        stop_timeout_s: u64,
        /// Largest log of one stage.
        stage_log_max_bytes: u64,
        /// How often what runs is looked at.
        observe_interval_ms: u64,
    }
);

section!(
    /// `[git]`
    GitConfig {
        /// When repositories may be reached over http.
        http: HttpPolicy,
        /// Author of generated commits.
        author_name: String,
        /// Address of the author.
        author_email: String,
        /// Largest repository at one commit.
        repository_max_bytes: u64,
        /// Most files at one commit.
        files_max: u64,
        /// Total size of all mirrors.
        mirrors_max_bytes: u64,
        /// Slowest acceptable transfer.
        low_speed_min_bytes_per_s: u64,
        /// How long a transfer may be slower.
        low_speed_time_s: u64,
    }
);

section!(
    /// `[templates]`
    TemplateConfig {
        /// `buildkit_rootless` or `docker_in_docker`.
        ci_builder: String,
        /// Tags of the runners that generated CI jobs ask for.
        ci_runner_tags: Vec<String>,
        /// Base images by role, over the built-in ones.
        base_images: BTreeMap<String, String>,
    }
);

section!(
    /// `[docker]`
    DockerConfig {
        /// Deploy to the engine; otherwise it only builds.
        enabled: bool,
        /// Name of the target.
        name: TargetName,
        /// Engine; empty for the default.
        host: String,
        /// Largest build context.
        context_max_bytes: u64,
        /// Most files in a build context.
        context_max_files: u64,
        /// How long replaced containers may finish what they had.
        drain_ms: u64,
        /// How long a container has to end after SIGTERM.
        stop_grace_s: u32,
        /// Images of a project kept for rollback.
        images_keep: usize,
        /// Where to push built images; empty for nowhere.
        push_to: String,
        /// Stored credential for the registry; empty for none.
        push_credential: String,
    }
);

section!(
    /// `[gateway]`
    GatewayConfig {
        /// Serve the stable ports from this process.
        enabled: bool,
        /// Address the stable ports are bound to.
        bind: std::net::IpAddr,
        /// First stable port.
        port_min: u16,
        /// Last stable port.
        port_max: u16,
    }
);

section!(
    /// `[scaler]`
    ScalerConfig {
        /// Keep the size of deployments that have an autoscaler, in `slipway up`.
        enabled: bool,
        /// When a scaler that does not renew its lease has lost it.
        lease_ttl_ms: u64,
        /// How often containers are measured.
        docker_sample_interval_ms: u64,
        /// How often pods are measured.
        kubernetes_sample_interval_ms: u64,
        /// Measure pods at the nodes' kubelets.
        kubelet_metrics: bool,
    }
);

section!(
    /// `[log]`
    LogConfig {
        /// Filter of log lines.
        filter: String,
        /// Form of log lines.
        format: LogFormat,
    }
);
