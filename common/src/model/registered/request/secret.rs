//! Secrets of hooks: checked where they were given, made where they were not, and replaced without a gap.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{HookRequest, ProjectContext};
use crate::model::ProjectSlug;
use crate::model::registered::{Forge, HookSecret, HookSecretKind, hook_context};
use crate::model::request::Errors;
use crate::secrets::SecretText;
use crate::webhook::check_secret;
use crate::webhook::sign::SECRET_PREFIX;

/// How long a secret that was replaced is good for, in hours.
pub const HOOK_SECRET_OVERLAP_H: i64 = 24;
/// Path of the signing secret.
const SIGNING: &str = "hook.signing_secret";
/// Path of the token.
const TOKEN: &str = "hook.token";

/// Secrets that were made because none were given. They are shown once.
#[derive(Debug, Clone, Default)]
pub struct MadeSecrets {
    /// Of the hook: it signs deliveries.
    pub signing_secret: Option<SecretString>,
    /// Of the hook: it is sent along.
    pub token: Option<SecretString>,
    /// Of outgoing webhooks: their addresses, and what signs what is sent there.
    pub webhooks: Vec<(String, SecretString)>,
}

impl MadeSecrets {
    /// Whether nothing was made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signing_secret.is_none() && self.token.is_none() && self.webhooks.is_empty()
    }
}

/// A signing secret that follows from the seed, `purpose` and the installation's key: as hard to guess as the key.
pub(super) fn signing(purpose: &str, context: &ProjectContext<'_>) -> SecretString {
    let key = derived(purpose, context);
    SecretString::from(format!("{SECRET_PREFIX}{}", STANDARD.encode(key.as_slice())))
}

fn token(context: &ProjectContext<'_>) -> SecretString {
    SecretString::from(URL_SAFE_NO_PAD.encode(derived("hook token", context).as_slice()))
}

fn derived(purpose: &str, context: &ProjectContext<'_>) -> Zeroizing<[u8; 32]> {
    let place = format!("secret of a project\n{purpose}\n{}", context.seed);
    let mac = Zeroizing::new(context.deployments.sealer.fingerprint(place.as_bytes()));
    Zeroizing::new(Sha256::digest(mac.as_bytes()).into())
}

/// Checks the secrets that were given.
pub(super) fn check(request: &HookRequest, forge: Forge, errors: &mut Errors) {
    let given = [
        (SIGNING, HookSecretKind::Signing, &request.signing_secret),
        (TOKEN, HookSecretKind::Token, &request.token),
    ];
    for (field, kind, secret) in given {
        if let Some(secret) = secret {
            errors.take(field, check_secret(kind, forge, secret.secret()));
        }
    }
}

/// All secrets of a hook: those given, and made ones in the place of the others.
pub(super) fn of_hook(
    request: &HookRequest,
    forge: Forge,
    slug: &ProjectSlug,
    context: &ProjectContext<'_>,
    made: &mut MadeSecrets,
    errors: &mut Errors,
) -> Vec<HookSecret> {
    let mut secrets = Vec::new();
    let mut keep = |field: &str, kind: HookSecretKind, secret: &SecretString| {
        let sealed = context.deployments.sealer.seal(&hook_context(slug), secret);
        secrets.extend(errors.take(field, sealed).map(|secret| HookSecret { kind, secret, until: None }));
    };
    let signing_secret =
        given_or_made(request.signing_secret.as_ref(), &mut made.signing_secret, || signing("hook", context));
    keep(SIGNING, HookSecretKind::Signing, &signing_secret);
    if forge == Forge::Gitlab {
        let token = given_or_made(request.token.as_ref(), &mut made.token, || token(context));
        keep(TOKEN, HookSecretKind::Token, &token);
    }
    secrets
}

fn given_or_made(
    given: Option<&SecretText>,
    shown: &mut Option<SecretString>,
    make: impl FnOnce() -> SecretString,
) -> SecretString {
    match given {
        Some(given) => given.secret().clone(),
        None => {
            let secret = make();
            *shown = Some(secret.clone());
            secret
        }
    }
}

/// The secrets of a hook after `fresh` ones took the place of the `old` ones: of each kind the newest old one goes on being
/// good for a time, so that no delivery is refused until every sender knows the new one.
pub(super) fn replaced(fresh: Vec<HookSecret>, old: &[HookSecret], now: Timestamp) -> Vec<HookSecret> {
    let overlap = SignedDuration::from_hours(HOOK_SECRET_OVERLAP_H);
    let end = now.checked_add(overlap).unwrap_or(Timestamp::MAX);
    let last = |kind: HookSecretKind| {
        let newest = old.iter().find(|secret| secret.kind == kind)?;
        let until = newest.until.map_or(end, |until| until.min(end));
        (until > now).then(|| HookSecret { until: Some(until), ..newest.clone() })
    };
    let kept = [HookSecretKind::Signing, HookSecretKind::Token].into_iter().filter_map(last);
    let kept: Vec<HookSecret> = kept.collect();
    fresh.into_iter().chain(kept).collect()
}
