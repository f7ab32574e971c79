//! Tests of the client against a server of their own: limits, redirects, pages, refusals, and that the token stays in.

mod calls;
mod server;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use self::server::{Server, TOKEN, answer, at, with};
use super::*;

const PROJECT: &str = r#"{"id":7,"path_with_namespace":"group/app"}"#;

fn reason(error: GitlabError) -> String {
    let GitlabError::Unreadable { reason } = error else { panic!("{error:?}") };
    reason
}

#[tokio::test]
async fn a_request_carries_the_token_and_the_encoded_path() {
    let server = Server::start(|_| answer(200, PROJECT)).await;
    let project = server.gitlab().project().await.unwrap();
    assert_eq!(project.id, 7);
    let asked = server.asked();
    assert_eq!(asked[0].line, "GET /api/v4/projects/group%2Fapp");
    assert_eq!(asked[0].headers["private-token"], TOKEN);
    assert!(asked[0].headers["user-agent"].to_str().unwrap().starts_with("slipway/"));
    assert!(!asked[0].line.contains(TOKEN));
}

#[tokio::test]
async fn names_cannot_leave_their_place_in_a_path() {
    let server = Server::start(|_| answer(204, "")).await;
    server.gitlab().delete_variable("../../x?y#z%2e/ä").await.unwrap();
    let line = &server.asked()[0].line;
    let expected = "DELETE /api/v4/projects/group%2Fapp/variables/..%2F..%2Fx%3Fy%23z%252e%2F%C3%A4?";
    assert!(line.starts_with(expected), "{line}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = Server::start(|_| None).await;
    let error = server.gitlab_within(Duration::from_millis(100)).project().await.unwrap_err();
    assert_eq!(error, GitlabError::TimedOut);
}

#[tokio::test]
async fn a_server_that_begins_and_never_ends_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0_u8; 4_096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
        std::future::pending::<()>().await;
    });
    let error = at(address, Duration::from_millis(200)).project().await.unwrap_err();
    assert_eq!(error, GitlabError::TimedOut);
}

#[tokio::test]
async fn nobody_there_and_a_lost_connection_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gitlab = at(address, Duration::from_secs(20));
    let cut_off = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0_u8; 4_096];
        assert!(stream.read(&mut head).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
        // The connection and the listener end here.
    });
    let error = gitlab.project().await.unwrap_err();
    assert!(matches!(error, GitlabError::Unreachable { .. }), "{error:?}");
    cut_off.await.unwrap();
    let error = gitlab.project().await.unwrap_err();
    assert!(matches!(error, GitlabError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_rate_limit_is_told_with_its_pause() {
    let server = Server::start(|_| with(429, &[("retry-after", "42")], "Retry later\n")).await;
    let error = server.gitlab().project().await.unwrap_err();
    assert_eq!(error, GitlabError::RateLimited { retry_after: Some(Duration::from_secs(42)) });
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let server = Server::start(|_| answer(200, vec![b' '; receive::ANSWER_MAX_BYTES + 1])).await;
    let error = server.gitlab().project().await.unwrap_err();
    assert!(reason(error).contains("bytes"));
}

#[tokio::test]
async fn a_refusal_that_is_too_large_is_a_refusal_all_the_same() {
    let server = Server::start(|_| answer(400, vec![b'x'; 1_000_000])).await;
    let error = server.gitlab().project().await.unwrap_err();
    let GitlabError::Refused { status: 400, message } = error else { panic!("{error:?}") };
    assert!(message.len() <= 300, "{}", message.len());
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_refused_and_not_repeated() {
    let server = Server::start(|_| answer(200, format!("<html>{TOKEN}</html>"))).await;
    let error = server.gitlab().project().await.unwrap_err();
    assert!(reason(error).contains("line 1"));
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed() {
    let server = Server::start(|asked| match asked.line.as_str() {
        "GET /api/v4/projects/7" => answer(200, PROJECT),
        _ => with(301, &[("location", "/api/v4/projects/7")], ""),
    })
    .await;
    assert_eq!(server.gitlab().project().await.unwrap().id, 7);
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let other = Server::start(|_| answer(200, PROJECT)).await;
    let location = format!("http://{}/api/v4/projects/7", other.address);
    let server = Server::start(move |_| with(302, &[("location", location.as_str())], "")).await;
    let error = server.gitlab().project().await.unwrap_err();
    let GitlabError::Refused { status: 302, message } = error else { panic!("{error:?}") };
    assert!(message.contains("another host"), "{message}");
    assert!(other.asked().is_empty(), "nothing is sent there, least of all the token");
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server = Server::start(|asked| {
        let to = asked.line.trim_start_matches("GET ").to_owned();
        with(302, &[("location", to.as_str())], "")
    })
    .await;
    assert!(reason(server.gitlab().project().await.unwrap_err()).contains("redirects"));
    assert_eq!(server.asked().len(), REDIRECTS_MAX + 1);
}

#[tokio::test]
async fn what_changes_something_is_never_sent_on() {
    let server = Server::start(|_| with(307, &[("location", "/elsewhere")], "")).await;
    let error = server.gitlab().cancel_pipeline(12).await.unwrap_err();
    assert!(matches!(error, GitlabError::Refused { status: 307, .. }), "{error:?}");
    assert_eq!(server.asked().len(), 1);
}

fn page_of(line: &str) -> usize {
    let page = line.split(['?', '&']).find_map(|pair| pair.strip_prefix("page="));
    page.map_or(1, |page| page.parse().unwrap())
}

#[tokio::test]
async fn pages_are_read_to_the_last_one_and_on_the_own_host_only() {
    let other = Server::start(|_| answer(200, "[]")).await;
    let elsewhere = other.address;
    let server = Server::start(move |asked| {
        let page = page_of(&asked.line);
        let hook =
            format!(r#"[{{"id":{page},"url":"https://slipway.test/{page}","alert_status":"executable"}}]"#);
        let next = format!("<http://{elsewhere}/somewhere?per_page=100&page={}>; rel=\"next\"", page + 1);
        if page < 3 { with(200, &[("link", next.as_str())], hook) } else { answer(200, hook) }
    })
    .await;
    let hooks = server.gitlab().hooks().await.unwrap();
    assert_eq!(hooks.iter().map(|hook| hook.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        server.lines(),
        ["GET /hooks?per_page=100", "GET /hooks?per_page=100&page=2", "GET /hooks?per_page=100&page=3"]
    );
    assert!(other.asked().is_empty(), "a link names a page, and no host");
}

#[tokio::test]
async fn a_list_without_end_is_an_error() {
    let server = Server::start(|_| with(200, &[("link", "<?page=2>; rel=next")], "[]")).await;
    assert!(reason(server.gitlab().hooks().await.unwrap_err()).contains("pages"));
    assert_eq!(server.asked().len(), PAGES_MAX);
}

#[tokio::test]
async fn refusals_have_their_meanings() {
    let of = async |status: u16, body: &'static str| {
        let server = Server::start(move |_| answer(status, body)).await;
        server.gitlab().project().await.unwrap_err()
    };
    assert_eq!(of(401, r#"{"message":"401 Unauthorized"}"#).await, GitlabError::Unauthorized);
    assert_eq!(of(404, r#"{"message":"404 Project Not Found"}"#).await, GitlabError::NotFound);
    assert_eq!(of(502, "<html>Whoops</html>").await, GitlabError::ServerError { status: 502 });
    let forbidden =
        of(403, r#"{"error":"insufficient_scope","error_description":"More.","scope":"api"}"#).await;
    let expected = GitlabError::Forbidden { message: "More.".to_owned(), scope: Some("api".to_owned()) };
    assert_eq!(forbidden, expected);
}

#[tokio::test]
async fn no_text_shows_the_token() {
    let server = Server::start(|_| answer(400, format!(r#"{{"message":"token {TOKEN} is odd"}}"#))).await;
    let gitlab = server.gitlab();
    let error = gitlab.project().await.unwrap_err();
    for shown in [format!("{gitlab:?}"), format!("{error:?}"), error.to_string(), error.message()] {
        assert!(!shown.contains(TOKEN), "{shown}");
    }
    assert_eq!(gitlab.host(), server.address.to_string());
}

#[test]
fn a_token_that_cannot_be_sent_is_refused_at_once() {
    for token in ["", "two\nlines"] {
        let access = Access {
            api_url: "https://gitlab.example.com/api/v4".to_owned(),
            project: "group/app".to_owned(),
            token: SecretString::from(token),
            timeout: Duration::from_secs(1),
        };
        assert_eq!(Gitlab::new(access).unwrap_err(), GitlabError::Unauthorized);
    }
}

#[test]
fn the_host_has_its_port_only_when_it_is_not_the_usual_one() {
    let host = |api_url: &str| {
        let access = Access {
            api_url: api_url.to_owned(),
            project: "group/app".to_owned(),
            token: SecretString::from(TOKEN),
            timeout: Duration::from_secs(1),
        };
        Gitlab::new(access).unwrap().host().to_owned()
    };
    assert_eq!(host("https://gitlab.example.com:443/api/v4"), "gitlab.example.com");
    assert_eq!(host("https://gitlab.example.com:8443/api/v4"), "gitlab.example.com:8443");
}
