//! The sections of the file, each read from its part of the tree.

use std::collections::BTreeSet;

use slipway_common::model::registered::{
    ENVIRONMENT_RULES_MAX, EnvironmentRule, NotifySwitches, On, PATHS_MAX, PathPattern, REVIEW_TTL_MAX_H,
    REVIEWS_MAX, RefPattern, ReviewRule,
};
use slipway_common::model::{BuildMode, CommitMode, EnvironmentName, Hostname, ImageReference, PipelineSpec};

use super::bound::Bound;
use super::reader::{Field, Fields, Reader};
use super::{
    HealthWish, Located, PIPELINE_JOB_MAX_CHARS, PIPELINE_TIMEOUT_MAX_S, ProjectFile, ResourceWish, Rule,
};

/// Version of the format.
const VERSION: u32 = 1;
/// Most host names of one rule; the installation may allow fewer.
const HOSTNAMES_MAX: usize = 100;
const KEYS: [&str; 11] = [
    "version",
    "environments",
    "review",
    "notify",
    "port",
    "replicas",
    "health",
    "resources",
    "build",
    "commit",
    "pipeline",
];
const RULE_KEYS: [&str; 8] =
    ["name", "branch", "tag", "default_branch", "paths", "target", "replicas", "hostnames"];
const REVIEW_KEYS: [&str; 5] = ["target", "paths", "environments_max", "ttl_h", "forks"];
const NOTIFY_KEYS: [&str; 3] = ["statuses", "deployments", "notes"];
const HEALTH_KEYS: [&str; 4] = ["path", "interval_ms", "timeout_ms", "deadline_ms"];
const RESOURCE_KEYS: [&str; 3] = ["memory_bytes", "cpu_millis", "pids"];
const PIPELINE_KEYS: [&str; 3] = ["image", "job", "timeout_s"];
const BUILDS: [(&str, BuildMode); 3] =
    [("auto", BuildMode::Auto), ("docker", BuildMode::Docker), ("gitlab", BuildMode::Gitlab)];
const COMMITS: [(&str, CommitMode); 3] =
    [("push", CommitMode::Push), ("merge_request", CommitMode::MergeRequest), ("none", CommitMode::None)];

impl Reader {
    /// The whole file.
    pub(super) fn file(&mut self, root: &Field<'_>) -> ProjectFile {
        let mut file = ProjectFile::default();
        let Some(fields) = self.fields(root, &KEYS) else { return file };
        if let Some(field) = fields.get("version") {
            self.number(&field, VERSION..=VERSION);
        }
        file.environments = fields.get("environments").and_then(|field| self.rules(&field));
        file.review = fields.get("review").and_then(|field| self.review(&field));
        file.notify = fields.get("notify").and_then(|field| self.notify(&field));
        file.port = fields.get("port").and_then(|field| self.number(&field, 1..=u16::MAX)).map(|it| it.value);
        file.replicas = fields.get("replicas").and_then(|field| self.number(&field, 1..=u32::MAX));
        file.health = fields.get("health").and_then(|field| self.health(&field));
        file.resources = fields.get("resources").and_then(|field| self.resources(&field));
        file.build = fields.get("build").and_then(|field| self.choice(&field, &BUILDS));
        file.commit = fields.get("commit").and_then(|field| self.choice(&field, &COMMITS));
        file.pipeline = fields.get("pipeline").and_then(|field| self.pipeline(&field));
        file
    }

    fn rules(&mut self, field: &Field<'_>) -> Option<Vec<Rule>> {
        let mut rules: Vec<Rule> = Vec::new();
        for item in self.items(field, ENVIRONMENT_RULES_MAX)? {
            let Some(rule) = self.rule(&item) else { continue };
            let is_known = |known: &Rule| {
                known.rule.environment == rule.rule.environment
                    && known.rule.on == rule.rule.on
                    && known.rule.paths == rule.rule.paths
            };
            match rules.iter().find(|known| is_known(known)) {
                None => rules.push(rule),
                Some(first) => {
                    self.refuse(&item, format!("says the same as the rule in line {}", first.place.line));
                }
            }
        }
        Some(rules)
    }

    fn rule(&mut self, field: &Field<'_>) -> Option<Rule> {
        let fields = self.fields(field, &RULE_KEYS)?;
        let environment = self.environment(field, &fields);
        let on = self.on(field, &fields);
        let paths = self.paths(&fields);
        let target = fields.get("target").and_then(|field| self.parsed(&field));
        let replicas = fields.get("replicas").and_then(|field| self.number(&field, 1..=u32::MAX));
        let hostnames = fields.get("hostnames").map(|field| (field.value_place(), self.hostnames(&field)));
        let mut bounds = Vec::new();
        if let Some(replicas) = &replicas {
            bounds.push(Bound::replicas(format!("{}.replicas", field.path), replicas));
        }
        if let Some((place, names)) = &hostnames {
            let path = format!("{}.hostnames", field.path);
            bounds.push(Bound::hostnames(path, &Located { value: names.len(), place: *place }));
        }
        let rule = EnvironmentRule {
            environment: environment?,
            on: on?,
            paths,
            target,
            replicas: replicas.map(|replicas| replicas.value),
            hostnames: hostnames.map(|(_, names)| names).unwrap_or_default(),
        };
        Some(Rule { rule, place: field.place, bounds })
    }

    fn environment(&mut self, rule: &Field<'_>, fields: &Fields<'_>) -> Option<EnvironmentName> {
        let Some(field) = fields.get("name") else {
            self.refuse(rule, "needs `name`, the environment");
            return None;
        };
        let name: EnvironmentName = self.parsed(&field)?;
        if name.as_str().strip_prefix("review-").is_some_and(|rest| rest.parse::<u64>().is_ok()) {
            self.refuse(&field, "is the name of a merge request's environment; see `review`");
            return None;
        }
        Some(name)
    }

    /// Which refs a rule is for: exactly one of three keys says it.
    fn on(&mut self, rule: &Field<'_>, fields: &Fields<'_>) -> Option<On> {
        const ONE_OF: &str = "one of `branch`, `tag` and `default_branch: true`";
        let given: Vec<Field<'_>> =
            ["branch", "tag", "default_branch"].iter().filter_map(|key| fields.get(key)).collect();
        match given.as_slice() {
            [] => {
                self.refuse(rule, format!("needs {ONE_OF}"));
                None
            }
            [field] if field.path.ends_with(".branch") => self.parsed::<RefPattern>(field).map(On::Branch),
            [field] if field.path.ends_with(".tag") => self.parsed::<RefPattern>(field).map(On::Tag),
            [field] => {
                let wanted = self.switch(field)?;
                if !wanted {
                    self.refuse(field, "must be true; name a `branch` or a `tag` in its place otherwise");
                }
                wanted.then_some(On::DefaultBranch)
            }
            [_, second, ..] => {
                self.refuse(second, format!("is too much: a rule has {ONE_OF}"));
                None
            }
        }
    }

    fn paths(&mut self, fields: &Fields<'_>) -> Vec<PathPattern> {
        let items = fields.get("paths").and_then(|field| self.items(&field, PATHS_MAX)).unwrap_or_default();
        items.iter().filter_map(|item| self.parsed(item)).collect()
    }

    fn hostnames(&mut self, field: &Field<'_>) -> Vec<Hostname> {
        let mut names = BTreeSet::new();
        for item in self.items(field, HOSTNAMES_MAX).unwrap_or_default() {
            if let Some(name) = self.parsed(&item)
                && !names.insert(name)
            {
                self.refuse(&item, "is given twice");
            }
        }
        names.into_iter().collect()
    }

    /// `false` for none, `true` for the defaults, or a mapping.
    fn review(&mut self, field: &Field<'_>) -> Option<Option<ReviewRule>> {
        if field.is_switch() {
            return self.switch(field).map(|wanted| wanted.then(ReviewRule::default));
        }
        let fields = self.fields(field, &REVIEW_KEYS)?;
        let rule = ReviewRule::default();
        let environments = fields.get("environments_max");
        let environments = environments.and_then(|field| self.number(&field, 1..=REVIEWS_MAX));
        let ttl = fields.get("ttl_h").and_then(|field| self.number(&field, 1..=REVIEW_TTL_MAX_H));
        Some(Some(ReviewRule {
            target: fields.get("target").and_then(|field| self.parsed(&field)),
            paths: self.paths(&fields),
            environments_max: environments.map_or(rule.environments_max, |it| it.value),
            ttl_h: ttl.map_or(rule.ttl_h, |it| it.value),
            forks: fields.get("forks").and_then(|field| self.switch(&field)).unwrap_or(rule.forks),
        }))
    }

    fn notify(&mut self, field: &Field<'_>) -> Option<NotifySwitches> {
        let fields = self.fields(field, &NOTIFY_KEYS)?;
        let mut switch = |key| fields.get(key).and_then(|field| self.switch(&field));
        Some(NotifySwitches {
            statuses: switch("statuses"),
            deployments: switch("deployments"),
            notes: switch("notes"),
        })
    }

    fn health(&mut self, field: &Field<'_>) -> Option<HealthWish> {
        let fields = self.fields(field, &HEALTH_KEYS)?;
        let path = fields.get("path").and_then(|field| self.health_path(&field));
        let mut number = |key, range| fields.get(key).and_then(|field| self.number(&field, range));
        let interval_ms = number("interval_ms", 50..=60_000).map(|it| it.value);
        let timeout_ms = number("timeout_ms", 1..=u64::MAX).map(|it| it.value);
        let deadline_ms = number("deadline_ms", 1..=u64::MAX);
        Some(HealthWish { place: field.place, path, interval_ms, timeout_ms, deadline_ms })
    }

    fn health_path(&mut self, field: &Field<'_>) -> Option<String> {
        let path = self.text(field)?;
        let fits = path.starts_with('/') && path.len() <= 1_024 && path.bytes().all(|b| b.is_ascii_graphic());
        if !fits {
            self.refuse(field, "must begin with `/` and have at most 1024 printable ASCII characters");
        }
        fits.then(|| path.to_owned())
    }

    fn resources(&mut self, field: &Field<'_>) -> Option<ResourceWish> {
        let fields = self.fields(field, &RESOURCE_KEYS)?;
        Some(ResourceWish {
            memory_bytes: fields.get("memory_bytes").and_then(|field| self.number(&field, 1..=u64::MAX)),
            cpu_millis: fields.get("cpu_millis").and_then(|field| self.number(&field, 10..=u32::MAX)),
            pids: fields.get("pids").and_then(|field| self.number(&field, 1..=u32::MAX)),
        })
    }

    fn pipeline(&mut self, field: &Field<'_>) -> Option<PipelineSpec> {
        let fields = self.fields(field, &PIPELINE_KEYS)?;
        let timeout = fields.get("timeout_s");
        let timeout = timeout.and_then(|field| self.number(&field, 1..=PIPELINE_TIMEOUT_MAX_S));
        Some(PipelineSpec {
            image: fields.get("image").and_then(|field| self.image(&field)),
            job: fields.get("job").and_then(|field| self.job(&field)),
            timeout_s: timeout.map(|it| it.value),
        })
    }

    fn image(&mut self, field: &Field<'_>) -> Option<ImageReference> {
        let image: ImageReference = self.parsed(field)?;
        let name = image.as_str();
        let has_tag = name.contains('@') || name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if has_tag {
            self.refuse(field, "must have no tag and no digest: the tag is the commit");
            return None;
        }
        Some(image)
    }

    fn job(&mut self, field: &Field<'_>) -> Option<String> {
        let job = self.text(field)?;
        let fits = !job.is_empty() && job.chars().count() <= PIPELINE_JOB_MAX_CHARS;
        if !fits || job.contains(char::is_control) {
            let most = PIPELINE_JOB_MAX_CHARS;
            self.refuse(field, format!("must be the name of a job, of {most} characters at most"));
            return None;
        }
        Some(job.to_owned())
    }
}
