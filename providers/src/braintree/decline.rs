//! Braintree's reasons for why a payment was declined: the processor's codes, the gateway's own
//! words, and what is wrong with a card before anybody is asked.
//! <https://developer.paypal.com/braintree/docs/reference/general/processor-responses/authorization-responses>

use crate::Declines;
use model::Decline;

pub(super) const DECLINES: Declines = Declines::new(&[
    (Decline::AuthenticationRequired, &["2099", "THREE_D_SECURE"]),
    (Decline::CardDeclined, &["2000", "2011", "2016", "2022", "2038", "2046"]),
    (Decline::CardNotSupported, &["2015", "2019", "2024", "2057", "81703", "PAYMENT_METHOD_BLOCKED"]),
    (Decline::ExpiredCard, &["2004", "2006", "81710", "81711", "81712", "81713"]),
    (Decline::Fraud, &["2014", "2021", "FRAUD", "RISK_THRESHOLD"]),
    (Decline::IncorrectAddress, &["2059", "2060", "AVS", "AVS_AND_CVV"]),
    (Decline::IncorrectCvv, &["2010", "81707", "CVV"]),
    (Decline::IncorrectNumber, &["2005", "2007", "2008", "2009", "81715", "81716", "81717"]),
    (Decline::InsufficientFunds, &["2001"]),
    (Decline::LimitExceeded, &["2002", "2003", "EXCESSIVE_RETRY"]),
    (Decline::LostOrStolen, &["2012", "2013", "2047", "2053"]),
    (Decline::ProcessingError, &["3000", "TOKEN_ISSUANCE"]),
    (Decline::Revoked, &["2017"]),
]);

#[cfg(test)]
mod tests {
    use super::DECLINES;

    /// The codes that processors answer with most, and what is no decline.
    #[test]
    fn every_documented_reason_is_in_the_table_and_no_approval_is() {
        let codes = [2000..=2017, 2019..=2019, 2021..=2022, 2024..=2024, 2046..=2047];
        for code in codes.into_iter().flatten().chain([2038, 2053, 2057, 2059, 2060, 2099, 3000]) {
            assert!(DECLINES.find(&code.to_string()).is_some(), "{code}");
        }
        for code in ["1000", "1001", "1002", "1003", "1004", "91506", "DUPLICATE"] {
            assert_eq!(DECLINES.find(code), None, "{code}");
        }
    }
}
