//! How much memory a process has, as the kernel counts it.

use anyhow::Context as _;

/// Memory of one process in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident now (`VmRSS`).
    pub resident_kib: u32,
    /// Most that was ever resident (`VmHWM`).
    pub peak_kib: u32,
}

impl Memory {
    /// Of the process `pid`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Self::parse(&status).with_context(|| format!("{path} does not tell the memory"))
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        Some(Self { resident_kib: field("VmRSS:")?, peak_kib: field("VmHWM:")? })
    }
}

/// MiB of so many KiB.
#[must_use]
pub fn mib(kib: u32) -> f64 {
    f64::from(kib) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_form_is_understood() {
        let status = "Name:\tslipway\nVmHWM:\t   24576 kB\nVmRSS:\t    2048 kB\nThreads:\t7\n";
        assert_eq!(Memory::parse(status), Some(Memory { resident_kib: 2048, peak_kib: 24576 }));
        assert_eq!(Memory::parse("Name:\tkthreadd\n"), None);
    }
}
