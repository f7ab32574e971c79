//! `slipway list`

use serde_json::Value;

use super::CommandError;
use crate::args::ListArgs;
use crate::client::Client;
use crate::exit::Exit;
use crate::view;

/// Prints one page of deployments.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(super) async fn run(client: &Client, args: &ListArgs, json: bool) -> Result<Exit, CommandError> {
    let optional = [
        ("project", args.project.clone()),
        ("environment", args.environment.clone()),
        ("status", args.status.map(|status| status.to_string())),
        ("user", args.user.clone()),
        ("cursor", args.cursor.clone()),
    ];
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    if json {
        let page: Value = client.get(&["deployments"], &query).await?;
        view::json(&page);
    } else {
        view::deployment::print_page(&client.get(&["deployments"], &query).await?, jiff::Timestamp::now());
    }
    Ok(Exit::Done)
}
