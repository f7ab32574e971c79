//! What a job looks like on the wire: the record of its acceptance, so that queue and ledger take the same bytes.

use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use crate::model::{Event, EventKind, JobId, JobMessage};
use crate::queue::UNREADABLE_KEPT_MAX_BYTES;
use crate::record::Record;

/// Why a body is no job.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is not the JSON of a record.
    #[error("the message is no record: {reason}")]
    NoRecord {
        /// What is wrong with it.
        reason: String,
    },
    /// It is a record, but accepts no job.
    #[error("the message is a record, but accepts no job")]
    NoJob,
}

/// The body of every copy of a job.
pub(super) fn encode(message: &JobMessage) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(&Record::Event(Event::accepted(message))).map(Bytes::from)
}

/// The job in a body.
pub(super) fn decode(body: &[u8]) -> Result<JobMessage, Unreadable> {
    let record: Record =
        serde_json::from_slice(body).map_err(|error| Unreadable::NoRecord { reason: error.to_string() })?;
    if let Record::Event(event) = record
        && let EventKind::Accepted { message } = event.kind
    {
        return Ok(*message);
    }
    Err(Unreadable::NoJob)
}

/// A name for what could not be read, the same whenever it is met again.
pub(super) fn name_of_unreadable(job: Option<JobId>, body: &[u8]) -> JobId {
    job.unwrap_or_else(|| JobId::from(Uuid::new_v5(&Uuid::NAMESPACE_OID, body)))
}

/// As much of a body as is kept of what could not be read.
pub(super) fn beginning(body: &[u8]) -> String {
    let part = body.get(..UNREADABLE_KEPT_MAX_BYTES).unwrap_or(body);
    String::from_utf8_lossy(part).into_owned()
}

/// Generation of a further copy of a job. Larger than all before it, and larger than any that was given out
/// earlier and forgotten since: it is a time in microseconds unless clocks disagree.
pub(super) fn next_generation(known: u64, token: u64, now: Timestamp) -> u64 {
    let newest = known.max(token).saturating_add(1);
    newest.max(unsigned(now.as_microsecond()))
}

/// A time as a number that is never negative; times before 1970 count as 1970.
pub(super) fn unsigned(micros: i64) -> u64 {
    u64::try_from(micros).unwrap_or(0)
}

/// Microseconds since 1970.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// Microseconds since 1970, rounded up, so that nothing is due too early.
pub(super) fn micros_up(at: Timestamp) -> i64 {
    let whole = at.as_microsecond();
    let cut = at.subsec_nanosecond().rem_euclid(1_000) != 0;
    whole.saturating_add(i64::from(cut))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Unreadable, beginning, decode, encode, micros_up, name_of_unreadable, next_generation};
    use crate::contract::sample::deploy_job;
    use crate::model::CredentialName;
    use crate::queue::UNREADABLE_KEPT_MAX_BYTES;
    use crate::record::Record;

    #[test]
    fn a_job_comes_back_as_it_was() {
        let message = deploy_job("shop", Timestamp::now());
        let body = encode(&message).expect("a message is JSON");
        assert_eq!(decode(&body).expect("it is readable"), message);
    }

    #[test]
    fn what_is_no_job_is_told_apart() {
        assert!(matches!(decode(b"{}"), Err(Unreadable::NoRecord { .. })));
        let name: CredentialName = "git".parse().expect("a name");
        let other = serde_json::to_vec(&Record::CredentialDeleted { name }).expect("a record is JSON");
        assert_eq!(decode(&other), Err(Unreadable::NoJob));
    }

    #[test]
    fn an_unreadable_body_keeps_its_name() {
        assert_eq!(name_of_unreadable(None, b"x"), name_of_unreadable(None, b"x"));
        assert_ne!(name_of_unreadable(None, b"x"), name_of_unreadable(None, b"y"));
        let kept = beginning(&[0xff; 2 * UNREADABLE_KEPT_MAX_BYTES]);
        assert_eq!(kept.chars().count(), UNREADABLE_KEPT_MAX_BYTES);
    }

    #[test]
    fn generations_grow_even_when_the_last_is_forgotten() {
        let now = Timestamp::now();
        let first = next_generation(0, 0, now);
        assert!(first > 0);
        assert_eq!(next_generation(first, 0, now), first + 1, "in the same microsecond");
        let later = now.saturating_add(std::time::Duration::from_millis(1)).expect("a little later");
        assert!(next_generation(0, 0, later) > first, "the recorded one is lost");
        assert!(next_generation(0, first + 10, now) > first + 10, "and above the token");
    }

    #[test]
    fn a_wake_up_is_rounded_up() {
        let at = Timestamp::from_nanosecond(1_001).expect("in range");
        assert_eq!(micros_up(at), 2);
        assert_eq!(micros_up(Timestamp::from_microsecond(7).expect("in range")), 7);
    }
}
