//! The laws of the agenda, G1 to G7, and what is noted by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::projects::{deleted, keep, stored};
use super::sample::registered;
use super::{Fixture, later};
use crate::agenda::{Agenda, Due, List, Next};
use crate::model::{Delivery, DeliveryKind, ProjectSlug};
use crate::record::Record;

/// How long claims hold in these laws.
const TTL_S: u64 = 60;
const TTL: Duration = Duration::from_secs(TTL_S);
const MANY: usize = 100;

/// Now, to the second: stores keep times to the microsecond.
fn start() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).expect("now is a time")
}

async fn note(agenda: &dyn Agenda, list: List, keys: &[&str], at: Timestamp) {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    agenda.note(list, &keys, at).await.expect("notes are taken");
}

async fn claim(agenda: &dyn Agenda, list: List, now: Timestamp) -> Vec<Due> {
    agenda.claim(list, MANY, TTL, now).await.expect("it answers")
}

/// Claims the only entry that is due.
async fn claim_one(agenda: &dyn Agenda, list: List, now: Timestamp) -> Due {
    let mut claimed = claim(agenda, list, now).await;
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

async fn nothing_is_due(agenda: &dyn Agenda, list: List, now: Timestamp) {
    let claimed = claim(agenda, list, now).await;
    assert!(claimed.is_empty(), "{claimed:?}");
}

async fn settle(agenda: &dyn Agenda, due: &Due, next: Next, memo: Option<&str>, now: Timestamp) -> bool {
    agenda.settle(List::Sweeps, due, next, memo, now).await.expect("it answers")
}

fn keys(claimed: &[Due]) -> Vec<&str> {
    claimed.iter().map(|due| due.key.as_str()).collect()
}

/// G1: an entry is claimed when its time has come; it comes forward when it is noted again, and never goes back.
pub async fn g1_an_entry_is_claimed_when_its_time_has_come(fixture: &dyn Fixture) {
    let agenda = fixture.backend().await.agenda;
    let (agenda, start) = (&*agenda, start());
    nothing_is_due(agenda, List::Sweeps, start).await;
    note(agenda, List::Sweeps, &["shop"], later(start, 10)).await;
    assert_eq!(agenda.depth(List::Sweeps, start).await.expect("it answers"), (0, 1));
    nothing_is_due(agenda, List::Sweeps, later(start, 9)).await;
    note(agenda, List::Sweeps, &["shop"], later(start, 99)).await;
    assert_eq!(agenda.depth(List::Sweeps, later(start, 10)).await.expect("it answers"), (1, 0));
    note(agenda, List::Sweeps, &["shop"], later(start, 5)).await;
    nothing_is_due(agenda, List::Sweeps, later(start, 4)).await;
    let due = claim_one(agenda, List::Sweeps, later(start, 5)).await;
    assert_eq!((due.key.as_str(), due.due_at, &due.memo), ("shop", later(start, 5), &None));
    note(agenda, List::Sweeps, &[], start).await;
    // A time that is past already is one that has come.
    let now = Timestamp::now();
    note(agenda, List::Sweeps, &["blog"], now).await;
    assert_eq!(claim_one(agenda, List::Sweeps, now).await.key, "blog");
}

/// G2: while one has it nobody else does; when that is over it is due again, under a larger token.
pub async fn g2_a_claim_is_exclusive_until_it_is_over(fixture: &dyn Fixture) {
    let agenda = fixture.backend().await.agenda;
    let (agenda, start) = (&*agenda, start());
    note(agenda, List::Sweeps, &["shop"], start).await;
    let first = claim_one(agenda, List::Sweeps, start).await;
    nothing_is_due(agenda, List::Sweeps, later(start, TTL_S - 1)).await;
    let depth = agenda.depth(List::Sweeps, start).await.expect("it answers");
    assert_eq!(depth, (0, 0), "it is in somebody's hands");
    let over = later(start, TTL_S);
    assert_eq!(agenda.depth(List::Sweeps, over).await.expect("it answers"), (1, 0));
    let second = claim_one(agenda, List::Sweeps, over).await;
    assert!(second.token > first.token, "{second:?} after {first:?}");
    assert!(settle(agenda, &second, Next::Gone, None, over).await);
    note(agenda, List::Sweeps, &["shop"], over).await;
    let third = claim_one(agenda, List::Sweeps, over).await;
    assert!(third.token > second.token, "also when it was forgotten in between");
}

/// G2: of many who claim at once, each entry goes to one.
pub async fn g2_concurrent_claims_share_nothing(fixture: &dyn Fixture) {
    const CLAIMERS: usize = 8;
    const ENTRIES: usize = 40;
    let agenda = fixture.backend().await.agenda;
    let start = start();
    let noted: Vec<String> = (0..ENTRIES).map(|number| format!("shop-{number}")).collect();
    agenda.note(List::Reports, &noted, start).await.expect("notes are taken");
    let mut claimers = JoinSet::new();
    for _ in 0..CLAIMERS {
        let agenda = agenda.clone();
        claimers.spawn(async move { agenda.claim(List::Reports, 7, TTL, start).await.expect("it answers") });
    }
    let mut claimed: Vec<Due> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), ENTRIES);
    claimed.sort_by_key(|due| due.token);
    assert!(claimed.windows(2).all(|two| two[0].token < two[1].token), "{claimed:?}");
    let distinct: BTreeSet<&str> = keys(&claimed).into_iter().collect();
    assert_eq!(distinct.len(), ENTRIES);
}

/// G3: whatever it is settled to, what was noted meanwhile makes it due again; once.
pub async fn g3_what_was_noted_meanwhile_is_due_again(fixture: &dyn Fixture) {
    let agenda = fixture.backend().await.agenda;
    let (agenda, start) = (&*agenda, start());
    let ways = [Next::At(later(start, 900)), Next::Rest(TTL), Next::Gone];
    for (minute, next) in (1..).zip(ways) {
        let now = later(start, 60 * minute);
        note(agenda, List::Sweeps, &["shop"], now).await;
        let first = claim_one(agenda, List::Sweeps, now).await;
        note(agenda, List::Sweeps, &["shop"], later(now, 2)).await;
        note(agenda, List::Sweeps, &["shop"], later(now, 1)).await;
        nothing_is_due(agenda, List::Sweeps, later(now, 2)).await;
        assert!(settle(agenda, &first, next, None, later(now, 2)).await);
        let second = claim_one(agenda, List::Sweeps, later(now, 2)).await;
        assert_eq!(second.due_at, later(now, 1), "settled to {next:?}");
        assert!(settle(agenda, &second, Next::Gone, None, later(now, 3)).await);
        nothing_is_due(agenda, List::Sweeps, later(now, 3)).await;
    }
    // A claim that is over was not settled, and what was noted during it is no reason to look twice.
    note(agenda, List::Sweeps, &["blog"], start).await;
    claim_one(agenda, List::Sweeps, start).await;
    note(agenda, List::Sweeps, &["blog"], later(start, 1)).await;
    let second = claim_one(agenda, List::Sweeps, later(start, TTL_S)).await;
    assert!(settle(agenda, &second, Next::At(later(start, 900)), None, later(start, TTL_S)).await);
    nothing_is_due(agenda, List::Sweeps, later(start, 899)).await;
    assert_eq!(claim_one(agenda, List::Sweeps, later(start, 900)).await.key, "blog");
}

/// G4: who comes too late changes nothing, and is told.
pub async fn g4_an_overtaken_claim_settles_nothing(fixture: &dyn Fixture) {
    let agenda = fixture.backend().await.agenda;
    let (agenda, start) = (&*agenda, start());
    note(agenda, List::Sweeps, &["shop"], start).await;
    let first = claim_one(agenda, List::Sweeps, start).await;
    let over = later(start, TTL_S);
    let second = claim_one(agenda, List::Sweeps, over).await;
    for next in [Next::At(over), Next::Rest(TTL), Next::Gone] {
        assert!(!settle(agenda, &first, next, Some("late"), over).await, "{next:?}");
    }
    nothing_is_due(agenda, List::Sweeps, over).await;
    assert!(settle(agenda, &second, Next::Rest(TTL), Some("second"), over).await);
    assert!(!settle(agenda, &first, Next::Gone, None, over).await);
    assert_eq!(agenda.memo(List::Sweeps, "shop").await.expect("it answers").as_deref(), Some("second"));
    // One that is over and was followed by none still counts.
    note(agenda, List::Sweeps, &["shop"], over).await;
    let third = claim_one(agenda, List::Sweeps, over).await;
    let late = later(over, TTL_S + 1);
    assert!(settle(agenda, &third, Next::At(later(late, 5)), None, late).await);
    nothing_is_due(agenda, List::Sweeps, later(late, 4)).await;
}

/// G5: a memo stays through notes, claims and rest, until another takes its place or the entry is forgotten.
pub async fn g5_the_memo_is_what_was_settled_last(fixture: &dyn Fixture) {
    let agenda = fixture.backend().await.agenda;
    let (agenda, now) = (&*agenda, start());
    let memo = async || agenda.memo(List::Sweeps, "shop").await.expect("it answers");
    assert_eq!(memo().await, None);
    note(agenda, List::Sweeps, &["shop"], now).await;
    let steps = [
        (Next::Rest(TTL), Some("one"), Some("one")),
        (Next::At(now), Some("two"), Some("two")),
        (Next::Rest(TTL), None, None),
        (Next::At(now), Some("three"), Some("three")),
        (Next::Gone, Some("four"), None),
    ];
    let mut before = None;
    for (next, given, expected) in steps {
        note(agenda, List::Sweeps, &["shop"], now).await;
        let due = claim_one(agenda, List::Sweeps, now).await;
        assert_eq!(due.memo.as_deref(), before, "before {next:?}");
        assert_eq!(memo().await.as_deref(), before);
        assert!(settle(agenda, &due, next, given, now).await);
        assert_eq!(memo().await.as_deref(), expected, "after {next:?}");
        before = expected;
    }
    nothing_is_due(agenda, List::Sweeps, later(now, 9_000)).await;
    assert_eq!(agenda.memo(List::Reports, "shop").await.expect("it answers"), None);
}

/// G6: the earliest first, also when they were claimed before; and each list for itself.
pub async fn g6_claims_are_in_the_order_of_times(fixture: &dyn Fixture) {
    let agenda = fixture.backend().await.agenda;
    let (agenda, start) = (&*agenda, start());
    for (key, second) in [("c", 30), ("a", 10), ("d", 100), ("b", 20)] {
        note(agenda, List::Sweeps, &[key], later(start, second)).await;
    }
    note(agenda, List::Reports, &["a", "x"], start).await;
    let some = |limit, second| agenda.claim(List::Sweeps, limit, TTL, later(start, second));
    let first = some(1, 40).await.expect("it answers");
    assert_eq!(keys(&first), ["a"]);
    assert!(some(0, 40).await.expect("it answers").is_empty());
    let all = some(MANY, 40 + TTL_S).await.expect("it answers");
    assert_eq!(keys(&all), ["b", "c", "a", "d"], "a is due again when its claim is over");
    assert_eq!(agenda.depth(List::Reports, start).await.expect("it answers"), (2, 0));
    assert_eq!(keys(&claim(agenda, List::Reports, start).await), ["a", "x"]);
}

/// G7: who renews a claim keeps it, and what was noted meanwhile is not forgotten; what is lost stays lost.
pub async fn g7_a_renewed_claim_is_exclusive_for_longer(fixture: &dyn Fixture) {
    let agenda = fixture.backend().await.agenda;
    let (agenda, start) = (&*agenda, start());
    let renew = async |due: &Due, now: Timestamp| {
        agenda.renew(List::Sweeps, due, TTL, now).await.expect("it answers")
    };
    note(agenda, List::Sweeps, &["shop"], start).await;
    let first = claim_one(agenda, List::Sweeps, start).await;
    note(agenda, List::Sweeps, &["shop"], later(start, 1)).await;
    let middle = later(start, TTL_S / 2);
    assert!(renew(&first, middle).await && renew(&first, middle).await, "any number of times");
    nothing_is_due(agenda, List::Sweeps, later(middle, TTL_S - 1)).await;
    assert!(settle(agenda, &first, Next::Rest(TTL), Some("first"), middle).await);
    assert!(!renew(&first, middle).await, "it was settled");
    let second = claim_one(agenda, List::Sweeps, middle).await;
    assert_eq!((second.due_at, second.memo.as_deref()), (later(start, 1), Some("first")));
    let over = later(middle, TTL_S);
    assert!(renew(&second, over).await, "it was over, but nobody has followed");
    nothing_is_due(agenda, List::Sweeps, later(over, TTL_S - 1)).await;
    let end = later(over, TTL_S);
    let third = claim_one(agenda, List::Sweeps, end).await;
    assert!(!renew(&second, end).await, "somebody else has it");
    assert!(settle(agenda, &third, Next::Gone, None, end).await);
    assert!(!renew(&third, end).await, "it was forgotten");
    nothing_is_due(agenda, List::Sweeps, later(end, 9_000)).await;
}

fn delivery(project: &ProjectSlug, at: Timestamp, kind: DeliveryKind) -> Record {
    let id = format!("delivery-{at}");
    Record::DeliveryReceived(Delivery { id, project: project.clone(), at, kind })
}

/// A project is looked at when it was stored, and when a delivery speaks of its refs, once each.
pub async fn deliveries_and_projects_are_noted(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let (agenda, start) = (&*backend.agenda, start());
    let (shop, blog) = (registered("shop", start), registered("blog", start));
    let slug = &shop.project.slug;
    let push = || DeliveryKind::Push { reference: "refs/heads/main".to_owned(), revision: None };
    let pipeline = DeliveryKind::Pipeline { revision: "a1".to_owned() };
    let looked_at = async |now: Timestamp| {
        let due = claim_one(agenda, List::Sweeps, now).await;
        assert_eq!(due.key, slug.as_str());
        assert!(settle(agenda, &due, Next::At(later(start, 9_000)), None, now).await);
        // When the ledger has been read too, it is known that this was done.
        fixture.settled().await;
        nothing_is_due(agenda, List::Sweeps, later(now, 1)).await;
    };
    keep(&backend, &[stored(&shop)]).await;
    looked_at(start).await;
    let (second, third) = (later(start, 100), later(start, 200));
    keep(&backend, &[delivery(slug, second, push())]).await;
    nothing_is_due(agenda, List::Sweeps, later(start, 99)).await;
    looked_at(second).await;
    keep(&backend, &[delivery(slug, third, DeliveryKind::MergeRequest { iid: 7 })]).await;
    looked_at(third).await;
    keep(&backend, &[delivery(slug, later(start, 300), pipeline)]).await;
    keep(&backend, &[delivery(&blog.project.slug, start, push()), stored(&blog), deleted(&blog)]).await;
    fixture.settled().await;
    let claimed = claim(agenda, List::Sweeps, later(start, 400)).await;
    assert!(claimed.iter().all(|due| due.key != slug.as_str()), "a pipeline moves no ref: {claimed:?}");
    for due in &claimed {
        assert!(settle(agenda, due, Next::Gone, None, later(start, 400)).await);
    }
    // What only the ledger was told is noted when it is read.
    let fourth = later(start, 500);
    backend.ledger.append(&delivery(slug, fourth, push())).await.expect("the ledger takes it");
    fixture.settled().await;
    looked_at(fourth).await;
}

/// `wait` comes back early when something is noted, and after `longest` at the latest.
pub async fn a_wait_ends_when_something_is_noted(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let began = tokio::time::Instant::now();
    backend.agenda.wait(List::Reports, Duration::from_millis(50)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "an empty list does not keep anyone");
    let agenda = backend.agenda.clone();
    let waiting = tokio::spawn(async move {
        loop {
            let claimed = claim(&*agenda, List::Reports, Timestamp::now()).await;
            if let Some(due) = claimed.into_iter().next() {
                return due.key;
            }
            agenda.wait(List::Reports, Duration::from_secs(300)).await;
        }
    });
    note(&*backend.agenda, List::Reports, &["shop"], Timestamp::now()).await;
    let claimed = tokio::time::timeout(super::EVENTUALLY_MAX, waiting).await;
    assert_eq!(claimed.expect("it is told in time").expect("it ends well"), "shop");
}
