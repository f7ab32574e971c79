//! `GET /jobs/{id}`.

use actix_web::{HttpResponse, web};

use crate::query::job_id;
use crate::refusal::Refusal;
use crate::server::Shared;
use crate::view::JobDetail;

/// Shows a job.
#[utoipa::path(
    get, path = "/jobs/{id}", tag = "jobs", operation_id = "show_job",
    params(("id" = String, Path, format = Uuid, description = "The job")),
    responses((status = 200, description = "The job", body = JobDetail))
)]
pub(crate) async fn show(shared: web::Data<Shared>, id: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let job = shared.backend.store.job(job_id(&id)?).await?;
    let job = job.ok_or(Refusal::NotFound { what: "job" })?;
    Ok(HttpResponse::Ok().json(JobDetail::from(job)))
}
