//! Open streams: of events, and of lines.

use std::collections::VecDeque;

use reqwest::Response;
use url::Url;

use super::ClientError;
use crate::sse::{Message, Parser};

/// Events as they arrive, until the server ends the stream.
#[derive(Debug)]
pub(crate) struct EventStream {
    server: Url,
    response: Response,
    parser: Parser,
    ready: VecDeque<Message>,
}

impl EventStream {
    pub(super) fn new(server: Url, response: Response) -> Self {
        Self { server, response, parser: Parser::default(), ready: VecDeque::new() }
    }

    /// The next event; `None` when the stream has ended.
    ///
    /// # Errors
    /// When the connection is lost, is silent for too long, or an event is too large.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            let chunk = self.response.chunk().await.map_err(|source| ClientError::Unreachable {
                server: self.server.clone(),
                source: source.without_url(),
            })?;
            let Some(chunk) = chunk else { return Ok(None) };
            let messages = self.parser.push(&chunk).map_err(|error| ClientError::Answer {
                server: self.server.clone(),
                reason: error.to_string(),
            })?;
            self.ready.extend(messages);
        }
    }
}

/// Longest line of a stream of lines.
const LINE_MAX_BYTES: usize = 1024 * 1024;

/// Lines as they arrive, until the server ends the stream.
#[derive(Debug)]
pub(crate) struct LineStream {
    server: Url,
    response: Response,
    read: Vec<u8>,
}

impl LineStream {
    pub(super) fn new(server: Url, response: Response) -> Self {
        Self { server, response, read: Vec::new() }
    }

    /// The next line, without its end; `None` when the stream has ended. What follows the last line end is no
    /// line.
    ///
    /// # Errors
    /// When the connection is lost, is silent for too long, or a line is too long.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, ClientError> {
        let mut searched = 0;
        loop {
            if let Some(found) = self.read[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(searched + found + 1);
                let line = std::mem::replace(&mut self.read, rest);
                return Ok(Some(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned()));
            }
            searched = self.read.len();
            if searched > LINE_MAX_BYTES {
                let reason = format!("a line of more than {LINE_MAX_BYTES} bytes");
                return Err(ClientError::Answer { server: self.server.clone(), reason });
            }
            let chunk = self.response.chunk().await.map_err(|source| ClientError::Unreachable {
                server: self.server.clone(),
                source: source.without_url(),
            })?;
            match chunk {
                Some(chunk) => self.read.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
