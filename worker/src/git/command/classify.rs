//! From what Git prints to what went wrong. Git has no machine-readable errors, so this is a table of texts
//! (of Git with `LC_ALL=C`, of curl and of the usual hosts), from the most to the least specific.

use crate::git::error::GitError;

/// Longest detail kept in an error.
const DETAIL_MAX_CHARS: usize = 600;

/// The error behind the redacted standard error of a failed command.
pub(crate) fn failure(operation: &'static str, with_credential: bool, stderr: &str) -> GitError {
    let text = stderr.to_ascii_lowercase();
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    let detail = || tail(stderr);
    if has(&["no space left on device", "disk quota exceeded"]) {
        GitError::DiskFull { operation }
    } else if has(&["transport '", "protocol '"]) && has(&["not allowed", "not supported", "is disabled"]) {
        GitError::ProtocolRefused { operation }
    } else if has(&["could not resolve host", "could not resolve proxy"]) {
        GitError::HostUnknown { operation }
    } else if has(&[
        "ssl certificate problem",
        "ssl routines",
        "gnutls",
        "server certificate verification",
        "ssl:",
    ]) {
        GitError::Tls { operation, detail: detail() }
    } else if has(&["unable to update url base from redirection", "returned error: 30"]) {
        GitError::Redirected { operation }
    } else if has(&[
        "authentication failed",
        "could not read username",
        "could not read password",
        "returned error: 401",
    ]) {
        GitError::AuthenticationFailed { operation, with_credential }
    } else if has(&["returned error: 403", "permission denied", "permission to"]) {
        GitError::Forbidden { operation, detail: detail() }
    } else if has(&["returned error: 404", "repository not found"])
        || (has(&["repository '"]) && has(&["' not found"]))
    {
        GitError::RepositoryNotFound { operation }
    } else if has(&["operation too slow", "less than"]) && has(&["bytes/sec"]) {
        GitError::TooSlow { operation }
    } else if has(&["returned error: 429"]) {
        GitError::RateLimited { operation, retry_after: None }
    } else if has(&["returned error: 5"]) {
        GitError::HostFailed { operation, detail: detail() }
    } else if has(&["fsck error", "error in object", "attempting to allocate"]) {
        GitError::Malformed { operation, detail: detail() }
    } else if is_connection_failure(&text) {
        GitError::Unreachable { operation, detail: detail() }
    } else if has(&[
        "object file",
        "loose object",
        "not a git repository",
        "packfile",
        "bad object",
        "is corrupt",
    ]) {
        GitError::Corrupted { detail: detail() }
    } else {
        GitError::Other { operation, detail: detail() }
    }
}

fn is_connection_failure(text: &str) -> bool {
    const TEXTS: [&str; 13] = [
        "failed to connect",
        "couldn't connect",
        "connection refused",
        "connection reset",
        "connection timed out",
        "operation timed out",
        "empty reply from server",
        "the remote end hung up",
        "early eof",
        "rpc failed",
        "unexpected disconnect",
        "recv failure",
        "network is unreachable",
    ];
    TEXTS.iter().any(|needle| text.contains(needle))
}

/// The last lines of `stderr`, without noise and bounded.
fn tail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let joined = lines[lines.len().saturating_sub(6)..].join("; ");
    let surplus = joined.chars().count().saturating_sub(DETAIL_MAX_CHARS);
    if joined.is_empty() {
        "git ended without a message".to_owned()
    } else {
        joined.chars().skip(surplus).collect()
    }
}
