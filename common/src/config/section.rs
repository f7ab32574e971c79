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
    }
);

section!(
    /// `[auth]`
    AuthConfig {
        /// Accept requests from this machine without a token.
        open_loopback: bool,
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
    /// `[log]`
    LogConfig {
        /// Filter of log lines.
        filter: String,
        /// Form of log lines.
        format: LogFormat,
    }
);
