//! What the jobs of a run work on: bare repositories with a branch for each job, so that each job has one effect.

use anyhow::Context as _;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::effects::{self, Effect, EffectKind};
use crate::git_server::{GitServer, TreeFile};

/// Repositories, unless there are fewer jobs.
const REPOSITORIES: usize = 24;

/// A Git server with a branch for each job. The branches hold a page and neither Dockerfile nor CI file, so that each
/// job pushes exactly one commit to its own.
#[derive(Debug)]
pub struct Site {
    git: GitServer,
    repositories: Vec<String>,
}

impl Site {
    /// Makes branches for so many jobs.
    ///
    /// # Errors
    /// When Git fails.
    pub async fn start(jobs: usize) -> anyhow::Result<Self> {
        let git = GitServer::start().await?;
        let repositories: Vec<String> =
            (0..REPOSITORIES.min(jobs.max(1))).map(|index| format!("chaos/site-{index:02}")).collect();
        let site = Self { git, repositories };
        let count = site.repositories.len();
        for (index, repository) in site.repositories.iter().enumerate() {
            site.make(repository, (index..jobs).step_by(count)).await?;
        }
        Ok(site)
    }

    async fn make(&self, repository: &str, jobs: impl Iterator<Item = usize>) -> anyhow::Result<()> {
        let page = TreeFile::new("index.html", format!("<!doctype html><title>{repository}</title>\n"));
        self.git.create_repo(repository, &[page]).await?;
        effects::record_reference_updates(&self.git, repository).await?;
        let tip = self.git.tip(repository, "main").await?.context("no main")?;
        let branches: String = jobs.map(|job| format!("create {} {tip}\n", reference(job))).collect();
        self.git.git(repository, &["update-ref", "--stdin"], branches.as_bytes()).await?;
        self.git.git(repository, &["pack-refs", "--all"], b"").await.map(drop)
    }

    /// The Git server.
    #[must_use]
    pub fn git(&self) -> &GitServer {
        &self.git
    }

    /// The request for one job.
    #[must_use]
    pub fn request(&self, job: usize) -> Value {
        json!({
            "repository_url": self.git.url(self.repository(job)),
            "branch": branch(job),
            "environment": format!("e{job}"),
        })
    }

    /// What one job's success stands for.
    #[must_use]
    pub fn wanted(&self, job: usize) -> Vec<(EffectKind, String)> {
        vec![(EffectKind::Commit, effects::place(self.repository(job), &reference(job)))]
    }

    /// Everything that was pushed.
    ///
    /// # Errors
    /// When Git fails.
    pub async fn effects(&self) -> anyhow::Result<Vec<Effect>> {
        let of = self.repositories.iter().map(|repository| effects::commits(&self.git, repository));
        Ok(try_join_all(of).await?.into_iter().flatten().collect())
    }

    fn repository(&self, job: usize) -> &str {
        &self.repositories[job % self.repositories.len()]
    }
}

fn branch(job: usize) -> String {
    format!("b{job}")
}

fn reference(job: usize) -> String {
    format!("refs/heads/{}", branch(job))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_effect_of_a_job_is_found_where_it_is_wanted() {
        let site = Site::start(30).await.unwrap();
        assert_eq!(site.effects().await.unwrap(), []);
        let request = site.request(27);
        let (repository, branch) = (site.repository(27), request["branch"].as_str().unwrap());
        assert_eq!(request["repository_url"], site.git().url(repository).as_str());
        let file = [TreeFile::new("Dockerfile", "FROM scratch\n")];
        site.git()
            .commit(repository, branch, &file, "Add Dockerfile\n\nSlipway-Job: job-27\n")
            .await
            .unwrap();
        let effects = site.effects().await.unwrap();
        assert_eq!(effects.len(), 1, "{effects:?}");
        assert_eq!(site.wanted(27), [(effects[0].kind, effects[0].place.clone())]);
        assert_eq!(effects[0].job, "job-27");
    }

    #[tokio::test]
    async fn no_two_jobs_share_a_place() {
        let site = Site::start(60).await.unwrap();
        let places: std::collections::BTreeSet<String> =
            (0..60).flat_map(|job| site.wanted(job)).map(|(_, place)| place).collect();
        assert_eq!(places.len(), 60);
        for job in 0..60 {
            let found = site.git().tip(site.repository(job), &branch(job)).await.unwrap();
            assert!(found.is_some(), "the branch of job {job}");
        }
    }
}
