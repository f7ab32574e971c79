//! The connection to one API server: made when it is first needed, and anew, with credentials read anew, once
//! it was forgotten.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use kube::Client;
use secrecy::SecretString;

use crate::access::{self, Access, AccessError};

/// A connection to one API server.
#[derive(Debug)]
pub struct Connection {
    access: Access,
    client: Mutex<Option<Connected>>,
    /// The token of a request, in place of the target's own credentials.
    token: Option<SecretString>,
}

/// A client, and which one it is: `kube`'s own has no identity.
#[derive(Clone)]
pub struct Connected {
    /// The client.
    pub client: Client,
    number: u64,
}

impl fmt::Debug for Connected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connected").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Connection {
    /// Prepares the connection; the first call makes it.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self { access, client: Mutex::new(None), token: None }
    }

    /// The same way to the API server, with this token and with none of the target's own credentials.
    #[must_use]
    pub fn acting_as(&self, token: SecretString) -> Self {
        Self { access: self.access.clone(), client: Mutex::new(None), token: Some(token) }
    }

    /// Whether it goes by the token of a request.
    #[must_use]
    pub fn is_by_request(&self) -> bool {
        self.token.is_some()
    }

    /// The client; one is made when there is none.
    ///
    /// # Errors
    /// When what is needed for it cannot be read.
    pub async fn client(&self) -> Result<Connected, AccessError> {
        let known = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let config = match &self.token {
            Some(token) => access::config_for(&self.access, token).await?,
            None => access::config(&self.access).await?,
        };
        let client = Client::try_from(config)
            .map_err(|error| AccessError { key: "server", reason: error.to_string() })?;
        let connected = Connected { client, number: next_number() };
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(connected.clone());
        Ok(connected)
    }

    /// Forgets the client that was refused, unless another has its place already.
    pub fn forget(&self, used: &Connected) {
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| known.number == used.number) {
            *known = None;
        }
    }

    /// Forgets the client, whichever it is.
    pub fn forget_any(&self) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A certificate to trust, so that the tests need none of the machine's.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBgDCCASWgAwIBAgIUNTLBP9MpFqCmZ9NI9h8CXEsEJb0wCgYIKoZIzj0EAwIw\n\
        FDESMBAGA1UEAwwJay5leGFtcGxlMCAXDTI2MTEyNzEzMjgyN1oYDzIxMjYxMTAz\n\
        MTMyODI3WjAUMRIwEAYDVQQDDAlrLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjO\n\
        PQMBBwNCAASZY5rt2/C4NCC7dDD0HOX57AHxU59EuNhcykT9/Ays4r/e22rNUy07\n\
        RSs7nfLWjyOPNwdHUD5PLi7e2HQbB0uTo1MwUTAdBgNVHQ4EFgQUSayfv+5XGg2a\n\
        Iv+r0pEpSa8f77gwHwYDVR0jBBgwFoAUSayfv+5XGg2aIv+r0pEpSa8f77gwDwYD\n\
        VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAyGh/vKTj212KwTad1P/n\n\
        76kc7bsqHhbhWoPHYZrQMGYCIQDlVz5bvWJDOUzD1wrP/npBXgh1qAU5wjdXvjch\n\
        u27qcg==\n\
        -----END CERTIFICATE-----\n";

    fn connection(folder: &Path) -> Connection {
        let ca_file = folder.join("ca.crt");
        std::fs::write(&ca_file, CERTIFICATE).unwrap();
        Connection::new(Access::Server {
            server: "https://k.example".to_owned(),
            ca_file: Some(ca_file),
            token_file: folder.join("token"),
        })
    }

    #[tokio::test]
    async fn credentials_are_read_anew_once_the_client_was_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "one").unwrap();
        let connection = connection(folder.path());
        let first = connection.client().await.unwrap();
        assert_eq!(connection.client().await.unwrap().number, first.number);
        std::fs::remove_file(&token_file).unwrap();
        assert_eq!(connection.client().await.unwrap().number, first.number, "it is not read for every call");
        connection.forget(&first);
        assert_eq!(connection.client().await.unwrap_err().key, "token_file");
        std::fs::write(&token_file, "two").unwrap();
        let second = connection.client().await.unwrap();
        connection.forget(&first);
        assert_eq!(connection.client().await.unwrap().number, second.number, "another has its place");
        connection.forget_any();
        assert_ne!(connection.client().await.unwrap().number, second.number);
    }

    #[tokio::test]
    async fn who_acts_by_a_token_has_a_client_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "one").unwrap();
        let own = connection(folder.path());
        let other = own.acting_as(SecretString::from("theirs"));
        assert_eq!((own.is_by_request(), other.is_by_request()), (false, true));
        assert_ne!(own.client().await.unwrap().number, other.client().await.unwrap().number);
        assert!(!format!("{other:?}").contains("theirs"));
    }
}
