//! Braintree's reasons for why a payment was declined: the processor's codes, the gateway's own
//! words, and what is wrong with a card before anybody is asked.
//! <https://developer.paypal.com/braintree/docs/reference/general/processor-responses/authorization-responses>

use crate::{Declines, declines};
use model::{Decline, Outcome, Report};

/// A no that is for good, of the values of `declineType`.
const HARD: &str = "HARD";

/// The scheme's advice, or that the no is for good, which goes first where it alone says to stop.
pub(super) fn advice<'a>(own: Option<&'a str>, scheme: Option<&'a str>) -> Option<&'a str> {
    let own = own.filter(|word| *word == HARD);
    scheme.filter(|_| declines::says_stop(scheme) || own.is_none()).or(own)
}

/// Whether the advice is not to try again. A no that is for good is so for what was asked: the same
/// with an authentication is another thing.
pub(super) fn says_stop(report: &Report) -> bool {
    let advice = report.sub_description.as_deref();
    let is_other = report.outcome == Outcome::Declined(Decline::AuthenticationRequired);
    declines::says_stop(advice) || advice == Some(HARD) && !is_other
}

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
    use super::{DECLINES, advice, says_stop};
    use model::{Decline, Outcome, Report};

    #[test]
    fn an_advice_to_stop_goes_first() {
        for (own, scheme, expected) in [
            (None, None, None),
            (Some("SOFT"), None, None),
            (Some("HARD"), None, Some("HARD")),
            (Some("HARD"), Some("03"), Some("03")),
            (Some("HARD"), Some("24"), Some("HARD")),
            (Some("SOFT"), Some("24"), Some("24")),
            (None, Some("21"), Some("21")),
        ] {
            assert_eq!(advice(own, scheme), expected, "{own:?} {scheme:?}");
        }
    }

    #[test]
    fn a_no_for_good_is_not_one_to_an_authentication() {
        use Decline::{AuthenticationRequired, LimitExceeded};
        for (why, advice, expected) in [
            (LimitExceeded, "HARD", true),
            (LimitExceeded, "03", true),
            (LimitExceeded, "24", false),
            (LimitExceeded, "Hard to say", false),
            (AuthenticationRequired, "HARD", false),
            (AuthenticationRequired, "03", true),
        ] {
            let bare = Report::bare(Outcome::Declined(why));
            let report = Report { sub_description: Some(advice.into()), ..bare };
            assert_eq!(says_stop(&report), expected, "{why:?} {advice}");
        }
    }

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
