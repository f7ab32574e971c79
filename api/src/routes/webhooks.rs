//! `POST /webhooks/{forge}/{hook}`: the inbox. A delivery is limited, verified, read, and kept in the ledger; then it is
//! answered, with nothing to read. Neither the store nor the queue is waited for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use slipway_common::agenda::List;
use slipway_common::backend::RecordError;
use slipway_common::model::registered::state::SweepState;
use slipway_common::model::registered::{Forge, HookEntry, hook_context};
use slipway_common::model::{Delivery, DeliveryKind, HookId};
use slipway_common::record::Record;
use slipway_common::webhook::{self, Headers, OpenSecret, Verified, parse, verify};

use tokio::time::timeout;

use crate::body;
use crate::idempotency::now;
use crate::inbox::Chore;
use crate::metrics::DeliveryOutcome;
use crate::refusal::{DeliveryRefusal, Refusal};
use crate::server::Shared;

/// Longest wait for what the last look at a project has found.
const FOLLOWS_TIMEOUT: Duration = Duration::from_millis(100);

/// Why a delivery was not taken, as it is counted and as it is answered.
type NotTaken = (DeliveryOutcome, Refusal);

/// Takes a delivery of a forge. It needs no token: it is signed, or carries the hook's secret. Whatever an authentic one says
/// is answered with 2xx, so that the forge goes on sending; a repetition is taken once.
#[utoipa::path(
    post, path = "/webhooks/{forge}/{hook}", tag = "projects", operation_id = "receive_delivery", security(()),
    params(
        ("forge" = Forge, Path, description = "What sends it"),
        ("hook" = String, Path, format = Uuid, description = "The hook of a registered project"),
    ),
    request_body(content = String, content_type = "application/json", description = "The delivery, as the forge sends it"),
    responses(
        (status = 200, description = "Nothing follows from it, or it had arrived before"),
        (status = 202, description = "Taken"),
        (status = 401, description = "It does not prove that it comes from the forge", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn receive(
    shared: web::Data<Shared>,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let (forge, hook) = path.into_inner();
    let forge: Forge = forge.parse().map_err(|_| no_such_hook())?;
    match take(&shared, forge, &hook, &request, payload).await {
        Ok(outcome) => {
            shared.metrics.delivery(forge, outcome);
            Ok(answer(outcome))
        }
        Err((outcome, refusal)) => {
            shared.metrics.delivery(forge, outcome);
            Err(refusal)
        }
    }
}

/// The answer to a delivery that was taken: nothing to read.
fn answer(outcome: DeliveryOutcome) -> HttpResponse {
    match outcome {
        DeliveryOutcome::Taken | DeliveryOutcome::Hinted => HttpResponse::Accepted().finish(),
        DeliveryOutcome::Repeated
        | DeliveryOutcome::Ignored
        | DeliveryOutcome::Unreadable
        | DeliveryOutcome::Refused
        | DeliveryOutcome::Unknown
        | DeliveryOutcome::TooLarge
        | DeliveryOutcome::Broken
        | DeliveryOutcome::Unavailable => HttpResponse::Ok().finish(),
    }
}

async fn take(
    shared: &Shared,
    forge: Forge,
    hook: &str,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<DeliveryOutcome, NotTaken> {
    let limits = shared.delivery_limits();
    body::check_announced(request, limits.max_bytes).map_err(unread)?;
    let entry = find(shared, forge, hook).await?;
    let (body, _share) = body::shared(request, payload, limits, &shared.inbox.room).await.map_err(unread)?;
    let headers = headers(request);
    let (entry, verified) = authentic(shared, entry, &headers, &body).await?;
    let hook = entry.hook.id;
    let parsed = match parse(forge, &verified.event, headers.content_type(), &body) {
        Ok(parsed) => parsed,
        Err(error) => {
            tracing::debug!(%hook, code = error.code(), "an authentic delivery cannot be read");
            return Ok(DeliveryOutcome::Unreadable);
        }
    };
    tracing::debug!(%hook, event = verified.event, why = parsed.why, "a delivery was read");
    match parsed.kind {
        None => Ok(DeliveryOutcome::Ignored),
        Some(DeliveryKind::Pipeline { revision }) => {
            later(shared, Chore::Wake { project: entry.project.clone(), revision });
            Ok(DeliveryOutcome::Taken)
        }
        Some(kind @ (DeliveryKind::Push { .. } | DeliveryKind::MergeRequest { .. })) => {
            let delivery = Delivery { id: verified.id, project: entry.project.clone(), at: now(), kind };
            keep(shared, hook, delivery).await
        }
    }
}

/// The hook that the path names.
async fn find(shared: &Shared, forge: Forge, hook: &str) -> Result<Arc<HookEntry>, NotTaken> {
    let unknown = || (DeliveryOutcome::Unknown, no_such_hook());
    let id: HookId = hook.parse().map_err(|_| unknown())?;
    let found = shared.hooks.find(id).await;
    let found = found.map_err(|refusal| (DeliveryOutcome::Unavailable, Refusal::from(refusal)))?;
    found.filter(|entry| entry.forge == forge).ok_or_else(unknown)
}

fn no_such_hook() -> Refusal {
    Refusal::NotFound { what: "hook" }
}

/// How a body that was not read to its end is counted.
fn unread(refusal: Refusal) -> NotTaken {
    let outcome = if matches!(refusal, Refusal::BodyTooLarge { .. }) {
        DeliveryOutcome::TooLarge
    } else if matches!(refusal, Refusal::Delivery(_)) {
        DeliveryOutcome::Unavailable
    } else {
        DeliveryOutcome::Broken
    };
    (outcome, refusal)
}

fn headers(request: &HttpRequest) -> Headers<'_> {
    Headers::collect(request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// What proves itself with a secret of the hook. One that was changed elsewhere a moment ago is looked for; where that is not
/// possible, nobody can say that a delivery is not authentic, and it is to be sent again.
async fn authentic(
    shared: &Shared,
    entry: Arc<HookEntry>,
    headers: &Headers<'_>,
    body: &[u8],
) -> Result<(Arc<HookEntry>, Verified), NotTaken> {
    let refusal = match verified(shared, &entry, headers, body) {
        Ok(verified) => return Ok((entry, verified)),
        Err(refusal) => refusal,
    };
    let may_be_newer = matches!(refusal, webhook::Refusal::SignatureWrong | webhook::Refusal::NoSecret);
    let newer = if may_be_newer { shared.hooks.check(entry.hook.id).await } else { Ok(None) };
    let newer = newer.map_err(|unsure| (DeliveryOutcome::Unavailable, Refusal::from(unsure)))?;
    if let Some(newer) = newer
        && newer.hook != entry.hook
        && let Ok(verified) = verified(shared, &newer, headers, body)
    {
        return Ok((newer, verified));
    }
    tracing::debug!(hook = %entry.hook.id, code = refusal.code(), "a delivery is not believed");
    Err((DeliveryOutcome::Refused, DeliveryRefusal::NotAuthentic(refusal).into()))
}

fn verified(
    shared: &Shared,
    entry: &HookEntry,
    headers: &Headers<'_>,
    body: &[u8],
) -> Result<Verified, webhook::Refusal> {
    let now = Timestamp::now();
    let secrets = opened(shared, entry, now);
    verify(entry.forge, headers, body, &secrets, now, shared.settings.signature_tolerance)
}

/// The secrets of the hook that are still good. They are in clear for as long as one delivery is verified.
fn opened(shared: &Shared, entry: &HookEntry, now: Timestamp) -> Vec<OpenSecret> {
    let place = hook_context(&entry.project);
    let good = entry.hook.secrets.iter().filter(|secret| secret.until.is_none_or(|until| until > now));
    good.filter_map(|secret| match shared.sealer.open(&place, &secret.secret) {
        Ok(open) => Some(OpenSecret { kind: secret.kind, secret: open }),
        Err(error) => {
            tracing::error!(hook = %entry.hook.id, error = %error, "a secret of a hook cannot be opened");
            None
        }
    })
    .collect()
}

/// Whether the last look at the project says that nothing follows from a delivery: of a flood of pushes to branches that no
/// rule names, none is kept and none makes anybody look. What is not known in time counts as of interest.
async fn leads_nowhere(shared: &Shared, delivery: &Delivery) -> bool {
    let asked = shared.backend.agenda.memo(List::Sweeps, delivery.project.as_str());
    let memo = timeout(FOLLOWS_TIMEOUT, asked).await;
    let memo = memo.ok().and_then(Result::ok).flatten();
    let follows = memo.and_then(|memo| SweepState::from_memo(&memo)).and_then(|state| state.follows);
    follows.is_some_and(|follows| !follows.concerns(&delivery.kind))
}

/// Keeps a delivery in the ledger, once; what follows from it is done afterwards.
async fn keep(shared: &Shared, hook: HookId, delivery: Delivery) -> Result<DeliveryOutcome, NotTaken> {
    if shared.inbox.is_flooded(hook, Instant::now()) {
        later(shared, Chore::Look(delivery.project));
        return Ok(DeliveryOutcome::Hinted);
    }
    if leads_nowhere(shared, &delivery).await {
        return Ok(DeliveryOutcome::Ignored);
    }
    let record = Record::DeliveryReceived(delivery.clone());
    let append = async {
        let appended = shared.backend.ledger.append(&record).await;
        appended.map_err(|error| Refusal::from(RecordError::Ledger(error)))
    };
    let kept = shared.inbox.once(hook, &delivery.id, append).await;
    let is_new = kept.map_err(|refusal| (DeliveryOutcome::Unavailable, refusal))?;
    if !is_new {
        return Ok(DeliveryOutcome::Repeated);
    }
    later(shared, Chore::Taken(delivery));
    Ok(DeliveryOutcome::Taken)
}

fn later(shared: &Shared, chore: Chore) {
    if !shared.inbox.later(chore) {
        shared.metrics.chore_dropped();
    }
}
