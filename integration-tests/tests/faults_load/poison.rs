//! An input that takes its worker down each time (B8).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slipway_integration_tests::effects::Ended;
use slipway_integration_tests::ground::{Ground, Plan, turn};

/// Good jobs; 99 in the requirement.
const GOOD: usize = 30;
/// B8: crashes in total.
const CRASHES_MAX: usize = 3;
const ENDS_MAX: Duration = Duration::from_secs(90);

/// Kills the worker whenever it asks for the poisoned repository, and starts it again, as its supervisor would.
async fn supervise(ground: &Ground, poisoned: &str, crashes: &AtomicUsize) {
    let asked = || {
        let requests = ground.site.git().requests();
        requests.iter().filter(|request| request.target.contains(poisoned)).count()
    };
    let worker = ground.slipway.worker_process(0).unwrap();
    let mut seen = asked();
    loop {
        if asked() > seen {
            crashes.fetch_add(1, Ordering::Relaxed);
            worker.kill().await.unwrap();
            // What the killed worker had begun may still ask.
            tokio::time::sleep(Duration::from_millis(300)).await;
            seen = asked();
            worker.start().await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// B8: one job takes its worker down whenever its repository is touched. After three crashes it is set aside, where it
/// can be seen; all other jobs end well.
#[tokio::test(flavor = "multi_thread")]
async fn b8_an_input_that_takes_its_worker_down() {
    let _turn = turn().await;
    let ground = Ground::start(Plan::new(GOOD + 1).idle()).await.unwrap();
    let poisoned = "chaos/poisoned";
    let page = slipway_integration_tests::git_server::TreeFile::new("index.html", "<!doctype html>\n");
    ground.site.git().create_repo(poisoned, &[page]).await.unwrap();
    let mut jobs = ground.accept_all(0..GOOD / 2).await.unwrap();
    let body =
        serde_json::json!({ "repository_url": ground.site.git().url(poisoned), "environment": "poisoned" });
    let (_, poison) = ground.slipway.api(0).unwrap().accept(&body, None).await.unwrap();
    jobs.extend(ground.accept_all(GOOD / 2..GOOD).await.unwrap());

    let crashes = AtomicUsize::new(0);
    ground.slipway.worker_process(0).unwrap().start_again().await.unwrap();
    let poisoned_end = async {
        let ended =
            || async { ground.job(&poison).await.is_ok_and(|job| job["state"]["status"] == "failed") };
        ground.wait("the poisoned job to be set aside", ENDS_MAX, ended).await.unwrap();
        ground.ends(&jobs, ENDS_MAX).await.unwrap()
    };
    let histories = tokio::select! {
        histories = poisoned_end => histories,
        () = supervise(&ground, poisoned, &crashes) => unreachable!("the supervisor never ends"),
    };
    let (crashes, job) = (crashes.load(Ordering::Relaxed), ground.job(&poison).await.unwrap());
    println!("B8: {crashes} crashes, then set aside; {} good jobs ended", histories.len());
    assert_eq!(job["state"]["failure"]["code"], "poison", "{job}");
    assert!(crashes <= CRASHES_MAX, "{crashes} crashes\n{}", ground.slipway.logs());
    let bad: Vec<_> = histories.iter().filter(|history| history.ended != Some(Ended::Succeeded)).collect();
    assert!(bad.is_empty(), "{bad:?}\n{}", ground.slipway.logs());
    ground.expect_all_good(&jobs, ENDS_MAX).await.unwrap();
    let dead = ground.asker(0).unwrap().get("/dead").await;
    assert!(dead.text.contains(&poison), "{dead:?}");
}
