//! `/client/containers`: more or fewer containers than the controller ordered last. It goes on from there.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use slipway_common::model::autoscaler::Wish;
use slipway_common::record::Record;

use super::{Client, body, lease, place, said, ticket};
use crate::auth::User;
use crate::body::optional_json;
use crate::idempotency::Ticket;
use crate::refusal::{ClientRefusal, Refusal};
use crate::server::Shared;
use crate::view::ClientMessage;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

/// Adds containers.
#[utoipa::path(
    post, path = "/client/containers", tag = "client", operation_id = "add_containers",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
        description = "Requests under the same key are carried out once")),
    request_body(content = Option<body::AmountRequest>, content_type = "application/json"),
    responses(
        (status = 200, description = "They are being added", body = ClientMessage),
        (status = 404, description = "No client was ever started", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn add(
    shared: web::Data<Shared>,
    user: User,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let given: Value = optional_json(&request, payload, shared.body_limits()).await?;
    let ticket = ticket(&shared, &request, &user, &given).await?;
    wish(&shared, user, &ticket, Change::Add, &given).await?;
    Ok(said("Container pushed"))
}

/// Removes containers; one remains.
#[utoipa::path(
    delete, path = "/client/containers", tag = "client", operation_id = "remove_containers",
    request_body(content = Option<body::AmountRequest>, content_type = "application/json"),
    responses(
        (status = 200, description = "They are being removed", body = ClientMessage),
        (status = 404, description = "No client was ever started", body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn remove(
    shared: web::Data<Shared>,
    user: User,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Refusal> {
    let given: Value = optional_json(&request, payload, shared.body_limits()).await?;
    let ticket = Ticket::fresh(None, None);
    wish(&shared, user, &ticket, Change::Remove, &given).await?;
    Ok(said("Container dropped"))
}

/// Wishes for so many more or fewer. The wish has the id of the ticket, so that a repetition is known.
async fn wish(
    shared: &Shared,
    user: User,
    ticket: &Ticket,
    change: Change,
    given: &Value,
) -> Result<(), Refusal> {
    let (backend, place, id) = (&shared.backend, place()?, ticket.job.as_uuid());
    lease::alone(backend, &place, async {
        let before = backend.autoscalers.autoscaler(&place).await?.and_then(|entry| entry.wish);
        if ticket.repeated && before.is_some_and(|before| before.id == id) {
            return Ok(());
        }
        let client = Client::ready(backend, &place).await?;
        let amount = body::amount(given)?;
        let (_, max) = client.entry()?.autoscaler.settings.replicas();
        let replicas = wanted(count(&client), amount, change, max.get())?;
        if amount > 0 {
            let wish = Wish { id, place: place.clone(), replicas, user: user.0, at: ticket.at };
            backend.record(&Record::ReplicasWished(wish)).await?;
        }
        Ok::<(), Refusal>(())
    })
    .await
}

/// Containers that were ordered last.
fn count(client: &Client) -> u32 {
    client.state.as_ref().map_or(client.deployment.spec.replicas, |state| state.replicas)
}

/// How many there shall be.
fn wanted(count: u32, amount: u32, change: Change, max: u32) -> Result<u32, Refusal> {
    match change {
        Change::Remove => {
            let left = count.checked_sub(amount).filter(|left| *left > 0);
            left.ok_or_else(|| ClientRefusal::NotEnough.into())
        }
        Change::Add => {
            let more = count.saturating_add(amount);
            if amount == 0 || more <= max {
                Ok(more)
            } else {
                Err(Refusal::field(
                    "amount",
                    format!("must leave at most {max} containers; there are {count}"),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_container_remains_and_there_is_a_limit() {
        assert_eq!(wanted(3, 2, Change::Remove, 8).unwrap(), 1);
        assert_eq!(wanted(3, 5, Change::Add, 8).unwrap(), 8);
        assert_eq!(wanted(3, 0, Change::Add, 2).unwrap(), 3);
        for (count, amount) in [(3, 3), (3, 4), (1, 1), (0, 0)] {
            let refusal = wanted(count, amount, Change::Remove, 8).unwrap_err();
            assert_eq!(refusal.problem().document().code, "client_too_few");
        }
        assert!(wanted(3, 6, Change::Add, 8).is_err() && wanted(1, u32::MAX, Change::Add, 8).is_err());
    }
}
