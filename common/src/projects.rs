//! The seam `Projects`: registered projects, and where their refs stood.
//!
//! Both are projections of the ledger: [`Record::ProjectStored`] and
//! [`Record::ProjectDeleted`];
//! [`Record::HeadsSeen`], and the acceptance of a job that has a
//! [`Trigger`](crate::model::Trigger).
//!
//! Laws (tested for every adapter by `contract::projects`):
//! - P1: a project is what was recorded last under its slug; a deleted one is gone, and so are its heads.
//! - P2: pages are in the order of slugs, without repeating or skipping, and the count is the true one.
//! - P3: every registered project's hook is found, by its id and in the list; one that is no more is not.
//! - P4: the head of an environment and a ref is what was seen or accepted last; a head that is gone is gone. Heads of
//!   what is not registered are not kept.
//! - P5: a replay of the ledger into an empty store gives the same projects and heads.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::model::registered::{Head, HookEntry, RegisteredProject};
use crate::model::{HookId, JobKind, JobMessage, ProjectSlug};
use crate::record::Record;
use crate::store::StoreError;

/// Most projects of one page.
pub const PROJECTS_PAGE_MAX: usize = 100;

/// Registered projects.
#[async_trait]
pub trait Projects: Send + Sync + std::fmt::Debug {
    /// One project.
    async fn project(&self, slug: &ProjectSlug) -> Result<Option<RegisteredProject>, StoreError>;

    /// At most `limit` (and [`PROJECTS_PAGE_MAX`]) projects whose slug comes after `after`, in order.
    async fn page(
        &self,
        after: Option<&ProjectSlug>,
        limit: usize,
    ) -> Result<Vec<RegisteredProject>, StoreError>;

    /// How many there are.
    async fn count(&self) -> Result<u64, StoreError>;

    /// One hook.
    async fn hook(&self, id: HookId) -> Result<Option<HookEntry>, StoreError>;

    /// All hooks.
    async fn hooks(&self) -> Result<Vec<HookEntry>, StoreError>;

    /// Where the refs of a project stood, by environment and ref.
    async fn heads(&self, slug: &ProjectSlug) -> Result<Vec<Head>, StoreError>;
}

/// Where the acceptance of a job says that a ref stands: only a deploy job that a push made says so.
pub(crate) fn head_of(message: &JobMessage) -> Option<Head> {
    let trigger = message.trigger.as_ref()?;
    match &message.kind {
        JobKind::Deploy { .. } => Some(Head {
            environment: message.environment.clone(),
            reference: trigger.reference.clone(),
            revision: trigger.revision.clone(),
            deployment: Some(message.deployment),
        }),
        JobKind::Repair { .. } | JobKind::Stop { .. } => None,
    }
}

/// The project that is to be looked at because of a record, and from when on.
pub(crate) fn due_by(record: &Record) -> Option<(&ProjectSlug, Timestamp)> {
    match record {
        Record::ProjectStored(project) => Some((&project.project.slug, project.updated_at)),
        Record::DeliveryReceived(delivery) => {
            delivery.kind.concerns_refs().then_some((&delivery.project, delivery.at))
        }
        Record::Event(_)
        | Record::CredentialStored(_)
        | Record::CredentialDeleted { .. }
        | Record::TokenCreated(_)
        | Record::TokenRevoked { .. }
        | Record::AutoscalerStored(_)
        | Record::AutoscalerDeleted { .. }
        | Record::ReplicasWished(_)
        | Record::ProjectDeleted { .. }
        | Record::HeadsSeen { .. }
        | Record::JobBuried(_)
        | Record::JobUnburied { .. } => None,
    }
}
