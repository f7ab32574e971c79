//! The client: asks for jobs at a bounded rate, each under a key of its own, and repeats until it has an answer that
//! settles the matter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::site::Site;
use crate::distributed::ApiClient;

/// Requests under way at once.
const UNDER_WAY_MAX: usize = 32;
/// Longest time one job is asked for.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What became of the request for one job.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// 202.
    Accepted { deployment: String, job: String },
    /// An answer that says that repeating does not help; none is expected.
    Refused { status: u16, body: Value },
    /// No such answer in [`PATIENCE`]; nothing was promised.
    NeverAnswered { last: String },
}

/// What the client has counted, shared with those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Counted {
    accepted: AtomicUsize,
    answers: Mutex<BTreeMap<String, u64>>,
}

impl Counted {
    /// Jobs accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How often each status (or `no answer`) was met.
    pub(super) fn answers(&self) -> BTreeMap<String, u64> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, answer: &str) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(answer.to_owned()).or_default() += 1;
    }
}

/// Asks for all jobs, at most `rate` a second, each at one of the APIs in turn. Answers what became of them, in order.
pub(super) async fn ask_for_all(
    site: Arc<Site>,
    apis: Vec<ApiClient>,
    jobs: usize,
    rate: f64,
    counted: Arc<Counted>,
) -> Vec<(usize, Asked)> {
    let (apis, slots) = (Arc::new(apis), Arc::new(Semaphore::new(UNDER_WAY_MAX)));
    let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / rate.max(0.1)));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut asking = JoinSet::new();
    for job in 0..jobs {
        pace.tick().await;
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let (site, apis, counted) = (Arc::clone(&site), Arc::clone(&apis), Arc::clone(&counted));
        asking.spawn(async move {
            let asked = ask(&site, &apis, job, &counted).await;
            drop(slot);
            (job, asked)
        });
    }
    let mut asked = asking.join_all().await;
    asked.sort_by_key(|(job, _)| *job);
    asked
}

async fn ask(site: &Site, apis: &[ApiClient], job: usize, counted: &Counted) -> Asked {
    let (body, key) = (site.request(job), format!("chaos-{job}"));
    let deadline = Instant::now() + PATIENCE;
    let mut pause = PAUSE_MIN;
    for attempt in job.. {
        let last = match apis[attempt % apis.len()].post_deployment(&body, Some(&key)).await {
            Ok((202, answer)) => {
                counted.count("202");
                counted.accepted.fetch_add(1, Ordering::Relaxed);
                let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
                return Asked::Accepted { deployment: text("id"), job: text("job_id") };
            }
            // 409: an earlier attempt under the key is still under way.
            Ok((status, answer))
                if (400..500).contains(&status) && ![408, 409, 425, 429].contains(&status) =>
            {
                counted.count(&status.to_string());
                return Asked::Refused { status, body: answer };
            }
            Ok((status, answer)) => {
                counted.count(&status.to_string());
                format!("{status}: {answer}")
            }
            Err(error) => {
                counted.count("no answer");
                format!("{error:#}")
            }
        };
        if Instant::now() > deadline {
            return Asked::NeverAnswered { last };
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Asked::NeverAnswered { last: "no API was asked".to_owned() }
}
