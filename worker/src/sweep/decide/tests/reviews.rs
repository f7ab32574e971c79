//! Environments of merge requests: when they come and go, how many there are, and who gets none.

use super::*;

#[test]
fn a_merge_request_has_an_environment_while_it_is_open() {
    let mut scene = Scene::with_reviews(false);
    scene.open(7, 2);
    let plan = scene.decide();
    assert_eq!(plan.deploy[0].branch, BranchName::parse("work-7").ok());
    assert_eq!(plan.deploy[0].merge_request, Some(7));
    assert_eq!(scene.sweep(), ["review-7 refs/merge-requests/7/head 2"]);
    assert!(scene.decide().is_empty());
    scene.open(7, 3);
    assert_eq!(scene.decide().look[0].before, Some(revision(2)));
    scene.answer("review-7", "refs/merge-requests/7/head", Answer::Deploy);
    assert_eq!(scene.sweep(), ["review-7 refs/merge-requests/7/head 3"]);
    scene.close(7);
    let plan = scene.decide();
    assert_eq!((plan.stop.len(), plan.gone.len()), (1, 0), "forgotten only when it is stopped");
    assert_eq!(scene.decide().stop[0].as_str(), "review-7");
    scene.sweep();
    assert_eq!(scene.decide().gone.len(), 1);
    scene.sweep();
    assert!(scene.decide().is_empty());
    scene.open(7, 3);
    assert_eq!(scene.sweep(), ["review-7 refs/merge-requests/7/head 3"], "opened again");
}

#[test]
fn there_are_no_more_review_environments_than_allowed() {
    let mut scene = Scene::with_reviews(false);
    for iid in 1..=4 {
        scene.open(iid, 10);
    }
    let first = scene.sweep();
    assert_eq!(first, ["review-4 refs/merge-requests/4/head a", "review-3 refs/merge-requests/3/head a"]);
    let plan = scene.decide();
    assert!(plan.is_empty());
    assert_eq!(plan.notes.len(), 1);
    scene.close(4);
    assert_eq!(scene.sweep(), NOTHING, "the closed one is still there");
    assert_eq!(scene.sweep(), ["review-2 refs/merge-requests/2/head a"]);
}

#[test]
fn a_review_environment_without_pushes_ends_and_comes_back_with_one() {
    let mut scene = Scene::with_reviews(false);
    scene.open(7, 2);
    scene.sweep();
    scene.later_h(9);
    assert!(scene.decide().is_empty());
    scene.later_h(1);
    assert_eq!(scene.decide().stop.len(), 1);
    scene.sweep();
    assert!(scene.decide().is_empty(), "and is not deployed again");
    scene.open(7, 3);
    scene.answer("review-7", "refs/merge-requests/7/head", Answer::Deploy);
    assert_eq!(scene.sweep(), ["review-7 refs/merge-requests/7/head 3"]);
    assert!(scene.decide().is_empty());
}

#[test]
fn a_push_at_the_last_moment_is_deployed_and_not_stopped() {
    let mut scene = Scene::with_reviews(false);
    scene.open(7, 2);
    scene.sweep();
    scene.later_h(11);
    scene.open(7, 3);
    scene.answer("review-7", "refs/merge-requests/7/head", Answer::Deploy);
    let plan = scene.decide();
    assert_eq!((plan.stop.len(), plan.deploy.len()), (0, 1));
}

#[test]
fn merge_requests_of_other_repositories_need_leave() {
    for forks in [false, true] {
        let mut scene = Scene::with_reviews(forks);
        scene.heads.merge_requests.insert(7, revision(2));
        scene.requests = Some(vec![OpenRequest { is_fork: true, ..request(7) }]);
        let plan = scene.decide();
        assert_eq!(plan.deploy.len(), usize::from(forks));
        assert_eq!(plan.notes.len(), usize::from(!forks));
        assert!(plan.deploy.iter().all(|wanted| wanted.is_fork && wanted.branch.is_none()));
    }
}

#[test]
fn a_fork_whose_leave_is_taken_back_is_stopped() {
    let mut scene = Scene::with_reviews(true);
    scene.heads.merge_requests.insert(7, revision(2));
    scene.requests = Some(vec![OpenRequest { is_fork: true, ..request(7) }]);
    scene.sweep();
    scene.review = Some(ReviewRule { forks: false, ..scene.review.clone().unwrap() });
    assert_eq!(scene.decide().stop.len(), 1);
}

#[test]
fn nothing_is_stopped_while_the_open_ones_are_not_known() {
    let mut scene = Scene::with_reviews(false);
    scene.open(7, 2);
    scene.sweep();
    scene.requests = None;
    assert!(scene.decide().is_empty());
    scene.review = None;
    assert_eq!(scene.decide().stop.len(), 1, "without a rule none is wanted, whoever is open");
}

#[test]
fn a_merge_request_is_compared_with_where_it_is_to_go() {
    let mut scene = Scene::with_reviews(false);
    scene.review.as_mut().unwrap().paths = vec!["api/**".parse().unwrap()];
    scene.open(7, 2);
    let look = scene.decide().look;
    assert_eq!((look[0].before.clone(), look[0].base.clone()), (None, Some(revision(1))));
    scene.answer("review-7", "refs/merge-requests/7/head", Answer::Unconcerned);
    assert_eq!(scene.sweep(), NOTHING);
    assert!(scene.decide().is_empty(), "until the next push");
}

#[test]
fn slipways_own_proposals_get_no_environment() {
    let mut scene = Scene::with_reviews(true);
    scene.open(7, 2);
    let own = OpenRequest { source: BranchName::parse("slipway/production-1").ok(), ..request(7) };
    scene.requests = Some(vec![own]);
    assert_eq!(scene.sweep(), NOTHING);
    scene.requests = Some(vec![request(7)]);
    assert_eq!(scene.sweep().len(), 1, "another one does");
}
