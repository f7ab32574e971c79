//! What an autoscaler decides, why, and the terms that explain it.

use serde::{Deserialize, Serialize};

use super::clamp::Clamps;
use super::evidence::Silence;

/// Why the replica count stays.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    /// It is what is wanted.
    OnTarget,
    /// The wish differs by less than the dead band.
    DeadBand,
    /// A higher demand is still remembered, or the margin for fewer replicas is too small.
    HoldingDown,
    /// Fewer are wanted, but they were taken away fast enough for now.
    DownRate,
    /// The last change is too recent.
    MinInterval,
    /// The changes of this hour are used up.
    ActionBudget,
    /// The CPU stands at its ceiling and what was ordered is not all there yet.
    AwaitingReplicas,
    /// Already at the limit.
    AtLimit,
    /// Somebody else set the count; it is taken over, and looked at again in a moment.
    Adopted {
        /// What was expected.
        expected: u32,
        /// What is there.
        found: u32,
    },
    /// What was ordered has not been taken up by the target yet.
    AwaitingTarget,
    /// The metrics say nothing usable.
    Silence {
        /// Why.
        silence: Silence,
    },
    /// The evidence is the one of the last decision, or older.
    NothingNew,
    /// Sooner than the interval allows.
    NotDue,
    /// The clock did not move forward, or is no number.
    Clock,
    /// The target runs no replica: somebody stopped it, and starting it is not the autoscaler's business.
    Stopped,
}

/// What a decision says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Decision {
    /// Leave the count.
    Hold(Reason),
    /// Change the count.
    Scale {
        /// From so many.
        from: u32,
        /// To so many.
        to: u32,
        /// How that came about.
        terms: Terms,
    },
}

impl Decision {
    /// The count this decision orders, if it changes it.
    #[must_use]
    pub fn to(&self) -> Option<u32> {
        match self {
            Self::Hold(_) => None,
            Self::Scale { to, .. } => Some(*to),
        }
    }
}

/// The parts of one command. Everything that is added is a natural logarithm of a replica count or of a ratio:
/// `ln_command = ln_replicas + proportional + integral + derivative + season + bump`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Terms {
    /// Mean CPU use of the replicas that count, as a share of what each may use.
    pub utilisation: f64,
    /// The set point, a share.
    pub cpu_target: f64,
    /// Demand as measured, in replicas working flat out.
    pub demand_replicas: f64,
    /// Demand after the filter, in replicas working flat out.
    pub level_replicas: f64,
    /// Growth of the demand, relative, per second.
    pub slope_per_s: f64,
    /// Noise of one measurement, relative (standard deviation).
    pub noise: f64,
    /// Smallest relative change that is acted on.
    pub dead_band: f64,
    /// How far ahead a rise is carried, in seconds.
    pub lead_s: f64,
    /// Learned time from an order to its last replica serving, in seconds.
    pub startup_s: f64,
    /// Logarithm of the replicas the command starts from.
    pub ln_replicas: f64,
    /// Proportional term.
    pub proportional: f64,
    /// Integral term; while the CPU stands at its ceiling, the boost.
    pub integral: f64,
    /// Derivative term.
    pub derivative: f64,
    /// What is ordered ahead because the load repeats itself; in place of the derivative term.
    #[serde(default)]
    pub season: f64,
    /// The period the load repeats itself with while that is relied on, in seconds; else 0.
    #[serde(default)]
    pub period_s: f64,
    /// What is left of a change of constants.
    pub bump: f64,
    /// Replicas commanded, before the limits; of the law `kabernetes` the change it wants.
    pub command_replicas: f64,
    /// What earlier commands still count for, in replicas.
    pub held_replicas: f64,
    /// Over how long earlier commands are forgotten, as learned, in seconds.
    pub hold_s: f64,
    /// Whether reported arrivals stood in for measured CPU.
    pub feed_forward: bool,
    /// Round of growth at the ceiling; 0 when the CPU can be measured.
    pub blind_round: u32,
    /// Which limits took part.
    #[schema(value_type = Vec<String>)]
    pub clamps: Clamps,
}
