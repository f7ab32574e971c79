//! H3 to H7: what scalers say of autoscalers, and of themselves.

use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{
    Fixture, autoscaler, decision, learned, learned_of, newest, observed, place, put, seen, state, state_of,
    stored, with_autoscalers,
};
use crate::contract::later;
use crate::model::autoscaler::{
    AutoscalerState, DECISIONS_KEPT_MAX, DecisionEntry, Learned, OBSERVED_KEPT_MAX, Observed, Place,
};
use crate::record::Record;

/// Longer than any law takes.
const LONG: Duration = Duration::from_secs(600);
/// How long those say they are there who are to go.
const SHORT_S: u64 = 5;

/// H3: the last state counts, but none of a smaller token after one of a larger.
pub async fn h3_the_largest_fencing_token_wins(fixture: &dyn Fixture) {
    let shop = place("shop");
    let backend = with_autoscalers(fixture, &[&shop]).await;
    let autoscalers = &*backend.autoscalers;
    assert_eq!(state_of(autoscalers, &shop).await, None);
    let states = [state(5, 1), state(5, 2), state(4, 3), state(60, 4), state(7, 5)];
    for (state, expected) in states.iter().zip([0, 1, 1, 3, 3]) {
        put(autoscalers, &shop, state).await;
        let now = state_of(autoscalers, &shop).await;
        assert_eq!(now.as_ref(), Some(&states[expected]), "after {state:?}");
    }
}

/// H3: of many at the same moment, the one with the largest token stays.
pub async fn h3_concurrent_states_leave_the_largest_token(fixture: &dyn Fixture) {
    const WRITERS: u64 = 20;
    let shop = place("shop");
    let backend = with_autoscalers(fixture, &[&shop]).await;
    let mut writers = JoinSet::new();
    for fence in 1..=WRITERS {
        let (autoscalers, shop) = (backend.autoscalers.clone(), shop.clone());
        writers.spawn(async move { put(&*autoscalers, &shop, &state(fence, 1)).await });
    }
    writers.join_all().await;
    let left = state_of(&*backend.autoscalers, &shop).await.expect("there is a state");
    assert_eq!(left.fence, WRITERS);
}

/// H3: hundreds of states in one call, each at its place; those that are overtaken or of nobody are passed over.
pub async fn h3_many_states_are_put_together(fixture: &dyn Fixture) {
    const PLACES: u32 = 600;
    let backend = fixture.backend().await;
    let places: Vec<Place> = (0..PLACES).map(|number| place(&format!("shop-{number}"))).collect();
    let records: Vec<Record> = places.iter().map(|place| stored(&autoscaler(place, 9))).collect();
    for some in records.chunks(50) {
        backend.ledger.append_all(some).await.expect("the ledger takes them");
        backend.store.apply_all(some).await.expect("the store takes them");
    }
    let autoscalers = &*backend.autoscalers;
    let ahead = state(9, 77);
    put(autoscalers, &places[7], &ahead).await;
    let mut states: Vec<(Place, AutoscalerState)> =
        places.iter().cloned().zip((0..PLACES).map(|number| state(2, number))).collect();
    states.insert(8, (place("nowhere"), state(2, 1)));
    autoscalers.put_states(&states).await.expect("states are taken");
    for (place, put) in &states {
        let expected = match place.project.as_str() {
            "nowhere" => None,
            "shop-7" => Some(&ahead),
            _ => Some(put),
        };
        assert_eq!(state_of(autoscalers, place).await.as_ref(), expected, "{place}");
    }
    autoscalers.put_states(&[]).await.expect("nothing is nothing");
}

/// H4: numbers are 1, 2, 3 … of each place, also when a call has those of several; reading goes on from any of them.
pub async fn h4_decisions_are_numbered_in_order(fixture: &dyn Fixture) {
    let (shop, blog) = (place("shop"), place("blog"));
    let backend = with_autoscalers(fixture, &[&shop, &blog]).await;
    let autoscalers = &*backend.autoscalers;
    let made: Vec<DecisionEntry> = (1..=7).map(decision).collect();
    let of = |place: &Place, index: usize| (place.clone(), made[index].clone());
    let calls = [
        vec![of(&shop, 0), of(&blog, 5), of(&shop, 1), of(&place("nowhere"), 0), of(&shop, 2)],
        vec![],
        vec![of(&blog, 6)],
        vec![of(&shop, 3), of(&shop, 4)],
    ];
    for call in &calls {
        autoscalers.append_decisions(call).await.expect("decisions are taken");
    }
    let numbered: Vec<(u64, DecisionEntry)> = (1..).zip(made).collect();
    let read = async |place: &Place, after, limit| {
        autoscalers.decisions(place, after, limit).await.expect("it answers")
    };
    assert_eq!(read(&shop, 0, 100).await, numbered[..5]);
    assert_eq!(read(&shop, 2, 2).await, numbered[2..4]);
    assert!(read(&shop, 5, 9).await.is_empty() && read(&shop, 0, 0).await.is_empty());
    assert!(read(&shop, u64::MAX, usize::MAX).await.is_empty());
    assert_eq!(newest(autoscalers, &shop, 2).await, numbered[3..5]);
    assert_eq!(newest(autoscalers, &shop, usize::MAX).await, numbered[..5]);
    assert!(newest(autoscalers, &shop, 0).await.is_empty());
    let other: Vec<u32> = read(&blog, 0, 9).await.iter().map(|(_, decision)| decision.replicas).collect();
    assert_eq!(other, [6, 7]);
    assert_eq!(read(&blog, 1, 9).await.first().map(|(number, _)| *number), Some(2));
    assert!(read(&place("nowhere"), 0, 9).await.is_empty());
}

/// H4: so many are kept, and the numbers go on.
pub async fn h4_the_newest_decisions_are_kept(fixture: &dyn Fixture) {
    const SURPLUS: usize = 130;
    let shop = place("shop");
    let backend = with_autoscalers(fixture, &[&shop]).await;
    let autoscalers = &*backend.autoscalers;
    let made: Vec<DecisionEntry> = (1..).map(decision).take(DECISIONS_KEPT_MAX + SURPLUS).collect();
    for some in made.chunks(90) {
        let some: Vec<_> = some.iter().map(|made| (shop.clone(), made.clone())).collect();
        autoscalers.append_decisions(&some).await.expect("decisions are taken");
    }
    let kept: Vec<(u64, DecisionEntry)> = (1..).zip(made).skip(SURPLUS).collect();
    assert_eq!(autoscalers.decisions(&shop, 0, usize::MAX).await.expect("it answers"), kept);
    assert_eq!(newest(autoscalers, &shop, usize::MAX).await, kept);
}

/// H4: of many appended at the same moment, each has a number of its own and none is left out.
pub async fn h4_concurrent_appends_leave_no_gap(fixture: &dyn Fixture) {
    const WRITERS: u32 = 10;
    let shop = place("shop");
    let backend = with_autoscalers(fixture, &[&shop]).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (autoscalers, shop) = (backend.autoscalers.clone(), shop.clone());
        writers.spawn(async move {
            let two = [(shop.clone(), decision(10 * writer)), (shop, decision(10 * writer + 1))];
            autoscalers.append_decisions(&two).await.expect("decisions are taken");
        });
    }
    writers.join_all().await;
    let kept = newest(&*backend.autoscalers, &shop, usize::MAX).await;
    assert!(kept.iter().map(|(number, _)| *number).eq(1..=u64::from(2 * WRITERS)), "{kept:?}");
    let mut replicas: Vec<u32> = kept.iter().map(|(_, decision)| decision.replicas).collect();
    replicas.sort_unstable();
    assert!(replicas.into_iter().eq((0..WRITERS).flat_map(|writer| [10 * writer, 10 * writer + 1])));
}

/// H5: observations come back as they were appended, whatever their times are; those before `since` are left out.
pub async fn h5_observations_come_back_in_order(fixture: &dyn Fixture) {
    let (shop, blog) = (place("shop"), place("blog"));
    let backend = with_autoscalers(fixture, &[&shop, &blog]).await;
    let autoscalers = &*backend.autoscalers;
    let start = Timestamp::now();
    let made: Vec<Observed> = [10, 20, 5, 30, 40]
        .into_iter()
        .zip(1..)
        .map(|(second, replicas)| observed(later(start, second), replicas))
        .collect();
    for (some, place) in [(&made[..2], &shop), (&made[..0], &shop), (&made[1..2], &blog), (&made[2..], &shop)]
    {
        autoscalers.append_observed(place, some).await.expect("observations are taken");
    }
    assert_eq!(seen(autoscalers, &shop).await, made);
    assert_eq!(seen(autoscalers, &blog).await, made[1..2]);
    let since = async |second| autoscalers.observed(&shop, later(start, second)).await.expect("it answers");
    assert_eq!(since(20).await, [made[1], made[3], made[4]], "from that time on");
    assert_eq!(since(31).await, [made[4]]);
    assert!(since(41).await.is_empty());
    assert!(seen(autoscalers, &place("nowhere")).await.is_empty());
}

/// H5: so many are kept, however many came at once.
pub async fn h5_the_newest_observations_are_kept(fixture: &dyn Fixture) {
    let shop = place("shop");
    let backend = with_autoscalers(fixture, &[&shop]).await;
    let autoscalers = &*backend.autoscalers;
    let start = Timestamp::now();
    let mut made: Vec<Observed> = Vec::new();
    for count in [1, 700, 1_999, 2_000, 30, OBSERVED_KEPT_MAX + 333, 17] {
        let some: Vec<Observed> = (made.len()..made.len() + count).map(|number| nth(start, number)).collect();
        autoscalers.append_observed(&shop, &some).await.expect("observations are taken");
        made.extend(some);
        let kept = &made[made.len().saturating_sub(OBSERVED_KEPT_MAX)..];
        let found = seen(autoscalers, &shop).await;
        assert!(found == kept, "{} of {} are there after {count}", found.len(), kept.len());
    }
}

/// The observation after `number` others, a second apart.
fn nth(start: Timestamp, number: usize) -> Observed {
    let number = u32::try_from(number).expect("a small number");
    observed(later(start, u64::from(number)), number)
}

/// H6: each is told who is there, itself included, by name; who says nothing for as long as it said, or withdraws, is
/// not.
pub async fn h6_who_announced_itself_is_present(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let autoscalers = &*backend.autoscalers;
    let now = Timestamp::now();
    let announce = async |name: &str, ttl, now| {
        autoscalers.announce(name, ttl, now).await.expect("announcements are taken")
    };
    let short = Duration::from_secs(SHORT_S);
    assert_eq!(announce("two", LONG, now).await, ["two"]);
    assert_eq!(announce("one", short, now).await, ["one", "two"]);
    assert_eq!(announce("three", short, now).await, ["one", "three", "two"]);
    assert_eq!(announce("one", short, later(now, SHORT_S - 1)).await, ["one", "three", "two"], "it goes on");
    assert_eq!(announce("two", LONG, later(now, SHORT_S)).await, ["one", "two"], "three's time is over");
    autoscalers.withdraw("two").await.expect("it is taken");
    autoscalers.withdraw("nobody").await.expect("who is not there can go");
    assert_eq!(announce("four", LONG, later(now, SHORT_S)).await, ["four", "one"]);
    assert_eq!(announce("two", short, later(now, 2 * SHORT_S)).await, ["four", "two"], "one's time is over");
}

/// H7: what was put last counts, but nothing of a smaller token after a larger; a place without an autoscaler has none,
/// and states and what was learned do not touch.
pub async fn h7_what_was_learned_is_what_was_put_last(fixture: &dyn Fixture) {
    let (shop, blog) = (place("shop"), place("blog"));
    let backend = with_autoscalers(fixture, &[&shop, &blog]).await;
    let autoscalers = &*backend.autoscalers;
    assert_eq!(learned_of(autoscalers, &shop).await, None);
    put(autoscalers, &shop, &state(90, 1)).await;
    let long = "x".repeat(20_000);
    let all = [learned(5, "one"), learned(5, "two"), learned(4, "three"), learned(60, &long), learned(7, "")];
    for (put, expected) in all.iter().zip([0, 1, 1, 3, 3]) {
        let puts = [(shop.clone(), put.clone()), (place("nowhere"), put.clone())];
        autoscalers.put_learned(&puts).await.expect("it is taken");
        assert_eq!(learned_of(autoscalers, &shop).await.as_ref(), Some(&all[expected]), "{}", put.fence);
    }
    assert_eq!(learned_of(autoscalers, &place("nowhere")).await, None);
    assert_eq!(learned_of(autoscalers, &blog).await, None);
    assert_eq!(state_of(autoscalers, &shop).await.map(|state| state.fence), Some(90));
    let many: Vec<(Place, Learned)> = (0..60).map(|number| (blog.clone(), learned(number, "more"))).collect();
    autoscalers.put_learned(&many).await.expect("it is taken");
    assert_eq!(learned_of(autoscalers, &blog).await, Some(learned(59, "more")));
    autoscalers.put_learned(&[]).await.expect("nothing is nothing");
    drop(backend);
    let autoscalers = fixture.restart().await.autoscalers;
    fixture.settled().await;
    assert_eq!(learned_of(&*autoscalers, &blog).await, Some(learned(59, "more")));
}
