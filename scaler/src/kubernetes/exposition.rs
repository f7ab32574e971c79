//! What a kubelet says of its containers at `/metrics/resource`, in the text format of Prometheus. Pure.

use std::collections::HashMap;

use jiff::Timestamp;

use super::object::ObjectName;
use super::reading::{CpuUse, Reading};
use crate::number;

/// CPU time used since a container began, in seconds.
const CPU: &str = "container_cpu_usage_seconds_total";
/// Memory in use without the page cache, in bytes.
const MEMORY: &str = "container_memory_working_set_bytes";

/// One line: a name, labels, a value and when it was measured.
#[derive(Debug, PartialEq)]
struct Sample {
    pod: ObjectName,
    value: f64,
    at: Option<Timestamp>,
}

/// The use of every pod that is named, its containers together. `read_at` is when the text was read: it
/// counts where no time is given.
pub(super) fn readings(text: &str, read_at: Timestamp) -> HashMap<ObjectName, Reading> {
    let mut found: HashMap<ObjectName, Reading> = HashMap::new();
    for sample in samples(text, CPU) {
        let at = sample.at.unwrap_or(read_at);
        let reading = found.entry(sample.pod).or_insert(Reading {
            at,
            cpu: CpuUse::Total { used_s: 0.0 },
            memory_used_bytes: None,
        });
        reading.at = reading.at.max(at);
        if let CpuUse::Total { used_s } = &mut reading.cpu {
            *used_s += sample.value;
        }
    }
    for sample in samples(text, MEMORY) {
        if let Some(reading) = found.get_mut(&sample.pod) {
            let used_bytes = reading.memory_used_bytes.unwrap_or(0);
            reading.memory_used_bytes = Some(used_bytes.saturating_add(number::to_u64(sample.value)));
        }
    }
    found
}

/// The samples of one metric; what cannot be read is passed over.
fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = Sample> + 'a {
    text.lines().filter_map(move |line| sample(line.strip_prefix(name)?.trim_start()))
}

/// `{namespace="shop",pod="web-1",container="web"} 12.5 1700000000000`
fn sample(line: &str) -> Option<Sample> {
    let mut rest = line.strip_prefix('{')?.trim_start();
    let (mut namespace, mut pod) = (None, None);
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start())?;
        match name.trim() {
            "namespace" => namespace = Some(value),
            "pod" => pod = Some(value),
            _ => {}
        }
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        if rest.is_empty() {
            return None;
        }
    }
    let mut numbers = rest.strip_prefix('}')?.split_whitespace();
    let value: f64 = numbers.next()?.parse().ok()?;
    let at = match numbers.next() {
        Some(milliseconds) => Some(Timestamp::from_millisecond(milliseconds.parse().ok()?).ok()?),
        None => None,
    };
    let pod = ObjectName { namespace: namespace?, name: pod? };
    (value.is_finite() && value >= 0.0).then_some(Sample { pod, value, at })
}

/// A text in quotation marks, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut letters = inner.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, inner.get(place + 1..)?)),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn pod(name: &str) -> ObjectName {
        ObjectName { namespace: "shop--default".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn the_containers_of_a_pod_are_added_up() {
        let text = r#"# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="web",namespace="shop--default",pod="web-1"} 12.5 1700000000500
container_cpu_usage_seconds_total{container="proxy",namespace="shop--default",pod="web-1"} 2.5e-1 1700000000000
container_cpu_usage_seconds_total{container="web",namespace="shop--default",pod="web-2"} 0
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="web",namespace="shop--default",pod="web-1"} 1.048576e+06 1700000000500
container_memory_working_set_bytes{container="proxy",namespace="shop--default",pod="web-1"} 24 1700000000000
container_memory_working_set_bytes{container="web",namespace="shop--default",pod="web-3"} 24 1700000000000
container_start_time_seconds{container="web",namespace="shop--default",pod="web-1"} 1.7e+09
node_cpu_usage_seconds_total 357.35 1700000000000
pod_cpu_usage_seconds_total{namespace="shop--default",pod="web-1"} 13 1700000000500
"#;
        let found = readings(text, NOW);
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[&pod("web-1")],
            Reading {
                at: Timestamp::from_millisecond(1_700_000_000_500).unwrap(),
                cpu: CpuUse::Total { used_s: 12.75 },
                memory_used_bytes: Some(1_048_600),
            }
        );
        assert_eq!(
            found[&pod("web-2")],
            Reading { at: NOW, cpu: CpuUse::Total { used_s: 0.0 }, memory_used_bytes: None }
        );
    }

    #[test]
    fn labels_may_hold_anything_that_is_quoted() {
        let line = r#"{ namespace = "a\"},\\b" , pod="x\ny", other="=," ,} 1 "#;
        let read = sample(line).unwrap();
        assert_eq!(read.pod, ObjectName { namespace: r#"a"},\b"#.to_owned(), name: "x\ny".to_owned() });
        assert_eq!((read.value, read.at), (1.0, None));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let of_pod = |rest: &str| format!("{{namespace=\"shop\",pod=\"web\"}}{rest}");
        assert!(sample(&of_pod(" 1 5")).is_some());
        for line in [
            "",
            "{",
            "{}",
            "{} 1",
            "{pod=\"web\"} 1",
            "{namespace=\"shop\",pod=\"web\"",
            "{namespace=\"shop\",pod=\"web} 1",
            "{namespace=\"shop\",pod=web} 1",
            "{namespace=\"shop\",pod=\"web\",} NaN",
            &of_pod(""),
            &of_pod(" -1"),
            &of_pod(" +Inf"),
            &of_pod(" 1 soon"),
            &of_pod(" 1 99999999999999999999"),
        ] {
            assert_eq!(sample(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "(container_cpu_usage_seconds_total)?[{}=\",\\\\ a-z0-9.\n-]{0,80}") {
            for reading in readings(&text, NOW).values() {
                let is_sum = matches!(reading.cpu, CpuUse::Total { used_s } if used_s >= 0.0);
                prop_assert!(is_sum, "{reading:?}");
            }
        }
    }
}
