//! The plan of a run: which faults, where, when and for how long. A pure function of the seed and the shape.

use std::fmt;
use std::time::Duration;

use super::dice::Dice;

/// How likely each kind of fault is, relative to the others.
const KILL_SHARE: u64 = 45;
const FREEZE_SHARE: u64 = 27;
const RESTART_SHARE: u64 = 22;
const FLUSH_SHARE: u64 = 6;
/// How likely each part is to be hit by a kill, freeze or restart.
const API_SHARE: u64 = 20;
const WORKER_SHARE: u64 = 45;
const BROKER_SHARE: u64 = 18;
const REDIS_SHARE: u64 = 17;
/// Shortest and longest freeze.
const FREEZE_MS: (u64, u64) = (1_000, 20_000);
/// Shortest and longest time a killed part stays down before it is started again.
const DOWN_MS: (u64, u64) = (0, 5_000);

/// How many of each part there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Processes of the API.
    pub apis: usize,
    /// Worker processes.
    pub workers: usize,
    /// Nodes of RabbitMQ.
    pub brokers: usize,
}

/// A part that can be hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A process of the API.
    Api(usize),
    /// A worker process.
    Worker(usize),
    /// A node of RabbitMQ.
    Broker(usize),
    /// Redis.
    Redis,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(index) => write!(formatter, "api-{index}"),
            Self::Worker(index) => write!(formatter, "worker-{index}"),
            Self::Broker(index) => write!(formatter, "broker-{index}"),
            Self::Redis => write!(formatter, "redis"),
        }
    }
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// `kill -9`, and a start some time later.
    Kill,
    /// `SIGSTOP`, and `SIGCONT` some time later.
    Freeze,
    /// `SIGTERM`, and a start some time later.
    Restart,
    /// `FLUSHALL`.
    Flush,
}

impl FaultKind {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Restart => "restart",
            Self::Flush => "flush",
        }
    }
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where.
    pub part: Part,
    /// How long the part is frozen or down.
    pub lasts: Duration,
}

/// One fault and its place in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Planned {
    /// It happens once so many jobs were accepted.
    pub after_jobs: usize,
    /// The fault.
    pub fault: Fault,
}

/// All faults of a run, in their order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// What it was made from.
    pub seed: u64,
    /// How many jobs the run has.
    pub jobs: usize,
    /// The faults.
    pub faults: Vec<Planned>,
}

impl Plan {
    /// Draws the faults of a run.
    #[must_use]
    pub fn draw(seed: u64, jobs: usize, faults: usize, shape: Shape) -> Self {
        let mut dice = Dice::new(seed);
        // Evenly over the jobs, each somewhere in its own piece: some follow each other closely, some overlap.
        let place = |dice: &mut Dice, index: usize| {
            let (from, to) = (index * jobs / faults.max(1), (index + 1) * jobs / faults.max(1));
            let width = u64::try_from(to.saturating_sub(from + 1)).unwrap_or(u64::MAX);
            from + usize::try_from(dice.between(0, width)).unwrap_or(0)
        };
        let faults = (0..faults)
            .map(|index| Planned { after_jobs: place(&mut dice, index), fault: draw_fault(&mut dice, shape) })
            .collect();
        Self { seed, jobs, faults }
    }
}

fn draw_fault(dice: &mut Dice, shape: Shape) -> Fault {
    let kinds = [FaultKind::Kill, FaultKind::Freeze, FaultKind::Restart, FaultKind::Flush];
    let kind = kinds[dice.weighted(&[KILL_SHARE, FREEZE_SHARE, RESTART_SHARE, FLUSH_SHARE])];
    let part = draw_part(dice, shape);
    let (shortest, longest) = if kind == FaultKind::Freeze { FREEZE_MS } else { DOWN_MS };
    let lasts = Duration::from_millis(dice.between(shortest, longest));
    match kind {
        FaultKind::Kill | FaultKind::Freeze | FaultKind::Restart => Fault { kind, part, lasts },
        FaultKind::Flush => Fault { kind, part: Part::Redis, lasts: Duration::ZERO },
    }
}

fn draw_part(dice: &mut Dice, shape: Shape) -> Part {
    let share = |count: usize, share: u64| if count == 0 { 0 } else { share };
    let weights = [
        share(shape.apis, API_SHARE),
        share(shape.workers, WORKER_SHARE),
        share(shape.brokers, BROKER_SHARE),
        REDIS_SHARE,
    ];
    let which = dice.weighted(&weights);
    let number = usize::try_from(dice.next() >> 33).unwrap_or(0);
    match which {
        0 => Part::Api(number % shape.apis.max(1)),
        1 => Part::Worker(number % shape.workers.max(1)),
        2 => Part::Broker(number % shape.brokers.max(1)),
        _ => Part::Redis,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SHAPE: Shape = Shape { apis: 2, workers: 3, brokers: 3 };

    #[test]
    fn a_seed_gives_the_same_plan_and_another_seed_another() {
        let plan = Plan::draw(42, 10_000, 100, SHAPE);
        assert_eq!(plan, Plan::draw(42, 10_000, 100, SHAPE));
        assert_ne!(plan, Plan::draw(43, 10_000, 100, SHAPE));
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(plan, serde_json::from_str(&text).unwrap());
    }

    #[test]
    fn faults_are_in_order_within_the_run_and_hit_everything() {
        let plan = Plan::draw(42, 10_000, 200, SHAPE);
        assert_eq!(plan.faults.len(), 200);
        assert!(plan.faults.windows(2).all(|pair| pair[0].after_jobs <= pair[1].after_jobs));
        assert!(plan.faults.iter().all(|planned| planned.after_jobs < 10_000));
        let parts: BTreeSet<Part> = plan.faults.iter().map(|planned| planned.fault.part).collect();
        assert_eq!(parts.len(), 2 + 3 + 3 + 1, "{parts:?}");
        let kinds: BTreeSet<FaultKind> = plan.faults.iter().map(|planned| planned.fault.kind).collect();
        assert_eq!(kinds.len(), 4, "{kinds:?}");
        let frozen = plan.faults.iter().filter(|planned| planned.fault.kind == FaultKind::Freeze);
        assert!(frozen.clone().all(|planned| (1_000..=20_000).contains(&planned.fault.lasts.as_millis())));
    }

    #[test]
    fn a_flush_hits_redis_and_more_faults_than_jobs_are_fine() {
        let plan = Plan::draw(1, 3, 50, Shape { apis: 1, workers: 1, brokers: 0 });
        assert_eq!(plan.faults.len(), 50);
        assert!(plan.faults.iter().all(|planned| planned.after_jobs < 3));
        let flushes = plan.faults.iter().filter(|planned| planned.fault.kind == FaultKind::Flush);
        assert!(flushes.clone().all(|planned| planned.fault.part == Part::Redis));
        assert!(!plan.faults.iter().any(|planned| matches!(planned.fault.part, Part::Broker(_))));
    }
}
