//! Problem documents (RFC 9457): the one form in which errors are answered.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{StatusCode, header::ContentType};
use serde::{Deserialize, Serialize};
use slipway_common::model::request::InvalidField;

use crate::view::Readiness;

/// Media type of a problem document.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong, for programs (`code`) and people (`detail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProblemDocument {
    /// Names the kind of problem; `urn:slipway:problem:` and the code.
    #[schema(example = "urn:slipway:problem:invalid_fields")]
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    #[schema(example = "Unprocessable Entity")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened, in one sentence.
    pub detail: String,
    /// Stable code to program against.
    #[schema(example = "invalid_fields")]
    pub code: String,
    /// The same as `detail`, for clients of the older services.
    pub message: String,
    /// Each field that was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<InvalidField>,
}

/// The process is not ready, and what it can do all the same.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NotReadyDocument {
    /// The problem.
    #[serde(flatten)]
    pub problem: ProblemDocument,
    /// What can be done, and what is in the way of the rest.
    #[serde(flatten)]
    pub readiness: Readiness,
}

/// A problem document on its way out, with the headers that belong to it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<InvalidField>,
    readiness: Option<Readiness>,
    headers: Vec<(HeaderName, HeaderValue)>,
    close: bool,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let (errors, headers) = (Vec::new(), Vec::new());
        Self { status, code, detail: detail.into(), errors, readiness: None, headers, close: false }
    }

    /// Adds what can be done all the same.
    pub(crate) fn with_readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = Some(readiness);
        self
    }

    /// Adds the fields that were refused.
    pub(crate) fn with_errors(mut self, errors: Vec<InvalidField>) -> Self {
        self.errors = errors;
        self
    }

    /// Adds a header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Tells when to come back.
    pub(crate) fn with_retry_after(self, seconds: u16) -> Self {
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Ends the connection after the answer: the rest of the request is not wanted.
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn document(&self) -> ProblemDocument {
        ProblemDocument {
            kind: format!("urn:slipway:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            code: self.code.to_owned(),
            message: self.detail.clone(),
            errors: self.errors.clone(),
        }
    }

    pub(crate) fn response(&self) -> HttpResponse {
        let mut builder = HttpResponse::build(self.status);
        for header in &self.headers {
            builder.append_header(header.clone());
        }
        if self.close {
            builder.force_close();
        }
        let problem = self.document();
        let body = match self.readiness.clone() {
            Some(readiness) => serde_json::to_vec(&NotReadyDocument { problem, readiness }),
            None => serde_json::to_vec(&problem),
        };
        let body = body.unwrap_or_default();
        builder
            .insert_header(ContentType(PROBLEM_JSON.parse().unwrap_or(actix_web::mime::APPLICATION_JSON)))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(body)
    }
}
