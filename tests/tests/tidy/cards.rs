//! Card numbers in the tree: only those that a provider publishes for tests.

use super::tree::{File, Finding, Tree};
use model::card::luhn;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Numbers that anybody may know, with the place that says so. A number is added here together with
/// its source, and nowhere else.
const PUBLIC: &[(&str, &str)] = &[
    ("4242424242424242", STRIPE),
    ("4000056655665556", STRIPE),
    ("5555555555554444", STRIPE),
    ("2223003122003222", STRIPE),
    ("5200828282828210", STRIPE),
    ("5105105105105100", STRIPE),
    ("378282246310005", STRIPE),
    ("371449635398431", STRIPE),
    ("6011111111111117", STRIPE),
    ("6011000990139424", STRIPE),
    ("3056930009020004", STRIPE),
    ("36227206271667", STRIPE),
    ("3566002020360505", STRIPE),
    ("6200000000000005", STRIPE),
    ("4000000000000002", STRIPE),
    ("4000000000009995", STRIPE),
    ("4000000000009987", STRIPE),
    ("4000000000009979", STRIPE),
    ("4000000000000069", STRIPE),
    ("4000000000000127", STRIPE),
    ("4000000000000101", STRIPE),
    ("4000000000000119", STRIPE),
    ("4000000000006975", STRIPE),
    ("4000000000000341", STRIPE),
    ("4000002500003155", STRIPE),
    ("4000002760003184", STRIPE),
    ("4000000000003220", STRIPE),
    ("4000000000000259", STRIPE),
    ("4100000000000019", STRIPE),
    ("4111111111111111", ADYEN),
    ("4444333322221111", ADYEN),
    ("5555444433331111", ADYEN),
    ("5454545454545454", ADYEN),
    ("4917610000000000", ADYEN),
    ("4212345678901237", ADYEN),
    ("370000000000002", ADYEN),
];

const STRIPE: &str = "https://docs.stripe.com/testing";
const ADYEN: &str =
    "https://docs.adyen.com/development-resources/testing-and-compliance/test-card-numbers";

/// How many digits a number has that is looked at.
const DIGITS: RangeInclusive<usize> = 13..=19;

/// Files whose long numbers are not cards, and why.
const NOT_READ: &[(&str, &str)] = &[
    ("Cargo.lock", "checksums, written by cargo"),
    ("vault/tests/vectors/nist/gcmDecrypt256.rsp", "vectors in hex, published by NIST"),
    ("vault/tests/vectors/nist/gcmEncryptExtIV256.rsp", "vectors in hex, published by NIST"),
];

/// Card numbers that are not on the list of public ones.
pub(crate) fn unlisted(tree: &Tree) -> Vec<Finding> {
    let read = tree.files.iter().filter(|f| !NOT_READ.iter().any(|(path, _)| *path == f.path));
    read.flat_map(unlisted_in).collect()
}

/// Names the last four digits only: a finding is printed.
fn unlisted_in(file: &File) -> Vec<Finding> {
    let numbers = file
        .lines()
        .flat_map(|(line, text)| candidates(text).into_iter().map(move |number| (line, number)));
    numbers
        .filter(|(_, number)| is_card(number) && !is_public(number))
        .map(|(line, number)| {
            let last = number.get(number.len().saturating_sub(4)..).unwrap_or_default();
            file.finding(line, format!("…{last} could be a card: use a number of tidy/cards.rs"))
        })
        .collect()
}

/// Major industry identifier 0 is not for cards of payment schemes.
fn is_card(digits: &str) -> bool {
    DIGITS.contains(&digits.len()) && !digits.starts_with('0') && luhn(digits.as_bytes())
}

fn is_public(digits: &str) -> bool {
    PUBLIC.iter().any(|(number, _)| *number == digits)
}

/// The runs of digits in a line: unbroken, or in groups as cards are embossed.
fn candidates(text: &str) -> BTreeSet<String> {
    let unbroken = text.split(|c: char| !c.is_ascii_digit()).filter(|run| is_long(run));
    unbroken
        .map(str::to_owned)
        .chain([' ', '-'].iter().flat_map(|gap| grouped(text, *gap)))
        .collect()
}

/// Three to five groups of three to six digits, joined.
fn grouped(text: &str, gap: char) -> Vec<String> {
    let pieces = text.split(move |c: char| !c.is_ascii_digit() && c != gap);
    let pieces = pieces.filter(|piece| is_long(piece));
    pieces
        .flat_map(|piece| {
            let groups: Vec<&str> = piece.split(gap).collect();
            (3..=5)
                .flat_map(|n| groups.windows(n).filter_map(joined).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Whether it has room for the shortest card number.
fn is_long(text: &str) -> bool {
    text.len() >= *DIGITS.start()
}

fn joined(groups: &[&str]) -> Option<String> {
    groups.iter().all(|group| matches!(group.len(), 3..=6)).then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::{PUBLIC, is_card, unlisted};
    use crate::tidy::tree::Tree;
    use model::card::luhn;

    /// A number that is on no list, made here so that the tree does not hold it.
    fn planted(start: &str) -> String {
        let digits = ('0'..='9').map(|check| format!("{start}{check}"));
        digits.into_iter().find(|number| luhn(number.as_bytes())).unwrap()
    }

    #[test]
    fn a_planted_number_is_found_in_each_of_its_forms() {
        let number = planted("453998765432101");
        let (a, rest) = number.split_at(4);
        let (b, rest) = rest.split_at(4);
        let (c, d) = rest.split_at(4);
        for text in [
            number.clone(),
            format!("pan={number}&"),
            format!("\\n{number}x"),
            format!("{a} {b} {c} {d}"),
            format!("on 2026 {a}-{b}-{c}-{d}."),
            planted("453998765432"),
            planted("453998765432101234"),
        ] {
            let findings = unlisted(&Tree::of(&[("a.md", &text)]));
            assert_eq!(findings.len(), 1, "{text}");
            assert!(!findings[0].to_string().contains(&number));
        }
        assert!(unlisted(&Tree::of(&[("Cargo.lock", &number)])).is_empty());
    }

    #[test]
    fn what_is_no_card_is_left_alone() {
        for text in ["4111111111111111", "0000000000000000", "4111111111111112", "1 2 3 4", "4111"]
        {
            assert!(unlisted(&Tree::of(&[("a.rs", text)])).is_empty(), "{text}");
        }
    }

    #[test]
    fn the_list_holds_cards_each_once() {
        assert!(PUBLIC.iter().all(|(number, source)| is_card(number) && source.contains("://")));
        let numbers: std::collections::BTreeSet<_> = PUBLIC.iter().map(|(n, _)| n).collect();
        assert_eq!(numbers.len(), PUBLIC.len());
    }
}
