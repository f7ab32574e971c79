//! From what a person types to a deployment's id: a whole id, or a part of one that only one deployment has.

use slipway_common::model::DeploymentId;

use super::CommandError;
use crate::client::Client;
use crate::client::types::DeploymentsPage;

/// Fewest characters of a part.
pub(super) const PART_MIN_CHARS: usize = 6;
/// Most pages of deployments that are looked through.
const PAGES_MAX: usize = 10;

/// Finds the deployment.
///
/// # Errors
/// When no deployment, or more than one, has `text` in its id, or the server cannot be asked.
pub(super) async fn deployment(client: &Client, text: &str) -> Result<String, CommandError> {
    if let Ok(id) = text.parse::<DeploymentId>() {
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
        let page: DeploymentsPage = client.get(&["deployments"], &query).await?;
        ids.extend(page.data.into_iter().map(|deployment| deployment.id));
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    only_one(part, ids)
}

fn only_one(part: String, ids: Vec<String>) -> Result<String, CommandError> {
    let mut found = ids.into_iter().filter(|id| id.contains(&part));
    match (found.next(), found.next()) {
        (None, _) => Err(CommandError::UnknownId { part }),
        (Some(id), None) => Ok(id),
        (Some(first), Some(second)) => Err(CommandError::AmbiguousId { part, first, second }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_must_belong_to_one_id() {
        let ids = || vec!["aaaa-111111".to_owned(), "aaaa-222222".to_owned()];
        assert_eq!(only_one("222222".to_owned(), ids()).unwrap(), "aaaa-222222");
        assert!(matches!(only_one("333333".to_owned(), ids()), Err(CommandError::UnknownId { .. })));
        assert!(matches!(only_one("aaaa-".to_owned(), ids()), Err(CommandError::AmbiguousId { .. })));
    }
}
