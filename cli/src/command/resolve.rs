//! From what a person types to an id: a whole id, or a part of one that only one deployment or dead job has.

use std::fmt;

use uuid::Uuid;

use super::CommandError;
use crate::client::Client;
use crate::client::types::IdsPage;

/// Fewest characters of a part.
pub(super) const PART_MIN_CHARS: usize = 6;
/// Most pages that are looked through.
const PAGES_MAX: usize = 10;

/// What an id may be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A deployment.
    Deployment,
    /// A job that was set aside.
    DeadJob,
}

impl What {
    fn path(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::DeadJob => "dead",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deployment => "deployment",
            Self::DeadJob => "dead job",
        })
    }
}

/// Finds the deployment.
///
/// # Errors
/// When no deployment, or more than one, has `text` in its id, or the server cannot be asked.
pub(super) async fn deployment(client: &Client, text: &str) -> Result<String, CommandError> {
    find(client, What::Deployment, text).await
}

/// Finds the job that was set aside.
///
/// # Errors
/// When no such job, or more than one, has `text` in its id, or the server cannot be asked.
pub(super) async fn dead_job(client: &Client, text: &str) -> Result<String, CommandError> {
    find(client, What::DeadJob, text).await
}

async fn find(client: &Client, what: What, text: &str) -> Result<String, CommandError> {
    if let Ok(id) = text.parse::<Uuid>() {
        return Ok(id.to_string());
    }
    let part = text.to_ascii_lowercase();
    if part.chars().count() < PART_MIN_CHARS {
        return Err(CommandError::ShortId { part });
    }
    let mut ids = Vec::new();
    let mut cursor = None;
    for _ in 0..PAGES_MAX {
        let mut query = vec![("limit", "100".to_owned())];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: IdsPage = client.get(&[what.path()], &query).await?;
        ids.extend(page.data.into_iter().map(|found| found.id));
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    only_one(what, part, ids)
}

fn only_one(what: What, part: String, ids: Vec<String>) -> Result<String, CommandError> {
    let mut found = ids.into_iter().filter(|id| id.contains(&part));
    match (found.next(), found.next()) {
        (None, _) => Err(CommandError::UnknownId { what, part }),
        (Some(id), None) => Ok(id),
        (Some(first), Some(second)) => Err(CommandError::AmbiguousId { what, part, first, second }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_must_belong_to_one_id() {
        let ids = || vec!["aaaa-111111".to_owned(), "aaaa-222222".to_owned()];
        assert_eq!(only_one(What::Deployment, "222222".to_owned(), ids()).unwrap(), "aaaa-222222");
        assert!(matches!(
            only_one(What::Deployment, "333333".to_owned(), ids()),
            Err(CommandError::UnknownId { .. })
        ));
        assert!(matches!(
            only_one(What::Deployment, "aaaa-".to_owned(), ids()),
            Err(CommandError::AmbiguousId { .. })
        ));
    }
}
