//! A server for tests that follows a script: for every connection, bytes to answer with, or a connection that is cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Client;
use crate::args::ConnectionArgs;

/// What happens on one connection, after the request has been read.
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

/// The requests a server gets: each its head in lower case, and behind an empty line its body as it is.
pub(crate) type Requests = Arc<Mutex<Vec<String>>>;

/// A server that follows `script`: its address, and the requests it gets.
pub(crate) async fn server(script: Vec<Answer>) -> (SocketAddr, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    tokio::spawn(async move {
        for answer in script {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = whole(&mut stream).await;
            kept.lock().unwrap().push(request);
            stream.write_all(answer.bytes().as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

/// Reads a request to the end of its body: what is left unread when a connection is closed cuts its answer off.
async fn whole(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let end = request.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some((head, body)) = end.map(|end| request.split_at(end + 4)) {
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return head + &String::from_utf8_lossy(body);
            }
        }
        let mut chunk = [0_u8; 1024];
        let length = stream.read(&mut chunk).await.unwrap();
        assert!(length > 0, "the client left before its request was whole");
        request.extend_from_slice(&chunk[..length]);
    }
}

/// A client of a server that follows `script`, and the requests the server gets.
pub(crate) async fn client(script: Vec<Answer>) -> (Client, Requests) {
    let (address, requests) = server(script).await;
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "slw_test").unwrap();
    let server = format!("http://{address}").parse().unwrap();
    let client = Client::new(&ConnectionArgs { server, token_file: Some(token_file) }).unwrap();
    (client, requests)
}

/// The method and path of each request, such as `delete /projects/shop`.
pub(crate) fn asked(requests: &Requests) -> Vec<String> {
    let requests = requests.lock().unwrap();
    let line = |request: &String| request.split(" http/1.1").next().unwrap_or_default().to_owned();
    requests.iter().map(line).collect()
}

/// The body of the request at this place, as JSON.
pub(crate) fn body(requests: &Requests, index: usize) -> serde_json::Value {
    let requests = requests.lock().unwrap();
    let (_, body) = requests[index].split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

/// The value of a header in a head.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    let prefix = format!("{name}: ");
    head.lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}
