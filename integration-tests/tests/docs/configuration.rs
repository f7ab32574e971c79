//! The configuration reference: made from the defaults file, and checked against what the program reads.

use std::collections::BTreeMap;

use serde_json::Value;
use slipway_common::config::{Config, DEFAULTS};

/// The document, from the root.
const PATH: &str = "docs/configuration.md";
const BEGIN: &str = "<!-- generated from common/src/config/default.toml; do not edit below -->\n";
const END: &str = "<!-- end of the generated part -->\n";
/// Set to rewrite the document in place of checking it.
const UPDATE_VARIABLE: &str = "UPDATE_DOCS";

/// One setting as the defaults file states it.
struct Setting {
    key: String,
    default: String,
    meaning: String,
}

/// One section as the defaults file states it.
struct Section {
    name: String,
    settings: Vec<Setting>,
    /// What is said of a section without settings.
    meaning: String,
}

/// Rewrites the document if asked to; otherwise fails when it differs from the defaults file.
pub(crate) fn check() {
    let sections = parse(DEFAULTS);
    check_against_the_program(&sections);
    let document = super::read(PATH);
    let (head, rest) = document.split_once(BEGIN).expect("the document has a generated part");
    let (_, tail) = rest.split_once(END).expect("the generated part has an end");
    let wanted = format!("{head}{BEGIN}{}{END}{tail}", render(&sections));
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        std::fs::write(super::root().join(PATH), wanted).expect("the document can be written");
    } else {
        assert!(
            document == wanted,
            "{PATH} is not what the defaults file says; run: {UPDATE_VARIABLE}=1 cargo test -p \
             slipway-integration-tests --test docs"
        );
    }
}

/// A comment explains every setting below it up to the next comment.
fn parse(text: &str) -> Vec<Section> {
    let (mut sections, mut comment, mut fresh) = (Vec::<Section>::new(), String::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix('#') {
            if !fresh {
                comment.clear();
            }
            comment = format!("{comment} {}", words.trim()).trim().to_owned();
            fresh = true;
            if let Some(section) = sections.last_mut().filter(|section| section.settings.is_empty()) {
                section.meaning.clone_from(&comment);
            }
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            comment.clear();
            sections.push(Section { name: name.to_owned(), settings: Vec::new(), meaning: String::new() });
        } else if let Some((key, default)) = line.split_once('=') {
            let section = sections.last_mut().expect("a setting stands in a section");
            let (key, default) = (key.trim().to_owned(), default.trim().to_owned());
            assert!(!comment.is_empty(), "the setting {}.{key} is not explained", section.name);
            section.settings.push(Setting { key, default, meaning: comment.clone() });
            fresh = false;
        } else {
            assert!(line.is_empty(), "the defaults file has a line of an unknown form: {line}");
            fresh = false;
        }
    }
    sections
}

/// The settings found must be exactly those the program has, with the defaults it has.
fn check_against_the_program(sections: &[Section]) {
    let config = Config::load(None, []).expect("the defaults are usable");
    let mut known = BTreeMap::new();
    flatten(String::new(), serde_json::to_value(&config).expect("settings are JSON"), &mut known);
    let found: BTreeMap<String, Value> = sections
        .iter()
        .flat_map(|section| {
            section.settings.iter().map(|setting| (format!("{}.{}", section.name, setting.key), setting))
        })
        .map(|(key, setting)| {
            // Strings, numbers, booleans and lists of the defaults file are written as in JSON.
            let default =
                serde_json::from_str(&setting.default).unwrap_or_else(|error| panic!("{key}: {error}"));
            (key, default)
        })
        .collect();
    assert_eq!(found, known, "the defaults file and the program disagree");
}

fn flatten(path: String, value: Value, known: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(path, field, known);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            known.insert(path, value);
        }
    }
}

fn render(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        text += &format!("\n## {}\n\n", section.name);
        if section.settings.is_empty() {
            text += &format!("{}\nEmpty by default.\n", section.meaning);
            continue;
        }
        text += "| Key | Default | Meaning |\n|---|---|---|\n";
        for Setting { key, default, meaning } in &section.settings {
            text += &format!("| `{key}` | `{default}` | {} |\n", meaning.replace('|', "\\|"));
        }
    }
    text += "\n";
    text
}
