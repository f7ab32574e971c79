//! What the last look at a registered project has shown: written by whoever looked, as the memo of its entry on the agenda,
//! and shown by the API.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EnvironmentRule, On, RefPattern};
use crate::model::DeliveryKind;

/// Why a look came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SweepError {
    /// Stable code.
    pub code: String,
    /// One sentence. Holds no secrets.
    pub reason: String,
}

/// Which refs lead anywhere, by the rules of the last look that came to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Follows {
    /// The default branch: its `slipway.yml` may change the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub default_branch: Option<String>,
    /// Branches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub branches: Vec<RefPattern>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub tags: Vec<RefPattern>,
    /// Whether merge requests do; then any branch may be one's source.
    #[serde(default)]
    pub merge_requests: bool,
}

impl Follows {
    /// What these rules follow in a repository with this default branch.
    #[must_use]
    pub fn of(environments: &[EnvironmentRule], merge_requests: bool, default_branch: Option<&str>) -> Self {
        let mut follows =
            Self { default_branch: default_branch.map(str::to_owned), merge_requests, ..Self::default() };
        for rule in environments {
            match &rule.on {
                On::DefaultBranch => {}
                On::Branch(pattern) => follows.branches.push(pattern.clone()),
                On::Tag(pattern) => follows.tags.push(pattern.clone()),
            }
        }
        follows
    }

    /// Whether something may follow from the delivery.
    #[must_use]
    pub fn concerns(&self, kind: &DeliveryKind) -> bool {
        match kind {
            DeliveryKind::MergeRequest { .. } => self.merge_requests,
            DeliveryKind::Pipeline { .. } => false,
            DeliveryKind::Push { reference, .. } => self.concerns_ref(reference),
        }
    }

    fn concerns_ref(&self, reference: &str) -> bool {
        let any = |patterns: &[RefPattern], name: &str| patterns.iter().any(|pattern| pattern.matches(name));
        if let Some(tag) = reference.strip_prefix("refs/tags/") {
            return any(&self.tags, tag);
        }
        let Some(branch) = reference.strip_prefix("refs/heads/") else { return true };
        self.merge_requests
            || self.default_branch.as_deref().is_none_or(|default| default == branch)
            || any(&self.branches, branch)
    }
}

/// How the last look at a project went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SweepState {
    /// When it was.
    #[schema(value_type = String, format = DateTime)]
    pub swept_at: Timestamp,
    /// How many refs the host named.
    #[serde(default)]
    pub refs: u64,
    /// How many requests it took.
    #[serde(default)]
    pub requests: u64,
    /// How many deployments it made.
    #[serde(default)]
    pub deployments: u64,
    /// Looks in a row that came to nothing; 0 when this one did not.
    #[serde(default)]
    pub failures: u32,
    /// Why it came to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub error: Option<SweepError>,
    /// Which refs lead anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub follows: Option<Follows>,
    /// What a person should know, such as a rule that could not be read. Hold no secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl SweepState {
    /// A look in which nothing was found yet.
    #[must_use]
    pub fn at(swept_at: Timestamp) -> Self {
        Self {
            swept_at,
            refs: 0,
            requests: 0,
            deployments: 0,
            failures: 0,
            error: None,
            follows: None,
            notes: Vec::new(),
        }
    }

    /// Reads a memo of the agenda. What somebody else has added to it is left out.
    #[must_use]
    pub fn from_memo(memo: &str) -> Option<Self> {
        serde_json::from_str(memo).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_may_hold_more_or_less() {
        let read = SweepState::from_memo(r#"{"swept_at":"2026-11-20T10:00:00Z","refs":3,"more":{"a":1}}"#);
        let expected = SweepState { refs: 3, ..SweepState::at("2026-11-20T10:00:00Z".parse().unwrap()) };
        assert_eq!(read, Some(expected));
        for bad in ["", "{}", "[]", r#"{"swept_at":"yesterday"}"#] {
            assert_eq!(SweepState::from_memo(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_no_rule_names_leads_nowhere() {
        let rule = |on: On| EnvironmentRule {
            environment: "production".parse().unwrap(),
            on,
            paths: Vec::new(),
            target: None,
            replicas: None,
            hostnames: Vec::new(),
        };
        let rules = [
            rule(On::Branch("release/*".parse().unwrap())),
            rule(On::Tag("v*".parse().unwrap())),
            rule(On::DefaultBranch),
        ];
        let follows = Follows::of(&rules, false, Some("main"));
        let push = |reference: &str| DeliveryKind::Push { reference: reference.to_owned(), revision: None };
        for (reference, concerns) in [
            ("refs/heads/main", true),
            ("refs/heads/release/1", true),
            ("refs/heads/feature", false),
            ("refs/tags/v1", true),
            ("refs/tags/nightly", false),
            ("refs/keep-around/1", true),
        ] {
            assert_eq!(follows.concerns(&push(reference)), concerns, "{reference}");
        }
        assert!(!follows.concerns(&DeliveryKind::MergeRequest { iid: 1 }));
        let reviews = Follows::of(&rules, true, Some("main"));
        assert!(reviews.concerns(&push("refs/heads/feature")), "it may be the source of one");
        assert!(reviews.concerns(&DeliveryKind::MergeRequest { iid: 1 }));
        let unknown = Follows::of(&rules, false, None);
        assert!(unknown.concerns(&push("refs/heads/feature")), "it may be the default branch");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let error = SweepError { code: "unreachable".to_owned(), reason: "It was not reached.".to_owned() };
        let state = SweepState {
            failures: 2,
            error: Some(error),
            notes: vec!["a".to_owned()],
            ..SweepState::at(Timestamp::UNIX_EPOCH)
        };
        assert_eq!(SweepState::from_memo(&serde_json::to_string(&state).unwrap()), Some(state));
    }
}
