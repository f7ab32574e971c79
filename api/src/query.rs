//! Reading query parameters: all arrive as text, are known by name, and are refused by name.

use std::fmt::Display;
use std::str::FromStr;

use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;
use slipway_common::model::{DeploymentId, JobId};

use crate::refusal::{Refusal, RequestPart};

/// Reads the query into a struct of optional texts.
pub(crate) fn read<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Refusal> {
    web::Query::<T>::from_query(request.query_string()).map(web::Query::into_inner).map_err(|_| {
        malformed("?", "has a parameter that is not known or is given twice; see /openapi.json".to_owned())
    })
}

/// Reads one parameter.
pub(crate) fn parse<T>(field: &'static str, text: Option<&str>) -> Result<Option<T>, Refusal>
where
    T: FromStr,
    T::Err: Display,
{
    text.map(|text| text.parse().map_err(|error: T::Err| malformed(field, format!("is not valid: {error}"))))
        .transpose()
}

/// Reads a number that must lie in a range.
pub(crate) fn number(
    field: &'static str,
    text: Option<&str>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Refusal> {
    let Some(number) = parse::<u64>(field, text)? else { return Ok(None) };
    if range.contains(&number) {
        Ok(Some(number))
    } else {
        Err(malformed(field, format!("must be from {} to {}", range.start(), range.end())))
    }
}

fn malformed(field: &'static str, reason: String) -> Refusal {
    Refusal::Malformed { part: RequestPart::Query, field, reason }
}

/// The deployment that the path names.
pub(crate) fn deployment_id(text: &str) -> Result<DeploymentId, Refusal> {
    text.parse().map_err(|_| not_an_id())
}

/// The job that the path names.
pub(crate) fn job_id(text: &str) -> Result<JobId, Refusal> {
    text.parse().map_err(|_| not_an_id())
}

fn not_an_id() -> Refusal {
    Refusal::Malformed { part: RequestPart::Path, field: "id", reason: "must be a UUID".to_owned() }
}
