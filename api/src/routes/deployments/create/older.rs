//! The older service's form of a wish to deploy: query parameters, and the tokens in headers.

use std::str::FromStr;

use actix_web::HttpRequest;
use serde::Deserialize;
use slipway_common::model::address::AddressError;
use slipway_common::model::request::{ClusterRequest, InvalidField};
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
    /// Older form: address of the cluster's API server, which must be that of a configured target; the
    /// default target if not given.
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
    let server = k8s_url.filter(|url| !url.is_empty());
    let token = secret(&mut errors, request, "k8s-token");
    let mut wanted = DeploymentRequest::new(url);
    wanted.port = number(&mut errors, "container_port", Some(port).filter(|text| !text.is_empty()));
    wanted.replicas = number(&mut errors, "replicas", replicas);
    wanted.branch = branch;
    wanted.repository_token = secret(&mut errors, request, "gitlab-token");
    wanted.cluster = (server.is_some() || token.is_some()).then_some(ClusterRequest { server, token });
    if errors.is_empty() {
        Ok(Wish { user: username, request: wanted })
    } else {
        Err(Refusal::Fields(errors))
    }
}

/// The errors under the names that the fields have in this form.
pub(super) fn named(errors: Vec<InvalidField>) -> Vec<InvalidField> {
    errors
        .into_iter()
        .map(|error| InvalidField { field: name_here(&error.field).to_owned(), ..error })
        .collect()
}

fn name_here(field: &str) -> &str {
    match field {
        "port" => "container_port",
        "repository_token" => "gitlab-token",
        "cluster.server" => "k8s_url",
        "cluster.token" => "k8s-token",
        same => same,
    }
}

/// The secret in a header, if there is one.
fn secret(errors: &mut Vec<InvalidField>, request: &HttpRequest, name: &str) -> Option<SecretText> {
    let text = request.headers().get(name)?.to_str().ok();
    refuse_if(errors, text.is_none(), name, "must be printable ASCII");
    text.map(|text| SecretText::from(text.to_owned()))
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
    use actix_web::http::header::HeaderValue;
    use actix_web::test::TestRequest;
    use secrecy::ExposeSecret as _;

    use super::*;

    const GOOD: &str =
        "username=ada&repository_url=http://gitlab.com/g/shop.git&repository_name=shop&container_port=80";

    fn post(query: &str) -> TestRequest {
        TestRequest::post().uri(&format!("/deployments/?{query}"))
    }

    fn read_query(query: &str) -> Result<Wish, Refusal> {
        read(&post(query).to_http_request(), &AddressPolicy::default())
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
        assert!(matches!(read_query("nope=1"), Err(Refusal::Malformed { .. })));
    }

    #[test]
    fn a_cluster_and_a_token_for_it_are_read() {
        let bare = read_query(GOOD).unwrap().request;
        assert!(bare.cluster.is_none() && bare.repository_token.is_none());
        let empty = read_query(&format!("{GOOD}&k8s_url=")).unwrap().request;
        assert!(empty.cluster.is_none());
        let query = format!("{GOOD}&k8s_url=https://k.example");
        let request = post(&query).insert_header(("k8s-token", "t")).to_http_request();
        let cluster = read(&request, &AddressPolicy::default()).unwrap().request.cluster.unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://k.example"));
        assert_eq!(cluster.token.unwrap().secret().expose_secret(), "t");
        for name in ["k8s-token", "gitlab-token"] {
            let value = HeaderValue::from_bytes(b"\xff").unwrap();
            let request = post(GOOD).insert_header((name, value)).to_http_request();
            let Err(Refusal::Fields(errors)) = read(&request, &AddressPolicy::default()) else {
                panic!("{name} is accepted")
            };
            assert_eq!(errors[0].field, name);
        }
    }

    #[test]
    fn fields_are_refused_under_the_names_of_this_form() {
        let error = |field: &str| InvalidField { field: field.to_owned(), reason: "r".to_owned() };
        let errors = ["cluster.server", "cluster.token", "repository_token", "port", "branch"].map(error);
        let fields: Vec<String> = named(errors.into()).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["k8s_url", "k8s-token", "gitlab-token", "container_port", "branch"]);
    }
}
