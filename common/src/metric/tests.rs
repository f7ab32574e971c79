//! Which messages are metric events.

use super::*;

const DEPLOYMENT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn container(rest: &str) -> String {
    format!(
        r#"{{"version":1,"deployment":"{DEPLOYMENT}","kind":"container","at":"2026-11-27T12:00:00Z",
            "container":"shop-1","cpu_allowed_cores":0.5{rest}}}"#
    )
}

fn refusal(message: &str) -> String {
    MetricEvent::read(message.as_bytes()).unwrap_err().to_string()
}

#[test]
fn one_event_or_many_are_read_and_written_alike() {
    let one = container(r#","cpu_used_total_s":1.5,"ready_since":"2026-11-27T11:00:00Z""#);
    let read = MetricEvent::read(one.as_bytes()).unwrap();
    assert_eq!(read.len(), 1);
    let traffic = format!(
        r#"{{"version":1,"deployment":"{DEPLOYMENT}","kind":"traffic","at":"2026-11-27T12:00:00Z","inflight":3}}"#
    );
    let many = MetricEvent::read(format!(" [{one},\n{traffic}]").as_bytes()).unwrap();
    assert_eq!(many[0], read[0]);
    assert!(matches!(&many[1].measured, Measured::Traffic(traffic) if traffic.inflight == Some(3.0)));
    assert_eq!(MetricEvent::read(&MetricEvent::write(&many).unwrap()).unwrap(), many);
}

#[test]
fn what_is_no_event_is_refused_with_the_reason() {
    let long = "x".repeat(METRIC_NAME_MAX_BYTES + 1);
    let good = container(r#","cpu_used_total_s":1"#);
    for (message, reason) in [
        ("", "cannot be read"),
        ("nonsense", "cannot be read"),
        (&good.replace(DEPLOYMENT, "shop"), "cannot be read"),
        (&good.replace("container\"", "pod\""), "cannot be read"),
        (&good.replace("\"version\":1", "\"version\":2"), "version 2 is not known"),
        (&good.replace("shop-1", &long), "`container`"),
        (&good.replace("shop-1", ""), "`container`"),
        (&container(""), "either"),
        (&container(r#","cpu_used_cores":1"#), "either"),
        (&container(r#","cpu_used_total_s":1,"cpu_used_cores":1,"window_s":5"#), "either"),
        (&good.replace("\"at\":\"2026", "\"at\":\"abcd"), "cannot be read"),
        // JSON has no such numbers; what is written for them is no number either.
        (&container(r#","cpu_used_total_s":NaN"#), "cannot be read"),
        (&container(r#","cpu_used_total_s":null"#), "either"),
    ] {
        assert!(refusal(message).contains(reason), "{message}: {}", refusal(message));
    }
}

#[test]
fn a_message_has_limits() {
    let gone = container(r#","gone":true"#);
    let many = vec![gone.as_str(); METRIC_EVENTS_MAX].join(",");
    assert_eq!(MetricEvent::read(format!("[{many}]").as_bytes()).unwrap().len(), METRIC_EVENTS_MAX);
    assert!(refusal(&format!("[{many},{gone}]")).contains("more than 1000 events"));
    let large = format!("{gone}{}", " ".repeat(METRIC_MESSAGE_MAX_BYTES));
    assert!(refusal(&large).contains("more than 262144 bytes"));
}
