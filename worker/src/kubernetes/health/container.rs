//! Containers of a pod, init containers and sidecars among them: how each one fares, and what is wrong with it.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::TroubleCode;
use super::json::{
    age, at, count_or_zero, counted, is_true, items, nothing, object, said, spoken, text, time,
};

/// How long a started container may stay not ready before its probe counts as failed; what the container asks for
/// itself, with a startup probe or an initial delay, comes on top.
const READY_GRACE: SignedDuration = SignedDuration::from_mins(2);

/// How long an end is held against a container that runs again: the kubelet as well forgets after ten minutes.
const CRASH_MEMORY: SignedDuration = SignedDuration::from_mins(10);

/// How often a container must have been started anew before a run that is not ready yet counts as one more turn of
/// a crash loop. A single restart is not one.
const LOOP_RESTARTS_MIN: u64 = 2;

/// What no later attempt changes, in the words of kubelets and runtimes.
const FINAL: [&str; 4] =
    ["runAsNonRoot", "no command specified", "executable file not found", "exec format error"];

/// When a pod is judged, and what its containers have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The present; without it nothing takes too long.
    pub(super) now: Option<Timestamp>,
    /// When the pod was last found ready, or no longer so.
    pub(super) ready_changed: Option<Timestamp>,
}

/// How a container fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does what it should: it is ready, or has done its work.
    Fine,
    /// It is on its way, with what to say about it after the pod's name.
    Starting(String),
    /// Something is wrong.
    Troubled(ContainerTrouble),
}

/// What is wrong with a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerTrouble {
    pub(super) name: String,
    pub(super) code: TroubleCode,
    /// What to say after the pod's name.
    pub(super) words: String,
    pub(super) lasting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Runs to its end before the others start.
    Init,
    /// An init container that stays, and counts for readiness.
    Sidecar,
    Main,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Always,
    OnFailure,
    Never,
}

impl Policy {
    /// The policy of a pod.
    pub(super) fn of_pod(pod: &Value) -> Self {
        Self::named(text(pod, &["spec", "restartPolicy"])).unwrap_or(Self::Always)
    }

    fn named(name: Option<&str>) -> Option<Self> {
        match name {
            Some("Always") => Some(Self::Always),
            Some("OnFailure") => Some(Self::OnFailure),
            Some("Never") => Some(Self::Never),
            Some(_) | None => None,
        }
    }
}

/// One container: its part of the pod's status, and of its spec, null if the spec does not have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    status: &'a Value,
    spec: &'a Value,
    role: Role,
    policy: Policy,
}

/// All containers that a pod has a status of, in the order in which they start.
pub(super) fn containers(pod: &Value) -> Vec<Container<'_>> {
    let inits = items(pod, &["status", "initContainerStatuses"]).iter();
    let mains = items(pod, &["status", "containerStatuses"]).iter();
    let inits = inits.map(|status| Container::of(pod, status, "initContainers", Role::Init));
    let mains = mains.map(|status| Container::of(pod, status, "containers", Role::Main));
    inits.chain(mains).collect()
}

impl<'a> Container<'a> {
    fn of(pod: &'a Value, status: &'a Value, among: &str, role: Role) -> Self {
        let name = text(status, &["name"]);
        let mut specs = items(pod, &["spec", among]).iter();
        let spec = specs.find(|spec| text(spec, &["name"]) == name).unwrap_or(nothing());
        let own = Policy::named(text(spec, &["restartPolicy"]));
        let role = if role == Role::Init && own == Some(Policy::Always) { Role::Sidecar } else { role };
        let policy = match (own, Policy::of_pod(pod), role) {
            (Some(own), _, _) => own,
            // One that succeeded is not run again, though the pod is to run for ever.
            (None, Policy::Always, Role::Init) => Policy::OnFailure,
            (None, of_pod, Role::Init | Role::Sidecar | Role::Main) => of_pod,
        };
        Self { status, spec, role, policy }
    }

    /// Its name.
    pub(super) fn name(&self) -> String {
        text(self.status, &["name"]).map_or_else(|| "without a name".to_owned(), said)
    }

    /// How it fares at `moment`.
    pub(super) fn standing(&self, moment: Moment) -> Standing {
        if let Some(waiting) = self.in_state("waiting") {
            return self.waits(waiting);
        }
        if let Some(end) = self.in_state("terminated") {
            return self.ended(end);
        }
        match self.in_state("running") {
            Some(running) => self.runs(running, moment),
            None => Standing::Starting(format!("{} is not created yet", self.title())),
        }
    }

    /// It runs, but is not ready.
    pub(super) fn runs_unready(&self) -> bool {
        self.role != Role::Init && self.in_state("running").is_some() && !self.is_ready()
    }

    /// It ended with an error, or the instance before it did and it has not been ready since.
    pub(super) fn failure(&self) -> Option<ContainerTrouble> {
        let end = self.in_state("terminated").or_else(|| self.last_end().filter(|_| !self.is_ready()))?;
        (exit_code(end) != 0)
            .then(|| self.trouble(end_code(end, TroubleCode::ContainerFailed), ended_with(end), false))
    }

    /// Its last words stand in the log of the instance before the present one. Those of one that has ended are in its
    /// own, until it is started again.
    pub(super) fn has_previous_logs(&self) -> bool {
        self.in_state("terminated").is_none() && self.last_end().is_some()
    }

    fn waits(&self, waiting: &Value) -> Standing {
        let reason = text(waiting, &["reason"]).unwrap_or_default();
        let message = text(waiting, &["message"]).unwrap_or_default();
        if reason == "CrashLoopBackOff" {
            return self.backs_off();
        }
        let Some((code, what)) = waiting_trouble(reason) else {
            return Standing::Starting(format!("{} is being started", self.title()));
        };
        let is_about_image = matches!(code, TroubleCode::InvalidImageName | TroubleCode::ImagePullFailed);
        let image = if is_about_image { format!(" {}", self.image()) } else { String::new() };
        let cause = said(if message.is_empty() { reason } else { message });
        let lasting =
            matches!(reason, "InvalidImageName" | "ErrImageNeverPull" | "SignatureValidationFailed");
        Standing::Troubled(self.trouble(
            code,
            format!("{what}{image}: {cause}"),
            lasting || is_final(message),
        ))
    }

    /// It ended, and the kubelet waits before it starts it again.
    fn backs_off(&self) -> Standing {
        let last = self.last_end();
        if self.restarts() > 0 {
            return Standing::Troubled(self.loops(last));
        }
        let how = last.map_or_else(|| "ended".to_owned(), ended_with);
        Standing::Starting(format!("{} {how} and will be started again", self.title()))
    }

    fn ended(&self, end: &Value) -> Standing {
        let is_done = exit_code(end) == 0 && self.policy != Policy::Always;
        if is_done {
            return Standing::Fine;
        }
        if self.policy == Policy::Never {
            let words = format!("{} and is not started again", ended_with(end));
            return Standing::Troubled(self.trouble(
                end_code(end, TroubleCode::ContainerFailed),
                words,
                true,
            ));
        }
        if self.restarts() > 0
            && self.last_end().is_none_or(|last| is_recent(last, time(end, &["finishedAt"])))
        {
            return Standing::Troubled(self.loops(Some(end)));
        }
        Standing::Starting(format!("{} {} and will be started again", self.title(), ended_with(end)))
    }

    fn runs(&self, running: &Value, moment: Moment) -> Standing {
        if self.role == Role::Init {
            return Standing::Starting(format!("{} runs", self.title()));
        }
        if self.is_ready() {
            return Standing::Fine;
        }
        let last = self.last_end().filter(|last| is_recent(last, moment.now));
        let is_out_of_memory = last.is_some_and(is_out_of_memory);
        if last.is_some() && (is_out_of_memory || self.restarts() >= LOOP_RESTARTS_MIN) {
            return Standing::Troubled(self.loops(last));
        }
        self.unready(running, moment)
    }

    fn unready(&self, running: &Value, moment: Moment) -> Standing {
        let since = time(running, &["startedAt"]).max(moment.ready_changed);
        let waited = moment.now.zip(since).map(|(now, since)| age(now, since));
        match waited {
            Some(waited) if waited > self.grace() => {
                Standing::Troubled(self.probe_failed(&format!(" for more than {}", spoken(self.grace()))))
            }
            Some(_) | None => Standing::Starting(format!("{} runs but is not ready yet", self.title())),
        }
    }

    /// The trouble of one that runs and is not ready.
    pub(super) fn probe_failed(&self, how_long: &str) -> ContainerTrouble {
        let probe = if self.is_starting_up() { "startup" } else { "readiness" };
        let words = format!("runs, but its {probe} probe has not passed{how_long}");
        self.trouble(TroubleCode::ProbeFailed, words, false)
    }

    /// The trouble of one that ends again and again, `end` being how it did the last time.
    fn loops(&self, end: Option<&Value>) -> ContainerTrouble {
        let how = end.map_or_else(|| "ends".to_owned(), ended_with);
        let code = end.map_or(TroubleCode::CrashLoop, |end| end_code(end, TroubleCode::CrashLoop));
        let words = format!("{how} and was restarted {}", counted(self.restarts(), "time"));
        let message = end.and_then(|end| text(end, &["message"])).unwrap_or_default();
        let lasting = code == TroubleCode::ContainerStartFailed && is_final(message);
        self.trouble(code, words, lasting)
    }

    fn trouble(&self, code: TroubleCode, words: String, lasting: bool) -> ContainerTrouble {
        ContainerTrouble { name: self.name(), code, words: format!("{} {words}", self.title()), lasting }
    }

    fn title(&self) -> String {
        let role = match self.role {
            Role::Init => "init container",
            Role::Sidecar => "sidecar",
            Role::Main => "container",
        };
        format!("{role} {}", self.name())
    }

    fn image(&self) -> String {
        let image = text(self.spec, &["image"]).or_else(|| text(self.status, &["image"]));
        image.map_or_else(|| "(not named)".to_owned(), said)
    }

    fn in_state(&self, state: &str) -> Option<&'a Value> {
        object(self.status, &["state", state])
    }

    fn last_end(&self) -> Option<&'a Value> {
        object(self.status, &["lastState", "terminated"])
    }

    fn restarts(&self) -> u64 {
        count_or_zero(self.status, &["restartCount"])
    }

    fn is_ready(&self) -> bool {
        is_true(self.status, &["ready"])
    }

    /// It has a startup probe that has not passed yet.
    fn is_starting_up(&self) -> bool {
        object(self.spec, &["startupProbe"]).is_some() && !is_true(self.status, &["started"])
    }

    /// How long it may stay not ready.
    fn grace(&self) -> SignedDuration {
        let delay_s = |probe| count_or_zero(self.spec, &[probe, "initialDelaySeconds"]);
        let mut allowed_s = delay_s("readinessProbe");
        if object(self.spec, &["startupProbe"]).is_some() {
            let of_probe = |field, default| match count_or_zero(self.spec, &["startupProbe", field]) {
                0 => default,
                set => set,
            };
            let tries_s = of_probe("periodSeconds", 10_u64).saturating_mul(of_probe("failureThreshold", 3));
            allowed_s = allowed_s.saturating_add(delay_s("startupProbe")).saturating_add(tries_s);
        }
        let allowed_s = i64::try_from(allowed_s).unwrap_or(i64::MAX);
        READY_GRACE.saturating_add(SignedDuration::from_secs(allowed_s))
    }
}

/// The code of a reason to wait and what to say of it, unless it is the ordinary way to start.
fn waiting_trouble(reason: &str) -> Option<(TroubleCode, &'static str)> {
    match reason {
        "InvalidImageName" => Some((TroubleCode::InvalidImageName, "has an invalid image name,")),
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => Some((TroubleCode::ImagePullFailed, "cannot get its image")),
        "CreateContainerConfigError" => Some((TroubleCode::ContainerConfigError, "cannot be configured")),
        "CreateContainerError" => Some((TroubleCode::ContainerCreateFailed, "cannot be created")),
        // `RunContainerError`, errors of hooks, and whatever else a runtime reports in this form.
        other if other.starts_with("Err") || other.ends_with("Error") || other.ends_with("BackOff") => {
            Some((TroubleCode::ContainerStartFailed, "cannot be started"))
        }
        _ => None,
    }
}

/// No later attempt of the same container can go otherwise.
fn is_final(message: &str) -> bool {
    FINAL.iter().any(|words| message.contains(words))
}

/// Whether an end was not long before `then`; it was if that is not known.
fn is_recent(end: &Value, then: Option<Timestamp>) -> bool {
    let finished = time(end, &["finishedAt"]);
    then.zip(finished).is_none_or(|(then, finished)| age(then, finished) <= CRASH_MEMORY)
}

fn exit_code(end: &Value) -> i64 {
    at(end, &["exitCode"]).as_i64().unwrap_or(0)
}

fn is_out_of_memory(end: &Value) -> bool {
    text(end, &["reason"]) == Some("OOMKilled")
}

/// The runtime could not start the command at all, and says why.
fn is_start_error(end: &Value) -> bool {
    matches!(text(end, &["reason"]), Some("StartError" | "ContainerCannotRun"))
}

fn end_code(end: &Value, otherwise: TroubleCode) -> TroubleCode {
    if is_out_of_memory(end) {
        TroubleCode::OutOfMemory
    } else if is_start_error(end) {
        TroubleCode::ContainerStartFailed
    } else {
        otherwise
    }
}

/// How a container ended, for a sentence. Its own last words are left out: those are its log.
fn ended_with(end: &Value) -> String {
    if is_out_of_memory(end) {
        return "was killed for using more memory than its limit".to_owned();
    }
    if is_start_error(end) {
        let why = text(end, &["message"]).map_or_else(|| "no reason is given".to_owned(), said);
        return format!("could not be started: {why}");
    }
    let code = exit_code(end);
    let meaning = match code {
        126 => " (its command cannot be executed)",
        127 => " (its command was not found)",
        134 => " (it aborted)",
        137 => " (it was killed)",
        139 => " (it accessed memory it must not)",
        143 => " (it was told to end)",
        _ => "",
    };
    format!("ended with exit code {code}{meaning}")
}
