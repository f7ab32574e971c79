//! H1 and H2: settings and wishes are what the ledger says.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Fixture, autoscaler, decision, keep, learned, learned_of, newest, observed, place, put, seen, state,
    state_of, stored, wish, with_autoscalers,
};
use crate::Backend;
use crate::autoscaler::{Autoscalers, Entry, Mark};
use crate::ledger::Offset;
use crate::model::autoscaler::{Place, Wish};
use crate::record::Record;

/// H1: the last settings and the last wish count, now and after a restart; an old record that is applied again changes
/// nothing, and a wish nobody can fulfil is none.
pub async fn h1_an_autoscaler_is_what_was_recorded_last(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let (shop, blog) = (place("shop"), place("blog"));
    let (first, second, other) = (autoscaler(&shop, 5), autoscaler(&shop, 9), autoscaler(&blog, 3));
    let (vain, early, late) = (wish(&shop, 2), wish(&shop, 3), wish(&shop, 4));
    keep(&backend, &[wished(&vain), stored(&first)]).await;
    let entry = Entry { autoscaler: first.clone(), wish: None };
    assert_eq!(one(&*backend.autoscalers, &shop).await, Some(entry), "the wish came before it");
    keep(&backend, &[wished(&early), stored(&other), stored(&second), wished(&late)]).await;
    for old in [stored(&first), wished(&early)] {
        backend.store.apply(&old).await.expect("a late repetition is harmless");
    }
    let expected = [
        Entry { autoscaler: other, wish: None },
        Entry { autoscaler: second.clone(), wish: Some(late.clone()) },
    ];
    assert_eq!(all(&*backend.autoscalers).await, expected, "by place");
    fixture.settled().await;
    assert_eq!(all(&*backend.autoscalers).await, expected, "when the ledger has been read too");
    let autoscalers = fixture.restart().await.autoscalers;
    fixture.settled().await;
    assert_eq!(all(&*autoscalers).await, expected);
    let entry = Entry { autoscaler: second, wish: Some(late) };
    assert_eq!(one(&*autoscalers, &shop).await, Some(entry));
    assert_eq!(one(&*autoscalers, &place("nowhere")).await, None);
}

/// H1: all of them are answered once, and again when an autoscaler or a wish is new, is another one, or is gone.
pub async fn h1_all_are_answered_when_something_is_new(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let (shop, blog) = (place("shop"), place("blog"));
    let (mark, none) = backend.autoscalers.all_since(None).await.expect("it answers").expect("it is new");
    assert!(none.is_empty());
    let mut marks = vec![mark];
    let wished_twice = wish(&shop, 3);
    for record in [
        stored(&autoscaler(&shop, 5)),
        stored(&autoscaler(&blog, 5)),
        stored(&autoscaler(&shop, 6)),
        wished(&wish(&shop, 2)),
        wished(&wished_twice),
        deleted(&blog),
    ] {
        keep(&backend, &[record]).await;
        fixture.settled().await;
        let (mark, found) = since(&backend, marks.last()).await.expect("something is new");
        assert_eq!(found, all(&*backend.autoscalers).await);
        assert!(!marks.contains(&mark), "{marks:?} {mark:?}");
        assert_eq!(since(&backend, Some(&mark)).await, None, "nothing is new");
        marks.push(mark);
    }
    keep(&backend, &[wished(&wished_twice)]).await;
    put(&*backend.autoscalers, &shop, &state(7, 1)).await;
    assert_eq!(since(&backend, marks.last()).await, None, "what is said beside them is nothing new");
    assert!(since(&backend, marks.first()).await.is_some());
}

async fn since(backend: &Backend, known: Option<&Mark>) -> Option<(Mark, Vec<Entry>)> {
    backend.autoscalers.all_since(known).await.expect("it answers")
}

/// H1: what belongs to a deleted autoscaler is gone, and does not come back with the next one at its place. Its
/// neighbours keep theirs.
pub async fn h1_deleting_it_deletes_everything_of_its_place(fixture: &dyn Fixture) {
    let (shop, blog) = (place("shop"), place("blog"));
    let backend = with_autoscalers(fixture, &[&shop, &blog]).await;
    let autoscalers = &*backend.autoscalers;
    for place in [&shop, &blog] {
        keep(&backend, &[wished(&wish(place, 4))]).await;
        put(autoscalers, place, &state(7, 1)).await;
        autoscalers.append_decisions(&[(place.clone(), decision(1))]).await.expect("decisions are taken");
        let observed = [observed(Timestamp::now(), 1)];
        autoscalers.append_observed(place, &observed).await.expect("observations are taken");
        let learned = [(place.clone(), learned(7, "a lot"))];
        autoscalers.put_learned(&learned).await.expect("it is taken");
    }
    keep(&backend, &[deleted(&shop)]).await;
    assert_eq!(one(autoscalers, &shop).await, None);
    nothing_beside(autoscalers, &shop).await;
    keep(&backend, &[wished(&wish(&shop, 5))]).await;
    put(autoscalers, &shop, &state(8, 1)).await;
    autoscalers.append_decisions(&[(shop.clone(), decision(2))]).await.expect("it is passed over");
    let late = [observed(Timestamp::now(), 2)];
    autoscalers.append_observed(&shop, &late).await.expect("they are passed over");
    let late = [(shop.clone(), learned(9, "too late"))];
    autoscalers.put_learned(&late).await.expect("it is passed over");
    nothing_beside(autoscalers, &shop).await;
    let again = autoscaler(&shop, 3);
    keep(&backend, &[stored(&again)]).await;
    fixture.settled().await;
    assert_eq!(one(autoscalers, &shop).await, Some(Entry { autoscaler: again, wish: None }));
    nothing_beside(autoscalers, &shop).await;
    put(autoscalers, &shop, &state(1, 6)).await;
    let state = state_of(autoscalers, &shop).await.expect("there is a state");
    assert_eq!(state.replicas, 6, "no old token counts");
    autoscalers.append_decisions(&[(shop.clone(), decision(3))]).await.expect("decisions are taken");
    assert_eq!(newest(autoscalers, &shop, 9).await.first().map(|(number, _)| *number), Some(1));
    let neighbour = one(autoscalers, &blog).await.expect("it is there");
    assert_eq!(neighbour.wish.map(|wish| wish.replicas), Some(4));
    assert!(state_of(autoscalers, &blog).await.is_some());
    assert_eq!(learned_of(autoscalers, &blog).await, Some(learned(7, "a lot")));
    assert_eq!((newest(autoscalers, &blog, 9).await.len(), seen(autoscalers, &blog).await.len()), (1, 1));
}

async fn nothing_beside(autoscalers: &dyn Autoscalers, place: &Place) {
    assert_eq!(state_of(autoscalers, place).await, None);
    assert!(newest(autoscalers, place, 9).await.is_empty());
    assert!(autoscalers.decisions(place, 0, 9).await.expect("it answers").is_empty());
    assert!(seen(autoscalers, place).await.is_empty());
    assert_eq!(learned_of(autoscalers, place).await, None);
}

/// H2: folding the ledger's records by hand gives what is answered, and applying all of them again changes nothing.
pub async fn h2_a_replay_gives_the_same_autoscalers(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let (shop, blog, wiki) = (place("shop"), place("blog"), place("wiki"));
    let records = [
        stored(&autoscaler(&shop, 2)),
        wished(&wish(&blog, 3)),
        stored(&autoscaler(&blog, 3)),
        wished(&wish(&shop, 1)),
        wished(&wish(&blog, 2)),
        deleted(&blog),
        stored(&autoscaler(&blog, 4)),
        stored(&autoscaler(&shop, 5)),
        stored(&autoscaler(&wiki, 6)),
        deleted(&wiki),
        wished(&wish(&wiki, 2)),
        deleted(&wiki),
    ];
    keep(&backend, &records).await;
    fixture.settled().await;
    let ledger = backend.ledger.read(Offset(1), 10_000).await.expect("the ledger answers");
    let replayed = replay(&ledger);
    assert_eq!(replayed.len(), 2, "shop with its wish, blog without one");
    assert_eq!(all(&*backend.autoscalers).await, replayed);
    for (_, record) in &ledger {
        backend.store.apply(record).await.expect("a replayed record is harmless");
    }
    assert_eq!(all(&*backend.autoscalers).await, replayed, "a second replay changes nothing");
    let autoscalers = fixture.restart().await.autoscalers;
    fixture.settled().await;
    assert_eq!(all(&*autoscalers).await, replayed);
}

fn replay(ledger: &[(Offset, Record)]) -> Vec<Entry> {
    let mut entries: BTreeMap<Place, Entry> = BTreeMap::new();
    for (_, record) in ledger {
        match record {
            Record::AutoscalerStored(autoscaler) => {
                let wish = entries.remove(&autoscaler.place).and_then(|entry| entry.wish);
                let entry = Entry { autoscaler: (**autoscaler).clone(), wish };
                entries.insert(autoscaler.place.clone(), entry);
            }
            Record::AutoscalerDeleted { place, .. } => drop(entries.remove(place)),
            Record::ReplicasWished(wish) => {
                if let Some(entry) = entries.get_mut(&wish.place) {
                    entry.wish = Some(wish.clone());
                }
            }
            Record::Event(_)
            | Record::CredentialStored(_)
            | Record::CredentialDeleted { .. }
            | Record::TokenCreated(_)
            | Record::TokenRevoked { .. }
            | Record::ProjectStored(_)
            | Record::ProjectDeleted { .. }
            | Record::DeliveryReceived(_)
            | Record::HeadsSeen { .. }
            | Record::JobBuried(_)
            | Record::JobUnburied { .. } => {}
        }
    }
    entries.into_values().collect()
}

fn deleted(place: &Place) -> Record {
    Record::AutoscalerDeleted { place: place.clone(), at: Timestamp::now() }
}

fn wished(wish: &Wish) -> Record {
    Record::ReplicasWished(wish.clone())
}

async fn all(autoscalers: &dyn Autoscalers) -> Vec<Entry> {
    autoscalers.all().await.expect("it answers")
}

async fn one(autoscalers: &dyn Autoscalers, place: &Place) -> Option<Entry> {
    autoscalers.autoscaler(place).await.expect("it answers")
}
