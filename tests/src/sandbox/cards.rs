//! The published test numbers, and what each of them does.

use model::Pan;

/// A test number.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestCard {
    pub(super) number: &'static str,
    /// In Stripe's word.
    pub(super) brand: &'static str,
    pub(super) script: Script,
}

/// What becomes of a payment with a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Approve,
    /// Adyen sends the cardholder away to be authenticated, Stripe approves.
    Challenge(Challenge),
    /// Stripe declines with this code and decline code, Adyen approves.
    Decline(&'static str, &'static str),
    /// Stripe wants the cardholder to be authenticated, Adyen approves.
    Authenticate,
}

/// How a cardholder is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Native,
    Redirect,
}

const fn card(number: &'static str, brand: &'static str, script: Script) -> TestCard {
    TestCard { number, brand, script }
}

const fn declined(number: &'static str, code: &'static str, decline: &'static str) -> TestCard {
    card(number, "visa", Script::Decline(code, decline))
}

/// From the providers' pages on testing. Any other number is not a test card.
pub(super) const TEST_CARDS: &[TestCard] = &[
    card("4242424242424242", "visa", Script::Approve),
    card("4111111111111111", "visa", Script::Approve),
    card("4444333322221111", "visa", Script::Approve),
    card("4000056655665556", "visa", Script::Approve),
    card("5555555555554444", "mastercard", Script::Approve),
    card("5555444433331111", "mastercard", Script::Approve),
    card("2223003122003222", "mastercard", Script::Approve),
    card("5200828282828210", "mastercard", Script::Approve),
    card("5105105105105100", "mastercard", Script::Approve),
    card("378282246310005", "amex", Script::Approve),
    card("371449635398431", "amex", Script::Approve),
    card("370000000000002", "amex", Script::Approve),
    card("6011111111111117", "discover", Script::Approve),
    card("6011000990139424", "discover", Script::Approve),
    card("3056930009020004", "diners", Script::Approve),
    card("36227206271667", "diners", Script::Approve),
    card("3566002020360505", "jcb", Script::Approve),
    card("6200000000000005", "unionpay", Script::Approve),
    // Disputed weeks after it was approved.
    card("4000000000000259", "visa", Script::Approve),
    declined("4000000000000002", "card_declined", "generic_decline"),
    declined("4000000000009995", "card_declined", "insufficient_funds"),
    declined("4000000000009987", "card_declined", "lost_card"),
    declined("4000000000009979", "card_declined", "stolen_card"),
    declined("4000000000000069", "expired_card", "expired_card"),
    declined("4000000000000127", "incorrect_cvc", "incorrect_cvc"),
    declined("4000000000000101", "incorrect_cvc", "incorrect_cvc"),
    declined("4000000000000119", "processing_error", "processing_error"),
    declined("4000000000006975", "card_declined", "card_velocity_exceeded"),
    // Can be attached to a customer, and fails when charged.
    declined("4000000000000341", "card_declined", "generic_decline"),
    // Blocked by the risk system.
    declined("4100000000000019", "card_declined", "fraudulent"),
    card("4000002500003155", "visa", Script::Authenticate),
    card("4000002760003184", "visa", Script::Authenticate),
    card("4000000000003220", "visa", Script::Authenticate),
    card("4212345678901237", "visa", Script::Challenge(Challenge::Redirect)),
    card("4917610000000000", "visa", Script::Challenge(Challenge::Native)),
    card("5454545454545454", "mastercard", Script::Challenge(Challenge::Native)),
];

/// The test card with this number.
pub(super) fn test_card(number: &str) -> Option<&'static TestCard> {
    TEST_CARDS.iter().find(|card| card.number == number)
}

/// Whether the text is 12 to 19 digits with a right check digit.
pub(super) fn is_number(text: &str) -> bool {
    Pan::parse(text).is_ok()
}

/// The number as it may be kept: whole when it is a test card, else the first six and last four.
pub(super) fn kept(number: &str) -> String {
    if test_card(number).is_some() {
        return number.to_owned();
    }
    let last = number.len().saturating_sub(4);
    format!("{}…{}", number.get(..6).unwrap_or_default(), number.get(last..).unwrap_or_default())
}

/// The last four digits.
pub(super) fn last_four(number: &str) -> &str {
    number.get(number.len().saturating_sub(4)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{TEST_CARDS, is_number, kept, test_card};

    #[test]
    fn every_test_number_is_a_number_and_stands_once() {
        for card in TEST_CARDS {
            assert!(is_number(card.number), "{}", card.number);
            assert_eq!(TEST_CARDS.iter().filter(|other| other.number == card.number).count(), 1);
        }
        assert!(!is_number("4242424242424241"));
    }

    #[test]
    fn only_test_numbers_are_kept_whole() {
        assert_eq!(kept("4242424242424242"), "4242424242424242");
        // Well-formed, and nobody's test card: written in two parts so that it is no card here.
        let number = ["42424242", "00000000"].concat();
        assert!(is_number(&number) && test_card(&number).is_none());
        assert_eq!(kept(&number), "424242…0000");
        assert_eq!(kept("4"), "…4");
    }
}
