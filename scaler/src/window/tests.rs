//! What the window takes, what it refuses, and when it holds.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn sample(second: i64, cpu_cores: f64) -> Sample {
    Sample { at: at(second), cpu_cores }
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn the_mean_is_taken_over_the_span_alone() {
    let mut window = SampleWindow::new(WindowLimits::default());
    for (second, cores) in [(0, 100.0), (10, 1.0), (20, 2.0), (30, 3.0)] {
        window.push(sample(second, cores), at(second)).unwrap();
    }
    let reading = window.read(seconds(20), seconds(15), at(35)).unwrap();
    assert_eq!(reading, Reading { mean_cpu_cores: 2.0, samples: 3, newest_at: at(30) });
}

#[test]
fn silence_means_hold() {
    let mut window = SampleWindow::new(WindowLimits::default());
    assert_eq!(window.read(seconds(60), seconds(15), at(0)), Err(Hold::Empty));
    window.push(sample(0, 1.0), at(0)).unwrap();
    assert!(window.read(seconds(60), seconds(15), at(15)).is_ok());
    assert_eq!(window.read(seconds(60), seconds(15), at(16)), Err(Hold::Stale { age: seconds(16) }));
}

#[test]
fn what_is_no_sample_changes_nothing_and_is_counted() {
    let mut window = SampleWindow::new(WindowLimits::default());
    window.push(sample(10, 1.0), at(10)).unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1] {
        assert_eq!(window.push(sample(11, bad), at(11)), Err(Refusal::NotANumber));
    }
    assert_eq!(window.push(sample(10, 2.0), at(11)), Err(Refusal::Duplicate));
    assert_eq!(window.push(sample(9, 2.0), at(11)), Err(Refusal::OutOfOrder));
    assert_eq!(window.push(sample(60, 2.0), at(11)), Err(Refusal::Ahead));
    assert_eq!(window.refused(), Refused { not_a_number: 4, duplicate: 1, out_of_order: 1, ahead: 1 });
    assert_eq!(window.read(seconds(60), seconds(15), at(11)).unwrap().samples, 1);
}

#[test]
fn the_window_is_bounded_in_number_and_age() {
    let limits = WindowLimits { samples_max: 3, age_max: seconds(100), ..WindowLimits::default() };
    let mut window = SampleWindow::new(limits);
    for second in 0..10 {
        window.push(sample(second, 1.0), at(second)).unwrap();
    }
    assert_eq!(window.len(), 3);
    window.push(sample(1_000, 1.0), at(1_000)).unwrap();
    assert_eq!(window.len(), 1);
}

#[test]
fn large_values_do_not_overflow_the_mean() {
    let mut window = SampleWindow::new(WindowLimits::default());
    for second in 0..4 {
        window.push(sample(second, f64::MAX), at(second)).unwrap();
    }
    assert_eq!(window.read(seconds(60), seconds(15), at(4)).unwrap().mean_cpu_cores, f64::MAX);
}
