//! Stripe's words for why an issuer said no: those of `decline_code` and, where there is none, of
//! `code`. <https://docs.stripe.com/declines/codes>

use crate::{Declines, declines};
use model::Decline;

/// Stripe's own advice not to try again.
const STOP: &str = "do_not_try_again";

/// Whether an advice is not to try again: Stripe's own, or the scheme's.
pub(super) fn says_stop(advice: Option<&str>) -> bool {
    advice == Some(STOP) || declines::says_stop(advice)
}

/// Stripe's own advice, or else the scheme's, which goes first where it alone says to stop.
pub(super) fn advice<'a>(own: Option<&'a str>, scheme: Option<&'a str>) -> Option<&'a str> {
    let stop = scheme.filter(|_| says_stop(scheme) && !says_stop(own));
    stop.or(own).or(scheme)
}

pub(super) const DECLINES: Declines = Declines::new(&[
    (
        Decline::AuthenticationRequired,
        &[
            "authentication_required",
            "authentication_not_handled",
            "mobile_device_authentication_required",
            "payment_intent_authentication_failure",
            "payment_intent_action_required",
        ],
    ),
    (
        Decline::CardDeclined,
        &[
            "card_declined",
            "generic_decline",
            "do_not_honor",
            "call_issuer",
            "do_not_try_again",
            "duplicate_transaction",
            "no_action_taken",
            "security_violation",
            "testmode_decline",
        ],
    ),
    (
        Decline::CardNotSupported,
        &[
            "card_not_supported",
            "currency_not_supported",
            "invalid_account",
            "new_account_information_available",
            "not_permitted",
            "restricted_card",
            "service_not_allowed",
            "transaction_not_allowed",
        ],
    ),
    (Decline::ExpiredCard, &["expired_card", "invalid_expiry_month", "invalid_expiry_year"]),
    (Decline::Fraud, &["fraudulent", "merchant_blacklist"]),
    (Decline::IncorrectAddress, &["incorrect_zip", "incorrect_postal_code", "incorrect_address"]),
    (Decline::IncorrectCvv, &["incorrect_cvc", "invalid_cvc"]),
    (Decline::IncorrectNumber, &["incorrect_number", "invalid_number"]),
    (
        Decline::IncorrectPin,
        &[
            "incorrect_pin",
            "invalid_pin",
            "offline_pin_required",
            "online_or_offline_pin_required",
            "pin_try_exceeded",
        ],
    ),
    (Decline::InsufficientFunds, &["insufficient_funds"]),
    (Decline::InvalidAmount, &["invalid_amount"]),
    (Decline::IssuerUnavailable, &["issuer_not_available"]),
    (
        Decline::LimitExceeded,
        &[
            "card_velocity_exceeded",
            "withdrawal_count_limit_exceeded",
            "card_decline_rate_limit_exceeded",
        ],
    ),
    (Decline::LostOrStolen, &["lost_card", "stolen_card", "pickup_card"]),
    (
        Decline::ProcessingError,
        &[
            "processing_error",
            "try_again_later",
            "reenter_transaction",
            "approve_with_id",
        ],
    ),
    (
        Decline::Revoked,
        &[
            "revocation_of_authorization",
            "revocation_of_all_authorizations",
            "stop_payment_order",
        ],
    ),
]);

#[cfg(test)]
mod tests {
    use super::{DECLINES, advice};
    use model::Decline;

    #[test]
    fn an_advice_to_stop_goes_first() {
        for (own, scheme, expected) in [
            (Some("do_not_try_again"), Some("03"), Some("do_not_try_again")),
            (Some("try_again_later"), Some("03"), Some("03")),
            (Some("try_again_later"), Some("02"), Some("try_again_later")),
            (None, Some("02"), Some("02")),
            (Some("confirm_card_data"), None, Some("confirm_card_data")),
            (None, None, None),
        ] {
            assert_eq!(advice(own, scheme), expected, "{own:?} {scheme:?}");
        }
    }

    /// Every code of Stripe's list, by the group that it belongs to.
    #[test]
    fn every_documented_code_is_in_the_table() {
        for (codes, expected) in [
            ("insufficient_funds", Decline::InsufficientFunds),
            (
                "card_velocity_exceeded withdrawal_count_limit_exceeded \
                 card_decline_rate_limit_exceeded",
                Decline::LimitExceeded,
            ),
            ("invalid_amount", Decline::InvalidAmount),
            ("issuer_not_available", Decline::IssuerUnavailable),
            (
                "try_again_later processing_error reenter_transaction approve_with_id",
                Decline::ProcessingError,
            ),
            ("incorrect_number invalid_number", Decline::IncorrectNumber),
            ("incorrect_cvc invalid_cvc", Decline::IncorrectCvv),
            ("expired_card invalid_expiry_month invalid_expiry_year", Decline::ExpiredCard),
            ("incorrect_zip incorrect_address", Decline::IncorrectAddress),
            (
                "authentication_required authentication_not_handled \
                 mobile_device_authentication_required",
                Decline::AuthenticationRequired,
            ),
            (
                "incorrect_pin invalid_pin offline_pin_required online_or_offline_pin_required \
                 pin_try_exceeded",
                Decline::IncorrectPin,
            ),
            ("lost_card stolen_card pickup_card", Decline::LostOrStolen),
            ("fraudulent merchant_blacklist", Decline::Fraud),
            (
                "revocation_of_authorization revocation_of_all_authorizations stop_payment_order",
                Decline::Revoked,
            ),
            (
                "restricted_card card_not_supported currency_not_supported invalid_account \
                 new_account_information_available not_permitted service_not_allowed \
                 transaction_not_allowed",
                Decline::CardNotSupported,
            ),
            (
                "generic_decline do_not_honor call_issuer do_not_try_again duplicate_transaction \
                 no_action_taken security_violation testmode_decline",
                Decline::CardDeclined,
            ),
        ] {
            for code in codes.split_whitespace() {
                assert_eq!(DECLINES.find(code), Some(expected), "{code}");
            }
        }
        for code in ["", "approved", "succeeded", "a_word_of_tomorrow", "LOST_CARD"] {
            assert_eq!(DECLINES.find(code), None, "{code}");
        }
    }
}
