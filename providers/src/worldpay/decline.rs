//! Worldpay's codes for why an issuer said no.
//! <https://docs.worldpay.com/access/products/reference/refusal-response>

use crate::Declines;
use model::Decline;

/// Most are those of ISO 8583 without leading zeros.
pub(crate) const DECLINES: Declines = Declines::new(&[
    (Decline::AuthenticationRequired, &["65"]),
    // Refer to the issuer, do not honour, honour with identification, partly, customer's choice,
    // security violation, no reason told, policy.
    (
        Decline::CardDeclined,
        &["1", "2", "3", "5", "8", "10", "17", "28", "63", "82", "85"],
    ),
    // Another card, invalid transaction, closed, not permitted, restricted, blocked, no account,
    // life cycle.
    (Decline::CardNotSupported, &["6", "12", "46", "57", "62", "76", "78", "79"]),
    (Decline::ExpiredCard, &["33", "54"]),
    // Suspected, twice, and the scheme's own reasons.
    (Decline::Fraud, &["34", "59", "83"]),
    (Decline::IncorrectCvv, &["835"]),
    // The number, no such issuer, no such record.
    (Decline::IncorrectNumber, &["14", "15", "56"]),
    // Tried too often, wrong, tried too often.
    (Decline::IncorrectPin, &["38", "55", "75"]),
    (Decline::InsufficientFunds, &["51"]),
    (Decline::InvalidAmount, &["13"]),
    (Decline::IssuerUnavailable, &["91"]),
    (Decline::LimitExceeded, &["61"]),
    // Hold the card, pick it up, lost, stolen.
    (Decline::LostOrStolen, &["4", "7", "41", "43"]),
    (Decline::ProcessingError, &["96"]),
    // Stop payment, and revocations of one and of all.
    (Decline::Revoked, &["972", "973", "975"]),
]);
