//! The laws of the inquiries, A1 to A6.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::{Fixture, eventually};
use crate::inquiry::{Answer, Asked, Inquiries, Inquiry, InquiryError, QUESTIONS_MAX, Taken};
use crate::model::{DeploymentId, InquiryId};
use crate::secrets::{KEY_LENGTH_BYTES, Sealed, Sealer};

/// Longer than any law takes.
const LONG: Duration = Duration::from_secs(60);
/// Long enough for a question to be taken on a busy machine, and short enough to be outlived.
const MIDDLING: Duration = Duration::from_secs(3);
/// Short enough to be outlived at once.
const SHORT: Duration = Duration::from_millis(400);
/// How much later than promised a machine may notice that something is over.
const SLACK: Duration = Duration::from_secs(5);
/// Questions beyond those that may wait.
const SURPLUS: usize = 20;

/// How a question ended.
type Ended = Result<Sealed, InquiryError>;

/// A question about a pod of this name.
#[must_use]
pub fn question(pod: &str) -> Inquiry {
    Inquiry {
        id: InquiryId::generate(),
        deployment: DeploymentId::generate(),
        pod: pod.to_owned(),
        what: Asked::Events,
    }
}

fn sealer() -> Sealer {
    Sealer::new(&[7; KEY_LENGTH_BYTES])
}

/// An answer that repeats the name of the pod.
///
/// # Panics
/// When the system has no randomness to give.
#[must_use]
pub fn reply(taken: &Taken) -> Sealed {
    let answer = Answer::Failed { code: "repeated".to_owned(), reason: taken.inquiry.pod.clone() };
    answer.seal(&sealer(), taken.inquiry.id).expect("an answer can be sealed")
}

/// The name that the answer to this question repeats.
///
/// # Panics
/// When it answers another question.
#[must_use]
pub fn said(answer: &Sealed, inquiry: &Inquiry) -> String {
    let opened = Answer::open(answer, &sealer(), inquiry.id).expect("it answers this question");
    let Answer::Failed { reason, .. } = opened else { panic!("nobody gave this answer: {opened:?}") };
    reason
}

fn ask(inquiries: &Arc<dyn Inquiries>, inquiry: &Inquiry, longest: Duration) -> JoinHandle<Ended> {
    let (inquiries, inquiry) = (Arc::clone(inquiries), inquiry.clone());
    tokio::spawn(async move { inquiries.ask(&inquiry, longest).await })
}

async fn take(inquiries: &Arc<dyn Inquiries>) -> Taken {
    inquiries.next(LONG).await.expect("questions are passed on").expect("a question waits")
}

async fn nothing_waits(inquiries: &Arc<dyn Inquiries>) {
    assert_eq!(inquiries.next(SHORT).await.expect("questions are passed on"), None);
}

fn is_unanswered(ended: &Ended) -> bool {
    matches!(ended, Err(InquiryError::Unanswered { .. }))
}

/// As many askers as may wait, after those beyond were refused.
async fn crowd(inquiries: &Arc<dyn Inquiries>) -> JoinSet<Ended> {
    let mut askers = JoinSet::new();
    for number in 0..QUESTIONS_MAX + SURPLUS {
        let inquiries = Arc::clone(inquiries);
        askers.spawn(async move { inquiries.ask(&question(&number.to_string()), LONG).await });
    }
    for _ in 0..SURPLUS {
        let ended = askers.join_next().await.expect("an asker is left").expect("it ends by itself");
        assert!(matches!(ended, Err(InquiryError::TooMany { limit: QUESTIONS_MAX })), "{ended:?}");
    }
    askers
}

/// A1: of many takers at the same moment, one is given each question.
pub async fn a1_a_question_is_given_to_one_taker(fixture: &dyn Fixture) {
    const QUESTIONS: usize = 20;
    let inquiries = fixture.backend().await.inquiries;
    let mut takers = JoinSet::new();
    for _ in 0..QUESTIONS * 2 {
        let inquiries = Arc::clone(&inquiries);
        takers.spawn(async move { inquiries.next(MIDDLING).await.expect("questions are passed on") });
    }
    let asked: Vec<Inquiry> = (0..QUESTIONS).map(|number| question(&number.to_string())).collect();
    let askers: Vec<JoinHandle<Ended>> = asked.iter().map(|one| ask(&inquiries, one, LONG)).collect();
    let mut taken: Vec<Inquiry> =
        takers.join_all().await.into_iter().flatten().map(|taken| taken.inquiry).collect();
    taken.sort_by_key(|inquiry| asked.iter().position(|one| one.id == inquiry.id));
    assert_eq!(taken, asked, "each once, as it was asked");
    askers.iter().for_each(JoinHandle::abort);
}

/// A2: answers find their askers in whichever order they come; one that comes too late is no error.
pub async fn a2_an_answer_reaches_its_asker(fixture: &dyn Fixture) {
    let inquiries = fixture.backend().await.inquiries;
    let (one, two) = (question("one"), question("two"));
    let askers = [(ask(&inquiries, &one, LONG), &one), (ask(&inquiries, &two, LONG), &two)];
    let (first, second) = (take(&inquiries).await, take(&inquiries).await);
    for taken in [&second, &first] {
        assert!(!taken.left.is_zero() && taken.left <= LONG, "{taken:?}");
        inquiries.answer(taken, &reply(taken)).await.expect("answers are passed on");
    }
    for (asker, inquiry) in askers {
        let answer = asker.await.expect("the asker ends").expect("there is an answer");
        assert_eq!(said(&answer, inquiry), inquiry.pod);
    }
    inquiries.answer(&first, &reply(&first)).await.expect("nobody is there for it any more");
    nothing_waits(&inquiries).await;
}

/// A3: a question ends in its time, whether nobody takes it or whoever took it says nothing.
pub async fn a3_a_question_nobody_answers_is_over_in_time(fixture: &dyn Fixture) {
    let inquiries = fixture.backend().await.inquiries;
    let begun = Instant::now();
    let ended = inquiries.ask(&question("one"), SHORT).await;
    assert!(is_unanswered(&ended), "{ended:?}");
    assert!((SHORT..SHORT + SLACK).contains(&begun.elapsed()), "over after {:?}", begun.elapsed());
    let asker = ask(&inquiries, &question("two"), MIDDLING);
    let taken = take(&inquiries).await;
    let ended = asker.await.expect("the asker ends");
    assert!(is_unanswered(&ended), "{ended:?}");
    inquiries.answer(&taken, &reply(&taken)).await.expect("an answer that comes too late is no error");
}

/// A4: what is over, or taken, is not given out.
pub async fn a4_an_expired_question_is_given_to_nobody(fixture: &dyn Fixture) {
    let inquiries = fixture.backend().await.inquiries;
    let ended = inquiries.ask(&question("over"), SHORT).await;
    assert!(is_unanswered(&ended), "{ended:?}");
    nothing_waits(&inquiries).await;
    let asker = ask(&inquiries, &question("open"), LONG);
    assert_eq!(take(&inquiries).await.inquiry.pod, "open");
    nothing_waits(&inquiries).await;
    asker.abort();
}

/// A5: beyond the limit questions are refused at once; one that is taken makes room for another.
pub async fn a5_no_more_wait_than_may(fixture: &dyn Fixture) {
    let inquiries = fixture.backend().await.inquiries;
    let mut askers = crowd(&inquiries).await;
    assert_eq!(askers.len(), QUESTIONS_MAX);
    take(&inquiries).await;
    let ended = inquiries.ask(&question("room"), SHORT).await;
    assert!(is_unanswered(&ended), "{ended:?}");
    askers.shutdown().await;
}

/// A6: askers that go away take their questions along.
pub async fn a6_nothing_remains_when_it_is_over(fixture: &dyn Fixture) {
    let inquiries = fixture.backend().await.inquiries;
    crowd(&inquiries).await.shutdown().await;
    // That they are gone may be told to where the questions are a little later.
    eventually("no question waiting", || async {
        let next = inquiries.next(Duration::ZERO).await.expect("questions are passed on");
        next.is_none().then_some(())
    })
    .await;
    crowd(&inquiries).await.shutdown().await;
}
