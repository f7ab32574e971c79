//! What a job of a pipeline leaves behind: a small real image in a real registry, pushed without an engine.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::docker_engine::{self, BUSYBOX};
use crate::registry::{PASSWORD, Registry, USER};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// The lines a runner writes around a script: colours, sections that fold, and what the script said.
#[must_use]
pub fn trace(lines: &[&str]) -> String {
    let mut text = String::from(
        "\u{1b}[0KRunning with gitlab-runner 19.1.0\u{1b}[0;m\n\
         section_start:1767225600:step_script\r\u{1b}[0K\u{1b}[0K\u{1b}[36;1mExecuting the script\u{1b}[0;m\n",
    );
    for line in lines {
        text.push_str(&format!("\u{1b}[32;1m{line}\u{1b}[0;m\n"));
    }
    text.push_str("section_end:1767225660:step_script\r\u{1b}[0K");
    text
}

fn digest(bytes: &[u8]) -> String {
    let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{sum}")
}

/// Pushes an image that serves `text` on port 8080 to `registry` as `name:tag`; answers its digest.
///
/// # Errors
/// When busybox is not installed, or the registry refuses it.
pub async fn push_image(registry: &Registry, name: &str, tag: &str, text: &str) -> anyhow::Result<String> {
    let busybox = std::fs::read(BUSYBOX).with_context(|| format!("{BUSYBOX} (Debian: busybox-static)"))?;
    let mut layer = Vec::new();
    docker_engine::append_file(&mut layer, "bin/busybox", 0o755, &busybox);
    docker_engine::append_file(&mut layer, "usr/share/nginx/html/index.html", 0o644, text.as_bytes());
    layer.resize(layer.len() + 1024, 0);
    let config = config(&digest(&layer)).to_string().into_bytes();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let base = format!("http://{}/v2/{name}", registry.host());
    for blob in [&layer, &config] {
        push_blob(&client, registry, &base, blob).await?;
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "size": config.len(), "digest": digest(&config) },
        "layers": [{ "mediaType": LAYER, "size": layer.len(), "digest": digest(&layer) }],
    })
    .to_string();
    let answer = client
        .put(format!("{base}/manifests/{tag}"))
        .basic_auth(USER, Some(PASSWORD))
        .header("Content-Type", MANIFEST)
        .body(manifest.clone())
        .send()
        .await?;
    let status = answer.status();
    ensure!(status.is_success(), "the registry answered {status}: {}", answer.text().await?);
    Ok(digest(manifest.as_bytes()))
}

fn config(layer: &str) -> Value {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    json!({
        "architecture": architecture, "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {
            "User": "1000:1000", "Env": ["PATH=/bin"], "ExposedPorts": { "8080/tcp": {} },
            "Cmd": ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/usr/share/nginx/html"],
        },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
        "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "a runner" }],
    })
}

async fn push_blob(
    client: &reqwest::Client,
    registry: &Registry,
    base: &str,
    blob: &[u8],
) -> anyhow::Result<()> {
    let begun = client.post(format!("{base}/blobs/uploads/")).basic_auth(USER, Some(PASSWORD)).send().await?;
    let begun = begun.error_for_status().context("beginning to push a blob")?;
    let place = begun.headers().get("location").context("no place to push to")?.to_str()?.to_owned();
    let mut place = url::Url::parse(&format!("http://{}", registry.host()))?.join(&place)?;
    place.query_pairs_mut().append_pair("digest", &digest(blob));
    let answer = client
        .put(place)
        .basic_auth(USER, Some(PASSWORD))
        .header("Content-Type", "application/octet-stream")
        .body(blob.to_vec())
        .send()
        .await?;
    answer.error_for_status().context("pushing a blob")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_what_runners_write() {
        let text = trace(&["$ make image", "it broke"]);
        assert!(text.contains("section_start:") && text.contains("it broke") && text.contains('\u{1b}'));
    }
}
