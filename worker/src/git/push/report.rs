//! Reading the report of `git push --porcelain` and what the host says beside it. Pure.

/// Longest message kept.
const MESSAGE_MAX_CHARS: usize = 1_000;

/// What a finished push said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The host does not take push options, and nothing was pushed.
    NoPushOptions,
    /// The host answered for the branch.
    Answered { status: RefStatus, message: String },
}

/// What happened to the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefStatus {
    Updated,
    UpToDate,
    Stale,
    Protected,
    Rejected,
}

/// The verdict on `target`, or `None` when the push failed before the host gave one.
pub(super) fn read(stdout: &str, stderr: &str, target: &str, succeeded: bool) -> Option<Verdict> {
    if stderr.contains("does not support push options") {
        return Some(Verdict::NoPushOptions);
    }
    let (flag, summary) = stdout.lines().find_map(|line| status_line(line, target))?;
    let said = host_message(stderr);
    let message = if said.is_empty() { summary.to_owned() } else { said };
    let status = match flag {
        '=' => RefStatus::UpToDate,
        // A line cut after the report was read still ends in a failure; the caller must look then.
        ' ' | '*' | '+' if succeeded => RefStatus::Updated,
        '!' => refusal(summary, &message)?,
        _ => return None,
    };
    Some(Verdict::Answered { status, message })
}

/// `<flag>\t<from>:<to>\t<summary>`.
fn status_line<'a>(line: &'a str, target: &str) -> Option<(char, &'a str)> {
    let mut parts = line.splitn(3, '\t');
    let flag = parts.next()?;
    let (_, to) = parts.next()?.rsplit_once(':')?;
    let flag = flag.chars().next().unwrap_or(' ');
    (to == target).then_some((flag, parts.next().unwrap_or_default()))
}

/// The kind of a refusal, or `None` when the host did not get to decide.
fn refusal(summary: &str, message: &str) -> Option<RefStatus> {
    const STALE: [&str; 8] = [
        "stale info",
        "fetch first",
        "non-fast-forward",
        "incorrect old value",
        "but expected",
        "reference already exists",
        "failed to update ref",
        "cannot lock ref",
    ];
    let summary = summary.to_ascii_lowercase();
    let both = format!("{summary} {}", message.to_ascii_lowercase());
    if summary.contains("remote failure") || summary.contains("unpacker error") {
        return None;
    }
    Some(if both.contains("protected branch") || both.contains("protected ref") {
        RefStatus::Protected
    } else if STALE.iter().any(|text| both.contains(text)) {
        RefStatus::Stale
    } else {
        RefStatus::Rejected
    })
}

/// What the host printed, without Git's prefix, one line per line.
fn host_message(stderr: &str) -> String {
    let lines = stderr.lines().filter_map(|line| line.trim_start().strip_prefix("remote:")).map(str::trim);
    let said: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.bytes().all(|b| b == b'=')).collect();
    said.join("\n").chars().take(MESSAGE_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "refs/heads/main";

    fn status(stdout: &str, stderr: &str) -> Option<RefStatus> {
        match read(stdout, stderr, TARGET, !stdout.starts_with('!'))? {
            Verdict::Answered { status, .. } => Some(status),
            Verdict::NoPushOptions => None,
        }
    }

    #[test]
    fn every_kind_of_answer_is_recognised() {
        let protected =
            "remote: GitLab: You are not allowed to push code to protected branches on this project.";
        let github = "remote: error: GH006: Protected branch update failed for refs/heads/main.";
        let locked = "remote: error: cannot lock ref 'refs/heads/main': is at 1 but expected 2";
        let table = [
            (" \tabc:refs/heads/main\t1..2", "", RefStatus::Updated),
            ("*\tabc:refs/heads/main\t[new branch]", "", RefStatus::Updated),
            ("=\tabc:refs/heads/main\t[up to date]", "", RefStatus::UpToDate),
            ("!\tabc:refs/heads/main\t[rejected] (stale info)", "", RefStatus::Stale),
            ("!\tabc:refs/heads/main\t[rejected] (fetch first)", "", RefStatus::Stale),
            (
                "!\tabc:refs/heads/main\t[remote rejected] (incorrect old value provided)",
                "",
                RefStatus::Stale,
            ),
            ("!\tabc:refs/heads/main\t[remote rejected] (failed to update ref)", locked, RefStatus::Stale),
            (
                "!\tabc:refs/heads/main\t[remote rejected] (pre-receive hook declined)",
                protected,
                RefStatus::Protected,
            ),
            (
                "!\tabc:refs/heads/main\t[remote rejected] (protected branch hook declined)",
                github,
                RefStatus::Protected,
            ),
            (
                "!\tabc:refs/heads/main\t[remote rejected] (pre-receive hook declined)",
                "remote: GL-HOOK-ERR: no",
                RefStatus::Rejected,
            ),
        ];
        for (stdout, stderr, expected) in table {
            assert_eq!(
                status(&format!("To http://h/p\n{stdout}\nDone\n").replace("To http://h/p\n!", "!"), stderr),
                Some(expected),
                "{stdout}"
            );
        }
    }

    #[test]
    fn no_answer_is_no_verdict() {
        assert_eq!(read("", "fatal: the remote end hung up unexpectedly", TARGET, false), None);
        assert_eq!(read(" \tabc:refs/heads/main\t1..2\n", "", TARGET, false), None);
        assert_eq!(read(" \tabc:refs/heads/other\t1..2\n", "", TARGET, true), None);
        let options = "fatal: the receiving end does not support push options";
        assert_eq!(read("", options, TARGET, false), Some(Verdict::NoPushOptions));
    }

    #[test]
    fn the_message_is_what_the_host_said() {
        let stderr = "remote: ====\nremote: \nremote: GitLab: no.   \nerror: failed to push";
        assert_eq!(host_message(stderr), "GitLab: no.");
    }
}
