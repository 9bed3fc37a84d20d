//! CyberSource's words for why a payment was declined: the values of `errorInformation.reason` and,
//! behind them, the flags of a service (`rFlag`) in a summary, which say less.
//! <https://developer.cybersource.com/docs/cybs/en-us/api-fields/reference/all/rest/api-fields/error-info-reason.html>

use crate::{Declines, declines};
use model::Decline;

/// Visa's category of what an issuer never approves. Mastercard's codes have two digits.
const NEVER: &str = "1";

/// Whether an advice is not to try again, Visa's or Mastercard's.
pub(super) fn says_stop(advice: Option<&str>) -> bool {
    advice == Some(NEVER) || declines::says_stop(advice)
}

pub(super) const DECLINES: Declines = Declines::new(&[
    (Decline::AuthenticationRequired, &["CONSUMER_AUTHENTICATION_REQUIRED", "CONSUMER_AUTHENTICATION_FAILED", "CUSTOMER_AUTHENTICATION_REQUIRED", "DCONSUMERAUTHENTICATIONREQUIRED", "DAUTHENTICATE", "DAUTHENTICATIONFAILED"]),
    (Decline::CardDeclined, &["CONTACT_PROCESSOR", "PROCESSOR_DECLINED", "PAYMENT_REFUSED", "GENERAL_DECLINE", "DECLINED_CHECK", "DCALL", "DCARDREFUSED"]),
    (Decline::CardNotSupported, &["UNAUTHORIZED_CARD", "SUSPENDED_ACCOUNT", "DCARDTYPE"]),
    (Decline::ExpiredCard, &["EXPIRED_CARD", "DCARDEXPIRED"]),
    (Decline::Fraud, &["BLACKLISTED_CUSTOMER", "DECISION_PROFILE_REJECT", "SCORE_EXCEEDS_THRESHOLD", "DREJECT", "DSCORE", "DBLACKLISTEDCUSTOMER"]),
    (Decline::IncorrectAddress, &["AVS_FAILED", "DAVSNO"]),
    (Decline::IncorrectCvv, &["CVN_NOT_MATCH", "INVALID_CVN", "CV_FAILED", "DCV"]),
    (Decline::IncorrectNumber, &["INVALID_ACCOUNT", "DINVALIDCARD"]),
    (Decline::IncorrectPin, &["ALLOWABLE_PIN_RETRIES_EXCEEDED"]),
    (Decline::InsufficientFunds, &["INSUFFICIENT_FUND"]),
    (Decline::IssuerUnavailable, &["ISSUER_UNAVAILABLE"]),
    (Decline::LimitExceeded, &["EXCEEDS_CREDIT_LIMIT"]),
    (Decline::LostOrStolen, &["STOLEN_LOST_CARD"]),
    (Decline::ProcessingError, &["PROCESSOR_ERROR"]),
    (Decline::Revoked, &["BLOCKED_BY_CARDHOLDER"]),
]);

#[cfg(test)]
mod tests {
    use super::DECLINES;

    /// Every reason of a decline that is documented.
    #[test]
    fn every_documented_reason_is_in_the_table() {
        for reason in [
            "ALLOWABLE_PIN_RETRIES_EXCEEDED",
            "AVS_FAILED",
            "BLACKLISTED_CUSTOMER",
            "BLOCKED_BY_CARDHOLDER",
            "CONSUMER_AUTHENTICATION_FAILED",
            "CONSUMER_AUTHENTICATION_REQUIRED",
            "CONTACT_PROCESSOR",
            "CVN_NOT_MATCH",
            "CV_FAILED",
            "DECISION_PROFILE_REJECT",
            "DECLINED_CHECK",
            "EXCEEDS_CREDIT_LIMIT",
            "EXPIRED_CARD",
            "GENERAL_DECLINE",
            "INSUFFICIENT_FUND",
            "INVALID_ACCOUNT",
            "INVALID_CVN",
            "ISSUER_UNAVAILABLE",
            "PAYMENT_REFUSED",
            "PROCESSOR_DECLINED",
            "PROCESSOR_ERROR",
            "SCORE_EXCEEDS_THRESHOLD",
            "STOLEN_LOST_CARD",
            "SUSPENDED_ACCOUNT",
            "UNAUTHORIZED_CARD",
        ] {
            assert!(DECLINES.find(reason).is_some(), "{reason}");
        }
        for other in ["SOK", "AUTHORIZED", "ESYSTEM", "ETIMEOUT", "DINVALIDDATA", "DDUPLICATE"] {
            assert_eq!(DECLINES.find(other), None, "{other}");
        }
    }
}
