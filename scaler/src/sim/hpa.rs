//! The rules of Kubernetes' HorizontalPodAutoscaler v2 for a CPU utilisation target, as its controller states them
//! (`replica_calculator.go` and `horizontal.go` of 1.33 and later; the numbers are those of the study's list). Written
//! from the rules, not run in kube-controller-manager.

use std::collections::VecDeque;

use crate::number::{ceil_count, from_len, from_u64, to_count};

#[cfg(test)]
mod tests;

/// One rate limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePolicy {
    /// So many pods, or percent.
    pub amount: RateAmount,
    /// In so many seconds.
    pub period_s: f64,
}

/// What a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateAmount {
    /// Pods.
    Pods(u32),
    /// Percent of the pods at the start of the period.
    Percent(f64),
}

/// Settings of one HPA; the default is Kubernetes'.
#[derive(Debug, Clone, PartialEq)]
pub struct HpaSettings {
    /// Target utilisation, in percent.
    pub target_percent: f64,
    /// Tolerance upwards, as a share.
    pub tolerance_up: f64,
    /// Tolerance downwards, as a share.
    pub tolerance_down: f64,
    /// Stabilization window upwards, in seconds.
    pub stabilization_up_s: f64,
    /// Stabilization window downwards, in seconds.
    pub stabilization_down_s: f64,
    /// Rate limits upwards; the one that allows most counts.
    pub policies_up: Vec<RatePolicy>,
    /// Rate limits downwards; the one that allows most counts.
    pub policies_down: Vec<RatePolicy>,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`, in seconds.
    pub cpu_initialization_s: f64,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`, in seconds.
    pub initial_readiness_delay_s: f64,
    /// `minReplicas`.
    pub replicas_min: u32,
    /// `maxReplicas`.
    pub replicas_max: u32,
}

impl Default for HpaSettings {
    fn default() -> Self {
        let of = |amount| RatePolicy { amount, period_s: 15.0 };
        Self {
            target_percent: 60.0,
            tolerance_up: 0.1,
            tolerance_down: 0.1,
            stabilization_up_s: 0.0,
            stabilization_down_s: 300.0,
            policies_up: vec![of(RateAmount::Percent(100.0)), of(RateAmount::Pods(4))],
            policies_down: vec![of(RateAmount::Percent(100.0))],
            cpu_initialization_s: 300.0,
            initial_readiness_delay_s: 30.0,
            replicas_min: 1,
            replicas_max: 200,
        }
    }
}

/// A pod as the controller sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HpaPod {
    /// Deleted or failed: dropped.
    pub gone: bool,
    /// Phase Pending.
    pub pending: bool,
    /// The Ready condition and when it last changed, in seconds; nothing when it is absent.
    pub ready: Option<(bool, f64)>,
    /// `startTime`, in seconds.
    pub started_s: Option<f64>,
    /// The metric, if there is one.
    pub metric: Option<HpaMetric>,
    /// CPU request, in milli-cores.
    pub request_milli: u64,
}

/// A pod's metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HpaMetric {
    /// In milli-cores.
    pub usage_milli: u64,
    /// End of the window, in seconds.
    pub at_s: f64,
    /// Length of the window, in seconds.
    pub window_s: f64,
}

/// One HPA.
#[derive(Debug, Clone)]
pub struct Hpa {
    settings: HpaSettings,
    recommendations: VecDeque<(f64, u32)>,
    up_events: VecDeque<(f64, u32)>,
    down_events: VecDeque<(f64, u32)>,
}

/// How pods were grouped (rules 3 and 4).
#[derive(Debug, Default)]
struct Groups {
    ready: u32,
    /// Usage and request of those that count.
    metrics: Vec<(u64, u64)>,
    missing_requests: Vec<u64>,
    unready_requests: Vec<u64>,
}

impl Hpa {
    /// An HPA without a past.
    #[must_use]
    pub fn new(settings: HpaSettings) -> Self {
        Self {
            settings,
            recommendations: VecDeque::new(),
            up_events: VecDeque::new(),
            down_events: VecDeque::new(),
        }
    }

    /// One sync: the count it writes.
    pub fn sync(&mut self, now_s: f64, current: u32, pods: &[HpaPod]) -> u32 {
        let s = &self.settings;
        if current == 0 && s.replicas_min != 0 {
            return 0;
        }
        let desired = if current > s.replicas_max {
            s.replicas_max
        } else if current < s.replicas_min {
            s.replicas_min
        } else {
            let Some(proposal) = self.proposal(now_s, current, pods) else { return current };
            let stabilized = self.stabilize(now_s, current, proposal);
            self.limit_rate(now_s, current, stabilized)
                .clamp(self.settings.replicas_min, self.settings.replicas_max)
        };
        self.note(now_s, current, desired);
        desired
    }

    /// Rules 3 to 8; nothing when there is no usable metric.
    fn proposal(&self, now_s: f64, current: u32, pods: &[HpaPod]) -> Option<u32> {
        let groups = self.group(now_s, pods);
        let ratio = self.ratio(&groups.metrics)?;
        let up_with_unready = !groups.unready_requests.is_empty() && ratio > 1.0;
        if !up_with_unready && groups.missing_requests.is_empty() {
            if self.within_tolerance(ratio) {
                return Some(current);
            }
            return Some(ceil_count(ratio * f64::from(groups.ready)));
        }
        let mut metrics = groups.metrics;
        for request in groups.missing_requests {
            let full = self.settings.target_percent.max(100.0) / 100.0;
            let assumed = if ratio < 1.0 { from_u64(request) * full } else { 0.0 };
            metrics.push((crate::number::to_u64(assumed), request));
        }
        if up_with_unready {
            metrics.extend(groups.unready_requests.into_iter().map(|request| (0, request)));
        }
        let again = self.ratio(&metrics)?;
        let flipped = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
        if self.within_tolerance(again) || flipped {
            return Some(current);
        }
        let count = ceil_count(again * from_len(metrics.len()));
        let contrary = (again < 1.0 && count > current) || (again > 1.0 && count < current);
        Some(if contrary { current } else { count })
    }

    fn group(&self, now_s: f64, pods: &[HpaPod]) -> Groups {
        let mut groups = Groups::default();
        for pod in pods.iter().filter(|pod| !pod.gone) {
            match pod.metric {
                _ if pod.pending => groups.unready_requests.push(pod.request_milli),
                None => groups.missing_requests.push(pod.request_milli),
                Some(metric) if self.unready(now_s, pod, &metric) => {
                    groups.unready_requests.push(pod.request_milli);
                }
                Some(metric) => {
                    groups.ready += 1;
                    groups.metrics.push((metric.usage_milli, pod.request_milli));
                }
            }
        }
        groups
    }

    fn unready(&self, now_s: f64, pod: &HpaPod, metric: &HpaMetric) -> bool {
        let (Some((ready, changed_s)), Some(started_s)) = (pod.ready, pod.started_s) else { return true };
        if now_s < started_s + self.settings.cpu_initialization_s {
            !ready || metric.at_s < changed_s + metric.window_s
        } else {
            !ready && changed_s < started_s + self.settings.initial_readiness_delay_s
        }
    }

    /// Rule 5: whole percents of summed use over summed requests, over the target.
    fn ratio(&self, metrics: &[(u64, u64)]) -> Option<f64> {
        let usage: u64 = metrics.iter().map(|(usage, _)| usage).sum();
        let request: u64 = metrics.iter().map(|(_, request)| request).sum();
        let percent = (usage * 100).checked_div(request)?;
        Some(from_u64(percent) / self.settings.target_percent)
    }

    fn within_tolerance(&self, ratio: f64) -> bool {
        (1.0 - self.settings.tolerance_down..=1.0 + self.settings.tolerance_up).contains(&ratio)
    }

    /// Rule 10.
    fn stabilize(&mut self, now_s: f64, current: u32, proposal: u32) -> u32 {
        let window_s = if proposal >= current {
            self.settings.stabilization_up_s
        } else {
            self.settings.stabilization_down_s
        };
        let young = self.recommendations.iter().filter(|(at_s, _)| now_s - at_s < window_s);
        let stabilized =
            young.fold(
                proposal,
                |so_far, (_, past)| {
                    if proposal >= current { so_far.min(*past) } else { so_far.max(*past) }
                },
            );
        // A minimum over the past never turns growth into its opposite.
        let stabilized = if proposal >= current { stabilized.max(current.min(proposal)) } else { stabilized };
        let keep_s = self.settings.stabilization_up_s.max(self.settings.stabilization_down_s);
        while self.recommendations.front().is_some_and(|(at_s, _)| now_s - at_s >= keep_s) {
            self.recommendations.pop_front();
        }
        self.recommendations.push_back((now_s, proposal));
        stabilized
    }

    /// Rule 11.
    fn limit_rate(&self, now_s: f64, current: u32, wanted: u32) -> u32 {
        let start_of = |period_s: f64| {
            let sum = |events: &VecDeque<(f64, u32)>| -> u32 {
                events.iter().filter(|(at_s, _)| now_s - at_s < period_s).map(|(_, n)| n).sum()
            };
            (current + sum(&self.down_events)).saturating_sub(sum(&self.up_events))
        };
        if wanted > current {
            let most = self.settings.policies_up.iter().map(|policy| {
                let start = start_of(policy.period_s);
                match policy.amount {
                    RateAmount::Pods(pods) => start + pods,
                    RateAmount::Percent(percent) => ceil_count(f64::from(start) * (1.0 + percent / 100.0)),
                }
            });
            wanted.min(most.max().unwrap_or(wanted).max(current))
        } else {
            let least = self.settings.policies_down.iter().map(|policy| {
                let start = start_of(policy.period_s);
                match policy.amount {
                    RateAmount::Pods(pods) => start.saturating_sub(pods),
                    RateAmount::Percent(percent) => to_count(f64::from(start) * (1.0 - percent / 100.0)),
                }
            });
            wanted.max(least.min().unwrap_or(wanted).min(current))
        }
    }

    fn note(&mut self, now_s: f64, current: u32, desired: u32) {
        let periods = self.settings.policies_up.iter().chain(&self.settings.policies_down);
        let keep_s = periods.map(|policy| policy.period_s).fold(0.0, f64::max);
        for events in [&mut self.up_events, &mut self.down_events] {
            while events.front().is_some_and(|(at_s, _)| now_s - at_s >= keep_s) {
                events.pop_front();
            }
        }
        if desired > current {
            self.up_events.push_back((now_s, desired - current));
        } else if desired < current {
            self.down_events.push_back((now_s, current - desired));
        }
    }
}
