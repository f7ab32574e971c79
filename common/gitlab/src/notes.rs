//! Notes on merge requests.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Gitlab, GitlabError, parse, text};

/// Longest note GitLab takes.
const BODY_MAX_BYTES: usize = 1_000_000;
/// Notes on one page: fewer than of other objects, for a note can be long.
const PER_PAGE: &str = "20";
/// Most pages that are searched for a note, oldest first.
const PAGES_MAX: usize = 50;

#[derive(Deserialize)]
struct Note {
    id: u64,
    #[serde(default, deserialize_with = "parse::or_default")]
    body: String,
    #[serde(default, deserialize_with = "parse::or_default")]
    system: bool,
    author: Option<Author>,
}

#[derive(Deserialize)]
struct Author {
    id: u64,
}

/// The user a token acts as.
#[derive(Deserialize)]
struct Owner {
    user_id: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    body: &'a str,
}

impl Note {
    fn is_by(&self, user: Option<u64>) -> bool {
        match (user, &self.author) {
            (Some(user), Some(author)) => author.id == user,
            // Who wrote it cannot be told.
            (None, _) | (_, None) => true,
        }
    }
}

impl Gitlab {
    /// The oldest note on a merge request that holds `marker` and was written with this token's user; others may
    /// repeat the marker.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn find_note(&self, merge_request: u64, marker: &str) -> Result<Option<u64>, GitlabError> {
        let mut url = self.notes(merge_request)?;
        url.query_pairs_mut()
            .append_pair("order_by", "created_at")
            .append_pair("sort", "asc")
            .append_pair("per_page", PER_PAGE);
        let mut user = None;
        for _ in 0..PAGES_MAX {
            let (page, next) = self.page::<Note>(url).await?;
            let marked: Vec<Note> =
                page.into_iter().filter(|note| !note.system && note.body.contains(marker)).collect();
            if !marked.is_empty() && user.is_none() {
                user = Some(self.owner().await?);
            }
            if let Some(found) = marked.iter().find(|note| note.is_by(user.flatten())) {
                return Ok(Some(found.id));
            }
            match next {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(None)
    }

    /// Writes a note on a merge request, and says its number.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses.
    pub async fn create_note(&self, merge_request: u64, body: &str) -> Result<u64, GitlabError> {
        let body = Body { body: text::cut(body, BODY_MAX_BYTES) };
        let note: Note = self.send(Method::POST, self.notes(merge_request)?, &body).await?;
        Ok(note.id)
    }

    /// Writes a note anew.
    ///
    /// # Errors
    /// When GitLab cannot be asked or refuses; [`GitlabError::NotFound`] when the note was deleted.
    pub async fn update_note(&self, merge_request: u64, note: u64, body: &str) -> Result<(), GitlabError> {
        let iid = merge_request.to_string();
        let url = self.in_project(&["merge_requests", &iid, "notes", &note.to_string()])?;
        self.tell(Method::PUT, url, &Body { body: text::cut(body, BODY_MAX_BYTES) }).await
    }

    fn notes(&self, merge_request: u64) -> Result<Url, GitlabError> {
        self.in_project(&["merge_requests", &merge_request.to_string(), "notes"])
    }

    /// The user this token acts as; none when GitLab does not say.
    async fn owner(&self) -> Result<Option<u64>, GitlabError> {
        match self.get::<Owner>(self.at_root(&["personal_access_tokens", "self"])?).await {
            Ok(owner) => Ok(owner.user_id),
            Err(GitlabError::NotFound | GitlabError::Forbidden { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
