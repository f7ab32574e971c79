//! One connection to one node: address, login, TLS, deadline, and a way to cut it that always works.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::error::BrokerError;
use crate::distributed::BrokerSettings;

/// Largest frame, where the address names none, in bytes. The client keeps 64 frames of it for each connection, whatever
/// travels: with the broker's 128 KiB that is 8 MiB. A longer message goes in several frames.
const FRAME_MAX_BYTES: u32 = 16 * 1024;

/// A second handle on the socket of a connection. Cutting it ends the connection at once, whatever the peer does.
#[derive(Debug, Clone, Default)]
pub(super) struct Cutter(Arc<Mutex<Option<std::net::TcpStream>>>);

impl Cutter {
    fn arm(&self, socket: std::net::TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    /// Cuts the connection; nothing is said to the peer.
    pub(super) fn cut(&self) {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = socket.map(|socket| socket.shutdown(std::net::Shutdown::Both)) {
            tracing::debug!(%error, "the socket was closed already");
        }
    }
}

/// A connection and its cutter.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) connection: Connection,
    pub(super) cutter: Cutter,
}

impl Line {
    /// Connects to the `turn`-th node; `purpose` is shown in the broker's list of connections.
    pub(super) async fn open(
        settings: &BrokerSettings,
        turn: usize,
        purpose: &str,
    ) -> Result<Self, BrokerError> {
        let uri = address(settings, turn)?;
        let node = format!("{}:{}", uri.authority.host, uri.authority.port);
        let cutter = Cutter::default();
        let opened =
            timeout(settings.connect_timeout, handshake(settings, uri, purpose, cutter.clone())).await;
        let failure = match opened {
            Ok(Ok(connection)) => return Ok(Self { connection, cutter }),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} ms", settings.connect_timeout.as_millis()),
        };
        cutter.cut();
        Err(BrokerError::Unavailable { reason: format!("connecting to {node}: {failure}") })
    }
}

/// The address of a node with login, heartbeat and size of a frame put in. Errors never repeat the address: it may hold a password.
fn address(settings: &BrokerSettings, turn: usize) -> Result<AMQPUri, BrokerError> {
    let unusable =
        |reason: &str| BrokerError::Unavailable { reason: format!("setting `broker.urls`: {reason}") };
    let count = settings.urls.len();
    let position = turn.checked_rem(count).ok_or_else(|| unusable("no address is given"))?;
    let parsed = settings.urls[position].expose_secret().parse::<AMQPUri>();
    let mut uri = parsed.map_err(|_| unusable(&format!("address {} is not of AMQP", position + 1)))?;
    if let Some((user, password)) = &settings.login {
        uri.authority.userinfo.username.clone_from(user);
        uri.authority.userinfo.password = password.expose_secret().to_owned();
    }
    let heartbeat_s = settings.heartbeat.as_secs().max(1);
    uri.query.heartbeat = Some(u16::try_from(heartbeat_s).unwrap_or(u16::MAX));
    uri.query.frame_max = uri.query.frame_max.or(Some(FRAME_MAX_BYTES));
    Ok(uri)
}

async fn handshake(
    settings: &BrokerSettings,
    uri: AMQPUri,
    purpose: &str,
    cutter: Cutter,
) -> lapin::Result<Connection> {
    let name = format!("slipway {} {purpose} {}", settings.prefix, std::process::id());
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let roots = settings.ca_pem.as_ref().map(|pem| String::from_utf8_lossy(pem).into_owned());
    let tls = OwnedTLSConfig { identity: None, cert_chain: roots };
    let connecting = Connection::connector(
        uri,
        lapin::runtime::default_runtime()?,
        async move |uri, runtime| {
            let addresses = runtime.to_socket_addrs((uri.authority.host.clone(), uri.authority.port));
            let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                plain.get_ref().set_nodelay(true)?;
                cutter.arm(plain.get_ref().as_fd().try_clone_to_owned()?.into());
            }
            let secured = match uri.scheme {
                AMQPScheme::AMQP => stream,
                AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, tls.as_ref()).await?,
            };
            Ok(secured)
        },
        properties,
    );
    connecting.await
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::distributed::broker::tests::settings;

    #[test]
    fn the_login_replaces_that_of_the_address_and_errors_hide_it() {
        let mut settings = settings("amqp://guest:hunter2@10.0.0.1:5999/%2f", "p");
        settings.login = Some(("slipway".to_owned(), SecretString::from("s3cret")));
        let uri = address(&settings, 7).unwrap();
        assert_eq!(uri.query.frame_max, Some(FRAME_MAX_BYTES));
        assert_eq!(uri.authority.userinfo.username, "slipway");
        assert_eq!(uri.authority.userinfo.password, "s3cret");
        settings.urls = vec![SecretString::from("http://guest:hunter2@10.0.0.1")];
        let error = address(&settings, 0).unwrap_err().to_string();
        assert!(error.contains("broker.urls") && !error.contains("hunter2"), "{error}");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
