//! Outgoing webhooks: messages to one receiver, in order, each signed by Standard Webhooks when it is sent. A redirect is
//! not followed and no answer is read: only its status counts.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use secrecy::SecretString;
use slipway_common::telemetry::chain;
use slipway_common::webhook::sign;
use url::{Host, Url};

use super::message::Message;
use super::pace::Fault;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection nobody uses is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 2;

/// Who sends.
#[derive(Debug)]
pub(super) struct Sender {
    /// To receivers elsewhere, by way of the proxy of the environment if there is one.
    elsewhere: Client,
    /// To receivers on this machine, which no proxy knows.
    here: Client,
}

/// One receiver. What is in it is not to be shown.
pub(super) struct Receiver {
    /// Its registered address.
    pub(super) url: Url,
    /// Its signing secret.
    pub(super) secret: SecretString,
}

/// What came of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// The receiver has it.
    Taken,
    /// The receiver wants to hear nothing more of this.
    Gone,
    /// It has it not, or nobody knows.
    Failed {
        /// Why.
        fault: Fault,
        /// Whether its host could not be used at all.
        is_host_away: bool,
    },
}

impl Sender {
    /// Sets up clients that wait `timeout` for an answer.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .connect_timeout(CONNECT_TIMEOUT.min(timeout))
                .timeout(timeout)
                .pool_idle_timeout(IDLE_MAX)
                .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX)
        };
        Ok(Self { elsewhere: builder().build()?, here: builder().no_proxy().build()? })
    }

    /// Sends one message, signed now.
    pub(super) async fn send(&self, receiver: &Receiver, message: &Message) -> Sent {
        let body = message.body.as_bytes();
        let signed = match sign(&receiver.secret, &message.id, Timestamp::now(), body) {
            Ok(signed) => signed,
            Err(error) => return refused("outgoing_secret", error.to_string()),
        };
        let client = if is_here(&receiver.url) { &self.here } else { &self.elsewhere };
        let mut request = client.post(receiver.url.clone()).header(CONTENT_TYPE, "application/json");
        for (name, value) in signed.pairs() {
            request = request.header(name, value);
        }
        match request.body(message.body.clone()).send().await {
            Ok(response) => of_answer(&response),
            // The address may hold what only the receiver should know.
            Err(error) => unreachable(&chain(&error.without_url())),
        }
    }
}

/// What the host is called where it is counted how many use it, and in the log.
pub(super) fn host_of(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn of_answer(response: &Response) -> Sent {
    let status = response.status();
    if status.is_success() {
        return Sent::Taken;
    }
    if status == StatusCode::GONE {
        return Sent::Gone;
    }
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let fault = Fault {
        code: "outgoing_refused".to_owned(),
        reason: format!("the receiver answered with status {}", status.as_u16()),
        is_refused: false,
        retry_after,
    };
    let wants_peace = status == StatusCode::TOO_MANY_REQUESTS && retry_after.is_some();
    Sent::Failed { fault, is_host_away: wants_peace }
}

fn unreachable(reason: &str) -> Sent {
    let fault = Fault {
        code: "outgoing_unreachable".to_owned(),
        reason: format!("the receiver cannot be reached: {reason}"),
        is_refused: false,
        retry_after: None,
    };
    Sent::Failed { fault, is_host_away: true }
}

fn refused(code: &str, reason: String) -> Sent {
    let fault = Fault { code: code.to_owned(), reason, is_refused: true, retry_after: None };
    Sent::Failed { fault, is_host_away: false }
}
