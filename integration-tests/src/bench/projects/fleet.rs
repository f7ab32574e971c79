//! The projects: registered, with their refs seen where they stand, and with mirrors as an earlier process would have left
//! them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use slipway_common::Backend;
use slipway_common::agenda::List;
use slipway_common::contract::sample;
use slipway_common::model::registered::state::SweepState;
use slipway_common::model::registered::{Head, RegisteredProject};
use slipway_common::model::{AddressPolicy, Project, RepositoryAddress};
use slipway_common::record::Record;

/// Where deployments would go.
const ENVIRONMENT: &str = "production";
/// Records, and questions, under way.
const AT_ONCE: usize = 64;
/// Projects noted at once.
const NOTED_AT_ONCE: usize = 500;

/// One project.
#[derive(Debug)]
struct One {
    slug: String,
    /// The name of its mirror's folder.
    mirror: String,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Fleet(Vec<One>);

impl Fleet {
    /// Registers so many on the host at `base`, each with its branch seen at `tip`.
    pub(super) async fn register(backend: &Backend, base: &str, tip: &str, count: u32) -> Result<Self> {
        let projects = (0..count).map(|index| registered(base, index)).collect::<Result<Vec<_>>>()?;
        let one = |project: &RegisteredProject| One {
            slug: project.project.slug.to_string(),
            mirror: mirror_of(&project.spec.repository),
        };
        let fleet = Self(projects.iter().map(one).collect());
        let stored = projects.into_iter().map(|project| async move {
            let seen = Record::HeadsSeen {
                slug: project.project.slug.clone(),
                seen: vec![head(tip)?],
                gone: Vec::new(),
                at: Timestamp::now(),
            };
            backend.record(&Record::ProjectStored(Box::new(project))).await?;
            backend.record(&seen).await?;
            anyhow::Ok(())
        });
        let mut stored = stream::iter(stored).buffer_unordered(AT_ONCE);
        while let Some(stored) = stored.next().await {
            stored.context("registering a project")?;
        }
        let known = backend.projects.count().await?;
        ensure!(known == u64::from(count), "{known} of {count} projects are registered");
        Ok(fleet)
    }

    pub(super) fn slugs(&self) -> Vec<String> {
        self.0.iter().map(|one| one.slug.clone()).collect()
    }

    /// Has all of them looked at from `at` on.
    pub(super) async fn note_all(&self, backend: &Backend, at: Timestamp) -> Result<()> {
        for slugs in self.slugs().chunks(NOTED_AT_ONCE) {
            backend.agenda.note(List::Sweeps, slugs, at).await?;
        }
        Ok(())
    }

    /// Makes the mirrors that are missing below the worker's folder as copies of one that it has made.
    pub(super) async fn make_mirrors(&self, data: &Path, tip: &str) -> Result<()> {
        let folder = data.join("mirrors");
        let fetched = format!("refs/slipway/revision/{tip}");
        let places: Vec<PathBuf> = self.0.iter().map(|one| folder.join(&one.mirror)).collect();
        tokio::task::spawn_blocking(move || {
            let is_whole = |place: &&PathBuf| place.join(&fetched).is_file();
            let model = places.iter().find(is_whole);
            let model = model.context("the worker has made no mirror of a name that is known here")?;
            for place in places.iter().filter(|place| !is_whole(place)) {
                if place.exists() {
                    std::fs::remove_dir_all(place)?;
                }
                copy(model, place)?;
            }
            anyhow::Ok(())
        })
        .await?
        .context("copying mirrors")
    }
}

/// Those of `slugs` that nobody has looked at since.
pub(super) async fn not_looked_at(
    backend: &Backend,
    slugs: &[String],
    since: Timestamp,
) -> Result<Vec<String>> {
    let asked = slugs.iter().map(|slug| async move {
        let memo = backend.agenda.memo(List::Sweeps, slug).await?;
        let state = memo.as_deref().and_then(SweepState::from_memo);
        anyhow::Ok(state.is_none_or(|state| state.swept_at < since).then(|| slug.clone()))
    });
    let mut asked = stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut found = Vec::new();
    while let Some(answer) = asked.next().await {
        found.extend(answer?);
    }
    Ok(found)
}

fn registered(base: &str, index: u32) -> Result<RegisteredProject> {
    let address = format!("{base}/bench/app-{index}");
    let mut project = sample::registered(&format!("app-{index}"), Timestamp::now());
    project.spec.repository = RepositoryAddress::parse(&address, &AddressPolicy::default())?;
    project.project = Project::of(&project.spec.repository);
    for rule in &mut project.environments {
        rule.environment = ENVIRONMENT.parse()?;
    }
    Ok(project)
}

fn head(tip: &str) -> Result<Head> {
    Ok(Head {
        environment: ENVIRONMENT.parse()?,
        reference: "refs/heads/main".to_owned(),
        revision: tip.to_owned(),
        deployment: None,
    })
}

/// What the worker calls the folder of a repository's mirror.
fn mirror_of(address: &RepositoryAddress) -> String {
    let digest = Sha256::digest(address.identity().as_bytes());
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}.git")
}

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?;
        } else {
            std::fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}
