//! Building images: once per commit, with errors that say where, from a closed context; and removing old ones.

use std::time::Duration;

use slipway_worker::docker::{DockerError, prune_images};
use slipway_worker::source::{MemoryTree, SourceKind};

use crate::corner::Corner;

#[tokio::test]
async fn the_engine_tells_its_version() {
    let Some(corner) = Corner::new("ping").await else { return };
    let version = corner.engine.ping().await.unwrap();
    assert!(version.engine.contains('.') && version.api.starts_with("1."), "{version:?}");
    corner.finish().await;
}

#[tokio::test]
async fn a_second_build_of_a_commit_finds_the_first() {
    let Some(corner) = Corner::new("build").await else { return };
    let dockerfile = "FROM BASE\nRUN echo made > /tmp/made\n";
    let first = corner.build("c1", dockerfile).await.unwrap();
    assert!(first.image_id.starts_with("sha256:") && !first.reused && first.size_bytes > 0);
    assert!(corner.log.text().contains("Step 2/"), "{}", corner.log.text());
    let second = corner.build("c1", dockerfile).await.unwrap();
    assert_eq!((second.image_id, second.reused), (first.image_id.clone(), true));
    let other = corner.build("c2", "FROM BASE\nRUN echo other > /tmp/made\n").await.unwrap();
    assert!(!other.reused && other.image_id != first.image_id);
    corner.finish().await;
}

#[tokio::test]
async fn a_failing_build_tells_step_code_and_last_lines() {
    let Some(corner) = Corner::new("fail").await else { return };
    let error = corner.build("c1", "FROM BASE\nRUN echo before-the-end; exit 7\n").await.unwrap_err();
    let DockerError::BuildFailed { step, exit_code, log_tail, .. } = &error else { panic!("{error:?}") };
    assert!(step.contains("exit 7"), "{step}");
    assert_eq!(*exit_code, Some(7));
    assert!(log_tail.iter().any(|line| line == "before-the-end"), "{log_tail:?}");
    let mount = corner.build("c2", "FROM BASE\nRUN --mount=type=cache,target=/x true\n").await.unwrap_err();
    assert_eq!(mount.code(), "buildkit_required", "{mount:?}");
    let heredoc = corner.build("c3", "FROM BASE\nRUN <<EOF\ntrue\nEOF\n").await.unwrap_err();
    assert_eq!(heredoc.code(), "buildkit_required", "{heredoc:?}");
    let base = corner.build("c4", "FROM 127.0.0.1:9/none:1\n").await.unwrap_err();
    assert!(matches!(base.code(), "image_pull_failed" | "image_not_found"), "{base:?}");
    assert!(base.to_string().contains("127.0.0.1:9/none:1"));
    corner.finish().await;
}

#[tokio::test]
async fn a_context_that_points_outside_is_refused() {
    let Some(corner) = Corner::new("escape").await else { return };
    let mut linked = MemoryTree::of([("real", "FROM scratch")]);
    linked.insert("Dockerfile", SourceKind::Symlink, "/etc/passwd");
    assert_eq!(corner.build_tree("c1", linked).await.unwrap_err().code(), "dockerfile_not_a_file");
    let mut escaping = MemoryTree::of([("Dockerfile", "FROM scratch")]);
    escaping.insert("data", SourceKind::Symlink, "../../etc/passwd");
    assert_eq!(corner.build_tree("c2", escaping).await.unwrap_err().code(), "context_escape");
    corner.finish().await;
}

#[tokio::test]
async fn the_context_arrives_as_the_ignore_file_says() {
    let Some(corner) = Corner::new("ignore").await else { return };
    let dockerfile = format!(
        "FROM {}\nCOPY . /ctx\nRUN : {}; find /ctx | sort; cat /ctx/link\n",
        corner.base,
        corner.scope.project()
    );
    let mut tree = MemoryTree::of([
        ("Dockerfile", dockerfile.as_str()),
        (".dockerignore", "*.md\n!README.md\nDockerfile\n"),
        ("README.md", "kept"),
        ("notes.md", "dropped"),
        ("docs/notes.md", "deeper"),
    ]);
    tree.insert("link", SourceKind::Symlink, "docs/notes.md");
    corner.build_tree("c1", tree).await.unwrap();
    let text = corner.log.text();
    for present in ["/ctx/README.md", "/ctx/docs/notes.md", "deeper"] {
        assert!(text.contains(present), "{present}: {text}");
    }
    for absent in ["/ctx/notes.md", "/ctx/Dockerfile"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
    corner.finish().await;
}

#[tokio::test]
async fn old_images_go_but_the_newest_and_the_used_stay() {
    let Some(corner) = Corner::new("prune").await else { return };
    let mut built = Vec::new();
    for number in 0..3 {
        let dockerfile =
            format!("FROM BASE\nRUN echo {number} > /tmp/n\nCMD httpd -f -p 8080 -h /usr/share/nginx/html\n");
        built.push(corner.build(&format!("c{number}"), &dockerfile).await.unwrap().image_id);
        // The engine tells the age of an image in whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    corner.apply(&corner.spec("dep-00000001", 1, &built[0])).await.unwrap();
    let removed = prune_images(&corner.engine, corner.scope.project(), 1).await.unwrap();
    assert_eq!(removed, [built[1].clone()]);
    for kept in [&built[0], &built[2]] {
        assert!(corner.docker.inspect_image(kept).await.is_ok());
    }
    corner.finish().await;
}
