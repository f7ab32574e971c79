//! The HTTP side of the client: one place that sends requests, knows the token, and tells a refusal from a
//! server that cannot be reached.

#[cfg(test)]
pub(crate) mod fake;
mod problem;
mod stream;
#[cfg(test)]
mod tests;
mod token;
pub(crate) mod types;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

pub(crate) use problem::Problem;
pub(crate) use stream::{EventStream, LineStream};
pub(crate) use token::TokenError;

use crate::args::ConnectionArgs;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for one answer that is no stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence of a stream; the server sends something at least every 15 s unless told otherwise.
const STREAM_SILENCE_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest time a request that may be repeated is repeated after its connection was lost.
const REPEAT_FOR: Duration = Duration::from_secs(30);
const REPEAT_PAUSE: Duration = Duration::from_millis(500);
/// Largest answer that is no stream.
const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The client itself could not be set up.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),
    /// The token cannot be read.
    #[error("no token can be sent")]
    Token(#[source] TokenError),
    /// The server's address cannot have a path.
    #[error("`{server}` is no address of a server; it must begin with http:// or https://")]
    Server {
        /// What was given.
        server: Url,
    },
    /// No answer.
    #[error("the server at {server} cannot be reached")]
    Unreachable {
        /// Its address.
        server: Url,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server refused the request and said why.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The answer is not what this client understands.
    #[error("the server at {server} answered something else than expected: {reason}")]
    Answer {
        /// Its address.
        server: Url,
        /// What is wrong with it.
        reason: String,
    },
}

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<SecretString>,
}

impl Client {
    /// A client for the server and token that `args`, the environment and the data folder name.
    ///
    /// # Errors
    /// When the address is no server's or a token file cannot be read.
    pub(crate) fn new(args: &ConnectionArgs) -> Result<Self, ClientError> {
        let server = args.server.clone();
        if !matches!(server.scheme(), "http" | "https") {
            return Err(ClientError::Server { server });
        }
        let local = is_local(&server);
        let token = token::find(args.token_file.as_deref(), local).map_err(ClientError::Token)?;
        if token.is_some() && server.scheme() == "http" && !local {
            eprintln!("warning: the token travels unencrypted to {server}; use https://");
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(STREAM_SILENCE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if local {
            builder = builder.no_proxy();
        }
        Ok(Self { http: builder.build().map_err(ClientError::Setup)?, server, token })
    }

    /// The server's address.
    pub(crate) fn server(&self) -> &Url {
        &self.server
    }

    /// `GET`, answered with JSON.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers something else.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path, query).timeout(ANSWER_TIMEOUT);
        let response = self.answered(request).await?;
        self.json(response).await
    }

    /// `POST` that is repeated with the same key when its connection is lost, answered with JSON.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers something else.
    pub(crate) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &B,
        key: &str,
    ) -> Result<T, ClientError> {
        let repeat_until = tokio::time::Instant::now() + REPEAT_FOR;
        let mut sent_once = false;
        loop {
            let request = self
                .request(Method::POST, path, &[])
                .timeout(ANSWER_TIMEOUT)
                .header("Idempotency-Key", key)
                .json(body);
            let answer = match self.answered(request).await {
                Ok(response) => self.json(response).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(ClientError::Unreachable { source, .. })
                    if (sent_once || !source.is_connect()) && tokio::time::Instant::now() < repeat_until =>
                {
                    sent_once = true;
                    tokio::time::sleep(REPEAT_PAUSE).await;
                }
                settled => return settled,
            }
        }
    }

    /// `PUT` of JSON; the answer's body is not read.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(crate) async fn put<B: Serialize + Sync>(&self, path: &[&str], body: &B) -> Result<(), ClientError> {
        let request = self.request(Method::PUT, path, &[]).timeout(ANSWER_TIMEOUT).json(body);
        self.answered(request).await.map(drop)
    }

    /// `PUT` of JSON, answered with JSON.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers something else.
    pub(crate) async fn put_answered<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &B,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::PUT, path, &[]).timeout(ANSWER_TIMEOUT).json(body);
        let response = self.answered(request).await?;
        self.json(response).await
    }

    /// `PATCH` with JSON, answered with JSON.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers something else.
    pub(crate) async fn patch_answered<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &B,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::PATCH, path, &[]).timeout(ANSWER_TIMEOUT).json(body);
        let response = self.answered(request).await?;
        self.json(response).await
    }

    /// `DELETE`; the answer is handed over unread.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<(), ClientError> {
        let request = self.request(Method::DELETE, path, &[]).timeout(ANSWER_TIMEOUT);
        self.answered(request).await.map(drop)
    }

    /// `DELETE`, answered with JSON.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers something else.
    pub(crate) async fn delete_answered<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        let request = self.request(Method::DELETE, path, &[]).timeout(ANSWER_TIMEOUT);
        let response = self.answered(request).await?;
        self.json(response).await
    }

    /// Opens a stream of events, after `last_event_id` if there is one.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(crate) async fn events(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        last_event_id: Option<&str>,
    ) -> Result<EventStream, ClientError> {
        let mut request = self.request(Method::GET, path, query).header("Accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        let response = self.answered(request).await?;
        Ok(EventStream::new(self.server.clone(), response))
    }

    /// Opens a stream of JSON lines.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(crate) async fn lines(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<LineStream, ClientError> {
        let request = self.request(Method::GET, path, query).header("Accept", "application/x-ndjson");
        let response = self.answered(request).await?;
        Ok(LineStream::new(self.server.clone(), response))
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.http.request(method, url).query(query);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn answered(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.body(response).await.unwrap_or_default();
        Err(ClientError::Refused(Box::new(Problem::parse(status.as_u16(), &body))))
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| self.unexpected(error.to_string()))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| self.unreachable(source))? {
            if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(self.unexpected(format!("more than {ANSWER_MAX_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable { server: self.server.clone(), source: source.without_url() }
    }

    fn unexpected(&self, reason: String) -> ClientError {
        ClientError::Answer { server: self.server.clone(), reason }
    }
}

/// Whether the server is on this machine, so that no proxy stands before it and no wire is tapped.
fn is_local(server: &Url) -> bool {
    match server.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
