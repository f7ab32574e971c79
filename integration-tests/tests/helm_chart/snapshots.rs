//! What the chart renders, compared with what it rendered when somebody last looked at it.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::{SETS, helm, root, run};

/// Set to write the snapshots anew.
const UPDATE_VARIABLE: &str = "SLIPWAY_UPDATE_SNAPSHOTS";
/// Longest wait for `diff`.
const DIFF_TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn every_set_of_values_renders_as_its_snapshot() {
    let Some(helm) = helm().await else { return };
    let mut differing = Vec::new();
    for (set, kubernetes) in SETS {
        let rendered = masked(&helm.render(set, kubernetes).await);
        differing.extend(compared(&format!("snapshots/{set}.yaml"), &rendered).await);
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// How a text differs from a file below `integration-tests/helm`, which is written instead when that was asked for.
pub(crate) async fn compared(name: &str, text: &str) -> Option<String> {
    let path = root().join("integration-tests/helm").join(name);
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        std::fs::write(&path, text).expect("the snapshot can be written");
        return None;
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    if known == text {
        return None;
    }
    Some(format!(
        "{name} differs (-: known, +: now); if it shall, write it anew with {UPDATE_VARIABLE}=1:\n{}",
        difference(&path, text).await
    ))
}

async fn difference(known: &Path, text: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let now = folder.path().join("now");
    std::fs::write(&now, text).expect("written");
    let mut diff = Command::new("diff");
    diff.args(["--unified=3", "--new-file"]).arg(known).arg(&now);
    String::from_utf8_lossy(&run(&mut diff, DIFF_TIMEOUT).await.stdout).into_owned()
}

/// The text with `<generated>` for the values of Secrets, which are others each time. Versions of helm differ in empty
/// lines.
fn masked(text: &str) -> String {
    let (mut is_secret, mut in_data) = (false, false);
    let mask = |line: &str| {
        if line == "---" {
            (is_secret, in_data) = (false, false);
        } else if line == "kind: Secret" {
            is_secret = true;
        } else if !line.starts_with(' ') {
            in_data = is_secret && line == "data:";
        } else if in_data && let Some((key, _)) = line.split_once(": ") {
            return format!("{key}: <generated>\n");
        }
        format!("{line}\n")
    };
    text.lines().filter(|line| !line.is_empty()).map(mask).collect()
}

#[test]
fn only_the_values_of_secrets_are_masked() {
    let text = "---\nkind: Secret\ndata:\n  key: abc\n\n---\nkind: ConfigMap\ndata:\n  key: abc\n";
    let masked = masked(text);
    assert_eq!(
        masked,
        "---\nkind: Secret\ndata:\n  key: <generated>\n---\nkind: ConfigMap\ndata:\n  key: abc\n"
    );
}
