//! One look at one project: where its refs stand, what that comes to, and that it is done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use slipway_common::model::registered::state::{Follows, SweepState};
use slipway_common::model::registered::{Head, NotifySwitches, RegisteredProject};
use slipway_common::model::{BranchName, EnvironmentName, ProjectSlug};
use slipway_common::record::Record;
use slipway_common::telemetry::chain;
use tokio_util::sync::CancellationToken;

use super::decide::{Answer, Answers, Input, Plan, Question, Wanted, decide};
use super::fault::Fault;
use super::gate::Pass;
use super::rules::{self, Rules};
use super::{Sweeper, changed, own, review, submit};
use crate::figures::Count;
use crate::git::{GitError, Heads};
use crate::project_file::ProjectFileError;
use crate::stage::{Source, Tools};

/// Most heads of one record.
const HEADS_OF_RECORD_MAX: usize = 500;
/// How long work that was told to end may take to do so.
const END_GRACE: Duration = Duration::from_secs(2);
/// Most notes that are kept.
const NOTES_MAX: usize = 20;

/// A look at a project.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub(super) sweeper: &'a Sweeper,
    pub(super) project: &'a RegisteredProject,
    pub(super) source: Source,
    /// When the delivery arrived that made Slipway look, if one did.
    pub(super) delivered_at: Option<Timestamp>,
    /// How many requests were sent to the host.
    pub(super) requests: &'a AtomicU64,
}

impl Look<'_> {
    pub(super) fn tools(&self) -> &Tools {
        &self.sweeper.tools
    }

    pub(super) fn slug(&self) -> &ProjectSlug {
        &self.project.project.slug
    }

    /// One more request is sent to the host.
    pub(super) fn ask(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes a commit available.
    pub(super) async fn fetch(&self, revision: &str, branch: Option<&BranchName>) -> Result<(), GitError> {
        if self.source.mirror.has(revision).await? {
            return Ok(());
        }
        self.ask();
        self.source.mirror.fetch(revision, branch, self.source.credential.as_ref()).await
    }

    async fn heads(&self, with_requests: bool) -> Result<Heads, GitError> {
        self.ask();
        self.source.mirror.heads(self.source.credential.as_ref(), with_requests).await
    }
}

/// What went wrong with parts of a look while the others went on.
#[derive(Debug, Default)]
struct Troubles {
    first: Option<Fault>,
    notes: Vec<String>,
}

impl Troubles {
    /// What `part` has come to; `None` when it came to nothing.
    ///
    /// # Errors
    /// When Slipway itself is in trouble, which ends the look.
    fn take<T>(&mut self, part: &str, result: Result<T, Fault>) -> Result<Option<T>, Fault> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(fault) if fault.is_slipways() => Err(fault),
            Err(fault) => {
                self.notes.push(format!("{part}: {}", fault.shown().reason));
                self.first.get_or_insert(fault);
                Ok(None)
            }
        }
    }
}

/// Looks at the project. What is found on the way is in `state`, whatever comes of it.
pub(super) async fn look(
    sweeper: &Sweeper,
    project: &RegisteredProject,
    delivered_at: Option<Timestamp>,
    pass: &Pass,
    cancel: &CancellationToken,
    state: &mut SweepState,
) -> Result<(), Fault> {
    let settings = &sweeper.tools.settings;
    let timeout = settings.sweeps.timeout;
    let requests = AtomicU64::new(0);
    let opening = async {
        let opened = Source::of_project(&sweeper.tools, &project.project, &project.spec, cancel).await;
        opened.map_err(Fault::from)
    };
    // Before the host is asked: a look that comes late must not take for a move what a later one has seen already.
    let known = sweeper.tools.backend.projects.heads(&project.project.slug).await?;
    let turn = sweeper.turns.acquire().await;
    let source = within(timeout, cancel, opening).await?;
    let look = Look { sweeper, project, source, delivered_at, requests: &requests };
    let with_requests = sweeper.files.wants_requests(project);
    let listing = async { look.heads(with_requests).await.map_err(Fault::from) };
    let listed = within(timeout, cancel, listing).await;
    let is_away = listed.as_ref().err().is_some_and(Fault::is_host_away);
    pass.asked(is_away);
    // What comes now may take long, and is this host's own affair.
    drop(turn);
    let done = match listed {
        Ok(heads) => {
            let longest = timeout.saturating_add(settings.git.fetch_timeout);
            within(longest, cancel, Box::pin(follow(&look, &known, heads, with_requests, state))).await
        }
        Err(fault) => Err(fault),
    };
    state.requests = requests.load(Ordering::Relaxed);
    state.notes.truncate(NOTES_MAX);
    done
}

/// Does `work` for no longer than `limit`, and until `cancel` says that the worker ends. What it began is then told to end.
async fn within<T>(
    limit: Duration,
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(limit) => {}
        () = cancel.cancelled() => {}
    }
    let is_stopped = cancel.is_cancelled();
    cancel.cancel();
    match tokio::time::timeout(END_GRACE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) | Err(_) if is_stopped => Err(Fault::Stopped),
        Ok(Err(_)) | Err(_) => Err(Fault::TimedOut { limit_s: limit.as_secs() }),
    }
}

/// Finds out what follows from where refs stand, and does it.
async fn follow(
    look: &Look<'_>,
    known: &[Head],
    heads: Heads,
    with_requests: bool,
    state: &mut SweepState,
) -> Result<(), Fault> {
    state.refs = count(&heads);
    let rules = match rules::read(look, &heads).await {
        Ok(rules) => rules,
        Err(Fault::File(error)) => {
            state.deployments += refuse_all(look, known, &heads, &error).await?;
            return Err(Fault::File(error));
        }
        Err(fault) => return Err(fault),
    };
    let default_branch = heads.default_branch.as_ref().map(BranchName::as_str);
    state.follows = Some(Follows::of(&rules.environments, rules.review.is_some(), default_branch));
    let is_short = rules.review.is_some() && !with_requests;
    let heads = if is_short { look.heads(true).await? } else { heads };
    let mut troubles = Troubles::default();
    let mut plan = plan(look, &rules, &heads, known, &mut troubles).await?;
    let deployed = deploy_all(look, &plan, rules.notify, state, &mut troubles).await;
    let carried_out = match deployed {
        Ok(()) => carry_out(look, &mut plan, known, &mut troubles).await,
        Err(fault) => Err(fault),
    };
    state.notes.extend(rules.note.into_iter().chain(plan.notes).chain(troubles.notes));
    carried_out?;
    troubles.first.map_or(Ok(()), Err)
}

fn count(heads: &Heads) -> u64 {
    let count = heads.branches.len() + heads.tags.len() + heads.merge_requests.len();
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Decides, and looks into commits where they decide.
async fn plan(
    look: &Look<'_>,
    rules: &Rules,
    heads: &Heads,
    known: &[Head],
    troubles: &mut Troubles,
) -> Result<Plan, Fault> {
    let requests = match rules.review {
        Some(_) => troubles.take("merge requests", review::open_requests(look).await)?,
        None => None,
    };
    let reviews = review::places(look.tools(), look.slug(), known).await?;
    let mut answers = Answers::new();
    loop {
        let plan = decide(&Input {
            environments: &rules.environments,
            review: rules.review.as_ref(),
            known,
            heads,
            requests: requests.as_deref(),
            reviews: &reviews,
            answers: &answers,
            now: Timestamp::now(),
        });
        if plan.look.is_empty() {
            return Ok(plan);
        }
        for question in &plan.look {
            let found = answer(look, question).await;
            let found = troubles.take(&part(&question.environment), found)?.unwrap_or(Answer::Unknown);
            answers.insert((question.environment.clone(), question.reference.clone()), found);
        }
    }
}

fn part(environment: &EnvironmentName) -> String {
    format!("environment {environment}")
}

async fn answer(look: &Look<'_>, question: &Question) -> Result<Answer, Fault> {
    if let Some(before) = &question.before
        && let Some(maker) = own::maker(look, question, before).await?
    {
        return Ok(Answer::Own(maker));
    }
    let Some(base) = question.base.as_deref().filter(|_| !question.paths.is_empty()) else {
        return Ok(Answer::Deploy);
    };
    let (range, branch) = ((base, question.revision.as_str()), question.branch.as_ref());
    let is_concerned = changed::has_changed(look, range, branch, &question.paths).await?;
    Ok(if is_concerned { Answer::Deploy } else { Answer::Unconcerned })
}

/// Deploys what is to be deployed. That comes first: what is remembered of refs may depend on it.
async fn deploy_all(
    look: &Look<'_>,
    plan: &Plan,
    notify: Option<NotifySwitches>,
    state: &mut SweepState,
    troubles: &mut Troubles,
) -> Result<(), Fault> {
    for wanted in &plan.deploy {
        let deployed = match submit::deploy(look, wanted, notify).await {
            // The deployment says what is wrong with the file; a note says so here.
            Err(Fault::File(error @ ProjectFileError::Invalid { .. })) => {
                troubles.notes.push(format!("{}: {error}", part(&wanted.environment)));
                submit::refuse(look, wanted, notify).await
            }
            other => other,
        };
        let is_new = troubles.take(&part(&wanted.environment), deployed)?.unwrap_or(false);
        state.deployments += u64::from(is_new);
        if is_new {
            look.tools().figures.count(Count::Triggered);
        }
    }
    Ok(())
}

/// Does what else was decided.
async fn carry_out(
    look: &Look<'_>,
    plan: &mut Plan,
    known: &[Head],
    troubles: &mut Troubles,
) -> Result<(), Fault> {
    if !(plan.seen.is_empty() && plan.gone.is_empty()) {
        let now = look.tools().backend.projects.heads(look.slug()).await?;
        keep_current(plan, known, &now);
    }
    remember(look, plan).await?;
    for environment in &plan.stop {
        let stopped = review::stop(look.tools(), look.slug(), environment).await;
        troubles.take(&part(environment), stopped)?;
    }
    Ok(())
}

/// Leaves out what another look has remembered or deployed since `known` was read: a look that took long must not set it
/// back. Pure.
fn keep_current(plan: &mut Plan, known: &[Head], now: &[Head]) {
    let by_place = |heads: &[Head]| -> HashMap<(EnvironmentName, String), Head> {
        let place = |head: &Head| ((head.environment.clone(), head.reference.clone()), head.clone());
        heads.iter().map(place).collect()
    };
    let (known, now) = (by_place(known), by_place(now));
    let is_current = |environment: &EnvironmentName, reference: &str| {
        let place = (environment.clone(), reference.to_owned());
        known.get(&place) == now.get(&place)
    };
    plan.seen.retain(|head| is_current(&head.environment, &head.reference));
    plan.gone.retain(|(environment, reference)| is_current(environment, reference));
}

/// Records where refs were seen and which are no more.
async fn remember(look: &Look<'_>, plan: &Plan) -> Result<(), Fault> {
    let at = Timestamp::now();
    let of = |seen: &[Head], gone: &[(EnvironmentName, String)]| Record::HeadsSeen {
        slug: look.slug().clone(),
        seen: seen.to_vec(),
        gone: gone.to_vec(),
        at,
    };
    let seen = plan.seen.chunks(HEADS_OF_RECORD_MAX).map(|seen| of(seen, &[]));
    let gone = plan.gone.chunks(HEADS_OF_RECORD_MAX).map(|gone| of(&[], gone));
    for record in seen.chain(gone) {
        look.tools().recorder.record(record).await?;
    }
    Ok(())
}

/// The rules cannot be read at the tip of the default branch. Whoever pushed that is told by deployments that failed, in
/// the environments this branch was deployed into before; answers how many.
async fn refuse_all(
    look: &Look<'_>,
    known: &[Head],
    heads: &Heads,
    error: &ProjectFileError,
) -> Result<u64, Fault> {
    let ProjectFileError::Invalid { .. } = error else { return Ok(0) };
    let Some(branch) = &heads.default_branch else { return Ok(0) };
    let Some(tip) = heads.branches.get(branch.as_str()) else { return Ok(0) };
    let reference = branch.full_ref();
    let moved = known.iter().filter(|head| head.reference == reference && head.revision != *tip);
    let mut refused = 0;
    for head in moved {
        let wanted = Wanted {
            environment: head.environment.clone(),
            reference: reference.clone(),
            revision: tip.clone(),
            branch: Some(branch.clone()),
            merge_request: None,
            is_fork: false,
            target: None,
            replicas: None,
            hostnames: Vec::new(),
            before: Some(head.clone()),
        };
        match submit::refuse(look, &wanted, None).await {
            Ok(is_new) => refused += u64::from(is_new),
            Err(fault) if fault.is_slipways() => return Err(fault),
            Err(fault) => {
                let environment = &wanted.environment;
                tracing::debug!(project = %look.slug(), %environment, error = chain(&fault), "not refused");
            }
        }
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(reference: &str, revision: &str) -> Head {
        Head {
            environment: "staging".parse().unwrap(),
            reference: reference.to_owned(),
            revision: revision.to_owned(),
            deployment: None,
        }
    }

    #[test]
    fn what_another_look_has_done_meanwhile_is_not_set_back() {
        let known = [head("refs/heads/a", "1"), head("refs/heads/b", "1"), head("refs/heads/c", "1")];
        let now = [head("refs/heads/a", "1"), head("refs/heads/b", "3"), head("refs/heads/d", "3")];
        let mut plan = Plan {
            seen: vec![head("refs/heads/a", "2"), head("refs/heads/b", "2"), head("refs/heads/e", "2")],
            gone: vec![
                ("staging".parse().unwrap(), "refs/heads/c".to_owned()),
                ("production".parse().unwrap(), "refs/heads/c".to_owned()),
            ],
            ..Plan::default()
        };
        keep_current(&mut plan, &known, &now);
        assert_eq!(plan.seen, [head("refs/heads/a", "2"), head("refs/heads/e", "2")]);
        assert_eq!(plan.gone, [("production".parse().unwrap(), "refs/heads/c".to_owned())]);
    }
}
