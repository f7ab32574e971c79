//! What the installation has to say in `/readyz` and `/metrics`, and the rebuilding of its store.

use async_trait::async_trait;
use slipway_api::{Ailment, Companion, Maintenance};
use slipway_common::distributed::{Distributed, Figure};
use slipway_common::store::StoreError;

/// The part without which no question can be answered.
const STORE: &str = "store";

/// This process's part in its installation.
#[derive(Debug)]
pub(crate) struct OfTheInstallation(pub(crate) Distributed);

#[async_trait]
impl Companion for OfTheInstallation {
    async fn ailments(&self) -> Vec<Ailment> {
        let missing = self.0.readiness().await;
        let ailment = |(part, reason): (&str, String)| Ailment {
            part: part.to_owned(),
            reason,
            hinders_reads: part == STORE,
        };
        missing.into_iter().map(ailment).collect()
    }

    fn metrics(&self) -> String {
        written(&self.0.figures())
    }
}

#[async_trait]
impl Maintenance for OfTheInstallation {
    async fn rebuild_store(&self) -> Result<Option<u64>, StoreError> {
        self.0.rebuild_store().await.map(|()| None)
    }
}

/// The figures in the OpenMetrics text format, without its end.
fn written(figures: &[Figure]) -> String {
    let mut text = String::new();
    for Figure { name, help, value, is_counter } in figures {
        // A counter is described by its name and told by its total.
        let name = name.strip_suffix("_total").unwrap_or(name);
        let (kind, suffix) = if *is_counter { ("counter", "_total") } else { ("gauge", "") };
        text += &format!(
            "# HELP slipway_{name} {help}\n# TYPE slipway_{name} {kind}\nslipway_{name}{suffix} {value}\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_what_they_are() {
        let figure = |name, is_counter| Figure { name, help: "What it is.", value: 7, is_counter };
        assert_eq!(
            written(&[figure("broker_reconnects_total", true), figure("queue_held", false)]),
            "# HELP slipway_broker_reconnects What it is.\n# TYPE slipway_broker_reconnects counter\n\
             slipway_broker_reconnects_total 7\n# HELP slipway_queue_held What it is.\n\
             # TYPE slipway_queue_held gauge\nslipway_queue_held 7\n"
        );
    }
}
