//! S8: a log is its lines in order, cut at its limit.

use jiff::Timestamp;

use super::{Fixture, accepted};
use crate::model::Stage;
use crate::store::LogLine;
use crate::store::log::LOG_CUT_MARKER;

const AMPLE_BYTES: u64 = 1_000_000;

fn line(text: &str) -> LogLine {
    LogLine::new(Timestamp::now(), text)
}

/// S8: lines are read back in order with their numbers, in pages, from the end, across a restart.
pub async fn s8_a_log_is_its_lines_in_order(fixture: &dyn Fixture) {
    let backend = fixture.backend().await;
    let id = accepted(fixture, &backend, "shop").await.deployment;
    let lines: Vec<LogLine> = (1..=700).map(|number| line(&format!("line {number} ü\u{1b}[0m"))).collect();
    for batch in lines.chunks(90) {
        backend.store.append_log(id, Stage::Build, batch, AMPLE_BYTES).await.expect("the store takes lines");
    }
    backend.store.append_log(id, Stage::Clone, &[line("other")], AMPLE_BYTES).await.expect("taken");
    backend.store.append_log(id, Stage::Build, &[], AMPLE_BYTES).await.expect("nothing is fine");
    let store = fixture.restart().await.store;
    let (mut read, mut after) = (Vec::new(), 0);
    loop {
        let page = store.read_log(id, Stage::Build, after, 64).await.expect("the store answers");
        assert!(page.lines.len() <= 64, "no more than asked for");
        let Some((last, _)) = page.lines.last() else { panic!("`more` promised lines after {after}") };
        after = *last;
        read.extend(page.lines);
        if !page.more {
            break;
        }
    }
    let expected: Vec<(u64, LogLine)> = (1..).zip(lines.clone()).collect();
    assert_eq!(read, expected);
    let end = store.read_log(id, Stage::Build, 700, 64).await.expect("the store answers");
    assert!(end.lines.is_empty() && !end.more);
    let tail = store.log_tail(id, Stage::Build, 5).await.expect("the store answers");
    assert_eq!(tail, lines[695..]);
    assert_eq!(store.log_tail(id, Stage::Clone, 5).await.expect("the store answers").len(), 1);
    assert!(store.log_tail(id, Stage::Apply, 5).await.expect("the store answers").is_empty());
}

/// S8: what exceeds the limit is replaced by the marker, once, and later lines are not kept.
pub async fn s8_a_full_log_is_cut_with_one_marker(fixture: &dyn Fixture) {
    const LIMIT_BYTES: u64 = 1_000;
    let backend = fixture.backend().await;
    let id = accepted(fixture, &backend, "shop").await.deployment;
    let text = "x".repeat(90);
    for _ in 0..5 {
        let lines = vec![line(&text); 4];
        backend.store.append_log(id, Stage::Build, &lines, LIMIT_BYTES).await.expect("the store takes lines");
    }
    let page = backend.store.read_log(id, Stage::Build, 0, 1_000).await.expect("the store answers");
    let markers = page.lines.iter().filter(|(_, line)| line.text == LOG_CUT_MARKER).count();
    assert_eq!(markers, 1, "one marker");
    assert_eq!(page.lines.last().map(|(_, line)| line.text.as_str()), Some(LOG_CUT_MARKER), "at the end");
    let kept: usize =
        page.lines.iter().map(|(_, line)| line.text.len()).sum::<usize>() - LOG_CUT_MARKER.len();
    assert!((500..=1_000).contains(&kept), "{kept} bytes were kept of a limit of {LIMIT_BYTES}");
}
