//! Names on the cluster: safe for DNS, free of collisions, the same for every run. Pure.

use sha2::{Digest, Sha256};
use slipway_common::model::{EnvironmentName, ProjectSlug};

/// Longest label of a DNS name (RFC 1035, section 2.3.4), and longest name of a namespace or a Service.
pub const LABEL_MAX_BYTES: usize = 63;
/// Bytes of the hash that replaces what a name has too much.
const HASH_BYTES: usize = 5;

/// The namespace of a project's environment.
///
/// A slug never has two hyphens in a row, so the first pair ends it: no two environments share a name. What is too
/// long is cut and ends in ten digits of the hash of the whole.
#[must_use]
pub fn namespace(project: &ProjectSlug, environment: &EnvironmentName) -> String {
    shortened(&format!("{project}--{environment}"))
}

/// Name of the application's objects: the project's slug without its hash, which the namespace has already.
#[must_use]
pub fn app(project: &ProjectSlug) -> String {
    let slug = project.as_str();
    service(slug.rsplit_once('-').map_or(slug, |(readable, _hash)| readable))
}

/// A name that a Service may have (RFC 1035: begins with a letter).
#[must_use]
pub fn service(name: &str) -> String {
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        shortened(&format!("a-{name}"))
    } else {
        shortened(name)
    }
}

/// Host name under `domain` for `service` of `namespace`.
#[must_use]
pub fn host(service: &str, namespace: &str, domain: &str) -> String {
    format!("{}.{domain}", shortened(&format!("{service}-{namespace}")))
}

/// The name, or its beginning and a hash when it is longer than [`LABEL_MAX_BYTES`].
fn shortened(name: &str) -> String {
    if name.len() <= LABEL_MAX_BYTES {
        return name.to_owned();
    }
    let hash = hash(name, HASH_BYTES);
    let kept = name.get(..LABEL_MAX_BYTES - 1 - hash.len()).unwrap_or_default();
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

/// The first bytes of the text's SHA-256, as hexadecimal digits.
#[must_use]
pub fn hash(text: &str, bytes: usize) -> String {
    Sha256::digest(text.as_bytes()).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slug(text: &str) -> ProjectSlug {
        text.parse().unwrap()
    }

    fn environment(text: &str) -> EnvironmentName {
        text.parse().unwrap()
    }

    fn is_label(name: &str) -> bool {
        name.len() <= LABEL_MAX_BYTES
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    }

    #[test]
    fn a_namespace_names_project_and_environment() {
        assert_eq!(namespace(&slug("shop-1a2b3c"), &environment("staging")), "shop-1a2b3c--staging");
        assert_ne!(
            namespace(&slug("x-abcdef"), &environment("111111-e")),
            namespace(&slug("x-abcdef-111111"), &environment("e")),
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_stays_apart() {
        let long = slug(&format!("{}-1a2b3c", "s".repeat(32)));
        let one = namespace(&long, &environment(&format!("{}a", "e".repeat(39))));
        let two = namespace(&long, &environment(&format!("{}b", "e".repeat(39))));
        assert_eq!((one.len(), two.len()), (LABEL_MAX_BYTES, LABEL_MAX_BYTES));
        assert_ne!(one, two);
    }

    #[test]
    fn services_begin_with_a_letter() {
        assert_eq!(app(&slug("shop-1a2b3c")), "shop");
        assert_eq!(app(&slug("1-shop-1a2b3c")), "a-1-shop");
        assert_eq!(
            host("shop", "shop-1a2b3c--default", "apps.example"),
            "shop-shop-1a2b3c--default.apps.example"
        );
    }

    proptest! {
        #[test]
        fn every_name_is_a_label(project in "[a-z0-9]([a-z0-9]{0,30}|[a-z0-9-]{0,30}[a-z0-9])-[0-9a-f]{6}",
                                 name in "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?") {
            let (project, name) = (slug(&project), environment(&name));
            let namespace = namespace(&project, &name);
            prop_assert!(is_label(&namespace), "{namespace}");
            let app = app(&project);
            prop_assert!(is_label(&app) && app.starts_with(|first: char| first.is_ascii_lowercase()), "{app}");
            let host = host(&app, &namespace, "example.com");
            prop_assert!(is_label(host.split('.').next().unwrap_or_default()), "{host}");
        }
    }
}
