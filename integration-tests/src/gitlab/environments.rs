//! What others tell of deployments: environments, which come into being by themselves, and where they stand.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Handled, Reply, page};
use super::results::{TEXT_MAX, one_of, transition};
use super::route::Call;
use super::world::{Project, iso};

const TIERS: [&str; 5] = ["production", "staging", "testing", "development", "other"];
const NAME_RULE: &str = "can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces";

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it answers.
    pub external_url: Option<String>,
    /// `production`, `staging`, `testing`, `development` or `other`.
    pub tier: String,
    /// `available` or `stopped`.
    pub state: &'static str,
}

/// A deployment somebody told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its number.
    pub id: u64,
    /// The environment's name.
    pub environment: String,
    /// The commit.
    pub sha: String,
    /// Branch or tag.
    pub reference: String,
    /// Whether that is a tag.
    pub tag: bool,
    /// `running`, `success`, `failed` or `canceled`.
    pub status: &'static str,
    /// Every status it had, in order.
    pub history: Vec<&'static str>,
    /// When it was told of.
    pub created_at: Timestamp,
}

/// `POST deployments`. The commit and the ref were looked for before.
pub(super) fn create_deployment(
    call: &Call,
    project: &mut Project,
    number: &mut dyn FnMut() -> u64,
) -> Handled {
    let needed = |name: &str| call.text(name).ok_or_else(|| Reply::missing(name));
    let (environment, sha, reference) = (needed("environment")?, needed("sha")?, needed("ref")?);
    let status = one_of(&needed("status")?, &["running", "success", "failed", "canceled"]);
    let status =
        status.ok_or_else(|| Reply::json(400, &json!({ "error": "status does not have a valid value" })))?;
    if !is_environment_name(&environment) {
        return Err(Reply::invalid("environment", "is invalid"));
    }
    match project.environments.iter_mut().find(|it| it.name == environment) {
        Some(known) => known.state = "available",
        None => {
            let tier = tier_of(&environment).to_owned();
            let (id, name) = (number(), environment.clone());
            project.environments.push(Environment { id, name, external_url: None, tier, state: "available" });
        }
    }
    let tag = call.flag("tag").unwrap_or(false);
    let (id, history, created_at) = (number(), vec![status], Timestamp::now());
    let new = Deployment { id, environment, sha, reference, tag, status, history, created_at };
    let shown = new.view(project);
    project.deployments.push(new);
    Ok(Reply::json(201, &shown))
}

/// `PUT deployments/:id`.
pub(super) fn update_deployment(call: &Call, project: &mut Project, id: &str) -> Handled {
    let id: Option<u64> = id.parse().ok();
    let given = call.text("status").ok_or_else(|| Reply::missing("status"))?;
    let status = one_of(&given, &["running", "success", "failed", "canceled"])
        .ok_or_else(|| Reply::json(400, &json!({ "error": "status does not have a valid value" })))?;
    let found = project.deployments.iter_mut().find(|it| Some(it.id) == id);
    let found = found.ok_or_else(|| Reply::not_found("Deployment"))?;
    if found.status == status || status == "running" {
        let event = transition(status);
        return Err(Reply::invalid("status", &format!("cannot transition via \"{event}\"")));
    }
    found.status = status;
    found.history.push(status);
    let found = found.clone();
    Ok(Reply::json(200, &found.view(project)))
}

impl Deployment {
    fn view(&self, project: &Project) -> Value {
        let environment = project.environments.iter().find(|it| it.name == self.environment);
        json!({
            "id": self.id, "iid": self.id, "ref": self.reference, "sha": self.sha, "status": self.status,
            "created_at": iso(self.created_at), "updated_at": iso(self.created_at), "deployable": null,
            "user": { "id": 1, "username": "ada", "name": "Ada", "state": "active" },
            "environment": environment.map(Environment::view),
        })
    }
}

/// `GET deployments`: by their numbers, which is the order they were told of in.
pub(super) fn list_deployments(call: &Call, project: &Project) -> Handled {
    let rows = project.deployments.iter();
    let rows = rows.filter(|it| call.query("environment").is_none_or(|name| name == it.environment));
    let mut rows: Vec<Value> = rows.map(|it| it.view(project)).collect();
    if call.query("sort") == Some("desc") {
        rows.reverse();
    }
    Ok(page(call, &rows))
}

fn is_environment_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= TEXT_MAX
        && name.chars().all(|it| it.is_ascii_alphanumeric() || "-_/${}. ".contains(it))
        && !name.starts_with('/')
        && !name.ends_with('/')
}

/// The tier GitLab guesses from a name.
fn tier_of(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if has(&["dev", "review", "trunk"]) {
        "development"
    } else if has(&["test", "tst", "int", "acc", "qa"]) {
        "testing"
    } else if has(&["stag", "model", "pre", "demo", "non-prod"]) {
        "staging"
    } else if has(&["prod", "live"]) {
        "production"
    } else {
        "other"
    }
}

impl Environment {
    fn view(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "slug": self.name, "external_url": self.external_url,
            "tier": self.tier, "state": self.state, "description": null, "auto_stop_at": null,
        })
    }
}

/// `GET environments`.
pub(super) fn list_environments(call: &Call, project: &Project) -> Handled {
    if call.query("search").is_some_and(|text| text.chars().count() < 3) {
        return Err(Reply::json(400, &json!({ "error": "Search query is less than 3 characters" })));
    }
    let rows = project.environments.iter().filter(|it| {
        call.query("name").is_none_or(|name| name == it.name)
            && call.query("search").is_none_or(|text| it.name.contains(text))
            && call.query("states").is_none_or(|state| state == it.state)
    });
    Ok(page(call, &rows.map(Environment::view).collect::<Vec<_>>()))
}

/// `POST environments`.
pub(super) fn create_environment(
    call: &Call,
    project: &mut Project,
    number: &mut dyn FnMut() -> u64,
) -> Handled {
    let name = call.text("name").ok_or_else(|| Reply::missing("name"))?;
    if !is_environment_name(&name) {
        return Err(Reply::invalid("name", NAME_RULE));
    }
    if project.environments.iter().any(|it| it.name == name) {
        let taken = ["has already been taken"];
        return Err(Reply::message(400, json!({ "name": taken, "slug": taken })));
    }
    let tier = call.text("tier").unwrap_or_else(|| tier_of(&name).to_owned());
    check_environment(call, &tier)?;
    let external_url = call.text("external_url");
    let new = Environment { id: number(), name, external_url, tier, state: "available" };
    let shown = new.view();
    project.environments.push(new);
    Ok(Reply::json(201, &shown))
}

fn check_environment(call: &Call, tier: &str) -> Result<(), Reply> {
    if !TIERS.contains(&tier) {
        return Err(Reply::json(400, &json!({ "error": "tier does not have a valid value" })));
    }
    match call.text("external_url") {
        Some(url) if !url.is_empty() && url::Url::parse(&url).is_err() => {
            Err(Reply::invalid("external_url", "is not a valid URI"))
        }
        Some(_) | None => Ok(()),
    }
}

/// `GET`, `PUT`, `DELETE environments/:id` and `POST environments/:id/stop`.
pub(super) fn environment(call: &Call, project: &mut Project, id: &str, action: &str) -> Handled {
    let id: Option<u64> = id.parse().ok();
    let found = project.environments.iter().position(|it| Some(it.id) == id);
    let at = found.ok_or_else(|| Reply::not_found("Environment"))?;
    let known = &mut project.environments[at];
    match action {
        "PUT" => {
            check_environment(call, &call.text("tier").unwrap_or_else(|| known.tier.clone()))?;
            known.tier = call.text("tier").unwrap_or_else(|| known.tier.clone());
            known.external_url = call.text("external_url").or_else(|| known.external_url.take());
        }
        "stop" => known.state = "stopped",
        "DELETE" if known.state != "stopped" => return Err(Reply::forbidden()),
        "DELETE" => {
            project.environments.remove(at);
            return Ok(Reply::empty(204));
        }
        _ => {}
    }
    Ok(Reply::json(200, &known.view()))
}
