//! After an upgrade: bytes both ways until one side ends, falls silent, or the replica is cut.

use std::io;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{proxy::body::Progress, settings::ms, upstream::Lease};

/// Bytes moved at once; both directions of a tunnel hold this much.
const BUFFER_BYTES: usize = 8 * 1024;

/// Why a tunnel ended.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("a side did not change protocol")]
    Upgrade(#[source] hyper::Error),
    #[error("a side broke")]
    Copy(#[source] io::Error),
    #[error("both sides were silent")]
    Silent,
    #[error("its replica or its port is gone")]
    Cut,
}

/// Joins two upgraded connections. `lease` counts as a request under way; `cut` ends it with its port.
pub(crate) async fn run(client: OnUpgrade, upstream: OnUpgrade, lease: Lease, cut: CancellationToken) {
    let replica_cut = lease.upstream.cut.clone();
    let silence_limit = ms(lease.upstream.settings.stream_idle_timeout_ms);
    let progress = Progress::now();
    let ended = tokio::select! {
        ended = join(client, upstream, &progress) => ended,
        () = progress.stalled(silence_limit) => Err(TunnelError::Silent),
        () = replica_cut.cancelled() => Err(TunnelError::Cut),
        () = cut.cancelled() => Err(TunnelError::Cut),
    };
    if let Err(error) = ended {
        debug!(%error, replica = lease.upstream.replica.name, "a tunnel ended early");
    }
}

async fn join(client: OnUpgrade, upstream: OnUpgrade, progress: &Progress) -> Result<(), TunnelError> {
    let (client, upstream) = tokio::try_join!(client, upstream).map_err(TunnelError::Upgrade)?;
    let split = |upgraded: Upgraded| tokio::io::split(TokioIo::new(upgraded));
    let ((client_read, client_write), (upstream_read, upstream_write)) = (split(client), split(upstream));
    let up = pump(client_read, upstream_write, progress);
    let down = pump(upstream_read, client_write, progress);
    tokio::try_join!(up, down).map(drop).map_err(TunnelError::Copy)
}

/// Moves bytes until the reader ends, then says so to the writer.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    progress: &Progress,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        progress.touch();
        to.write_all(&buffer[..count]).await?;
    }
}
