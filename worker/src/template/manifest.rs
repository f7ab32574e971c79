//! Readers of the manifest formats several families share: JSON, TOML and single XML elements.

use super::app::App;
use super::error::TemplateError;

/// The JSON document at `path`, `None` when there is no such file.
pub(super) fn json(app: &App<'_>, path: &str) -> Result<Option<serde_json::Value>, TemplateError> {
    let Some(text) = app.text(path)? else { return Ok(None) };
    let malformed = || TemplateError::Malformed { path: path.to_owned(), format: "JSON" };
    serde_json::from_str(&text).map(Some).map_err(|_| malformed())
}

/// The TOML document at `path`, `None` when there is no such file.
pub(super) fn toml(app: &App<'_>, path: &str) -> Result<Option<toml::Table>, TemplateError> {
    let Some(text) = app.text(path)? else { return Ok(None) };
    let malformed = || TemplateError::Malformed { path: path.to_owned(), format: "TOML" };
    text.parse().map(Some).map_err(|_| malformed())
}

/// The value at a chain of keys.
pub(super) fn toml_at<'a>(table: &'a toml::Table, keys: &[&str]) -> Option<&'a toml::Value> {
    let (first, rest) = keys.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(*key))
}

/// The text of the first `<name>` element without attributes.
pub(super) fn xml_text<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = after.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

/// The texts of all `<name>` elements without attributes.
pub(super) fn xml_texts<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!("<{name}>");
    document
        .split(opening.as_str())
        .skip(1)
        .filter_map(|after| after.split('<').next())
        .map(str::trim)
        .collect()
}
