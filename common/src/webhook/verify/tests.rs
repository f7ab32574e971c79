//! What proves a delivery, and all that does not.

mod timing;

use super::super::sign::sign;
use super::*;

const GITLAB_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER_GITLAB_SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const PLAIN_SECRET: &str = "It's a Secret to Everybody";
const ID: &str = "0d2f8d0a-7c1e-4f0f-9a55-8f3a1c6f0b11";
const BODY: &[u8] = br#"{"object_kind":"push"}"#;
const TOLERANCE: Duration = Duration::from_secs(300);
const NOW_S: i64 = 1_900_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn signing(text: &str) -> OpenSecret {
    OpenSecret { kind: HookSecretKind::Signing, secret: SecretString::from(text) }
}

fn token(text: &str) -> OpenSecret {
    OpenSecret { kind: HookSecretKind::Token, secret: SecretString::from(text) }
}

fn headers<'a>(all: &'a [(&'a str, &'a str)]) -> Headers<'a> {
    Headers::collect(all.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn check(
    forge: Forge,
    all: &[(&str, &str)],
    body: &[u8],
    secrets: &[OpenSecret],
) -> Result<Verified, Refusal> {
    verify(forge, &headers(all), body, secrets, at(NOW_S), TOLERANCE)
}

/// `v1,…` of [`BODY`] with [`ID`].
fn signature(secret: &str, second: i64) -> String {
    sign(&SecretString::from(secret), ID, at(second), BODY).unwrap().signature
}

/// A delivery of GitLab with this list of signatures, verified with these secrets.
fn with_list(list: &str, second: i64, secrets: &[OpenSecret]) -> Result<Verified, Refusal> {
    let second = second.to_string();
    let all = [("webhook-id", ID), ("webhook-timestamp", second.as_str()), ("webhook-signature", list)];
    check(Forge::Gitlab, &all, BODY, secrets)
}

fn hex_mac(secret: &str, body: &[u8]) -> String {
    mac(secret.as_bytes(), &[body]).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_published_vectors_verify() {
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let all = [
        ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
        ("webhook-timestamp", "1649367553"),
        ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
    ];
    let verified = verify(
        Forge::Gitlab,
        &headers(&all),
        body,
        &[signing(GITLAB_SECRET)],
        at(1_649_367_553),
        Duration::ZERO,
    );
    assert_eq!(verified.unwrap().id, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk");

    let all = [
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", "72d3162e"),
        ("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    ];
    let verified = check(Forge::Github, &all, b"Hello, World!", &[signing(PLAIN_SECRET)]).unwrap();
    assert_eq!(verified, Verified { id: "72d3162e".to_owned(), event: "push".to_owned() });
}

#[test]
fn a_hook_without_a_secret_believes_nothing() {
    let second = NOW_S.to_string();
    let signature = signature(GITLAB_SECRET, NOW_S);
    let all = [
        ("webhook-id", ID),
        ("webhook-timestamp", second.as_str()),
        ("webhook-signature", signature.as_str()),
        ("X-Gitlab-Token", ""),
    ];
    for forge in [Forge::Gitlab, Forge::Github, Forge::Gitea] {
        for all in [all.as_slice(), &[]] {
            assert_eq!(check(forge, all, BODY, &[]), Err(Refusal::NoSecret));
        }
    }
    let broken = [signing("whsec_"), signing("no key at all")];
    assert_eq!(with_list(&signature, NOW_S, &broken), Err(Refusal::NoSecret));
}

#[test]
fn a_signed_delivery_of_gitlab_is_believed_about_the_time_it_was_signed() {
    let secrets = [signing(GITLAB_SECRET)];
    for (off_s, expected) in [
        (0, None),
        (300, None),
        (-300, None),
        (301, Some(Refusal::SignatureExpired)),
        (-301, Some(Refusal::SignatureExpired)),
        (86_400, Some(Refusal::SignatureExpired)),
        (-NOW_S, Some(Refusal::SignatureExpired)),
    ] {
        let second = NOW_S + off_s;
        assert_eq!(with_list(&signature(GITLAB_SECRET, second), second, &secrets).err(), expected, "{off_s}");
    }
    let moved_time = with_list(&signature(GITLAB_SECRET, NOW_S - 900), NOW_S, &secrets);
    assert_eq!(moved_time, Err(Refusal::SignatureWrong), "the time is signed too");
}

#[test]
fn a_signature_is_good_for_its_own_body_and_id_only() {
    let second = NOW_S.to_string();
    let signature = signature(GITLAB_SECRET, NOW_S);
    let secrets = [signing(GITLAB_SECRET)];
    let with = |id: &str, body: &[u8]| {
        let all =
            [("webhook-id", id), ("webhook-timestamp", second.as_str()), ("webhook-signature", &signature)];
        check(Forge::Gitlab, &all, body, &secrets)
    };
    assert!(with(ID, BODY).is_ok());
    assert_eq!(with(ID, br#"{"object_kind":"pipe"}"#), Err(Refusal::SignatureWrong));
    assert_eq!(with(ID, b""), Err(Refusal::SignatureWrong));
    assert_eq!(with("another", BODY), Err(Refusal::SignatureWrong));
    for id in ["", "a.b", "a b", &"a".repeat(2000)] {
        assert!(with(id, BODY).is_err(), "{id:?}");
    }

    let hub = format!("sha256={}", hex_mac(PLAIN_SECRET, BODY));
    let replayed = check(Forge::Github, &[(HUB_SIGNATURE, &hub)], b"{}", &[signing(PLAIN_SECRET)]);
    assert_eq!(replayed, Err(Refusal::SignatureWrong));
}

#[test]
fn what_a_signature_covers_must_be_there_and_clear() {
    let good = signature(GITLAB_SECRET, NOW_S);
    let second = NOW_S.to_string();
    let with = |all: &[(&str, &str)]| check(Forge::Gitlab, all, BODY, &[signing(GITLAB_SECRET)]);
    let id = ("webhook-id", ID);
    let time = ("webhook-timestamp", second.as_str());
    let list = ("webhook-signature", good.as_str());
    assert!(with(&[id, time, list]).is_ok());
    for all in [[time, list].as_slice(), &[id, list]] {
        assert_eq!(with(all), Err(Refusal::SignatureUnreadable));
    }
    for all in [[id, id, time, list], [id, time, time, list]] {
        assert_eq!(with(&all), Err(Refusal::HeaderUnreadable));
    }
    assert_eq!(with(&[id, time, list, list]), Err(Refusal::SignatureUnreadable));
    for bad in ["0x1", "+1900000000", "-1900000000", "1900000000.0", " 1900000000", "1900000000000"] {
        assert_eq!(with(&[id, ("webhook-timestamp", bad), list]), Err(Refusal::SignatureUnreadable), "{bad}");
    }
}

#[test]
fn one_good_signature_of_a_list_suffices() {
    let good = signature(GITLAB_SECRET, NOW_S);
    let bad = signature(OTHER_GITLAB_SECRET, NOW_S);
    let secrets = [signing(GITLAB_SECRET)];
    for list in [
        good.clone(),
        format!("{bad} {good}"),
        format!("{good} {bad}"),
        format!("v1a,c2lnbmVk {good}"),
        format!("  {good}  "),
        format!("v1,short {good}"),
        format!("{} {good}", [bad.as_str(); SIGNATURES_MAX - 1].join(" ")),
    ] {
        assert!(with_list(&list, NOW_S, &secrets).is_ok(), "{list}");
    }
    let (text, truncated) = (good.strip_prefix("v1,").unwrap(), &good[..good.len() - 4]);
    for (list, expected) in [
        (bad.clone(), Refusal::SignatureWrong),
        (format!("{bad} {bad}"), Refusal::SignatureWrong),
        (format!("{good},{bad}"), Refusal::SignatureUnreadable),
        (format!("v2,{text}"), Refusal::SignatureUnreadable),
        (format!("V1,{text}"), Refusal::SignatureUnreadable),
        (text.to_owned(), Refusal::SignatureUnreadable),
        (truncated.to_owned(), Refusal::SignatureUnreadable),
        (format!("{good}="), Refusal::SignatureUnreadable),
        (format!("{good}\t"), Refusal::SignatureUnreadable),
        ("v1,".to_owned(), Refusal::SignatureUnreadable),
        (" ".to_owned(), Refusal::SignatureUnreadable),
        (String::new(), Refusal::SignatureUnreadable),
        (format!("{} {good}", [bad.as_str(); SIGNATURES_MAX].join(" ")), Refusal::SignatureUnreadable),
        (format!("{good} {}", "a".repeat(2000)), Refusal::SignatureUnreadable),
    ] {
        assert_eq!(with_list(&list, NOW_S, &secrets), Err(expected), "{list}");
    }
}

#[test]
fn a_wrong_signature_is_never_saved_by_a_good_token() {
    let second = NOW_S.to_string();
    let secrets = [signing(GITLAB_SECRET), token("the token of the hook")];
    let wrong = signature(OTHER_GITLAB_SECRET, NOW_S);
    for list in [wrong.as_str(), "", "v1,", "nonsense"] {
        let all = [
            ("webhook-id", ID),
            ("webhook-timestamp", second.as_str()),
            ("webhook-signature", list),
            ("X-Gitlab-Token", "the token of the hook"),
        ];
        assert!(check(Forge::Gitlab, &all, BODY, &secrets).is_err(), "{list}");
        let only_token = [token("the token of the hook")];
        assert!(
            check(Forge::Gitlab, &all, BODY, &only_token).is_err(),
            "{list}, and no key to check it with"
        );
    }
    let unsigned = [("webhook-id", ID), ("X-Gitlab-Token", "the token of the hook")];
    assert!(check(Forge::Gitlab, &unsigned, BODY, &secrets).is_ok(), "no signature: the token decides");
}

#[test]
fn two_secrets_are_good_while_one_replaces_the_other() {
    let both = [signing(OTHER_GITLAB_SECRET), signing(GITLAB_SECRET)];
    let (old, new) = (signature(GITLAB_SECRET, NOW_S), signature(OTHER_GITLAB_SECRET, NOW_S));
    assert!(with_list(&old, NOW_S, &both).is_ok() && with_list(&new, NOW_S, &both).is_ok());
    // One whose time is over is not handed in any more.
    let replaced = [signing(OTHER_GITLAB_SECRET)];
    assert_eq!(with_list(&old, NOW_S, &replaced), Err(Refusal::SignatureWrong));
    assert!(with_list(&new, NOW_S, &replaced).is_ok());

    let both = [token("a newer token"), token("an older token")];
    for (shown, secrets, good) in [
        ("a newer token", both.as_slice(), true),
        ("an older token", &both, true),
        ("another token", &both, false),
        ("an older token", &both[..1], false),
    ] {
        let checked = check(Forge::Gitlab, &[("X-Gitlab-Token", shown)], BODY, secrets);
        assert_eq!(checked.is_ok(), good, "{shown}");
    }

    let hub = format!("sha256={}", hex_mac(PLAIN_SECRET, BODY));
    let all = [(HUB_SIGNATURE, hub.as_str())];
    let (old, new) = (signing(PLAIN_SECRET), signing("a newer secret of the hook"));
    assert!(check(Forge::Github, &all, BODY, &[new.clone(), old]).is_ok());
    assert_eq!(check(Forge::Github, &all, BODY, &[new]), Err(Refusal::SignatureWrong));
}

#[test]
fn a_token_must_be_exactly_the_secret() {
    let secrets = [token("the token of the hook")];
    let with = |shown: &[&str]| {
        let all: Vec<_> = shown.iter().map(|value| ("X-Gitlab-Token", *value)).collect();
        check(Forge::Gitlab, &all, BODY, &secrets).err()
    };
    assert_eq!(with(&["the token of the hook"]), None);
    assert_eq!(with(&[]), Some(Refusal::SignatureMissing));
    for wrong in [
        "the token of the hoo",
        "the token of the hook ",
        " the token of the hook",
        "THE TOKEN OF THE HOOK",
        "t",
    ] {
        assert_eq!(with(&[wrong]), Some(Refusal::SignatureWrong), "{wrong:?}");
    }
    for unreadable in [vec![""], vec!["the token of the hook"; 2], vec!["the token of the hook", "x"]] {
        assert_eq!(with(&unreadable), Some(Refusal::SignatureUnreadable), "{unreadable:?}");
    }
    let key_as_token =
        check(Forge::Gitlab, &[("X-Gitlab-Token", GITLAB_SECRET)], BODY, &[signing(GITLAB_SECRET)]);
    assert_eq!(key_as_token, Err(Refusal::NoSecret), "a key is not to be sent along");
}

#[test]
fn signatures_in_hexadecimal_are_read_strictly() {
    let good = hex_mac(PLAIN_SECRET, BODY);
    let with = |forge: Forge, name: &str, value: &str| {
        check(forge, &[(name, value)], BODY, &[signing(PLAIN_SECRET)]).err()
    };
    for (forge, name, prefix) in [
        (Forge::Github, "X-Hub-Signature-256", "sha256="),
        (Forge::Gitea, "X-Hub-Signature-256", "sha256="),
        (Forge::Gitea, "X-Gitea-Signature", ""),
        (Forge::Gitea, "X-Forgejo-Signature", ""),
    ] {
        assert_eq!(with(forge, name, &format!("{prefix}{good}")), None, "{name}");
        assert_eq!(with(forge, name, &format!("{prefix}{}", good.to_uppercase())), None, "{name}");
        let wrong = format!("{prefix}{}", hex_mac("another secret", BODY));
        assert_eq!(with(forge, name, &wrong), Some(Refusal::SignatureWrong), "{name}");
        for value in [
            String::new(),
            prefix.to_owned(),
            format!("{prefix}{}", &good[..63]),
            format!("{prefix}{}", &good[..62]),
            format!("{prefix}{good}0"),
            format!("{prefix}{good}00"),
            format!("{prefix} {good}"),
            format!("{prefix}{good} "),
            format!("{prefix}{}", "g".repeat(64)),
            format!("{prefix}{}\u{e9}", &good[..62]),
            format!("{prefix}{}", good.repeat(40)),
            format!("sha1={good}"),
            format!("SHA256={good}"),
        ] {
            assert_eq!(with(forge, name, &value), Some(Refusal::SignatureUnreadable), "{name}: {value:?}");
        }
        let value = format!("{prefix}{good}");
        let twice = [(name, value.as_str()), (name, value.as_str())];
        let refused = check(forge, &twice, BODY, &[signing(PLAIN_SECRET)]);
        assert_eq!(refused, Err(Refusal::SignatureUnreadable), "{name}");
    }
    assert_eq!(with(Forge::Github, "X-Gitea-Signature", &good), Some(Refusal::SignatureMissing));
    let old = with(Forge::Github, "X-Hub-Signature", &format!("sha1={}", &good[..40]));
    assert_eq!(old, Some(Refusal::SignatureMissing), "SHA-1 proves nothing");
    let no_key = check(Forge::Github, &[(HUB_SIGNATURE, "sha256=")], BODY, &[token(PLAIN_SECRET)]);
    assert!(no_key.is_err());
}

#[test]
fn of_several_signatures_the_first_known_header_decides() {
    let good = hex_mac(PLAIN_SECRET, BODY);
    let wrong = hex_mac("another secret", BODY);
    let hub = |hex: &str| format!("sha256={hex}");
    let secrets = [signing(PLAIN_SECRET)];
    let with = |forgejo: &str, gitea: &str, github: &str| {
        let all = [(HUB_SIGNATURE, github), (GITEA_SIGNATURE, gitea), (FORGEJO_SIGNATURE, forgejo)];
        check(Forge::Gitea, &all, BODY, &secrets).err()
    };
    assert_eq!(with(&good, &good, &hub(&good)), None);
    assert_eq!(with(&good, &wrong, &hub(&wrong)), None);
    assert_eq!(with(&wrong, &good, &hub(&good)), Some(Refusal::SignatureWrong));
    assert_eq!(with("", &good, &hub(&good)), Some(Refusal::SignatureUnreadable));
    let gitea_first = [(HUB_SIGNATURE, hub(&good)), (GITEA_SIGNATURE, wrong)];
    let gitea_first: Vec<_> = gitea_first.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(check(Forge::Gitea, &gitea_first, BODY, &secrets), Err(Refusal::SignatureWrong));
}

#[test]
fn an_empty_signature_is_explained_by_the_secret_that_is_missing_on_the_forge() {
    let empty = [("X-Forgejo-Signature", ""), ("X-Gitea-Signature", ""), ("X-Hub-Signature-256", "sha256=")];
    let refusal = check(Forge::Gitea, &empty, BODY, &[signing(PLAIN_SECRET)]).unwrap_err();
    assert!(refusal.hint().contains("has a secret"), "{}", refusal.hint());
}

#[test]
fn deliveries_are_named_by_their_sender_or_by_their_body() {
    let hub = format!("sha256={}", hex_mac(PLAIN_SECRET, BODY));
    let gitlab = |more: &[(&str, &str)]| {
        let all = [[("x-gitlab-token", PLAIN_SECRET)].as_slice(), more].concat();
        check(Forge::Gitlab, &all, BODY, &[token(PLAIN_SECRET)])
    };
    let hmac = |forge: Forge, more: &[(&str, &str)]| {
        let all = [[(HUB_SIGNATURE, hub.as_str())].as_slice(), more].concat();
        check(forge, &all, BODY, &[signing(PLAIN_SECRET)])
    };
    let named = |id: &str, event: &str| Ok(Verified { id: id.to_owned(), event: event.to_owned() });
    assert_eq!(
        gitlab(&[("X-Gitlab-Event", "Push Hook"), ("Idempotency-Key", "k"), ("webhook-id", "w")]),
        named("w", "Push Hook")
    );
    assert_eq!(gitlab(&[("Idempotency-Key", "k")]), named("k", ""));
    assert_eq!(
        hmac(Forge::Github, &[("X-GitHub-Delivery", "d"), ("X-GitHub-Event", "push"), ("webhook-id", "w")]),
        named("d", "push")
    );
    let forgejo = [
        ("X-GitHub-Delivery", "a"),
        ("X-Gitea-Delivery", "b"),
        ("X-Forgejo-Delivery", "c"),
        ("X-GitHub-Event", "x"),
        ("X-Gitea-Event", "y"),
        ("X-Forgejo-Event", "z"),
    ];
    assert_eq!(hmac(Forge::Gitea, &forgejo), named("c", "z"));
    assert_eq!(hmac(Forge::Gitea, &[forgejo[0], forgejo[1], forgejo[3], forgejo[4]]), named("b", "y"));

    let by_body = gitlab(&[]).unwrap().id;
    assert_eq!(by_body, hmac(Forge::Github, &[]).unwrap().id, "the same body");
    assert!(by_body.starts_with("sha256:") && by_body.len() <= DELIVERY_ID_MAX_BYTES, "{by_body}");
    for bad in
        [("Idempotency-Key", "a".repeat(DELIVERY_ID_MAX_BYTES + 1)), ("X-Gitlab-Event", "a".repeat(65))]
    {
        assert_eq!(gitlab(&[(bad.0, &bad.1)]), Err(Refusal::HeaderUnreadable));
    }
    for bad in ["a\u{7f}", "\u{e9}", ""] {
        assert_eq!(gitlab(&[("Idempotency-Key", bad)]), Err(Refusal::HeaderUnreadable), "{bad:?}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", [signing(GITLAB_SECRET), token(PLAIN_SECRET)]);
    assert!(!shown.contains("C2FVs") && !shown.contains("Everybody"), "{shown}");
}
