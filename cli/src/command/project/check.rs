//! `slipway project check`: what a `slipway.yml` says, or what is wrong with it and where.

use std::path::Path;

use serde_json::json;
use slipway_worker::project_file;

use crate::command::CommandError;
use crate::exit::Exit;
use crate::view;

/// Largest file that is read.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Checks the file.
///
/// # Errors
/// When it cannot be read. What is wrong with it is printed, and is no error of the program.
pub(super) fn run(path: &Path, json: bool) -> Result<Exit, CommandError> {
    let fail = |source| CommandError::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(fail)?.len();
    if length > FILE_MAX_BYTES {
        return Err(fail(std::io::Error::other(format!("it has more than {FILE_MAX_BYTES} bytes"))));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let errors = project_file::parse(&text).err().unwrap_or_default();
    if json {
        let errors: Vec<_> = errors
            .iter()
            .map(|error| {
                json!({
                    "line": error.line, "column": error.column, "field": error.field, "reason": error.reason,
                })
            })
            .collect();
        view::json(&json!({ "file": path.display().to_string(), "errors": errors }));
    } else {
        for error in &errors {
            view::line(&view::text::clean(&format!("{}:{error}", path.display())));
        }
        if errors.is_empty() {
            view::line(&format!("{} is good", path.display()));
        }
    }
    Ok(if errors.is_empty() { Exit::Done } else { Exit::Failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &[u8]) -> Result<Exit, CommandError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slipway.yml");
        std::fs::write(&path, text).unwrap();
        run(&path, true)
    }

    #[test]
    fn scripts_can_tell_a_good_file_from_a_bad_one_and_from_none() {
        assert_eq!(checked(b"port: 8080\n").unwrap(), Exit::Done);
        assert_eq!(checked(b"port: much\n").unwrap(), Exit::Failed);
        assert_eq!(checked(b"port: [\n").unwrap(), Exit::Failed);
        let none = run(Path::new("/nonexistent/slipway.yml"), true);
        assert!(matches!(none, Err(CommandError::Read { .. })), "{none:?}");
        let large = vec![b'#'; usize::try_from(FILE_MAX_BYTES).unwrap() + 1];
        assert!(matches!(checked(&large), Err(CommandError::Read { .. })));
        assert!(matches!(checked(b"port: \xff\n"), Err(CommandError::Read { .. })), "it is no UTF-8");
    }
}
