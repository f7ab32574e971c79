//! What holds whatever refs do, and however often what was decided is carried out in part only.

use proptest::prelude::*;

use super::*;

const BRANCHES: [&str; 4] = ["main", "next", "feature/a", "feature/b"];
const TAGS: [&str; 3] = ["v1", "v2", "v10"];

#[derive(Debug, Clone)]
enum Happening {
    Push(usize),
    Delete(usize),
    Tag(usize),
    Untag(usize),
    Open(u64),
    Close(u64),
    Hours(i64),
    /// The host's interface is away.
    Silence,
    /// A look of which only so many things are done.
    Sweep(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..BRANCHES.len()).prop_map(Happening::Push),
        1 => (0..BRANCHES.len()).prop_map(Happening::Delete),
        2 => (0..TAGS.len()).prop_map(Happening::Tag),
        1 => (0..TAGS.len()).prop_map(Happening::Untag),
        3 => (1_u64..5).prop_map(Happening::Open),
        1 => (1_u64..5).prop_map(Happening::Close),
        1 => (1_i64..12).prop_map(Happening::Hours),
        1 => Just(Happening::Silence),
        4 => (0_usize..6).prop_map(Happening::Sweep),
    ]
}

/// A scene and what was deployed in it, by environment and ref.
struct Course {
    scene: Scene,
    next: u32,
    deployed: HashMap<(String, String), String>,
    open: Vec<OpenRequest>,
}

impl Course {
    fn new() -> Self {
        let rules = vec![
            rule("production", On::DefaultBranch),
            rule("next", of_branch("next")),
            rule("dev", of_branch("feature/*")),
            rule("live", of_tag("v*")),
        ];
        let scene = Scene { rules, ..Scene::with_reviews(false) };
        Self { scene, next: 2, deployed: HashMap::new(), open: Vec::new() }
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn happen(&mut self, happening: &Happening) {
        let number = self.number();
        match happening {
            Happening::Push(branch) => self.scene.branch(BRANCHES[*branch], number),
            Happening::Delete(branch) => drop(self.scene.heads.branches.remove(BRANCHES[*branch])),
            Happening::Tag(tag) => self.scene.tag(TAGS[*tag], number),
            Happening::Untag(tag) => drop(self.scene.heads.tags.remove(TAGS[*tag])),
            Happening::Open(iid) => {
                self.scene.heads.merge_requests.insert(*iid, revision(number));
                self.open.retain(|known| known.iid != *iid);
                self.open.push(request(*iid));
            }
            Happening::Close(iid) => self.open.retain(|known| known.iid != *iid),
            Happening::Hours(hours) => self.scene.later_h(*hours),
            Happening::Silence => {
                self.scene.requests = None;
                self.sweep(usize::MAX);
            }
            Happening::Sweep(most) => {
                self.scene.requests = Some(self.open.clone());
                self.sweep(*most);
            }
        }
    }

    /// Answers until nothing is asked, then does the first `most` things that were decided.
    fn sweep(&mut self, most: usize) -> bool {
        self.scene.answers.clear();
        let mut plan = self.scene.decide();
        while !plan.look.is_empty() {
            for question in &plan.look {
                let place = (question.environment.clone(), question.reference.clone());
                self.scene.answers.insert(place, Answer::Deploy);
            }
            plan = self.scene.decide();
        }
        let is_empty = plan.is_empty();
        let mut left = most;
        cut(&mut plan.deploy, &mut left);
        cut(&mut plan.seen, &mut left);
        cut(&mut plan.gone, &mut left);
        cut(&mut plan.stop, &mut left);
        for wanted in &plan.deploy {
            let place = (wanted.environment.to_string(), wanted.reference.clone());
            self.deployed.insert(place, wanted.revision.clone());
        }
        self.scene.carry_out(&plan);
        is_empty
    }

    fn living(&self) -> usize {
        self.scene.reviews.values().filter(|place| place.is_alive).count()
    }

    fn has_deployed_the_head_of(&self, environment: &str, branch: &str) -> bool {
        let place = (environment.to_owned(), format!("refs/heads/{branch}"));
        let head = self.scene.heads.branches.get(branch);
        head.is_none_or(|head| self.deployed.get(&place) == Some(head))
    }
}

fn cut<T>(list: &mut Vec<T>, left: &mut usize) {
    list.truncate(*left);
    *left -= list.len();
}

proptest! {
    #[test]
    fn every_head_is_deployed_in_the_end_and_then_nothing_more_is(
        happenings in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut course = Course::new();
        for happening in &happenings {
            course.happen(happening);
            prop_assert!(course.living() <= 2, "more review environments than allowed");
        }
        // A repository of which nothing is left is left alone.
        course.scene.branch("keep", 1);
        course.scene.requests = Some(course.open.clone());
        course.sweep(usize::MAX);
        prop_assert!(course.has_deployed_the_head_of("next", "next"));
        let main = course.scene.heads.branches.contains_key("main");
        prop_assert!(!main || course.has_deployed_the_head_of("production", "main"));
        // What was stopped is forgotten in the second look, and what waited for its place is deployed.
        let rounds = (0..4).take_while(|_| !course.sweep(usize::MAX)).count();
        prop_assert!(rounds < 4, "it never comes to rest");
        prop_assert!(course.scene.decide().is_empty());
    }
}
