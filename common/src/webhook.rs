//! Webhooks: deliveries of forges are verified and reduced to what they hint at, and what Slipway sends is signed.
//!
//! Nothing here does I/O or knows HTTP: headers, body, secrets and the time are handed in.

mod gitea;
mod github;
mod gitlab;
mod headers;
pub mod payload;
mod secret;
pub mod sign;
pub mod verify;

pub use headers::{HEADER_MAX_BYTES, Headers};
pub use payload::{Parsed, Unreadable, parse};
pub use secret::{
    SECRET_MAX_BYTES, SECRET_MIN_BYTES, UnfitSecret, check_secret, check_signing_secret,
    generate_signing_secret, generate_token,
};
pub use sign::{SignedHeaders, SigningError, sign};
pub use verify::{OpenSecret, Refusal, SIGNATURES_MAX, Verified, verify};
