//! Processor time of a process and of the programs it has run, as the kernel counts it.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Time all threads of the process `pid` that live now have been on a processor.
///
/// # Errors
/// When there is no such process, or the kernel does not tell.
pub fn used(pid: u32) -> Result<Duration> {
    let tasks = format!("/proc/{pid}/task");
    let mut used_ns = 0_u64;
    for task in std::fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))? {
        // A thread may end meanwhile.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { continue };
        used_ns += on_processor_ns(&text).with_context(|| format!("{tasks} does not tell the time"))?;
    }
    Ok(Duration::from_nanos(used_ns))
}

/// In what `/proc` counts the time of ended children: hundredths of a second, wherever Linux runs today.
const TICKS_PER_S: f64 = 100.0;

/// Time the programs that the process `pid` has started and waited for have been on a processor, with those they started in
/// turn.
///
/// # Errors
/// When there is no such process, or the kernel does not tell.
pub fn used_by_children(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let ticks = ticks_of_children(&stat).with_context(|| format!("{path} does not tell the time"))?;
    Ok(Duration::from_secs_f64(f64::from(ticks) / TICKS_PER_S))
}

/// The fields `cutime` and `cstime`. The name before them is in parentheses, and may hold any character.
fn ticks_of_children(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace().skip(13).map(|field| field.parse::<u32>().ok());
    Some(fields.next()?? + fields.next()??)
}

fn on_processor_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_children_have_used_is_counted_when_they_have_ended() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 200 0 0 11 12 13 14 20 0 1 0 5 6 7\n";
        assert_eq!(ticks_of_children(stat), Some(27));
        assert_eq!(ticks_of_children("7 (a) S 1"), None);
        let before = used_by_children(std::process::id()).unwrap();
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let mut shell = tokio::process::Command::new("sh");
        assert!(shell.args(["-c", work]).status().await.unwrap().success());
        assert!(used_by_children(std::process::id()).unwrap() > before);
    }

    #[test]
    fn the_first_number_counts_and_work_makes_it_grow() {
        assert_eq!(on_processor_ns("9205330 67014 27\n"), Some(9_205_330));
        assert_eq!(on_processor_ns(""), None);
        let before = used(std::process::id()).unwrap();
        let mut number = 1_u64;
        while used(std::process::id()).unwrap() < before + Duration::from_millis(5) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }
}
