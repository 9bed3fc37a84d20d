//! The merchant's idempotency keys.

use super::{Case, Done, Stop, nameless};
use crate::clock;
use crate::reply::Reply;
use crate::result::{Ending, Finished};
use filters::PaymentRequest;
use filters::decode::compare;
use filters::reject::Reject;
use model::{Kind, Outcome, Report, Unknown};
use vault::VaultError;
use vault::payments::{Claimed, Replay, ReplayClaim};

/// How long a key may be, in characters.
const KEY_CHARS_MAX: usize = 255;

/// Reads a key as it stands in the header.
///
/// # Errors
/// When it is not 1 to 255 visible ASCII characters.
pub(crate) fn check_key(value: &[u8]) -> Result<Box<str>, Reject> {
    let plain = value.iter().all(u8::is_ascii_graphic);
    let fits = (1..=KEY_CHARS_MAX).contains(&value.len());
    let text = str::from_utf8(value).ok().filter(|_| plain && fits);
    text.map(Into::into).ok_or(Reject::IdempotencyInvalid)
}

/// Takes a key, or says how its request was answered. When the vault fails nobody knows whether there
/// was such a request before, and nobody is told that it did nothing.
pub(super) async fn claim(
    case: &Case<'_>,
    key: &str,
    request: &PaymentRequest,
) -> Result<ReplayClaim, Stop> {
    let vault = &case.shared.vault;
    let mut fields = vault.request_fields(case.merchant).map_err(unseen)?;
    compare::fields(request, &mut |name, parts| fields.add(name, parts));
    let claimed = vault.claim_replay(case.merchant, key, fields, clock::now_millis()).await;
    let (payment, change, claim) = match claimed.map_err(unseen)? {
        Claimed::New(claim) => return Ok(claim),
        Claimed::Answered(answer) => return Err(Stop::Replayed(replayed(answer))),
        Claimed::InFlight => return Err(Stop::Refused(Reject::IdempotencyInFlight)),
        Claimed::Differs(field) => {
            let field = compare::name_of(&field);
            return Err(Stop::Refused(Reject::IdempotencyMismatch { field }));
        }
        Claimed::Lost(claim) => return Err(lost(case, claim).await?),
        Claimed::Cut { payment, change, claim } => (payment, change, claim),
    };
    // The process ended before the merchant was told: it is told what is known now.
    let found = vault.payment(case.merchant, &payment).map_err(unseen)?;
    let found = found.ok_or(Stop::Refused(Reject::Internal))?;
    let finished = Finished::of_journal(&found, change.as_ref());
    let answer = Done::of(finished.ok_or(Stop::Refused(Reject::Internal))?).replay();
    vault.answer_cut(claim, &payment, change.as_ref(), &answer).await.map_err(unseen)?;
    Err(Stop::Replayed(replayed(answer)))
}

/// Answers what only a tokenization leaves: nobody can be asked whether the gateway keeps the card.
async fn lost(case: &Case<'_>, claim: ReplayClaim) -> Result<Stop, Stop> {
    let unknown = Ending::Reported(Report::bare(Outcome::Unknown(Unknown::Interrupted)));
    let answer = Done::of(Finished::new(nameless(), Kind::Tokenize, None, unknown)).replay();
    case.shared.vault.answer_replay(claim, &answer).await.map_err(unseen)?;
    Ok(Stop::Replayed(replayed(answer)))
}

/// Why a request is not answered whose key may have been used before.
fn unseen(error: VaultError) -> Stop {
    log::error!("the vault failed: {error}");
    Stop::Refused(Reject::Internal)
}

fn replayed(Replay { status, body }: Replay) -> Reply {
    Reply::kept(status, body).with("idempotency-replayed", "true")
}

#[cfg(test)]
mod tests {
    use super::check_key;

    #[test]
    fn a_key_is_visible_ascii_of_some_length() {
        for good in [&b"a"[..], b"7f3b-1!", &[b'~'; 255]] {
            assert!(check_key(good).is_ok());
        }
        for bad in [&b""[..], b"a b", b"\xc3\xa4", b"a\t", &[b'a'; 256]] {
            assert!(check_key(bad).is_err());
        }
    }
}
