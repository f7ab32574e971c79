//! What is decided, case by case, and what holds whatever happens.

mod course;
mod reviews;

use slipway_common::model::registered::RefPattern;

use super::*;

/// A project whose refs move, and what is remembered of them.
struct Scene {
    rules: Vec<EnvironmentRule>,
    review: Option<ReviewRule>,
    known: Vec<Head>,
    heads: Heads,
    requests: Option<Vec<OpenRequest>>,
    reviews: BTreeMap<u64, ReviewPlace>,
    answers: Answers,
    now: Timestamp,
}

fn revision(number: u32) -> String {
    format!("{number:040x}")
}

fn rule(environment: &str, on: On) -> EnvironmentRule {
    EnvironmentRule {
        environment: environment.parse().unwrap(),
        on,
        paths: Vec::new(),
        target: None,
        replicas: None,
        hostnames: Vec::new(),
    }
}

fn of_branch(pattern: &str) -> On {
    On::Branch(pattern.parse::<RefPattern>().unwrap())
}

fn of_tag(pattern: &str) -> On {
    On::Tag(pattern.parse::<RefPattern>().unwrap())
}

fn request(iid: u64) -> OpenRequest {
    OpenRequest {
        iid,
        source: BranchName::parse(&format!("work-{iid}")).ok(),
        target: "main".to_owned(),
        is_fork: false,
    }
}

impl Scene {
    fn of(rules: Vec<EnvironmentRule>) -> Self {
        let mut scene = Self {
            rules,
            review: None,
            known: Vec::new(),
            heads: Heads::default(),
            requests: Some(Vec::new()),
            reviews: BTreeMap::new(),
            answers: Answers::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        scene.heads.default_branch = BranchName::parse("main").ok();
        scene.branch("main", 1);
        scene
    }

    /// With review environments, two at most, for ten hours.
    fn with_reviews(forks: bool) -> Self {
        let review = ReviewRule { environments_max: 2, ttl_h: 10, forks, ..ReviewRule::default() };
        Self { review: Some(review), ..Self::of(Vec::new()) }
    }

    fn branch(&mut self, name: &str, number: u32) {
        self.heads.branches.insert(name.to_owned(), revision(number));
    }

    fn tag(&mut self, name: &str, number: u32) {
        self.heads.tags.insert(name.to_owned(), revision(number));
    }

    fn open(&mut self, iid: u64, number: u32) {
        self.heads.merge_requests.insert(iid, revision(number));
        let open = self.requests.get_or_insert_default();
        open.retain(|known| known.iid != iid);
        open.push(request(iid));
    }

    fn close(&mut self, iid: u64) {
        self.requests.get_or_insert_default().retain(|known| known.iid != iid);
    }

    fn later_h(&mut self, hours: i64) {
        self.now += jiff::SignedDuration::from_hours(hours);
    }

    fn answer(&mut self, environment: &str, reference: &str, answer: Answer) {
        self.answers.insert((environment.parse().unwrap(), reference.to_owned()), answer);
    }

    fn decide(&self) -> Plan {
        decide(&Input {
            environments: &self.rules,
            review: self.review.as_ref(),
            known: &self.known,
            heads: &self.heads,
            requests: self.requests.as_deref(),
            reviews: &self.reviews,
            answers: &self.answers,
            now: self.now,
        })
    }

    fn remember(&mut self, head: Head) {
        self.forget(&head.environment, &head.reference);
        self.known.push(head);
    }

    fn forget(&mut self, environment: &EnvironmentName, reference: &str) {
        self.known.retain(|head| head.environment != *environment || head.reference != reference);
    }

    fn deployed(&mut self, wanted: &Wanted) {
        let deployment = Some(DeploymentId::generate());
        let head = seen(&wanted.environment, wanted.reference.clone(), &wanted.revision, deployment);
        if let Some(iid) = wanted.merge_request {
            let place = ReviewPlace { is_alive: true, deployed_at: Some(self.now) };
            self.reviews.insert(iid, place);
        }
        self.remember(head);
    }

    fn stopped(&mut self, environment: &EnvironmentName) {
        let iid = environment.as_str().strip_prefix("review-").and_then(|iid| iid.parse().ok());
        if let Some(place) = iid.and_then(|iid: u64| self.reviews.get_mut(&iid)) {
            place.is_alive = false;
        }
    }

    fn carry_out(&mut self, plan: &Plan) {
        plan.deploy.iter().for_each(|wanted| self.deployed(wanted));
        plan.seen.iter().for_each(|head| self.remember(head.clone()));
        plan.gone.iter().for_each(|(environment, reference)| self.forget(environment, reference));
        plan.stop.iter().for_each(|environment| self.stopped(environment));
    }

    /// Looks, does what is decided, and tells what was deployed.
    fn sweep(&mut self) -> Vec<String> {
        let plan = self.decide();
        assert!(plan.look.is_empty(), "it asks: {plan:?}");
        self.carry_out(&plan);
        deploys(&plan)
    }
}

fn deploys(plan: &Plan) -> Vec<String> {
    let line = |wanted: &Wanted| {
        let number = wanted.revision.trim_start_matches('0');
        format!("{} {} {number}", wanted.environment, wanted.reference)
    };
    plan.deploy.iter().map(line).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_named_branch_is_deployed_at_first_sight_and_whenever_it_moves() {
    for on in [On::DefaultBranch, of_branch("main")] {
        let mut scene = Scene::of(vec![rule("production", on)]);
        scene.branch("other", 7);
        assert_eq!(scene.sweep(), ["production refs/heads/main 1"]);
        assert_eq!(scene.sweep(), NOTHING);
        scene.branch("main", 2);
        scene.answer("production", "refs/heads/main", Answer::Deploy);
        assert_eq!(scene.sweep(), ["production refs/heads/main 2"]);
        scene.branch("main", 1);
        assert_eq!(scene.sweep(), ["production refs/heads/main 1"], "set back by force");
        assert!(scene.decide().is_empty());
    }
}

#[test]
fn another_default_branch_takes_the_place_of_the_first() {
    let mut scene = Scene::of(vec![rule("production", On::DefaultBranch)]);
    scene.sweep();
    scene.branch("trunk", 1);
    scene.heads.default_branch = BranchName::parse("trunk").ok();
    assert_eq!(scene.sweep(), ["production refs/heads/trunk 1"]);
    assert_eq!(scene.known.len(), 1);
    scene.heads.default_branch = None;
    let plan = scene.decide();
    assert!(plan.is_empty(), "a host that does not name it changes nothing");
    assert_eq!(plan.notes.len(), 1);
}

#[test]
fn what_a_pattern_means_at_first_is_where_it_starts_from() {
    let mut scene = Scene::of(vec![rule("dev", of_branch("feature/*"))]);
    scene.branch("feature/old", 3);
    assert_eq!(scene.sweep(), NOTHING);
    assert!(scene.decide().is_empty());
    scene.branch("feature/new", 4);
    assert_eq!(scene.sweep(), ["dev refs/heads/feature/new 4"]);
    scene.branch("feature/old", 5);
    scene.answer("dev", "refs/heads/feature/old", Answer::Deploy);
    assert_eq!(scene.sweep(), ["dev refs/heads/feature/old 5"]);
    scene.rules = vec![rule("dev", of_branch("topic/*"))];
    scene.branch("topic/x", 6);
    assert_eq!(scene.sweep(), NOTHING, "another pattern starts anew");
    assert_eq!(scene.known.len(), 2, "of the old one nothing is kept");
}

#[test]
fn a_pattern_that_means_nothing_at_first_deploys_what_comes() {
    let mut scene = Scene::of(vec![rule("dev", of_branch("feature/*")), rule("live", of_tag("v*"))]);
    assert_eq!(scene.sweep(), NOTHING);
    scene.branch("feature/a", 3);
    scene.tag("v1", 4);
    assert_eq!(scene.sweep(), ["dev refs/heads/feature/a 3", "live refs/tags/v1 4"]);
    assert!(scene.decide().is_empty());
}

#[test]
fn a_repository_without_commits_is_followed_from_its_first() {
    let mut scene = Scene::of(vec![rule("dev", of_branch("feature/*")), rule("live", On::DefaultBranch)]);
    scene.heads = Heads::default();
    assert_eq!(scene.sweep(), NOTHING);
    assert!(scene.decide().is_empty());
    scene.heads.default_branch = BranchName::parse("main").ok();
    scene.branch("main", 1);
    scene.branch("feature/a", 2);
    assert_eq!(scene.sweep(), ["dev refs/heads/feature/a 2", "live refs/heads/main 1"]);
}

#[test]
fn the_highest_of_several_new_tags_is_deployed() {
    let mut scene = Scene::of(vec![rule("live", of_tag("v*"))]);
    scene.tag("v1.0.0", 3);
    assert_eq!(scene.sweep(), NOTHING);
    for (tag, number) in [("v1.9.0", 4), ("v1.10.0", 5), ("v1.10.0-rc1", 6), ("other", 7)] {
        scene.tag(tag, number);
    }
    assert_eq!(scene.sweep(), ["live refs/tags/v1.10.0 5"]);
    assert!(scene.decide().is_empty(), "the others are seen");
    scene.tag("v1.9.1", 8);
    assert_eq!(scene.sweep(), ["live refs/tags/v1.9.1 8"], "a tag set later is meant, whatever its version");
    scene.tag("v1.0.0", 9);
    assert_eq!(scene.sweep(), ["live refs/tags/v1.0.0 9"], "a tag that was moved");
}

#[test]
fn of_several_refs_of_one_rule_the_last_is_deployed() {
    let mut scene = Scene::of(vec![rule("dev", of_branch("feature/*"))]);
    scene.sweep();
    for (branch, number) in [("feature/a", 3), ("feature/b", 4), ("feature/c", 5)] {
        scene.branch(branch, number);
    }
    assert_eq!(scene.sweep(), ["dev refs/heads/feature/c 5"]);
    assert!(scene.decide().is_empty());
}

#[test]
fn slipways_own_proposals_are_meant_by_name_only() {
    let mut scene = Scene::of(vec![rule("dev", of_branch("**")), rule("one", of_branch("slipway/dev-1"))]);
    scene.sweep();
    scene.branch("slipway/dev-1", 3);
    assert_eq!(scene.sweep(), ["one refs/heads/slipway/dev-1 3"]);
}

#[test]
fn what_was_deleted_is_forgotten_and_deployed_when_it_is_back() {
    let mut scene = Scene::of(vec![rule("dev", of_branch("feature/*")), rule("next", of_branch("next"))]);
    scene.branch("next", 2);
    scene.branch("feature/a", 3);
    assert_eq!(scene.sweep(), ["next refs/heads/next 2"]);
    scene.heads.branches.remove("next");
    scene.heads.branches.remove("feature/a");
    let plan = scene.decide();
    assert_eq!((plan.gone.len(), plan.stop.len(), plan.notes.len()), (2, 0, 1));
    assert_eq!(scene.sweep(), NOTHING);
    assert!(scene.decide().is_empty());
    scene.branch("next", 2);
    scene.branch("feature/a", 3);
    assert_eq!(scene.sweep(), ["dev refs/heads/feature/a 3", "next refs/heads/next 2"]);
}

#[test]
fn a_host_that_names_nothing_at_all_changes_nothing() {
    let mut scene = Scene::with_reviews(false);
    scene.rules = vec![rule("production", On::DefaultBranch), rule("live", of_tag("v*"))];
    scene.tag("v1", 2);
    scene.open(7, 3);
    scene.sweep();
    let (before, requests) = (scene.heads.clone(), scene.requests.take());
    (scene.heads, scene.requests) = (Heads::default(), Some(Vec::new()));
    let plan = scene.decide();
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(plan.notes.len(), 1);
    (scene.heads, scene.requests) = (before, requests);
    assert!(scene.decide().is_empty());
}

#[test]
fn what_needs_a_look_into_commits_is_asked_and_waits_for_the_answer() {
    let mut scene = Scene::of(vec![rule("production", On::DefaultBranch)]);
    scene.rules[0].paths = vec!["api/**".parse().unwrap()];
    assert_eq!(scene.sweep(), ["production refs/heads/main 1"], "nothing to compare with");
    scene.branch("main", 2);
    let plan = scene.decide();
    assert!(plan.deploy.is_empty());
    let [question] = plan.look.as_slice() else { panic!("{plan:?}") };
    assert_eq!((question.before.clone(), question.base.clone()), (Some(revision(1)), Some(revision(1))));
    assert_eq!(question.paths.len(), 1);
    for answer in [Answer::Unconcerned, Answer::Own(DeploymentId::generate())] {
        scene.answer("production", "refs/heads/main", answer);
        let plan = scene.decide();
        assert_eq!((plan.deploy.len(), plan.seen.len()), (0, 1), "{answer:?}");
        let own = if let Answer::Own(deployment) = answer { Some(deployment) } else { None };
        assert_eq!(plan.seen[0].deployment, own);
    }
    scene.answer("production", "refs/heads/main", Answer::Unknown);
    assert!(scene.decide().is_empty(), "it is left as it is");
    scene.answer("production", "refs/heads/main", Answer::Deploy);
    assert_eq!(scene.sweep(), ["production refs/heads/main 2"]);
}

#[test]
fn rules_for_the_same_ref_take_what_one_of_them_takes() {
    let mut scene =
        Scene::of(vec![rule("production", On::DefaultBranch), rule("production", On::DefaultBranch)]);
    scene.rules[0].paths = vec!["api/**".parse().unwrap()];
    scene.rules[1].paths = vec!["web/**".parse().unwrap()];
    assert_eq!(scene.sweep().len(), 1);
    scene.branch("main", 2);
    assert_eq!(scene.decide().look[0].paths.len(), 2);
    scene.rules[1].paths.clear();
    assert!(scene.decide().look[0].paths.is_empty());
}

#[test]
fn a_tag_is_nobodys_own_commit() {
    let mut scene = Scene::of(vec![rule("live", of_tag("v*"))]);
    scene.sweep();
    scene.tag("v1", 2);
    scene.sweep();
    scene.tag("v1", 3);
    assert!(scene.decide().look.is_empty());
    scene.rules[0].paths = vec!["api/**".parse().unwrap()];
    let look = scene.decide().look;
    assert_eq!((look.len(), look[0].before.clone(), look[0].base.clone()), (1, None, Some(revision(2))));
}

#[test]
fn an_unknown_answer_lets_no_earlier_ref_through() {
    let mut scene = Scene::of(vec![rule("dev", of_branch("feature/*"))]);
    scene.branch("feature/a", 3);
    scene.branch("feature/b", 4);
    scene.sweep();
    scene.branch("feature/a", 5);
    scene.branch("feature/b", 6);
    scene.answer("dev", "refs/heads/feature/b", Answer::Unknown);
    assert!(scene.decide().is_empty());
    scene.answer("dev", "refs/heads/feature/b", Answer::Unconcerned);
    scene.answer("dev", "refs/heads/feature/a", Answer::Deploy);
    assert_eq!(scene.sweep(), ["dev refs/heads/feature/a 5"]);
    assert!(scene.decide().is_empty());
}

#[test]
fn a_rule_that_means_too_much_is_not_followed_and_says_so() {
    let mut scene = Scene::of(vec![rule("live", of_tag("*")), rule("production", On::DefaultBranch)]);
    scene.tag("v1", 2);
    scene.sweep();
    let known = scene.known.clone();
    for number in 0..u32::try_from(REFS_MAX).unwrap() {
        scene.tag(&format!("build-{number}"), number);
    }
    let plan = scene.decide();
    assert!(plan.is_empty());
    assert_eq!(plan.notes.len(), 1);
    scene.heads.tags.retain(|tag, _| tag == "v1");
    assert!(scene.decide().is_empty());
    assert_eq!(scene.known, known);
}

#[test]
fn a_branch_that_is_not_there_is_told() {
    let scene = Scene::of(vec![rule("next", of_branch("next"))]);
    assert_eq!(scene.decide().notes, ["environment next: there is no branch next"]);
}
