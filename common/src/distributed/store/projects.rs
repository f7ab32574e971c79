//! Registered projects, their hooks and heads, as the projection has them.

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::RedisStore;
use super::codec::{from_json, unreadable};
use super::scripts::{GUARDED, PROJECTS, THROUGH};
use crate::model::registered::{Head, HookEntry, RegisteredProject};
use crate::model::{HookId, ProjectSlug};
use crate::projects::{PROJECTS_PAGE_MAX, Projects};
use crate::store::StoreError;

/// Hooks read by one script at most.
const HOOKS_READ_MAX: usize = 1_000;

/// Registered projects in Redis; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct RedisProjects {
    store: RedisStore,
}

/// A part of a project as it is laid down.
#[derive(Debug, Clone, Copy)]
enum Part {
    Hook,
    Project,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Project => "project",
        }
    }

    /// This part of it: its second or third line.
    fn read<T: DeserializeOwned>(self, stored: &str) -> Result<T, StoreError> {
        let mut lines = stored.splitn(3, '\n').skip(1);
        let line = match self {
            Self::Hook => lines.next(),
            Self::Project => lines.nth(1),
        };
        from_json(self.as_str(), line.ok_or_else(|| unreadable(self.as_str(), "it lacks a line"))?)
    }
}

impl RedisProjects {
    pub(crate) fn new(store: RedisStore) -> Self {
        Self { store }
    }

    /// This part of at most `limit` projects after the one called `after`.
    async fn some<T: DeserializeOwned>(
        &self,
        part: Part,
        after: &str,
        limit: usize,
    ) -> Result<Vec<T>, StoreError> {
        let bodies: Vec<String> = self.store.ask(&PROJECTS, (part.as_str(), after, limit)).await?;
        let read = bodies.iter().map(|body| from_json(part.as_str(), body)).collect();
        self.store.healed(read).await
    }
}

#[async_trait]
impl Projects for RedisProjects {
    async fn project(&self, slug: &ProjectSlug) -> Result<Option<RegisteredProject>, StoreError> {
        let args = ("HGET", "s:project", slug.as_str());
        let stored: Option<String> = self.store.ask(&GUARDED, args).await?;
        self.store.healed(stored.map(|stored| Part::Project.read(&stored)).transpose()).await
    }

    async fn page(
        &self,
        after: Option<&ProjectSlug>,
        limit: usize,
    ) -> Result<Vec<RegisteredProject>, StoreError> {
        self.some(Part::Project, after.map_or("", ProjectSlug::as_str), limit.min(PROJECTS_PAGE_MAX)).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.store.ask(&GUARDED, ("ZCARD", "s:slugs")).await
    }

    async fn hook(&self, id: HookId) -> Result<Option<HookEntry>, StoreError> {
        let args = ["s:hook".to_owned(), id.to_string(), "s:project".to_owned()];
        let stored: Option<String> = self.store.ask(&THROUGH, &args[..]).await?;
        let entry: Option<HookEntry> =
            self.store.healed(stored.map(|stored| Part::Hook.read(&stored)).transpose()).await?;
        Ok(entry.filter(|entry| entry.hook.id == id))
    }

    async fn hooks(&self) -> Result<Vec<HookEntry>, StoreError> {
        let mut all: Vec<HookEntry> = Vec::new();
        loop {
            let after = all.last().map_or("", |entry| entry.project.as_str());
            let some = self.some(Part::Hook, after, HOOKS_READ_MAX).await?;
            let is_last = some.len() < HOOKS_READ_MAX;
            all.extend(some);
            if is_last {
                return Ok(all);
            }
        }
    }

    async fn heads(&self, slug: &ProjectSlug) -> Result<Vec<Head>, StoreError> {
        let mut heads: Vec<Head> = self.store.all("head", &format!("s:h:live:{slug}")).await?;
        heads.sort_by(|one, other| {
            (&one.environment, &one.reference).cmp(&(&other.environment, &other.reference))
        });
        Ok(heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_that_lacks_a_line_is_unreadable() {
        for stored in ["", "id", "id\n", "id\n{}", "id\n{}\n", "id\n{}\n[]"] {
            assert!(Part::Project.read::<RegisteredProject>(stored).is_err(), "{stored:?}");
            assert!(Part::Hook.read::<HookEntry>(stored).is_err(), "{stored:?}");
        }
        assert_eq!(Part::Hook.read::<u8>("id\n7\n8").unwrap(), 7);
        assert_eq!(Part::Project.read::<u8>("id\n7\n8").unwrap(), 8);
    }
}
