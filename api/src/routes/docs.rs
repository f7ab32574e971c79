//! `/openapi.json`, and `/docs`, which shows it in a browser without anything from elsewhere.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use utoipa_swagger_ui::Config;

use crate::refusal::Refusal;
use crate::server::Shared;

const FIRST_PAGE: &str = "/docs/index.html";

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operation", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1 document", body = Object, content_type = "application/json"))
)]
pub(crate) async fn document(shared: web::Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(shared.document.clone())
}

/// To the browsable description.
#[utoipa::path(
    get, path = "/docs", tag = "operation", operation_id = "docs", security(()),
    responses((status = 302, description = "The browsable description is at `/docs/index.html`"))
)]
pub(crate) async fn redirect() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, FIRST_PAGE)).finish()
}

/// A file of the browsable description.
#[utoipa::path(
    get, path = "/docs/{file}", tag = "operation", operation_id = "docs_file", security(()),
    params(("file" = String, Path, description = "Name of the file", example = "index.html")),
    responses((status = 200, description = "The file", body = String, content_type = "text/html"))
)]
pub(crate) async fn file(name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let config = Arc::new(Config::from("/openapi.json").persist_authorization(false));
    match utoipa_swagger_ui::serve(&name, config) {
        Ok(Some(file)) => {
            Ok(HttpResponse::Ok().content_type(file.content_type).body(file.bytes.into_owned()))
        }
        Ok(None) => Err(Refusal::NotFound { what: "file" }),
        Err(_) => Err(Refusal::Internal("the browsable description cannot be served")),
    }
}
