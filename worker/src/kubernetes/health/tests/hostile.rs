//! Whatever JSON comes, there is an answer, and always the same one.

use proptest::prelude::*;

use super::*;

/// Words that the readers look for, so that arbitrary objects get past the first look.
const WORDS: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "name",
    "uid",
    "generation",
    "observedGeneration",
    "deletionTimestamp",
    "finalizers",
    "creationTimestamp",
    "annotations",
    "labels",
    "ownerReferences",
    "pod-template-hash",
    "kind",
    "conditions",
    "type",
    "reason",
    "message",
    "lastTransitionTime",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "desiredNumberScheduled",
    "updateStrategy",
    "rollingUpdate",
    "partition",
    "phase",
    "containerStatuses",
    "initContainerStatuses",
    "containers",
    "initContainers",
    "restartPolicy",
    "state",
    "lastState",
    "running",
    "waiting",
    "terminated",
    "exitCode",
    "restartCount",
    "startedAt",
    "finishedAt",
    "ready",
    "startupProbe",
    "readinessProbe",
    "periodSeconds",
    "failureThreshold",
    "initialDelaySeconds",
    "loadBalancer",
    "ingress",
    "suspend",
    "paused",
    "deployment.kubernetes.io/revision",
    "autoscaling.alpha.kubernetes.io/conditions",
];

const TEXTS: &[&str] = &[
    "",
    "True",
    "False",
    "Always",
    "Never",
    "OnFailure",
    "OnDelete",
    "Running",
    "Pending",
    "Failed",
    "Ready",
    "Progressing",
    "PodScheduled",
    "Unschedulable",
    "ReplicaFailure",
    "CrashLoopBackOff",
    "ErrImagePull",
    "OOMKilled",
    "app",
    "2",
    "[[[",
    NOW,
    LONG_AGO,
    "-009999-01-01T00:00:00Z",
    "9999-12-30T22:00:00Z",
    "\u{0}é…\n",
];

const KINDS: &[(&str, &str)] = &[
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "Ingress"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Namespace"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("example.com/v1", "Database"),
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..4_u64).prop_map(Value::from),
        Just(json!(u64::MAX)),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(TEXTS).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 96, 6, |inner| {
        let members = prop::collection::vec((prop::sample::select(WORDS), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

/// A sound object of every shape, to be spoilt.
fn sound() -> Vec<Value> {
    let looping = pod("Running", false, crash_looping(ended(1, "Error")));
    let init = with(looping.clone(), json!({ "status": { "initContainerStatuses": [running(LONG_AGO)] } }));
    let failure = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota");
    let deployment = with(
        deployment(3, [3, 2, 2, 1]),
        json!({ "metadata": { "uid": "web", "annotations":
        { "deployment.kubernetes.io/revision": "2" } }, "status": { "conditions": [failure] } }),
    );
    vec![deployment, looping, init, pod("Running", false, running(LONG_AGO))]
}

/// Puts `junk` in the place of the `nth` node of `value`, counted from the root.
fn spoil(value: &mut Value, nth: &mut usize, junk: &Value) {
    if *nth == 0 {
        *value = junk.clone();
    }
    *nth = nth.wrapping_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, nth, junk)),
        Value::Object(members) => members.values_mut().for_each(|member| spoil(member, nth, junk)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Asks everything that can be asked, twice.
fn ask(object: &Value) {
    let owned_by = |kind: &str| {
        let owner = json!({ "kind": kind, "name": "web", "uid": "web" });
        with(object.clone(), json!({ "metadata": { "ownerReferences": [owner] } }))
    };
    let (spoilt_set, pod) = (owned_by("Deployment"), owned_by("ReplicaSet"));
    let set = json!({ "metadata": { "name": "web", "uid": "web", "annotations": { "deployment.kubernetes.io/revision":
        "2" }, "ownerReferences": [{ "kind": "Deployment", "name": "web", "uid": "web" }] } });
    let (sets, pods) = ([&set, &spoilt_set], [object, &pod]);
    for now in [now(), Timestamp::MIN, Timestamp::MAX] {
        let told = verdict(object, now);
        assert_eq!(verdict(object, now), told);
        // Whatever is told names the object.
        assert!(told.message().is_none_or(|message| message.contains(": ")), "{told:?}");
        for deployment in [object, &sound()[0]] {
            let told = rollout(deployment, &sets, &pods, now);
            assert_eq!(rollout(deployment, &sets, &pods, now), told);
        }
    }
    assert_eq!(troubled_container(object), troubled_container(object));
}

proptest! {
    #[test]
    fn arbitrary_json_has_an_answer(object in any_json()) {
        ask(&object);
    }

    #[test]
    fn arbitrary_objects_of_every_kind_have_an_answer(
        (version, kind) in prop::sample::select(KINDS),
        (metadata, spec, status) in (any_json(), any_json(), any_json()),
    ) {
        let object = json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": status });
        ask(&object);
    }

    #[test]
    fn spoilt_objects_have_an_answer(which in 0..4_usize, nth in 0..60_usize, junk in any_json()) {
        let mut object = sound().swap_remove(which);
        spoil(&mut object, &mut { nth }, &junk);
        ask(&object);
    }
}
