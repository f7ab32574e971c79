//! Reads values out of the tree, and notes what is wrong with each: one look at a file names everything that is wrong.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::node::{Content, Entry, Node, Place, Problem};
use super::{Located, shown};

/// Keys people may expect to work, and why they do not.
const ELSEWHERE: [(&str, &str); 8] = [
    ("env", VARIABLES),
    ("environment", VARIABLES),
    ("variables", VARIABLES),
    ("secrets", VARIABLES),
    ("credential", CREDENTIALS),
    ("pull_credential", CREDENTIALS),
    ("repository_token", CREDENTIALS),
    ("token", CREDENTIALS),
];
const VARIABLES: &str =
    "is not read from the repository: variables are set with the project, where nobody can read them";
const CREDENTIALS: &str = "is not read from the repository: credentials are set with the project";

/// Notes what is wrong.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

/// The entries of one mapping.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    path: String,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The value of `key` with its path, if it was given.
    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field { path: join(&self.path, key), place: entry.place, node: &entry.value })
    }
}

/// One value, with its path and where its key stands.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) path: String,
    /// Where the key stands, or the item of a list.
    pub(super) place: Place,
    node: &'a Node,
}

impl<'a> Field<'a> {
    /// The whole file.
    pub(super) fn root(node: &'a Node) -> Self {
        Self { path: String::new(), place: node.place, node }
    }

    /// Where the value stands; a missing one stands where its key does.
    pub(super) fn value_place(&self) -> Place {
        match self.node.content {
            Content::Empty => self.place,
            Content::Scalar { .. } | Content::List(_) | Content::Map(_) | Content::Refused => self.node.place,
        }
    }

    /// Whether it is a plain `true` or `false`.
    pub(super) fn is_switch(&self) -> bool {
        matches!(&self.node.content, Content::Scalar { text, plain: true } if switch(text).is_some())
    }
}

impl Reader {
    /// Notes what is wrong with a field.
    pub(super) fn refuse(&mut self, field: &Field<'_>, reason: impl Into<String>) {
        let (place, path) = (field.value_place(), field.path.clone());
        self.problems.push(Problem { place, field: path, reason: reason.into() });
    }

    /// The entries of a mapping that may have the keys `allowed`.
    pub(super) fn fields<'a>(&mut self, field: &Field<'a>, allowed: &[&str]) -> Option<Fields<'a>> {
        let entries = match &field.node.content {
            Content::Map(entries) => entries,
            Content::Refused => return None,
            Content::Empty | Content::Scalar { .. } | Content::List(_) => {
                self.refuse(field, format!("must be a mapping with the keys {}", listed(allowed)));
                return None;
            }
        };
        for entry in entries.iter().filter(|entry| !allowed.contains(&entry.key.as_str())) {
            let known = ELSEWHERE.iter().find(|(key, _)| *key == entry.key);
            let reason = known.map_or_else(
                || format!("is no key that is known here; there are {}", listed(allowed)),
                |(_, reason)| (*reason).to_owned(),
            );
            let path = join(&field.path, &shown(&entry.key));
            self.problems.push(Problem { place: entry.place, field: path, reason });
        }
        Some(Fields { path: field.path.clone(), entries })
    }

    /// The items of a list that may have `items_max` of them.
    pub(super) fn items<'a>(&mut self, field: &Field<'a>, items_max: usize) -> Option<Vec<Field<'a>>> {
        let items = match &field.node.content {
            Content::List(items) => items,
            Content::Refused => return None,
            Content::Empty | Content::Scalar { .. } | Content::Map(_) => {
                self.refuse(field, "must be a list");
                return None;
            }
        };
        if items.len() > items_max {
            self.refuse(field, format!("has {} items, more than the limit of {items_max}", items.len()));
            return None;
        }
        let item = |(index, node): (usize, &'a Node)| Field {
            path: format!("{}[{index}]", field.path),
            place: node.place,
            node,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// A text.
    pub(super) fn text<'a>(&mut self, field: &Field<'a>) -> Option<&'a str> {
        match &field.node.content {
            Content::Scalar { text, .. } => Some(text),
            Content::Refused => None,
            Content::Empty => {
                self.refuse(field, "has no value");
                None
            }
            Content::List(_) | Content::Map(_) => {
                self.refuse(field, "must be a single value");
                None
            }
        }
    }

    /// A value that is parsed from its text.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, field: &Field<'_>) -> Option<T> {
        let text = self.text(field)?;
        text.parse().map_err(|error: T::Err| self.refuse(field, error.to_string())).ok()
    }

    /// A whole number within `range`.
    pub(super) fn number<T: FromStr + PartialOrd + Display>(
        &mut self,
        field: &Field<'_>,
        range: RangeInclusive<T>,
    ) -> Option<Located<T>> {
        let text = self.text(field)?;
        let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<T>().ok().filter(|number| is_whole && range.contains(number)) {
            Some(value) => Some(Located { value, place: field.value_place() }),
            None => {
                let (least, most) = (range.start(), range.end());
                self.refuse(field, format!("must be a whole number from {least} to {most}"));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, field: &Field<'_>) -> Option<bool> {
        let text = self.text(field)?;
        if !field.is_switch() {
            self.refuse(field, "must be true or false");
            return None;
        }
        switch(text)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(field)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(field, format!("must be one of {}", listed(&words)));
        }
        found
    }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
