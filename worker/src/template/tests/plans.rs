//! What is left alone, what is refused, and what is said about it.

use super::{ALL, TemplateSettings, dockerfile, generated, plan, plan_of, tree};
use crate::source::{MemoryTree, SourceKind};
use crate::template::{Request, TemplateError};

fn error_of(files: &[(&str, &str)]) -> TemplateError {
    plan_of(files).expect_err("the tree cannot be planned")
}

#[test]
fn existing_files_are_never_generated() {
    let files = [
        ("Dockerfile", "FROM x\nEXPOSE 5000\n"),
        (".gitlab-ci.yml", "x: y"),
        ("package.json", "{}"),
        ("Procfile", "web: `x`"),
    ];
    let plan = plan_of(&files).unwrap();
    assert!(plan.files.is_empty());
    assert_eq!((plan.dockerfile_path.as_str(), plan.port), ("Dockerfile", Some(5000)));

    let plan = plan_of(&[("index.html", ""), (".dockerignore", "mine")]).unwrap();
    assert_eq!(generated(&plan, ".dockerignore"), None);
    assert!(generated(&plan, "Dockerfile").is_some());
}

#[test]
fn a_containerfile_is_a_dockerfile_and_the_ci_file_names_it() {
    let plan = plan_of(&[("Containerfile", "FROM x\n"), ("docker/Dockerfile", "FROM y\n")]).unwrap();
    assert_eq!((plan.dockerfile_path.as_str(), plan.port), ("Containerfile", None));
    assert_eq!(plan.files.len(), 1);
    assert!(generated(&plan, ".gitlab-ci.yml").unwrap().contains("--opt filename=\"Containerfile\""));
}

#[test]
fn a_dockerfile_elsewhere_does_not_count() {
    let plan = plan_of(&[(".devcontainer/Dockerfile", "FROM y\n"), ("index.html", "")]).unwrap();
    assert!(generated(&plan, "Dockerfile").is_some());
}

#[test]
fn only_what_is_asked_for_is_generated() {
    let nothing = Request { port: Some(1), ci_file: false, dockerfile: false };
    let plan = plan(&tree(&[("x", "")]), &nothing, &TemplateSettings::default()).unwrap();
    assert!(plan.files.is_empty() && plan.detected.is_none());
    assert_eq!(plan.port, Some(1));
}

#[test]
fn no_family_says_what_was_looked_for_and_hands_back_a_start() {
    let error = error_of(&[("README.md", "hello"), ("docs/index.html", "")]);
    let message = error.to_string();
    assert_eq!(error.code(), "no_family");
    let TemplateError::NoFamily { starting_template, .. } = error else { panic!("{message}") };
    assert!(["go.mod", "package.json", "Gemfile", "*.csproj"].iter().all(|name| message.contains(name)));
    assert!(starting_template.contains("FROM debian:trixie-slim AS build"));
    assert!(starting_template.contains("USER 10001:10001"));
}

#[test]
fn several_applications_below_the_root_are_named_and_not_guessed() {
    let error = error_of(&[("api/go.mod", ""), ("web/package.json", "{}"), ("web/tools/package.json", "{}")]);
    let TemplateError::SeveralDirectories { candidates } = &error else { panic!("{error}") };
    assert_eq!(candidates, &["api/", "web/"]);
}

#[test]
fn one_application_below_the_root_is_used_and_said() {
    let plan = plan_of(&[("a/app/package.json", r#"{"main":"x.js"}"#), ("a/app/x.js", "")]).unwrap();
    assert!(plan.detected.as_ref().unwrap().evidence[0].starts_with("a/app/: the only application"));
    assert!(dockerfile(&plan).contains("\nCOPY a/app/package.json ./\n"));
}

#[test]
fn several_programs_are_named() {
    let go = [("go.mod", ""), ("cmd/a/main.go", "package main"), ("cmd/b/main.go", "package main")];
    let rust = [("Cargo.toml", "[package]\nname='a'"), ("src/main.rs", ""), ("src/bin/b.rs", "")];
    let dotnet = [("A.csproj", "Microsoft.NET.Sdk.Web"), ("B.csproj", "Microsoft.NET.Sdk.Web")];
    for files in [&go[..], &rust[..], &dotnet[..]] {
        let error = error_of(files);
        let TemplateError::SeveralPrograms { candidates, .. } = &error else { panic!("{error}") };
        assert_eq!(candidates.len(), 2);
    }
    let chosen = [&rust[..], &[("Procfile", "web: target/release/b --port $PORT")]].concat();
    assert!(dockerfile(&plan_of(&chosen).unwrap()).contains("cp target/release/b /out/app"));
}

#[test]
fn links_directories_and_submodules_in_the_way_are_refused() {
    for path in ["Dockerfile", "Containerfile", ".gitlab-ci.yml"] {
        for (kind, code) in [(SourceKind::Symlink, "symlinked_file"), (SourceKind::Submodule, "not_a_file")] {
            let mut tree = tree(&[("index.html", "")]);
            tree.insert(path, kind, "/etc/passwd");
            let error = plan(&tree, &ALL, &TemplateSettings::default()).unwrap_err();
            assert_eq!(error.code(), code, "{path}");
            assert!(error.to_string().contains(path), "{error}");
        }
        let inside = format!("{path}/x");
        assert_eq!(error_of(&[("index.html", ""), (&inside, "")]).code(), "not_a_file", "{path}");
    }
}

#[test]
fn a_linked_marker_file_is_not_followed() {
    let mut tree = MemoryTree::default();
    tree.insert("package.json", SourceKind::Symlink, "/etc/passwd");
    assert_eq!(plan(&tree, &ALL, &TemplateSettings::default()).unwrap_err().code(), "no_family");
}

#[test]
fn limits_and_malformed_manifests_are_reported_with_the_file() {
    let settings = TemplateSettings { max_file_bytes: 3, ..TemplateSettings::default() };
    let error = plan(&tree(&[("package.json", "{   }")]), &ALL, &settings).unwrap_err();
    assert_eq!(error.code(), "file_too_large");
    assert_eq!(error.to_string(), "package.json has 5 bytes, more than the limit of 3");
    assert_eq!(error_of(&[("package.json", "{")]).to_string(), "package.json is not valid JSON");
    assert_eq!(error_of(&[("Cargo.toml", "[")]).to_string(), "Cargo.toml is not valid TOML");
}

#[test]
fn a_family_without_a_start_command_says_where_one_would_be() {
    let trees: [&[(&str, &str)]; 7] = [
        &[("requirements.txt", "")],
        &[("package.json", "{}")],
        &[("go.mod", "module x")],
        &[("Cargo.toml", "[package]\nname='x'")],
        &[("Gemfile", "")],
        &[("build.gradle", "")],
        &[("All.sln", "")],
    ];
    for files in trees {
        let error = error_of(files);
        assert_eq!(error.code(), "no_start_command", "{error}");
        assert!(!error.hint().is_empty());
    }
}

#[test]
fn unusable_settings_are_named() {
    let mut settings = TemplateSettings::default();
    settings.base_images.insert("static".to_owned(), "x\nRUN y".to_owned());
    let error = plan(&tree(&[("index.html", "")]), &ALL, &settings).unwrap_err();
    assert_eq!(error.code(), "invalid_template_setting");
    assert!(error.to_string().starts_with("template setting base_images.static"));
    settings.base_images.remove("static");
    assert_eq!(
        plan(&tree(&[("index.html", "")]), &ALL, &settings).unwrap_err().code(),
        "invalid_template_setting"
    );
}
