//! A worker that stands still before its push, and goes on long after another has done the job (I8).

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use slipway_integration_tests::git_server::Fault;
use slipway_integration_tests::ground::{Ground, Plan, family, turn};

/// The lease L of the test; 15 s in the requirement. The broker notices a frozen client after two heartbeats.
const LEASE_MS: u64 = 4_000;
const RENEW_MS: u64 = 1_000;
const HEARTBEAT_S: u64 = 2;
const ENDS_MAX: Duration = Duration::from_secs(90);

fn signal(pids: &[u32], signal: Signal) {
    for pid in pids {
        let pid = Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
        // A child may have ended meanwhile.
        kill_process(pid, signal).ok();
    }
}

/// Stops a process and all its children.
fn freeze(pid: u32) -> Vec<u32> {
    signal(&[pid], Signal::STOP);
    let all = family(pid).unwrap();
    signal(&all, Signal::STOP);
    all
}

/// I8: a worker is stopped between asking the Git host for leave to push and pushing. Its lease runs out, another worker
/// does the job; then the first one goes on. The branch does not move, and the late one knows that it was late.
#[tokio::test(flavor = "multi_thread")]
async fn i8_a_worker_that_goes_on_too_late() {
    let _turn = turn().await;
    let plan = Plan::new(4)
        .with(1, 2)
        .idle()
        .variable("SLIPWAY__WORKER__CLAIM_TTL_MS", &LEASE_MS.to_string())
        .variable("SLIPWAY__WORKER__CLAIM_RENEW_MS", &RENEW_MS.to_string())
        .variable("SLIPWAY__BROKER__HEARTBEAT_S", &HEARTBEAT_S.to_string());
    let ground = Ground::start(plan).await.unwrap();
    let (first, second) =
        (ground.slipway.worker_process(0).unwrap(), ground.slipway.worker_process(1).unwrap());
    first.start_again().await.unwrap();
    // Slow enough to be caught between the two requests of a push.
    ground.site.git().set_fault(Fault::Trickle { bytes_per_tick: 120 });
    let job = ground.accept(0, &ground.request(0)).await.unwrap();
    let about_to_push = || async {
        ground.site.git().requests().iter().any(|request| request.target.contains("service=git-receive-pack"))
    };
    ground.wait("the worker to be about to push", ENDS_MAX, about_to_push).await.unwrap();
    let frozen = freeze(first.pid().unwrap());
    assert!(frozen.len() > 1, "the push was over already");
    assert_eq!(ground.site.effects().await.unwrap(), [], "the push was over already");
    ground.site.git().set_fault(Fault::None);

    second.start_again().await.unwrap();
    ground.expect_all_good(std::slice::from_ref(&job), ENDS_MAX).await.unwrap();
    let before = ground.site.effects().await.unwrap();
    signal(&frozen, Signal::CONT);
    let late = || async {
        let mut late = 0;
        for counter in ["fenced_total", "claims_lost_total", "leases_lost_total"] {
            let name = format!("slipway_worker_{counter}");
            late += ground.worker_count(0, &name).await.unwrap_or(0);
        }
        late > 0
    };
    let noticed = ground.wait("the late worker to notice", ENDS_MAX, late).await.unwrap();
    ground.wait("the late worker to be of use again", ENDS_MAX, || first.is_ready()).await.unwrap();
    let next = ground.accept(1, &ground.request(1)).await.unwrap();
    second.terminate().await.unwrap();
    ground.expect_all_good(&[job.clone(), next], ENDS_MAX).await.unwrap();
    let after = ground.site.effects().await.unwrap();
    assert_eq!(before, after.into_iter().filter(|effect| effect.job == job.job).collect::<Vec<_>>());
    println!("I8: one commit; the late worker noticed after {noticed:?}");
}
