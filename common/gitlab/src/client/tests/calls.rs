//! Tests of single calls: what is sent, and what is made of the answers.

use super::server::{Asked, Server, TOKEN, answer, with};
use crate::{CommitStatus, DeploymentStatus, GitlabError, NewDeployment, PipelineStatus, StatusState};

fn status() -> CommitStatus {
    CommitStatus {
        state: StatusState::Success,
        name: "slipway/production".to_owned(),
        target_url: None,
        description: None,
        r#ref: None,
        pipeline: None,
    }
}

#[tokio::test]
async fn a_status_that_is_set_already_is_done_and_another_refusal_is_not() {
    let already = r#"{"message":"Cannot transition status via :succeed from :success"}"#;
    let server = Server::start(move |_| answer(400, already)).await;
    assert_eq!(server.gitlab().set_status("0a1b", &status()).await, Ok(()));
    assert_eq!(server.lines(), ["POST /statuses/0a1b"]);
    assert_eq!(
        server.asked()[0].json(),
        serde_json::json!({"state": "success", "name": "slipway/production"})
    );
    let server = Server::start(|_| answer(400, r#"{"error":"state does not have a valid value"}"#)).await;
    let error = server.gitlab().set_status("0a1b", &status()).await.unwrap_err();
    assert_eq!(error.code(), "gitlab_refused");
}

#[tokio::test]
async fn a_deployment_is_made_and_changed() {
    let server = Server::start(|asked| match asked.what().as_str() {
        "POST /deployments" => answer(201, r#"{"id":31,"status":"running"}"#),
        "PUT /deployments/31" => {
            answer(400, r#"{"message":{"status":["cannot transition via \"succeed\""]}}"#)
        }
        _ => answer(404, "{}"),
    })
    .await;
    let gitlab = server.gitlab();
    let deployment = NewDeployment {
        environment: "production".to_owned(),
        sha: "0a1b".to_owned(),
        r#ref: "main".to_owned(),
        tag: false,
        status: DeploymentStatus::Running,
    };
    assert_eq!(gitlab.create_deployment(&deployment).await, Ok(31));
    assert_eq!(gitlab.update_deployment(31, DeploymentStatus::Success).await, Ok(()));
    let expected = serde_json::json!(
        {"environment": "production", "sha": "0a1b", "ref": "main", "tag": false, "status": "running"}
    );
    assert_eq!(server.asked()[0].json(), expected);
    assert_eq!(server.asked()[1].json(), serde_json::json!({"status": "success"}));
}

#[tokio::test]
async fn a_deployment_that_is_shown_already_is_found() {
    let server = Server::start(|_| {
        answer(
            200,
            r#"[{"id":39,"sha":"0a1b","status":"failed","created_at":"2026-11-20T10:00:09Z"},
                {"id":38,"sha":"0a1b","status":"running","created_at":"2026-11-20T10:00:08Z"},
                {"id":37,"sha":"0a1b","status":"success","created_at":"2026-11-20T10:00:07Z"},
                {"id":36,"sha":"ffff","status":"running","created_at":"2026-11-20T10:00:06Z"},
                {"id":35,"sha":"0a1b","status":"running","created_at":"2026-11-20T09:00:00Z"},
                {"id":34,"sha":"0a1b","status":"running","created_at":null}]"#,
        )
    })
    .await;
    let gitlab = server.gitlab();
    let wanted = NewDeployment {
        environment: "review/app 1".to_owned(),
        sha: "0a1b".to_owned(),
        r#ref: "main".to_owned(),
        tag: false,
        status: DeploymentStatus::Success,
    };
    let since = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let (recent, late) = (since("2026-11-20T10:00:00Z"), since("2026-11-20T11:00:00Z"));
    assert_eq!(gitlab.find_deployment(&wanted, recent, None).await, Ok(Some(38)));
    assert_eq!(gitlab.find_deployment(&wanted, recent, Some(38)).await, Ok(Some(37)));
    assert_eq!(gitlab.find_deployment(&wanted, late, None).await, Ok(None));
    let running = NewDeployment { status: DeploymentStatus::Running, ..wanted };
    assert_eq!(gitlab.find_deployment(&running, recent, Some(38)).await, Ok(None));
    assert_eq!(
        server.lines()[0],
        "GET /deployments?environment=review%2Fapp+1&order_by=id&sort=desc&per_page=20"
    );
}

#[tokio::test]
async fn the_configuration_of_the_newest_failed_pipeline_is_asked_for() {
    let server = Server::start(|asked| {
        if asked.what() == "GET /pipelines/15" {
            return answer(
                200,
                r#"{"id":15,"status":"failed","source":"push","yaml_errors":"no job is visible"}"#,
            );
        }
        answer(
            200,
            r#"[{"id":12,"status":"failed","source":"push"},{"id":15,"status":"failed","source":"push"},
                {"id":16,"status":"failed","source":"external"}]"#,
        )
    })
    .await;
    let pipelines = server.gitlab().pipelines("0a1b").await.unwrap();
    assert_eq!(pipelines.iter().map(|pipeline| pipeline.id).collect::<Vec<_>>(), [16, 15, 12]);
    assert_eq!(pipelines[1].yaml_errors.as_deref(), Some("no job is visible"));
    assert_eq!(
        server.lines(),
        ["GET /pipelines?sha=0a1b&order_by=id&sort=desc&per_page=100", "GET /pipelines/15"]
    );
}

#[tokio::test]
async fn jobs_of_all_pages_come_in_order_and_once() {
    let server = Server::start(|asked| {
        if asked.line.contains("&page=2") {
            return answer(
                200,
                r#"[{"id":2,"name":"b","status":"pending"},{"id":1,"name":"a","status":"odd"}]"#,
            );
        }
        let jobs = r#"[{"id":3,"name":"c","status":"success","runner":{"id":4}},
                       {"id":2,"name":"b","status":"pending"}]"#;
        with(200, &[("link", "<?include_retried=false&per_page=100&page=2>; rel=\"next\"")], jobs)
    })
    .await;
    let gitlab = server.gitlab();
    // In a task of its own: a client can be used from any.
    let jobs = tokio::spawn(async move { gitlab.jobs(12).await }).await.unwrap().unwrap();
    let short: Vec<_> = jobs.iter().map(|job| (job.id, job.name.as_str(), job.status)).collect();
    let expected = [
        (1, "a", PipelineStatus::Other),
        (2, "b", PipelineStatus::Pending),
        (3, "c", PipelineStatus::Success),
    ];
    assert_eq!(short, expected);
    assert_eq!(server.lines()[0], "GET /pipelines/12/jobs?include_retried=false&per_page=100");
}

#[tokio::test]
async fn jobs_that_run_other_pipelines_count_once_the_others_are_over() {
    let server = Server::start(|asked| match asked.what().as_str() {
        "GET /pipelines/12/bridges?per_page=100" => {
            answer(200, r#"[{"id":1,"name":"images","status":"running","downstream_pipeline":{"id":13}}]"#)
        }
        line if line.contains("/12/jobs") => answer(200, r#"[{"id":2,"name":"test","status":"success"}]"#),
        line if line.contains("/14/jobs") => answer(200, "[]"),
        _ => answer(404, r#"{"message":"404 Not found"}"#),
    })
    .await;
    let gitlab = server.gitlab();
    let names: Vec<String> = gitlab.jobs(12).await.unwrap().into_iter().map(|job| job.name).collect();
    assert_eq!(names, ["images", "test"]);
    assert_eq!(gitlab.jobs(14).await, Ok(Vec::new()), "a GitLab that does not know of them has none");
}

#[tokio::test]
async fn a_job_is_found_in_the_child_pipelines_of_the_project() {
    let server = Server::start(|asked| match asked.what().as_str() {
        "GET /pipelines/12/bridges?per_page=100" => {
            let bridge = |id: u64, child: &str| {
                format!(r#"{{"id":{id},"name":"b{id}","status":"success","downstream_pipeline":{child}}}"#)
            };
            let all = [
                bridge(1, r#"{"id":13}"#),
                bridge(2, r#"{"id":99}"#),
                bridge(3, "null"),
                bridge(4, r#"{"id":14}"#),
            ];
            answer(200, format!("[{}]", all.join(",")))
        }
        line if line.contains("/13/jobs") => answer(
            200,
            r#"[{"id":6,"name":"image","status":"running"},{"id":5,"name":"test","status":"success"}]"#,
        ),
        line if line.contains("/14/jobs") => answer(200, "[]"),
        _ => answer(404, r#"{"message":"404 Not found"}"#),
    })
    .await;
    let found = server.gitlab().jobs_of_children(12, "image").await.unwrap();
    assert_eq!(
        found.iter().map(|job| (job.id, job.status)).collect::<Vec<_>>(),
        [(6, PipelineStatus::Running)]
    );
    assert_eq!(server.gitlab().jobs_of_children(15, "image").await, Ok(Vec::new()));
}

#[tokio::test]
async fn every_child_pipeline_is_looked_through_up_to_the_limit() {
    let server = Server::start(|asked| {
        if asked.line.contains("bridges") {
            let bridge = |id: usize| {
                let child = 100 + id;
                format!(
                    r#"{{"id":{id},"name":"b","status":"success","downstream_pipeline":{{"id":{child}}}}}"#
                )
            };
            return answer(200, format!("[{}]", (1..=30).map(bridge).collect::<Vec<_>>().join(",")));
        }
        answer(200, "[]")
    })
    .await;
    assert_eq!(server.gitlab().jobs_of_children(12, "image").await, Ok(Vec::new()));
    assert_eq!(server.lines().len(), 1 + 20);
}

#[tokio::test]
async fn of_a_log_the_last_lines_are_given_without_the_token() {
    let server = Server::start(|_| {
        let mut log = "x".repeat(300_000);
        log.push_str(&format!("\nold\n\u{1b}[31mlogin {TOKEN}\u{1b}[0m\nERROR: no space left\n"));
        answer(200, log)
    })
    .await;
    let lines = server.gitlab().log_tail(5, 2).await.unwrap();
    assert_eq!(lines, ["login [secret]", "ERROR: no space left"]);
    assert_eq!(server.asked()[0].what(), "GET /jobs/5/trace");
    assert_eq!(server.asked()[0].headers["range"], "bytes=-131072");
}

#[tokio::test]
async fn a_log_that_is_given_in_part_loses_its_broken_first_line() {
    let server = Server::start(|asked: &Asked| {
        let range = if asked.line.contains("/5/") { "bytes 100-120/121" } else { "bytes 0-20/21" };
        with(206, &[("content-range", range)], "lf a line\nwhole line\n")
    })
    .await;
    assert_eq!(server.gitlab().log_tail(5, 10).await.unwrap(), ["whole line"]);
    assert_eq!(server.gitlab().log_tail(6, 10).await.unwrap(), ["lf a line", "whole line"]);
    let empty = Server::start(|_| answer(416, "")).await;
    assert!(empty.gitlab().log_tail(5, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn whether_there_is_a_configuration_is_asked_of_the_commit() {
    let server = Server::start(|asked| {
        let project = r#"{"id":7,"path_with_namespace":"group/app","ci_config_path":"ci/main.yml","jobs_enabled":true}"#;
        if asked.line.starts_with("HEAD") { answer(404, "") } else { answer(200, project) }
    })
    .await;
    let ci = server.gitlab().has_ci("0a1b").await.unwrap();
    assert_eq!(
        (ci.file.as_str(), ci.file_exists, ci.jobs_enabled, ci.auto_devops),
        ("ci/main.yml", false, true, false)
    );
    assert_eq!(server.lines()[1], "HEAD /repository/files/ci%2Fmain.yml?ref=0a1b");
    let server = Server::start(|asked| {
        if asked.line.starts_with("HEAD") {
            return answer(200, "");
        }
        answer(200, r#"{"id":7,"path_with_namespace":"group/app"}"#)
    })
    .await;
    let ci = server.gitlab().has_ci("0a1b").await.unwrap();
    assert_eq!((ci.file.as_str(), ci.file_exists), (".gitlab-ci.yml", true));
}

#[tokio::test]
async fn an_environment_is_made_once_and_kept_up_to_date() {
    let known = r#"[{"id":3,"name":"production","external_url":"https://old.test","state":"available"}]"#;
    let server = Server::start(move |asked| match asked.what().as_str() {
        "GET /environments?name=production" => answer(200, known),
        "GET /environments?name=staging" => answer(200, "[]"),
        "POST /environments" => answer(201, r#"{"id":4,"name":"staging"}"#),
        _ => answer(200, "{}"),
    })
    .await;
    let gitlab = server.gitlab();
    assert_eq!(gitlab.ensure_environment("staging", Some("https://s.test"), Some("staging")).await, Ok(4));
    assert_eq!(gitlab.ensure_environment("production", Some("https://new.test"), None).await, Ok(3));
    assert_eq!(gitlab.ensure_environment("production", Some("https://old.test"), None).await, Ok(3));
    let asked = server.asked();
    let changes: Vec<_> = asked.iter().filter(|asked| !asked.line.starts_with("GET")).collect();
    assert_eq!(
        changes.iter().map(|asked| asked.what()).collect::<Vec<_>>(),
        ["POST /environments", "PUT /environments/3"]
    );
    let made = serde_json::json!({"name": "staging", "external_url": "https://s.test", "tier": "staging"});
    assert_eq!(changes[0].json(), made);
    assert_eq!(changes[1].json(), serde_json::json!({"external_url": "https://new.test"}));
}

#[tokio::test]
async fn an_environment_somebody_else_makes_in_between_is_found() {
    let seen = std::sync::atomic::AtomicBool::new(false);
    let server = Server::start(move |asked| {
        if asked.line.starts_with("POST") {
            return answer(400, r#"{"message":{"name":["has already been taken"]}}"#);
        }
        let again = seen.swap(true, std::sync::atomic::Ordering::SeqCst);
        answer(200, if again { r#"[{"id":9,"name":"staging"}]"# } else { "[]" })
    })
    .await;
    assert_eq!(server.gitlab().ensure_environment("staging", None, None).await, Ok(9));
}

#[tokio::test]
async fn an_environment_is_stopped_when_there_is_one_to_stop() {
    let server = Server::start(|asked| match asked.what().as_str() {
        "GET /environments?name=review-1" => {
            answer(200, r#"[{"id":5,"name":"review-1","state":"available"}]"#)
        }
        "GET /environments?name=review-2" => answer(200, r#"[{"id":6,"name":"review-2","state":"stopped"}]"#),
        "POST /environments/5/stop" => answer(200, "{}"),
        _ => answer(200, "[]"),
    })
    .await;
    for name in ["review-1", "review-2", "review-3"] {
        assert_eq!(server.gitlab().stop_environment(name).await, Ok(()), "{name}");
    }
    let stops = server.lines().into_iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(stops, 1);
}

#[tokio::test]
async fn only_an_own_note_is_found_by_its_marker() {
    let notes = r#"[{"id":1,"body":"<!-- slipway --> copied","author":{"id":8}},
                    {"id":2,"body":"<!-- slipway -->","system":true,"author":{"id":9}},
                    {"id":3,"body":"something else","author":{"id":9}},
                    {"id":4,"body":"<!-- slipway --> table","author":{"id":9}}]"#;
    let server = Server::start(move |asked| {
        let is_notes = asked.line.contains("/notes?");
        answer(200, if is_notes { notes } else { r#"{"user_id":9,"scopes":["api"],"name":"slipway"}"# })
    })
    .await;
    assert_eq!(server.gitlab().find_note(2, "<!-- slipway -->").await, Ok(Some(4)));
    assert_eq!(server.gitlab().find_note(2, "<!-- other -->").await, Ok(None));
    let unknown =
        Server::start(
            move |asked| {
                if asked.line.contains("/notes?") { answer(200, notes) } else { answer(404, "{}") }
            },
        )
        .await;
    assert_eq!(
        unknown.gitlab().find_note(2, "<!-- slipway -->").await,
        Ok(Some(1)),
        "the oldest, if nobody knows"
    );
}

#[tokio::test]
async fn a_note_is_written_and_a_deleted_one_is_not_found() {
    let server = Server::start(|asked| match asked.what().as_str() {
        "POST /merge_requests/2/notes" => answer(201, r#"{"id":77,"body":"text"}"#),
        _ => answer(404, r#"{"message":"404 Not found"}"#),
    })
    .await;
    assert_eq!(server.gitlab().create_note(2, "text").await, Ok(77));
    assert_eq!(server.gitlab().update_note(2, 77, "new").await, Err(GitlabError::NotFound));
    assert_eq!(server.asked()[1].what(), "PUT /merge_requests/2/notes/77");
    assert_eq!(server.asked()[1].json(), serde_json::json!({"body": "new"}));
}

#[tokio::test]
async fn a_variable_is_changed_or_made() {
    let server = Server::start(|asked| {
        let is_new = asked.line.starts_with("PUT");
        answer(if is_new { 404 } else { 201 }, "{}")
    })
    .await;
    assert_eq!(server.gitlab().set_variable("SLIPWAY_URL", "https://s.test/$x", false).await, Ok(()));
    assert_eq!(
        server.lines(),
        ["PUT /variables/SLIPWAY_URL?filter%5Benvironment_scope%5D=*", "POST /variables"]
    );
    let body = server.asked()[1].json();
    assert_eq!((&body["key"], &body["value"]), (&"SLIPWAY_URL".into(), &"https://s.test/$x".into()));
    assert_eq!((&body["raw"], &body["masked"]), (&true.into(), &false.into()));
}

#[tokio::test]
async fn what_is_not_there_any_more_is_removed() {
    let server = Server::start(|_| answer(404, r#"{"message":"404 Not found"}"#)).await;
    let gitlab = server.gitlab();
    assert_eq!(gitlab.delete_hook(1).await, Ok(()));
    assert_eq!(gitlab.delete_deploy_token(2).await, Ok(()));
    assert_eq!(gitlab.delete_variable("KEY").await, Ok(()));
    let server = Server::start(|_| answer(403, "{}")).await;
    assert_eq!(server.gitlab().delete_hook(1).await.unwrap_err().code(), "gitlab_forbidden");
}

#[tokio::test]
async fn a_deploy_token_is_made_and_hidden() {
    let secret = r#"{"id":11,"username":"gitlab+deploy-token-11","token":"gldt-ABCDEFGH12345678"}"#;
    let server = Server::start(move |_| answer(201, secret)).await;
    let token = server.gitlab().create_deploy_token("slipway", &["read_registry"]).await.unwrap();
    assert_eq!((token.id, token.username.as_str()), (11, "gitlab+deploy-token-11"));
    assert!(!format!("{token:?}").contains("ABCDEFGH"));
    assert_eq!(server.asked()[0].json(), serde_json::json!({"name": "slipway", "scopes": ["read_registry"]}));
}

#[tokio::test]
async fn open_merge_requests_and_the_token_are_read() {
    let server = Server::start(|asked| {
        if asked.line.contains("personal_access_tokens") {
            return answer(200, r#"{"name":"slipway","scopes":["api"],"expires_at":"2027-01-01"}"#);
        }
        answer(
            200,
            r#"[{"iid":2,"source_branch":"b","target_branch":"main","sha":"cd","source_project_id":9,
                 "target_project_id":7,"draft":true,"web_url":"https://git.test/2"},
                {"iid":1,"source_branch":"a","target_branch":"main","sha":"ab","source_project_id":7,
                 "target_project_id":7}]"#,
        )
    })
    .await;
    let requests = server.gitlab().open_merge_requests().await.unwrap();
    let short: Vec<_> = requests.iter().map(|one| (one.iid, one.is_fork(), one.draft)).collect();
    assert_eq!(short, [(1, false, false), (2, true, true)]);
    assert_eq!(
        server.lines(),
        ["GET /merge_requests?state=opened&order_by=created_at&sort=asc&per_page=100"]
    );
    let token = server.gitlab().token().await.unwrap();
    assert_eq!(
        (token.scopes.as_slice(), token.expires_at.as_deref()),
        (&["api".to_owned()][..], Some("2027-01-01"))
    );
}
