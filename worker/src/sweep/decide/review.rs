//! Environments of merge requests: one for each that is open, within the rule's number and time.

use jiff::{SignedDuration, Timestamp};
use slipway_common::model::registered::{Head, ReviewRule};
use slipway_common::model::{BranchName, EnvironmentName};

use super::{Answer, Input, Known, Mover, OWN_BRANCHES, Plan, Question, Wanted, seen, weigh};

/// Where GitLab keeps the heads of merge requests.
const REQUESTS: &str = "refs/merge-requests/";

/// An open merge request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sweep) struct OpenRequest {
    /// Its number in the project.
    pub(in crate::sweep) iid: u64,
    /// The branch to be merged; absent when its name cannot be used, or it is not in the project.
    pub(in crate::sweep) source: Option<BranchName>,
    /// The branch it is to be merged into.
    pub(in crate::sweep) target: String,
    /// Whether it comes from another repository.
    pub(in crate::sweep) is_fork: bool,
}

/// What became of the environment of a merge request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sweep) struct ReviewPlace {
    /// Whether something serves there, or is on its way.
    pub(in crate::sweep) is_alive: bool,
    /// When its newest deployment was made.
    pub(in crate::sweep) deployed_at: Option<Timestamp>,
}

/// The merge request whose head a ref is.
pub(in crate::sweep) fn iid_of(reference: &str) -> Option<u64> {
    reference.strip_prefix(REQUESTS)?.strip_suffix("/head")?.parse().ok()
}

fn reference_of(iid: u64) -> String {
    format!("{REQUESTS}{iid}/head")
}

fn environment_of(iid: u64) -> Option<EnvironmentName> {
    format!("review-{iid}").parse().ok()
}

/// Decides about merge requests; where those that are open are not known, nothing is changed.
pub(super) fn decide(input: &Input<'_>, known: &Known<'_>, plan: &mut Plan) {
    let none_wanted = ReviewRule::default();
    let (rule, open) = match (input.review, input.requests) {
        (None, _) => (&none_wanted, &[][..]),
        (Some(rule), Some(open)) => (rule, open),
        (Some(_), None) => return,
    };
    let mut open: Vec<&OpenRequest> = open.iter().filter(|request| !is_own(request)).collect();
    // The newest ones are worked at.
    open.sort_by_key(|request| std::cmp::Reverse(request.iid));
    let mut living = 0;
    for head in input.known {
        let Some(iid) = iid_of(&head.reference) else { continue };
        let request = open.iter().find(|request| request.iid == iid);
        living += follow_known(input, rule, head, iid, request.copied(), plan);
    }
    admit(input, known, rule, &open, living, plan);
}

/// Stops an environment whose merge request is closed or rests for too long. Answers 1 while it takes up a place.
fn follow_known(
    input: &Input<'_>,
    rule: &ReviewRule,
    head: &Head,
    iid: u64,
    request: Option<&OpenRequest>,
    plan: &mut Plan,
) -> u32 {
    let place = input.reviews.get(&iid);
    let is_alive = place.is_some_and(|place| place.is_alive);
    let is_open = request.is_some_and(|request| is_welcome(rule, request));
    match (is_open, is_alive) {
        (false, true) => {
            plan.stop.push(head.environment.clone());
            1
        }
        // Forgotten when nothing of it is left, so that what hinders the stop does not hide it.
        (false, false) => {
            plan.gone.push((head.environment.clone(), head.reference.clone()));
            0
        }
        (true, false) => 0,
        (true, true) => {
            let is_pushed = input.heads.merge_requests.get(&iid).is_some_and(|now| *now != head.revision);
            let deployed_at = place.and_then(|place| place.deployed_at);
            if !is_pushed && is_over(rule, deployed_at, input.now) {
                let hours = rule.ttl_h;
                plan.notes.push(format!("!{iid} had no push for {hours} h; its environment is stopped"));
                plan.stop.push(head.environment.clone());
            }
            1
        }
    }
}

/// Whether Slipway made it itself, to propose generated files. What it would show is shown by the deployment it is of.
fn is_own(request: &OpenRequest) -> bool {
    request.source.as_ref().is_some_and(|source| source.as_str().starts_with(OWN_BRANCHES))
}

fn is_welcome(rule: &ReviewRule, request: &OpenRequest) -> bool {
    !request.is_fork || rule.forks
}

fn is_over(rule: &ReviewRule, deployed_at: Option<Timestamp>, now: Timestamp) -> bool {
    let life = SignedDuration::from_hours(i64::from(rule.ttl_h));
    deployed_at.and_then(|at| at.checked_add(life).ok()).is_some_and(|end| end <= now)
}

/// Deploys what is new or was pushed, as long as there is room.
fn admit(
    input: &Input<'_>,
    known: &Known<'_>,
    rule: &ReviewRule,
    open: &[&OpenRequest],
    living: u32,
    plan: &mut Plan,
) {
    let (mut living, mut turned_away) = (living, 0);
    for request in open {
        if !is_welcome(rule, request) {
            let iid = request.iid;
            plan.notes.push(format!("!{iid} comes from another repository and gets no environment"));
            continue;
        }
        let Some(mover) = mover(input, known, rule, request) else { continue };
        let is_alive = input.reviews.get(&request.iid).is_some_and(|place| place.is_alive);
        if !is_alive && living >= rule.environments_max {
            turned_away += 1;
            continue;
        }
        let Some(weighed) = weigh(input, &mover.question) else {
            plan.look.push(mover.question);
            continue;
        };
        let Wanted { environment, reference, revision, .. } = &mover.wanted;
        match weighed {
            Answer::Deploy => {
                living += u32::from(!is_alive);
                plan.deploy.push(mover.wanted);
            }
            Answer::Unconcerned => plan.seen.push(seen(environment, reference.clone(), revision, None)),
            Answer::Own(own) => plan.seen.push(seen(environment, reference.clone(), revision, Some(own))),
            Answer::Unknown => {}
        }
    }
    if turned_away > 0 {
        let max = rule.environments_max;
        plan.notes.push(format!("{turned_away} merge requests wait for one of {max} review environments"));
    }
}

/// The merge request's head, if it is new or moved.
fn mover(input: &Input<'_>, known: &Known<'_>, rule: &ReviewRule, request: &OpenRequest) -> Option<Mover> {
    let revision = input.heads.merge_requests.get(&request.iid)?;
    let (environment, reference) = (environment_of(request.iid)?, reference_of(request.iid));
    let before = known.get(&(environment.as_str(), reference.as_str())).copied();
    if before.is_some_and(|head| head.revision == *revision) {
        return None;
    }
    let branch = request.source.clone().filter(|_| !request.is_fork);
    let question = Question {
        environment: environment.clone(),
        reference: reference.clone(),
        revision: revision.clone(),
        branch: branch.clone(),
        // Nothing is ever committed to another repository.
        before: before.map(|head| head.revision.clone()).filter(|_| !request.is_fork),
        // What a merge request changes is told by where it is to go.
        base: input.heads.branches.get(&request.target).cloned(),
        paths: rule.paths.clone(),
    };
    let wanted = Wanted {
        environment,
        reference,
        revision: revision.clone(),
        branch,
        merge_request: Some(request.iid),
        is_fork: request.is_fork,
        target: rule.target.clone(),
        replicas: None,
        hostnames: Vec::new(),
        before: before.cloned(),
    };
    Some(Mover { wanted, question })
}
