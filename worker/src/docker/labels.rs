//! Labels of the objects on one engine: the shared contract, and what the worker makes of it.

use std::collections::HashMap;

pub use slipway_common::model::label::*;

use super::scope::Scope;

/// Labels every object of `scope` carries.
pub(super) fn of_scope(scope: &Scope) -> HashMap<String, String> {
    HashMap::from([
        (MANAGED.to_owned(), "true".to_owned()),
        (PROJECT.to_owned(), scope.project().to_owned()),
        (ENVIRONMENT.to_owned(), scope.environment().to_owned()),
    ])
}

/// An engine filter that lets pass only objects with all of `labels`.
pub(super) fn filter<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> HashMap<String, Vec<String>> {
    let wanted = labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    HashMap::from([("label".to_owned(), wanted)])
}

/// Whether `labels` say that Slipway made the object for `scope`.
pub(super) fn belongs_to(labels: &HashMap<String, String>, scope: &Scope) -> bool {
    of_scope(scope).iter().all(|(key, value)| labels.get(key) == Some(value))
}
