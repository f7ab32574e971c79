//! S9: the ledger is enough to make the store again.

use jiff::Timestamp;

use super::{Fixture, accepted, illegal, record, submit};
use crate::Backend;
use crate::contract::later;
use crate::contract::sample::{course, event, stop_job};
use crate::ledger::Offset;
use crate::model::{CredentialName, EventKind};
use crate::record::{Record, StoredCredential, StoredToken};
use crate::secrets::{KEY_LENGTH_BYTES, Sealer};
use crate::store::{DeploymentFilter, Page, Store};

/// S9: folding the ledger's records by the pure state machine gives what the store answers, with the
/// events it refused left out equally, and applying all of them again changes nothing.
pub async fn s9_a_replay_gives_an_equal_store(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    busy_history(fixture, &backend).await;
    fixture.settled().await;
    let page = Page { limit: 100, ..Page::default() };
    let before = backend.store.deployments(&DeploymentFilter::default(), &page).await.expect("answers");
    let records = backend.ledger.read(Offset(1), 10_000).await.expect("the ledger answers");
    let replayed = replay(&records);
    assert_eq!(before.deployments.len(), replayed.len());
    for deployment in &before.deployments {
        assert_eq!(Some(deployment), replayed.iter().find(|other| other.id == deployment.id));
    }
    for (_, record) in &records {
        if let Err(error) = backend.store.apply(record).await {
            let refusal = matches!(error, crate::store::StoreError::Illegal(_));
            assert!(refusal, "a replayed record gave {error:?}");
        }
    }
    let after = backend.store.deployments(&DeploymentFilter::default(), &page).await.expect("answers");
    assert_eq!(after, before, "a second replay changes nothing");
}

async fn busy_history(fixture: &dyn Fixture, backend: &Backend) {
    let shop = accepted(fixture, backend, "shop").await;
    let blog = accepted(fixture, backend, "blog").await;
    let refused = backend.record(&Record::Event(illegal(&shop))).await;
    assert!(refused.is_err(), "an illegal event is refused");
    for (one, other) in course(&shop, 1, shop.accepted_at).iter().zip(course(&blog, 1, blog.accepted_at)) {
        record(backend, one).await;
        record(backend, &other).await;
    }
    let stop = stop_job(&shop, later(shop.accepted_at, 60));
    submit(fixture, backend, &stop).await;
    let cancelled = EventKind::CancelRequested { by: "ada".to_owned() };
    record(backend, &event(&stop, 0, later(shop.accepted_at, 61), cancelled)).await;
    for event in course(&stop, 2, later(shop.accepted_at, 62)) {
        record(backend, &event).await;
    }
}

/// The fold of everything, by the pure state machine.
fn replay(records: &[(Offset, Record)]) -> Vec<crate::model::Deployment> {
    let mut seen = std::collections::BTreeSet::new();
    let mut deployments: Vec<crate::model::Deployment> = Vec::new();
    for (_, record) in records {
        let Record::Event(event) = record else { continue };
        if seen.contains(&event.id) {
            continue;
        }
        let known = deployments.iter_mut().find(|deployment| deployment.id == event.deployment);
        let taken = match known {
            Some(deployment) => crate::state::apply(deployment, event).is_ok(),
            None => crate::state::begin(event).map(|deployment| deployments.push(deployment)).is_ok(),
        };
        if taken {
            seen.insert(event.id);
        }
    }
    deployments
}

/// S9: credentials and tokens are what the ledger says last, also when an old record is applied again.
pub async fn s9_credentials_and_tokens(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let name: CredentialName = "forge".parse().expect("a valid name");
    let sealer = Sealer::new(&[7; KEY_LENGTH_BYTES]);
    let secret = secrecy::SecretString::from("hunter2");
    let stored = |username: &str| StoredCredential {
        name: name.clone(),
        username: Some(username.to_owned()),
        host: Some("git.example.com".to_owned()),
        secret: sealer.seal("credential/forge", &secret).expect("sealing works"),
        updated_at: Timestamp::now(),
    };
    let (first, second) = (stored("one"), stored("two"));
    let token = StoredToken { name: "ci".to_owned(), sha256: "ab".repeat(32), created_at: Timestamp::now() };
    for record in [
        Record::CredentialStored(first.clone()),
        Record::CredentialStored(second.clone()),
        Record::TokenCreated(token.clone()),
    ] {
        backend.record(&record).await.expect("the record is taken");
    }
    backend.store.apply(&Record::CredentialStored(first)).await.expect("a late repetition is harmless");
    let store = fixture.restart().await.store;
    fixture.settled().await;
    assert_eq!(store.credential(&name).await.expect("the store answers"), Some(second.clone()));
    assert_eq!(store.credentials().await.expect("the store answers"), [second]);
    assert_eq!(store.token(&token.sha256).await.expect("the store answers"), Some(token.clone()));
    assert_eq!(store.token(&"cd".repeat(32)).await.expect("the store answers"), None);
    assert_eq!(store.tokens().await.expect("the store answers"), [token]);
    forget(fixture, &*store, name).await;
}

async fn forget(fixture: &dyn Fixture, store: &dyn Store, name: CredentialName) {
    let backend = fixture.backend().await;
    let records =
        [Record::CredentialDeleted { name: name.clone() }, Record::TokenRevoked { name: "ci".to_owned() }];
    for record in records {
        backend.record(&record).await.expect("the record is taken");
    }
    assert_eq!(store.credential(&name).await.expect("the store answers"), None);
    assert!(store.tokens().await.expect("the store answers").is_empty());
    assert_eq!(store.token(&"ab".repeat(32)).await.expect("the store answers"), None);
}
