//! Server-sent events (WHATWG HTML §9.2) from chunks of bytes. Pure; the connection is the client's.

/// Largest event that is put together; a longer one ends the stream.
const EVENT_MAX_BYTES: usize = 4 * 1024 * 1024;

/// One event as it was dispatched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The last `id` seen, to resume after.
    pub(crate) id: Option<String>,
    /// The `event` field; `message` if there was none.
    pub(crate) event: String,
    /// The `data` lines, joined by line feeds.
    pub(crate) data: String,
}

/// The event is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent an event of more than {EVENT_MAX_BYTES} bytes")]
pub(crate) struct TooLarge;

/// Puts events together, however the bytes are cut.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    after_carriage_return: bool,
    id: Option<String>,
    event: Option<String>,
    data: Vec<String>,
    size_bytes: usize,
}

impl Parser {
    /// Takes the next bytes and answers the events they complete.
    ///
    /// # Errors
    /// When an event grows beyond the limit.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLarge> {
        let mut complete = Vec::new();
        for &byte in bytes {
            let after_carriage_return = std::mem::replace(&mut self.after_carriage_return, byte == b'\r');
            match byte {
                b'\n' if after_carriage_return => {}
                b'\n' | b'\r' => complete.extend(self.end_line()),
                other => {
                    self.size_bytes += 1;
                    if self.size_bytes > EVENT_MAX_BYTES {
                        return Err(TooLarge);
                    }
                    self.line.push(other);
                }
            }
        }
        Ok(complete)
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "event" => self.event = Some(value.to_owned()),
            "data" => self.data.push(value.to_owned()),
            // Comments keep the connection alive; `retry` and unknown fields change nothing here.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Message> {
        self.size_bytes = 0;
        let event = self.event.take();
        let data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return None;
        }
        Some(Message {
            id: self.id.clone(),
            event: event.unwrap_or_else(|| "message".to_owned()),
            data: data.join("\n"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b": hello\n\nid: 1\nevent: accepted\ndata: {}\n\nid: 2\r\nevent: log\r\ndata: a\r\ndata: b\r\n\r\ndata: c\n\n";

    fn expected() -> Vec<Message> {
        let message = |id: &str, event: &str, data: &str| Message {
            id: Some(id.to_owned()),
            event: event.to_owned(),
            data: data.to_owned(),
        };
        vec![message("1", "accepted", "{}"), message("2", "log", "a\nb"), message("2", "message", "c")]
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let got: Vec<Message> =
                STREAM.chunks(size).flat_map(|chunk| parser.push(chunk).unwrap()).collect();
            assert_eq!(got, expected(), "cut every {size} bytes");
        }
    }

    #[test]
    fn an_event_that_was_not_ended_is_not_dispatched() {
        assert_eq!(Parser::default().push(b"data: half\n").unwrap(), Vec::new());
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let outcome: Result<Vec<_>, _> = (0..5).map(|_| parser.push(&chunk)).collect();
        assert_eq!(outcome, Err(TooLarge));
    }
}
