//! Authorize.Net's reason codes for why a payment was declined, or went wrong on its way.
//! <https://developer.authorize.net/api/reference/responseCodes.html>

use crate::Declines;
use model::Decline;

pub(super) const DECLINES: Declines = Declines::new(&[
    (Decline::CardDeclined, &["2", "3", "141", "145", "191", "222"]),
    (Decline::CardNotSupported, &["17", "28", "128"]),
    (Decline::ExpiredCard, &["7", "8", "201", "316", "317"]),
    (Decline::Fraud, &["41", "250", "251", "254"]),
    (Decline::IncorrectAddress, &["27", "45", "127"]),
    (Decline::IncorrectCvv, &["44", "65", "78", "165"]),
    (Decline::IncorrectNumber, &["6", "37", "200", "211", "315"]),
    (Decline::IncorrectPin, &["215", "218"]),
    (Decline::InvalidAmount, &["49", "203"]),
    (Decline::LostOrStolen, &["4"]),
    (
        Decline::ProcessingError,
        &[
            "19", "20", "21", "22", "23", "25", "26", "57", "58", "59", "60", "61", "62", "63",
            "209", "214", "220", "223", "224", "261",
        ],
    ),
]);

/// The account is not set up for it, here or at the processor: nobody asked an issuer. It is said
/// with response code 2 or 3.
pub(super) fn is_configuration(code: &str) -> bool {
    matches!(
        code,
        "24" | "29" | "30" | "31" | "34" | "35" | "38" | "43" | "56" | "66" | "123" | "130" | "131"
            | "132" | "170" | "172" | "173" | "174" | "202" | "204" | "205" | "206" | "207"
            | "208" | "210" | "212" | "213" | "216" | "221" | "288" | "289"
    )
}

/// A value that was sent is not taken, which the processor may say as well as the gateway.
pub(super) fn is_malformed(code: &str) -> bool {
    matches!(
        code,
        "5" | "15" | "33" | "116" | "117" | "118" | "119" | "171" | "217" | "270" | "271" | "290"
            | "350"
    )
}

#[cfg(test)]
mod tests {
    use super::{DECLINES, is_configuration, is_malformed};

    /// The codes of one processor, all of which are declines.
    #[test]
    fn every_no_of_a_processor_has_one_meaning() {
        for code in 200..=224_u16 {
            let code = code.to_string();
            let told = [DECLINES.find(&code).is_some(), is_configuration(&code), is_malformed(&code)];
            let meanings = told.into_iter().filter(|told| *told).count();
            // A void of cash that matches nothing is nothing that is sent here.
            assert_eq!(meanings, usize::from(code != "219"), "{code}");
        }
    }

    /// What was approved and then failed may stand: its void did not succeed, or nobody knows.
    #[test]
    fn what_may_stand_is_not_refused() {
        for code in ["11", "36", "52", "104", "120", "121", "122", "152", "180", "181", "318"] {
            assert_eq!(DECLINES.find(code), None, "{code}");
            assert!(!is_configuration(code) && !is_malformed(code), "{code}");
        }
    }

    #[test]
    fn what_is_no_decline_is_not_in_the_table() {
        for other in ["1", "5", "11", "13", "16", "36", "50", "51", "54", "103", "193", "252"] {
            assert_eq!(DECLINES.find(other), None, "{other}");
        }
        for other in ["253", "289", "295", "310", "311", "318", "319", "E00027", "I00001"] {
            assert_eq!(DECLINES.find(other), None, "{other}");
        }
    }
}
