//! The OpenAPI document: paths from the handlers, schemas from the model, and the errors that any operation may answer.

use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, PathItem, Ref, RefOr, Response};
use utoipa::{Modify, OpenApi, ToResponse};

use crate::problem::ProblemDocument;
use crate::routes::{
    admin, client, credentials, dead, deployments, docs, health, jobs, metric_events, metrics, projects,
    tokens, webhooks,
};
use crate::view::{AutoscalerEnd, AutoscalerStateView, DecisionView, EndView, EventView};

/// A problem document (RFC 9457).
#[derive(ToResponse)]
#[response(description = "A problem document (RFC 9457)", content_type = "application/problem+json")]
#[expect(dead_code, reason = "describes an answer; answers are made from `problem::Problem`")]
pub(crate) struct Problem(ProblemDocument);

#[derive(OpenApi)]
#[openapi(
    info(title = "Slipway", description = "Takes a Git repository and a target, and keeps the application running there."),
    paths(
        deployments::create::create, deployments::list::list, deployments::show::show,
        deployments::actions::stop, deployments::actions::cancel, deployments::actions::retry,
        deployments::actions::repair,
        deployments::actions::rollback, deployments::events::events, deployments::logs::logs,
        deployments::pods::logs, deployments::pods::events,
        deployments::autoscaler::show, deployments::autoscaler::store, deployments::autoscaler::change,
        deployments::autoscaler::delete, deployments::autoscaler::events::events,
        deployments::autoscaler::observed::observed, deployments::autoscaler::replicas::wish,
        metric_events::publish,
        client::show, client::start, client::update, client::stop,
        client::containers::add, client::containers::remove,
        jobs::show,
        dead::list, dead::show, dead::requeue, dead::discard, admin::start, admin::show,
        credentials::list, credentials::show, credentials::store, credentials::delete,
        tokens::list, tokens::create, tokens::revoke,
        projects::list, projects::create::create, projects::show, projects::change::change, projects::delete,
        projects::sweep, webhooks::receive,
        health::alive, health::ready, metrics::metrics, docs::document, docs::redirect, docs::file,
    ),
    components(
        schemas(EventView, EndView, DecisionView, AutoscalerStateView, AutoscalerEnd, ProblemDocument),
        responses(Problem),
    ),
    security(("bearer" = [])),
    modifiers(&Bearer, &CommonErrors),
)]
struct Document;

/// The document as JSON, for a server of this version.
#[must_use]
pub fn document(version: &str) -> String {
    let mut document = Document::openapi();
    version.clone_into(&mut document.info.version);
    document.to_json().unwrap_or_else(|_| "{}".to_owned())
}

/// The security scheme.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token, as created by `POST /tokens` or at first start."))
            .build();
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Adds what any operation of its kind may answer, so that handlers name only what is theirs alone.
struct CommonErrors;

impl Modify for CommonErrors {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let open = crate::auth::is_open(path);
            let named = path.contains('{');
            for (operation, has_body) in operations(item) {
                let mut statuses = vec!["400", "408", "500", "503"];
                if !open {
                    statuses.push("401");
                }
                if named {
                    statuses.push("404");
                }
                if has_body {
                    statuses.extend(["413", "415", "422"]);
                }
                add_problems(operation, &statuses);
            }
        }
    }
}

/// The operations of a path, and whether each takes a body.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&mut Operation, bool)> {
    let without = [item.get.as_mut(), item.delete.as_mut()];
    let with = [item.post.as_mut(), item.put.as_mut(), item.patch.as_mut()];
    let without = without.into_iter().flatten().map(|operation| {
        let has_body = operation.request_body.is_some();
        (operation, has_body)
    });
    without.chain(with.into_iter().flatten().map(|operation| (operation, true)))
}

fn add_problems(operation: &mut Operation, statuses: &[&str]) {
    for status in statuses {
        let problem: RefOr<Response> = RefOr::Ref(Ref::from_response_name("Problem"));
        operation.responses.responses.entry((*status).to_owned()).or_insert(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(&document("1.2.3")).unwrap();
        assert_eq!(document["info"]["version"], "1.2.3");
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 50, "{}", references.len());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    fn collect(value: &serde_json::Value, references: &mut Vec<String>) {
        if let Some(reference) = value.get("$ref").and_then(serde_json::Value::as_str) {
            references.push(reference.to_owned());
        }
        let inner = value.as_object().into_iter().flat_map(|map| map.values());
        inner.chain(value.as_array().into_iter().flatten()).for_each(|value| collect(value, references));
    }
}
