//! Halting points for the crash matrix. When `SLIPWAY_FAILPOINT` names a point, the worker says so in a file and
//! then does nothing more, so that a test can kill the process exactly there. Unset, a point costs one comparison.

use std::path::PathBuf;

/// Environment variable that arms a point: `<stage>.<before|inside|after>=<file to create>`.
pub const FAILPOINT_VARIABLE: &str = "SLIPWAY_FAILPOINT";

/// The armed point, if any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failpoint(Option<(String, PathBuf)>);

impl Failpoint {
    /// Parses the variable's value; anything unreadable arms nothing.
    #[must_use]
    pub fn parse(value: Option<&str>) -> Self {
        let armed = value.and_then(|value| value.split_once('=')).map(|(point, file)| {
            tracing::warn!(point, "a failpoint is armed: this process will halt there");
            (point.to_owned(), PathBuf::from(file))
        });
        Self(armed)
    }

    /// Halts here for ever if `point` is armed and was not reached before.
    pub async fn reach(&self, point: &str) {
        let Some((armed, file)) = &self.0 else { return };
        if armed == point && !file.exists() {
            if let Err(error) = std::fs::write(file, point) {
                tracing::error!(point, %error, "the failpoint's file could not be written");
                return;
            }
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Failpoint;

    #[tokio::test]
    async fn halts_once_at_the_armed_point_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("reached");
        let failpoint = Failpoint::parse(Some(&format!("build.before={}", file.display())));
        failpoint.reach("clone.before").await;
        let halted = tokio::time::timeout(Duration::from_millis(50), failpoint.reach("build.before")).await;
        assert!(halted.is_err() && file.exists());
        failpoint.reach("build.before").await;
        Failpoint::parse(None).reach("build.before").await;
    }
}
