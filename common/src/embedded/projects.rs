//! Registered projects, their hooks, and where their refs stood, as the ledger has them.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Shared;
use super::codec::{from_json, key, signed, to_json, unsigned};
use super::fault::Fault;
use crate::model::registered::{Head, HookEntry, RegisteredProject};
use crate::model::{EnvironmentName, HookId, ProjectSlug};
use crate::projects::{PROJECTS_PAGE_MAX, Projects};
use crate::store::StoreError;

#[async_trait]
impl Projects for Shared {
    async fn project(&self, slug: &ProjectSlug) -> Result<Option<RegisteredProject>, StoreError> {
        let slug = slug.clone();
        Ok(self.read(move |connection| one(connection, &slug)).await?)
    }

    async fn page(
        &self,
        after: Option<&ProjectSlug>,
        limit: usize,
    ) -> Result<Vec<RegisteredProject>, StoreError> {
        // Every slug comes after nothing.
        let after = after.map_or_else(String::new, |slug| slug.as_str().to_owned());
        let limit = limit.min(PROJECTS_PAGE_MAX);
        Ok(self.read(move |connection| page(connection, &after, limit)).await?)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.read(count).await?)
    }

    async fn hook(&self, id: HookId) -> Result<Option<HookEntry>, StoreError> {
        Ok(self.read(move |connection| hook(connection, id)).await?)
    }

    async fn hooks(&self) -> Result<Vec<HookEntry>, StoreError> {
        Ok(self.read(hooks).await?)
    }

    async fn heads(&self, slug: &ProjectSlug) -> Result<Vec<Head>, StoreError> {
        let slug = slug.clone();
        Ok(self.read(move |connection| heads(connection, &slug)).await?)
    }
}

/// Registers or changes a project.
pub(super) fn store(connection: &Connection, project: &RegisteredProject) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO projects (slug, hook, entry, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            project.project.slug.as_str(),
            key(project.hook.id.as_uuid()),
            to_json("hook", &project.hook_entry())?,
            to_json("project", project)?,
        ])?;
    Ok(())
}

/// Deletes a project and its heads.
pub(super) fn delete(connection: &Connection, slug: &ProjectSlug) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM projects WHERE slug = ?1")?.execute([slug.as_str()])?;
    connection.prepare_cached("DELETE FROM heads WHERE project = ?1")?.execute([slug.as_str()])?;
    Ok(())
}

/// Notes where refs stand, and which are no more, if the project is registered.
pub(super) fn see(
    connection: &Connection,
    slug: &ProjectSlug,
    seen: &[Head],
    gone: &[(EnvironmentName, String)],
) -> Result<(), Fault> {
    let mut put = connection.prepare_cached(
        "INSERT OR REPLACE INTO heads (project, environment, reference, body)
         SELECT slug, ?2, ?3, ?4 FROM projects WHERE slug = ?1",
    )?;
    for head in seen {
        let body = to_json("head", head)?;
        put.execute(params![slug.as_str(), head.environment.as_str(), head.reference, body])?;
    }
    let mut forget = connection
        .prepare_cached("DELETE FROM heads WHERE project = ?1 AND environment = ?2 AND reference = ?3")?;
    for (environment, reference) in gone {
        forget.execute([slug.as_str(), environment.as_str(), reference.as_str()])?;
    }
    Ok(())
}

fn one(connection: &Connection, slug: &ProjectSlug) -> Result<Option<RegisteredProject>, Fault> {
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM projects WHERE slug = ?1")?
        .query_row([slug.as_str()], |row| row.get(0))
        .optional()?;
    body.map(|body| from_json("project", &body)).transpose()
}

fn page(connection: &Connection, after: &str, limit: usize) -> Result<Vec<RegisteredProject>, Fault> {
    let mut select =
        connection.prepare_cached("SELECT body FROM projects WHERE slug > ?1 ORDER BY slug LIMIT ?2")?;
    let bodies = select.query_map(params![after, signed(limit)], |row| row.get::<_, String>(0))?;
    bodies.map(|body| from_json("project", &body?)).collect()
}

fn count(connection: &Connection) -> Result<u64, Fault> {
    let count: i64 =
        connection.prepare_cached("SELECT COUNT(*) FROM projects")?.query_row([], |row| row.get(0))?;
    Ok(unsigned(count))
}

fn hook(connection: &Connection, id: HookId) -> Result<Option<HookEntry>, Fault> {
    let entry: Option<String> = connection
        .prepare_cached("SELECT entry FROM projects WHERE hook = ?1")?
        .query_row([key(id.as_uuid())], |row| row.get(0))
        .optional()?;
    entry.map(|entry| from_json("hook", &entry)).transpose()
}

fn hooks(connection: &Connection) -> Result<Vec<HookEntry>, Fault> {
    let mut select = connection.prepare_cached("SELECT entry FROM projects ORDER BY slug")?;
    let entries = select.query_map([], |row| row.get::<_, String>(0))?;
    entries.map(|entry| from_json("hook", &entry?)).collect()
}

fn heads(connection: &Connection, slug: &ProjectSlug) -> Result<Vec<Head>, Fault> {
    let mut select = connection
        .prepare_cached("SELECT body FROM heads WHERE project = ?1 ORDER BY environment, reference")?;
    let bodies = select.query_map([slug.as_str()], |row| row.get::<_, String>(0))?;
    bodies.map(|body| from_json("head", &body?)).collect()
}
