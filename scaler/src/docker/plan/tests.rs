//! Which containers stay, come and go.

use std::collections::HashMap;

use super::*;

fn found(name: &str, activity: Activity) -> Found {
    let number = RoutingState::base_of(name).rsplit('-').next().unwrap_or_default();
    let labels = [(label::REPLICA, number), (label::SPEC_HASH, "one")];
    let labels: HashMap<_, _> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Found { id: name.to_owned(), name: name.to_owned(), activity, labels }
}

fn running(name: &str) -> Found {
    found(name, Activity::Running)
}

fn of_hash(hash: &str, mut found: Found) -> Found {
    found.labels.insert(label::SPEC_HASH.to_owned(), hash.to_owned());
    found
}

fn planned(own: &[Found], to: Option<u32>) -> Plan<'_> {
    plan(own, original(own).unwrap(), to)
}

fn names<'a>(found: &[&'a Found]) -> Vec<&'a str> {
    found.iter().map(|found| found.name.as_str()).collect()
}

#[test]
fn what_is_missing_gets_the_lowest_free_numbers() {
    let own = [running("s-2"), running("s-4"), running("s-5-draining"), found("s-1", Activity::Ended)];
    let plan = planned(&own, Some(5));
    assert_eq!((plan.kept, plan.missing), (2, vec![1, 3, 6]));
    assert_eq!(names(&plan.ended), ["s-1"]);
    assert_eq!(names(&plan.leaving), ["s-5-draining"]);
}

#[test]
fn what_was_left_starting_is_adopted_before_anything_is_created() {
    let own = [
        running("s-1"),
        found("s-2-starting", Activity::Fresh),
        running("s-3-starting"),
        of_hash("other", running("s-4-starting")),
        found("s-5-starting", Activity::Ended),
    ];
    let plan = planned(&own, Some(4));
    assert_eq!(names(&plan.adopted), ["s-3-starting", "s-2-starting"]);
    assert_eq!(names(&plan.unwanted), ["s-4-starting"]);
    assert_eq!(names(&plan.ended), ["s-5-starting"]);
    assert_eq!(plan.missing, [5]);
    let plan = planned(&own, Some(2));
    assert_eq!(names(&plan.adopted), ["s-3-starting"]);
    assert_eq!(names(&plan.unwanted), ["s-4-starting", "s-2-starting"]);
    assert!(plan.missing.is_empty());
}

#[test]
fn what_does_not_run_goes_first_and_then_the_largest_numbers() {
    let own = [
        running("s-9"),
        running("s-10"),
        found("s-1", Activity::Interrupted),
        running("s-2"),
        running("s-11-starting"),
    ];
    let plan = planned(&own, Some(2));
    assert_eq!(plan.kept, 2);
    assert_eq!(names(&plan.leaving), ["s-10", "s-1"]);
    assert_eq!(names(&plan.unwanted), ["s-11-starting"]);
    assert_eq!(names(&planned(&own, Some(1)).leaving), ["s-9", "s-10", "s-1"]);
    // One that is between two runs is still one of those that were ordered.
    assert!(planned(&own, Some(4)).leaving.is_empty());
}

#[test]
fn without_a_count_what_serves_stays_and_what_is_half_done_is_finished() {
    let own = [
        running("s-1"),
        found("s-2", Activity::Ended),
        running("s-3-starting"),
        running("s-4-draining"),
        found("s-5-draining", Activity::Ended),
    ];
    let plan = planned(&own, None);
    assert_eq!((plan.kept, plan.missing.len(), plan.unwanted.len()), (1, 0, 0));
    assert_eq!(names(&plan.adopted), ["s-3-starting"]);
    assert_eq!(names(&plan.leaving), ["s-4-draining"]);
    assert_eq!(names(&plan.ended), ["s-2", "s-5-draining"]);
}

#[test]
fn the_original_is_the_oldest_that_serves() {
    let own = [found("s-1", Activity::Interrupted), running("s-2-starting"), running("s-10"), running("s-4")];
    assert_eq!(original(&own).unwrap().name, "s-4");
    assert!(original(&own[..2]).is_none());
}

#[test]
fn while_nothing_serves_only_what_drains_or_never_served_is_finished() {
    let own = [
        found("s-1", Activity::Ended),
        running("s-2-starting"),
        running("s-3-draining"),
        found("s-4-starting", Activity::Ended),
    ];
    let plan = leftovers(&own);
    assert_eq!(names(&plan.leaving), ["s-3-draining"]);
    assert_eq!(names(&plan.ended), ["s-4-starting"]);
    assert!(plan.adopted.is_empty() && plan.unwanted.is_empty() && plan.missing.is_empty());
}
