//! Adyen's codes for why an issuer said no: the values of `refusalReasonCode`.
//! <https://docs.adyen.com/development-resources/refusal-reasons>

use crate::Declines;
use model::Decline;

pub(super) const DECLINES: Declines = Declines::new(&[
    (Decline::AuthenticationRequired, &["11", "38", "39", "42"]),
    (Decline::CardDeclined, &["0", "2", "3", "15", "16", "27", "37", "46"]),
    (Decline::CardNotSupported, &["5", "10", "23", "25", "34", "35"]),
    (Decline::ExpiredCard, &["6"]),
    (Decline::Fraud, &["14", "20", "22", "31"]),
    (Decline::IncorrectAddress, &["32"]),
    (Decline::IncorrectCvv, &["24"]),
    (Decline::IncorrectNumber, &["8"]),
    (Decline::IncorrectPin, &["17", "18", "19", "33", "36", "41"]),
    (Decline::InsufficientFunds, &["12"]),
    (Decline::InvalidAmount, &["7"]),
    (Decline::IssuerUnavailable, &["9"]),
    (Decline::LimitExceeded, &["28", "29"]),
    (Decline::ProcessingError, &["4", "21", "40"]),
    (Decline::Revoked, &["26"]),
]);

#[cfg(test)]
mod tests {
    use super::DECLINES;
    use model::Decline;

    /// Every code of Adyen's list, with the reason as it is documented.
    #[test]
    fn every_documented_code_is_in_the_table() {
        for (code, reason, expected) in [
            (0, "unknown", Decline::CardDeclined),
            (2, "Refused", Decline::CardDeclined),
            (3, "Referral", Decline::CardDeclined),
            (4, "Acquirer Error", Decline::ProcessingError),
            (5, "Blocked Card", Decline::CardNotSupported),
            (6, "Expired Card", Decline::ExpiredCard),
            (7, "Invalid Amount", Decline::InvalidAmount),
            (8, "Invalid Card Number", Decline::IncorrectNumber),
            (9, "Issuer Unavailable", Decline::IssuerUnavailable),
            (10, "Not supported", Decline::CardNotSupported),
            (11, "3D Not Authenticated", Decline::AuthenticationRequired),
            (12, "Not enough balance", Decline::InsufficientFunds),
            (14, "Acquirer Fraud", Decline::Fraud),
            (15, "Cancelled", Decline::CardDeclined),
            (16, "Shopper Cancelled", Decline::CardDeclined),
            (17, "Invalid Pin", Decline::IncorrectPin),
            (18, "Pin tries exceeded", Decline::IncorrectPin),
            (19, "Pin validation not possible", Decline::IncorrectPin),
            (20, "FRAUD", Decline::Fraud),
            (21, "Not Submitted", Decline::ProcessingError),
            (22, "FRAUD-CANCELLED", Decline::Fraud),
            (23, "Transaction Not Permitted", Decline::CardNotSupported),
            (24, "CVC Declined", Decline::IncorrectCvv),
            (25, "Restricted Card", Decline::CardNotSupported),
            (26, "Revocation Of Auth", Decline::Revoked),
            (27, "Declined Non Generic", Decline::CardDeclined),
            (28, "Withdrawal amount exceeded", Decline::LimitExceeded),
            (29, "Withdrawal count exceeded", Decline::LimitExceeded),
            (31, "Issuer Suspected Fraud", Decline::Fraud),
            (32, "AVS Declined", Decline::IncorrectAddress),
            (33, "Card requires online pin", Decline::IncorrectPin),
            (34, "No checking account", Decline::CardNotSupported),
            (35, "No savings account", Decline::CardNotSupported),
            (36, "Mobile PIN required", Decline::IncorrectPin),
            (37, "Contactless fallback", Decline::CardDeclined),
            (38, "Authentication required", Decline::AuthenticationRequired),
            (39, "RReq not received from DS", Decline::AuthenticationRequired),
            (40, "Current AID is in penalty box", Decline::ProcessingError),
            (41, "CVM required", Decline::IncorrectPin),
            (42, "3DS Authentication Error", Decline::AuthenticationRequired),
            (46, "blocked against retries", Decline::CardDeclined),
        ] {
            assert_eq!(DECLINES.find(&code.to_string()), Some(expected), "{code} {reason}");
        }
        for code in ["", "1", "13", "30", "47", "02", "Refused", " 2"] {
            assert_eq!(DECLINES.find(code), None, "{code}");
        }
    }
}
