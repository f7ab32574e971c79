//! The search: every secret in every spelling, in texts, files and running processes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use base64::Engine as _;
use tokio_util::sync::CancellationToken;

use crate::{CREDENTIAL, ENV_VALUE, REPOSITORY_TOKEN};

/// Where Git's child finds the header with the token; the one place a secret is meant to be in an environment, since
/// only the user who has the secret anyway can read it there.
const GIT_HEADER: &str = "GIT_CONFIG_VALUE_0=Authorization: ";
const STANDARD: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

/// What must not be found.
pub(crate) struct Canaries {
    spellings: Vec<Vec<u8>>,
}

impl Canaries {
    /// The secrets of the requests, and the header Git sends.
    pub(crate) fn of_requests() -> Self {
        let mut canaries = Self { spellings: Vec::new() };
        for secret in [REPOSITORY_TOKEN, ENV_VALUE, CREDENTIAL] {
            canaries.add(secret);
        }
        canaries.spellings.push(STANDARD.encode(format!("oauth2:{REPOSITORY_TOKEN}")).into_bytes());
        canaries
    }

    /// One more secret: in clear, base64, hexadecimal, URL-encoded.
    pub(crate) fn add(&mut self, secret: &str) {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let base64 = STANDARD.encode(secret).trim_end_matches('=').to_owned();
        self.spellings.extend([secret.to_owned(), base64, hex, url].map(String::into_bytes));
    }

    /// One more login: its parts as a client of AMQP or HTTP sends them together.
    pub(crate) fn add_login(&mut self, user: &str, password: &str) {
        self.add(password);
        for pair in [format!("{user}:{password}"), format!("\0{user}\0{password}")] {
            self.spellings.push(STANDARD.encode(&pair).trim_end_matches('=').as_bytes().to_vec());
        }
        // As programs print bytes.
        self.spellings
            .push(format!("{:?}", password.as_bytes()).trim_matches(['[', ']']).as_bytes().to_vec());
    }

    /// # Errors
    /// When there is nothing to look at, or something is found.
    pub(crate) fn search_text(&self, what: &str, text: &str) -> anyhow::Result<()> {
        ensure!(!text.is_empty(), "{what} was looked at");
        self.search_bytes(what, text.as_bytes())
    }

    /// Every file below `folder` but those of these names.
    ///
    /// # Errors
    /// When there are no files, one cannot be read, or something is found.
    pub(crate) fn search_files(&self, folder: &Path, but: &[&str]) -> anyhow::Result<()> {
        let mut files = Vec::new();
        list(folder, &mut files)?;
        ensure!(!files.is_empty(), "{} has files", folder.display());
        files.retain(|file| !but.iter().any(|name| file.ends_with(name)));
        for file in files {
            // The services go on writing, and throw old files away.
            let Ok(bytes) = std::fs::read(&file) else { continue };
            self.search_bytes(&file.display().to_string(), &bytes)?;
        }
        Ok(())
    }

    pub(crate) fn search_bytes(&self, what: &str, bytes: &[u8]) -> anyhow::Result<()> {
        for spelling in &self.spellings {
            if let Some(at) = find(bytes, spelling) {
                let around = &bytes[at.saturating_sub(200)..(at + spelling.len() + 50).min(bytes.len())];
                let (spelling, around) = (String::from_utf8_lossy(spelling), String::from_utf8_lossy(around));
                anyhow::bail!("{spelling} is in {what}: {around}");
            }
        }
        Ok(())
    }
}

/// Whether some file below `folder` has these bytes: the proof that a search there can find something.
pub(crate) fn is_in_files(folder: &Path, wanted: &str) -> anyhow::Result<bool> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    Ok(files
        .iter()
        .filter_map(|file| std::fs::read(file).ok())
        .any(|bytes| find(&bytes, wanted.as_bytes()).is_some()))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(found) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        from += found;
        if bytes[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
    None
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// What was seen of processes, one after another.
pub(crate) struct Processes {
    /// Their command lines.
    pub(crate) arguments: String,
    /// Their environments, those in containers left out: there the values are what they were sealed for.
    pub(crate) environments: String,
}

/// Collects the command lines and environments of all processes until it is stopped.
pub(crate) struct ProcessWatch {
    stop: CancellationToken,
    seen: tokio::task::JoinHandle<(BTreeSet<String>, BTreeSet<String>)>,
}

impl ProcessWatch {
    pub(crate) fn start() -> Self {
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let seen = tokio::spawn(async move {
            let (mut arguments, mut environments) = (BTreeSet::new(), BTreeSet::new());
            let own = std::fs::read_link("/proc/self/ns/pid").ok();
            while !stopping.is_cancelled() {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    let of = entry.path();
                    if let Ok(line) = std::fs::read(of.join("cmdline")) {
                        arguments.insert(String::from_utf8_lossy(&line).replace('\0', " "));
                    }
                    if std::fs::read_link(of.join("ns/pid")).ok() == own
                        && let Ok(lines) = std::fs::read(of.join("environ"))
                    {
                        let lines = String::from_utf8_lossy(&lines);
                        let lines = lines.split('\0').filter(|line| !line.starts_with(GIT_HEADER));
                        environments.extend(lines.map(str::to_owned));
                    }
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            (arguments, environments)
        });
        Self { stop, seen }
    }

    pub(crate) async fn stop(self) -> anyhow::Result<Processes> {
        self.stop.cancel();
        let (arguments, environments) = self.seen.await?;
        Ok(Processes { arguments: join(&arguments), environments: join(&environments) })
    }
}

fn join(lines: &BTreeSet<String>) -> String {
    lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}
