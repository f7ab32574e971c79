//! Millions of generated steps: random settings, fleets, clocks and evidence, broken ones among them. What must hold
//! in each step is in `expected`, what happens around the controller in `world`.
//!
//! Debug builds take a part that ends within seconds; `SLIPWAY_TEST_LONG` makes it ten million steps and more. A
//! failure names its seed and step; `SLIPWAY_TEST_SEED` repeats that sequence alone.

mod expected;
mod samples;
mod world;

use self::expected::{Expected, assert_sound};
use self::world::World;
use super::*;
use crate::settings::Law;

/// Steps of the short form.
const STEPS_SHORT: u64 = 300_000;
/// Steps of the long form.
const STEPS_LONG: u64 = 10_500_000;
/// Longest sequence, in steps.
const SEQUENCE_MAX: f64 = 2_000.0;

/// Says how to repeat a sequence when a check in it fails, or anything in it panics.
struct Replay {
    seed: u64,
    step: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with SLIPWAY_TEST_SEED={} at step {}", self.seed, self.step);
        }
    }
}

/// Runs sequences, each of a seed of its own, until `short` or `long` steps are done; the count of steps.
fn sequences(first_seed: u64, (short, long): (u64, u64), sequence: impl Fn(&mut Replay)) -> u64 {
    if let Ok(text) = std::env::var("SLIPWAY_TEST_SEED") {
        let mut replay = Replay { seed: text.parse().unwrap(), step: 0 };
        sequence(&mut replay);
        return replay.step;
    }
    let goal = if std::env::var_os("SLIPWAY_TEST_LONG").is_some() { long } else { short };
    let (mut seed, mut done) = (first_seed, 0);
    while done < goal {
        let mut replay = Replay { seed, step: 0 };
        sequence(&mut replay);
        done += replay.step;
        seed += 1;
    }
    done
}

/// How often each of the rarer checks took place: a check that never does would prove nothing.
#[derive(Debug, Default)]
struct Seen {
    scaled: u64,
    held_in_silence: u64,
    adopted: u64,
    awaited: u64,
    retuned: u64,
    held_after_start: u64,
}

#[test]
fn in_millions_of_steps_every_promise_is_kept() {
    let seen = std::cell::RefCell::new(Seen::default());
    let steps = sequences(1, (STEPS_SHORT, STEPS_LONG), |replay| sequence(replay, &mut seen.borrow_mut()));
    let seen = seen.into_inner();
    let rarest =
        [seen.scaled, seen.held_in_silence, seen.adopted, seen.awaited, seen.retuned, seen.held_after_start];
    let alone = std::env::var_os("SLIPWAY_TEST_SEED").is_some();
    println!("{seen:?} in {steps} steps");
    assert!(alone || rarest.iter().all(|count| count * 1_000 > steps), "{seen:?} in {steps} steps");
}

fn sequence(replay: &mut Replay, seen: &mut Seen) {
    let mut world = World::new(replay.seed);
    let steps = world.length(SEQUENCE_MAX);
    let mut controller = Controller::new(world.any_settings());
    let mut expected = Expected::new();
    for _ in 0..steps {
        replay.step += 1;
        if world.rng.chance(0.003) || world.is_lost() {
            controller = Controller::new(controller.settings().clone());
            expected = Expected::new();
            world.restarted();
        }
        let settings = controller.settings().clone();
        let quiet =
            if world.rng.chance(0.02) { world.quiet_after(controller.terms(), &settings) } else { None };
        let observed = if let Some(observed) = quiet {
            retune(&mut controller, &mut expected, &mut world);
            // Due at once, or when memory and budget are empty.
            let soon_s = controller.settings().interval().as_secs_f64();
            let later_s = if world.rng.chance(0.5) { soon_s } else { 3_700.0 };
            Observation { now_s: observed.now_s + later_s, ..observed }
        } else {
            if world.rng.chance(0.004) {
                retune(&mut controller, &mut expected, &mut world);
            }
            world.observe(&settings)
        };
        let decision = controller.step(&observed);
        assert_sound(&observed, &decision, controller.settings(), controller.terms());
        if let (Some(_), Some(to)) = (quiet, decision.to())
            && settings.law() == Law::Standard
            && controller.settings().law() == Law::Standard
        {
            assert_bumpless(&observed, to, controller.settings());
        }
        expected.check(&observed, &decision, controller.settings());
        count(seen, &observed, &decision, quiet.is_some());
        seen.held_after_start += u64::from(expected.holds_after_start(&observed));
        world.happened(&observed, &decision);
    }
}

fn retune(controller: &mut Controller, expected: &mut Expected, world: &mut World) {
    let next = world.other_settings(controller.settings());
    if next.law() != controller.settings().law() {
        *expected = Expected::new();
    }
    controller.set_settings(next);
}

/// The demand is where the filter expects it, so that whatever changes the count is the change of the settings. Only
/// limits that leave the count outside may move it further.
fn assert_bumpless(seen: &Observation, to: u32, settings: &AutoscalerSettings) {
    let (min, max) = settings.replicas();
    if (min.get()..=max.get()).contains(&seen.replicas) {
        assert!(to.abs_diff(seen.replicas) <= 1, "settings changed: {} -> {to}", seen.replicas);
    }
}

fn count(seen: &mut Seen, observed: &Observation, decision: &Decision, quiet: bool) {
    seen.scaled += u64::from(decision.to().is_some());
    seen.held_in_silence += u64::from(observed.evidence.is_err());
    seen.adopted += u64::from(matches!(decision, Decision::Hold(Reason::Adopted { .. })));
    seen.awaited += u64::from(matches!(decision, Decision::Hold(Reason::AwaitingTarget)));
    seen.retuned += u64::from(quiet);
}
