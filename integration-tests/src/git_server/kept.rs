//! Answers to readers that are made once and then repeated, for measurements in which the work of the host is not what is
//! measured; and one repository under every address. A ref that moves ends what is kept of its repository.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Uri;

/// What asks for refs.
const LIST_COMMAND: &[u8] = b"command=ls-refs";
/// How the requests of Git end.
const SERVICES: [&str; 3] = ["/info/refs", "/git-upload-pack", "/git-receive-pack"];

/// How much was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Times a client asked what refs there are.
    pub listings: u64,
    /// Requests in all.
    pub requests: u64,
}

impl Asked {
    /// How much was asked since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            listings: self.listings.saturating_sub(earlier.listings),
            requests: self.requests.saturating_sub(earlier.requests),
        }
    }
}

/// Whatever decides what a reader is answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    repository: String,
    asked: String,
    protocol: String,
    body: Bytes,
}

impl Question {
    pub(super) fn new(head: &http::request::Parts, body: &Bytes) -> Self {
        let protocol = head.headers.get("git-protocol").and_then(|value| value.to_str().ok());
        Self {
            repository: repository(head.uri.path()).to_owned(),
            asked: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            protocol: protocol.unwrap_or_default().to_owned(),
            body: body.clone(),
        }
    }
}

/// What was said of the repositories as they are.
#[derive(Debug, Default)]
struct Answers {
    /// Grows whenever something is forgotten: what was asked before is not kept then.
    generation: u64,
    known: HashMap<Question, Bytes>,
}

/// The answers that are kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    everywhere: Option<String>,
    answers: Mutex<Answers>,
    listings: AtomicU64,
    requests: AtomicU64,
}

impl Kept {
    /// Nothing yet. Every address is the repository at the path `everywhere`, if one is named.
    pub(super) fn new(everywhere: Option<String>) -> Self {
        Self { everywhere, ..Self::default() }
    }

    /// Counts a request.
    pub(super) fn count(&self, body: &[u8]) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let lists = body.windows(LIST_COMMAND.len()).any(|window| window == LIST_COMMAND);
        self.listings.fetch_add(u64::from(lists), Ordering::Relaxed);
    }

    pub(super) fn asked(&self) -> Asked {
        Asked {
            listings: self.listings.load(Ordering::Relaxed),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }

    /// The address at which the answer is found, if that is another one.
    pub(super) fn redirect(&self, asked: &Uri) -> Option<Uri> {
        let everywhere = self.everywhere.as_ref()?;
        let service = SERVICES.iter().find(|service| asked.path().ends_with(**service))?;
        let query = asked.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("/{everywhere}.git{service}{query}").parse().ok()
    }

    /// What is known, and which generation it is of.
    pub(super) fn find(&self, question: &Question) -> (Option<Bytes>, u64) {
        let answers = self.answers();
        (answers.known.get(question).cloned(), answers.generation)
    }

    /// Keeps an answer, unless something was forgotten since it was asked for in `generation`.
    pub(super) fn keep(&self, question: Question, generation: u64, answer: &Bytes) {
        let mut answers = self.answers();
        if answers.generation == generation {
            answers.known.insert(question, answer.clone());
        }
    }

    /// Forgets what was said of the repository at this path; requests for it may be named instead.
    pub(super) fn forget(&self, path: &str) {
        let path = repository(path);
        let mut answers = self.answers();
        answers.generation += 1;
        // What the host can do is the same wherever the refs stand.
        let is_about_host = |question: &Question| {
            question.asked.contains("/info/refs") && question.protocol.contains("version=2")
        };
        answers.known.retain(|question, _| question.repository != path || is_about_host(question));
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of the repository that a request is for, or that is named as it is.
fn repository(path: &str) -> &str {
    let path = SERVICES.iter().find_map(|service| path.strip_suffix(*service)).unwrap_or(path);
    let path = path.trim_start_matches('/');
    path.strip_suffix(".git").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(path: &str, body: &'static str) -> Question {
        let request = http::Request::get(path).header("git-protocol", "version=2").body(()).unwrap();
        Question::new(&request.into_parts().0, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn what_is_forgotten_is_that_of_one_repository_and_what_was_asked_before_is_not_kept() {
        let kept = Kept::new(None);
        let of_shop = question("/group/shop/git-upload-pack", "ls");
        let of_blog = question("/group/blog.git/git-upload-pack", "ls");
        for asked in [&of_shop, &of_blog] {
            let (known, generation) = kept.find(asked);
            assert_eq!(known, None);
            kept.keep(asked.clone(), generation, &Bytes::from_static(b"old"));
        }
        assert!(kept.find(&question("/group/shop/git-upload-pack", "other")).0.is_none());
        let (_, before) = kept.find(&of_shop);
        let able = question("/group/shop/info/refs?service=git-upload-pack", "");
        kept.keep(able.clone(), kept.find(&able).1, &Bytes::from_static(b"able"));
        kept.forget("group/shop");
        assert!(kept.find(&able).0.is_some(), "what the host can do does not move");
        assert!(kept.find(&of_shop).0.is_none());
        assert!(kept.find(&of_blog).0.is_some());
        kept.keep(of_shop.clone(), before, &Bytes::from_static(b"old"));
        assert!(kept.find(&of_shop).0.is_none(), "it may be what the ref was before");
    }

    #[test]
    fn every_address_is_the_one_repository() {
        let kept = Kept::new(Some("bench/one".to_owned()));
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        for path in ["/a/b", "/a/b.git", "/c"] {
            let asked = uri(&format!("{path}/info/refs?service=git-upload-pack"));
            let expected = uri("/bench/one.git/info/refs?service=git-upload-pack");
            assert_eq!(kept.redirect(&asked), Some(expected));
        }
        assert_eq!(kept.redirect(&uri("/a/b")), None);
        assert_eq!(Kept::new(None).redirect(&uri("/a/b/git-upload-pack")), None);
    }

    #[test]
    fn listings_are_counted_once_each() {
        let kept = Kept::new(None);
        for body in ["", "0014command=ls-refs\n", "0012command=fetch\n"] {
            kept.count(body.as_bytes());
        }
        assert_eq!(kept.asked(), Asked { listings: 1, requests: 3 });
    }
}
