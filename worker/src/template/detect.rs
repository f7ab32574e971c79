//! Recognises the family of a repository: by marker files at the root, by the number of bytes per language
//! when markers of several equal families are there, and below the root only when one directory qualifies.

use std::collections::BTreeSet;

use super::app::{App, is_foreign, unsafe_value};
use super::error::{TemplateError, shown};
use super::plan::Request;
use super::recipe::{Recipe, Values};
use super::safe::Safe;
use super::settings::TemplateSettings;
use super::{dotnet, go, java, node, php, python, render, ruby, rust, static_site};
use crate::source::SourceTree;

/// How many directories an error names.
const MAX_NAMED_DIRECTORIES: usize = 20;

/// How a family ranks against others with a marker at the same place. Many servers keep a `package.json` for
/// their assets, and nearly everything has an HTML page somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Decides over every other rank.
    Server,
    /// May be there for the assets of another family.
    Assets,
    /// What is left when nothing else fits.
    Pages,
}

/// How a family is recognised and read.
pub(super) struct FamilySpec {
    /// The name in messages.
    pub(super) label: &'static str,
    /// Manifests: exact names, or `*.extension`. They count below the root, too.
    pub(super) manifests: &'static [&'static str],
    /// Files that count at the root alone.
    pub(super) entry_files: &'static [&'static str],
    /// Source file extensions, counted in bytes to break a tie.
    pub(super) extensions: &'static [&'static str],
    /// How the family ranks.
    pub(super) rank: Rank,
    /// Reads the application.
    pub(super) recipe: fn(&App<'_>) -> Result<Recipe, TemplateError>,
}

/// All families; of equal ones with equally many bytes the earlier wins.
pub(super) const FAMILIES: [FamilySpec; 9] = [
    php::SPEC,
    ruby::SPEC,
    python::SPEC,
    go::SPEC,
    rust::SPEC,
    java::SPEC,
    dotnet::SPEC,
    node::SPEC,
    static_site::SPEC,
];

impl FamilySpec {
    /// The first marker of this family at the application's root.
    fn marker(&self, app: &App<'_>) -> Option<String> {
        let exact = self.manifests.iter().chain(self.entry_files).find(|marker| app.has(marker));
        exact.map(|marker| (*marker).to_owned()).or_else(|| {
            let at_root = |(path, _): &(&str, u64)| !path.contains('/') && self.is_manifest(path);
            app.files().find(at_root).map(|(path, _)| path.to_owned())
        })
    }

    fn is_manifest(&self, name: &str) -> bool {
        self.manifests.iter().any(|marker| match marker.strip_prefix('*') {
            Some(extension) => name.ends_with(extension),
            None => *marker == name,
        })
    }

    fn source_bytes(&self, app: &App<'_>) -> u64 {
        let extension = |path: &str| path.rsplit_once('.').map_or(String::new(), |(_, end)| end.to_owned());
        app.own_files()
            .filter(|(path, _)| self.extensions.contains(&extension(path).as_str()))
            .fold(0, |sum, (_, bytes)| bytes.saturating_add(sum))
    }
}

/// The recipe for the application in `tree`.
pub(super) fn recipe(
    tree: &dyn SourceTree,
    request: &Request,
    settings: &TemplateSettings,
) -> Result<Recipe, TemplateError> {
    let app = App::at_root(tree, request, settings);
    if let Some(recipe) = recipe_at(&app)? {
        return Ok(recipe);
    }
    let directories = candidate_directories(&app);
    match directories.iter().collect::<Vec<_>>().as_slice() {
        [] => Err(no_family(settings)?),
        [only] => recipe_below(&app, only, settings),
        several => Err(TemplateError::SeveralDirectories {
            candidates: several.iter().take(MAX_NAMED_DIRECTORIES).map(|name| (*name).clone()).collect(),
        }),
    }
}

fn recipe_below(
    app: &App<'_>,
    directory: &str,
    settings: &TemplateSettings,
) -> Result<Recipe, TemplateError> {
    let mut recipe = match recipe_at(&app.in_directory(directory))? {
        Some(recipe) => recipe,
        None => return Err(no_family(settings)?),
    };
    recipe.detected.evidence.insert(0, format!("{directory}: the only application of the repository"));
    Ok(recipe)
}

fn recipe_at(app: &App<'_>) -> Result<Option<Recipe>, TemplateError> {
    let marked: Vec<(&FamilySpec, String)> =
        FAMILIES.iter().filter_map(|spec| Some((spec, spec.marker(app)?))).collect();
    let Some(rank) = marked.iter().map(|(spec, _)| spec.rank).min() else { return Ok(None) };
    let rivals: Vec<&(&FamilySpec, String)> = marked.iter().filter(|(spec, _)| spec.rank == rank).collect();
    let Some((spec, marker)) = largest(app, &rivals) else { return Ok(None) };
    let mut recipe = (spec.recipe)(app)?;
    recipe.detected.evidence.insert(0, shown(marker));
    if rivals.len() > 1 {
        let names: Vec<&str> = rivals.iter().map(|(spec, _)| spec.label).collect();
        recipe.detected.evidence.push(format!("most source bytes among {}", names.join(", ")));
    }
    Ok(Some(recipe))
}

/// The rival with the most source bytes, the first of equals.
fn largest<'a>(
    app: &App<'_>,
    rivals: &[&'a (&'a FamilySpec, String)],
) -> Option<&'a (&'a FamilySpec, String)> {
    let mut best: Option<(u64, &(&FamilySpec, String))> = None;
    for rival in rivals {
        let bytes = rival.0.source_bytes(app);
        if best.is_none_or(|(most, _)| bytes > most) {
            best = Some((bytes, rival));
        }
    }
    best.map(|(_, rival)| rival)
}

/// The outermost directories with a manifest, each with a trailing slash.
fn candidate_directories(app: &App<'_>) -> BTreeSet<String> {
    let depth = app.settings.max_search_depth_directories;
    let mut directories: BTreeSet<String> = BTreeSet::new();
    for (path, _) in app.files().filter(|(path, _)| !is_foreign(path)) {
        let Some((directory, name)) = path.rsplit_once('/') else { continue };
        if directory.split('/').count() <= depth && FAMILIES.iter().any(|spec| spec.is_manifest(name)) {
            directories.insert(format!("{directory}/"));
        }
    }
    let all = directories.clone();
    directories.retain(|mine| !all.iter().any(|other| other != mine && mine.starts_with(other.as_str())));
    directories
}

/// The error for a repository that fits no family.
fn no_family(settings: &TemplateSettings) -> Result<TemplateError, TemplateError> {
    let markers = FAMILIES.iter().flat_map(|spec| spec.manifests.iter().chain(spec.entry_files));
    let mut values = Values::default();
    values.text("image", &settings.fixed_image("rust-runtime")?);
    Ok(TemplateError::NoFamily {
        looked_for: markers.map(|marker| (*marker).to_owned()).collect(),
        starting_template: render::render("starting", &values)?,
    })
}

/// The one program to build: the only candidate, or the one the Procfile's `web` line names.
pub(super) fn chosen_program(
    app: &App<'_>,
    manifest: &str,
    candidates: &[String],
) -> Result<String, TemplateError> {
    let named = app.procfile_command()?.and_then(|command| {
        let program = command.words().first()?.rsplit('/').next()?.to_owned();
        candidates.contains(&program).then_some(program)
    });
    match (named, candidates) {
        (Some(named), _) => Ok(named),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(TemplateError::SeveralPrograms {
            path: manifest.to_owned(),
            candidates: candidates.iter().take(MAX_NAMED_DIRECTORIES).cloned().collect(),
        }),
    }
}

/// A program name that may stand in a generated file.
pub(super) fn program_name(manifest: &str, name: &str) -> Result<Safe, TemplateError> {
    Safe::name(name).ok_or_else(|| unsafe_value(manifest, "program name", name))
}
