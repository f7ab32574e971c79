//! Merge requests.

use serde::Deserialize;

use crate::{Gitlab, GitlabError, parse};

/// A merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequest {
    /// Its number in the project.
    pub iid: u64,
    /// The branch that is to be merged.
    pub source_branch: String,
    /// The branch it is to be merged into.
    pub target_branch: String,
    /// The newest commit of the source branch.
    pub sha: String,
    /// The project of the source branch; 0 when it was deleted.
    pub source_project_id: u64,
    /// The project of the target branch.
    pub target_project_id: u64,
    /// Whether it says itself that it is not ready.
    pub draft: bool,
    /// Its page.
    pub web_url: String,
}

impl MergeRequest {
    /// Whether its commits come from another project, whose members may be anybody.
    #[must_use]
    pub fn is_fork(&self) -> bool {
        self.source_project_id != self.target_project_id
    }
}

#[derive(Deserialize)]
struct RawMergeRequest {
    iid: u64,
    source_branch: String,
    target_branch: String,
    #[serde(default, deserialize_with = "parse::filled")]
    sha: Option<String>,
    #[serde(default, deserialize_with = "parse::or_default")]
    source_project_id: u64,
    target_project_id: u64,
    #[serde(default, deserialize_with = "parse::or_default")]
    draft: bool,
    #[serde(default, deserialize_with = "parse::or_default")]
    web_url: String,
}

impl RawMergeRequest {
    /// One without a commit has nothing in it that could be shown.
    fn with_commit(self) -> Option<MergeRequest> {
        let sha = self.sha?;
        Some(MergeRequest {
            iid: self.iid,
            source_branch: self.source_branch,
            target_branch: self.target_branch,
            sha,
            source_project_id: self.source_project_id,
            target_project_id: self.target_project_id,
            draft: self.draft,
            web_url: self.web_url,
        })
    }
}

impl Gitlab {
    /// Every open merge request that has a commit, oldest first.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses, or when there are more than fit on the pages that are read.
    pub async fn open_merge_requests(&self) -> Result<Vec<MergeRequest>, GitlabError> {
        let mut url = self.in_project(&["merge_requests"])?;
        url.query_pairs_mut()
            .append_pair("state", "opened")
            .append_pair("order_by", "created_at")
            .append_pair("sort", "asc");
        let raw: Vec<RawMergeRequest> = self.list(url).await?;
        let mut found: Vec<MergeRequest> = raw.into_iter().filter_map(RawMergeRequest::with_commit).collect();
        found.sort_by_key(|request| request.iid);
        found.dedup_by_key(|request| request.iid);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<MergeRequest> {
        serde_json::from_str::<RawMergeRequest>(json).unwrap().with_commit()
    }

    #[test]
    fn a_fork_is_told_by_its_project() {
        let of = |source: &str| {
            read(&format!(
                r#"{{"iid":3,"source_branch":"f","target_branch":"main","sha":"ab","source_project_id":{source},
                    "target_project_id":7}}"#
            ))
            .unwrap()
        };
        assert!(!of("7").is_fork());
        assert!(of("8").is_fork());
        assert!(of("null").is_fork(), "a project that was deleted is not this one");
    }

    #[test]
    fn one_without_a_commit_is_left_out() {
        let json = r#"{"iid":3,"source_branch":"f","target_branch":"main","sha":null,"target_project_id":7}"#;
        assert_eq!(read(json), None);
    }
}
