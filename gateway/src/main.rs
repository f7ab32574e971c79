//! `slipway-gateway`: the gateway as a process of its own.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use bollard::Docker;
use clap::Parser;
use slipway_common::telemetry::{self, LogFormat};
use slipway_gateway::{Gateway, GatewaySettings, ops};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Front door of a Docker engine: one stable port per application, balanced over its healthy replicas.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address the application ports are bound on.
    #[arg(long, env = "SLIPWAY_GATEWAY_BIND", default_value_t = GatewaySettings::default().bind)]
    bind: IpAddr,
    /// The Docker engine: unix://… or tcp://….
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock")]
    docker_host: String,
    /// Address of /healthz, /metrics and /status; none when absent.
    #[arg(long, env = "SLIPWAY_GATEWAY_STATUS_LISTEN")]
    status_listen: Option<SocketAddr>,
    /// Milliseconds between two full reads of the container list.
    #[arg(long, env = "SLIPWAY_GATEWAY_RELIST_INTERVAL_MS",
        default_value_t = GatewaySettings::default().relist_interval_ms)]
    relist_interval_ms: u64,
    /// Milliseconds between two health checks of one replica.
    #[arg(long, env = "SLIPWAY_GATEWAY_HEALTH_INTERVAL_MS",
        default_value_t = GatewaySettings::default().health_interval_ms)]
    health_interval_ms: u64,
    /// Longest wait for one health check, in milliseconds.
    #[arg(long, env = "SLIPWAY_GATEWAY_HEALTH_TIMEOUT_MS",
        default_value_t = GatewaySettings::default().health_timeout_ms)]
    health_timeout_ms: u64,
    /// Longest wait for a replica's response head, in milliseconds.
    #[arg(long, env = "SLIPWAY_GATEWAY_RESPONSE_HEADER_TIMEOUT_MS",
        default_value_t = GatewaySettings::default().response_header_timeout_ms)]
    response_header_timeout_ms: u64,
    /// How long requests under way may go on after their replica, port or gateway leaves, in milliseconds.
    #[arg(long, env = "SLIPWAY_GATEWAY_DRAIN_LIMIT_MS",
        default_value_t = GatewaySettings::default().drain_limit_ms)]
    drain_limit_ms: u64,
    /// First application port to open; others are left to other gateways of the same engine.
    #[arg(long, env = "SLIPWAY_GATEWAY_PORT_MIN", default_value_t = GatewaySettings::default().port_min)]
    port_min: u16,
    /// Last application port to open.
    #[arg(long, env = "SLIPWAY_GATEWAY_PORT_MAX", default_value_t = GatewaySettings::default().port_max)]
    port_max: u16,
    /// Believe the X-Forwarded-Proto, X-Forwarded-Host and Forwarded fields of requests.
    #[arg(long, env = "SLIPWAY_GATEWAY_TRUST_FORWARDED")]
    trust_forwarded: bool,
    /// Log filter, as in `info,slipway_gateway=debug`.
    #[arg(long, env = "SLIPWAY_LOG", default_value = "info")]
    log: String,
}

impl Args {
    fn settings(&self) -> GatewaySettings {
        GatewaySettings {
            bind: self.bind,
            relist_interval_ms: self.relist_interval_ms,
            health_interval_ms: self.health_interval_ms,
            health_timeout_ms: self.health_timeout_ms,
            response_header_timeout_ms: self.response_header_timeout_ms,
            drain_limit_ms: self.drain_limit_ms,
            port_min: self.port_min,
            port_max: self.port_max,
            trust_forwarded: self.trust_forwarded,
            ..GatewaySettings::default()
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    telemetry::start(&args.log, LogFormat::Text).context("the log filter cannot be parsed")?;
    let docker = Docker::connect_with_host(&args.docker_host).context("the Docker host cannot be used")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let shutdown = CancellationToken::new();
    let gateway = Gateway::start(args.settings(), docker, shutdown.clone()).await?;
    if let Some(listen) = args.status_listen {
        let bound =
            ops::serve(listen, &gateway, shutdown.clone()).await.context("cannot serve the status page")?;
        info!(address = %bound, "the status page is open");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("draining");
    shutdown.cancel();
    gateway.stopped().await;
    Ok(())
}
