//! The Kubernetes target: putting a deployment on a cluster, watching it come up, observing, pruning and stopping it.
//!
//! Every object carries Slipway's labels and one field manager; an inventory in the namespace says which objects belong to
//! the deployment there. What is neither labelled nor in the inventory is never touched.

mod address;
pub mod apply;
pub mod cluster;
pub mod drift;
pub mod error;
mod events;
pub mod health;
pub mod inventory;
pub mod kind;
mod observe;
pub(crate) mod pods;
pub mod render;
pub mod settings;
pub mod state;
pub mod wanted;
pub mod watch;

pub use apply::{Applied, Place, Progress, advance, put, stop};
pub use cluster::Cluster;
pub use error::KubernetesError;
pub use observe::{Judged, Looked, live_state, owner};
pub use settings::{ClusterSettings, Expose, PodSecurity, Tls};
pub use slipway_cluster::{Access, labels, names};
pub use wanted::{PullCredential, Support, Variables, Wanted};
pub use watch::{Interest, Watch};
