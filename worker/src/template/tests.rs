//! Tests of the template stage as a whole: sample trees in, plans out.

mod ci;
mod families;
mod hostile;
mod plans;
mod shape;

use super::{Plan, Request, TemplateError, TemplateSettings, plan};
use crate::source::MemoryTree;

/// Everything is wanted and nothing is said about the port.
const ALL: Request = Request { port: None, ci_file: true, dockerfile: true };

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    MemoryTree::of(files.iter().map(|(path, contents)| (*path, *contents)))
}

fn plan_of(files: &[(&str, &str)]) -> Result<Plan, TemplateError> {
    plan(&tree(files), &ALL, &TemplateSettings::default())
}

/// The contents of the generated file at `path`.
fn generated<'a>(plan: &'a Plan, path: &str) -> Option<&'a str> {
    plan.files.iter().find(|file| file.path == path).map(|file| file.contents.as_str())
}

fn dockerfile(plan: &Plan) -> &str {
    generated(plan, "Dockerfile").expect("a Dockerfile was to be generated")
}
