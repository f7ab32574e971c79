//! Asks hosts for their refs over HTTP, in this process: that is done for every registered project every few minutes, and
//! starting a program each time costs more than the question. Connections are kept, and no redirect is followed, so that
//! no credential can go along. What is answered is read by `listing`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response};
use secrecy::ExposeSecret as _;
use slipway_common::model::RepositoryAddress;
use slipway_common::telemetry::chain;
use slipway_gitlab::retry_after;
use tokio::sync::OnceCell;

use super::command::{Redactor, failure};
use super::credential::Credential;
use super::error::GitError;
use super::limits::GitLimits;
use super::listing::{self, Advertised, Listing, Unreadable};

/// Hosts let clients in by names that begin like this.
const USER_AGENT: &str = concat!("git/2.0 (slipway ", env!("CARGO_PKG_VERSION"), ")");
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// For how long, and how many, connections that are not in use are kept. Hosts keep them for a minute.
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 8;
/// Most hosts that are remembered.
const HOSTS_MAX: usize = 1_000;
/// Most of an error page that is shown.
const DETAIL_MAX_CHARS: usize = 300;
/// What operators name certificates with that Git is to trust, and no others: a file, and a folder of files.
const CA_FILE: &str = "GIT_SSL_CAINFO";
const CA_FOLDER: &str = "GIT_SSL_CAPATH";

const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const REQUEST: &str = "application/x-git-upload-pack-request";
const RESULT: &str = "application/x-git-upload-pack-result";

/// A client for all hosts.
#[derive(Debug)]
pub(super) struct SmartHttp {
    client: OnceCell<Client>,
    limits: Arc<GitLimits>,
    /// Hosts that take commands without being asked what they can do, by origin.
    take_commands: Mutex<HashSet<String>>,
}

/// What a host is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// What is being done, for messages.
    pub(super) operation: &'static str,
    pub(super) address: &'a RepositoryAddress,
    /// Put behind the address.
    pub(super) suffix: &'static str,
    pub(super) credential: Option<&'a Credential>,
    /// How the names of refs begin that are asked for.
    pub(super) prefixes: &'a [String],
}

impl SmartHttp {
    pub(super) fn new(limits: Arc<GitLimits>) -> Self {
        Self { client: OnceCell::new(), limits, take_commands: Mutex::default() }
    }

    /// The refs that are asked for. One request to a host that is known, two to another.
    ///
    /// # Errors
    /// Any network failure; [`GitError::Limit`] when the host answers more than the limit of bytes.
    pub(super) async fn refs(&self, question: &Question<'_>) -> Result<Listing, GitError> {
        let limit = self.limits.command_timeout;
        let asked = tokio::time::timeout(limit, self.ask(question)).await;
        let listing = asked.unwrap_or(Err(GitError::Timeout { operation: question.operation, limit }))?;
        Ok(listing.keep(question.prefixes))
    }

    async fn ask(&self, question: &Question<'_>) -> Result<Listing, GitError> {
        let client = self.client.get_or_try_init(|| client(question.operation, &self.limits)).await?;
        let origin = question.address.origin();
        if self.hosts().contains(&origin) {
            match self.command(client, question).await {
                // It may be another program by now, or have closed a connection that was kept: ask from the start.
                Err(GitError::Other { .. } | GitError::Unreachable { .. }) => {
                    self.hosts().remove(&origin);
                }
                answered => return answered,
            }
        }
        match self.advertisement(client, question).await? {
            Advertised::Refs(listing) => Ok(listing),
            Advertised::Commands => {
                let listing = self.command(client, question).await?;
                let mut hosts = self.hosts();
                if hosts.len() >= HOSTS_MAX {
                    hosts.clear();
                }
                hosts.insert(origin);
                Ok(listing)
            }
        }
    }

    async fn advertisement(&self, client: &Client, question: &Question<'_>) -> Result<Advertised, GitError> {
        let address = question.url("info/refs?service=git-upload-pack");
        let body = self.send(question, client.get(address), ADVERTISEMENT).await?;
        listing::advertisement(&body).map_err(|error| question.unreadable(&error))
    }

    async fn command(&self, client: &Client, question: &Question<'_>) -> Result<Listing, GitError> {
        let request = client
            .post(question.url("git-upload-pack"))
            .header(header::CONTENT_TYPE, REQUEST)
            .body(listing::command(question.prefixes));
        let body = self.send(question, request, RESULT).await?;
        listing::refs(&body).map_err(|error| question.unreadable(&error))
    }

    /// Sends a request and reads the answer, which must be of this type.
    async fn send(
        &self,
        question: &Question<'_>,
        request: RequestBuilder,
        expected: &'static str,
    ) -> Result<Vec<u8>, GitError> {
        let request = request.header(header::ACCEPT, expected).header("Git-Protocol", "version=2");
        let request = match question.credential {
            None => request,
            Some(credential) => {
                let shown = HeaderValue::from_str(credential.basic().expose_secret());
                let mut shown = shown.map_err(|_| GitError::CredentialForm)?;
                shown.set_sensitive(true);
                request.header(header::AUTHORIZATION, shown)
            }
        };
        let sent = request.send().await.map_err(|error| question.broken(error, &self.limits))?;
        let (status, kind, headers) = (sent.status(), content_type(&sent), sent.headers().clone());
        let body = self.read(question, sent).await;
        if status != StatusCode::OK {
            return Err(question.refused(status, &headers, &body.unwrap_or_default()));
        }
        if kind != expected {
            let detail = format!("the answer is not Git's: it is of type `{kind}`");
            return Err(GitError::Other { operation: question.operation, detail: question.clean(&detail) });
        }
        body
    }

    async fn read(&self, question: &Question<'_>, mut answer: Response) -> Result<Vec<u8>, GitError> {
        let limit = self.limits.max_listing_bytes;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| question.broken(error, &self.limits))? {
            if body.len() + part.len() > limit {
                let limit = u64::try_from(limit).unwrap_or(u64::MAX);
                return Err(GitError::Limit { what: "bytes of the list of refs", limit });
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn hosts(&self) -> MutexGuard<'_, HashSet<String>> {
        self.take_commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question<'_> {
    fn url(&self, rest: &str) -> String {
        format!("{}{}/{rest}", self.address, self.suffix)
    }

    /// `text` without secrets, on one line that is not too long.
    fn clean(&self, text: &str) -> String {
        let clean = Redactor::new(self.credential).redact(text);
        clean.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(DETAIL_MAX_CHARS).collect()
    }

    /// What it means that there is no answer, or half of one.
    fn broken(&self, error: reqwest::Error, limits: &GitLimits) -> GitError {
        let operation = self.operation;
        let error = error.without_url();
        let text = chain(&error);
        let has = |needles: &[&str]| needles.iter().any(|needle| text.to_ascii_lowercase().contains(needle));
        if error.is_timeout() && error.is_connect() {
            return GitError::Timeout { operation, limit: CONNECT_TIMEOUT.min(limits.command_timeout) };
        }
        if error.is_timeout() {
            return GitError::TooSlow { operation };
        }
        if has(&["dns error", "failed to lookup"]) {
            return GitError::HostUnknown { operation };
        }
        let detail = self.clean(&text);
        if has(&["certificate", "tls", "handshake", "corrupt message"]) {
            return GitError::Tls { operation, detail };
        }
        GitError::Unreachable { operation, detail }
    }

    /// What it means that the host answers with this status.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> GitError {
        let operation = self.operation;
        let detail = || {
            let body = String::from_utf8_lossy(body);
            let is_page = body.trim_start().starts_with('<');
            let said = if is_page || body.trim().is_empty() { String::new() } else { format!(": {body}") };
            self.clean(&format!("it answers {}{said}", status.as_u16()))
        };
        match status.as_u16() {
            300..=399 => GitError::Redirected { operation },
            401 => GitError::AuthenticationFailed { operation, with_credential: self.credential.is_some() },
            403 => GitError::Forbidden { operation, detail: detail() },
            404 | 410 => GitError::RepositoryNotFound { operation },
            429 => GitError::RateLimited { operation, retry_after: retry_after(headers, Timestamp::now()) },
            500..=599 => GitError::HostFailed { operation, detail: detail() },
            _ => GitError::Other { operation, detail: detail() },
        }
    }

    /// What it means that the answer cannot be read, or says what is wrong in words.
    fn unreadable(&self, error: &Unreadable) -> GitError {
        let detail = self.clean(&error.to_string());
        match error {
            Unreadable::Refused(_) => failure(self.operation, self.credential.is_some(), &detail),
            Unreadable::Malformed(_) => GitError::Other { operation: self.operation, detail },
        }
    }
}

fn content_type(answer: &Response) -> String {
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned()
}

async fn client(operation: &'static str, limits: &GitLimits) -> Result<Client, GitError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let trusted = trusted(operation, set(CA_FILE), set(CA_FOLDER)).await?;
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(limits.low_speed_window)
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX);
    let builder = if trusted.is_empty() { builder } else { builder.tls_certs_only(trusted) };
    builder.build().map_err(|error| GitError::Tls { operation, detail: chain(&error) })
}

/// The certificates in a file and in the files of a folder.
async fn trusted(
    operation: &'static str,
    file: Option<PathBuf>,
    folder: Option<PathBuf>,
) -> Result<Vec<Certificate>, GitError> {
    super::mirror::blocking(operation, move || {
        let of_folder = folder.map(|folder| files_of(operation, &folder)).transpose()?;
        let files = file.into_iter().chain(of_folder.into_iter().flatten());
        let mut trusted = Vec::new();
        for file in files {
            let text = std::fs::read(&file).map_err(|source| GitError::io(operation, source))?;
            let read = Certificate::from_pem_bundle(&text);
            trusted.extend(read.map_err(|error| GitError::Tls {
                operation,
                detail: format!("{}: {}", file.display(), chain(&error)),
            })?);
        }
        Ok(trusted)
    })
    .await
}

fn files_of(operation: &'static str, folder: &Path) -> Result<Vec<PathBuf>, GitError> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries: Vec<std::fs::DirEntry> = entries.map_err(|source| GitError::io(operation, source))?;
    Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use slipway_common::model::AddressPolicy;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::stage::StageError;

    const TOKEN: &str = "glpat-CANARY";

    /// A host that answers every connection with these bytes, and its address.
    async fn host(answer: String) -> RepositoryAddress {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut asked = [0_u8; 4_096];
                let _read = connection.read(&mut asked).await;
                let _sent = connection.write_all(answer.as_bytes()).await;
                let _closed = connection.shutdown().await;
            }
        });
        address(&format!("http://127.0.0.1:{port}/group/shop"))
    }

    fn address(url: &str) -> RepositoryAddress {
        RepositoryAddress::parse(url, &AddressPolicy::default()).unwrap()
    }

    async fn ask(address: &RepositoryAddress) -> Result<Listing, GitError> {
        let credential = Credential::token(TOKEN.to_owned().into()).unwrap();
        let prefixes = ["HEAD".to_owned()];
        let question = Question {
            operation: "asking",
            address,
            suffix: "",
            credential: Some(&credential),
            prefixes: &prefixes,
        };
        SmartHttp::new(Arc::new(GitLimits::default())).refs(&question).await
    }

    fn answer(status: &str, kind: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }

    #[tokio::test]
    async fn what_hosts_answer_is_told_apart_and_shows_no_secret() {
        let echo = format!("no: {TOKEN} at http://u:{TOKEN}@host/");
        for (answered, code) in [
            (
                answer("401 Unauthorized", "text/plain", "HTTP Basic: Access denied"),
                "git_authentication_failed",
            ),
            (answer("403 Forbidden", "text/plain", &echo), "git_forbidden"),
            (answer("404 Not Found", "text/html", "<html>"), "git_repository_not_found"),
            (answer("301 Moved Permanently", "text/html", ""), "git_redirected"),
            (answer("429 Too Many Requests", "text/plain", "Retry later"), "git_rate_limited"),
            (answer("502 Bad Gateway", "text/html", "<html>"), "git_host_failed"),
            (answer("418 I'm a teapot", "text/plain", &echo), "git_failed"),
            (answer("200 OK", "text/html", "<html>Sign in</html>"), "git_failed"),
            (answer("200 OK", ADVERTISEMENT, "<html>"), "git_failed"),
            (answer("200 OK", ADVERTISEMENT, "0023ERR The project was not found.\n0000"), "git_failed"),
            (answer("200 OK", ADVERTISEMENT, "short").replace(": 5", ": 9"), "git_host_unreachable"),
            (String::new(), "git_host_unreachable"),
        ] {
            let error = ask(&host(answered.clone()).await).await.unwrap_err();
            assert_eq!(error.code(), code, "{answered}: {error}");
            assert!(!error.to_string().contains("CANARY"), "{error}");
            assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn the_pause_a_host_asks_for_is_kept() {
        let limited = answer("429 Too Many Requests", "text/plain", "Retry later");
        let limited = limited.replacen("\r\n", "\r\nRetry-After: 17\r\n", 1);
        let error = ask(&host(limited).await).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(17)), "{error}");
        assert!(error.is_host_away());
        let error = StageError::from(error);
        assert_eq!(error.pause_min(), Duration::from_secs(17));
    }

    #[tokio::test]
    async fn a_host_that_is_not_there_or_speaks_no_tls_is_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let error = ask(&address(&format!("http://127.0.0.1:{closed}/a/b"))).await.unwrap_err();
        assert_eq!(error.code(), "git_host_unreachable", "{error}");
        let error = ask(&address("https://nowhere.invalid/a/b")).await.unwrap_err();
        assert_eq!(error.code(), "git_host_unknown", "{error}");
        let plain = host(answer("200 OK", "text/plain", "")).await;
        let error = ask(&address(&plain.as_str().replacen("http", "https", 1))).await.unwrap_err();
        assert_eq!(error.code(), "git_tls", "{error}");
    }

    #[tokio::test]
    async fn certificates_are_read_from_a_file_and_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("bad.pem");
        std::fs::write(&bad, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        assert_eq!(trusted("asking", None, None).await.unwrap().len(), 0);
        let gone = Some(folder.path().join("gone"));
        assert_eq!(trusted("asking", gone.clone(), None).await.unwrap_err().code(), "git_local_io");
        assert_eq!(trusted("asking", None, gone).await.unwrap_err().code(), "git_local_io");
        for (file, folder) in [(Some(bad), None), (None, Some(folder.path().to_owned()))] {
            assert_eq!(trusted("asking", file, folder).await.unwrap_err().code(), "git_tls");
        }
    }
}
