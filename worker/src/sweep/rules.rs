//! The rules of a project: those in `slipway.yml` at the tip of its default branch before the registered ones. No other
//! branch has a say in where it goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slipway_common::model::registered::{
    EnvironmentRule, Forge, NotifySwitches, RegisteredProject, ReviewRule,
};
use slipway_common::model::{BranchName, ProjectSlug};

use super::fault::Fault;
use super::look::Look;
use crate::git::Heads;
use crate::project_file::{self, ProjectFile, ProjectFileError};

/// Most files that are remembered.
const REMEMBERED_MAX: usize = 20_000;

/// Which ref goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) environments: Vec<EnvironmentRule>,
    pub(super) review: Option<ReviewRule>,
    /// Which results are told, where the file says so.
    pub(super) notify: Option<NotifySwitches>,
    /// What a person should know of them.
    pub(super) note: Option<String>,
}

/// The files that were read, so that a project whose default branch did not move needs no look into its commits.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<HashMap<ProjectSlug, Remembered>>);

#[derive(Debug)]
struct Remembered {
    revision: String,
    file: Option<Arc<ProjectFile>>,
}

impl Files {
    /// The file at `revision`, if that was the last one read; `None` when it was not.
    fn at(&self, slug: &ProjectSlug, revision: &str) -> Option<Option<Arc<ProjectFile>>> {
        let found = self.lock();
        let found = found.get(slug).filter(|found| found.revision == revision)?;
        Some(found.file.clone())
    }

    fn remember(&self, slug: &ProjectSlug, revision: &str, file: Option<Arc<ProjectFile>>) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED_MAX && !known.contains_key(slug) {
            known.clear();
        }
        known.insert(slug.clone(), Remembered { revision: revision.to_owned(), file });
    }

    /// Whether merge requests will have to be looked at, as far as known before the refs are.
    pub(super) fn wants_requests(&self, project: &RegisteredProject) -> bool {
        let known = self.lock();
        let file = known.get(&project.project.slug).and_then(|found| found.file.as_deref());
        of(project, file).review.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProjectSlug, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rules that hold now.
pub(super) async fn read(look: &Look<'_>, heads: &Heads) -> Result<Rules, Fault> {
    let branch = heads.default_branch.as_ref();
    let tip = branch.and_then(|branch| heads.branches.get(branch.as_str()));
    let Some(tip) = tip else { return Ok(of(look.project, None)) };
    if let Some(file) = look.sweeper.files.at(look.slug(), tip) {
        return Ok(of(look.project, file.as_deref()));
    }
    let file = file_at(look, tip, branch).await?.map(Arc::new);
    if let Some(file) = &file {
        let limits = &look.tools().settings.sweeps.limits;
        file.check(limits).map_err(|errors| ProjectFileError::Invalid { errors })?;
    }
    let rules = of(look.project, file.as_deref());
    look.sweeper.files.remember(look.slug(), tip, file);
    Ok(rules)
}

/// The project's file at a commit, which is fetched if need be.
pub(super) async fn file_at(
    look: &Look<'_>,
    revision: &str,
    branch: Option<&BranchName>,
) -> Result<Option<ProjectFile>, Fault> {
    look.fetch(revision, branch).await?;
    let tree = look.source.mirror.snapshot(revision).await?;
    let read = tokio::task::spawn_blocking(move || project_file::read(&tree)).await;
    Ok(read.map_err(|_| Fault::Crashed)??)
}

/// What of the file and of the registration holds. Pure.
fn of(project: &RegisteredProject, file: Option<&ProjectFile>) -> Rules {
    let environments = file.and_then(ProjectFile::environments);
    let review = file.and_then(ProjectFile::review).unwrap_or_else(|| project.review.clone());
    let can_review = project.forge == Forge::Gitlab;
    let note = (review.is_some() && !can_review).then(|| {
        format!("there are no review environments: the project is on {}, and they need GitLab", project.forge)
    });
    Rules {
        environments: environments.unwrap_or_else(|| project.environments.clone()),
        review: review.filter(|_| can_review),
        notify: file.and_then(ProjectFile::notify),
        note,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::registered;
    use super::*;

    fn file(text: &str) -> ProjectFile {
        project_file::parse(text).unwrap()
    }

    #[test]
    fn what_the_file_says_takes_the_place_of_what_was_registered() {
        let mut project = registered("https://git.example.com/team/shop");
        project.review = Some(ReviewRule::default());
        assert_eq!(of(&project, None).environments, project.environments);
        let text = "environments:\n  - name: live\n    tag: v*\nreview: false\n";
        let rules = of(&project, Some(&file(text)));
        assert_eq!(rules.environments[0].environment.as_str(), "live");
        assert_eq!((rules.environments.len(), rules.review, rules.notify), (1, None, None));
        let rules = of(&project, Some(&file("replicas: 2\n")));
        assert_eq!(rules.environments, project.environments);
        assert!(rules.review.is_some());
        let quiet = of(&project, Some(&file("notify:\n  notes: false\n")));
        assert_eq!(quiet.notify, Some(NotifySwitches { notes: Some(false), ..NotifySwitches::default() }));
    }

    #[test]
    fn review_environments_are_for_gitlab() {
        let mut project = registered("https://git.example.com/team/shop");
        project.review = Some(ReviewRule::default());
        for (forge, has_reviews) in [(Forge::Gitlab, true), (Forge::Github, false), (Forge::Gitea, false)] {
            project.forge = forge;
            let rules = of(&project, None);
            assert_eq!((rules.review.is_some(), rules.note.is_none()), (has_reviews, has_reviews));
        }
    }

    #[test]
    fn a_file_is_remembered_for_its_commit_alone() {
        let files = Files::default();
        let project = registered("https://git.example.com/team/shop");
        let slug = &project.project.slug;
        assert!(files.at(slug, "1").is_none());
        assert!(!files.wants_requests(&project));
        files.remember(slug, "1", Some(Arc::new(file("review: true\n"))));
        assert!(files.at(slug, "1").is_some_and(|file| file.is_some()));
        assert!(files.at(slug, "2").is_none());
        assert!(files.wants_requests(&project));
        files.remember(slug, "2", None);
        assert_eq!(files.at(slug, "2"), Some(None));
        assert!(!files.wants_requests(&project));
    }
}
