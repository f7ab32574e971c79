//! The consume loop over the embedded adapter: crashes, absences, lost claims, and the end of the process.

use std::time::Instant;

use slipway_common::model::Job;

use super::*;
use crate::testing::{Installation, Mood};

const PATIENCE: Duration = Duration::from_secs(30);

/// A loop that runs until it is stopped.
struct Slot {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Slot {
    fn start(tools: &Arc<Tools>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(consume(Arc::clone(tools), WorkerId::generate(), stop.clone()));
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(1), self.task)
            .await
            .expect("it takes no more jobs")
            .unwrap();
    }
}

async fn job(installation: &Installation, message: &JobMessage) -> Job {
    installation.backend.store.job(message.id).await.unwrap().unwrap()
}

async fn ended(installation: &Installation, message: &JobMessage) -> JobState {
    let begun = Instant::now();
    loop {
        let state = job(installation, message).await.state;
        if state.is_terminal() {
            return state;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not end: {state:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ask_to_cancel(installation: &Installation, message: &JobMessage) {
    let kind = EventKind::CancelRequested { by: "ada".to_owned() };
    let event = Event::of_request(message.deployment, message.id, Timestamp::now(), kind);
    installation.backend.record(&Record::Event(event)).await.unwrap();
}

async fn claim(installation: &Installation) -> Option<Claim> {
    let ttl = Duration::from_secs(60);
    installation.backend.queue.claim(WorkerId::generate(), ttl, Timestamp::now()).await.unwrap()
}

#[tokio::test]
async fn b8_a_job_that_panics_is_set_aside_after_exactly_three_crashes() {
    let installation = Installation::open();
    let message = installation.accept().await;
    let tools = installation.tools();
    installation.store.set(Mood::PanicsAt("newest"));
    let begun = Instant::now();
    let slot = Slot::start(&tools);
    let state = ended(&installation, &message).await;
    assert!(matches!(&state, JobState::Failed { failure } if failure.code == "poison"), "{state:?}");
    assert_eq!(tools.figures.counted(Count::Panicked), 3);
    assert!(begun.elapsed() < Duration::from_secs(10), "handed out again at once, not when claims expire");
    slot.stop().await;
    assert_eq!(installation.backend.queue.buried(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn f6_a_job_claimed_while_the_store_is_away_waits_and_does_not_fail() {
    let installation = Installation::open();
    let message = installation.accept().await;
    ask_to_cancel(&installation, &message).await;
    let tools = installation.tools();
    installation.store.set(Mood::Away);
    let slot = Slot::start(&tools);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(tools.figures.counted(Count::HandedBack), 1, "one job was tried; then nothing is claimed");
    installation.store.set(Mood::Well);
    assert_eq!(ended(&installation, &message).await, JobState::Cancelled);
    slot.stop().await;
    assert_eq!(installation.history(&message).await, ["accepted", "cancel_requested", "cancelled"]);
}

#[tokio::test]
async fn a_queue_that_cannot_be_told_is_told_later_and_the_job_is_not_run_again() {
    let installation = Installation::open();
    let message = installation.accept().await;
    ask_to_cancel(&installation, &message).await;
    let tools = installation.tools();
    installation.queue.set(Mood::Refuses("complete"));
    let slot = Slot::start(&tools);
    assert_eq!(ended(&installation, &message).await, JobState::Cancelled);
    // Longer than the claim lasts unless it is renewed.
    tokio::time::sleep(tools.settings.claim_ttl * 3).await;
    installation.queue.set(Mood::Well);
    let begun = Instant::now();
    while installation.backend.queue.depth(Timestamp::now()).await.unwrap().claimed > 0 {
        assert!(begun.elapsed() < PATIENCE, "the claim is never settled");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    slot.stop().await;
    assert!(claim(&installation).await.is_none(), "the job is done");
    assert_eq!(tools.figures.counted(Count::ClaimLost), 0);
    assert_eq!(tools.figures.counted(Count::Cancelled), 1);
}

#[tokio::test]
async fn f4_a_claim_lost_when_settling_is_counted_and_changes_nothing() {
    let installation = Installation::open();
    installation.accept().await;
    let tools = installation.tools();
    let lost = claim(&installation).await.unwrap();
    installation.backend.queue.renew(&lost, Duration::ZERO, Timestamp::now()).await.unwrap();
    let newer = claim(&installation).await.unwrap();
    let progress = tools.liveness.watch("test", STALL_LIMIT);
    settle(&tools, &lost, &Verdict::Complete, &progress, &CancellationToken::new()).await;
    assert_eq!(tools.figures.counted(Count::ClaimLost), 1);
    assert_eq!(newer.deliveries, 2, "a claim that was ended counts as a crash");
    installation.backend.queue.complete(&newer, Timestamp::now()).await.expect("the newer claim holds");
}

#[tokio::test]
async fn u2_a_job_claimed_while_the_process_ends_goes_back_without_cost() {
    let installation = Installation::open();
    let message = installation.accept().await;
    let tools = installation.tools();
    let claimed = claim(&installation).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let progress = tools.liveness.watch("test", STALL_LIMIT);
    work(&tools, &claimed, &progress, &stop).await;
    let again = claim(&installation).await.expect("another process has it at once");
    assert_eq!((again.message.id, again.deliveries), (message.id, 1));
    assert_eq!(job(&installation, &message).await.state, JobState::Queued);
}

#[tokio::test]
async fn f6_only_a_lost_claim_or_a_lost_lease_end_a_run() {
    let installation = Installation::open();
    let message = installation.accept().await;
    let tools = installation.tools();
    let (ttl, store) = (tools.settings.claim_ttl, &installation.backend.store);
    let claimed = claim(&installation).await.unwrap();
    let lease = store.acquire_lease("shop/default", "one", ttl, Timestamp::now()).await.unwrap().unwrap();
    let progress = tools.liveness.watch("test", STALL_LIMIT);
    let beat = Beat { tools: &tools, claim: &claimed, lease: &lease, progress: &progress };

    installation.store.set(Mood::Away);
    let kept = tokio::time::timeout(ttl * 3, beat.keep()).await;
    assert!(kept.is_err(), "a store that is away ends no run");
    installation.store.set(Mood::Well);
    let taken = store.acquire_lease("shop/default", "two", ttl, Timestamp::now()).await.unwrap();
    assert!(taken.is_some(), "the lease ran out meanwhile");
    assert_eq!(tokio::time::timeout(PATIENCE, beat.keep()).await, Ok(StopReason::LeaseLost));

    installation.backend.queue.renew(&claimed, Duration::ZERO, Timestamp::now()).await.unwrap();
    installation.store.set(Mood::Away);
    assert_eq!(tokio::time::timeout(PATIENCE, beat.keep()).await, Ok(StopReason::ClaimLost));
    assert_eq!(claim(&installation).await.unwrap().message.id, message.id);
}
