//! With how many replicas a deployment is put on its target: with as many as the autoscaler of its place has ordered, where
//! there is one.

use slipway_common::autoscaler::Autoscalers;
use slipway_common::model::autoscaler::Place;

use super::super::StageError;

/// With how many replicas a deployment runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// The number.
    pub(crate) replicas: u32,
    /// Whether an autoscaler sets it. A target that keeps the number itself then keeps its own.
    pub(crate) is_scaled: bool,
}

impl Size {
    /// The number on a target that runs at most `most`. An autoscaler's is cut off there; what was asked for by a person
    /// is refused by the target, so that they learn of it.
    pub(crate) fn at_most(self, most: u32) -> u32 {
        if self.is_scaled { self.replicas.min(most) } else { self.replicas }
    }
}

/// What is known of an autoscaler.
#[derive(Debug, Clone, Copy)]
struct Scaling {
    replicas_min: u32,
    replicas_max: u32,
    /// What it ordered last, for whichever deployment of its place; nothing when it has not said anything yet.
    ordered: Option<u32>,
}

/// How many replicas run of a deployment in this place for which `asked` were asked. Without an answer of the store nothing
/// is decided: a guess would take away what the load needs.
pub(crate) async fn size(
    autoscalers: &dyn Autoscalers,
    place: &Place,
    asked: u32,
) -> Result<Size, StageError> {
    let Some(entry) = autoscalers.autoscaler(place).await.map_err(StageError::Store)? else {
        return Ok(decide(asked, None));
    };
    let state = autoscalers.state(place).await.map_err(StageError::Store)?;
    let (min, max) = entry.autoscaler.settings.replicas();
    let ordered = state.map(|state| state.replicas);
    Ok(decide(asked, Some(Scaling { replicas_min: min.get(), replicas_max: max.get(), ordered })))
}

/// Pure. None are asked for to stop an application, and an autoscaler starts none that was stopped.
fn decide(asked: u32, scaling: Option<Scaling>) -> Size {
    match scaling {
        Some(scaling) if asked > 0 => {
            let ordered = scaling.ordered.filter(|ordered| *ordered > 0).unwrap_or(asked);
            let replicas = ordered.max(scaling.replicas_min).min(scaling.replicas_max);
            Size { replicas, is_scaled: true }
        }
        Some(_) | None => Size { replicas: asked, is_scaled: false },
    }
}

#[cfg(test)]
mod tests;
