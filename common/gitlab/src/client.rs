//! The one place that sends requests to GitLab: with its token, to its own host only, limited in size and time.

mod receive;

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderValue, LINK, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Access, GitlabError, link, log};

const TOKEN_HEADER: &str = "private-token";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection nobody uses is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 4;
/// Most redirects of one request. GitLab has one, for a project that was moved.
const REDIRECTS_MAX: usize = 3;
/// Objects on one page, the most GitLab gives.
const PER_PAGE: &str = "100";
/// Most pages of one list. A longer one is an error: what is not on its pages would be taken for gone.
const PAGES_MAX: usize = 50;
/// Most lines of a log that are given.
const LOG_LINES_MAX: usize = 500;

/// One project on a GitLab, with the token it is used with.
#[derive(Clone)]
pub struct Gitlab {
    http: Client,
    base: Url,
    project: String,
    host: String,
    token: SecretString,
    header: HeaderValue,
    timeout: Duration,
}

impl fmt::Debug for Gitlab {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Gitlab")
            .field("host", &self.host)
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}

impl Gitlab {
    /// A client of one project. Nothing is sent yet.
    ///
    /// # Errors
    /// When the token may not be sent to the address, or is none.
    pub fn new(access: Access) -> Result<Self, GitlabError> {
        let base = access.base()?;
        let token = access.token.expose_secret();
        let mut header = HeaderValue::from_str(token).map_err(|_| GitlabError::Unauthorized)?;
        if token.is_empty() {
            return Err(GitlabError::Unauthorized);
        }
        header.set_sensitive(true);
        let name = base.host_str().ok_or(GitlabError::Address)?;
        let host = base.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        let Access { project, token, timeout, .. } = access;
        Ok(Self { http: shared_client()?, base, project, host, token, header, timeout })
    }

    /// Its host, with the port when it is not the usual one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The address of something in the project.
    pub(crate) fn in_project(&self, path: &[&str]) -> Result<Url, GitlabError> {
        let start = ["projects", self.project.as_str()];
        self.address(start.into_iter().chain(path.iter().copied()))
    }

    /// The address of something that belongs to no project.
    pub(crate) fn at_root(&self, path: &[&str]) -> Result<Url, GitlabError> {
        self.address(path.iter().copied())
    }

    /// Segments are encoded, slashes in them too.
    fn address<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Result<Url, GitlabError> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| GitlabError::Address)?.pop_if_empty().extend(path);
        Ok(url)
    }

    /// Reads one object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, GitlabError> {
        let response = self.fetch(Method::GET, url, None).await?;
        receive::json(response).await
    }

    /// Whether something exists; its contents are not read.
    pub(crate) async fn exists(&self, url: Url) -> Result<bool, GitlabError> {
        match self.fetch(Method::HEAD, url, None).await {
            Ok(_) => Ok(true),
            Err(GitlabError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a list with all its pages.
    pub(crate) async fn list<T: DeserializeOwned>(&self, mut url: Url) -> Result<Vec<T>, GitlabError> {
        url.query_pairs_mut().append_pair("per_page", PER_PAGE);
        let mut all = Vec::new();
        for _ in 0..PAGES_MAX {
            let (page, next) = self.page::<T>(url).await?;
            all.extend(page);
            match next {
                Some(next) => url = next,
                None => return Ok(all),
            }
        }
        Err(GitlabError::Unreadable { reason: format!("the list has more than {PAGES_MAX} pages") })
    }

    /// Reads one page, and says where the next one is. That is asked for on the same host and path, whatever host the
    /// answer names: only the query differs between pages.
    pub(crate) async fn page<T: DeserializeOwned>(
        &self,
        url: Url,
    ) -> Result<(Vec<T>, Option<Url>), GitlabError> {
        let response = self.fetch(Method::GET, url.clone(), None).await?;
        let link = response.headers().get(LINK).and_then(|value| value.to_str().ok());
        let next = link.and_then(link::next).and_then(|next| self.base.join(next).ok()).map(|next| {
            let mut page = url;
            page.set_query(next.query());
            page
        });
        Ok((receive::json(response).await?, next))
    }

    /// The last lines of a text, cleaned.
    pub(crate) async fn lines(&self, url: Url, lines_max: usize) -> Result<Vec<String>, GitlabError> {
        let response = self.fetch(Method::GET, url, Some(receive::TAIL_RANGE)).await;
        let tail = match response {
            Ok(response) => receive::tail(response).await?,
            // There is nothing in it yet.
            Err(GitlabError::Refused { status: 416, .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let lines_max = lines_max.min(LOG_LINES_MAX);
        let mut lines = log::tail(&tail.bytes, tail.has_start, lines_max, self.token.expose_secret());
        if !tail.has_end {
            lines.push("[the log goes on, but is too long to be read to its end]".to_owned());
            lines.drain(..lines.len().saturating_sub(lines_max));
        }
        Ok(lines)
    }

    /// Sends an object, and reads the one that is answered.
    pub(crate) async fn send<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        body: &B,
    ) -> Result<T, GitlabError> {
        let response = self.ask(self.request(method, url).json(body)).await?;
        receive::json(response).await
    }

    /// Sends an object; what is answered does not matter.
    pub(crate) async fn tell<B: Serialize + Sync>(
        &self,
        method: Method,
        url: Url,
        body: &B,
    ) -> Result<(), GitlabError> {
        self.ask(self.request(method, url).json(body)).await.map(drop)
    }

    /// Asks for something that needs no more words than its address.
    pub(crate) async fn post(&self, url: Url) -> Result<(), GitlabError> {
        self.ask(self.request(Method::POST, url)).await.map(drop)
    }

    /// Removes something. What is not there is removed.
    pub(crate) async fn delete(&self, url: Url) -> Result<(), GitlabError> {
        match self.ask(self.request(Method::DELETE, url)).await {
            Ok(_) | Err(GitlabError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads, and follows redirects that stay on the same host.
    async fn fetch(
        &self,
        method: Method,
        mut url: Url,
        range: Option<&'static str>,
    ) -> Result<Response, GitlabError> {
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.request(method.clone(), url.clone());
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            let response = receive::sent(request).await?;
            if !response.status().is_redirection() {
                return self.accepted(response).await;
            }
            url = self.moved_to(&url, &response)?;
        }
        Err(GitlabError::Unreadable { reason: format!("there are more than {REDIRECTS_MAX} redirects") })
    }

    fn moved_to(&self, from: &Url, response: &Response) -> Result<Url, GitlabError> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|location| from.join(location).ok());
        match to {
            Some(to) if to.origin() == self.base.origin() => Ok(to),
            Some(_) => {
                Err(refused(response, "it sends the request on to another host, which is not followed"))
            }
            None => Err(refused(response, "it sends the request on, but does not say where to")),
        }
    }

    /// Sends what changes something; a redirect would lose its words, and is none of GitLab's.
    async fn ask(&self, request: RequestBuilder) -> Result<Response, GitlabError> {
        let response = receive::sent(request).await?;
        if response.status().is_redirection() {
            return Err(refused(&response, "the project has another address now"));
        }
        self.accepted(response).await
    }

    async fn accepted(&self, response: Response) -> Result<Response, GitlabError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = receive::refusal(response).await;
        let token = self.token.expose_secret();
        Err(GitlabError::of_answer(status, &headers, &body, token, Timestamp::now()))
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url).header(TOKEN_HEADER, self.header.clone()).timeout(self.timeout)
    }
}

fn refused(response: &Response, why: &str) -> GitlabError {
    GitlabError::Refused { status: response.status().as_u16(), message: why.to_owned() }
}

/// One client of the whole process, so that connections are kept and certificates are read once. It holds no token.
fn shared_client() -> Result<Client, GitlabError> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let made = Client::builder()
        .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX)
        .redirect(Policy::none())
        .referer(false)
        // The token is for the host alone, and for nothing an environment variable puts in between.
        .no_proxy()
        .build()
        .map_err(|error| receive::failed(&error))?;
    Ok(CLIENT.get_or_init(|| made).clone())
}

#[cfg(test)]
mod tests;
