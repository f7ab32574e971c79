//! Reads of the projection: single deployments, jobs and events, lists and counts.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};
use uuid::Uuid;

use super::codec::{Key, from_json, key, signed, unsigned};
use super::fault::Fault;
use crate::model::{Deployment, DeploymentId, DeploymentState, Event, Job, JobId};
use crate::store::filter::PAGE_LIMIT_MAX;
use crate::store::{Cursor, DeploymentFilter, DeploymentPage, Page};

/// Most events of one read, whatever was asked for.
const EVENTS_MAX: usize = 1_000;

pub(super) fn deployment(connection: &Connection, id: DeploymentId) -> Result<Option<Deployment>, Fault> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM deployments WHERE id = ?1")?
        .query_row([key(id.as_uuid())], |row| row.get(0))
        .optional()?;
    body.map(|body| from_json("deployment", &body)).transpose()
}

pub(super) fn job(connection: &Connection, id: JobId) -> Result<Option<Job>, Fault> {
    let found: Option<Key> = connection
        .prepare_cached("SELECT deployment FROM jobs WHERE job = ?1")?
        .query_row([key(id.as_uuid())], |row| row.get(0))
        .optional()?;
    let Some(found) = found else { return Ok(None) };
    let deployment = deployment(connection, id_of(found))?;
    Ok(deployment.and_then(|deployment| deployment.job(id).cloned()))
}

/// The deployment of a place that was accepted last.
pub(super) fn newest(
    connection: &Connection,
    project: &str,
    environment: &str,
) -> Result<Option<DeploymentId>, Fault> {
    let id: Option<Key> = connection
        .prepare_cached(
            "SELECT id FROM deployments WHERE project_slug = ?1 AND environment = ?2
             ORDER BY ordinal DESC LIMIT 1",
        )?
        .query_row([project, environment], |row| row.get(0))
        .optional()?;
    Ok(id.map(id_of))
}

pub(super) fn in_service(
    connection: &Connection,
    project: &str,
    environment: &str,
) -> Result<Vec<DeploymentId>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT id FROM deployments WHERE project_slug = ?1 AND environment = ?2 AND state IN (?3, ?4)
         ORDER BY ordinal DESC",
    )?;
    let states = [DeploymentState::Active, DeploymentState::Degraded].map(DeploymentState::as_str);
    let ids = select.query_map([project, environment, states[0], states[1]], |row| row.get::<_, Key>(0))?;
    ids.map(|id| Ok(id_of(id?))).collect()
}

pub(super) fn events(
    connection: &Connection,
    deployment: DeploymentId,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, Event)>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT number, body FROM events WHERE deployment = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let limit = signed(limit.min(EVENTS_MAX));
    let mut rows = select.query(params![key(deployment.as_uuid()), signed(after), limit])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let (number, body): (i64, String) = (row.get(0)?, row.get(1)?);
        events.push((unsigned(number), from_json("event", &body)?));
    }
    Ok(events)
}

/// One page of the deployments that match, with the true total.
pub(super) fn page(
    connection: &Connection,
    filter: &DeploymentFilter,
    page: &Page,
) -> Result<DeploymentPage, Fault> {
    let (mut condition, mut values) = conditions(filter);
    let total: i64 = connection
        .prepare_cached(&format!("SELECT COUNT(*) FROM deployments WHERE {condition}"))?
        .query_row(params_from_iter(&values), |row| row.get(0))?;
    let mut skip = i64::from(page.skip);
    if let Some(Cursor(after)) = page.cursor {
        condition.push_str(" AND ordinal < (SELECT ordinal FROM deployments WHERE id = ?)");
        values.push(Value::Blob(key(after.as_uuid()).to_vec()));
        skip = 0;
    }
    let limit = i64::from(page.limit.min(PAGE_LIMIT_MAX));
    // One more than the page holds tells whether there is a next one.
    values.extend([Value::Integer(limit + 1), Value::Integer(skip)]);
    let sql =
        format!("SELECT body FROM deployments WHERE {condition} ORDER BY ordinal DESC LIMIT ? OFFSET ?");
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(&values))?;
    let mut deployments: Vec<Deployment> = Vec::new();
    let mut next = None;
    while let Some(row) = rows.next()? {
        if signed(deployments.len()) == limit {
            next = deployments.last().map(|last| Cursor(last.id));
            break;
        }
        let body: String = row.get(0)?;
        deployments.push(from_json("deployment", &body)?);
    }
    Ok(DeploymentPage { deployments, total: unsigned(total), next })
}

/// The filter as SQL; mirrors [`DeploymentFilter::matches`]. Few deployments are of one project, and nearly all are of
/// the same environment: `+` keeps the index on what tells little from being used where the project tells more.
fn conditions(filter: &DeploymentFilter) -> (String, Vec<Value>) {
    let mut sql = "TRUE".to_owned();
    let mut values = Vec::new();
    let mut add = |condition: &str, value: &str, times: usize| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.extend(std::iter::repeat_n(Value::Text(value.to_owned()), times));
    };
    if let Some(project) = &filter.project {
        add("(project_slug = ? OR project_path = ? OR project_name = ?)", project, 3);
    }
    let of = |column: &str| {
        if filter.project.is_some() { format!("+{column} = ?") } else { format!("{column} = ?") }
    };
    if let Some(environment) = &filter.environment {
        add(&of("environment"), environment, 1);
    }
    if let Some(state) = filter.state {
        add(&of("state"), state.as_str(), 1);
    }
    if let Some(user) = &filter.user {
        add(&of("user"), user, 1);
    }
    (sql, values)
}

/// How many deployments are in each state, every state named.
pub(super) fn count_by_state(connection: &Connection) -> Result<Vec<(DeploymentState, u64)>, Fault> {
    let mut select = connection.prepare_cached("SELECT COUNT(*) FROM deployments WHERE state = ?1")?;
    DeploymentState::ALL
        .into_iter()
        .map(|state| {
            let count: i64 = select.query_row([state.as_str()], |row| row.get(0))?;
            Ok((state, unsigned(count)))
        })
        .collect()
}

fn id_of(bytes: Key) -> DeploymentId {
    DeploymentId::from(Uuid::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How SQLite goes about a list with this filter.
    fn plan(filter: &DeploymentFilter) -> String {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema/001.sql")).unwrap();
        let (condition, values) = conditions(filter);
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT body FROM deployments WHERE {condition} ORDER BY ordinal DESC"
        );
        let mut explained = connection.prepare(&sql).unwrap();
        let steps = explained.query_map(params_from_iter(&values), |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<String>>().join("; ")
    }

    #[test]
    fn a_project_is_found_by_its_own_indexes_and_nothing_is_searched_whole() {
        let of_project = DeploymentFilter {
            project: Some("shop".to_owned()),
            environment: Some("default".to_owned()),
            state: Some(DeploymentState::Active),
            user: Some("ada".to_owned()),
        };
        let found = plan(&of_project);
        for index in ["deployments_by_slug", "deployments_by_path", "deployments_by_name"] {
            assert!(found.contains(index), "{found}");
        }
        assert!(!found.contains("by_environment") && !found.contains("SCAN"), "{found}");
        let of_state =
            DeploymentFilter { state: Some(DeploymentState::Active), ..DeploymentFilter::default() };
        assert!(plan(&of_state).contains("deployments_by_state"));
    }
}
