//! Tests of errors: bodies of every shape, pauses, and that no token is told.

use reqwest::header::HeaderValue;

use super::*;

const TOKEN: &str = "s3cr3t-access-token";

fn of(status: u16, body: &str) -> GitlabError {
    let status = StatusCode::from_u16(status).unwrap();
    GitlabError::of_answer(status, &HeaderMap::new(), body.as_bytes(), TOKEN, now())
}

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

fn message(body: &str) -> String {
    let error = of(400, body);
    let GitlabError::Refused { status: 400, message } = error else { panic!("{error:?}") };
    message
}

fn limited(headers: &[(&'static str, &'static str)]) -> Option<Duration> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, HeaderValue::from_static(value));
    }
    let status = StatusCode::TOO_MANY_REQUESTS;
    let error = GitlabError::of_answer(status, &map, b"Retry later\n", TOKEN, now());
    assert!(matches!(error, GitlabError::RateLimited { .. }), "{error:?}");
    error.retry_after()
}

#[test]
fn a_message_that_is_one_text_is_kept() {
    let body = r#"{"message":"400 Bad request - Branch is missing"}"#;
    assert_eq!(message(body), "400 Bad request - Branch is missing");
}

#[test]
fn a_message_of_fields_names_each_field() {
    let body =
        r#"{"message":{"description":["is too long"],"name":["has already been taken","is reserved"]}}"#;
    assert_eq!(message(body), "description is too long; name has already been taken; name is reserved");
}

#[test]
fn nested_fields_are_named_by_their_path() {
    let body = r#"{"message":{"base":["No stages"],"hook":{"base":["is bad"],"url":["is blocked"]}}}"#;
    assert_eq!(message(body), "No stages; hook is bad; hook.url is blocked");
}

#[test]
fn an_error_that_is_one_text_is_kept() {
    assert_eq!(message(r#"{"error":"name is missing, sha is missing"}"#), "name is missing, sha is missing");
}

#[test]
fn an_error_with_a_description_says_the_description_and_the_scope() {
    let body =
        r#"{"error":"insufficient_scope","error_description":"More is needed.","scope":"api read_api"}"#;
    let (message, scope) = ("More is needed.".to_owned(), Some("api read_api".to_owned()));
    assert_eq!(of(403, body), GitlabError::Forbidden { message, scope });
}

#[test]
fn html_is_not_repeated() {
    assert_eq!(message("<html><body>\n<h1>Whoops</h1></body></html>"), "the answer is an HTML page");
}

#[test]
fn plain_text_is_cut_to_its_first_line() {
    assert_eq!(message("Forbidden\nsecond line"), "Forbidden");
}

#[test]
fn a_body_that_says_nothing_gives_a_sentence_all_the_same() {
    for body in ["", "{}", "[]", "null", r#"{"message":null}"#, r#"{"message":{}}"#, "   \n"] {
        assert_eq!(message(body), "it gave no reason", "{body:?}");
    }
}

#[test]
fn messages_are_short_and_of_one_line() {
    let long = format!(r#"{{"message":"first\nsecond{}"}}"#, "ä".repeat(1_000));
    let message = message(&long);
    assert!(message.starts_with("first second"), "{message}");
    assert!(message.len() <= 300, "{}", message.len());
    let many: Vec<String> = (0..1_000).map(|number| format!("\"{number}\"")).collect();
    let message = self::message(&format!(r#"{{"message":[{}]}}"#, many.join(",")));
    assert_eq!(message, "0; 1; 2; 3; 4; 5; 6; 7");
}

#[test]
fn no_token_is_repeated() {
    let body = format!(r#"{{"message":"{TOKEN} and glpat-AbCdEf0123456789xyz are wrong"}}"#);
    assert_eq!(message(&body), "[secret] and [secret] are wrong");
}

#[test]
fn every_status_has_its_meaning() {
    assert_eq!(of(401, r#"{"error":"invalid_token"}"#), GitlabError::Unauthorized);
    assert_eq!(of(404, r#"{"message":"404 Project Not Found"}"#), GitlabError::NotFound);
    assert_eq!(of(408, ""), GitlabError::TimedOut);
    for status in [500, 502, 503, 504] {
        assert_eq!(of(status, "<html></html>"), GitlabError::ServerError { status });
    }
    for status in [301, 400, 405, 409, 412, 422] {
        assert!(matches!(of(status, "{}"), GitlabError::Refused { status: told, .. } if told == status));
    }
}

#[test]
fn a_rate_limit_says_when_to_ask_again() {
    assert_eq!(limited(&[("retry-after", "42")]), Some(Duration::from_secs(42)));
    assert_eq!(limited(&[("ratelimit-reset", "1790000030")]), Some(Duration::from_secs(30)));
    assert_eq!(
        limited(&[("retry-after", "7"), ("ratelimit-reset", "1790000030")]),
        Some(Duration::from_secs(7)),
        "what is said about this answer goes first"
    );
}

#[test]
fn pauses_that_make_no_sense_are_bounded_or_left_out() {
    assert_eq!(limited(&[("retry-after", "99999999999")]), Some(RETRY_AFTER_MAX));
    assert_eq!(limited(&[("retry-after", "0")]), Some(RETRY_AFTER_MIN));
    assert_eq!(limited(&[("ratelimit-reset", "12")]), Some(RETRY_AFTER_MIN), "a window that is long over");
    assert_eq!(limited(&[("retry-after", "soon")]), None);
    assert_eq!(limited(&[]), None);
}

#[test]
fn what_may_pass_by_itself_is_transient() {
    let transient = [
        GitlabError::Unreachable { reason: "connection refused".to_owned() },
        GitlabError::TimedOut,
        of(429, "Retry later"),
        of(502, ""),
        of(409, "{}"),
    ];
    for error in transient {
        assert!(error.is_transient(), "{error:?}");
    }
    let lasting = [
        of(401, ""),
        of(403, ""),
        of(404, ""),
        of(400, ""),
        of(422, ""),
        GitlabError::Unreadable { reason: "too large".to_owned() },
        GitlabError::Address,
    ];
    for error in lasting {
        assert!(!error.is_transient(), "{error:?}");
    }
}

#[test]
fn codes_are_distinct_and_hints_are_sentences() {
    let all = [
        GitlabError::Unreachable { reason: String::new() },
        GitlabError::TimedOut,
        of(401, ""),
        of(403, ""),
        of(404, ""),
        of(429, ""),
        of(400, ""),
        of(500, ""),
        GitlabError::Unreadable { reason: String::new() },
        GitlabError::Address,
    ];
    let codes: std::collections::HashSet<_> = all.iter().map(GitlabError::code).collect();
    assert_eq!(codes.len(), all.len());
    for error in all {
        assert!(error.code().starts_with("gitlab_"));
        assert!(error.hint().ends_with('.'), "{}", error.hint());
        assert!(!error.message().is_empty());
    }
}
