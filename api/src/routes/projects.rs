//! `/projects`: repositories whose pushes are deployed.

pub(crate) mod change;
pub(crate) mod create;

use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use slipway_common::agenda::List;
use slipway_common::model::registered::RegisteredProject;
use slipway_common::model::registered::request::MadeSecrets;
use slipway_common::model::registered::state::SweepState;
use slipway_common::model::request::InvalidField;
use slipway_common::model::{
    CredentialName, CredentialSource, DeploymentSpec, Project, ProjectSlug, RepositoryAddress,
};
use slipway_common::projects::PROJECTS_PAGE_MAX;
use slipway_common::record::Record;

use crate::idempotency::now;
use crate::lease;
use crate::query;
use crate::refusal::{ProjectRefusal, Refusal, RequestPart};
use crate::server::Shared;
use crate::view::{HeadView, ProjectDetail, ProjectList, ProjectView, SweepAccepted};

/// Projects on a page when the request does not say.
const PAGE_DEFAULT: usize = 20;
/// The same as [`PROJECTS_PAGE_MAX`], as a number of a query.
const PAGE_MAX: u64 = 100;

/// Page of the list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProjectsQuery {
    /// Most projects on the page; 20 if not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Secrets that were made because none were given: this is the one time they can be seen.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct NewSecrets {
    /// Of the hook: it signs deliveries.
    #[schema(format = Password, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
    /// Of the hook: the forge sends it along.
    #[schema(format = Password, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Of outgoing webhooks.
    webhooks: Vec<NewWebhookSecret>,
}

/// What signs what is sent to an outgoing webhook.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct NewWebhookSecret {
    /// Its address.
    url: String,
    /// The secret.
    #[schema(format = Password)]
    secret: String,
}

impl NewSecrets {
    fn of(made: &MadeSecrets) -> Option<Self> {
        let shown = |secret: &SecretString| secret.expose_secret().to_owned();
        let webhook = |(url, secret): &(String, SecretString)| NewWebhookSecret {
            url: url.clone(),
            secret: shown(secret),
        };
        (!made.is_empty()).then(|| Self {
            signing_secret: made.signing_secret.as_ref().map(shown),
            token: made.token.as_ref().map(shown),
            webhooks: made.webhooks.iter().map(webhook).collect(),
        })
    }
}

/// A project that was registered or changed.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct StoredProject {
    /// The project.
    #[serde(flatten)]
    project: ProjectView,
    /// Secrets that were made for it, in this answer alone.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<NewSecrets>,
}

impl StoredProject {
    fn new(project: &RegisteredProject, made: &MadeSecrets, base: &str) -> Self {
        Self { project: ProjectView::new(project, base), secrets: NewSecrets::of(made) }
    }
}

/// Lists registered projects in the order of their slugs.
#[utoipa::path(
    get, path = "/projects", tag = "projects", operation_id = "list_projects",
    params(ProjectsQuery),
    responses((status = 200, description = "One page of projects", body = ProjectList))
)]
pub(crate) async fn list(shared: web::Data<Shared>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let wanted: ProjectsQuery = query::read(&request)?;
    let limit = query::number("limit", wanted.limit.as_deref(), 1..=PAGE_MAX)?;
    let limit = limit.map_or(PAGE_DEFAULT, |limit| usize::try_from(limit).unwrap_or(PROJECTS_PAGE_MAX));
    let after: Option<ProjectSlug> = query::parse("cursor", wanted.cursor.as_deref())?;
    let projects = &shared.backend.projects;
    let (page, total) = tokio::try_join!(projects.page(after.as_ref(), limit), projects.count())?;
    let last = page.last().filter(|_| page.len() >= limit).map(|project| project.project.slug.clone());
    let next = match last {
        Some(last) if !projects.page(Some(&last), 1).await?.is_empty() => Some(last.to_string()),
        Some(_) | None => None,
    };
    let base = base_url(&shared, &request);
    let data = page.iter().map(|project| ProjectView::new(project, &base)).collect();
    Ok(HttpResponse::Ok().json(ProjectList { data, total, next_cursor: next }))
}

/// Shows everything that is known of a registered project.
#[utoipa::path(
    get, path = "/projects/{slug}", tag = "projects", operation_id = "show_project",
    params(("slug" = String, Path, description = "Its slug, or its host and path (`gitlab.com%2Fgroup%2Fshop`)")),
    responses((status = 200, description = "The project", body = ProjectDetail))
)]
pub(crate) async fn show(
    shared: web::Data<Shared>,
    slug: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    let slug = parse_slug(&slug)?;
    let backend = &shared.backend;
    let (project, heads, memo) = tokio::try_join!(
        backend.projects.project(&slug),
        backend.projects.heads(&slug),
        backend.agenda.memo(List::Sweeps, slug.as_str()),
    )?;
    let project = project.ok_or(Refusal::NotFound { what: "project" })?;
    Ok(HttpResponse::Ok().json(ProjectDetail {
        project: ProjectView::new(&project, &base_url(&shared, &request)),
        state: memo.as_deref().and_then(SweepState::from_memo),
        heads: heads.iter().filter(|head| head.reference.starts_with("refs/")).map(HeadView::from).collect(),
    }))
}

/// Deletes a registered project. What runs of it goes on running; its deliveries are refused from now on.
#[utoipa::path(
    delete, path = "/projects/{slug}", tag = "projects", operation_id = "delete_project",
    params(("slug" = String, Path, description = "The project's slug, or its host and path")),
    responses((status = 204, description = "Deleted"))
)]
pub(crate) async fn delete(
    shared: web::Data<Shared>,
    slug: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let slug = parse_slug(&slug)?;
    let project = alone(&shared, &slug, async {
        let project = find(&shared, &slug).await?;
        let record = Record::ProjectDeleted { slug: slug.clone(), at: now() };
        shared.backend.record(&record).await?;
        Ok(project)
    })
    .await?;
    shared.hooks.remove(project.hook.id);
    Ok(HttpResponse::NoContent().finish())
}

/// Has a registered project looked at now: its refs are compared with what was deployed.
#[utoipa::path(
    post, path = "/projects/{slug}/sweep", tag = "projects", operation_id = "sweep_project",
    params(("slug" = String, Path, description = "The project's slug, or its host and path")),
    responses((status = 202, description = "It will be looked at", body = SweepAccepted))
)]
pub(crate) async fn sweep(
    shared: web::Data<Shared>,
    slug: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let project = find(&shared, &parse_slug(&slug)?).await?.project.slug.to_string();
    let noted_at = now();
    shared.backend.agenda.note(List::Sweeps, std::slice::from_ref(&project), noted_at).await?;
    Ok(HttpResponse::Accepted().json(SweepAccepted { project, noted_at }))
}

async fn find(shared: &Shared, slug: &ProjectSlug) -> Result<RegisteredProject, Refusal> {
    shared.backend.projects.project(slug).await?.ok_or(Refusal::NotFound { what: "project" })
}

/// Does `work` while nobody else changes the project.
async fn alone<T>(
    shared: &Shared,
    slug: &ProjectSlug,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    lease::alone(&shared.backend, &format!("project/{slug}"), ProjectRefusal::Busy, work).await
}

/// The project that the path names: by its slug, or by the host and path of its repository.
fn parse_slug(text: &str) -> Result<ProjectSlug, Refusal> {
    if let Ok(slug) = text.parse() {
        return Ok(slug);
    }
    let address = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    RepositoryAddress::try_from(address).map(|address| Project::of(&address).slug).map_err(|_| {
        let reason = "must be a slug such as `shop-1a2b3c`, or host and path of a repository".to_owned();
        Refusal::Malformed { part: RequestPart::Path, field: "slug", reason }
    })
}

/// The address under which forges reach the API.
fn base_url(shared: &Shared, request: &HttpRequest) -> String {
    if !shared.settings.public_url.is_empty() {
        return shared.settings.public_url.clone();
    }
    let asked = request.connection_info();
    format!("{}://{}", asked.scheme(), asked.host())
}

/// Stored credentials that a project names must exist; those it has named `before` need not be looked for again.
async fn check_credentials(
    shared: &Shared,
    spec: &DeploymentSpec,
    before: Option<&DeploymentSpec>,
) -> Result<(), Refusal> {
    let before = before.map(named).unwrap_or_default();
    let mut errors = Vec::new();
    for (field, name) in named(spec) {
        let is_new = !before.contains(&(field, name));
        if is_new && shared.backend.store.credential(name).await?.is_none() {
            let reason = "no credential of this name is stored".to_owned();
            errors.push(InvalidField { field: field.to_owned(), reason });
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Refusal::Fields(errors)) }
}

/// The stored credentials of a specification, by the names of their fields.
fn named(spec: &DeploymentSpec) -> Vec<(&'static str, &CredentialName)> {
    let repository = match &spec.credential {
        Some(CredentialSource::Named(name)) => Some(("credential", name)),
        Some(CredentialSource::Inline(_)) | None => None,
    };
    let pull = spec.pull_credential.as_ref().map(|name| ("pull_credential", name));
    repository.into_iter().chain(pull).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_by_its_slug_or_its_repository() {
        let slug = parse_slug("https://gitlab.com/group/shop").unwrap();
        for name in ["gitlab.com/group/shop", "gitlab.com/group/shop.git", "http://gitlab.com/group/shop"] {
            assert_eq!(parse_slug(name).unwrap(), slug, "{name}");
        }
        assert_eq!(parse_slug(slug.as_str()).unwrap(), slug);
        for bad in ["", "Shop", "../x", "a b", "gitlab.com/../x"] {
            assert!(matches!(parse_slug(bad), Err(Refusal::Malformed { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_page_is_as_large_as_the_store_gives() {
        assert_eq!(usize::try_from(PAGE_MAX).unwrap(), PROJECTS_PAGE_MAX);
    }
}
