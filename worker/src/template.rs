//! The template stage's pure core: reads a source tree and decides which files to generate for it, a
//! Dockerfile, its `.dockerignore` and a `.gitlab-ci.yml`. Marker files decide what the application is, the
//! number of bytes per language only breaks ties. Nothing here writes: existing files are never touched, and
//! repository text reaches a template only as a `Safe` value.

mod app;
mod ci;
mod command;
mod constraint;
mod detect;
mod dockerfile;
mod dotnet;
mod error;
mod go;
mod java;
mod manifest;
mod node;
mod php;
mod plan;
mod python;
mod recipe;
mod render;
mod ruby;
mod rust;
mod safe;
mod settings;
mod static_site;
mod version;

#[cfg(test)]
mod tests;

pub use error::TemplateError;
pub use plan::{Detected, Family, Framework, GeneratedFile, PackageManager, Plan, Request, plan};
pub use settings::{CiBuilder, TemplateSettings};
