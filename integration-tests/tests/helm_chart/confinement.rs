//! `rbac.confine` on a control plane: whatever worker and scaler may do by their roles, they do it in the namespaces of
//! applications only.

use reqwest::{Certificate, Method, StatusCode};
use serde_json::{Value, json};
use slipway_integration_tests::control_plane::ControlPlane;

use crate::installed::Installation;

/// What the policies say.
const OBJECTS: &str = "Slipway changes objects only in namespaces with the label";
const NAMESPACES: &str = "A namespace of Slipway has the label";
const FOREIGN: &str = "Slipway changes only namespaces with the label";

/// A service account of the release, as the API server sees it.
struct Account {
    client: reqwest::Client,
    server: String,
    token: String,
}

impl Account {
    async fn new(plane: &ControlPlane, namespace: &str, name: &str) -> Self {
        let token =
            plane.kubectl(&["create", "token", name, "--namespace", namespace]).await.expect("a token");
        let authority = Certificate::from_pem(plane.ca_pem().as_bytes()).expect("a certificate");
        let client =
            reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().expect("a client");
        Self { client, server: plane.server_url().to_owned(), token: token.trim().to_owned() }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, String) {
        let kind = match method {
            Method::PATCH if path.contains("fieldManager") => "application/apply-patch+yaml",
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut request =
            self.client.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("a text"))
    }

    /// The server refuses, and says why.
    async fn refused(&self, method: Method, path: &str, body: Option<&Value>, why: &str) {
        let (status, text) = self.send(method.clone(), path, body).await;
        assert!(status == StatusCode::FORBIDDEN && text.contains(why), "{method} {path}: {status}: {text}");
    }

    async fn done(&self, method: Method, path: &str, body: Option<&Value>) {
        let (status, text) = self.send(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status}: {text}");
    }

    /// Waits until the server refuses with these words: it learns of roles and policies a moment later.
    async fn until_refused(&self, path: &str, body: &Value, why: &str) {
        for _ in 0..600 {
            let (status, text) = self.send(Method::POST, path, Some(body)).await;
            if status == StatusCode::FORBIDDEN && text.contains(why) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{path} is not refused with: {why}");
    }
}

fn namespace(name: &str, labels: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

fn deployment() -> Value {
    let labels = json!({ "app": "shop" });
    let template = json!({
        "metadata": { "labels": labels },
        "spec": { "containers": [{ "name": "shop", "image": "registry.test/shop:1" }] },
    });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "shop" },
        "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": template },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_and_scaler_change_nothing_of_others() {
    let Some(release) = Installation::new("trial", &[]).await else { return };
    let home = release.namespace.clone();
    let worker = Account::new(&release.plane, &home, "slipway-worker").await;
    let scaler = Account::new(&release.plane, &home, "slipway-scaler").await;
    let map = json!({ "metadata": { "name": "probe" } });
    worker.until_refused("/api/v1/namespaces/default/configmaps?dryRun=All", &map, OBJECTS).await;
    let unmarked = namespace(&format!("{home}-unmarked"), &json!({}));
    worker.until_refused("/api/v1/namespaces?dryRun=All", &unmarked, NAMESPACES).await;

    foreign_objects_are_safe(&release, &worker, &scaler).await;
    let apps = format!("{home}--default");
    namespaces_are_marked(&worker, &apps).await;
    applications_are_free(&worker, &scaler, &apps).await;

    worker.refused(Method::DELETE, &format!("/api/v1/namespaces/{home}"), None, FOREIGN).await;
    worker.done(Method::DELETE, &format!("/api/v1/namespaces/{apps}"), None).await;
    release.uninstall().await;
}

/// Slipway's own namespace is not one of applications, so its secrets and programs are out of reach.
async fn foreign_objects_are_safe(release: &Installation, worker: &Account, scaler: &Account) {
    let home = &release.namespace;
    let secret = format!("/api/v1/namespaces/{home}/secrets/slipway-sealing-key");
    let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "slipway-sealing-key" } });
    worker.refused(Method::GET, &secret, None, "cannot get resource").await;
    // An apply answers with the whole object, so it must be refused even when it changes nothing.
    for dry_run in ["", "&dryRun=All"] {
        let apply = format!("{secret}?fieldManager=slipway&force=true{dry_run}");
        worker.refused(Method::PATCH, &apply, Some(&body), OBJECTS).await;
    }
    worker.refused(Method::DELETE, &secret, None, OBJECTS).await;
    let api = format!("/apis/apps/v1/namespaces/{home}/deployments/slipway-api");
    worker.refused(Method::PATCH, &api, Some(&json!({ "spec": { "paused": true } })), OBJECTS).await;
    let scale = json!({ "spec": { "replicas": 0 } });
    scaler.refused(Method::PATCH, &format!("{api}/scale"), Some(&scale), OBJECTS).await;
    scaler.refused(Method::PATCH, &api, Some(&scale), "cannot patch resource").await;
    scaler.refused(Method::GET, &secret, None, "cannot get resource").await;
}

/// A namespace is made with its marks, or not at all.
async fn namespaces_are_marked(worker: &Account, name: &str) {
    let ours = |standard: &str| json!({ "app.kubernetes.io/managed-by": "slipway", "pod-security.kubernetes.io/enforce": standard });
    let path = "/api/v1/namespaces";
    let managed = json!({ "app.kubernetes.io/managed-by": "slipway" });
    for labels in [json!({}), managed, ours("privileged")] {
        worker.refused(Method::POST, path, Some(&namespace(name, &labels)), NAMESPACES).await;
    }
    worker.done(Method::POST, path, Some(&namespace(name, &ours("restricted")))).await;
}

/// In the namespace of an application the work can be done; its secrets are still not read.
async fn applications_are_free(worker: &Account, scaler: &Account, name: &str) {
    let secret = format!("/api/v1/namespaces/{name}/secrets/shop");
    let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "shop" } });
    worker.done(Method::PATCH, &format!("{secret}?fieldManager=slipway&force=true"), Some(&body)).await;
    worker.refused(Method::GET, &secret, None, "cannot get resource").await;
    worker.done(Method::DELETE, &secret, None).await;
    let deployments = format!("/apis/apps/v1/namespaces/{name}/deployments");
    worker
        .done(Method::PATCH, &format!("{deployments}/shop?fieldManager=slipway"), Some(&deployment()))
        .await;
    let scale = json!({ "spec": { "replicas": 2 } });
    scaler.done(Method::PATCH, &format!("{deployments}/shop/scale"), Some(&scale)).await;
}
