//! What `slipway up` says at its start, to people on standard output and to programs in `up.json`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use slipway_common::config::{KubernetesConfig, Synchronous};
use slipway_common::secrets::write_private;
use slipway_common::telemetry::chain;
use slipway_worker::docker::Engine;

use super::error::UpError;
use super::services::Services;
use super::settings::UpSettings;
use crate::data_dir::{ADMIN_TOKEN_FILE, DATABASE_FILE, UP_FILE};
use crate::view::{self, table::Table};

/// Longest wait for the engine's version; it is only for show.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the settings in force as TOML, without passwords.
///
/// # Errors
/// When they cannot be written as TOML.
pub(crate) fn print_config(settings: &UpSettings) -> Result<(), UpError> {
    let text = toml::to_string(&settings.config.masked()).map_err(UpError::PrintConfig)?;
    view::line(text.trim_end());
    Ok(())
}

/// Prints what was chosen and what is missing.
pub(crate) async fn print(settings: &UpSettings, services: &Services) {
    let config = &settings.config;
    let report = services.start_report();
    let survives = match config.data.synchronous {
        Synchronous::Full => "survives power loss",
        Synchronous::Normal => "survives a crash, may lose the last commits on power loss",
    };
    let token_file = settings.file(ADMIN_TOKEN_FILE);
    let token = match (report.token_made, token_file.exists()) {
        (true, _) => format!("made now, in {}", token_file.display()),
        (false, true) => format!("in {}", token_file.display()),
        (false, false) => "made before; it is not kept on this machine".to_owned(),
    };
    let access = if config.auth.open_loopback { "; this machine needs none" } else { "" };

    view::line(&format!("slipway {}", env!("CARGO_PKG_VERSION")));
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("api", format!("{} (its description at /docs)", url(services.address())));
    row("token", format!("{token}{access}"));
    row(
        "data",
        format!("{} (SQLite: queue, store and ledger; {survives})", settings.file(DATABASE_FILE).display()),
    );
    row("worker", format!("{} jobs at once", config.worker.slots));
    if config.docker.enabled {
        row("target", target(settings, services).await);
    }
    for (name, cluster) in &config.kubernetes {
        row("target", format!("{name}: the Kubernetes cluster {}", reached_by(cluster)));
    }
    if config.docker.enabled {
        row("gateway", gateway(settings));
    }
    if report.claims_released > 0 {
        row(
            "resumed",
            format!("{} jobs that were under way when the server last ended", report.claims_released),
        );
    }
    table.print("  ");
}

/// How a cluster is reached, without asking it.
fn reached_by(cluster: &KubernetesConfig) -> String {
    if cluster.in_cluster {
        "this process runs in".to_owned()
    } else if cluster.kubeconfig.is_empty() {
        format!("at {}", cluster.server)
    } else if cluster.context.is_empty() {
        format!("of {}", cluster.kubeconfig)
    } else {
        format!("`{}` of {}", cluster.context, cluster.kubeconfig)
    }
}

async fn target(settings: &UpSettings, services: &Services) -> String {
    let name = &settings.config.docker.name;
    let engine = services.engine();
    let host = &engine.host;
    let asked = async { Engine::connect(engine)?.ping().await };
    let missing = match tokio::time::timeout(ENGINE_TIMEOUT, asked).await {
        Ok(Ok(version)) => {
            return format!("{name}: Docker {} (API {}) at {host}", version.engine, version.api);
        }
        Ok(Err(error)) => chain(&error),
        Err(_) => format!("no answer within {} s", ENGINE_TIMEOUT.as_secs()),
    };
    format!(
        "{name}: MISSING, the Docker engine at {host} is not reachable ({missing}); deployments to it are tried again \
         until it is, or fail"
    )
}

fn gateway(settings: &UpSettings) -> String {
    let gateway = &settings.config.gateway;
    if gateway.enabled {
        format!("{}, ports {} to {}", gateway.bind, gateway.port_min, gateway.port_max)
    } else {
        "off by `gateway.enabled`; run slipway-gateway beside this process".to_owned()
    }
}

/// Writes where the server is, for programs that started it on port 0.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_up_file(settings: &UpSettings, services: &Services) -> Result<(), UpError> {
    let document = json!({
        "url": url(services.address()),
        "pid": std::process::id(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let path = settings.file(UP_FILE);
    write_private(&path, format!("{document}\n").as_bytes()).map_err(|source| UpError::Write { path, source })
}

/// Takes the file away, if it is there: nothing answers at its address.
pub(crate) fn remove_up_file(settings: &UpSettings) {
    match std::fs::remove_file(settings.file(UP_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the file {UP_FILE} could not be removed");
        }
        Ok(()) | Err(_) => {}
    }
}

/// The address a client on this machine uses.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_an_address_they_can_use() {
        for (address, expected) in [
            ("127.0.0.1:8640", "http://127.0.0.1:8640"),
            ("0.0.0.0:1", "http://127.0.0.1:1"),
            ("[::]:2", "http://[::1]:2"),
        ] {
            assert_eq!(url(address.parse().unwrap()), expected);
        }
    }
}
