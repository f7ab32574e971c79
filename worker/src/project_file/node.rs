//! The text of the file as a tree whose every node knows where it stands. What YAML has beyond plain mappings, lists and
//! scalars (anchors, aliases, tags, directives, several documents) is refused where it stands: nothing is expanded.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, options};

/// Most mappings, lists and scalars of one file.
pub(super) const NODES_MAX: usize = 4_000;
/// Deepest nesting.
pub(super) const DEPTH_MAX: usize = 8;

/// Where something stands: line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    fn of(span: &Span) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) place: Place,
    /// Path of the field, empty when it is the form of the file.
    pub(super) field: String,
    pub(super) reason: String,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing, or the word null.
    Empty,
    /// A text; `plain` when it stands there without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
    /// Something that was refused already.
    Refused,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

/// Reads the one document of `text`: what could be read of it, and everything that is wrong with its form. A file in which
/// nothing stands has no node.
pub(super) fn read(text: &str) -> (Option<Node>, Vec<Problem>) {
    let parser = Parser::new_from_str_with_options(
        text,
        options! {
            emit_comments: false,
            emit_unresolved_aliases: true,
            disallow_directives: true,
            flow_nesting_limit: DEPTH_MAX + 1,
            block_nesting_limit: DEPTH_MAX + 1,
        },
    );
    let mut builder = Builder { events: parser, last: Place::START, nodes: 0, problems: Vec::new() };
    let root = builder.document().unwrap_or_default().filter(|root| root.content != Content::Empty);
    (root, builder.problems)
}

/// The rest of the file cannot be read; the problem is noted.
#[derive(Debug)]
struct Broken;

/// Builds the tree from the parser's events.
struct Builder<I> {
    events: I,
    /// Where the latest event stands.
    last: Place,
    nodes: usize,
    problems: Vec<Problem>,
}

impl<'a, I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>> Builder<I> {
    fn document(&mut self) -> Result<Option<Node>, Broken> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::StreamEnd) {
                return Ok(root);
            }
            if matches!(event, Event::DocumentStart(..)) && root.is_some() {
                self.refuse(place, "the file must be one document: a second one begins here");
                return Ok(root);
            }
            if event.is_node() {
                root = Some(self.node(event, place, 0)?);
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Place), Broken> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                self.last = Place::of(&span);
                Ok((event, self.last))
            }
            Some(Err(error)) => {
                let marker = error.marker();
                let place = Place { line: marker.line(), column: marker.col() + 1 };
                Err(self.broken(place, format!("this is no YAML: {}", error.info())))
            }
            None => Err(self.broken(self.last, "the file ends too early".to_owned())),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Broken> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.broken(place, format!("the file has more than {NODES_MAX} values")));
        }
        if depth > DEPTH_MAX {
            return Err(self.broken(place, format!("values are nested more than {DEPTH_MAX} deep")));
        }
        if event.is_alias() {
            self.refuse(place, "aliases are not used here; put text that begins with `*` into quotes");
            return Ok(Node { place, content: Content::Refused });
        }
        let is_marked = event.anchor_id().is_some() || event.tag().is_some();
        if is_marked {
            self.refuse(
                place,
                "anchors and tags are not used here; put text that begins with `&` or `!` into quotes",
            );
        }
        let content = if matches!(event, Event::SequenceStart(..)) {
            Content::List(self.list(depth)?)
        } else if matches!(event, Event::MappingStart(..)) {
            Content::Map(self.map(depth)?)
        } else {
            scalar(&event)
        };
        Ok(Node { place, content: if is_marked { Content::Refused } else { content } })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Broken> {
        let mut items = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.node(event, place, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Broken> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key = self.node(event, place, depth + 1)?;
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            match key.content {
                Content::Scalar { text, .. } => match entries.iter().find(|entry| entry.key == text) {
                    None => entries.push(Entry { key: text, place, value }),
                    Some(first) => {
                        let line = first.place.line;
                        let reason = format!("is given twice; it stands in line {line} already");
                        self.problems.push(Problem { place, field: super::shown(&text), reason });
                    }
                },
                Content::Refused => {}
                Content::Empty | Content::List(_) | Content::Map(_) => {
                    self.refuse(place, "a key must be a word");
                }
            }
        }
    }

    fn refuse(&mut self, place: Place, reason: &str) {
        self.problems.push(Problem { place, field: String::new(), reason: reason.to_owned() });
    }

    fn broken(&mut self, place: Place, reason: String) -> Broken {
        self.problems.push(Problem { place, field: String::new(), reason });
        Broken
    }
}

/// A scalar, as it stands in the file; what it means depends on what it is for.
fn scalar(event: &Event<'_>) -> Content {
    let Some((text, style)) = event.scalar() else { return Content::Refused };
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Content::Empty;
    }
    Content::Scalar { text: text.to_owned(), plain }
}
