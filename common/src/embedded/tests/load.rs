//! Many jobs at once. The bounds are wide enough for a busy machine and an unoptimised build, and far
//! below what a missing index or a commit per call would cost.

use std::time::Instant;

use super::*;

const JOBS: usize = 10_000;
const CALLERS: usize = 64;
const PROJECTS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_queued_jobs_slow_nothing_down() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let began = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let queue = backend.queue.clone();
        callers.spawn(async move {
            let mut slowest = Duration::ZERO;
            for number in (caller..JOBS).step_by(CALLERS) {
                let message = deploy_job(&format!("shop-{}", number % PROJECTS), Timestamp::now());
                let asked = Instant::now();
                queue.enqueue(&message).await.unwrap();
                slowest = slowest.max(asked.elapsed());
            }
            slowest
        });
    }
    let slowest = callers.join_all().await.into_iter().max().unwrap();
    let enqueued = began.elapsed();
    let began = Instant::now();
    let mut projects = std::collections::BTreeSet::new();
    for _ in 0..PROJECTS {
        projects.insert(claim(&backend).await.unwrap().message.project.slug);
    }
    let claimed = began.elapsed();
    println!("{JOBS} jobs in {enqueued:?}, slowest {slowest:?}; {PROJECTS} claims in {claimed:?}");
    assert_eq!(projects.len(), PROJECTS, "every project had its turn");
    assert!(enqueued < Duration::from_secs(60), "{JOBS} jobs took {enqueued:?}");
    assert!(claimed < Duration::from_secs(20), "{PROJECTS} claims took {claimed:?}");
    assert_eq!(backend.queue.depth(Timestamp::now()).await.unwrap().claimed, 200);
}

/// Requests per second and for how long.
const RATE_PER_S: u32 = 500;
const PACED_JOBS: usize = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_jobs_a_second_are_taken_as_they_come() {
    let (_folder, embedded) = fresh();
    let backend = embedded.backend();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / RATE_PER_S);
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..PACED_JOBS {
        pace.tick().await;
        let queue = backend.queue.clone();
        requests.spawn(async move {
            let message = deploy_job(&format!("shop-{}", number % PROJECTS), Timestamp::now());
            let asked = Instant::now();
            queue.enqueue(&message).await.unwrap();
            asked.elapsed()
        });
    }
    let mut taken = requests.join_all().await;
    taken.sort_unstable();
    let (median, p99) = (taken[PACED_JOBS / 2], taken[PACED_JOBS * 99 / 100]);
    println!("{RATE_PER_S} jobs/s: median {median:?}, p99 {p99:?}");
    assert_eq!(backend.queue.depth(Timestamp::now()).await.unwrap().ready, 1_500);
}
