//! A GitLab that follows a script.

use secrecy::SecretString;
use slipway_common::model::RepositoryAddress;
use slipway_gitlab::Gitlab;

use super::{forge, repository};
use crate::client::fake::{self, Answer, Requests};

/// A project on a GitLab that follows `script`, its address, and the requests the GitLab gets.
pub(super) async fn gitlab(script: Vec<Answer>) -> (Gitlab, RepositoryAddress, Requests) {
    let (address, requests) = fake::server(script).await;
    let repository = repository(&format!("http://{address}/group/shop")).unwrap();
    let gitlab = forge::connect(&repository, token()).unwrap();
    (gitlab, repository, requests)
}

/// A token of it.
pub(super) fn token() -> SecretString {
    SecretString::from("glpat-of-a-test")
}
