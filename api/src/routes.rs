//! The routes, one line each, and what handlers have in common.

pub(crate) mod admin;
pub(crate) mod client;
pub(crate) mod credentials;
pub(crate) mod dead;
pub(crate) mod deployments;
pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod metric_events;
pub(crate) mod metrics;
pub(crate) mod projects;
pub(crate) mod tokens;
pub(crate) mod webhooks;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, Resource, web};

use crate::auth::User;
use crate::refusal::Refusal;

/// Adds every route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    use deployments::{actions, create, events, list, logs, pods, show};
    config
        .service(
            at("/deployments", "GET, POST")
                .route(web::get().to(list::list))
                .route(web::post().to(create::create)),
        )
        .service(
            at("/deployments/{id}", "GET, DELETE")
                .route(web::get().to(show::show))
                .route(web::delete().to(actions::stop)),
        )
        .service(at("/deployments/{id}/cancel", "POST").route(web::post().to(actions::cancel)))
        .service(at("/deployments/{id}/retry", "POST").route(web::post().to(actions::retry)))
        .service(at("/deployments/{id}/repair", "POST").route(web::post().to(actions::repair)))
        .service(at("/deployments/{id}/rollback", "POST").route(web::post().to(actions::rollback)))
        .service(at("/deployments/{id}/events", "GET").route(web::get().to(events::events)))
        .service(at("/deployments/{id}/logs", "GET").route(web::get().to(logs::logs)))
        .service(at("/deployments/{id}/pods/{pod}/logs", "GET").route(web::get().to(pods::logs)))
        .service(at("/deployments/{id}/pods/{pod}/events", "GET").route(web::get().to(pods::events)))
        .service(at("/jobs/{id}", "GET").route(web::get().to(jobs::show)))
        .service(at("/dead", "GET").route(web::get().to(dead::list)))
        .service(
            at("/dead/{id}", "GET, DELETE")
                .route(web::get().to(dead::show))
                .route(web::delete().to(dead::discard)),
        )
        .service(at("/dead/{id}/requeue", "POST").route(web::post().to(dead::requeue)))
        .service(
            at("/admin/rebuild-store", "GET, POST")
                .route(web::get().to(admin::show))
                .route(web::post().to(admin::start)),
        )
        .service(at("/credentials", "GET").route(web::get().to(credentials::list)))
        .service(
            at("/credentials/{name}", "GET, PUT, DELETE")
                .route(web::get().to(credentials::show))
                .route(web::put().to(credentials::store))
                .route(web::delete().to(credentials::delete)),
        )
        .service(
            at("/tokens", "GET, POST")
                .route(web::get().to(tokens::list))
                .route(web::post().to(tokens::create)),
        )
        .service(at("/tokens/{name}", "DELETE").route(web::delete().to(tokens::revoke)))
        .service(at("/healthz", "GET").route(web::get().to(health::alive)))
        .service(at("/readyz", "GET").route(web::get().to(health::ready)))
        .service(at("/metrics", "GET").route(web::get().to(metrics::metrics)))
        .service(at("/openapi.json", "GET").route(web::get().to(docs::document)))
        .service(at("/docs", "GET").route(web::get().to(docs::redirect)))
        .service(at("/docs/{file}", "GET").route(web::get().to(docs::file)))
        .service(at("/", "GET").route(web::get().to(docs::redirect)));
    configure_autoscalers(config);
    configure_projects(config);
}

/// Registered projects, and the inbox of their forges' deliveries.
fn configure_projects(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/projects", "GET, POST")
                .route(web::get().to(projects::list))
                .route(web::post().to(projects::create::create)),
        )
        .service(
            at("/projects/{slug}", "GET, PATCH, DELETE")
                .route(web::get().to(projects::show))
                .route(web::patch().to(projects::change::change))
                .route(web::delete().to(projects::delete)),
        )
        .service(at("/projects/{slug}/sweep", "POST").route(web::post().to(projects::sweep)))
        .service(at("/webhooks/{forge}/{hook}", "POST").route(web::post().to(webhooks::receive)));
}

/// Autoscalers, what they are told, and the older service that was one.
fn configure_autoscalers(config: &mut web::ServiceConfig) {
    use deployments::autoscaler;
    config
        .service(
            at("/deployments/{id}/autoscaler", "GET, PUT, PATCH, DELETE")
                .route(web::get().to(autoscaler::show))
                .route(web::put().to(autoscaler::store))
                .route(web::patch().to(autoscaler::change))
                .route(web::delete().to(autoscaler::delete)),
        )
        .service(
            at("/deployments/{id}/autoscaler/events", "GET").route(web::get().to(autoscaler::events::events)),
        )
        .service(
            at("/deployments/{id}/autoscaler/observed", "GET")
                .route(web::get().to(autoscaler::observed::observed)),
        )
        .service(at("/deployments/{id}/replicas", "PUT").route(web::put().to(autoscaler::replicas::wish)))
        .service(at("/metric-events", "POST").route(web::post().to(metric_events::publish)))
        .service(
            at("/client", "GET, POST, PATCH, DELETE")
                .route(web::get().to(client::show))
                .route(web::post().to(client::start))
                .route(web::patch().to(client::update))
                .route(web::delete().to(client::stop)),
        )
        .service(
            at("/client/containers", "POST, DELETE")
                .route(web::post().to(client::containers::add))
                .route(web::delete().to(client::containers::remove)),
        );
}

/// A path whose other methods are answered with those it has.
fn at(path: &'static str, allow: &'static str) -> Resource {
    let refuse = move || async move { Err::<actix_web::HttpResponse, _>(Refusal::Method { allow }) };
    web::resource(path).default_service(web::to(refuse))
}

impl FromRequest for User {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let user = request.extensions().get::<Self>().cloned();
        ready(user.ok_or(Refusal::Unauthorized { given: false }))
    }
}
