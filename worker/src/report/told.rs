//! What was told of one deployment so far: the memo of its entry on the agenda. Bounded, whatever happened to the
//! deployment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use slipway_common::model::JobId;

use super::wanted::{CommitStatusWanted, Course, DeploymentWanted, EnvironmentWanted, NoteWanted, Wanted};

/// Version of the memo written by this build. What a memo of another build does not hold is empty.
const VERSION: u16 = 1;
/// Commits whose status is remembered: a deployment has two, and a retry may be of others.
const STATUSES_MAX: usize = 4;
/// Digits of the hash that stands for a text.
const MARK_DIGITS: usize = 16;

/// What was told of one deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    version: u16,
    /// How often the deployment was looked for in vain: it may be noted before it is accepted.
    pub(crate) missed: u32,
    /// Number of the last event that was looked at.
    pub(crate) seen: u64,
    /// When the deployment that was looked at had last changed.
    pub(crate) as_of: Option<Timestamp>,
    /// What the forge was told.
    pub(crate) forge: ToldForge,
    /// What was published.
    pub(crate) topic: ToldTo,
    /// What the receivers of outgoing webhooks were told, by the mark of their address.
    pub(crate) receivers: BTreeMap<String, ToldTo>,
}

/// What the forge was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ToldForge {
    /// By commit: of which job, and where it stood.
    pub(crate) statuses: BTreeMap<String, (JobId, Course)>,
    /// The deployment there.
    pub(crate) deployment: Option<ToldDeployment>,
    /// Mark of what the environment there is like.
    pub(crate) environment: Option<String>,
    /// The note on the merge request.
    pub(crate) note: Option<ToldNote>,
    /// What keeps it from being told.
    pub(crate) trouble: Option<Trouble>,
}

/// A deployment as the forge knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToldDeployment {
    /// The job it stands for.
    pub(crate) job: JobId,
    /// Its number there.
    pub(crate) id: u64,
    /// Where it stands there.
    pub(crate) course: Course,
}

/// A note as the forge knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ToldNote {
    /// Its number.
    pub(crate) id: u64,
    /// Mark of its text.
    pub(crate) body: String,
}

/// How far a receiver of messages is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ToldTo {
    /// Number of the last event it need not be told of any more.
    pub(crate) cursor: u64,
    /// It wants to hear nothing more of this deployment.
    pub(crate) gone: bool,
    /// What keeps it from being told.
    pub(crate) trouble: Option<Trouble>,
}

/// Why somebody could not be told, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// Since when.
    pub(crate) since: Timestamp,
    /// How often it was tried.
    pub(crate) tries: u32,
    /// When it is tried again.
    pub(crate) next: Timestamp,
    /// What the receiver refused it with, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// It was given up after the event of this number; only what happens later is told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given_up: Option<u64>,
}

/// One thing the forge is still to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The status of a commit.
    Status(&'a CommitStatusWanted),
    /// The deployment.
    Deployment(&'a DeploymentWanted),
    /// The environment.
    Environment(&'a EnvironmentWanted),
    /// The note on the merge request.
    Note(&'a NoteWanted),
}

impl Told {
    /// What a memo says. One that cannot be read says nothing: results are told once more then.
    pub(crate) fn of(memo: Option<&str>) -> Self {
        memo.and_then(|memo| serde_json::from_str(memo).ok()).unwrap_or_default()
    }

    /// The memo.
    pub(crate) fn memo(&self) -> Option<String> {
        serde_json::to_string(&Self { version: VERSION, ..self.clone() }).ok()
    }

    /// How far the receiver is. One that was added later is told of what comes from now on.
    pub(crate) fn receiver(&self, mark: &str) -> ToldTo {
        let added = || ToldTo { cursor: self.seen, ..ToldTo::default() };
        self.receivers.get(mark).cloned().unwrap_or_else(added)
    }

    /// Whether the deployment has changed since it was looked at.
    pub(crate) fn is_behind(&self, changed_at: Timestamp) -> bool {
        self.as_of.is_none_or(|as_of| as_of < changed_at)
    }

    /// Number of the event after which everybody has still to hear.
    pub(crate) fn oldest_cursor(&self) -> u64 {
        let of_receivers = self.receivers.values().filter(|told| !told.gone).map(|told| told.cursor);
        of_receivers.chain([self.topic.cursor, self.seen]).min().unwrap_or_default()
    }
}

impl ToldForge {
    /// What is wanted and was not told, in the order in which it is to be.
    pub(crate) fn missing<'a>(&self, wanted: &'a Wanted) -> Vec<Step<'a>> {
        let statuses = wanted.statuses.iter().filter(|status| !self.has_status(status)).map(Step::Status);
        let deployment = wanted.deployment.iter().filter(|deployment| !self.has_deployment(deployment));
        let environment = wanted.environment.iter().filter(|environment| !self.has_environment(environment));
        let note = wanted.note.iter().filter(|note| !self.has_note(note));
        statuses
            .chain(deployment.map(Step::Deployment))
            .chain(environment.map(Step::Environment))
            .chain(note.map(Step::Note))
            .collect()
    }

    /// The commit has its status.
    pub(crate) fn status_told(&mut self, status: &CommitStatusWanted) {
        if self.statuses.len() >= STATUSES_MAX && !self.statuses.contains_key(&status.sha) {
            // Those of earlier jobs are not wanted any more.
            let earlier = self.statuses.iter().find(|(_, (job, _))| *job != status.job);
            match earlier.map(|(sha, _)| sha.clone()) {
                Some(sha) => self.statuses.remove(&sha),
                None => self.statuses.pop_first().map(|(_, told)| told),
            };
        }
        self.statuses.insert(status.sha.clone(), (status.job, status.course));
    }

    /// The deployment called `id` there is as it should be.
    pub(crate) fn deployment_told(&mut self, deployment: &DeploymentWanted, id: u64) {
        self.deployment = Some(ToldDeployment { job: deployment.job, id, course: deployment.course });
    }

    /// The environment is as it should be.
    pub(crate) fn environment_told(&mut self, environment: &EnvironmentWanted) {
        self.environment = Some(mark(&environment.key()));
    }

    /// The note called `id` there says what it should.
    pub(crate) fn note_told(&mut self, note: &NoteWanted, id: u64) {
        self.note = Some(ToldNote { id, body: mark(&note.body) });
    }

    fn has_status(&self, status: &CommitStatusWanted) -> bool {
        self.statuses.get(&status.sha) == Some(&(status.job, status.course))
    }

    fn has_deployment(&self, deployment: &DeploymentWanted) -> bool {
        let told = self.deployment.as_ref();
        told.is_some_and(|told| told.job == deployment.job && told.course == deployment.course)
    }

    fn has_environment(&self, environment: &EnvironmentWanted) -> bool {
        self.environment.as_ref().is_some_and(|told| *told == mark(&environment.key()))
    }

    fn has_note(&self, note: &NoteWanted) -> bool {
        self.note.as_ref().is_some_and(|told| told.body == mark(&note.body))
    }
}

/// What stands for a text that is only to be recognised: the beginning of its hash.
pub(crate) fn mark(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(MARK_DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use slipway_common::model::registered::OUTGOING_MAX;

    use super::*;

    /// Well below what a store takes as a memo.
    const MEMO_MAX_BYTES: usize = 8 * 1024;

    fn status(sha: &str) -> CommitStatusWanted {
        CommitStatusWanted {
            job: JobId::generate(),
            sha: sha.to_owned(),
            reference: None,
            name: "slipway/production".to_owned(),
            course: Course::Canceled,
            description: "x".repeat(255),
            target_url: Some("y".repeat(255)),
        }
    }

    fn trouble() -> Trouble {
        Trouble {
            since: Timestamp::UNIX_EPOCH,
            tries: u32::MAX,
            next: Timestamp::MAX,
            refused: Some("gitlab_forbidden".to_owned()),
            given_up: Some(u64::MAX),
        }
    }

    #[test]
    fn the_largest_memo_is_small_and_comes_back_as_it_was() {
        let mut forge = ToldForge { trouble: Some(trouble()), ..ToldForge::default() };
        for number in 0..100 {
            forge.status_told(&status(&format!("{number:040}")));
        }
        assert_eq!(forge.statuses.len(), STATUSES_MAX);
        assert!(forge.statuses.contains_key(&format!("{:040}", 99)), "the newest is remembered");
        let note = NoteWanted { merge_request: 5, marker: String::new(), body: "long ".repeat(10_000) };
        forge.note_told(&note, u64::MAX);
        let told = ToldTo { cursor: u64::MAX, gone: true, trouble: Some(trouble()) };
        let receivers = (0..OUTGOING_MAX).map(|number| (mark(&number.to_string()), told.clone()));
        let receivers = receivers.collect();
        let as_of = Some(Timestamp::MAX);
        let all = Told { version: VERSION, missed: 1, seen: 1, as_of, forge, topic: told.clone(), receivers };
        let memo = all.memo().unwrap();
        assert!(memo.len() < MEMO_MAX_BYTES, "{} bytes", memo.len());
        assert_eq!(Told::of(Some(&memo)), all);
    }

    #[test]
    fn the_commits_of_the_latest_job_are_remembered_before_those_of_others() {
        let mut forge = ToldForge::default();
        for sha in ["c", "d", "e", "f"] {
            forge.status_told(&status(sha));
        }
        let first = status("a");
        let second = CommitStatusWanted { sha: "b".to_owned(), ..first.clone() };
        forge.status_told(&first);
        forge.status_told(&second);
        assert!(forge.has_status(&first) && forge.has_status(&second), "{:?}", forge.statuses);
        assert_eq!(forge.statuses.len(), STATUSES_MAX);
    }

    #[test]
    fn memos_of_other_builds_are_read_as_far_as_they_go() {
        let memo = r#"{"version":9,"seen":7,"invented":true,"topic":{"cursor":3}}"#;
        let told = Told::of(Some(memo));
        assert_eq!((told.seen, told.topic.cursor, told.forge), (7, 3, ToldForge::default()));
        for unreadable in [None, Some(""), Some("[]"), Some("{\"seen\":\"x\"}")] {
            assert_eq!(Told::of(unreadable), Told::default(), "{unreadable:?}");
        }
    }

    #[test]
    fn a_receiver_that_was_added_later_is_not_told_what_was_before() {
        let mut told = Told { seen: 12, ..Told::default() };
        told.topic.cursor = 12;
        assert_eq!(told.receiver("new").cursor, 12);
        assert_eq!(Told::default().receiver("first").cursor, 0);
        told.receivers.insert("slow".to_owned(), ToldTo { cursor: 4, ..ToldTo::default() });
        assert_eq!(told.oldest_cursor(), 4);
        told.receivers.insert("gone".to_owned(), ToldTo { cursor: 1, gone: true, ..ToldTo::default() });
        assert_eq!(told.oldest_cursor(), 4, "nobody waits for what a receiver does not want");
    }
}
