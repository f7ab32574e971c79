//! The registry's manifests: every tag of every repository, and the job its image names.

use anyhow::Context as _;
use serde_json::Value;
use slipway_common::model::label;

use super::{Effect, EffectKind};
use crate::registry::{PASSWORD, Registry, USER};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Every tag. Places are `<repository>:<tag>`, values digests.
///
/// # Errors
/// When the registry does not answer, or not as the protocol has it.
pub async fn manifests(registry: &Registry) -> anyhow::Result<Vec<Effect>> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let ask = async |path: String| -> anyhow::Result<Value> {
        let request = client.get(format!("http://{}/v2/{path}", registry.host())).header("Accept", MANIFEST);
        let answer = request.basic_auth(USER, Some(PASSWORD)).send().await?.error_for_status()?;
        // Blobs are JSON here too, whatever their content type says.
        serde_json::from_slice(&answer.bytes().await?).with_context(|| path)
    };
    let mut effects = Vec::new();
    for name in texts(&ask("_catalog?n=1000".to_owned()).await?["repositories"]) {
        for tag in texts(&ask(format!("{name}/tags/list")).await?["tags"]) {
            let manifest = ask(format!("{name}/manifests/{tag}")).await?;
            let config = manifest["config"]["digest"].as_str().context("a manifest without a config")?;
            let image = ask(format!("{name}/blobs/{config}")).await?;
            effects.push(Effect {
                kind: EffectKind::Manifest,
                job: image["config"]["Labels"][label::JOB].as_str().unwrap_or_default().to_owned(),
                place: format!("{name}:{tag}"),
                value: registry.digest(&name, &tag).await?,
            });
        }
    }
    Ok(effects)
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
