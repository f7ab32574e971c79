//! The sweep as a whole, over the embedded adapter: hosts that are away or silent, and entries of what is no more.

use std::time::Instant;

use slipway_common::contract::sample;
use slipway_common::model::{AddressPolicy, DeploymentSpec, Project, RepositoryAddress};
use slipway_common::record::Record;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::testing::{Installation, Mood};

const PATIENCE: Duration = Duration::from_secs(20);

/// A registered project whose default branch is deployed.
pub(super) fn registered(address: &str) -> RegisteredProject {
    let repository = RepositoryAddress::parse(address, &AddressPolicy::default()).unwrap();
    let sample = sample::registered("shop", Timestamp::now());
    RegisteredProject {
        project: Project::of(&repository),
        spec: DeploymentSpec { repository, ..sample.spec },
        ..sample
    }
}

/// Keeps a project as the API does, which notes it.
pub(super) async fn keep(installation: &Installation, project: &RegisteredProject) {
    installation.backend.record(&Record::ProjectStored(Box::new(project.clone()))).await.unwrap();
}

/// A sweep under way.
struct Sweeping {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Sweeping {
    fn start(tools: &Arc<Tools>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(sweep(Arc::clone(tools), stop.clone()));
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.expect("it ends soon").unwrap();
    }
}

async fn state(installation: &Installation, project: &RegisteredProject) -> Option<SweepState> {
    let memo = installation.backend.agenda.memo(List::Sweeps, project.project.slug.as_str()).await.unwrap();
    SweepState::from_memo(&memo?)
}

async fn until_looked_at(installation: &Installation, project: &RegisteredProject) -> SweepState {
    let begun = Instant::now();
    loop {
        if let Some(state) = state(installation, project).await {
            return state;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody looks at it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn depth(installation: &Installation) -> (u64, u64) {
    installation.backend.agenda.depth(List::Sweeps, Timestamp::now()).await.unwrap()
}

/// A port at which nobody answers.
async fn deserted() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn f17_a_silent_host_delays_no_other_and_a_dead_one_is_tried_again() {
    let installation = Installation::open();
    let tools = installation.tools();
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut waiting = Vec::new();
    for number in 0..60 {
        let project = registered(&format!("http://127.0.0.1:{port}/team/shop{number}"));
        keep(&installation, &project).await;
        waiting.push(project);
    }
    let dead = registered(&format!("http://127.0.0.1:{}/team/shop", deserted().await));
    keep(&installation, &dead).await;
    let sweeping = Sweeping::start(&tools);
    let state = until_looked_at(&installation, &dead).await;
    let error = state.error.expect("nobody is there");
    assert_eq!((error.code.as_str(), state.failures), ("git_host_unreachable", 1));
    for project in &waiting {
        assert_eq!(self::state(&installation, project).await, None, "they wait for their own host alone");
    }
    assert!(tools.figures.counted(Count::SweepPutOff) > 0);
    sweeping.stop().await;
    let (due, later) = depth(&installation).await;
    assert_eq!(due + later, 61, "all come up again");
}

#[tokio::test]
async fn what_is_not_registered_any_more_is_forgotten() {
    let installation = Installation::open();
    let tools = installation.tools();
    let keys = ["gone-123456".to_owned(), "No Slug".to_owned()];
    installation.backend.agenda.note(List::Sweeps, &keys, Timestamp::now()).await.unwrap();
    let sweeping = Sweeping::start(&tools);
    let begun = Instant::now();
    while depth(&installation).await != (0, 0) {
        assert!(begun.elapsed() < PATIENCE, "it stays on the agenda");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sweeping.stop().await;
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_looked_at_and_nothing_fails() {
    let installation = Installation::open();
    let tools = installation.tools();
    let project = registered(&format!("http://127.0.0.1:{}/team/shop", deserted().await));
    keep(&installation, &project).await;
    let away = StoreError::Unavailable { reason: "it was taken away".to_owned() };
    tools.recorder.store_failed(&away);
    installation.store.set(Mood::Away);
    let sweeping = Sweeping::start(&tools);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(state(&installation, &project).await, None);
    installation.store.set(Mood::Well);
    until_looked_at(&installation, &project).await;
    sweeping.stop().await;
}

#[tokio::test]
async fn a_project_that_is_on_no_agenda_is_put_there() {
    let installation = Installation::open();
    let tools = installation.tools();
    let project = registered("https://git.example.com/team/shop");
    keep(&installation, &project).await;
    let agenda = &installation.backend.agenda;
    let now = Timestamp::now();
    let due = agenda.claim(List::Sweeps, 10, Duration::from_secs(60), now).await.unwrap();
    assert!(agenda.settle(List::Sweeps, &due[0], Next::Gone, None, now).await.unwrap());
    assert_eq!(depth(&installation).await, (0, 0), "it was lost");
    assert_eq!(roster::go_through(&tools, now).await.unwrap(), 1);
    assert_eq!(depth(&installation).await, (1, 0));
    let due = agenda.claim(List::Sweeps, 10, Duration::from_secs(60), Timestamp::now()).await.unwrap();
    let memo = serde_json::to_string(&SweepState::at(Timestamp::now())).unwrap();
    let next = Next::At(pace::after(now, Duration::from_secs(240)));
    assert!(agenda.settle(List::Sweeps, &due[0], next, Some(&memo), now).await.unwrap());
    assert_eq!(roster::go_through(&tools, Timestamp::now()).await.unwrap(), 0, "it was looked at just now");
}

#[test]
fn a_project_is_looked_at_once_at_a_time() {
    let at_work = Mutex::default();
    let first = Busy::with(&at_work, "shop");
    assert!(first.is_some());
    assert!(Busy::with(&at_work, "shop").is_none());
    assert!(Busy::with(&at_work, "shop").is_none(), "asking does not free it");
    assert!(Busy::with(&at_work, "blog").is_some());
    drop(first);
    assert!(Busy::with(&at_work, "shop").is_some());
}
