//! Hostile input: refused, cut off, or treated as data.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slipway_common::model::address::ADDRESS_LENGTH_MAX_BYTES;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{DEADLINE, Server, TOKEN, wish};

const BODY_MAX_BYTES: usize = 131_072;

#[tokio::test]
async fn b6_hostile_addresses_are_refused() {
    let server = Server::start().await;
    let long = format!("https://git.example.com/{}", "a".repeat(ADDRESS_LENGTH_MAX_BYTES));
    let hostile = [
        "",
        " ",
        "ext::sh -c touch% /tmp/x",
        "ext::sh",
        "file:///etc/passwd",
        "file://localhost/etc",
        "/etc/passwd",
        "../repo",
        "./repo",
        "--upload-pack=touch /tmp/x",
        "-u",
        "--",
        "ssh://-oProxyCommand=touch/x",
        "ssh://git@h/r",
        "git@github.com:a/b.git",
        "git://h/r",
        "fd::17/foo",
        "ftp://h/r",
        "javascript:alert(1)",
        "data:text/plain,x",
        "https://",
        "https:///a",
        "https://-h/r",
        "https://h",
        "https://h/",
        "https://u:p@h/r",
        "https://u@h/r",
        "https://h/r?x=1",
        "https://h/r#x",
        "https://h/../r",
        "https://h/a/./b",
        "https://h/a//b",
        "https://h/.git",
        "https://h/-a",
        "https://h/a b",
        "https://h/a\nb",
        "https://h/a\r\nHost: x",
        "https://h/a\0b",
        "https://h/a%0ab",
        "https://h/$(id)",
        "https://h/`id`",
        "https://h/a;id",
        "https://h/a|id",
        "https://h/\u{202e}gpj.exe",
        "https://h/\u{200b}a",
        "https://h\\@evil/r",
        "http://example.com/r",
        "https://h:99999/r",
        "https://%68/r",
        &long,
    ];
    assert!(hostile.len() >= 40);
    for address in hostile {
        let answer = server.post("/deployments", &json!({ "repository_url": address })).await;
        let refused = answer.expect_problem(422, "invalid_fields");
        assert_eq!(refused.json()["errors"][0]["field"], "repository_url", "{address:?}");
    }
    assert_eq!(server.get("/deployments").await.json()["total"], 0);
}

#[tokio::test]
async fn b6_hostile_names_are_refused() {
    let server = Server::start().await;
    let long = "a".repeat(251);
    let hostile = [
        "",
        "-x",
        "--upload-pack=id",
        "a..b",
        "a b",
        "a\nb",
        "a\0b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a.lock",
        "a.",
        "@",
        "@{u}",
        "HEAD",
        "a@{1}",
        "\u{202e}a",
        "\u{7f}",
        &long,
    ];
    for name in hostile {
        for field in ["branch", "revision"] {
            let mut body = wish("shop");
            body[field] = json!(name);
            let refused = server.post("/deployments", &body).await.expect_problem(422, "invalid_fields");
            assert_eq!(refused.json()["errors"][0]["field"], field, "{name:?}");
        }
    }
    for (field, name) in [
        ("environment", "../x"),
        ("environment", "A"),
        ("target", "nope"),
        ("image", "--x"),
        ("image", "a b"),
        ("credential", "../../x"),
        ("credential", "a\nb"),
    ] {
        let mut body = wish("shop");
        body[field] = json!(name);
        let refused = server.post("/deployments", &body).await.expect_problem(422, "invalid_fields");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{name:?}");
    }
}

#[tokio::test]
async fn unknown_fields_are_refused_by_their_path() {
    let server = Server::start().await;
    for (path, extra) in [
        ("nope", json!({ "nope": 1 })),
        ("health.pth", json!({ "health": { "pth": "/" } })),
        ("resources.memory", json!({ "resources": { "memory": 1 } })),
        ("supports[1].nmae", json!({ "supports": [{ "name": "a", "image": "b" }, { "nmae": "c" }] })),
        ("supports[0].port", json!({ "supports": [{ "name": "a", "image": "b", "port": "x" }] })),
    ] {
        let mut body = wish("shop");
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let refused = server.post("/deployments", &body).await.expect_problem(422, "invalid_fields");
        assert_eq!(refused.json()["errors"][0]["field"], path);
    }
}

#[tokio::test]
async fn bodies_of_the_wrong_kind_are_refused() {
    let server = Server::start().await;
    let post = || server.request("POST", "/deployments");
    let text = wish("shop").to_string();
    for media in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let request = post().header("content-type", media).body(text.clone());
        server.send(request).await.expect_problem(415, "unsupported_media_type");
    }
    server.send(post()).await.expect_problem(415, "unsupported_media_type");
    for malformed in ["", "{", "nul", "{} {}", "{\"a\":1,}", "\u{0}", &"[".repeat(50_000)] {
        let request = post().header("content-type", "application/json").body(malformed.to_owned());
        let answer = server.send(request).await;
        assert!(matches!(answer.status, 400 | 422), "{malformed:.20}: {}", answer.text());
    }
    let not_utf8 = post().header("content-type", "application/json").body(vec![b'"', 0xff, 0xfe, b'"']);
    assert!(matches!(server.send(not_utf8).await.status, 400 | 422));
}

/// What looks like a compressed body; it is refused before anybody looks into it.
fn gzip_like() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    bytes.extend([0xed; 10_000]);
    bytes
}

#[tokio::test]
async fn b2_large_and_compressed_bodies_are_cut_off() {
    let server = Server::start().await;
    let mut body = wish("shop");
    body["env"] = json!({ "A": "x".repeat(BODY_MAX_BYTES) });
    server.post("/deployments", &body).await.expect_problem(413, "body_too_large");
    for encoding in ["gzip", "br", "deflate", "zstd"] {
        let request = server.request("POST", "/deployments").header("content-type", "application/json");
        let request = request.header("content-encoding", encoding).body(gzip_like());
        server.send(request).await.expect_problem(415, "unsupported_media_type");
    }
}

/// Opens a connection and sends `head`.
async fn connect(server: &Server, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.addr()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Everything the server sends until it closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut received = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&received).into_owned()
}

fn head(extra: &str) -> String {
    format!(
        "POST /deployments HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\n{extra}\r\n\r\n"
    )
}

/// Sends an endless body, and says what was answered and how long it could be sent.
async fn send_endless(server: &Server, head: &str) -> (String, Duration) {
    let begun = Instant::now();
    let (mut reader, mut writer) = connect(server, head).await.into_split();
    let sender = tokio::spawn(async move {
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(4096));
        while writer.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let mut start = vec![0; 12];
    tokio::time::timeout(DEADLINE, reader.read_exact(&mut start)).await.expect("an answer").unwrap();
    tokio::time::timeout(DEADLINE, sender).await.expect("the sender is cut off").unwrap();
    (String::from_utf8_lossy(&start).into_owned(), begun.elapsed())
}

#[tokio::test]
async fn b2_an_endless_body_is_cut_off() {
    let server = Server::start().await;
    let chunked = head("Transfer-Encoding: chunked");
    for (head, answer) in [
        (chunked.clone(), "HTTP/1.1 413"),
        (chunked.replace(TOKEN, "slw_wrong"), "HTTP/1.1 401"),
        (chunked.replace("application/json", "text/plain"), "HTTP/1.1 415"),
        (chunked.replace("POST /deployments", "GET /healthz"), "HTTP/1.1 200"),
    ] {
        let (start, sent_for) = send_endless(&server, &head).await;
        assert_eq!(start, answer);
        assert!(sent_for < Duration::from_secs(10), "{answer}: {sent_for:?}");
    }
}

#[tokio::test]
async fn o5_slow_heads_and_bodies_are_closed_and_hurt_nobody() {
    let server = Server::start_with(|settings| {
        settings.request_head_timeout = Duration::from_millis(300);
        settings.request_body_timeout = Duration::from_millis(300);
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(connect(&server, "POST /deployments HTTP/1.1\r\nHost: h\r\n").await);
        slow.push(connect(&server, &head("Content-Length: 100")).await);
    }
    let begun = Instant::now();
    server.get("/deployments").await.expect(200);
    assert!(begun.elapsed() < Duration::from_secs(5));
    for (index, stream) in slow.iter_mut().enumerate() {
        let answer = until_closed(stream).await;
        assert!(index % 2 == 0 || answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn requests_that_are_no_http_do_not_stop_the_server() {
    let server = Server::start().await;
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut stream = connect(&server, garbage).await;
        stream.shutdown().await.unwrap();
        let answer = until_closed(&mut stream).await;
        assert!(
            !answer.starts_with("HTTP/1.1 2") && !answer.starts_with("HTTP/1.1 5"),
            "{garbage:?}: {answer}"
        );
    }
    let paths =
        ["/deployments/%00", "/deployments/%ff", "/deployments/..%2f..%2fetc", "//deployments//", "/%2e%2e/"];
    for path in paths {
        let answer = server.request("GET", path).send().await.unwrap();
        assert!(answer.status().as_u16() < 500, "{path}");
    }
    let header = server.request("GET", "/healthz").header("x-request-id", "a;b").send().await.unwrap();
    let id: Value = header.headers()["x-request-id"].to_str().unwrap().into();
    assert_ne!(id, "a;b", "a request id that could break a log line is replaced");
}
