//! A server for tests that follows a script: for every connection, bytes to answer with, or a connection that is cut.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::Client;
use crate::args::ConnectionArgs;

/// What happens on one connection, after the request's head has been read.
pub(crate) enum Answer {
    /// The connection is closed without a word.
    Cut,
    /// A JSON document with this status.
    Json(u16, &'static str),
    /// An event stream that ends, properly or not.
    Events {
        /// The stream's text.
        text: &'static str,
        /// Whether its end is missing, as after a crash.
        cut: bool,
    },
}

impl Answer {
    fn bytes(&self) -> String {
        let head = "HTTP/1.1";
        match self {
            Self::Cut => String::new(),
            Self::Json(status, body) => {
                let length = body.len();
                format!("{head} {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            }
            Self::Events { text, cut } => {
                let end = if *cut { "" } else { "0\r\n\r\n" };
                let length = text.len();
                format!(
                    "{head} 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{length:x}\r\n{text}\r\n{end}"
                )
            }
        }
    }
}

/// A client of a server that follows `script`, and the heads of the requests it gets, in lower case.
pub(crate) async fn client(script: Vec<Answer>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    tokio::spawn(async move {
        for answer in script {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                let mut chunk = [0_u8; 1024];
                let length = stream.read(&mut chunk).await.unwrap();
                assert!(length > 0, "the client left before its request was whole");
                head.extend_from_slice(&chunk[..length]);
            }
            kept.lock().unwrap().push(String::from_utf8_lossy(&head).to_ascii_lowercase());
            stream.write_all(answer.bytes().as_bytes()).await.unwrap();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "slw_test").unwrap();
    let server = format!("http://{address}").parse().unwrap();
    let client = Client::new(&ConnectionArgs { server, token_file: Some(token_file) }).unwrap();
    (client, heads)
}

/// The value of a header in a head.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}: ");
    head.lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}
