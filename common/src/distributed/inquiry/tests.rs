//! Tests of the questions in Redis: the laws of the contract on a server of their own, and what they do not say.

use std::sync::Arc;
use std::time::Duration;

use crate::contract::inquiry::{question, reply, said};
use crate::contract::{Fixture as _, eventually};
use crate::distributed::store::tests::fixture::Installation;
use crate::inquiry::InquiryError;

const LONG: Duration = Duration::from_secs(30);

crate::contract_suite!(@inquiry Installation::make);

/// A6: when a question is over, no key of it is left, answered or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_of_a_question_is_left() {
    let installation = Installation::make().await;
    let inquiries = installation.backend().await.inquiries;
    let (asked, asking) = (question("one"), Arc::clone(&inquiries));
    let asker = {
        let asked = asked.clone();
        tokio::spawn(async move { asking.ask(&asked, LONG).await })
    };
    let taken = inquiries.next(LONG).await.unwrap().expect("a question");
    inquiries.answer(&taken, &reply(&taken)).await.unwrap();
    assert_eq!(said(&asker.await.unwrap().unwrap(), &asked), "one");
    let ended = inquiries.ask(&question("two"), Duration::from_millis(200)).await;
    assert!(matches!(ended, Err(InquiryError::Unanswered { .. })), "{ended:?}");
    eventually("every key being gone", || async {
        (installation.redis.control("KEYS *inquir*").await == "*0\r\n").then_some(())
    })
    .await;
}

/// Without Redis questions are refused in their time, and pass again when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_said_and_waited_for() {
    let installation = Installation::make().await;
    let inquiries = installation.backend().await.inquiries;
    installation.redis.kill().await;
    let refused = inquiries.ask(&question("one"), Duration::from_secs(3)).await;
    assert!(matches!(refused, Err(InquiryError::Unavailable { .. })), "{refused:?}");
    let refused = inquiries.next(LONG).await;
    assert!(matches!(refused, Err(InquiryError::Unavailable { .. })), "{refused:?}");
    installation.redis.start_again().await;
    let asking = Arc::clone(&inquiries);
    let asker = tokio::spawn(async move {
        eventually("a question passing", || async {
            asking.ask(&question("two"), Duration::from_secs(5)).await.is_ok().then_some(())
        })
        .await;
    });
    let taken =
        eventually("a question arriving", || async { inquiries.next(LONG).await.ok().flatten() }).await;
    inquiries.answer(&taken, &reply(&taken)).await.unwrap();
    asker.await.unwrap();
}
