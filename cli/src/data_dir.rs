//! The data folder: where it is when nobody says, and the files in it that client and server agree on.

use std::path::{Path, PathBuf};

/// The token made at the first start.
pub(crate) const ADMIN_TOKEN_FILE: &str = "admin.token";
/// The key that seals secrets.
pub(crate) const SECRET_KEY_FILE: &str = "secret.key";
/// Where a running server says which address it got.
pub(crate) const UP_FILE: &str = "up.json";
/// The database.
pub(crate) const DATABASE_FILE: &str = "slipway.db";

const SYSTEM_DIR: &str = "/var/lib/slipway";

/// The default folder: the system's for root, otherwise the user's. `None` without a home folder.
pub(crate) fn default_dir(is_root: bool, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from(SYSTEM_DIR));
    }
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("slipway"))
}

/// The default folder of this process.
pub(crate) fn of_this_process() -> Option<PathBuf> {
    default_dir(is_root(), |name| std::env::var(name).ok())
}

/// Whether this process runs as root: the owner of its own entry in /proc says so without `unsafe`.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_the_systems_folder_and_users_have_their_own() {
        let variables = |name: &str| match name {
            "HOME" => Some("/home/ada".to_owned()),
            _ => None,
        };
        assert_eq!(default_dir(true, variables), Some(PathBuf::from("/var/lib/slipway")));
        assert_eq!(default_dir(false, variables), Some(PathBuf::from("/home/ada/.local/share/slipway")));
        let xdg = |name: &str| (name == "XDG_DATA_HOME").then(|| "/data".to_owned());
        assert_eq!(default_dir(false, xdg), Some(PathBuf::from("/data/slipway")));
        assert_eq!(default_dir(false, |_| Some("relative".to_owned())), None);
        assert_eq!(default_dir(false, |_| None), None);
    }
}
