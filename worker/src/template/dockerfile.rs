//! Reads the port out of an existing Dockerfile: the first TCP `EXPOSE` of the last stage, with variables
//! taken from the stage's own `ENV` and `ARG` defaults.

use std::collections::BTreeMap;

/// What one stage says about ports.
#[derive(Debug, Clone, Default)]
struct Stage {
    name: String,
    exposed: Option<u16>,
    variables: BTreeMap<String, String>,
}

/// The port the image of this Dockerfile listens on, as far as the file says.
pub(super) fn exposed_port(text: &str) -> Option<u16> {
    let mut stages: Vec<Stage> = Vec::new();
    for line in joined_lines(text) {
        let Some((instruction, arguments)) = line.split_once(char::is_whitespace) else { continue };
        if instruction.eq_ignore_ascii_case("FROM") {
            let stage = started_stage(arguments, &stages);
            stages.push(stage);
        } else if let Some(stage) = stages.last_mut() {
            stage.read(instruction, arguments);
        }
    }
    stages.last()?.exposed
}

impl Stage {
    fn read(&mut self, instruction: &str, arguments: &str) {
        if instruction.eq_ignore_ascii_case("ENV") || instruction.eq_ignore_ascii_case("ARG") {
            self.variables.extend(assignments(arguments));
        } else if instruction.eq_ignore_ascii_case("EXPOSE") && self.exposed.is_none() {
            self.exposed = arguments.split_whitespace().find_map(|port| tcp_port(port, &self.variables));
        }
    }
}

/// Lines without comments, with continuation lines joined.
fn joined_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_suffix('\\') {
            Some(part) => {
                open.push_str(part);
                open.push(' ');
            }
            None => lines.push(std::mem::take(&mut open) + line),
        }
    }
    lines
}

/// The stage a `FROM` starts; it inherits from an earlier stage of this file.
fn started_stage(arguments: &str, stages: &[Stage]) -> Stage {
    let words: Vec<&str> = arguments.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let base = words.first().copied().unwrap_or_default();
    let name = match words.as_slice() {
        [_, keyword, name] if keyword.eq_ignore_ascii_case("AS") => (*name).to_owned(),
        _ => String::new(),
    };
    let inherited = stages.iter().rfind(|stage| !stage.name.is_empty() && stage.name == base);
    Stage { name, ..inherited.cloned().unwrap_or_default() }
}

/// `A=1 B="2"`, or the older `A 1`.
fn assignments(arguments: &str) -> Vec<(String, String)> {
    let unquoted = |text: &str| text.trim_matches(['"', '\'']).to_owned();
    match arguments.trim().split_once(char::is_whitespace) {
        Some((name, value)) if !name.contains('=') => vec![(name.to_owned(), unquoted(value.trim()))],
        _ => arguments
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), unquoted(value)))
            .collect(),
    }
}

fn tcp_port(text: &str, variables: &BTreeMap<String, String>) -> Option<u16> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if !protocol.eq_ignore_ascii_case("tcp") {
        return None;
    }
    let value = match port.strip_prefix('$') {
        Some(variable) => {
            let variable = variable.trim_start_matches('{').trim_end_matches('}');
            let (name, default) = variable.split_once(":-").unwrap_or((variable, ""));
            variables.get(name).map_or(default, String::as_str)
        }
        None => port,
    };
    value.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_last_stages_first_tcp_expose() {
        let cases = [
            ("FROM a\nEXPOSE 8080", Some(8080)),
            ("FROM a\nEXPOSE 53/udp 8080/tcp 9", Some(8080)),
            ("FROM a\nENV PORT=3000\nEXPOSE $PORT", Some(3000)),
            ("FROM a\nARG PORT\nEXPOSE ${PORT:-81}", Some(81)),
            ("FROM a\nENV PORT 82\nexpose ${PORT}", Some(82)),
            ("FROM a AS base\nEXPOSE 80\nFROM b AS build\nEXPOSE 1\nFROM base", Some(80)),
            ("FROM a AS build\nEXPOSE 80\nFROM b", None),
            ("FROM a\n# EXPOSE 1\nENV A=1 \\\n  PORT=5000\nEXPOSE \\\n $PORT", Some(5000)),
            ("FROM a\nEXPOSE 70000 0 x", None),
            ("EXPOSE 80", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(exposed_port(text), expected, "{text}");
        }
    }
}
