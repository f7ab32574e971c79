//! Tables of addresses and names: the good spellings, their identities, and the hostile ones.

use super::{AddressError, AddressPolicy, BranchName, HttpPolicy, RepositoryAddress, RevisionSpec};

fn parse(text: &str) -> Result<RepositoryAddress, AddressError> {
    RepositoryAddress::parse(text, &AddressPolicy::default())
}

#[test]
fn every_spelling_of_a_project_has_one_identity() {
    let spellings = [
        "https://gitlab.com/group/project",
        "https://gitlab.com/group/project/",
        "https://gitlab.com/group/project.git",
        "https://gitlab.com/group/project.git//",
        "https://GitLab.COM/group/project",
        "HTTPS://gitlab.com:443/group/project",
        "https://gitlab.com./group/project",
    ];
    for spelling in spellings {
        let address = parse(spelling).unwrap();
        assert_eq!(address.identity(), "gitlab.com/group/project", "{spelling}");
        assert_eq!(address.project_path(), "group/project");
        assert_eq!(address.name(), "project");
    }
    assert_ne!(parse("https://gitlab.com/group/Project").unwrap().identity(), "gitlab.com/group/project");
    assert_ne!(
        parse("https://gitlab.com:8443/group/project").unwrap().identity(),
        "gitlab.com/group/project"
    );
}

#[test]
fn parts_are_told_apart() {
    let address = parse("https://git.example.org:8443/a/b/c.git").unwrap();
    assert_eq!(address.as_str(), "https://git.example.org:8443/a/b/c.git");
    assert_eq!(address.origin(), "https://git.example.org:8443/");
    assert_eq!(address.host(), "git.example.org");
    assert_eq!(address.project_path(), "a/b/c");
}

#[test]
fn http_follows_the_policy() {
    let loopback = ["http://127.0.0.1:8080/a/b", "http://localhost/a/b", "http://[::1]:3000/a/b"];
    for text in loopback {
        assert!(parse(text).is_ok(), "{text}");
        let never = AddressPolicy { http: HttpPolicy::Never };
        assert_eq!(RepositoryAddress::parse(text, &never), Err(AddressError::InsecureHttp));
    }
    let far = "http://git.example.org/a/b";
    assert_eq!(parse(far), Err(AddressError::InsecureHttp));
    assert!(RepositoryAddress::parse(far, &AddressPolicy { http: HttpPolicy::Always }).is_ok());
}

const HOSTILE: [&str; 83] = [
    "",
    " ",
    "https://",
    "https:///a/b",
    "https:gitlab.com/a",
    "//gitlab.com/a/b",
    "gitlab.com/a/b",
    "ext::sh -c touch% /tmp/canary",
    "EXT::sh",
    "ext::https://gitlab.com/a",
    "fd::17",
    "fd::7/a",
    "file:///etc",
    "FILE:///etc",
    "/etc/passwd",
    "./repo",
    "../repo",
    "repo.bundle",
    "~root/repo",
    "ssh://git@gitlab.com/a/b",
    "ssh://-oProxyCommand=touch/a",
    "ssh://-Fcfg@h/a",
    "git@-oProxyCommand=x:a",
    "git@gitlab.com:a/b",
    "gitlab.com:a/b",
    "git://gitlab.com/a/b",
    "ftp://gitlab.com/a/b",
    "https+git://gitlab.com/a/b",
    "git+https://gitlab.com/a/b",
    "javascript://gitlab.com/a",
    "--upload-pack=touch /tmp/canary",
    "-oProxyCommand=x",
    "-",
    "https://user@gitlab.com/a/b",
    "https://user:secret@gitlab.com/a/b",
    "https://@gitlab.com/a/b",
    "https://gitlab.com@evil.example/a/b",
    "https://:443/a/b",
    "https://gitlab.com:/a/b",
    "https://-oProxyCommand=x/a/b",
    "https://%2DoProxyCommand/a/b",
    "https://gitlab%2ecom/a/b",
    "https://a.-b.com/a/b",
    "https://gitlab..com/a/b",
    "https://.gitlab.com/a/b",
    "https://gitlab.com:99999/a/b",
    "https://gitlab.com:x/a/b",
    "https://[::1/a/b",
    "https://gitlab.com",
    "https://gitlab.com/",
    "https://gitlab.com//a/b",
    "https://gitlab.com/a//b",
    "https://gitlab.com/a/../b",
    "https://gitlab.com/..",
    "https://gitlab.com/a/./b",
    "https://gitlab.com/.git",
    "https://gitlab.com/a/%2e%2e/b",
    "https://gitlab.com/a%0ab",
    "https://gitlab.com/a%00b",
    "https://gitlab.com/-/b",
    "https://gitlab.com/a/--upload-pack=x",
    "https://gitlab.com/a/$(id)",
    "https://gitlab.com/a/b;id",
    "https://gitlab.com/a/b|id",
    "https://gitlab.com/a/`id`",
    "https://gitlab.com/a b",
    " https://gitlab.com/a/b",
    "https://gitlab.com/a/b ",
    "https://gitlab.com/a/b?x=1",
    "https://gitlab.com?/a/b",
    "https://gitlab.com/a/b#x",
    "https://gitlab.com#/a",
    "https://gitlab.com/a/b\n",
    "https://gitlab.com/a\nhost=evil",
    "https://gitlab.com/a\r/b",
    "https://gitlab.com/a\0/b",
    "https://gitlab.com/a\t/b",
    "ht\ntps://gitlab.com/a/b",
    "https://gitlab.com/\u{202E}b/a",
    "https://gitlab.com/a\u{200B}/b",
    "https://g\u{0456}tlab.com/a/b",
    "https://gitlab.com\\@evil.example/a/b",
    "https://gitlab.com/a\\b",
];

#[test]
fn hostile_addresses_are_refused() {
    let long = format!("https://gitlab.com/{}", "a".repeat(2_048));
    for text in HOSTILE.into_iter().chain([long.as_str()]) {
        assert!(parse(text).is_err(), "accepted {text:?}");
        let open = AddressPolicy { http: HttpPolicy::Always };
        assert!(RepositoryAddress::parse(text, &open).is_err(), "accepted {text:?} under the open policy");
    }
}

#[test]
fn a_refusal_does_not_repeat_the_password() {
    let message = parse("https://user:hunter2@gitlab.com/a/b").unwrap_err().to_string();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn branch_names_follow_check_ref_format() {
    let good = ["main", "feature/x-1", "release-2.0", "ünïcode", "a@b", "$(id)", ";id", "user/--x"];
    for name in good {
        assert_eq!(BranchName::parse(name).unwrap().full_ref(), format!("refs/heads/{name}"));
    }
    let long = "b".repeat(251);
    let hostile = [
        "",
        "-",
        "--upload-pack=x",
        "-b",
        "a..b",
        "a b",
        "a\tb",
        "a\nb",
        "a\rb",
        "a\0b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[b",
        "a\\b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.",
        "a.lock",
        "a.lock/b",
        "a@{1}",
        "@",
        "HEAD",
        "a\u{202E}b",
        "a\u{200B}b",
        "a\u{7f}",
        "a\u{a0}b",
        "8f7d8a1c0d6d1a0d1f4f3f0a3e5f8a9b7c6d5e4f",
        long.as_str(),
    ];
    for name in hostile {
        assert!(BranchName::parse(name).is_err(), "accepted {name:?}");
    }
}

#[test]
fn revisions_are_full_ids_or_tags() {
    let id = "8F7D8A1C0D6D1A0D1F4F3F0A3E5F8A9B7C6D5E4F";
    let revision = RevisionSpec::parse(id).unwrap();
    assert_eq!(revision.sha(), Some(id.to_ascii_lowercase().as_str()));
    assert_eq!(revision.tag(), None);
    let tag = RevisionSpec::parse("v1.0").unwrap();
    assert_eq!((tag.sha(), tag.tag()), (None, Some("v1.0")));
    for text in ["", "--exec=x", "a b", "v1^{}", "v1:x", "main~3", "refs/tags/../x"] {
        assert!(RevisionSpec::parse(text).is_err(), "accepted {text:?}");
    }
}

#[test]
fn values_travel_as_strings_and_are_checked_on_the_way_in() {
    let address = parse("https://gitlab.com/group/project").unwrap();
    let text = serde_json::to_string(&address).unwrap();
    assert_eq!(text, "\"https://gitlab.com/group/project\"");
    assert_eq!(serde_json::from_str::<RepositoryAddress>(&text).unwrap(), address);
    assert!(serde_json::from_str::<RepositoryAddress>("\"file:///etc\"").is_err());
    assert!(serde_json::from_str::<BranchName>("\"-x\"").is_err());
    assert!(serde_json::from_str::<RevisionSpec>("\"-x\"").is_err());
}
