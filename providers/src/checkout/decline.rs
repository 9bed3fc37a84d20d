//! Checkout.com's codes for why a payment was declined: the values of `response_code`.
//! <https://www.checkout.com/docs/developer-resources/codes/api-response-codes>

use crate::Declines;
use model::Decline;

pub(super) const DECLINES: Declines = Declines::new(&[
    (Decline::AuthenticationRequired, &["20150", "20151", "20152", "20153", "20154", "20155"]),
    (Decline::CardDeclined, &["20001", "20002", "20005", "20017", "20093", "20094", "20179", "30017", "30018", "30022", "30046"]),
    (Decline::CardNotSupported, &["20003", "20012", "20046", "20057", "20062", "20063", "20078", "20182", "30015", "30019", "30020", "30044", "30045",]),
    (Decline::ExpiredCard, &["20054", "20100", "30033"]),
    (Decline::Fraud, &["20059", "20183", "30034", "40101", "40201", "40202", "40203", "40204", "40205"]),
    (Decline::IncorrectAddress, &["40108", "40111"]),
    (Decline::IncorrectCvv, &["20082", "20087", "40104"]),
    (Decline::IncorrectNumber, &["20014", "30016", "30021"]),
    (Decline::IncorrectPin, &["20055", "20075"]),
    (Decline::InsufficientFunds, &["20051"]),
    (Decline::InvalidAmount, &["20013"]),
    (Decline::IssuerUnavailable, &["20068", "20091"]),
    (Decline::LimitExceeded, &["20061", "20065"]),
    (Decline::LostOrStolen, &["30004", "30007", "30041", "30043"]),
    (Decline::ProcessingError, &["20006", "20088", "20096"]),
]);

#[cfg(test)]
mod tests {
    use super::DECLINES;
    use model::Decline;

    /// The codes whose text is documented.
    #[test]
    fn every_documented_code_is_in_the_table() {
        for (code, text, expected) in [
            ("20005", "Declined - Do Not Honour", Decline::CardDeclined),
            ("20013", "Invalid amount", Decline::InvalidAmount),
            ("20014", "Invalid card number", Decline::IncorrectNumber),
            ("20051", "Insufficient funds", Decline::InsufficientFunds),
            ("20054", "Expired card", Decline::ExpiredCard),
            ("20055", "Incorrect PIN", Decline::IncorrectPin),
            ("20057", "Transaction not permitted to cardholder", Decline::CardNotSupported),
            ("20059", "Suspected fraud", Decline::Fraud),
            ("20061", "Exceeds withdrawal amount limits", Decline::LimitExceeded),
            ("20062", "Restricted card", Decline::CardNotSupported),
            ("20065", "Exceeds withdrawal frequency limit", Decline::LimitExceeded),
            ("20087", "Invalid CVV", Decline::IncorrectCvv),
            ("20091", "Issuer unavailable", Decline::IssuerUnavailable),
            ("20096", "System malfunction", Decline::ProcessingError),
            ("20154", "Authentication required", Decline::AuthenticationRequired),
            ("30041", "Lost card", Decline::LostOrStolen),
            ("30043", "Stolen card", Decline::LostOrStolen),
            ("40108", "Postcode check failed", Decline::IncorrectAddress),
            ("40201", "On a list of the merchant's", Decline::Fraud),
            ("40202", "On another list", Decline::Fraud),
            ("40203", "On another list", Decline::Fraud),
            ("40204", "On another list", Decline::Fraud),
            ("40205", "On another list", Decline::Fraud),
        ] {
            assert_eq!(DECLINES.find(code), Some(expected), "{code} {text}");
        }
        for approved in ["10000", "10008", "10010", "10100", "10200"] {
            assert_eq!(DECLINES.find(approved), None, "{approved}");
        }
    }
}
