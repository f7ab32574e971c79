//! Who may do what: no role reaches further than it has to, and on a control plane each account may do exactly what
//! stands in the golden files.

use serde_json::Value;
use slipway_integration_tests::control_plane::ControlPlane;

use crate::installed::Installation;
use crate::snapshots::compared;
use crate::{NAMESPACE, SETS, helm, items, object, texts};

/// Verbs by which a right becomes another one.
const NEVER: [&str; 5] = ["*", "escalate", "bind", "impersonate", "deletecollection"];

fn rules(objects: &[Value]) -> Vec<(String, &Value)> {
    let roles =
        objects.iter().filter(|object| matches!(object["kind"].as_str(), Some("Role" | "ClusterRole")));
    let of_role = |role: &'_ Value| role["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    roles.flat_map(|role| items(&role["rules"]).iter().map(move |rule| (of_role(role), rule))).collect()
}

#[tokio::test]
async fn no_role_has_a_wildcard_or_reads_a_secret() {
    let Some(helm) = helm().await else { return };
    for (set, kubernetes) in SETS {
        let objects = helm.objects(set, kubernetes).await;
        let rules = rules(&objects);
        assert_eq!(rules.is_empty(), set == "docker", "{set}: without a cluster there are no rights");
        for (role, rule) in rules {
            let [groups, resources, verbs] = ["apiGroups", "resources", "verbs"].map(|key| texts(&rule[key]));
            assert!(
                !groups.is_empty() && !resources.is_empty() && !verbs.is_empty(),
                "{set}: {role}: {rule}"
            );
            let all = groups.iter().chain(&resources).chain(&verbs);
            assert!(all.clone().all(|word| !word.contains('*')), "{set}: {role}: {rule}");
            assert!(verbs.iter().all(|verb| !NEVER.contains(verb)), "{set}: {role}: {rule}");
            assert!(!groups.contains(&"rbac.authorization.k8s.io"), "{set}: {role}: {rule}");
            let reads = verbs.iter().any(|verb| matches!(*verb, "get" | "list" | "watch"));
            assert!(!(reads && resources.contains(&"secrets")), "{set}: {role}: {rule}");
        }
    }
}

#[tokio::test]
async fn only_worker_and_scaler_are_bound() {
    let Some(helm) = helm().await else { return };
    for (set, kubernetes) in SETS {
        for binding in helm.objects(set, kubernetes).await {
            if matches!(binding["kind"].as_str(), Some("RoleBinding" | "ClusterRoleBinding")) {
                let subjects = items(&binding["subjects"]);
                assert_eq!(subjects.len(), 1, "{set}: {binding}");
                assert_eq!(subjects[0]["kind"], "ServiceAccount", "{set}: {binding}");
                let account = subjects[0]["name"].as_str().unwrap_or_default();
                assert!(account.ends_with("-worker") || account.ends_with("-scaler"), "{set}: {binding}");
            }
        }
    }
}

/// The files are what the suites on a control plane grant to the users they run as.
#[tokio::test]
async fn the_rules_are_those_the_suites_run_with() {
    let Some(helm) = helm().await else { return };
    let objects = helm.objects("trial", "1.34.0").await;
    let mut differing = Vec::new();
    for program in ["worker", "scaler"] {
        let role = object(&objects, "ClusterRole", &format!("slipway-{program}.{NAMESPACE}"));
        let rules = format!("{:#}\n", role["rules"]);
        differing.extend(compared(&format!("rights/{program}.json"), &rules).await);
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_each_account_has_exactly_its_rights() {
    let Some(installation) = Installation::new("trial", &[]).await else { return };
    let plane = &installation.plane;
    let apps = plane.new_namespace().await.expect("a namespace");
    let told = told(&installation, &[("any namespace", &apps)]).await;
    let cluster = compared("rights/cluster.txt", &told).await;
    installation.uninstall().await;
    assert_eq!(cluster, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_listed_namespaces_each_account_has_exactly_its_rights() {
    // Without a control plane there is no name to list.
    if !ControlPlane::available().await {
        return;
    }
    let plane = ControlPlane::shared().await.expect("a control plane");
    let apps = plane.new_namespace().await.expect("a namespace");
    let listed = format!("rbac.namespaces={{{apps}}}");
    let values = ["--set", "rbac.scope=namespaces", "--set", &listed];
    let Some(installation) = Installation::new("trial", &values).await else { return };
    let places = [("a listed namespace", apps.as_str()), ("another namespace", "default")];
    let told = told(&installation, &places).await.replace(&apps, "<listed>");
    let listed = compared("rights/namespaces.txt", &told).await;
    installation.uninstall().await;
    assert_eq!(listed, None);
}

/// What `kubectl auth can-i --list` says of the three accounts in these namespaces, and not of every account.
async fn told(installation: &Installation, places: &[(&str, &str)]) -> String {
    let mut told = String::new();
    for (place, namespace) in places {
        let of_everybody = rights(installation, "default", namespace).await;
        for program in ["api", "worker", "scaler"] {
            let mut rights = rights(installation, &format!("slipway-{program}"), namespace).await;
            rights.retain(|right| !of_everybody.contains(right));
            told += &format!("{program} in {place}\n");
            told.extend(rights.iter().map(|right| format!("  {right}\n")));
        }
    }
    told
}

/// The rights of an account in a namespace: resource, address, names, verbs.
async fn rights(installation: &Installation, account: &str, namespace: &str) -> Vec<String> {
    let account = format!("system:serviceaccount:{}:{account}", installation.namespace);
    let ask = ["auth", "can-i", "--list", "--namespace", namespace, "--as", &account];
    let answer = installation.plane.kubectl(&ask).await.expect("it answers");
    // Columns are as wide as the widest of all.
    let one_line = |row: &str| row.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut rights: Vec<String> = answer.lines().skip(1).map(one_line).collect();
    rights.sort();
    rights
}
