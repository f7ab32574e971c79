//! What a host says of its refs: the answers of `git-upload-pack` over HTTP, and the command that asks for them. Hosts answer
//! `ls-refs` (gitprotocol-v2(5)), or tell all refs at once if they speak an older version (gitprotocol-pack(5)). Pure.

use std::fmt::Write as _;

use gix_packetline::PacketLineRef;
use gix_packetline::decode::{Stream, streaming};
use slipway_common::model::BranchName;

/// What a host puts behind the name of an annotated tag where it tells the commit, in the older versions.
const PEELED: &str = "^{}";
/// The name of no ref, with which an empty repository tells what the host can do.
const NO_REFS: &str = "capabilities^{}";

/// One ref of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its full name, or `HEAD`.
    pub(super) name: String,
    /// What it points to, in lower-case hexadecimal.
    pub(super) id: String,
    /// What an annotated tag points to in the end.
    pub(super) peeled: Option<String>,
    /// The ref it stands for.
    pub(super) target: Option<String>,
}

/// Refs of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listing(pub(super) Vec<Listed>);

/// What a host answers to being asked what it can do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advertised {
    /// It waits for commands.
    Commands,
    /// It speaks an older version, in which that is all refs.
    Refs(Listing),
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// The host says what is wrong.
    #[error("remote error: {0}")]
    Refused(String),
    /// It is not what the protocol says.
    #[error("the answer is not Git's: {0}")]
    Malformed(&'static str),
}

impl Listing {
    /// The ref of exactly this name.
    pub(super) fn find(&self, name: &str) -> Option<&Listed> {
        self.0.iter().find(|listed| listed.name == name)
    }

    /// The branch `HEAD` stands for; absent when it is none, or its name cannot be used.
    pub(super) fn default_branch(&self) -> Option<BranchName> {
        let target = self.find("HEAD")?.target.as_deref()?;
        BranchName::parse(target.strip_prefix("refs/heads/")?).ok()
    }

    /// Leaves out refs whose names begin with none of `prefixes`: hosts may tell of more than was asked for.
    pub(super) fn keep(mut self, prefixes: &[String]) -> Self {
        self.0.retain(|listed| prefixes.iter().any(|prefix| listed.name.starts_with(prefix)));
        self
    }

    /// What a tag points to was told on a line of its own.
    fn add(&mut self, id: &str, name: &str) {
        let Some(tag) = name.strip_suffix(PEELED) else {
            self.0.push(Listed { id: id.to_owned(), name: name.to_owned(), ..Listed::default() });
            return;
        };
        if let Some(last) = self.0.last_mut().filter(|last| last.name == tag) {
            last.peeled = Some(id.to_owned());
        }
    }
}

/// The body of a request for the refs whose names begin with one of `prefixes`.
pub(super) fn command(prefixes: &[String]) -> String {
    let mut body = line("command=ls-refs\n");
    body.push_str("0001");
    body.push_str(&line("peel\n"));
    body.push_str(&line("symrefs\n"));
    for prefix in prefixes {
        body.push_str(&line(&format!("ref-prefix {prefix}\n")));
    }
    body.push_str("0000");
    body
}

/// A packet: four digits that say how long it is with them, and the text.
fn line(text: &str) -> String {
    let mut line = String::new();
    let written = write!(line, "{:04x}{text}", text.len() + 4);
    debug_assert!(written.is_ok(), "a string takes everything");
    line
}

/// Reads the answer to the command.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn refs(body: &[u8]) -> Result<Listing, Unreadable> {
    let mut listing = Listing::default();
    let mut packets = Packets(body);
    loop {
        match packets.next()? {
            Packet::Text(text) => listing.0.extend(text.and_then(of_line)),
            Packet::Flush => return Ok(listing),
        }
    }
}

/// Reads the answer to being asked what the host can do.
///
/// # Errors
/// [`Unreadable`].
pub(super) fn advertisement(body: &[u8]) -> Result<Advertised, Unreadable> {
    let mut packets = Packets(body);
    let mut first = packets.next()?;
    if matches!(first, Packet::Text(Some(text)) if text.starts_with("# service=")) {
        let Packet::Flush = packets.next()? else {
            return Err(Unreadable::Malformed("no end of the announcement"));
        };
        first = packets.next()?;
    }
    if matches!(first, Packet::Text(Some("version 1"))) {
        first = packets.next()?;
    }
    let first = match first {
        Packet::Text(Some("version 2")) => return Ok(Advertised::Commands),
        Packet::Text(Some(text)) => text,
        Packet::Text(None) => return Err(Unreadable::Malformed("the first line is no text")),
        Packet::Flush => return Ok(Advertised::Refs(Listing::default())),
    };
    all_refs(first, packets).map(Advertised::Refs)
}

/// The refs an older version tells, of which the first line was read.
fn all_refs(first: &str, mut packets: Packets<'_>) -> Result<Listing, Unreadable> {
    let (first, able) = first.split_once('\0').unwrap_or((first, ""));
    let mut listing = Listing::default();
    let mut next = Some(first);
    loop {
        if let Some((id, name)) = next.and_then(|text| text.split_once(' '))
            && is_object_id(id)
            && name != NO_REFS
        {
            listing.add(id, name);
        }
        next = match packets.next()? {
            Packet::Text(text) => text,
            Packet::Flush => break,
        };
    }
    let heads = able.split(' ').filter_map(|able| able.strip_prefix("symref=")?.split_once(':'));
    for (name, target) in heads {
        if let Some(listed) = listing.0.iter_mut().find(|listed| listed.name == name) {
            listed.target = Some(target.to_owned());
        }
    }
    Ok(listing)
}

/// A ref as `ls-refs` tells it: `<id> <name>[ symref-target:<name>][ peeled:<id>]`.
fn of_line(text: &str) -> Option<Listed> {
    let mut words = text.split(' ');
    let (id, name) = (words.next()?, words.next()?);
    if !is_object_id(id) {
        return None;
    }
    let mut listed = Listed { id: id.to_owned(), name: name.to_owned(), ..Listed::default() };
    for word in words {
        if let Some(target) = word.strip_prefix("symref-target:") {
            listed.target = Some(target.to_owned());
        } else if let Some(peeled) = word.strip_prefix("peeled:").filter(|id| is_object_id(id)) {
            listed.peeled = Some(peeled.to_owned());
        }
    }
    Some(listed)
}

/// Whether the text is a full object id.
pub(super) fn is_object_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// What is left of an answer.
struct Packets<'a>(&'a [u8]);

/// One packet of it.
#[derive(Debug, Clone, Copy)]
enum Packet<'a> {
    /// A line without its end; `None` for bytes that are no text, such as a name nobody can be told.
    Text(Option<&'a str>),
    /// The end of a part.
    Flush,
}

impl<'a> Packets<'a> {
    fn next(&mut self) -> Result<Packet<'a>, Unreadable> {
        let read = streaming(self.0).map_err(|_| Unreadable::Malformed("not in packets"))?;
        let Stream::Complete { line, bytes_consumed } = read else {
            return Err(Unreadable::Malformed("it breaks off"));
        };
        self.0 = self.0.get(bytes_consumed..).unwrap_or_default();
        let data = match line {
            PacketLineRef::Data(data) => data,
            PacketLineRef::Flush | PacketLineRef::Delimiter | PacketLineRef::ResponseEnd => {
                return Ok(Packet::Flush);
            }
        };
        let data = data.strip_suffix(b"\n").unwrap_or(data);
        if let Some(reason) = data.strip_prefix(b"ERR ") {
            return Err(Unreadable::Refused(String::from_utf8_lossy(reason).into_owned()));
        }
        Ok(Packet::Text(std::str::from_utf8(data).ok()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn packets(lines: &[&str]) -> Vec<u8> {
        let packet = |text: &&str| if text.is_empty() { "0000".to_owned() } else { line(text) };
        lines.iter().map(packet).collect::<String>().into_bytes()
    }

    #[test]
    fn the_command_is_in_packets_as_git_writes_them() {
        let expected = "0014command=ls-refs\n00010009peel\n000csymrefs\n0014ref-prefix HEAD\n0000";
        assert_eq!(command(&["HEAD".to_owned()]), expected);
    }

    #[test]
    fn refs_are_told_with_what_they_stand_for() {
        let body = packets(&[
            &format!("{} HEAD symref-target:refs/heads/trunk\n", id('1')),
            &format!("{} refs/heads/trunk\n", id('1')),
            &format!("{} refs/tags/v1 peeled:{}\n", id('2'), id('3')),
            "unborn refs/heads/none symref-target:refs/heads/x\n",
            "",
        ]);
        let listing = refs(&body).unwrap();
        assert_eq!(listing.0.len(), 3);
        assert_eq!(listing.default_branch().unwrap().as_str(), "trunk");
        assert_eq!(listing.find("refs/tags/v1").unwrap().peeled.as_deref(), Some(id('3').as_str()));
        assert!(listing.find("refs/heads/tr").is_none(), "names match as a whole");
        let kept = listing.keep(&["refs/heads/".to_owned()]);
        assert_eq!(
            kept.0.iter().map(|listed| listed.name.as_str()).collect::<Vec<_>>(),
            ["refs/heads/trunk"]
        );
    }

    #[test]
    fn a_host_of_an_older_version_tells_the_same() {
        let body = packets(&[
            "# service=git-upload-pack\n",
            "",
            &format!("{} HEAD\0multi_ack symref=HEAD:refs/heads/trunk agent=git/1.8\n", id('1')),
            &format!("{} refs/heads/trunk\n", id('1')),
            &format!("{} refs/tags/v1\n", id('2')),
            &format!("{} refs/tags/v1^{{}}\n", id('3')),
            "",
        ]);
        let Advertised::Refs(listing) = advertisement(&body).unwrap() else { panic!("it has all refs") };
        assert_eq!(listing.default_branch().unwrap().as_str(), "trunk");
        assert_eq!(listing.find("refs/tags/v1").unwrap().peeled.as_deref(), Some(id('3').as_str()));
        assert_eq!(listing.0.len(), 3);
        let empty =
            packets(&["# service=git-upload-pack\n", "", &format!("{} {NO_REFS}\0agent=x\n", id('0')), ""]);
        assert_eq!(advertisement(&empty).unwrap(), Advertised::Refs(Listing::default()));
    }

    #[test]
    fn a_host_that_waits_for_commands_is_known_with_and_without_its_announcement() {
        for lines in
            [&["# service=git-upload-pack\n", "", "version 2\n", "ls-refs\n", ""][..], &["version 2\n", ""]]
        {
            assert_eq!(advertisement(&packets(lines)).unwrap(), Advertised::Commands);
        }
    }

    #[test]
    fn a_detached_or_hostile_head_has_no_branch() {
        let head = |target: Option<&str>| {
            let target = target.map(str::to_owned);
            Listing(vec![Listed { name: "HEAD".to_owned(), id: id('1'), peeled: None, target }])
        };
        for target in [None, Some("refs/heads/--x"), Some("refs/tags/v1"), Some("main")] {
            assert_eq!(head(target).default_branch(), None, "{target:?}");
        }
        assert!(head(Some("refs/heads/main")).default_branch().is_some());
        assert_eq!(Listing::default().default_branch(), None);
    }

    #[test]
    fn what_is_no_answer_is_said_to_be_none() {
        let refused = refs(&packets(&["ERR no such project\n", ""])).unwrap_err();
        assert_eq!(refused, Unreadable::Refused("no such project".to_owned()));
        for bad in [&b""[..], b"<html>", b"00", b"0005", b"fffe0", b"0003", b"0009peel\n", b"zzzz"] {
            for read in [refs(bad).map(|_| ()), advertisement(bad).map(|_| ())] {
                assert!(matches!(read, Err(Unreadable::Malformed(_))), "{bad:?}: {read:?}");
            }
        }
        let odd = [line("# x").into_bytes(), b"0006\xff\xfe".to_vec(), b"0000".to_vec()].concat();
        assert_eq!(refs(&odd).unwrap(), Listing::default());
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(body in proptest::collection::vec(any::<u8>(), 0..200), digits in "[0-9a-f]{4}") {
            let body = [digits.as_bytes(), &body].concat();
            let listed = |listing: &Listing| listing.0.iter().all(|listed| is_object_id(&listed.id));
            if let Ok(listing) = refs(&body) {
                prop_assert!(listed(&listing));
            }
            if let Ok(Advertised::Refs(listing)) = advertisement(&body) {
                prop_assert!(listed(&listing));
            }
        }
    }
}
