//! Readings as engines on both versions of control groups give them.

use serde_json::json;

use super::*;

/// A container limited to half a core and 512 MiB, version 1 of control groups.
fn version_1() -> ContainerStatsResponse {
    serde_json::from_value(json!({
        "read": "2026-11-27T12:00:01.123456789Z",
        "preread": "2026-11-27T12:00:00.121234567Z",
        "pids_stats": {"current": 9, "limit": 512},
        "num_procs": 0,
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": 81_250_000_000_u64,
                "percpu_usage": [40_000_000_000_u64, 41_250_000_000_u64],
                "usage_in_kernelmode": 9_870_000_000_u64,
                "usage_in_usermode": 70_120_000_000_u64,
            },
            "system_cpu_usage": 1_234_567_890_000_000_u64,
            "online_cpus": 2,
            "throttling_data": {"periods": 901, "throttled_periods": 455, "throttled_time": 21_000_000_000_u64},
        },
        "memory_stats": {
            "usage": 104_857_600,
            "max_usage": 130_023_424,
            "stats": {
                "active_anon": 61_440_000, "cache": 40_000_000, "inactive_file": 1_000_000, "rss": 61_440_000,
                "total_active_file": 9_000_000, "total_inactive_file": 31_457_280,
                "hierarchical_memory_limit": 536_870_912,
            },
            "limit": 536_870_912,
        },
        "name": "/slipway-shop-default-02098a80-1",
        "id": "c1",
    }))
    .unwrap()
}

/// The same on version 2.
fn version_2() -> ContainerStatsResponse {
    serde_json::from_value(json!({
        "read": "2026-11-27T12:00:01.5Z",
        "preread": "0001-01-01T00:00:00Z",
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": 2_500_000_000_u64,
                "usage_in_kernelmode": 500_000_000,
                "usage_in_usermode": 2_000_000_000,
            },
            "system_cpu_usage": 1_234_567_890_000_000_u64,
            "online_cpus": 4,
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        },
        "memory_stats": {
            "usage": 20_000_000,
            "stats": {"active_anon": 4096, "anon": 8_000_000, "file": 9_000_000, "inactive_file": 5_000_000},
            "limit": 8_000_000_000_u64,
        },
    }))
    .unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn version_1_of_control_groups_is_read() {
    let measure = measure(&version_1(), Some(0.5)).unwrap();
    assert_eq!(measure.cpu_used_total_s, Some(81.25));
    assert_eq!(measure.cpu_allowed_cores, 0.5);
    assert_eq!(measure.memory_used_bytes, Some(104_857_600 - 31_457_280));
    assert_eq!(measure.memory_allowed_bytes, Some(536_870_912));
}

#[test]
fn version_2_of_control_groups_is_read() {
    let measure = measure(&version_2(), None).unwrap();
    assert_eq!(measure.cpu_used_total_s, Some(2.5));
    assert_eq!(measure.cpu_allowed_cores, 4.0, "without a limit the machine is the limit");
    assert_eq!(measure.memory_used_bytes, Some(15_000_000));
}

#[test]
fn the_machine_is_counted_where_its_cores_are_not_told() {
    let mut stats = version_1();
    if let Some(cpu) = stats.cpu_stats.as_mut() {
        cpu.online_cpus = None;
    }
    assert_eq!(measure(&stats, None).unwrap().cpu_allowed_cores, 2.0);
    let mut stats = version_2();
    if let Some(cpu) = stats.cpu_stats.as_mut() {
        cpu.online_cpus = Some(0);
    }
    assert_eq!(measure(&stats, None), None);
}

#[test]
fn a_container_that_does_not_run_has_no_measurement() {
    let stopped: ContainerStatsResponse = serde_json::from_value(json!({
        "read": "0001-01-01T00:00:00Z",
        "cpu_stats": {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}},
        "memory_stats": {},
    }))
    .unwrap();
    assert_eq!(measure(&stopped, Some(0.5)), None);
    assert_eq!(measure(&ContainerStatsResponse::default(), Some(0.5)), None);
}

#[test]
fn the_time_of_the_engine_counts_unless_its_clock_is_off() {
    let stats = version_2();
    let read = at("2026-11-27T12:00:01.5Z");
    for now in ["2026-11-27T12:00:01.6Z", "2026-11-27T12:00:09Z", "2026-11-27T12:00:00Z"] {
        assert_eq!(read_at(&stats, at(now)), read, "{now}");
    }
    for now in ["2026-11-27T12:00:12Z", "2026-11-27T11:59:59Z", "2026-11-27T15:00:00Z"] {
        assert_eq!(read_at(&stats, at(now)), at(now));
    }
    let now = at("2026-11-27T12:00:00Z");
    let strange = ContainerStatsResponse { read: Some("soon".to_owned()), ..version_2() };
    assert_eq!(read_at(&strange, now), now);
}

#[test]
fn limits_are_read_from_cores_or_from_a_quota() {
    let host = |nano_cpus, cpu_quota, cpu_period| HostConfig {
        nano_cpus,
        cpu_quota,
        cpu_period,
        ..HostConfig::default()
    };
    assert_eq!(limit_cores(&host(Some(250_000_000), Some(0), Some(0))), Some(0.25));
    assert_eq!(limit_cores(&host(Some(0), Some(150_000), Some(50_000))), Some(3.0));
    assert_eq!(limit_cores(&host(None, Some(150_000), Some(0))), Some(1.5));
    assert_eq!(limit_cores(&host(Some(0), Some(-1), Some(0))), None);
    assert_eq!(limit_cores(&HostConfig::default()), None);
}
