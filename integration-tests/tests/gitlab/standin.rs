//! The stand-in itself keeps GitLab's contract, as far as the tests lean on it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use slipway_integration_tests::gitlab::{DEVELOPER, Fault, GitlabServer, MAINTAINER, Place, PlannedJob};

use crate::world::{files, page};

const PATH: &str = "group/contract";

struct Caller {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Caller {
    fn new(gitlab: &GitlabServer, token: &str) -> anyhow::Result<Self> {
        let base = format!("{}/api/v4/projects/{}", gitlab.url(), PATH.replace('/', "%2F"));
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { client, base, token: token.to_owned() })
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<(u16, Value)> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.header("PRIVATE-TOKEN", &self.token);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interface_answers_in_the_shapes_of_gitlab() {
    shapes().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn shapes() -> anyhow::Result<()> {
    let gitlab = GitlabServer::start().await?;
    gitlab.create_project(PATH, &[]).await?;
    let sha = gitlab.push(PATH, "main", &files("one"), "Initial commit").await?;
    let good = Caller::new(&gitlab, &gitlab.add_token("good", &["api"], MAINTAINER))?;
    let weak = Caller::new(&gitlab, &gitlab.add_token("weak", &["api"], DEVELOPER))?;
    let narrow = Caller::new(&gitlab, &gitlab.add_token("narrow", &["read_repository"], MAINTAINER))?;
    let none = Caller::new(&gitlab, "")?;
    let wrong = Caller::new(&gitlab, "glpat-wrong")?;

    ensure!(none.ask("GET", "", None).await?.0 == 401 && wrong.ask("GET", "", None).await?.0 == 401);
    let (status, body) = narrow.ask("GET", "", None).await?;
    ensure!(status == 403 && body["error"] == "insufficient_scope", "{body}");
    let (status, body) = weak.ask("GET", "/hooks", None).await?;
    ensure!(status == 403 && body["message"] == "403 Forbidden", "{body}");
    let (status, body) = good.ask("GET", "", None).await?;
    ensure!(status == 200 && body["permissions"]["project_access"]["access_level"] == 40, "{body}");
    let (status, _) = good.ask("HEAD", "/repository/files/.gitlab-ci.yml?ref=main", None).await?;
    ensure!(status == 200, "the CI file is there");
    let (status, _) = good.ask("HEAD", "/repository/files/other?ref=main", None).await?;
    ensure!(status == 404, "another is not");
    let (status, body) = good.ask("POST", "/deployments", Some(json!({ "environment": "p" }))).await?;
    ensure!(status == 400 && body["error"] == "sha is missing", "{body}");
    let unknown = json!({ "environment": "p", "sha": "f".repeat(40), "ref": "main", "status": "running" });
    let (status, body) = good.ask("POST", "/deployments", Some(unknown)).await?;
    ensure!(status == 400 && body["message"]["sha"].is_array(), "{body}");

    let tell = |state: &str| json!({ "state": state, "name": "slipway/p" });
    let path = format!("/statuses/{sha}");
    ensure!(good.ask("POST", &path, Some(tell("running"))).await?.0 == 201);
    let (status, body) = good.ask("POST", &path, Some(tell("running"))).await?;
    let said = body["message"].as_str().unwrap_or_default();
    ensure!(status == 400 && said.starts_with("Cannot transition status via :run from :running"), "{body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_somebody_else_keeps_a_pipeline_running_and_one_without_gets_its_own() {
    statuses().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn statuses() -> anyhow::Result<()> {
    let gitlab = GitlabServer::start().await?;
    gitlab.create_project(PATH, &[]).await?;
    let sha = gitlab.push(PATH, "main", &files("one"), "Initial commit").await?;
    let good = Caller::new(&gitlab, &gitlab.add_token("good", &["api"], MAINTAINER))?;
    let tell = |state: &str| json!({ "state": state, "name": "slipway/p", "ref": "main" });
    good.ask("POST", &format!("/statuses/{sha}"), Some(tell("running"))).await?;
    gitlab.end_job(PATH, &sha, "build", &slipway_integration_tests::gitlab::End::Success, &[])?;
    let seen = gitlab.project(PATH)?;
    ensure!(seen.pipeline_of(&sha).context("a pipeline")?.status == "running", "{:#?}", seen.pipelines);
    good.ask("POST", &format!("/statuses/{sha}"), Some(tell("success"))).await?;
    let seen = gitlab.project(PATH)?;
    ensure!(seen.pipeline_of(&sha).context("a pipeline")?.status == "success", "{:#?}", seen.pipelines);

    gitlab.change_project(PATH, |project| project.plan.filtered = true)?;
    let other = gitlab.push(PATH, "main", &page("two"), "No pipeline").await?;
    good.ask("POST", &format!("/statuses/{other}"), Some(tell("pending"))).await?;
    let (_, listed) = good.ask("GET", &format!("/pipelines?sha={other}"), None).await?;
    ensure!(listed[0]["source"] == "external" && listed[0]["status"] == "pending", "{listed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_limits_and_faults_are_as_asked_for() {
    pages_and_limits().await.unwrap_or_else(|error| panic!("{error:?}"));
}

async fn pages_and_limits() -> anyhow::Result<()> {
    let gitlab = GitlabServer::start().await?;
    gitlab.create_project(PATH, &[]).await?;
    let jobs: Vec<PlannedJob> =
        (0..45).map(|index| PlannedJob::new("build", &format!("job-{index}"))).collect();
    gitlab.change_project(PATH, |project| project.plan.jobs = jobs)?;
    let sha = gitlab.push(PATH, "main", &files("one"), "Initial commit").await?;
    let pipeline = gitlab.wait_pipeline(PATH, &sha).await?;
    let token = gitlab.add_token("good", &["api"], MAINTAINER);
    let good = Caller::new(&gitlab, &token)?;
    let address = format!("{}/pipelines/{}/jobs?per_page=20&page=2", good.base, pipeline.id);
    let answer = good.client.get(&address).header("PRIVATE-TOKEN", &token).send().await?;
    let header = |name: &str| answer.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    ensure!(header("x-next-page").as_deref() == Some("3") && header("x-total").as_deref() == Some("45"));
    ensure!(header("link").is_some_and(|links| links.contains("page=3") && links.contains("rel=\"next\"")));

    gitlab.limit_rate(2, Duration::from_secs(60));
    ensure!(good.ask("GET", "", None).await?.0 == 200 && good.ask("GET", "", None).await?.0 == 200);
    let answer = good.client.get(&good.base).header("PRIVATE-TOKEN", &token).send().await?;
    ensure!(answer.status().as_u16() == 429 && answer.headers().contains_key("retry-after"));
    ensure!(answer.headers().contains_key("ratelimit-remaining"));
    ensure!(answer.text().await?.trim() == "Retry later", "plain text");
    gitlab.heal().await?;
    gitlab.spoil(Place::Api, "/pipelines", Fault::Status(502), Some(1));
    ensure!(good.ask("GET", "/pipelines", None).await?.0 == 502);
    ensure!(good.ask("GET", "/pipelines", None).await?.0 == 200, "once only");
    Ok(())
}
