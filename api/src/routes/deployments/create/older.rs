//! The older service's form of a wish to deploy: query parameters, and the token in a header.

use std::str::FromStr;

use actix_web::HttpRequest;
use serde::Deserialize;
use slipway_common::model::address::AddressError;
use slipway_common::model::request::InvalidField;
use slipway_common::model::{AddressPolicy, DeploymentRequest, RepositoryAddress};
use slipway_common::secrets::SecretText;

use super::Wish;
use crate::query;
use crate::refusal::Refusal;

/// Longest user name.
const USERNAME_MAX_BYTES: usize = 255;

/// Parameters of the older form; with any of them the body is not read.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct OlderQuery {
    /// Older form: who asks; becomes the `user` of the deployment. Required there.
    username: Option<String>,
    /// Older form: address of the repository; `http` becomes `https`. Required there.
    repository_url: Option<String>,
    /// Older form: name of the repository, which must be the last part of its address. Required there.
    repository_name: Option<String>,
    /// Older form: refused, no Kubernetes target is configured.
    k8s_url: Option<String>,
    /// Older form: port the application listens on. Required there.
    #[param(value_type = Option<u16>, minimum = 1)]
    container_port: Option<String>,
    /// Older form: the branch; the repository's default branch if not given.
    branch: Option<String>,
    /// Older form: number of replicas; 1 if not given.
    #[param(value_type = Option<u32>, minimum = 1)]
    replicas: Option<String>,
    /// Older form: understood, not used.
    service_id: Option<String>,
}

/// Reads the older form.
pub(super) fn read(request: &HttpRequest, policy: &AddressPolicy) -> Result<Wish, Refusal> {
    let OlderQuery {
        username,
        repository_url,
        repository_name,
        k8s_url,
        container_port,
        branch,
        replicas,
        service_id: _,
    } = query::read(request)?;
    let mut errors = Vec::new();
    let username = required(&mut errors, "username", username);
    let url = https(required(&mut errors, "repository_url", repository_url), policy);
    let name = required(&mut errors, "repository_name", repository_name);
    let port = required(&mut errors, "container_port", container_port);
    check_user(&mut errors, &username);
    check_name(&mut errors, &url, &name, policy);
    let has_cluster = k8s_url.is_some_and(|url| !url.is_empty());
    refuse_if(&mut errors, has_cluster, "k8s_url", "no Kubernetes target is configured");
    let has_cluster_token = request.headers().contains_key("k8s-token");
    refuse_if(&mut errors, has_cluster_token, "k8s-token", "no Kubernetes target is configured");
    let token = request.headers().get("gitlab-token").map(|value| value.to_str().map(str::to_owned));
    refuse_if(&mut errors, matches!(token, Some(Err(_))), "gitlab-token", "must be printable ASCII");
    let mut wanted = DeploymentRequest::new(url);
    wanted.port = number(&mut errors, "container_port", Some(port).filter(|text| !text.is_empty()));
    wanted.replicas = number(&mut errors, "replicas", replicas);
    wanted.branch = branch;
    wanted.repository_token = token.and_then(Result::ok).map(SecretText::from);
    if errors.is_empty() {
        Ok(Wish { user: username, request: wanted })
    } else {
        Err(Refusal::Fields(errors))
    }
}

fn required(errors: &mut Vec<InvalidField>, field: &str, value: Option<String>) -> String {
    let value = value.unwrap_or_default();
    refuse_if(errors, value.is_empty(), field, "is missing");
    value
}

fn refuse_if(errors: &mut Vec<InvalidField>, refused: bool, field: &str, reason: &str) {
    if refused {
        errors.push(InvalidField { field: field.to_owned(), reason: reason.to_owned() });
    }
}

fn number<T: FromStr>(errors: &mut Vec<InvalidField>, field: &str, text: Option<String>) -> Option<T> {
    let text = text?;
    let number = text.parse().ok();
    refuse_if(errors, number.is_none(), field, "must be a number");
    number
}

/// The older service always used `https`, whatever was given.
fn https(url: String, policy: &AddressPolicy) -> String {
    match RepositoryAddress::parse(&url, policy) {
        Err(AddressError::InsecureHttp) => {
            url.split_once("://").map_or_else(|| url.clone(), |(_, rest)| format!("https://{rest}"))
        }
        Ok(_) | Err(_) => url,
    }
}

fn check_user(errors: &mut Vec<InvalidField>, user: &str) {
    let harmless = user.len() <= USERNAME_MAX_BYTES && !user.chars().any(char::is_control);
    refuse_if(errors, !harmless, "username", "must have at most 255 bytes and no control characters");
}

/// The name is checked where the address can be read; otherwise the address is refused anyway.
fn check_name(errors: &mut Vec<InvalidField>, url: &str, name: &str, policy: &AddressPolicy) {
    let differs = RepositoryAddress::parse(url, policy)
        .is_ok_and(|address| !name.is_empty() && !address.name().eq_ignore_ascii_case(name));
    refuse_if(errors, differs, "repository_name", "must be the last part of `repository_url`");
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const GOOD: &str =
        "username=ada&repository_url=http://gitlab.com/g/shop.git&repository_name=shop&container_port=80";

    fn read_query(query: &str) -> Result<Wish, Refusal> {
        let request = TestRequest::post().uri(&format!("/deployments/?{query}")).to_http_request();
        read(&request, &AddressPolicy::default())
    }

    fn refused(query: &str) -> Vec<String> {
        match read_query(query) {
            Err(Refusal::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wish_is_read_and_made_https() {
        let wish = read_query(&format!("{GOOD}&replicas=2&branch=main")).unwrap();
        assert_eq!(wish.user, "ada");
        assert_eq!(wish.request.repository_url, "https://gitlab.com/g/shop.git");
        assert_eq!((wish.request.port, wish.request.replicas), (Some(80), Some(2)));
        assert_eq!(wish.request.branch.as_deref(), Some("main"));
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        assert_eq!(refused("branch=x"), ["username", "repository_url", "repository_name", "container_port"]);
        assert_eq!(refused(&GOOD.replace("=80", "=http")), ["container_port"]);
        assert_eq!(refused(&GOOD.replace("name=shop", "name=other")), ["repository_name"]);
        assert_eq!(refused(&format!("{GOOD}&k8s_url=https://k")), ["k8s_url"]);
        assert!(matches!(read_query("nope=1"), Err(Refusal::Malformed { .. })));
    }
}
