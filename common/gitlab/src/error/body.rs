//! What the body of a refusal says. GitLab has four shapes of JSON for it; what stands in front of it has HTML and text.

use serde_json::Value;

use crate::text;

/// Longest message that is kept.
const MESSAGE_MAX_BYTES: usize = 300;
/// Most complaints of one message.
const COMPLAINTS_MAX: usize = 8;
const SCOPE_MAX_BYTES: usize = 64;

/// What a refusal says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Why; never empty.
    pub(super) message: String,
    /// The scope that is missing.
    pub(super) scope: Option<String>,
}

/// Reads `body`; `token` is left out of what it says.
pub(super) fn read(body: &[u8], token: &str) -> Told {
    let (message, scope) = match serde_json::from_slice::<Value>(body) {
        Ok(json) => (message_of(&json), json.get("scope").and_then(Value::as_str).map(str::to_owned)),
        Err(_) => (first_line(body), None),
    };
    let message = text::plain(&text::without_tokens(&message, token), MESSAGE_MAX_BYTES);
    Told {
        message: if message.is_empty() { "it gave no reason".to_owned() } else { message },
        scope: scope.map(|scope| text::plain(&scope, SCOPE_MAX_BYTES)),
    }
}

fn message_of(json: &Value) -> String {
    let said = ["message", "error_description", "error"].into_iter().find_map(|key| json.get(key));
    let mut complaints = Vec::new();
    collect(said.unwrap_or(&Value::Null), "", &mut complaints);
    complaints.join("; ")
}

/// Every text below `value`, each after the path of the field it is about.
fn collect(value: &Value, path: &str, complaints: &mut Vec<String>) {
    if complaints.len() >= COMPLAINTS_MAX {
        return;
    }
    match value {
        Value::Null => {}
        Value::Bool(flag) => complaints.push(about(path, &flag.to_string())),
        Value::Number(number) => complaints.push(about(path, &number.to_string())),
        Value::String(text) => complaints.push(about(path, text)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, complaints)),
        Value::Object(fields) => {
            for (name, field) in fields {
                // `base` is the object itself.
                let below = match (path, name.as_str()) {
                    (path, "base") => path.to_owned(),
                    ("", name) => name.to_owned(),
                    (path, name) => format!("{path}.{name}"),
                };
                collect(field, &below, complaints);
            }
        }
    }
}

fn about(path: &str, text: &str) -> String {
    if path.is_empty() { text.to_owned() } else { format!("{path} {text}") }
}

fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start();
    if text.starts_with('<') {
        return "the answer is an HTML page".to_owned();
    }
    text.lines().next().unwrap_or_default().to_owned()
}
