//! Authorize.Net's reason codes for why a payment was declined, or went wrong on its way.
//! <https://developer.authorize.net/api/reference/responseCodes.html>

use crate::Declines;
use model::Decline;

pub(super) const DECLINES: Declines = Declines::new(&[
    (Decline::CardDeclined, &["2", "3", "141", "145", "191"]),
    (Decline::CardNotSupported, &["17", "28"]),
    (Decline::ExpiredCard, &["7", "8", "201", "316", "317"]),
    (Decline::Fraud, &["41", "250", "251", "254"]),
    (Decline::IncorrectAddress, &["27", "45", "127"]),
    (Decline::IncorrectCvv, &["44", "65", "78", "165"]),
    (Decline::IncorrectNumber, &["6", "37", "200", "315"]),
    (Decline::LostOrStolen, &["4"]),
    (
        Decline::ProcessingError,
        &["19", "20", "21", "22", "23", "25", "26", "57", "58", "59", "60", "61", "62", "63"],
    ),
]);

#[cfg(test)]
mod tests {
    use super::DECLINES;

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
