//! Registered projects as text.

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use slipway_common::model::registered::request::{EnvironmentRequest, ReviewRequest};

use super::line;
use super::table::Table;
use super::text::{ago, clean, short_id, short_revision};
use crate::client::types::{NewWebhookSecret, ProjectCreated, ProjectView, ProjectsPage};

/// One page of projects.
pub(crate) fn print_page(page: &ProjectsPage, now: Timestamp) {
    let mut table = Table::new(&["PROJECT", "REPOSITORY", "TARGET", "ENVIRONMENTS", "CHANGED"]);
    for project in &page.data {
        let names: Vec<&str> = project.environments.iter().map(|rule| rule.name.as_str()).collect();
        table.row([
            project.slug.clone(),
            project.repository_url.clone(),
            project.target.clone(),
            names.join(", "),
            ago(project.updated_at, now),
        ]);
    }
    table.print("");
    if let Some(cursor) = &page.next_cursor {
        line(&format!("{} of {}; go on with --cursor {cursor}", page.data.len(), page.total));
    }
}

/// Everything that is known of one project.
pub(crate) fn print(project: &ProjectView, now: Timestamp) {
    line(&clean(&format!("{}  {}", project.slug, project.repository_url)));
    line(&clean(&format!("  {} builds ({}), runs on {}", project.forge, project.build, project.target)));
    if !project.env.is_empty() {
        let names: Vec<&str> = project.env.keys().map(String::as_str).collect();
        line(&clean(&format!("  variables: {}", names.join(", "))));
    }
    print_rules(project);
    line(&clean(&format!("  webhook {}", project.hook.url)));
    for secret in &project.hook.secrets {
        let until = secret.until.map(|until| format!(", good until {until}")).unwrap_or_default();
        line(&clean(&format!("    {}{until}", secret.kind)));
    }
    print_state(project, now);
    let mut table = Table::new(&["ENVIRONMENT", "REF", "COMMIT", "DEPLOYMENT"]);
    for head in &project.heads {
        table.row([
            head.environment.clone(),
            head.reference.clone(),
            short_revision(&head.revision).to_owned(),
            head.deployment.as_deref().map_or("-", short_id).to_owned(),
        ]);
    }
    if !project.heads.is_empty() {
        table.print("  ");
    }
}

/// Which ref goes where.
pub(crate) fn print_rules(project: &ProjectView) {
    for rule in &project.environments {
        line(&clean(&format!("  {}: {}", rule.name, of(rule))));
    }
    if let Some(review) = &project.review {
        line(&format!("  review-<number>: {}", of_reviews(review)));
    }
}

fn of(rule: &EnvironmentRequest) -> String {
    let on = match (&rule.branch, &rule.tag) {
        (Some(branch), _) => format!("branch {branch}"),
        (None, Some(tag)) => format!("tag {tag}"),
        (None, None) => "the default branch".to_owned(),
    };
    if rule.paths.is_empty() { on } else { format!("{on}, when {} changes", rule.paths.join(" or ")) }
}

fn of_reviews(review: &ReviewRequest) -> String {
    let forks = if review.forks.unwrap_or_default() { ", those from forks too" } else { "" };
    let at_most = review.environments_max.map(|most| format!(", {most} at most")).unwrap_or_default();
    let until = review.ttl_h.map(|hours| format!(", until {hours} h without a push")).unwrap_or_default();
    format!("open merge requests{forks}{at_most}{until}")
}

fn print_state(project: &ProjectView, now: Timestamp) {
    let Some(state) = &project.state else {
        line("  not looked at yet");
        return;
    };
    line(&format!("  looked at {}: {} refs", ago(state.swept_at, now), state.refs));
    if let Some(error) = &state.error {
        line(&clean(&format!("    failed: {} ({})", error.reason, error.code)));
    }
    for note in &state.notes {
        line(&clean(&format!("    {note}")));
    }
}

/// What a person has to enter at the forge.
pub(crate) fn print_by_hand(project: &ProjectCreated, url: &str) {
    line(&clean(&format!("registered the project {}", project.slug)));
    line(&format!("enter a webhook at {}:", clean(&project.forge)));
    line(&clean(&format!("  URL             {url}")));
    if let Some(secret) = &project.secrets.signing_secret {
        line(&clean(&format!("  signing secret  {}", secret.secret().expose_secret())));
    }
    if let Some(token) = &project.secrets.token {
        line(&clean(&format!("  secret token    {}", token.secret().expose_secret())));
    }
    line("  events          pushes, tags; on GitLab merge requests, pipelines and jobs too");
    line(
        "The secrets are not shown again. GitLab before 19.0 knows no signing secret: enter the token there.",
    );
    print_webhook_secrets(&project.secrets.webhooks);
}

/// What was made for outgoing webhooks, the one time it can be seen.
pub(crate) fn print_webhook_secrets(made: &[NewWebhookSecret]) {
    for text in webhook_secrets(made) {
        line(&text);
    }
}

fn webhook_secrets(made: &[NewWebhookSecret]) -> Vec<String> {
    if made.is_empty() {
        return Vec::new();
    }
    let secret = |webhook: &NewWebhookSecret| {
        clean(&format!("  {}  {}", webhook.url, webhook.secret.secret().expose_secret()))
    };
    let mut lines = vec!["The secrets of these webhooks are shown this once:".to_owned()];
    lines.extend(made.iter().map(secret));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_a_sentence() {
        let rule = |branch: Option<&str>, tag: Option<&str>, paths: &[&str]| EnvironmentRequest {
            name: "production".to_owned(),
            branch: branch.map(str::to_owned),
            tag: tag.map(str::to_owned),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..EnvironmentRequest::default()
        };
        assert_eq!(of(&rule(Some("release/*"), None, &[])), "branch release/*");
        assert_eq!(
            of(&rule(None, Some("v*"), &["api/**", "lib/**"])),
            "tag v*, when api/** or lib/** changes"
        );
        assert_eq!(of(&rule(None, None, &[])), "the default branch");
    }

    #[test]
    fn what_merge_requests_get_is_read_as_a_sentence() {
        assert_eq!(of_reviews(&ReviewRequest::default()), "open merge requests");
        let review = ReviewRequest {
            environments_max: Some(5),
            ttl_h: Some(24),
            forks: Some(true),
            ..ReviewRequest::default()
        };
        assert_eq!(
            of_reviews(&review),
            "open merge requests, those from forks too, 5 at most, until 24 h without a push"
        );
    }

    #[test]
    fn secrets_of_webhooks_are_shown_with_a_word_of_warning() {
        assert_eq!(webhook_secrets(&[]), Vec::<String>::new());
        let made = [NewWebhookSecret {
            url: "https://example.com/x".to_owned(),
            secret: "whsec_of-a-test".to_owned().into(),
        }];
        let lines = webhook_secrets(&made);
        assert!(lines[0].contains("this once"), "{lines:?}");
        assert_eq!(lines[1..], ["  https://example.com/x  whsec_of-a-test"]);
        assert!(!format!("{made:?}").contains("whsec_"), "a log does not show them");
    }
}
