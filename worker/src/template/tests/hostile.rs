//! Hostile repositories: whatever the files say, nothing panics, and every line of a generated Dockerfile is
//! a line of a built-in template with plain words in its gaps.

use proptest::prelude::*;

use super::{ALL, TemplateSettings, dockerfile, plan, plan_of};
use crate::source::{MemoryTree, SourceKind};
use crate::template::render::TEMPLATES;

/// What a gap of a template may be filled with, apart from letters and digits.
const GAP_PUNCTUATION: &str = "_./:=@%+,-${} \"[]()*&'";

/// How commands begin that a template takes as a whole.
const COMMANDS: [&str; 7] = [
    "npm ",
    "pnpm ",
    "yarn ",
    "CI=true pnpm ",
    "YARN_NODE_LINKER=node-modules yarn ",
    "gradle --no-daemon ",
    "sh ./gradlew --no-daemon ",
];

/// The fixed pieces of one template line. Between two pieces there is a gap.
fn pieces(line: &str) -> Vec<String> {
    let mut line = line.to_owned();
    if let (Some(start), Some(end)) = (line.find("{%"), line.rfind("%}")) {
        line.replace_range(start..end + 2, "{{}}");
    }
    let mut pieces = Vec::new();
    let mut rest = line.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        pieces.push(before.to_owned());
        rest = after.split_once("}}").map_or("", |(_, after)| after);
    }
    pieces.push(rest.to_owned());
    pieces
}

/// Whether a line whose command or image is all gap at least begins as Slipway's own values do.
fn begins_as_ours(line: &str) -> bool {
    let images = TemplateSettings::default().base_images;
    let names = images.values().filter_map(|image| image.split('{').next());
    match line.split_once(' ') {
        Some(("FROM", image)) => names.into_iter().any(|name| image.starts_with(name)),
        Some(("RUN", command)) => COMMANDS.iter().any(|ours| command.starts_with(ours)),
        _ => true,
    }
}

fn fits(line: &str, pieces: &[String]) -> bool {
    let [first, middle @ ..] = pieces else { return false };
    if matches!(first.as_str(), "RUN " | "FROM ") && !begins_as_ours(line) {
        return false;
    }
    let Some(mut rest) = line.strip_prefix(first.as_str()) else { return false };
    let plain =
        |gap: &str| gap.chars().all(|each| each.is_ascii_alphanumeric() || GAP_PUNCTUATION.contains(each));
    let Some((last, middle)) = middle.split_last() else { return rest.is_empty() };
    for piece in middle {
        let Some((gap, after)) = rest.split_once(piece.as_str()) else { return false };
        if !plain(gap) {
            return false;
        }
        rest = after;
    }
    rest.strip_suffix(last.as_str()).is_some_and(plain)
}

fn assert_every_line_is_the_templates(text: &str) {
    let lines: Vec<Vec<String>> = TEMPLATES
        .iter()
        .filter(|(name, _)| !["dockerignore", "gitlab_ci"].contains(name))
        .flat_map(|(_, source)| source.lines())
        .filter(|line| !(line.starts_with("{%") && line.ends_with("%}")))
        .map(pieces)
        .collect();
    for line in text.lines() {
        assert!(lines.iter().any(|pieces| fits(line, pieces)), "not a template's line: {line:?}");
        // What stands in quotes is an argument, whatever it looks like.
        let bare: String = line.split('"').step_by(2).collect();
        let commands = ["RUN", "ENV", "CMD"].iter().filter(|name| bare.contains(&format!("{name} "))).count();
        assert!(commands <= 1 || line.starts_with('#'), "{line:?}");
    }
}

/// Trees with one hostile value in every place a family reads a value from.
fn trees_with(value: &str) -> Vec<Vec<(String, String)>> {
    let json = serde_json::json!(value);
    let toml = toml::Value::String(value.to_owned());
    let file = |path: &str, contents: String| (path.to_owned(), contents);
    let fixed = |path: &str| (path.to_owned(), String::new());
    vec![
        vec![file("Procfile", format!("web: {value}")), file("package.json", "{}".to_owned())],
        vec![file("Procfile", format!("web: {value}")), fixed("main.py")],
        vec![file(".python-version", value.to_owned()), fixed("main.py")],
        vec![
            file(".nvmrc", value.to_owned()),
            file("package.json", r#"{"main":"a.js"}"#.to_owned()),
            fixed("a.js"),
        ],
        vec![file("package.json", format!(r#"{{"scripts":{{"start":{json},"build":{json}}}}}"#))],
        vec![
            file(
                "package.json",
                format!(r#"{{"packageManager":{json},"engines":{{"node":{json}}},"main":{json}}}"#),
            ),
            fixed(value),
            fixed("index.js"),
        ],
        vec![file("pyproject.toml", format!("[project]\nrequires-python = {toml}\n")), fixed("main.py")],
        vec![fixed("manage.py"), fixed(&format!("{value}/wsgi.py"))],
        vec![file("manage.py", format!("DJANGO_SETTINGS_MODULE', '{value}.settings'"))],
        vec![file("app.py", format!("{value} = Flask(__name__)"))],
        vec![fixed("requirements.txt"), file(&format!("{value}/app.py"), "app = Flask(__name__)".to_owned())],
        vec![
            file("go.mod", format!("module {value}\ngo {value}\n")),
            file("a.go", "package main".to_owned()),
        ],
        vec![fixed("go.mod"), fixed(&format!("cmd/{value}/main.go"))],
        vec![
            file("Cargo.toml", format!("[package]\nname = {toml}\nrust-version = {toml}\n")),
            fixed("src/main.rs"),
        ],
        vec![file("Cargo.toml", format!("[package]\ndefault-run = {toml}\n"))],
        vec![
            file("pom.xml", format!("<java.version>{value}</java.version><module>{value}</module>")),
            file(&format!("{value}/pom.xml"), "maven-shade-plugin".to_owned()),
        ],
        vec![file("build.gradle", format!("application\njvmToolchain({value})"))],
        vec![file("Gemfile", format!("ruby '{value}'\ngem '{value}'")), fixed("config.ru")],
        vec![
            file("composer.json", format!(r#"{{"require":{{"php":{json},{json}:"*"}}}}"#)),
            file("Procfile", format!("web: vendor/bin/heroku-php-apache2 {value}")),
        ],
        vec![file(&format!("{value}.csproj"), "Microsoft.NET.Sdk.Web".to_owned())],
        vec![file(
            "a.csproj",
            format!(
                "Microsoft.NET.Sdk.Web<AssemblyName>{value}</AssemblyName><TargetFramework>net{value}</TargetFramework>"
            ),
        )],
        vec![fixed(&format!("{value}/go.mod")), file(&format!("{value}/a.go"), "package main".to_owned())],
    ]
}

fn check_value(value: &str) {
    for files in trees_with(value) {
        let borrowed: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        match plan_of(&borrowed) {
            Ok(plan) => assert_every_line_is_the_templates(dockerfile(&plan)),
            Err(error) => assert!(!error.code().is_empty() && !error.to_string().contains('\n'), "{error}"),
        }
    }
}

#[test]
fn known_injections_add_nothing() {
    for value in [
        "x\nRUN touch /pwned",
        "x\r\nRUN touch /pwned",
        "x\\\nRUN touch /pwned",
        "`touch /pwned`",
        "$(touch /pwned)",
        "x\"]\nUSER root\nCMD [\"sh",
        "x'; touch /pwned; '",
        "x && touch /pwned",
        "x | sh",
        "x > /etc/passwd",
        "../../etc",
        "--privileged",
        "3.12\u{2028}RUN x",
        "3.12 AS build\nFROM evil",
        "{{ port }}",
        "{% raw %}",
        "\u{0}",
    ] {
        check_value(value);
    }
}

#[test]
fn a_hostile_start_command_is_refused_by_name() {
    let files = [("index.js", ""), ("package.json", "{}"), ("Procfile", "web: node x `id`")];
    let error = plan_of(&files).unwrap_err();
    assert_eq!(error.code(), "unsafe_value");
    assert!(error.to_string().starts_with("Procfile: command \"node x `id`\""));
}

#[test]
fn a_hostile_version_file_is_ignored() {
    let plan = plan_of(&[("main.py", ""), (".python-version", "latest; RUN x")]).unwrap();
    assert!(dockerfile(&plan).contains("FROM python:3.14-slim AS build"));
}

#[test]
fn the_line_check_can_fail() {
    for line in ["RUN touch /pwned", "FROM evil", "USER root", "ADD x y", "COPY . /etc; x", "CMD `x`"] {
        let outcome = std::panic::catch_unwind(|| assert_every_line_is_the_templates(line));
        assert!(outcome.is_err(), "{line}");
    }
}

fn interesting_path() -> impl Strategy<Value = String> {
    let names = vec![
        "package.json",
        "requirements.txt",
        "pyproject.toml",
        "go.mod",
        "main.go",
        "Cargo.toml",
        "src/main.rs",
        "Gemfile",
        "config.ru",
        "composer.json",
        "index.php",
        "pom.xml",
        "build.gradle",
        "a.csproj",
        "index.html",
        "Procfile",
        ".python-version",
        ".nvmrc",
        "manage.py",
        "app.py",
        "Dockerfile",
        ".gitlab-ci.yml",
        ".tool-versions",
        "rust-toolchain",
        "system.properties",
        "next.config.js",
        "sub/go.mod",
        "b/package.json",
    ];
    prop_oneof![4 => prop::sample::select(names).prop_map(str::to_owned), 1 => ".{1,12}", 1 => "[a-z]{1,3}/.{1,9}"]
}

fn interesting_contents() -> impl Strategy<Value = Vec<u8>> {
    let fragments = vec![
        "web: ",
        "node x.js",
        "{",
        "}",
        "\"scripts\":",
        "[package]\n",
        "name = \"x\"\n",
        "package main\n",
        "\n",
        "\r",
        "EXPOSE ",
        "$PORT",
        "<java.version>",
        "17",
        "</java.version>",
        "Flask(",
        "app = ",
        "FastAPI(",
        "`",
        "\"",
        "'",
        "application",
        "Microsoft.NET.Sdk.Web",
        "go 1.",
        "RUN x",
        "ruby ",
        "DJANGO_SETTINGS_MODULE",
        ".settings",
    ];
    let built =
        prop::collection::vec(prop::sample::select(fragments), 0..12).prop_map(|parts| parts.concat().into());
    prop_oneof![3 => built, 1 => prop::collection::vec(any::<u8>(), 0..80), 1 => Just(b"{}".to_vec())]
}

fn kind() -> impl Strategy<Value = SourceKind> {
    prop_oneof![
        8 => Just(SourceKind::File),
        1 => Just(SourceKind::Executable),
        1 => Just(SourceKind::Symlink),
        1 => Just(SourceKind::Submodule),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_gives_a_plan_of_template_lines_or_an_error(
        files in prop::collection::vec((interesting_path(), kind(), interesting_contents()), 0..8)
    ) {
        let mut tree = MemoryTree::default();
        for (path, kind, contents) in files {
            tree.insert(path, kind, contents);
        }
        match plan(&tree, &ALL, &TemplateSettings::default()) {
            Ok(plan) => for file in plan.files.iter().filter(|file| file.path == "Dockerfile") {
                assert_every_line_is_the_templates(&file.contents);
            },
            Err(error) => prop_assert!(!error.hint().is_empty() && !error.code().is_empty()),
        }
    }

    #[test]
    fn any_value_anywhere_adds_nothing(value in "[ -~\n\r\t\u{80}-\u{300}]{1,24}") {
        check_value(&value);
    }

    #[test]
    fn any_plain_looking_value_anywhere_adds_nothing(value in "[a-zA-Z0-9._/:$ -]{1,16}") {
        check_value(&value);
    }
}
