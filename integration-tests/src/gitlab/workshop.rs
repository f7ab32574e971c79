//! The developers: real pushes of real commits from clones of their own, and merge requests.

use anyhow::Context as _;

use super::{GitlabServer, Hook};
use crate::git_server::TreeFile;

/// A branch and what is committed on it.
#[derive(Debug, Clone)]
pub struct BranchPush<'a> {
    /// The branch; one that is new begins at the default branch.
    pub branch: &'a str,
    /// What is committed.
    pub files: &'a [TreeFile],
}

impl GitlabServer {
    /// Commits these files on a branch and pushes it; answers the commit.
    ///
    /// # Errors
    /// When Git fails, with what it said.
    pub async fn push(
        &self,
        path: &str,
        branch: &str,
        files: &[TreeFile],
        message: &str,
    ) -> anyhow::Result<String> {
        let commits = self.push_many(path, &[BranchPush { branch, files }], message, &[]).await?;
        commits.into_iter().next().context("nothing was pushed")
    }

    /// Commits on several branches, and pushes all of them at once, with these push options; answers the commits.
    ///
    /// # Errors
    /// When Git fails, with what it said.
    pub async fn push_many(
        &self,
        path: &str,
        branches: &[BranchPush<'_>],
        message: &str,
        options: &[&str],
    ) -> anyhow::Result<Vec<String>> {
        self.update_clone(path).await?;
        let default = self.project(path)?.default_branch;
        let mut commits = Vec::new();
        for BranchPush { branch, files } in branches {
            if self.workshop.tip(path, branch).await?.is_none()
                && let Some(tip) = self.workshop.tip(path, &default).await?
            {
                let reference = format!("refs/heads/{branch}");
                self.workshop.git(path, &["update-ref", &reference, &tip], b"").await?;
            }
            commits.push(self.workshop.commit(path, branch, files, message).await?);
        }
        let refs: Vec<String> = branches.iter().map(|it| format!("refs/heads/{}", it.branch)).collect();
        self.push_refs(path, &refs, options).await?;
        Ok(commits)
    }

    /// Tags the tip of a branch, with a tag object if `annotated`, and pushes the tag; answers the commit.
    ///
    /// # Errors
    /// When Git fails, with what it said.
    pub async fn push_tag(
        &self,
        path: &str,
        tag: &str,
        branch: &str,
        annotated: bool,
    ) -> anyhow::Result<String> {
        self.update_clone(path).await?;
        let tip = self.workshop.tip(path, branch).await?.context("the branch does not exist")?;
        let reference = format!("refs/tags/{tag}");
        let object = if annotated {
            let tagger = "Somebody <somebody@example.org> 1700000000 +0000";
            let text = format!("object {tip}\ntype commit\ntag {tag}\ntagger {tagger}\n\nA tag\n");
            self.workshop.git(path, &["mktag"], text.as_bytes()).await?.trim().to_owned()
        } else {
            tip.clone()
        };
        self.workshop.git(path, &["update-ref", &reference, &object], b"").await?;
        self.push_refs(path, &[reference], &[]).await?;
        Ok(tip)
    }

    /// Deletes a branch.
    ///
    /// # Errors
    /// When Git fails, with what it said.
    pub async fn delete_branch(&self, path: &str, branch: &str) -> anyhow::Result<()> {
        self.update_clone(path).await?;
        self.push_refs(path, &[format!(":refs/heads/{branch}")], &[]).await
    }

    /// Opens a merge request of a branch into the default branch; answers its number.
    ///
    /// # Errors
    /// When there is no such branch, or an open one for it.
    pub async fn open_merge_request(&self, path: &str, branch: &str) -> anyhow::Result<u64> {
        let project = self.project(path)?;
        self.server.open_merge_request(project.id, project.id, branch, &project.default_branch).await
    }

    /// The same from a fork's branch.
    ///
    /// # Errors
    /// When there is no such branch, or an open one for it.
    pub async fn open_from_fork(&self, path: &str, fork: &str, branch: &str) -> anyhow::Result<u64> {
        let (project, fork) = (self.project(path)?, self.project(fork)?);
        self.server.open_merge_request(project.id, fork.id, branch, &project.default_branch).await
    }

    /// Closes (`close`) or merges (`merge`) a merge request.
    ///
    /// # Errors
    /// When there is no such merge request.
    pub async fn end_merge_request(&self, path: &str, iid: u64, action: &str) -> anyhow::Result<()> {
        self.server.end_merge_request(self.project(path)?.id, iid, action).await
    }

    /// Adds a hook that gets everything, past the interface.
    ///
    /// # Errors
    /// When there is no such project.
    pub fn add_hook(
        &self,
        path: &str,
        url: &str,
        signing_token: Option<&str>,
        token: Option<&str>,
    ) -> anyhow::Result<u64> {
        let id = self.server.world().next_id();
        let mut hook = Hook::new(id);
        hook.url = url.to_owned();
        hook.signing_token = signing_token.map(str::to_owned);
        hook.token = token.map(str::to_owned);
        let events = &mut hook.events;
        (events.push, events.tag_push, events.merge_requests) = (true, true, true);
        (events.pipelines, events.jobs) = (true, true);
        self.change_project(path, |project| project.hooks.push(hook))?;
        Ok(id)
    }

    /// Brings the developers' clone of a project up to date.
    async fn update_clone(&self, path: &str) -> anyhow::Result<()> {
        if !self.workshop.directory(path).exists() {
            self.workshop.create_repo(path, &[]).await?;
        }
        let branches = "+refs/heads/*:refs/heads/*";
        self.workshop.git(path, &["fetch", "--quiet", "--prune", &self.address(path), branches], b"").await?;
        Ok(())
    }

    async fn push_refs(&self, path: &str, refs: &[String], options: &[&str]) -> anyhow::Result<()> {
        let address = self.address(path);
        let mut arguments = vec!["push", "--quiet"];
        for option in options {
            arguments.extend(["-o", *option]);
        }
        arguments.push(&address);
        arguments.extend(refs.iter().map(String::as_str));
        self.workshop.git(path, &arguments, b"").await.map(drop)
    }

    /// The address with the developers' own token.
    fn address(&self, path: &str) -> String {
        let host = self.url().trim_start_matches("http://");
        format!("http://developer:{}@{host}/{path}.git", self.developer)
    }
}
