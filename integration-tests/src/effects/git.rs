//! The Git server's reference updates: reflogs, which Git itself writes with each update, and every reachable commit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;

use super::{Effect, EffectKind};
use crate::git_server::GitServer;

/// Each line: commit, then the jobs its trailers name, with commas between.
const FORMAT: &str = "--format=%H %(trailers:key=Slipway-Job,valueonly,separator=%x2C)";
/// What Git shows for a reference that does not exist.
const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// Lets the repository write a line for every reference update. Without it only reachable commits are effects.
///
/// # Errors
/// When the repository cannot be written.
pub async fn record_reference_updates(server: &GitServer, repository: &str) -> anyhow::Result<()> {
    server.git(repository, &["config", "core.logAllRefUpdates", "always"], b"").await.map(drop)
}

/// Every commit with a job's trailer that a reference of the repository was advanced to, once for each time; and every
/// reachable one that no reference ever pointed to. Places are `<repository> <reference>`.
///
/// # Errors
/// When the repository cannot be read.
pub async fn commits(server: &GitServer, repository: &str) -> anyhow::Result<Vec<Effect>> {
    let updates = updates(&server.directory(repository))?;
    let mut jobs = jobs_of(&server.git(repository, &["log", "--all", FORMAT], b"").await?);
    let reachable: BTreeSet<String> = jobs.keys().cloned().collect();
    let unreachable: Vec<&str> =
        updates.iter().map(|(_, new)| new.as_str()).filter(|new| !jobs.contains_key(*new)).collect();
    if !unreachable.is_empty() {
        let arguments = ["log", "--no-walk=unsorted", "--stdin", FORMAT];
        let told = server.git(repository, &arguments, (unreachable.join("\n") + "\n").as_bytes()).await?;
        jobs.extend(jobs_of(&told));
    }
    let effect = |job: &str, reference: &str, commit: &str| Effect {
        kind: EffectKind::Commit,
        job: job.to_owned(),
        place: place(repository, reference),
        value: commit.to_owned(),
    };
    let named = |commit: &str| jobs.get(commit).into_iter().flatten().cloned().collect::<Vec<String>>();
    let mut effects: Vec<Effect> = updates
        .iter()
        .flat_map(|(reference, new)| named(new).into_iter().map(move |job| effect(&job, reference, new)))
        .collect();
    let advanced_to: BTreeSet<&str> = updates.iter().map(|(_, new)| new.as_str()).collect();
    for commit in reachable.iter().filter(|commit| !advanced_to.contains(commit.as_str())) {
        effects.extend(named(commit).iter().map(|job| effect(job, "(below a reference)", commit)));
    }
    Ok(effects)
}

/// The place of an effect in a repository.
pub(crate) fn place(repository: &str, reference: &str) -> String {
    format!("{repository} {reference}")
}

/// Commit and jobs of each line in [`FORMAT`]. `%(trailers)` ends a line itself when there are none.
fn jobs_of(told: &str) -> BTreeMap<String, Vec<String>> {
    let lines = told.lines().filter_map(|line| line.split_once(' '));
    let named = |jobs: &str| {
        jobs.split(',').map(str::trim).filter(|job| !job.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    lines.map(|(commit, jobs)| (commit.to_owned(), named(jobs))).collect()
}

/// Reference and new commit of every update of a branch, in the order of each reference.
fn updates(directory: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let logs = directory.join("logs/refs");
    let mut updates = Vec::new();
    let mut folders = vec![logs.clone()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&logs)?.to_str().context("a reference's name is no UTF-8")?;
            let text = std::fs::read_to_string(&path)?;
            let new = text.lines().filter_map(|line| line.split(' ').nth(1)).filter(|new| *new != NO_COMMIT);
            updates.extend(new.map(|new| (format!("refs/{name}"), new.to_owned())));
        }
    }
    Ok(updates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git_server::TreeFile;

    const MESSAGE: &str = "Add Dockerfile\n\nSlipway-Job: job-1";

    fn index(text: &str) -> [TreeFile; 1] {
        [TreeFile::new("index.html", text)]
    }

    async fn repository() -> (GitServer, &'static str) {
        let server = GitServer::start().await.unwrap();
        server.create_repo("group/site", &index("one")).await.unwrap();
        record_reference_updates(&server, "group/site").await.unwrap();
        (server, "group/site")
    }

    #[tokio::test]
    async fn commits_without_the_trailer_are_no_effects() {
        let (server, repository) = repository().await;
        server.commit(repository, "main", &index("two"), "Second").await.unwrap();
        assert_eq!(commits(&server, repository).await.unwrap(), []);
    }

    #[tokio::test]
    async fn each_advance_is_an_effect_even_when_it_was_undone() {
        let (server, repository) = repository().await;
        let before = server.tip(repository, "main").await.unwrap().unwrap();
        let first = server.commit(repository, "main", &index("two"), MESSAGE).await.unwrap();
        let reset = |to: &str| vec!["update-ref".to_owned(), "refs/heads/main".to_owned(), to.to_owned()];
        let words = reset(&before);
        server.git(repository, &words.iter().map(String::as_str).collect::<Vec<_>>(), b"").await.unwrap();
        let second = server.commit(repository, "main", &index("three"), MESSAGE).await.unwrap();
        let mut values: Vec<String> =
            commits(&server, repository).await.unwrap().into_iter().map(|effect| effect.value).collect();
        values.sort();
        let mut expected = vec![first, second];
        expected.sort();
        assert_eq!(values, expected);
    }

    #[tokio::test]
    async fn a_commit_pushed_below_another_counts() {
        let (server, repository) = repository().await;
        server.git(repository, &["config", "core.logAllRefUpdates", "false"], b"").await.unwrap();
        server.commit(repository, "main", &index("two"), MESSAGE).await.unwrap();
        server.commit(repository, "main", &index("three"), "On top").await.unwrap();
        let found = commits(&server, repository).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].job, "job-1");
    }
}
