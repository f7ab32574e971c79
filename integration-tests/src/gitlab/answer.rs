//! Answers in the shapes GitLab gives them, whole lists by pages included.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::route::Call;

pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// An answer of the interface. An `Err` of it is one that ends a request early.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    content_type: &'static str,
    body: String,
    pub(super) headers: Vec<(String, String)>,
}

pub(super) type Handled = Result<Reply, Reply>;

const PER_PAGE_DEFAULT: usize = 20;
const PER_PAGE_MAX: usize = 100;

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string(), headers: Vec::new() }
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/plain", body: body.to_owned(), headers: Vec::new() }
    }

    /// A page for people, as proxies in front of GitLab send it.
    pub(super) fn page_for_people(status: u16) -> Self {
        let body = format!("<html><body><h1>GitLab is not responding ({status})</h1></body></html>");
        Self { status, content_type: "text/html", body, headers: Vec::new() }
    }

    pub(super) fn empty(status: u16) -> Self {
        Self::text(status, "")
    }

    /// `{"message": …}`, the usual error.
    pub(super) fn message(status: u16, message: impl Into<Value>) -> Self {
        Self::json(status, &json!({ "message": message.into() }))
    }

    /// `{"message": {field: [reason]}}`, for a field that is not valid.
    pub(super) fn invalid(field: &str, reason: &str) -> Self {
        Self::message(400, json!({ field: [reason] }))
    }

    /// `{"error": …}`, for a parameter that is missing.
    pub(super) fn missing(parameter: &str) -> Self {
        Self::json(400, &json!({ "error": format!("{parameter} is missing") }))
    }

    pub(super) fn unauthorized() -> Self {
        Self::message(401, "401 Unauthorized")
    }

    pub(super) fn forbidden() -> Self {
        Self::message(403, "403 Forbidden")
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::message(404, format!("404 {what} Not Found"))
    }

    /// Something that is asked for by its number, and is not there.
    pub(super) fn absent() -> Self {
        Self::message(404, "404 Not found")
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn into_answer(self, head: bool) -> Answer {
        let mut answer = Response::builder().status(self.status);
        if !self.body.is_empty() {
            answer = answer.header("content-type", self.content_type);
        }
        for (name, value) in self.headers {
            answer = answer.header(name, value);
        }
        let body = if head { Bytes::new() } else { Bytes::from(self.body) };
        answer.body(Full::new(body).boxed()).unwrap_or_else(|_| {
            let mut broken = Response::new(Full::new(Bytes::new()).boxed());
            *broken.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            broken
        })
    }
}

/// One page of `rows`, with the headers that lead to the others.
pub(super) fn page(call: &Call, rows: &[Value]) -> Reply {
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
    let per_page =
        number("per_page").filter(|count| *count > 0).unwrap_or(PER_PAGE_DEFAULT).min(PER_PAGE_MAX);
    let page = number("page").filter(|page| *page > 0).unwrap_or(1);
    let pages = rows.len().div_ceil(per_page).max(1);
    let from = (page - 1).saturating_mul(per_page).min(rows.len());
    let shown = rows[from..(from + per_page).min(rows.len())].to_vec();
    let next = (page < pages).then(|| page + 1);
    let previous = (page > 1).then(|| page - 1);
    let text = |page: Option<usize>| page.map(|page| page.to_string()).unwrap_or_default();
    let mut links = Vec::new();
    for (name, page) in [("prev", previous), ("next", next), ("first", Some(1)), ("last", Some(pages))] {
        if let Some(page) = page {
            links.push(format!("<{}>; rel=\"{name}\"", call.address_of_page(page, per_page)));
        }
    }
    Reply::json(200, &Value::Array(shown))
        .header("x-page", page.to_string())
        .header("x-per-page", per_page.to_string())
        .header("x-next-page", text(next))
        .header("x-prev-page", text(previous))
        .header("x-total", rows.len().to_string())
        .header("x-total-pages", pages.to_string())
        .header("link", links.join(", "))
}
