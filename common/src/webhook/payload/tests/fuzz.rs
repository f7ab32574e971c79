//! Deliveries changed at random: nothing panics, and what is read is safe whatever it came from.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;

use super::*;

/// How many deliveries of each kind of change are tried.
const CASES: u32 = 512;
const CHANGES_MAX: usize = 12;
const FORGES: [Forge; 3] = [Forge::Gitlab, Forge::Github, Forge::Gitea];
const EVENTS: [&str; 8] = ["push", "create", "delete", "ping", "pull_request", "Push Hook", "", "release"];
const TYPES: [Option<&str>; 3] = [None, Some("application/json"), Some("application/x-www-form-urlencoded")];

/// `PROPTEST_CASES` asks for more.
fn config() -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    Config { cases, failure_persistence: None, ..Config::default() }
}

#[derive(Debug, Clone)]
enum Change {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<Index>(), prop::sample::select(b"{}[]\",:\\0-e \xff\x00".to_vec()))
            .prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<Index>().prop_map(Change::Remove),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Replace(at, byte) => bytes[at.index(length)] = *byte,
        Change::Insert(at, byte) => bytes.insert(at.index(length), *byte),
        Change::Remove(at) => drop(bytes.remove(at.index(length))),
        Change::Cut(at) => bytes.truncate(at.index(length)),
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(part);
        }
    }
}

fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "refs/(heads|tags)/.{0,12}".prop_map(Value::from),
        "[0-9a-fA-F]{39,41}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"id": [], "iid": {"id": 5}, "sha": {"sha": null}})),
        Just(json!("0".repeat(40))),
    ]
}

/// The place of one of all the values in `body`.
fn some_place(body: &mut Value, at: Index, depth: usize) -> &mut Value {
    let count = match body {
        Value::Object(fields) => fields.len(),
        Value::Array(values) => values.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    if count == 0 || (depth > 0 && at.index(3) == 0) {
        return body;
    }
    let place = at.index(count);
    match body {
        Value::Object(fields) => some_place(fields.values_mut().nth(place).unwrap(), at, depth + 1),
        Value::Array(values) => some_place(&mut values[place], at, depth + 1),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => unreachable!("it has no parts"),
    }
}

/// Reads the body as every forge, event and type; what is read must be safe.
fn read_all_ways(body: &[u8]) -> Result<(), TestCaseError> {
    for forge in FORGES {
        for event in EVENTS {
            for content_type in TYPES {
                if let Ok(Parsed { kind: Some(kind), why }) = parse(forge, event, content_type, body) {
                    prop_assert!(!why.is_empty());
                    is_safe(&kind)?;
                }
            }
        }
    }
    Ok(())
}

fn is_safe(kind: &DeliveryKind) -> Result<(), TestCaseError> {
    let is_id = |id: &str| {
        matches!(id.len(), 40 | 64) && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    match kind {
        DeliveryKind::Push { reference, revision } => {
            prop_assert!(reference.starts_with("refs/heads/") || reference.starts_with("refs/tags/"));
            prop_assert!(reference.len() < 300 && !reference.contains([' ', '\n', '\0', ':', '*']));
            prop_assert!(!reference.contains("..") && !reference.starts_with("refs/heads/-"));
            prop_assert!(revision.as_deref().is_none_or(is_id));
        }
        DeliveryKind::MergeRequest { iid } => prop_assert!(*iid > 0),
        DeliveryKind::Pipeline { revision } => prop_assert!(is_id(revision)),
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn changed_bytes_never_panic(
        which in any::<Index>(),
        changes in prop::collection::vec(change(), 0..CHANGES_MAX),
    ) {
        let fixtures = fixtures::all();
        let mut bytes = which.get(&fixtures).body.to_string().into_bytes();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        read_all_ways(&bytes)?;
    }

    #[test]
    fn changed_values_never_panic(
        which in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), junk()), 0..CHANGES_MAX),
    ) {
        let fixtures = fixtures::all();
        let mut body = which.get(&fixtures).body.clone();
        for (at, value) in changes {
            *some_place(&mut body, at, 0) = value;
        }
        read_all_ways(body.to_string().as_bytes())?;
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        read_all_ways(&bytes)?;
    }
}
