//! Static sites: files that a web server image serves as they are.

use super::app::App;
use super::detect::{FamilySpec, Rank};
use super::error::TemplateError;
use super::plan::Family;
use super::recipe::{Findings, Recipe, Values};
use super::safe::Safe;

/// How static sites are recognised.
pub(super) const SPEC: FamilySpec = FamilySpec {
    label: "static site",
    manifests: &[],
    entry_files: &["index.html", "public/index.html", "site/index.html", "www/index.html", "html/index.html"],
    extensions: &["html", "css"],
    rank: Rank::Pages,
    recipe,
};

/// The port the images of this role listen on; the request cannot change it.
pub(super) const PORT: u16 = 8080;
/// Only what a visitor may see is left. `.well-known` is the one hidden directory with a public meaning.
const IGNORED: [&str; 5] = [".*", "!.well-known", "*.md", "LICENSE*", "Makefile"];

pub(super) fn recipe(app: &App<'_>) -> Result<Recipe, TemplateError> {
    let mut findings = Findings::of(Family::Static);
    let page = SPEC.entry_files.iter().copied().find(|page| app.has(page)).unwrap_or("index.html");
    let directory = page.strip_suffix("index.html").unwrap_or_default();
    findings.note(format!("{page}: served with everything beside it"));
    let mut values = Values::of(app, PORT)?;
    values.text("image", &app.settings.fixed_image("static")?);
    values.text("directory", &Safe::fixed(directory));
    Ok(Recipe {
        detected: findings.detected(None),
        template: "static",
        values,
        port: PORT,
        ignored: &IGNORED,
    })
}
