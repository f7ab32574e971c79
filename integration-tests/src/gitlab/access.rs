//! Who asks, and what they may: tokens with scopes and roles, for the interface and for Git.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::json;

use super::answer::Reply;
use super::world::{Project, World};

/// Role that may see a project.
pub const GUEST: u32 = 10;
/// Role that may read code.
pub const REPORTER: u32 = 20;
/// Role that may push and tell of commits.
pub const DEVELOPER: u32 = 30;
/// Role that may change hooks, deploy tokens and variables.
pub const MAINTAINER: u32 = 40;

/// A personal, group or project access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: u64,
    /// What it is called; the log names it so.
    pub name: String,
    /// The token.
    pub value: String,
    /// `api`, `read_api`, `read_repository`, `write_repository` …
    pub scopes: Vec<String>,
    /// Its role in the projects it is for.
    pub level: u32,
    /// The projects it is for; `None` for all of them.
    pub projects: Option<Vec<u64>>,
    /// Its last day, such as `2027-01-31`.
    pub expires_at: Option<String>,
    /// Whether it was taken back.
    pub revoked: bool,
}

impl Token {
    fn has(&self, scopes: &[&str]) -> bool {
        self.scopes.iter().any(|scope| scopes.contains(&scope.as_str()))
    }

    /// The role in a project; 0 when it is not even seen.
    pub(super) fn level_in(&self, project: &Project) -> u32 {
        let member = self.projects.as_ref().is_none_or(|ids| ids.contains(&project.id));
        match (member, project.public) {
            (true, _) => self.level,
            (false, true) => GUEST,
            (false, false) => 0,
        }
    }
}

/// Who asks the interface.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    Nobody,
    Somebody(Token),
}

impl World {
    /// Who comes with these headers; an answer when the token is not good.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Reply> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = header(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        let Some(value) = header("private-token").or(bearer) else { return Ok(Caller::Nobody) };
        match self.tokens.iter().find(|token| token.value == value) {
            Some(token) if token.revoked => Err(Reply::json(
                401,
                &json!({
                    "error": "invalid_token",
                    "error_description": "Token was revoked. You have to re-authorize from the user.",
                }),
            )),
            Some(token) => Ok(Caller::Somebody(token.clone())),
            None => Err(Reply::unauthorized()),
        }
    }

    /// The name under which a request is logged.
    pub(super) fn name_of(&self, headers: &HeaderMap) -> Option<String> {
        if let Ok(Caller::Somebody(token)) = self.caller(headers) {
            return Some(token.name);
        }
        let (_, password) = basic(headers)?;
        let token = self.tokens.iter().find(|token| token.value == password);
        let mut deploy = self.projects.iter().flat_map(|project| &project.deploy_tokens);
        token
            .map(|token| token.name.clone())
            .or_else(|| deploy.find(|token| token.value == password).map(|token| token.name.clone()))
    }
}

impl Caller {
    /// Whether the token may call this method at all.
    pub(super) fn check_scope(&self, reads: bool) -> Result<(), Reply> {
        let Self::Somebody(token) = self else { return Ok(()) };
        if token.has(&["api"]) || (reads && token.has(&["read_api"])) {
            return Ok(());
        }
        let wanted = if reads { "api read_api" } else { "api" };
        Err(Reply::json(
            403,
            &json!({
                "error": "insufficient_scope",
                "error_description":
                    "The request requires higher privileges than provided by the access token.",
                "scope": wanted,
            }),
        ))
    }

    /// Whether the caller has this role in the project; what is not visible does not exist.
    pub(super) fn check_level(&self, project: &Project, level: u32) -> Result<(), Reply> {
        let own = match self {
            Self::Nobody if project.public => GUEST,
            Self::Nobody => return Err(Reply::unauthorized()),
            Self::Somebody(token) => token.level_in(project),
        };
        if own == 0 {
            return Err(Reply::not_found("Project"));
        }
        if own >= level {
            return Ok(());
        }
        Err(match self {
            Self::Nobody => Reply::unauthorized(),
            Self::Somebody(_) => Reply::forbidden(),
        })
    }
}

/// User and password of a request.
pub(super) fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    pair.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

/// What Git is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GitAccess {
    Granted,
    /// Asks for a password.
    Denied,
    /// Not visible.
    Hidden,
    /// Visible, and not to be written.
    ReadOnly,
}

/// Whether Git may read or write the project with these headers.
pub(super) fn git_access(world: &World, project: &Project, headers: &HeaderMap, writes: bool) -> GitAccess {
    let Some((user, password)) = basic(headers) else {
        return if project.public && !writes { GitAccess::Granted } else { GitAccess::Denied };
    };
    let deploy = project.deploy_tokens.iter().find(|it| it.value == password && it.username == user);
    if let Some(token) = deploy {
        let may = |scope: &str| token.scopes.iter().any(|it| it == scope);
        return match writes {
            false if may("read_repository") => GitAccess::Granted,
            true if may("write_repository") => GitAccess::Granted,
            false | true => GitAccess::ReadOnly,
        };
    }
    let Some(token) = world.tokens.iter().find(|token| token.value == password && !token.revoked) else {
        return GitAccess::Denied;
    };
    let scopes: &[&str] =
        if writes { &["api", "write_repository"] } else { &["api", "write_repository", "read_repository"] };
    let level = token.level_in(project);
    let least = if writes { DEVELOPER } else { GUEST };
    if level == 0 {
        GitAccess::Hidden
    } else if token.has(scopes) && level >= least && !(writes && project.archived) {
        GitAccess::Granted
    } else {
        GitAccess::ReadOnly
    }
}
