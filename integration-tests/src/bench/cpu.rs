//! Processor time of a process, as the scheduler counts it.

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

fn on_processor_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
