//! Renders the built-in templates, which are data files beside this module. A value a template names and the
//! family did not set is an error, never an empty string.

use super::error::TemplateError;
use super::recipe::Values;
use super::safe::Safe;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

/// Name and source of every template.
pub(super) const TEMPLATES: [(&str, &str); 14] = [
    ("python", include_str!("python.j2")),
    ("node", include_str!("node.j2")),
    ("single_page", include_str!("single_page.j2")),
    ("maven", include_str!("maven.j2")),
    ("gradle", include_str!("gradle.j2")),
    ("go", include_str!("go.j2")),
    ("rust", include_str!("rust.j2")),
    ("ruby", include_str!("ruby.j2")),
    ("php", include_str!("php.j2")),
    ("dotnet", include_str!("dotnet.j2")),
    ("static", include_str!("static.j2")),
    ("starting", include_str!("starting.j2")),
    ("dockerignore", include_str!("dockerignore.j2")),
    ("gitlab_ci", include_str!("gitlab_ci.j2")),
];

/// Renders the template called `name`.
pub(super) fn render(name: &str, values: &Values) -> Result<String, TemplateError> {
    rendered(name, values).map_err(|source| TemplateError::Render { template: name.to_owned(), source })
}

/// The `.dockerignore` with a family's own lines.
pub(super) fn dockerignore(ignored: &[&'static str]) -> Result<String, TemplateError> {
    let mut values = Values::default();
    values.list("ignored", &ignored.iter().map(|line| Safe::fixed(line)).collect::<Vec<_>>());
    render("dockerignore", &values)
}

fn rendered(name: &str, values: &Values) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?,
    );
    // The templates do not include each other, so the one asked for is enough.
    for (known, source) in TEMPLATES.into_iter().filter(|(known, _)| *known == name) {
        environment.add_template(known, source)?;
    }
    environment.get_template(name)?.render(values.as_context())
}
