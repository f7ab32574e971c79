//! Redaction, classification and version parsing, without starting anything.

use super::redact::Redactor;
use super::{failure, version_of};
use crate::git::{Credential, GitError};

#[test]
fn every_spelling_of_a_secret_is_redacted() {
    let credential = Credential::token("s3cr/t+to ken".into()).unwrap();
    let redactor = Redactor::new(Some(&credential));
    let basic = "b2F1dGgyOnMzY3IvdCt0byBrZW4=";
    let text = format!(
        "a s3cr/t+to ken b\nAuthorization: Basic {basic}\nx {basic}\nhttps://u:s3cr%2Ft%2Bto%20ken@h/p\n\
         s3cr%2Ft%2Bto+ken\nhttps://me:other@h/p'\nczNjci90K3RvIGtlbg=="
    );
    let clean = redactor.redact(&text);
    for leak in ["s3cr", basic, "other", "czNjci90"] {
        assert!(!clean.contains(leak), "{leak} in {clean}");
    }
    assert!(clean.contains("https://[redacted]@h/p"), "{clean}");
}

#[test]
fn terminal_escapes_are_removed() {
    assert_eq!(Redactor::new(None).redact("a\u{1b}[31mb\r\nc"), "a [31mb\nc");
}

#[test]
fn texts_of_git_are_told_apart() {
    let table = [
        ("fatal: Authentication failed for 'http://h/p/'", "git_authentication_failed"),
        (
            "fatal: could not read Username for 'http://h': terminal prompts disabled",
            "git_authentication_failed",
        ),
        ("fatal: repository 'http://h/p/' not found", "git_repository_not_found"),
        ("fatal: unable to access 'https://h/': Could not resolve host: h", "git_host_unknown"),
        ("fatal: unable to access 'https://h/': SSL certificate problem: self-signed certificate", "git_tls"),
        ("fatal: unable to access 'http://h/': The requested URL returned error: 500", "git_host_failed"),
        ("fatal: unable to access 'http://h/': The requested URL returned error: 403", "git_forbidden"),
        (
            "error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec transferred",
            "git_too_slow",
        ),
        ("error: RPC failed; curl 18 transfer closed\nfatal: early EOF", "git_host_unreachable"),
        ("fatal: write error: No space left on device", "git_disk_full"),
        ("fatal: transport 'ext' not allowed", "git_protocol_refused"),
        (
            "error: object 1234: hasDotgit: contains '.git'\nfatal: fsck error in packed object",
            "git_objects_malformed",
        ),
        ("something else", "git_failed"),
    ];
    for (text, code) in table {
        assert_eq!(failure("fetch", true, text).code(), code, "{text}");
    }
}

#[test]
fn details_are_bounded() {
    let long = "x".repeat(100_000);
    let GitError::Other { detail, .. } = failure("fetch", false, &long) else { panic!("another error") };
    assert_eq!(detail.len(), 600);
}

#[test]
fn versions_compare_by_number() {
    assert!(version_of("git version 2.39.5") > version_of("2.9"));
    assert_eq!(version_of("git version 2.31.0 (Apple Git-1)"), (2, 31));
    assert_eq!(version_of("nonsense"), (0, 0));
}
