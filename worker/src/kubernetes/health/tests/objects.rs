//! Service, Ingress, PersistentVolumeClaim, Namespace, HorizontalPodAutoscaler, custom resources and all the rest.

use super::*;

#[test]
fn services_and_ingresses() {
    let service = |spec, status| object("v1", "Service", spec, status);
    let balancer = |status| service(json!({ "type": "LoadBalancer", "clusterIP": "10.0.0.1" }), status);
    let at = |ingress| json!({ "loadBalancer": { "ingress": ingress } });
    let ports = condition("LoadBalancerPortsError", "True", "LoadBalancerMixedProtocolNotSupported", "mixed");
    let ingress = |status| object("networking.k8s.io/v1", "Ingress", json!({}), status);
    check! {
        "within the cluster": service(json!({ "type": "ClusterIP" }), json!({ "loadBalancer": {} })) =>
            "ready",
        "of no type": service(json!({}), json!({})) => "ready",
        "a port of every node": service(json!({ "type": "NodePort" }), json!({})) => "ready",
        "a name elsewhere": service(json!({ "type": "ExternalName", "externalName": "a.example.com" }),
            json!({})) => "ready",
        "no address yet": balancer(json!({ "loadBalancer": {} })) => "may stay",
        "no status": with(balancer(json!({})), json!({ "status": null })) => "may stay",
        "an empty list": balancer(at(json!([]))) => "may stay",
        "a list of nulls": balancer(at(json!([null]))) => "may stay",
        "an address": balancer(at(json!([{ "ip": "192.0.2.1" }]))) => "ready",
        "a hostname": balancer(at(json!([{ "hostname": "lb.example.com" }]))) => "ready",
        "an entry without either": balancer(at(json!([{}]))) => "ready",
        "ports refused": with(balancer(at(json!([{ "ip": "192.0.2.1" }]))), json!({ "status": {
            "conditions": [ports] } })) => "load_balancer_failed",
        "deleted": with(balancer(json!({})), json!({ "metadata": { "deletionTimestamp": LONG_AGO } })) =>
            "deleting",
        "of knative": with(balancer(json!({})), json!({ "apiVersion": "serving.knative.dev/v1" })) =>
            "ready",
        "an Ingress without an address": ingress(json!({ "loadBalancer": {} })) => "may stay",
        "an Ingress at a hostname": ingress(at(json!([{ "hostname": "a.example.com" }]))) => "ready",
        "an Ingress that is just taken up": ingress(at(json!([{}]))) => "ready",
        "an Ingress of the old group": with(ingress(at(json!([{ "ip": "192.0.2.1" }]))), json!({
            "apiVersion": "extensions/v1beta1" })) => "ready",
        "an Ingress of a foreign group": with(ingress(json!({})), json!({ "apiVersion": "example.com/v1" })) =>
            "ready",
        "an Ingress at rubbish": ingress(json!({ "loadBalancer": "none" })) => "may stay",
    }
}

#[test]
fn claims() {
    let claim = |phase: &str| object("v1", "PersistentVolumeClaim", json!({}), json!({ "phase": phase }));
    let asked = |name: &str, created| {
        with(
            claim("Pending"),
            json!({ "metadata": { "creationTimestamp": created,
        "annotations": { name: "csi.example.com" } } }),
        )
    };
    let name = "volume.kubernetes.io/storage-provisioner";
    check! {
        "bound": claim("Bound") => "ready",
        "lost": claim("Lost") => "volume_lost for good",
        "waits for its first user": claim("Pending") => "may stay",
        "no status": with(claim(""), json!({ "status": null })) => "may stay",
        "being made": asked(name, JUST_NOW) => "progressing",
        "being made for an hour": asked(name, LONG_AGO) => "volume_unbound",
        "the same, of an old cluster": asked("volume.beta.kubernetes.io/storage-provisioner", LONG_AGO) =>
            "volume_unbound",
        "being made since nobody knows": asked(name, "yesterday") => "progressing",
        "being made by a clock ahead of ours": asked(name, "2026-03-02T00:00:00Z") => "progressing",
    }
}

#[test]
fn namespaces() {
    let namespace = |status| object("v1", "Namespace", json!({ "finalizers": ["kubernetes"] }), status);
    check! {
        "active": namespace(json!({ "phase": "Active" })) => "ready",
        "no status": namespace(json!(null)) => "ready",
        "on its way out": namespace(json!({ "phase": "Terminating" })) => "deleting",
        "deleted": with(namespace(json!({ "phase": "Active" })), json!({ "metadata": { "deletionTimestamp":
            JUST_NOW } })) => "deleting",
    }
}

#[test]
fn autoscalers() {
    let scaler = |conditions: &[Value]| {
        object("autoscaling/v2", "HorizontalPodAutoscaler", json!({}), json!({ "conditions": conditions }))
    };
    let able = || condition("AbleToScale", "True", "ReadyForNewScale", "");
    let blind = || condition("ScalingActive", "False", "FailedGetResourceMetric", "no metrics");
    let annotated = |json: &str| {
        with(
            scaler(&[]),
            json!({ "apiVersion": "autoscaling/v1", "metadata": { "annotations":
        { "autoscaling.alpha.kubernetes.io/conditions": json } } }),
        )
    };
    check! {
        "works": scaler(&[able(), condition("ScalingActive", "True", "ValidMetricFound", "")]) => "ready",
        "at its limit": scaler(&[condition("ScalingLimited", "True", "TooFewReplicas", "")]) => "ready",
        "says nothing yet": scaler(&[]) => "progressing",
        "no status": with(scaler(&[]), json!({ "status": null })) => "progressing",
        "has metrics only": scaler(&[condition("ScalingActive", "True", "ValidMetricFound", "")]) =>
            "progressing",
        "no metrics for an hour": scaler(&[able(), blind()]) => "scaling_failed",
        "no metrics in the first minutes": scaler(&[able(), with(blind(), json!({ "lastTransitionTime":
            JUST_NOW }))]) => "progressing",
        "no metrics since nobody knows": scaler(&[with(blind(), json!({ "lastTransitionTime": null }))]) =>
            "scaling_failed",
        "no target": scaler(&[condition("AbleToScale", "False", "FailedGetScale", "not found")]) =>
            "scaling_failed",
        "selector is shared": scaler(&[able(), condition("ScalingActive", "False", "AmbiguousSelector",
            "")]) => "scaling_failed",
        "has just scaled": scaler(&[condition("AbleToScale", "False", "BackoffBoth", ""),
            condition("ScalingLimited", "True", "", "")]) => "ready",
        "nothing to scale": scaler(&[able(), condition("ScalingActive", "False", "ScalingDisabled", "")]) =>
            "ready",
        "in an annotation":
            annotated(r#"[{"type":"AbleToScale","status":"True","reason":"ReadyForNewScale"}]"#) => "ready",
        "failing in an annotation":
            annotated(r#"[{"type":"AbleToScale","status":"False","reason":"FailedGetScale"}]"#) =>
            "scaling_failed",
        "rubbish in an annotation": annotated("[{") => "progressing",
        "an object in an annotation": annotated("{}") => "progressing",
        "not taken up": with(scaler(&[]), json!({ "status": { "observedGeneration": 1 } })) =>
            "progressing",
    }
}

#[test]
fn custom_resources() {
    let resource = |conditions: &[Value]| {
        object(
            "example.com/v1",
            "Database",
            json!({}),
            json!({ "observedGeneration": 2, "conditions": conditions }),
        )
    };
    let is = |kind, status| condition(kind, status, "Because", "because");
    check! {
        "ready": resource(&[is("Ready", "True")]) => "ready",
        "not ready": resource(&[is("Ready", "False")]) => "progressing",
        "not known": resource(&[is("Ready", "Unknown")]) => "progressing",
        "available": resource(&[is("Available", "True")]) => "ready",
        "not available": resource(&[is("Available", "False")]) => "progressing",
        "available, not ready": resource(&[is("Available", "True"), is("Ready", "False")]) => "progressing",
        "reconciling": resource(&[is("Ready", "True"), is("Reconciling", "True")]) => "progressing",
        "no longer reconciling": resource(&[is("Ready", "True"), is("Reconciling", "False")]) => "ready",
        "stalled": resource(&[is("Ready", "False"), is("Stalled", "True")]) => "stalled for good",
        "stalled while reconciling": resource(&[is("Reconciling", "True"), is("Stalled", "True")]) =>
            "stalled for good",
        "not stalled": resource(&[is("Ready", "True"), is("Stalled", "False")]) => "ready",
        "stalled with an earlier spec": with(resource(&[is("Stalled", "True")]), json!({ "metadata": {
            "generation": 3 } })) => "progressing",
        "ready with an earlier spec": with(resource(&[is("Ready", "True")]), json!({ "metadata": {
            "generation": 3 } })) => "progressing",
        "a condition of an earlier spec": resource(&[with(is("Ready", "True"), json!({ "observedGeneration":
            1 }))]) => "progressing",
        "a condition of this spec": resource(&[with(is("Ready", "True"), json!({ "observedGeneration": 2
            }))]) => "ready",
        "says something else": resource(&[is("Synced", "False")]) => "ready",
        "counts no generations": with(resource(&[is("Ready", "True")]), json!({ "status": {
            "observedGeneration": null } })) => "ready",
        "no status": with(resource(&[]), json!({ "status": null })) => "ready",
        "a status that is text": with(resource(&[]), json!({ "status": "fine" })) => "ready",
        "conditions as an object": with(resource(&[]), json!({ "status": { "conditions": { "Ready": "False"
            } } })) => "ready",
        "a generation that is text": with(resource(&[]), json!({ "status": { "observedGeneration": "2" } }))
            => "progressing",
        "deleted": with(resource(&[is("Ready", "True")]), json!({ "metadata": { "deletionTimestamp":
            LONG_AGO } })) => "deleting",
    }
}

#[test]
fn all_the_rest() {
    let definition = |conditions: &[Value]| {
        object(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({ "conditions": conditions }),
        )
    };
    let is = |kind, status| condition(kind, status, "Because", "because");
    check! {
        "a ConfigMap": json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "web" },
            "data": {} }) => "ready",
        "a Secret on its way out": json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name":
            "web", "deletionTimestamp": JUST_NOW } }) => "deleting",
        "a disruption budget that allows nothing": object("policy/v1", "PodDisruptionBudget", json!({}),
            json!({ "observedGeneration": 2, "disruptionsAllowed": 0, "conditions": [is("DisruptionAllowed",
            "False")] })) => "ready",
        "an API that does not answer": object("apiregistration.k8s.io/v1", "APIService", json!({}), json!({
            "conditions": [is("Available", "False")] })) => "progressing",
        "a definition that is served": definition(&[is("NamesAccepted", "True"), is("Established", "True")])
            => "ready",
        "a definition that is not served yet": definition(&[is("NamesAccepted", "True")]) => "progressing",
        "a definition that is being set up": definition(&[is("Established", "False")]) => "progressing",
        "a definition whose names are taken": definition(&[is("NamesAccepted", "False")]) =>
            "rejected for good",
        "an item of a list, which has no kind": json!({ "metadata": {}, "status": {} }) => "ready",
        "an empty object": json!({}) => "ready",
        "null": json!(null) => "ready",
        "a list": json!([1, "two"]) => "ready",
        "a date of deletion that is a number": json!({ "metadata": { "deletionTimestamp": 7 } }) => "ready",
    }
}
