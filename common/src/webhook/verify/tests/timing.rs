//! How long a refusal takes does not depend on how much of the signature was right. Two kinds of wrong values, one wrong
//! at its beginning and one at its end, are refused in random order, and Welch's t-test compares the times taken.

use std::hint::black_box;
use std::time::Instant;

use super::*;

/// `SLIPWAY_TEST_LONG=1` measures a million times.
const LONG_VARIABLE: &str = "SLIPWAY_TEST_LONG";
const SAMPLES_LONG: usize = 1_000_000;
const SAMPLES: usize = 20_000;
/// What is slower than this part of all samples was interrupted, and says nothing.
const KEPT_PERCENT: usize = 90;
/// Beyond this the two kinds differ.
const T_MAX: f64 = 4.5;
/// A machine that does something else at times may fail one attempt, not all.
const ATTEMPTS_MAX: usize = 3;
const TOKEN_LENGTH_BYTES: usize = 43;
const SHOWN_MAX_BYTES: usize = 256;

/// Where a value is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    First,
    Last,
}

impl Wrong {
    /// Writes to both ends, so that what is left in the processor's store buffer is the same for both kinds.
    fn spoil(self, value: &mut [u8]) {
        let (first, last) = match self {
            Self::First => (1, 0),
            Self::Last => (0, 1),
        };
        *value.first_mut().unwrap() ^= first;
        *value.last_mut().unwrap() ^= last;
    }
}

/// Xorshift: enough to mix the order and to vary the bodies.
struct Mixer(u64);

impl Mixer {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn kind(&mut self) -> Wrong {
        if self.next() >> 63 == 0 { Wrong::First } else { Wrong::Last }
    }
}

/// Mean, variance and number of the kept times of one kind.
fn moments(times: &[(Wrong, u32)], kind: Wrong, slowest: u32) -> (f64, f64, f64) {
    let kept = || times.iter().filter(|(of, time)| *of == kind && *time <= slowest).map(|(_, time)| *time);
    let count = f64::from(u32::try_from(kept().count()).unwrap());
    let mean = kept().map(f64::from).sum::<f64>() / count;
    let variance = kept().map(|time| (f64::from(time) - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance, count)
}

fn welch_t(times: &[(Wrong, u32)]) -> f64 {
    let mut sorted: Vec<_> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_unstable();
    let slowest = sorted[sorted.len() * KEPT_PERCENT / 100 - 1];
    let (mean_a, variance_a, count_a) = moments(times, Wrong::First, slowest);
    let (mean_b, variance_b, count_b) = moments(times, Wrong::Last, slowest);
    (mean_a - mean_b) / (variance_a / count_a + variance_b / count_b).sqrt()
}

/// Times of `samples` refusals. `make` gives the header for a body, wrong at the given place. Making it is not measured,
/// and it stands at the same place in memory for both kinds.
fn measure(
    samples: usize,
    mixer: &mut Mixer,
    make: impl Fn(&[u8], Wrong) -> String,
    refuse: impl Fn(&[u8], &str) -> bool,
) -> Vec<(Wrong, u32)> {
    let mut shown = String::with_capacity(SHOWN_MAX_BYTES);
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        let kind = mixer.kind();
        let body = mixer.next().to_le_bytes();
        shown.clear();
        shown.push_str(&make(&body, kind));
        let start = Instant::now();
        let refused = black_box(refuse(black_box(&body), black_box(&shown)));
        let taken = start.elapsed().as_nanos();
        assert!(refused);
        times.push((kind, u32::try_from(taken).unwrap_or(u32::MAX)));
    }
    times
}

fn assert_even(what: &str, make: impl Fn(&[u8], Wrong) -> String, refuse: impl Fn(&[u8], &str) -> bool) {
    let long = std::env::var(LONG_VARIABLE).is_ok_and(|value| value == "1");
    let samples = if long { SAMPLES_LONG } else { SAMPLES };
    let mut mixer = Mixer(0x9e37_79b9_7f4a_7c15);
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let t = welch_t(&measure(samples, &mut mixer, &make, &refuse));
        if t.abs() < T_MAX {
            return;
        }
        seen.push(t);
    }
    panic!("{what}: the time depends on the place of the first wrong byte, t = {seen:?}");
}

fn is_wrong(result: &Result<Verified, Refusal>) -> bool {
    matches!(result, Err(Refusal::SignatureWrong))
}

#[test]
fn a_wrong_hmac_takes_the_same_time_wherever_it_is_wrong() {
    let secrets = [signing(PLAIN_SECRET)];
    let make = |body: &[u8], wrong: Wrong| {
        let mut value = mac(PLAIN_SECRET.as_bytes(), &[body]);
        wrong.spoil(&mut value);
        value.iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    };
    let refuse = |body: &[u8], shown: &str| {
        let headers = Headers::collect([(HUB_SIGNATURE, shown.as_bytes())]);
        is_wrong(&verify(Forge::Github, &headers, body, &secrets, at(NOW_S), TOLERANCE))
    };
    assert_even("HMAC", make, refuse);
}

#[test]
fn a_wrong_standard_signature_takes_the_same_time_wherever_it_is_wrong() {
    let secrets = [signing(GITLAB_SECRET)];
    let second = NOW_S.to_string();
    let key = signing_key(&SecretString::from(GITLAB_SECRET)).unwrap();
    let make = |body: &[u8], wrong: Wrong| {
        let mut value = standard_mac(&key, ID, &second, body);
        wrong.spoil(&mut value);
        format!("{SIGNATURE_PREFIX}{}", STANDARD.encode(value))
    };
    let refuse = |body: &[u8], shown: &str| {
        let headers = Headers::collect([
            (ID_HEADER, ID.as_bytes()),
            (TIMESTAMP_HEADER, second.as_bytes()),
            (SIGNATURE_HEADER, shown.as_bytes()),
        ]);
        is_wrong(&verify(Forge::Gitlab, &headers, body, &secrets, at(NOW_S), TOLERANCE))
    };
    assert_even("Standard Webhooks", make, refuse);
}

#[test]
fn a_wrong_token_takes_the_same_time_wherever_it_is_wrong() {
    let right = "a".repeat(TOKEN_LENGTH_BYTES);
    let secrets = [token(&right)];
    let make = |_: &[u8], wrong: Wrong| {
        let mut value = right.clone().into_bytes();
        wrong.spoil(&mut value);
        String::from_utf8(value).unwrap()
    };
    let refuse = |body: &[u8], shown: &str| {
        let headers = Headers::collect([(GITLAB_TOKEN, shown.as_bytes())]);
        is_wrong(&verify(Forge::Gitlab, &headers, body, &secrets, at(NOW_S), TOLERANCE))
    };
    assert_even("token", make, refuse);
}

#[test]
fn the_test_of_times_notices_a_difference() {
    let mut mixer = Mixer(7);
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let noise = u32::try_from(mixer.next() % 200).unwrap();
        let kind = mixer.kind();
        let slower = if kind == Wrong::First { 0 } else { 20 };
        times.push((kind, 1000 + noise + slower));
    }
    assert!(welch_t(&times).abs() > T_MAX);
}
