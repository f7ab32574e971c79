//! Merge requests as people use them: opened, changed by a push, closed, merged, from a fork too.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;

use super::git;
use super::hooks::Event;
use super::merge_requests::MergeRequest;
use super::payload;
use super::server::Server;
use super::world::Project;

impl Server {
    /// Opens a merge request; answers its number. The branch is that of the project `source`.
    pub(super) async fn open_merge_request(
        self: &Arc<Self>,
        target: u64,
        source: u64,
        branch: &str,
        into: &str,
    ) -> anyhow::Result<u64> {
        let (target_path, source_path) = (self.path_of(target)?, self.path_of(source)?);
        let sha = self.git.tip(&source_path, branch).await?.context("the branch does not exist")?;
        let opened = self.world().change(target, |project, number| {
            let taken = |it: &MergeRequest| {
                it.state == "opened" && it.source_branch == branch && it.source_project_id == source
            };
            if project.merge_requests.iter().any(taken) {
                return None;
            }
            let iid = u64::try_from(project.merge_requests.len()).ok()?.checked_add(1)?;
            project.merge_requests.push(MergeRequest {
                id: number(),
                iid,
                title: format!("Bring {branch}"),
                source_branch: branch.to_owned(),
                target_branch: into.to_owned(),
                source_project_id: source,
                sha: sha.clone(),
                state: "opened",
                draft: false,
                created_at: Timestamp::now(),
                notes: Vec::new(),
            });
            Some(iid)
        });
        let iid = opened.flatten().context("another open merge request exists for this branch")?;
        self.write_head(&target_path, &source_path, iid, &sha).await?;
        self.tell_of_merge_request(target, iid, "open", None);
        Ok(iid)
    }

    /// Writes `refs/merge-requests/<iid>/head`; brings the commits of a fork over first.
    async fn write_head(&self, target: &str, source: &str, iid: u64, sha: &str) -> anyhow::Result<()> {
        let reference = format!("refs/merge-requests/{iid}/head");
        if source != target {
            let folder = self.git.directory(source).display().to_string();
            self.git.git(target, &["fetch", "--quiet", &folder, sha], b"").await?;
        }
        self.git.git(target, &["update-ref", &reference, sha], b"").await.map(drop)
    }

    /// Gives the merge requests of a branch its new commit.
    pub(super) async fn branch_moved(self: &Arc<Self>, source: &Project, branch: &str, sha: &str) {
        let touched: Vec<(u64, String, u64, String)> = {
            let mut world = self.world();
            let mut touched = Vec::new();
            for project in &mut world.projects {
                for it in &mut project.merge_requests {
                    let meant = it.state == "opened" && it.source_branch == branch;
                    if meant && it.source_project_id == source.id && it.sha != sha {
                        let before = std::mem::replace(&mut it.sha, sha.to_owned());
                        touched.push((project.id, project.path.clone(), it.iid, before));
                    }
                }
            }
            touched
        };
        for (project, path, iid, before) in touched {
            if self.write_head(&path, &source.path, iid, sha).await.is_ok() {
                self.tell_of_merge_request(project, iid, "update", Some(&before));
            }
        }
    }

    /// Closes (`close`) or merges (`merge`) a merge request.
    pub(super) async fn end_merge_request(
        self: &Arc<Self>,
        project: u64,
        iid: u64,
        action: &str,
    ) -> anyhow::Result<()> {
        let state = if action == "merge" { "merged" } else { "closed" };
        let changed = self.world().change(project, |project, _| {
            let found = project.merge_requests.iter_mut().find(|it| it.iid == iid)?;
            found.state = state;
            Some(found.clone())
        });
        let it = changed.flatten().context("no such merge request")?;
        if action == "merge" {
            let path = self.path_of(project)?;
            let reference = format!("refs/heads/{}", it.target_branch);
            let _one_at_a_time = self.pushes.lock().await;
            let before = git::refs(self, &path).await;
            self.git.git(&path, &["update-ref", &reference, &it.sha], b"").await?;
            let project = self.world().project(&path).cloned().context("the project is gone")?;
            git::moved(self, &project, &before, &[]).await;
        }
        self.tell_of_merge_request(project, iid, action, None);
        Ok(())
    }

    /// Sends the hook of a merge request as it is now.
    pub(super) fn tell_of_merge_request(
        self: &Arc<Self>,
        project: u64,
        iid: u64,
        action: &str,
        before: Option<&str>,
    ) {
        let payload = {
            let world = self.world();
            let Some(project) = world.projects.iter().find(|it| it.id == project) else { return };
            let Some(it) = project.merge_requests.iter().find(|it| it.iid == iid) else { return };
            payload::merge_request(project, it, action, before)
        };
        self.tell(project, Event::MergeRequest, &payload);
    }

    pub(super) fn path_of(&self, project: u64) -> anyhow::Result<String> {
        let world = self.world();
        let found = world.projects.iter().find(|it| it.id == project);
        ensure!(found.is_some(), "there is no project {project}");
        Ok(found.map(|it| it.path.clone()).unwrap_or_default())
    }
}
