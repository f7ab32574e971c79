//! Arbitrary histories: whatever arrives, in whatever order, the fold keeps its promises.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::{Illegal, apply, begin};
use super::{at, failed, finished, retry_of, started, waiting};
use crate::contract::sample::{deploy_job, event, stop_job};
use crate::model::{Deployment, DeploymentId, Event, EventKind, Facts, JobId, JobMessage, JobState, Stage};

/// Sequences per property.
const SEQUENCES: u32 = 10_000;
const EVENTS_MAX: usize = 16;
/// The jobs of a history: the deploy job, a retry, a repair, and stops.
const JOB_COUNT: usize = 6;

/// One event, as a choice that any history can make.
#[derive(Debug, Clone, Copy)]
struct Choice {
    job: usize,
    kind: usize,
    stage: Stage,
    fence: u64,
}

fn choice() -> impl Strategy<Value = Choice> {
    let job = prop_oneof![5 => Just(0), 2 => Just(1), 2 => Just(2), 1 => 3..JOB_COUNT];
    let fence = prop_oneof![6 => Just(1_u64), 2 => Just(0), 1 => 2..4_u64];
    (job, 0..13_usize, prop::sample::select(Stage::ALL.to_vec()), fence)
        .prop_map(|(job, kind, stage, fence)| Choice { job, kind, stage, fence })
}

/// A choice as an event.
fn realise(choice: Choice, second: i64) -> Event {
    let message = &JOBS[choice.job];
    let kind = match choice.kind {
        0 => EventKind::Accepted { message: Box::new(message.clone()) },
        1 => started(choice.stage),
        2 => EventKind::StageProgress { stage: choice.stage, message: "going on".to_owned() },
        3 => finished(choice.stage),
        4 => waiting(choice.stage),
        5 => EventKind::Succeeded,
        6 => failed(choice.stage),
        7 => EventKind::CancelRequested { by: "ada".to_owned() },
        8 => EventKind::Cancelled,
        9 => EventKind::Superseded { by: DeploymentId::generate() },
        10 => EventKind::Replaced { by: DeploymentId::generate() },
        11 => EventKind::Degraded { reason: "1 of 2".to_owned() },
        _ => EventKind::Recovered,
    };
    event(message, choice.fence, at(second), kind)
}

/// The jobs of every history, made once.
static JOBS: LazyLock<Vec<JobMessage>> = LazyLock::new(|| {
    let deploy = deploy_job("shop", at(0));
    let stops = [stop_job(&deploy, at(0)), stop_job(&deploy, at(0)), stop_job(&deploy, at(0))];
    let retry = retry_of(&deploy, Facts::default());
    let begun = begin(&Event::accepted(&deploy)).expect("a deploy job begins a history");
    let repair = JobMessage::repair(&begun, JobId::generate(), "ada".to_owned(), at(0));
    [deploy, retry, repair].into_iter().chain(stops).collect()
});

fn beginning() -> Deployment {
    begin(&Event::accepted(&JOBS[0])).expect("a deploy job begins a history")
}

/// The choices as events, one second apart.
fn history(choices: &[Choice]) -> Vec<Event> {
    (1..).zip(choices).map(|(second, choice)| realise(*choice, second)).collect()
}

fn config() -> Config {
    Config { cases: SEQUENCES, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    /// An illegal event leaves the whole deployment as it was, an ended job refuses everything of its own,
    /// the fence never goes down, and the accepted events alone give the same deployment again.
    #[test]
    fn the_fold_keeps_its_promises(choices in prop::collection::vec(choice(), 0..EVENTS_MAX)) {
        let events = history(&choices);
        let mut deployment = beginning();
        let mut accepted = Vec::new();
        for event in &events {
            let before = deployment.clone();
            let outcome = apply(&mut deployment, event);
            prop_assert!(deployment.fence >= before.fence);
            if outcome.is_err() {
                prop_assert_eq!(&deployment, &before);
                continue;
            }
            accepted.push(event);
            for job in before.jobs.iter().filter(|job| job.state.is_terminal()) {
                prop_assert_eq!(deployment.job(job.id), Some(job));
            }
        }
        let mut replayed = beginning();
        for event in accepted {
            prop_assert_eq!(apply(&mut replayed, event), Ok(()));
        }
        prop_assert_eq!(replayed, deployment);
    }

    /// Every ended job refuses every event of its own.
    #[test]
    fn an_ended_job_refuses_everything(choices in prop::collection::vec(choice(), 1..EVENTS_MAX), end in 0..4_usize) {
        let ends = [
            EventKind::Succeeded,
            failed(Stage::Apply),
            EventKind::Cancelled,
            EventKind::Superseded { by: DeploymentId::generate() },
        ];
        let mut deployment = beginning();
        for kind in [started(Stage::Apply), ends[end].clone()] {
            apply(&mut deployment, &event(&JOBS[0], 1, at(1), kind)).expect("it is legal");
        }
        let before = deployment.job(JOBS[0].id).cloned();
        for choice in choices.into_iter().filter(|choice| choice.kind < 10) {
            let refused = apply(&mut deployment, &realise(Choice { job: 0, ..choice }, 9));
            prop_assert!(refused.is_err());
            prop_assert_eq!(deployment.job(JOBS[0].id).cloned(), before.clone());
        }
    }

    /// A model of the job life cycle, written as a table, agrees with the fold at every step.
    #[test]
    fn the_model_of_the_life_cycle_agrees(choices in prop::collection::vec(choice(), 0..EVENTS_MAX)) {
        let events = history(&choices);
        let mut deployment = beginning();
        let mut model = Model::new();
        for (choice, event) in choices.iter().zip(&events) {
            let Some(job) = model.position(choice.job) else {
                let refused = apply(&mut deployment, event);
                if refused.is_ok() && choice.kind == 0 {
                    model.jobs.push((choice.job, Phase::Queued));
                    model.fence = model.fence.max(choice.fence);
                } else if refused.is_ok() {
                    // Events of the deployment, which belong to no job's life.
                    prop_assert!(choice.kind >= 10);
                    model.fence = model.fence.max(choice.fence);
                }
                continue;
            };
            if choice.kind == 0 || choice.kind >= 10 {
                if apply(&mut deployment, event).is_ok() {
                    prop_assert!(choice.kind >= 10, "no job is accepted twice");
                    model.fence = model.fence.max(choice.fence);
                }
                continue;
            }
            let expected = model.step(job, *choice);
            let outcome = apply(&mut deployment, event);
            prop_assert_eq!(outcome.is_ok(), expected, "{:?} gave {:?}", choice, outcome);
            check_phases(&model, &deployment)?;
        }
    }
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queued,
    Running(Stage),
    Waiting(Stage),
    Ended(&'static str),
}

/// The jobs that were accepted, by their number, with their phases.
#[derive(Debug)]
struct Model {
    jobs: Vec<(usize, Phase)>,
    fence: u64,
}

impl Model {
    fn new() -> Self {
        Self { jobs: vec![(0, Phase::Queued)], fence: 0 }
    }

    fn position(&self, number: usize) -> Option<usize> {
        self.jobs.iter().position(|(known, _)| *known == number)
    }

    /// Whether the event may happen to the job; if so, it has.
    fn step(&mut self, job: usize, choice: Choice) -> bool {
        let (number, phase) = self.jobs[job];
        let own = JOBS[number].kind.stages();
        let may_begin = |stage: Stage| match phase {
            Phase::Queued => own.contains(&stage),
            Phase::Running(reached) | Phase::Waiting(reached) => own.contains(&stage) && reached <= stage,
            Phase::Ended(_) => false,
        };
        let alive = !matches!(phase, Phase::Ended(_));
        let held = matches!(phase, Phase::Running(_));
        let next = match choice.kind {
            1 if may_begin(choice.stage) => Some(Phase::Running(choice.stage)),
            2 | 3 if phase == Phase::Running(choice.stage) => Some(phase),
            4 if may_begin(choice.stage) => Some(Phase::Waiting(choice.stage)),
            5 if matches!(phase, Phase::Running(Stage::Apply | Stage::Stop)) => {
                Some(Phase::Ended("succeeded"))
            }
            6 if alive => Some(Phase::Ended("failed")),
            7 if alive => Some(phase),
            8 if alive => Some(Phase::Ended("cancelled")),
            9 if alive => Some(Phase::Ended("superseded")),
            _ => None,
        };
        let fenced = match (choice.fence, choice.kind) {
            (0, 7) => false,
            (0, 6 | 8 | 9) => held,
            (0, _) => true,
            (fence, _) => fence < self.fence,
        };
        let Some(next) = next.filter(|_| !fenced) else { return false };
        self.jobs[job].1 = next;
        self.fence = self.fence.max(choice.fence);
        true
    }
}

fn check_phases(model: &Model, deployment: &Deployment) -> Result<(), TestCaseError> {
    prop_assert_eq!(deployment.jobs.len(), model.jobs.len());
    for ((number, phase), job) in model.jobs.iter().zip(&deployment.jobs) {
        prop_assert_eq!(job.id, JOBS[*number].id);
        let actual = match &job.state {
            JobState::Queued => Phase::Queued,
            JobState::Running { stage, .. } => Phase::Running(*stage),
            JobState::Waiting { stage, .. } => Phase::Waiting(*stage),
            JobState::Succeeded
            | JobState::Failed { .. }
            | JobState::Cancelled
            | JobState::Superseded { .. } => Phase::Ended(job.state.as_str()),
        };
        prop_assert_eq!(actual, *phase);
        prop_assert_eq!(job.finished_at.is_some(), job.state.is_terminal());
    }
    Ok(())
}

#[test]
fn a_refusal_is_a_value_that_can_be_shown() {
    let refusal = Illegal::Fenced { fence: 3, newest: 4 };
    assert_eq!(refusal.to_string(), "fencing token 3 is out of date: 4 has written since");
}
