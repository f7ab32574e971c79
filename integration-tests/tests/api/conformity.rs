//! Holds answers against the OpenAPI document: the status must be documented, the body must fit its schema.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

/// The document, with the schemas that were used so far.
pub(crate) struct Conformity {
    document: Value,
    validators: Mutex<HashMap<String, Validator>>,
}

impl Conformity {
    pub(crate) fn new(document: Value) -> Self {
        Self { document, validators: Mutex::default() }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// Says what is wrong with an answer, if anything.
    pub(crate) fn check(
        &self,
        method: &str,
        path: &str,
        status: u16,
        content_type: &str,
        body: &[u8],
    ) -> Result<(), String> {
        let problem = || json!({ "$ref": "#/components/schemas/ProblemDocument" });
        let Some(template) = self.template(path) else {
            return match status {
                400 | 401 | 404 => self.check_body(&problem(), body),
                other => Err(format!("{other} of a path that is not documented")),
            };
        };
        let operation = &self.document["paths"][template][method.to_lowercase()];
        if operation.is_null() {
            return match status {
                401 | 405 => self.check_body(&problem(), body),
                other => Err(format!("{other} of a method that is not documented")),
            };
        }
        let response = self.resolved(&operation["responses"][status.to_string()]);
        if response.is_null() {
            return Err(format!("{status} is not documented"));
        }
        let essence = content_type.split(';').next().unwrap_or_default();
        let Some(content) = response["content"].as_object() else {
            return if body.is_empty() { Ok(()) } else { Err("a body is not documented".to_owned()) };
        };
        match content.get(essence) {
            Some(media) if essence.ends_with("json") && essence != "application/x-ndjson" => {
                self.check_body(&media["schema"], body)
            }
            Some(_) => Ok(()),
            None if template == "/docs/{file}" => Ok(()),
            None => Err(format!("`{essence}` is not documented")),
        }
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let reference = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        reference.and_then(|pointer| self.document.pointer(pointer)).unwrap_or(value)
    }

    fn template(&self, path: &str) -> Option<&str> {
        let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
        let fits = |template: &str| {
            let (wanted, given): (Vec<&str>, Vec<&str>) =
                (template.split('/').collect(), path.split('/').collect());
            wanted.len() == given.len()
                && wanted.iter().zip(&given).all(|(w, g)| w == g || (w.starts_with('{') && !g.is_empty()))
        };
        self.document["paths"].as_object()?.keys().map(String::as_str).find(|template| fits(template))
    }

    fn check_body(&self, schema: &Value, body: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry(schema.to_string()).or_insert_with(|| {
            let whole = json!({ "components": self.document["components"], "allOf": [schema] });
            jsonschema::draft202012::new(&whole).unwrap()
        });
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        if errors.is_empty() { Ok(()) } else { Err(format!("{errors:?} in {value}")) }
    }
}
