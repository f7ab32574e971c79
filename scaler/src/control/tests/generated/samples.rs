//! Samples as no honest source sends them, among good ones: each is dropped and counted by its reason, and what is
//! read is what the good ones alone say.

use super::super::*;
use super::world::{pick, rng_count};
use super::{Replay, sequences};
use crate::demand::{ContainerSample, Cpu, DemandLimits, DemandWindow, Dropped, DroppedCounts, Key};

/// Samples of the short form.
const SAMPLES_SHORT: u64 = 100_000;
/// Samples of the long form.
const SAMPLES_LONG: u64 = 3_000_000;
/// 1 January 1970, 2026 and 2100.
const YEARS_S: (f64, f64, f64) = (0.0, 1_767_225_600.0, 4_102_444_800.0);
const OWNER: &str = "shop";

#[test]
fn broken_samples_are_dropped_counted_and_harmless() {
    sequences(1, (SAMPLES_SHORT, SAMPLES_LONG), feed);
}

/// One container of the source.
#[derive(Debug, Clone)]
struct Source {
    number: u32,
    counts: bool,
    allowed_cores: f64,
    share: f64,
    used_total_s: f64,
    sampled_s: f64,
    ready_since_s: Option<f64>,
    /// The newest good sample.
    newest: Option<ContainerSample>,
}

impl Source {
    fn new(rng: &mut Rng, number: u32, now_s: f64) -> Self {
        Self {
            number,
            counts: rng.chance(0.5),
            allowed_cores: pick(rng, &[0.1, 0.5, 1.0, 4.0]),
            share: rng.between(0.0, 1.0),
            used_total_s: rng.between(0.0, 1e5),
            sampled_s: now_s,
            ready_since_s: rng.chance(0.9).then(|| now_s - rng.between(0.0, 300.0)),
            newest: None,
        }
    }

    fn sample(&mut self, rng: &mut Rng, now_s: f64) -> ContainerSample {
        self.share = (self.share + 0.1 * rng.normal()).clamp(0.0, 1.0);
        let used_cores = self.share * self.allowed_cores;
        self.used_total_s += used_cores * (now_s - self.sampled_s);
        self.sampled_s = now_s;
        let cpu = if self.counts {
            Cpu::Counter { used_total_s: self.used_total_s }
        } else {
            Cpu::Mean { used_cores, window_s: 5.0 }
        };
        let container = Key::from_number(u64::from(self.number));
        let (allowed_cores, ready_since_s) = (self.allowed_cores, self.ready_since_s);
        ContainerSample { owner: Key::of(OWNER), container, at_s: now_s, cpu, allowed_cores, ready_since_s }
    }
}

fn feed(replay: &mut Replay) {
    let mut rng = Rng::new(replay.seed);
    let mut now_s = YEARS_S.1 + rng.between(0.0, 1e8);
    let known = rng_count(&mut rng, 1, 8);
    let mut sources: Vec<Source> = (0..known).map(|number| Source::new(&mut rng, number, now_s)).collect();
    let limits = DemandLimits { containers_max: sources.len(), ..DemandLimits::default() };
    let mut clean = DemandWindow::new(Key::of(OWNER), limits);
    let mut dirty = clean.clone();
    let mut counted = DroppedCounts::default();
    for _ in 0..rng_count(&mut rng, 10, 300) {
        now_s += if rng.chance(0.02) { rng.between(0.0, 100.0) } else { rng.between(4.0, 6.0) };
        for place in 0..sources.len() {
            replay.step += 1;
            if rng.chance(0.3) {
                let all_known = sources.iter().all(|source| heard(source, now_s));
                let (bad, reason) = broken(&mut rng, &sources[place], now_s, all_known);
                assert_eq!(dirty.push(&bad, now_s), Err(reason), "{bad:?}");
                *counted.slot(reason) += 1;
            }
            if rng.chance(0.9) {
                let good = sources[place].sample(&mut rng, now_s);
                assert_eq!(clean.push(&good, now_s), Ok(()), "{good:?}");
                assert_eq!(dirty.push(&good, now_s), Ok(()), "{good:?}");
                sources[place].newest = Some(good);
            }
        }
        assert_eq!(dirty.dropped(), counted);
        let ready = rng.chance(0.8).then_some(known);
        let read = dirty.read(ready, now_s);
        assert_eq!(read, clean.read(ready, now_s));
        assert_sound(&read, known);
    }
}

fn assert_sound(read: &Result<Evidence, Silence>, known: u32) {
    if let Ok(evidence) = read {
        let most = f64::from(known);
        assert!((0.0..=1.0 + 1e-6).contains(&evidence.utilisation), "{evidence:?}");
        assert!((0.0..=most * (1.0 + 1e-6)).contains(&evidence.demand_replicas), "{evidence:?}");
        assert!((0.0..=1.0).contains(&evidence.saturated_share), "{evidence:?}");
        assert!(evidence.window_s > 0.0 && evidence.window_s.is_finite(), "{evidence:?}");
        assert!(evidence.at_s.is_finite() && evidence.counting + evidence.young <= known, "{evidence:?}");
    }
}

fn heard(source: &Source, now_s: f64) -> bool {
    source.newest.is_some_and(|newest| now_s - newest.at_s <= 20.0)
}

/// A sample with one flaw, and the reason it must be dropped for.
fn broken(rng: &mut Rng, source: &Source, now_s: f64, all_known: bool) -> (ContainerSample, Dropped) {
    // The source does not notice: what it says next is as good as before.
    let good = source.clone().sample(&mut rng.clone(), now_s);
    let newest = source.newest.filter(|newest| now_s - newest.at_s <= 20.0 && newest.at_s < now_s);
    match (rng_count(rng, 0, 8), newest) {
        (0, _) => (ContainerSample { owner: Key::of("other"), ..good }, Dropped::Foreign),
        (1, _) => (not_a_number(rng, good), Dropped::NotANumber),
        (2, _) => {
            let at_s = pick(rng, &[YEARS_S.2, 1e308, now_s + 5.5, f64::MAX]);
            (ContainerSample { at_s, ..good }, Dropped::Ahead)
        }
        (3, _) => {
            let at_s = pick(rng, &[YEARS_S.0, -1e308, -YEARS_S.2, now_s - 30.5, f64::MIN]);
            (ContainerSample { at_s, ..good }, Dropped::Stale)
        }
        (4, Some(newest)) => (ContainerSample { at_s: newest.at_s, ..good }, Dropped::Duplicate),
        (5, Some(newest)) => (newest, Dropped::Duplicate),
        (6, Some(newest)) => {
            let at_s = newest.at_s - rng.between(0.1, 9.0);
            (ContainerSample { at_s, ..good }, Dropped::OutOfOrder)
        }
        (7, _) if all_known => {
            let container = Key::from_number(1_000 + u64::from(rng_count(rng, 0, 9)));
            (ContainerSample { container, ..good }, Dropped::TooMany)
        }
        (8, Some(_)) if source.counts => {
            let used_total_s = pick(rng, &[1e308, f64::MAX, source.used_total_s + 1e12]);
            (ContainerSample { cpu: Cpu::Counter { used_total_s }, ..good }, Dropped::Absurd)
        }
        (_, _) => (absurd(rng, good), Dropped::Absurd),
    }
}

fn not_a_number(rng: &mut Rng, good: ContainerSample) -> ContainerSample {
    let broken = pick(rng, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    let negative = pick(rng, &[broken, -1.0, -1e308, -f64::MIN_POSITIVE]);
    let nothing = pick(rng, &[negative, 0.0, -0.0]);
    match rng_count(rng, 0, 5) {
        0 => ContainerSample { cpu: Cpu::Counter { used_total_s: negative }, ..good },
        1 => ContainerSample { cpu: Cpu::Mean { used_cores: negative, window_s: 5.0 }, ..good },
        2 => ContainerSample { cpu: Cpu::Mean { used_cores: 0.1, window_s: nothing }, ..good },
        3 => ContainerSample { allowed_cores: nothing, ..good },
        4 => ContainerSample { at_s: broken, ..good },
        _ => ContainerSample { ready_since_s: Some(broken), ..good },
    }
}

fn absurd(rng: &mut Rng, good: ContainerSample) -> ContainerSample {
    let huge = pick(rng, &[1e308, f64::MAX, 1e6]);
    match rng_count(rng, 0, 3) {
        0 => ContainerSample { allowed_cores: huge, ..good },
        1 => ContainerSample { cpu: Cpu::Mean { used_cores: huge, window_s: 5.0 }, ..good },
        2 => ContainerSample { cpu: Cpu::Mean { used_cores: 0.1, window_s: huge }, ..good },
        _ => ContainerSample {
            cpu: Cpu::Mean { used_cores: 0.1, window_s: 5.0 },
            allowed_cores: f64::MIN_POSITIVE,
            ..good
        },
    }
}
