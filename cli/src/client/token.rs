//! Where the API token comes from: a file that was named, a variable, or the file a server on this machine
//! left for its owner.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::data_dir;

/// Variable that holds the token.
pub(crate) const TOKEN_VARIABLE: &str = "SLIPWAY_TOKEN";
/// Longest token that is read from a file.
const TOKEN_MAX_BYTES: u64 = 4096;

/// Why no token could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The named file cannot be read.
    #[error("the token file {path} cannot be read", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was found could not be sent in a header.
    #[error("{origin} holds no token: it is empty, too long, or has characters no token has")]
    Form {
        /// Where it came from.
        origin: String,
    },
}

/// Finds the token; `None` when there is none anywhere. The file of a server on this machine is only used
/// for a `local` server, so that it is never sent elsewhere.
///
/// # Errors
/// When a named file cannot be read or what was found is no token.
pub(crate) fn find(named: Option<&Path>, local: bool) -> Result<Option<SecretString>, TokenError> {
    if let Some(path) = named {
        let text = read(path).map_err(|source| TokenError::File { path: path.to_owned(), source })?;
        return checked(&text, || path.display().to_string()).map(Some);
    }
    if let Ok(text) = std::env::var(TOKEN_VARIABLE) {
        return checked(&text, || TOKEN_VARIABLE.to_owned()).map(Some);
    }
    if !local {
        return Ok(None);
    }
    let path = std::env::var("SLIPWAY__DATA__DIR")
        .ok()
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(data_dir::of_this_process)
        .map(|dir| dir.join(data_dir::ADMIN_TOKEN_FILE));
    match path.and_then(|path| read(&path).ok().map(|text| (path, text))) {
        Some((path, text)) => checked(&text, || path.display().to_string()).map(Some),
        None => Ok(None),
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(TOKEN_MAX_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn checked(text: &str, origin: impl Fn() -> String) -> Result<SecretString, TokenError> {
    let token = text.trim();
    let fits = u64::try_from(token.len()).is_ok_and(|length| length <= TOKEN_MAX_BYTES);
    if token.is_empty() || !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Form { origin: origin() });
    }
    Ok(SecretString::from(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_named_file_is_read_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "slw_abc\n").unwrap();
        assert_eq!(find(Some(&path), false).unwrap().unwrap().expose_secret(), "slw_abc");
    }

    #[test]
    fn a_named_file_that_holds_no_token_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(matches!(find(Some(&path), true), Err(TokenError::File { .. })));
        for bad in [String::new(), "a\nb".to_owned(), "a b".to_owned(), "x".repeat(5000)] {
            std::fs::write(&path, &bad).unwrap();
            assert!(matches!(find(Some(&path), true), Err(TokenError::Form { .. })), "{} bytes", bad.len());
        }
    }
}
