//! What every generated Dockerfile has in common, whatever the family.

use std::collections::BTreeMap;

use super::families::samples;
use super::{ALL, TemplateSettings, dockerfile, generated, plan, plan_of, tree};
use crate::template::{Family, Request};

/// Instructions of a Dockerfile, without their comments.
fn instructions(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')).collect()
}

fn last<'a>(text: &'a str, instruction: &str) -> Option<&'a str> {
    instructions(text).into_iter().rfind(|(name, _)| *name == instruction).map(|(_, rest)| rest)
}

#[test]
fn a_comment_line_stands_before_every_instruction() {
    for sample in samples() {
        let plan = plan_of(sample.files).unwrap();
        let mut previous = "";
        for line in dockerfile(&plan).lines() {
            let explained = line.is_empty() || line.starts_with("# ") || previous.starts_with("# ");
            assert!(explained, "{}: no comment before {line:?}", sample.name);
            assert!(!(line.starts_with('#') && previous.starts_with('#')), "{}: {line:?}", sample.name);
            previous = line;
        }
    }
}

#[test]
fn the_classic_builder_can_read_every_line() {
    let known = ["FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "CMD", "STOPSIGNAL"];
    for sample in samples() {
        let plan = plan_of(sample.files).unwrap();
        let text = dockerfile(&plan);
        for (instruction, rest) in instructions(text) {
            assert!(known.contains(&instruction), "{}: {instruction}", sample.name);
            assert!(!rest.contains("--mount") && !rest.contains("<<"), "{}: {rest}", sample.name);
        }
        assert!(!text.contains("syntax="), "{}", sample.name);
        assert!(
            text.ends_with('\n') && !text.contains("  ") && !text.contains(" \n"),
            "{}:\n{text}",
            sample.name
        );
    }
}

#[test]
fn the_image_is_multi_stage_unprivileged_and_started_directly() {
    for sample in samples() {
        let plan = plan_of(sample.files).unwrap();
        let text = dockerfile(&plan);
        let is_static = plan.detected.as_ref().is_some_and(|detected| detected.family == Family::Static);
        let stages = instructions(text).into_iter().filter(|(name, _)| *name == "FROM").count();
        assert!(stages >= 2 || is_static, "{}", sample.name);
        let user = last(text, "USER").unwrap();
        let (user, group) = user.split_once(':').unwrap();
        assert!(user.parse::<u32>().unwrap() > 0 && group.parse::<u32>().unwrap() > 0, "{}", sample.name);
        assert_eq!(
            last(text, "EXPOSE"),
            plan.port.map(|port| port.to_string()).as_deref(),
            "{}",
            sample.name
        );
        let Some(cmd) = last(text, "CMD") else {
            assert!(text.contains("/usr/share/nginx/html/"), "{}: no CMD", sample.name);
            continue;
        };
        let words: Vec<String> = serde_json::from_str(cmd).unwrap();
        if words.first().is_some_and(|word| word == "sh") {
            assert!(words[1] == "-c" && words[2].starts_with("exec ") && words.len() == 3, "{}", sample.name);
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for sample in samples() {
        let mut reversed = sample.files.to_vec();
        reversed.reverse();
        assert_eq!(plan_of(sample.files).unwrap(), plan_of(&reversed).unwrap(), "{}", sample.name);
    }
}

#[test]
fn a_plan_survives_json() {
    for sample in samples() {
        let plan = plan_of(sample.files).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<crate::template::Plan>(&text).unwrap(), plan, "{}", sample.name);
    }
}

#[test]
fn the_requested_port_is_used_where_the_image_leaves_a_choice() {
    let request = Request { port: Some(9000), ..ALL };
    for sample in samples() {
        let plan = plan(&tree(sample.files), &request, &TemplateSettings::default()).unwrap();
        let fixed = last(dockerfile(&plan), "CMD").is_none();
        assert_eq!(plan.port, Some(if fixed { 8080 } else { 9000 }), "{}", sample.name);
    }
}

#[test]
fn base_images_are_settings() {
    let images = BTreeMap::from([("static", "localhost:5000/pages@sha256:00ff")]);
    let text = serde_json::json!({ "base_images": images }).to_string();
    let settings: TemplateSettings = serde_json::from_str(&text).unwrap();
    assert_eq!(settings.base_images.len(), TemplateSettings::default().base_images.len());
    let plan = plan(&tree(&[("index.html", "")]), &ALL, &settings).unwrap();
    assert!(dockerfile(&plan).contains("\nFROM localhost:5000/pages@sha256:00ff\n"));
}

#[test]
fn a_dockerignore_comes_with_the_dockerfile_and_keeps_history_and_secrets_out() {
    for sample in samples() {
        let plan = plan_of(sample.files).unwrap();
        let ignored: Vec<&str> = generated(&plan, ".dockerignore").unwrap().lines().collect();
        for expected in [".git", "**/.env", "Dockerfile"] {
            assert!(ignored.contains(&expected), "{}: {expected}", sample.name);
        }
    }
}
