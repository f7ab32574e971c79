//! What else lives in the process of `slipway up`, as the API shows it: the gateway and the scaler.

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use slipway_api::{Ailment, Companion};

use super::front_door::FrontDoor;

/// A reader of metrics in the text form of Prometheus.
type Reader = Box<dyn Fn() -> String + Send + Sync>;

/// What is beside the API. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Inside {
    front_door: FrontDoor,
    scaler: Arc<OnceLock<Reader>>,
}

impl fmt::Debug for Inside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inside").field("front_door", &self.front_door).finish_non_exhaustive()
    }
}

impl Inside {
    /// The gateway's part.
    pub(crate) fn front_door(&self) -> FrontDoor {
        self.front_door.clone()
    }

    /// Shows the scaler's metrics from now on.
    pub(crate) fn show_scaler(&self, reader: impl Fn() -> String + Send + Sync + 'static) {
        self.scaler.get_or_init(|| Box::new(reader));
    }
}

#[async_trait]
impl Companion for Inside {
    async fn ailments(&self) -> Vec<Ailment> {
        self.front_door.ailments().await
    }

    fn metrics(&self) -> String {
        let scaler = self.scaler.get().map(|read| open_metrics(&read())).unwrap_or_default();
        self.front_door.metrics() + &scaler
    }
}

/// The same in the form of OpenMetrics, in which a family of counters is called without `_total`. Pure.
fn open_metrics(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(about) => format!("# {}\n", about.replacen("_total ", " ", 1)),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_counters_lose_their_suffix_and_samples_keep_it() {
        let text =
            "# HELP a_total Things.\n# TYPE a_total counter\na_total 3\n# TYPE b gauge\nb{x=\"_total \"} 1\n";
        let expected = "# HELP a Things.\n# TYPE a counter\na_total 3\n# TYPE b gauge\nb{x=\"_total \"} 1\n";
        assert_eq!(open_metrics(text), expected);
    }

    #[test]
    fn the_scaler_is_shown_once_it_runs() {
        let inside = Inside::default();
        assert_eq!(inside.metrics(), "");
        inside.clone().show_scaler(|| "slipway_scaler_shards 1".to_owned());
        assert_eq!(inside.metrics(), "slipway_scaler_shards 1\n");
    }
}
