//! What issuers and schemes say of a payment besides yes and no, in shared words.

use model::{AddressCheck, Pan};

/// How long a scheme's name for a payment may be, in characters. Visa's has 15, Mastercard's 9 and a
/// date of 4.
const NETWORK_ID_CHARS_MAX: usize = 64;
/// How many digits Visa's and American Express's have, which is as many as an Amex card has.
const NETWORK_ID_DIGITS: usize = 15;

/// Puts together what is known of the street and of the post code.
pub(crate) fn address(street: Option<bool>, post_code: Option<bool>) -> AddressCheck {
    match (street, post_code) {
        (Some(true), Some(true)) => AddressCheck::Match,
        (Some(true), _) => AddressCheck::StreetOnly,
        (_, Some(true)) => AddressCheck::PostCodeOnly,
        (Some(false), _) | (_, Some(false)) => AddressCheck::NoMatch,
        (None, None) => AddressCheck::NotChecked,
    }
}

/// A scheme's name for a payment, unless it could be a card number. Blanks at its end belong to it.
///
/// [`said`](crate::wire::said) would mask it: it is a long row of digits, as a card number is.
pub(crate) fn network_id(text: &str) -> Option<Box<str>> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_+/=. ".contains(&b);
    let well_formed =
        text.len() <= NETWORK_ID_CHARS_MAX && !text.trim().is_empty() && text.bytes().all(plain);
    (well_formed && !could_be_a_card(text)).then(|| text.into())
}

/// Of the names with 15 digits every tenth has a right check digit by chance; a card of so many
/// digits begins with 34 or 37.
fn could_be_a_card(text: &str) -> bool {
    let mut digits = String::with_capacity(text.len());
    digits.extend(text.chars().filter(char::is_ascii_digit));
    let amex = digits.starts_with("34") || digits.starts_with("37");
    Pan::is_shaped(&digits) && (digits.len() != NETWORK_ID_DIGITS || amex)
}

#[cfg(test)]
mod tests {
    use super::{address, network_id};
    use model::AddressCheck::{Match, NoMatch, NotChecked, PostCodeOnly, StreetOnly};

    #[test]
    fn a_name_of_a_scheme_is_no_card_number() {
        for (text, expected) in [
            ("104557651805572", true),
            ("MCC0ABCDE0615", true),
            ("060720116005060", true),
            ("MDS123456789  ", true),
            ("4242424242424242", false),
            ("4242-4242-4242-4242", false),
            ("378282246310005", false),
            ("", false),
            ("  ", false),
            ("a\nb", false),
            (&"1".repeat(65), false),
        ] {
            assert_eq!(network_id(text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_right_goes_before_what_is_not_known() {
        let (right, wrong) = (Some(true), Some(false));
        for (street, post_code, expected) in [
            (right, right, Match),
            (right, wrong, StreetOnly),
            (right, None, StreetOnly),
            (wrong, right, PostCodeOnly),
            (None, right, PostCodeOnly),
            (wrong, wrong, NoMatch),
            (wrong, None, NoMatch),
            (None, wrong, NoMatch),
            (None, None, NotChecked),
        ] {
            assert_eq!(address(street, post_code), expected, "{street:?} {post_code:?}");
        }
    }
}
