//! Decides what a look at the refs of a project comes to: what is deployed, what is only remembered, what is stopped. Pure:
//! where the contents of a commit decide, it asks, and is called again with the answers.

mod review;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use slipway_common::model::registered::{EnvironmentRule, Head, On, PathPattern, ReviewRule};
use slipway_common::model::{BranchName, DeploymentId, EnvironmentName, Hostname, TargetName};

use super::version;
use crate::git::Heads;

pub(super) use self::review::{OpenRequest, ReviewPlace, iid_of};

/// Most refs one rule may match.
const REFS_MAX: usize = 5_000;
/// Where branches with Slipway's own proposals are. No wildcard means them.
const OWN_BRANCHES: &str = "slipway/";
/// Begins the reference of a head that stands for a rule: its refs were looked at before, so that what is not known is
/// new. No ref can have such a name.
const RULE: &str = "rule:";
/// The revision of such a head.
const NO_REVISION: &str = "0000000000000000000000000000000000000000";

/// What a look has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    /// Which ref goes where.
    pub(super) environments: &'a [EnvironmentRule],
    /// Whether merge requests get environments.
    pub(super) review: Option<&'a ReviewRule>,
    /// Where refs stood before.
    pub(super) known: &'a [Head],
    /// Where refs stand.
    pub(super) heads: &'a Heads,
    /// The open merge requests; `None` when they could not be asked for.
    pub(super) requests: Option<&'a [OpenRequest]>,
    /// What became of the environments of known merge requests.
    pub(super) reviews: &'a BTreeMap<u64, ReviewPlace>,
    /// The answers to what was asked.
    pub(super) answers: &'a Answers,
    /// The time.
    pub(super) now: Timestamp,
}

/// What is to be done. While something is asked, the rest is not to be done yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// What is deployed, in this order.
    pub(super) deploy: Vec<Wanted>,
    /// What must be known first.
    pub(super) look: Vec<Question>,
    /// What is only remembered.
    pub(super) seen: Vec<Head>,
    /// What is remembered no more.
    pub(super) gone: Vec<(EnvironmentName, String)>,
    /// Environments to be stopped.
    pub(super) stop: Vec<EnvironmentName>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

impl Plan {
    /// Whether nothing is to be done.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.deploy.is_empty()
            && self.look.is_empty()
            && self.seen.is_empty()
            && self.gone.is_empty()
            && self.stop.is_empty()
    }
}

/// A deployment to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Into which environment.
    pub(super) environment: EnvironmentName,
    /// Of which ref, in full.
    pub(super) reference: String,
    /// Of which commit.
    pub(super) revision: String,
    /// The branch it is the tip of, when generated files may be pushed there.
    pub(super) branch: Option<BranchName>,
    /// The merge request it is of.
    pub(super) merge_request: Option<u64>,
    /// Whether the commit is of a repository that others write.
    pub(super) is_fork: bool,
    /// Where it runs, if not where the project's deployments do.
    pub(super) target: Option<TargetName>,
    /// How many replicas, if not as many as the project's deployments have.
    pub(super) replicas: Option<u32>,
    /// Host names.
    pub(super) hostnames: Vec<Hostname>,
    /// Where the ref stood before.
    pub(super) before: Option<Head>,
}

/// Something that only the contents of a commit can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Which environment.
    pub(super) environment: EnvironmentName,
    /// Which ref.
    pub(super) reference: String,
    /// Which commit.
    pub(super) revision: String,
    /// The branch to find it on.
    pub(super) branch: Option<BranchName>,
    /// Whether there are only commits of Slipway's own between this commit and it; not asked when there is none.
    pub(super) before: Option<String>,
    /// Whether files that match have changed between this commit and it; not asked when there is none, or no pattern.
    pub(super) base: Option<String>,
    /// Patterns of these files.
    pub(super) paths: Vec<PathPattern>,
}

impl Question {
    fn asks_for_paths(&self) -> bool {
        self.base.is_some() && !self.paths.is_empty()
    }
}

/// What the contents of a commit tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is to be deployed.
    Deploy,
    /// Nothing that matters has changed.
    Unconcerned,
    /// This deployment has made it.
    Own(DeploymentId),
    /// It could not be found out now; the ref is left as it is.
    Unknown,
}

/// Answers by environment and ref.
pub(super) type Answers = HashMap<(EnvironmentName, String), Answer>;

/// Known heads by environment and ref.
type Known<'a> = HashMap<(&'a str, &'a str), &'a Head>;

/// A ref that moved or is new.
struct Mover {
    wanted: Wanted,
    question: Question,
}

/// A ref that a rule is for.
struct Match<'a> {
    reference: String,
    revision: &'a str,
    branch: Option<BranchName>,
}

/// Decides what is to be done.
pub(super) fn decide(input: &Input<'_>) -> Plan {
    let mut plan = Plan::default();
    let known: Known<'_> =
        input.known.iter().map(|head| ((head.environment.as_str(), head.reference.as_str()), head)).collect();
    let is_empty = input.heads.branches.is_empty() && input.heads.tags.is_empty();
    if is_empty && !input.known.is_empty() {
        // More likely a host in trouble than a repository from which everything was deleted.
        plan.notes.push("the host names no branch and no tag; everything is left as it is".to_owned());
        return plan;
    }
    if is_empty {
        plan.notes.push("the repository is empty".to_owned());
    }
    let mut covered = HashSet::new();
    for rule in input.environments {
        follow_rule(input, &known, rule, &mut covered, &mut plan);
    }
    for head in input.known.iter().filter(|head| iid_of(&head.reference).is_none()) {
        let place = (head.environment.clone(), head.reference.clone());
        if !covered.contains(&place) && !is_of_default_branch(input, head) {
            plan.gone.push(place);
        }
    }
    review::decide(input, &known, &mut plan);
    plan
}

/// Whether the head may be the default branch's, which the host does not name at present.
fn is_of_default_branch(input: &Input<'_>, head: &Head) -> bool {
    let of_head = |rule: &&EnvironmentRule| rule.environment == head.environment;
    input.heads.default_branch.is_none()
        && head.reference.starts_with("refs/heads/")
        && input.environments.iter().filter(of_head).any(|rule| rule.on == On::DefaultBranch)
}

fn follow_rule(
    input: &Input<'_>,
    known: &Known<'_>,
    rule: &EnvironmentRule,
    covered: &mut HashSet<(EnvironmentName, String)>,
    plan: &mut Plan,
) {
    let matches = matching(&rule.on, input.heads);
    plan.notes.extend(note_on(rule, &matches, input.heads));
    let is_too_much = matches.len() > REFS_MAX;
    let mark = mark_of(&rule.on);
    let is_new = |mark: &String| !known.contains_key(&(rule.environment.as_str(), mark.as_str()));
    let is_first = mark.as_ref().is_some_and(is_new);
    if let Some(mark) = mark
        && covered.insert((rule.environment.clone(), mark.clone()))
        && is_first
        && !is_too_much
    {
        plan.seen.push(seen(&rule.environment, mark, NO_REVISION, None));
    }
    let mut movers = Vec::new();
    for found in matches {
        let is_taken = !covered.insert((rule.environment.clone(), found.reference.clone()));
        if is_taken || is_too_much {
            continue;
        }
        let before = known.get(&(rule.environment.as_str(), found.reference.as_str())).copied();
        match before {
            Some(head) if head.revision == found.revision => {}
            None if is_first => {
                plan.seen.push(seen(&rule.environment, found.reference, found.revision, None));
            }
            before => movers.push(mover(input, rule, found, before)),
        }
    }
    choose(input, movers, plan);
}

/// Of refs that go into the same environment the last one is deployed, and the others are remembered.
fn choose(input: &Input<'_>, movers: Vec<Mover>, plan: &mut Plan) {
    let mut is_chosen = false;
    for Mover { wanted, question } in movers.into_iter().rev() {
        if is_chosen {
            plan.seen.push(seen(&wanted.environment, wanted.reference, &wanted.revision, None));
            continue;
        }
        let Some(weighed) = weigh(input, &question) else {
            plan.look.push(question);
            return;
        };
        match weighed {
            Answer::Deploy => {
                is_chosen = true;
                plan.deploy.push(wanted);
            }
            Answer::Unconcerned => {
                plan.seen.push(seen(&wanted.environment, wanted.reference, &wanted.revision, None));
            }
            Answer::Own(deployment) => {
                let head = seen(&wanted.environment, wanted.reference, &wanted.revision, Some(deployment));
                plan.seen.push(head);
            }
            // An earlier one must not take the place of this one.
            Answer::Unknown => return,
        }
    }
}

/// What becomes of a ref; `None` when that must be asked.
fn weigh(input: &Input<'_>, question: &Question) -> Option<Answer> {
    if question.before.is_none() && !question.asks_for_paths() {
        return Some(Answer::Deploy);
    }
    input.answers.get(&(question.environment.clone(), question.reference.clone())).copied()
}

fn seen(
    environment: &EnvironmentName,
    reference: String,
    revision: &str,
    deployment: Option<DeploymentId>,
) -> Head {
    Head { environment: environment.clone(), reference, revision: revision.to_owned(), deployment }
}

fn mover(input: &Input<'_>, rule: &EnvironmentRule, found: Match<'_>, before: Option<&Head>) -> Mover {
    let stood_at = before.map(|head| head.revision.clone());
    let question = Question {
        environment: rule.environment.clone(),
        reference: found.reference.clone(),
        revision: found.revision.to_owned(),
        branch: found.branch.clone(),
        // A tag is set by somebody, whatever it is set on.
        before: stood_at.clone().filter(|_| found.branch.is_some()),
        base: stood_at,
        paths: paths_of(input.environments, rule),
    };
    let wanted = Wanted {
        environment: rule.environment.clone(),
        reference: found.reference,
        revision: found.revision.to_owned(),
        branch: found.branch,
        merge_request: None,
        is_fork: false,
        target: rule.target.clone(),
        replicas: rule.replicas,
        hostnames: rule.hostnames.clone(),
        before: before.cloned(),
    };
    Mover { wanted, question }
}

/// The patterns of all rules that are for the same refs and environment; none when one of them takes any change.
fn paths_of(rules: &[EnvironmentRule], rule: &EnvironmentRule) -> Vec<PathPattern> {
    let same = || rules.iter().filter(|other| other.environment == rule.environment && other.on == rule.on);
    if same().any(|other| other.paths.is_empty()) {
        return Vec::new();
    }
    same().flat_map(|other| other.paths.iter().cloned()).collect()
}

/// The refs a rule is for: branches in the order of their names, tags in that of their versions.
fn matching<'a>(on: &On, heads: &'a Heads) -> Vec<Match<'a>> {
    match on {
        On::DefaultBranch => {
            let name = heads.default_branch.as_ref().map(BranchName::as_str);
            name.and_then(|name| heads.branches.get_key_value(name)).and_then(branch).into_iter().collect()
        }
        On::Branch(pattern) if pattern.is_exact() => {
            heads.branches.get_key_value(pattern.as_str()).and_then(branch).into_iter().collect()
        }
        On::Branch(pattern) => {
            let means = |name: &str| !name.starts_with(OWN_BRANCHES) && pattern.matches(name);
            heads.branches.iter().filter(|(name, _)| means(name)).filter_map(branch).collect()
        }
        On::Tag(pattern) => {
            let mut found: Vec<(&String, &String)> =
                heads.tags.iter().filter(|(name, _)| pattern.matches(name)).collect();
            found.sort_by(|(left, _), (right, _)| version::compare(left, right));
            let tag = |(name, revision): (&String, &'a String)| Match {
                reference: format!("refs/tags/{name}"),
                revision,
                branch: None,
            };
            found.into_iter().map(tag).collect()
        }
    }
}

fn branch<'a>((name, revision): (&'a String, &'a String)) -> Option<Match<'a>> {
    let branch = BranchName::parse(name).ok()?;
    Some(Match { reference: branch.full_ref(), revision, branch: Some(branch) })
}

/// The name of the head that stands for a rule whose refs are taken as they are at first. A branch that is named is
/// deployed at first sight.
fn mark_of(on: &On) -> Option<String> {
    match on {
        On::DefaultBranch => None,
        On::Branch(pattern) if pattern.is_exact() => None,
        On::Branch(pattern) => Some(format!("{RULE}refs/heads/{pattern}")),
        On::Tag(pattern) => Some(format!("{RULE}refs/tags/{pattern}")),
    }
}

/// What a person should know of a rule.
fn note_on(rule: &EnvironmentRule, matches: &[Match<'_>], heads: &Heads) -> Option<String> {
    let environment = &rule.environment;
    let pattern = match &rule.on {
        On::DefaultBranch if matches.is_empty() && !heads.branches.is_empty() => {
            return Some(format!("environment {environment}: the repository names no default branch"));
        }
        On::Branch(pattern) if pattern.is_exact() && matches.is_empty() && !heads.branches.is_empty() => {
            return Some(format!("environment {environment}: there is no branch {pattern}"));
        }
        On::DefaultBranch => return None,
        On::Branch(pattern) | On::Tag(pattern) => pattern,
    };
    let count = matches.len();
    let what = || format!("{pattern} matches {count} refs, more than {REFS_MAX}, and is not followed");
    (count > REFS_MAX).then(|| format!("environment {environment}: {}", what()))
}
