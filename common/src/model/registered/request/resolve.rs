//! A request resolved into a registered project: every field checked, every wrong one named, every secret sealed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use url::{Host, Url};

use super::secret::{self, MadeSecrets};
use super::{EnvironmentRequest, NotifyRequest, ProjectRequest, ReviewRequest, WebhookRequest};
use crate::model::registered::{
    ENVIRONMENT_RULES_MAX, EnvironmentRule, Forge, ForgeObjects, Hook, NotifySettings, OUTGOING_MAX, On,
    Outgoing, PATHS_MAX, PathPattern, REVIEW_TTL_DEFAULT_H, REVIEW_TTL_MAX_H, REVIEWS_DEFAULT, REVIEWS_MAX,
    RefPattern, RegisteredProject, ReviewRule, outgoing_context,
};
use crate::model::request::{Errors, InvalidField, ResolveContext};
use crate::model::{
    BuildMode, DeploymentRequest, EnvironmentName, HookId, Hostname, ProjectSlug, RepositoryAddress,
    TargetName,
};
use crate::webhook::check_signing_secret;

/// The host whose repositories are GitHub's when a request does not say.
const GITHUB_HOST: &str = "github.com";
/// What the names of review environments begin with; digits follow.
const REVIEW_PREFIX: &str = "review-";
/// Longest address of an outgoing webhook.
const WEBHOOK_URL_MAX_BYTES: usize = 2_048;
/// Most names a set-up may have noted of one kind, and the longest of them.
const MADE_MAX: usize = 64;
const MADE_NAME_MAX_BYTES: usize = 255;

/// What resolution needs to know of the installation and the request.
#[derive(Debug, Clone, Copy)]
pub struct ProjectContext<'a> {
    /// What deployments are resolved with.
    pub deployments: ResolveContext<'a>,
    /// Who asks.
    pub user: &'a str,
    /// When.
    pub now: Timestamp,
    /// The hook of a new project.
    pub hook: HookId,
    /// What made secrets follow from, besides the installation's key; another one for each request.
    pub seed: &'a str,
}

/// A project to register, and the secrets that were made for it.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The project.
    pub project: RegisteredProject,
    /// What is shown once.
    pub made: MadeSecrets,
}

impl ProjectRequest {
    /// Resolves the request into a new project.
    ///
    /// # Errors
    /// All fields that were refused, each with its reason.
    pub fn resolve(&self, context: &ProjectContext<'_>) -> Result<Registration, Vec<InvalidField>> {
        self.resolve_over(context, &[])
    }

    /// Resolves the request. Of webhooks among `known` whose secret is not given, the secret stays.
    pub(super) fn resolve_over(
        &self,
        context: &ProjectContext<'_>,
        known: &[Outgoing],
    ) -> Result<Registration, Vec<InvalidField>> {
        let mut errors = Errors::default();
        let base = self.deployment();
        let resolved = base.resolve(&context.deployments).map_err(|wrong| errors.0.extend(wrong)).ok();
        let forge = self.forge(&context.deployments);
        self.check_build(forge, &mut errors);
        let environments = rules(&self.environments, &base, context, &mut errors);
        let review =
            self.review.as_ref().and_then(|wanted| review(wanted, forge, &base, context, &mut errors));
        let wanted = self.notify.clone().unwrap_or_default();
        let mut notify = notify(&wanted, forge, &mut errors);
        let hook = self.hook.clone().unwrap_or_default();
        secret::check(&hook, forge, &mut errors);
        check_made(self.made.as_ref(), &mut errors);
        let Some((project, spec)) = resolved else { return Err(errors.0) };
        let mut made = MadeSecrets::default();
        let webhooks = wanted.webhooks.unwrap_or_default();
        if errors.0.is_empty() {
            notify.outgoing = outgoing(&webhooks, known, &project.slug, context, &mut made, &mut errors);
        }
        let secrets = secret::of_hook(&hook, forge, &project.slug, context, &mut made, &mut errors);
        if !errors.0.is_empty() {
            return Err(errors.0);
        }
        let project = RegisteredProject {
            project,
            forge,
            spec,
            environments,
            review,
            notify,
            hook: Hook { id: context.hook, secrets },
            made: self.made.clone().unwrap_or_default(),
            user: context.user.to_owned(),
            created_at: context.now,
            updated_at: context.now,
        };
        Ok(Registration { project, made })
    }

    /// What its deployments are made from. The environment and the ref are filled in for each of them.
    fn deployment(&self) -> DeploymentRequest {
        DeploymentRequest {
            target: self.target.clone(),
            port: self.port,
            replicas: self.replicas,
            env: self.env.clone(),
            supports: self.supports.clone(),
            build: self.build,
            pipeline: self.pipeline.clone(),
            pull_credential: self.pull_credential.clone(),
            commit: self.commit,
            credential: self.credential.clone(),
            health: self.health.clone(),
            resources: self.resources.clone(),
            ..DeploymentRequest::new(self.repository_url.clone())
        }
    }

    fn forge(&self, context: &ResolveContext<'_>) -> Forge {
        let is_github = || {
            RepositoryAddress::parse(&self.repository_url, context.addresses)
                .is_ok_and(|address| address.host().eq_ignore_ascii_case(GITHUB_HOST))
        };
        self.forge.unwrap_or_else(|| if is_github() { Forge::Github } else { Forge::Gitlab })
    }

    fn check_build(&self, forge: Forge, errors: &mut Errors) {
        let by_pipeline = self.build == Some(BuildMode::Gitlab);
        errors.check("build", !by_pipeline || forge == Forge::Gitlab, || {
            format!("`gitlab` is for repositories on GitLab; this one is on {forge}")
        });
    }
}

/// The rules of the environments. Nothing given is one rule: the default branch into the default environment.
fn rules(
    wanted: &[EnvironmentRequest],
    base: &DeploymentRequest,
    context: &ProjectContext<'_>,
    errors: &mut Errors,
) -> Vec<EnvironmentRule> {
    errors.check("environments", wanted.len() <= ENVIRONMENT_RULES_MAX, || {
        format!("has {} entries, more than the limit of {ENVIRONMENT_RULES_MAX}", wanted.len())
    });
    let mut rules: Vec<EnvironmentRule> = Vec::new();
    for (index, wanted) in wanted.iter().enumerate().take(ENVIRONMENT_RULES_MAX) {
        let place = format!("environments[{index}]");
        let Some(rule) = rule(wanted, &place, base, context, errors) else { continue };
        let is_known = rules.iter().any(|known| known.environment == rule.environment && known.on == rule.on);
        errors.check(place.as_str(), !is_known, || {
            "says what an entry before it says of this environment".to_owned()
        });
        let taken = rule.hostnames.iter().find(|name| is_of_another(&rules, &rule.environment, name));
        errors.check(format!("{place}.hostnames"), taken.is_none(), || {
            "gives a host name that an entry before it gives another environment".to_owned()
        });
        rules.push(rule);
    }
    if wanted.is_empty() {
        rules.push(EnvironmentRule {
            environment: EnvironmentName::default_name(),
            on: On::DefaultBranch,
            paths: Vec::new(),
            target: None,
            replicas: None,
            hostnames: Vec::new(),
        });
    }
    rules
}

/// Whether another environment answers to this name.
fn is_of_another(rules: &[EnvironmentRule], environment: &EnvironmentName, name: &Hostname) -> bool {
    rules.iter().any(|rule| rule.environment != *environment && rule.hostnames.contains(name))
}

fn rule(
    wanted: &EnvironmentRequest,
    place: &str,
    base: &DeploymentRequest,
    context: &ProjectContext<'_>,
    errors: &mut Errors,
) -> Option<EnvironmentRule> {
    let on = on(wanted, place, errors);
    let paths = paths(&wanted.paths, place, errors);
    errors.check(format!("{place}.name"), !is_review(&wanted.name), || {
        format!("names beginning with `{REVIEW_PREFIX}` and a number are those of review environments")
    });
    // Looked at as the deployment it would make, so that the same limits hold and the same words are said.
    let deployment = DeploymentRequest {
        environment: Some(wanted.name.clone()),
        target: wanted.target.clone().or_else(|| base.target.clone()),
        replicas: wanted.replicas,
        hostnames: wanted.hostnames.clone(),
        ..DeploymentRequest::new(base.repository_url.clone())
    };
    let wrong = match deployment.resolve(&context.deployments) {
        Ok((_, spec)) => {
            return Some(EnvironmentRule {
                environment: spec.environment,
                on: on?,
                paths,
                target: wanted.target.as_ref().map(|_| spec.target),
                replicas: wanted.replicas,
                hostnames: spec.hostnames,
            });
        }
        Err(wrong) => wrong,
    };
    for InvalidField { field, reason } in wrong {
        let field = if field == "environment" { "name".to_owned() } else { field };
        let is_its_own = match field.as_str() {
            "target" => wanted.target.is_some(),
            "replicas" => wanted.replicas.is_some(),
            other => other == "name" || other.starts_with("hostnames"),
        };
        errors.check(format!("{place}.{field}"), !is_its_own, || reason);
    }
    None
}

/// `review-` and a number.
fn is_review(name: &str) -> bool {
    let rest = name.strip_prefix(REVIEW_PREFIX);
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn on(wanted: &EnvironmentRequest, place: &str, errors: &mut Errors) -> Option<On> {
    let mut pattern = |name: &str, text: &str| {
        let field = format!("{place}.{name}");
        errors.check(field.clone(), !text.starts_with("refs/"), || {
            "is a name such as `main`, without `refs/` and what follows it".to_owned()
        });
        errors.take(field, text.parse::<RefPattern>())
    };
    match (&wanted.branch, &wanted.tag, wanted.default_branch.unwrap_or_default()) {
        (Some(branch), None, false) => pattern("branch", branch).map(On::Branch),
        (None, Some(tag), false) => pattern("tag", tag).map(On::Tag),
        (None, None, true) => Some(On::DefaultBranch),
        (None, None, false) | (Some(_), Some(_), _) | (_, _, true) => {
            errors.add(place, "must have one of `branch`, `tag` and `\"default_branch\": true`");
            None
        }
    }
}

fn paths(wanted: &[String], place: &str, errors: &mut Errors) -> Vec<PathPattern> {
    let field = format!("{place}.paths");
    errors.check(field.clone(), wanted.len() <= PATHS_MAX, || {
        format!("has {} entries, more than the limit of {PATHS_MAX}", wanted.len())
    });
    let numbered = wanted.iter().enumerate().take(PATHS_MAX);
    numbered.filter_map(|(index, text)| errors.take(format!("{field}[{index}]"), text.parse())).collect()
}

fn review(
    wanted: &ReviewRequest,
    forge: Forge,
    base: &DeploymentRequest,
    context: &ProjectContext<'_>,
    errors: &mut Errors,
) -> Option<ReviewRule> {
    errors.check("review", forge == Forge::Gitlab, || {
        format!("is for repositories on GitLab; this one is on {forge}")
    });
    let environments_max = wanted.environments_max.unwrap_or(REVIEWS_DEFAULT);
    errors.check("review.environments_max", (1..=REVIEWS_MAX).contains(&environments_max), || {
        format!("must be from 1 to {REVIEWS_MAX}")
    });
    let ttl_h = wanted.ttl_h.unwrap_or(REVIEW_TTL_DEFAULT_H);
    errors.check("review.ttl_h", (1..=REVIEW_TTL_MAX_H).contains(&ttl_h), || {
        format!("must be from 1 to {REVIEW_TTL_MAX_H}")
    });
    let target = match &wanted.target {
        Some(name) => Some(target(name, base, context, errors)?),
        None => None,
    };
    let paths = paths(&wanted.paths, "review", errors);
    Some(ReviewRule { target, paths, environments_max, ttl_h, forks: wanted.forks.unwrap_or_default() })
}

/// The target of review environments, looked at as that of a deployment.
fn target(
    name: &str,
    base: &DeploymentRequest,
    context: &ProjectContext<'_>,
    errors: &mut Errors,
) -> Option<TargetName> {
    let deployment = DeploymentRequest {
        target: Some(name.to_owned()),
        ..DeploymentRequest::new(base.repository_url.clone())
    };
    match deployment.resolve(&context.deployments) {
        Ok((_, spec)) => Some(spec.target),
        Err(wrong) => {
            let own = wrong.into_iter().filter(|wrong| wrong.field == "target");
            own.for_each(|wrong| errors.add("review.target", wrong.reason));
            None
        }
    }
}

/// Who is told, still without the outgoing webhooks, which are checked here.
fn notify(wanted: &NotifyRequest, forge: Forge, errors: &mut Errors) -> NotifySettings {
    let on_gitlab = forge == Forge::Gitlab;
    let mut wish = |field: &str, wanted: Option<bool>| {
        errors.check(format!("notify.{field}"), on_gitlab || wanted != Some(true), || {
            format!("is for repositories on GitLab; this one is on {forge}")
        });
        wanted.unwrap_or(on_gitlab)
    };
    let settings = NotifySettings {
        statuses: wish("statuses", wanted.statuses),
        deployments: wish("deployments", wanted.deployments),
        notes: wish("notes", wanted.notes),
        outgoing: Vec::new(),
    };
    check_webhooks(wanted.webhooks.as_deref().unwrap_or_default(), errors);
    settings
}

fn check_webhooks(wanted: &[WebhookRequest], errors: &mut Errors) {
    errors.check("notify.webhooks", wanted.len() <= OUTGOING_MAX, || {
        format!("has {} entries, more than the limit of {OUTGOING_MAX}", wanted.len())
    });
    let mut known = BTreeSet::new();
    for (index, webhook) in wanted.iter().enumerate().take(OUTGOING_MAX) {
        let field = |name: &str| format!("notify.webhooks[{index}].{name}");
        errors.check(field("url"), is_receiver(&webhook.url), || {
            format!(
                "must be an https:// address, or http:// on this machine, without user name, password and \
                 fragment, of at most {WEBHOOK_URL_MAX_BYTES} printable ASCII characters"
            )
        });
        // Written in another way, it is the same receiver all the same.
        let receiver = Url::parse(&webhook.url).map_or_else(|_| webhook.url.clone(), String::from);
        errors.check(field("url"), known.insert(receiver), || "is given twice".to_owned());
        if let Some(secret) = &webhook.secret {
            errors.take(field("secret"), check_signing_secret(secret.secret()));
        }
    }
}

/// Whether results may be sent to this address.
fn is_receiver(text: &str) -> bool {
    let plain = text.len() <= WEBHOOK_URL_MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(url) = Some(text).filter(|_| plain).and_then(|text| Url::parse(text).ok()) else { return false };
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    };
    let scheme_fits = url.scheme() == "https" || (url.scheme() == "http" && is_here);
    let has_user = !url.username().is_empty() || url.password().is_some();
    scheme_fits && url.has_host() && !has_user && url.fragment().is_none()
}

fn outgoing(
    wanted: &[WebhookRequest],
    known: &[Outgoing],
    slug: &ProjectSlug,
    context: &ProjectContext<'_>,
    made: &mut MadeSecrets,
    errors: &mut Errors,
) -> Vec<Outgoing> {
    let mut outgoing = Vec::new();
    for (index, webhook) in wanted.iter().enumerate() {
        let before = known.iter().find(|known| known.url == webhook.url);
        let secret = match (&webhook.secret, before) {
            (Some(secret), _) => secret.secret().clone(),
            (None, Some(before)) => {
                outgoing.push(before.clone());
                continue;
            }
            (None, None) => {
                let secret = secret::signing(&format!("webhook {}", webhook.url), context);
                made.webhooks.push((webhook.url.clone(), secret.clone()));
                secret
            }
        };
        let sealed = context.deployments.sealer.seal(&outgoing_context(slug), &secret);
        let field = format!("notify.webhooks[{index}].secret");
        let url = webhook.url.clone();
        outgoing.extend(errors.take(field, sealed).map(|secret| Outgoing { url, secret }));
    }
    outgoing
}

fn check_made(made: Option<&ForgeObjects>, errors: &mut Errors) {
    let Some(ForgeObjects { hook: _, deploy_token: _, variables, credentials }) = made else { return };
    let fits = |name: &String| (1..=MADE_NAME_MAX_BYTES).contains(&name.len());
    errors.check("made.variables", variables.len() <= MADE_MAX && variables.iter().all(fits), || {
        format!("must be at most {MADE_MAX} names of at most {MADE_NAME_MAX_BYTES} bytes")
    });
    errors.check("made.credentials", credentials.len() <= MADE_MAX, || {
        format!("must be at most {MADE_MAX} names")
    });
}
