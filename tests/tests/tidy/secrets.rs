//! Where a secret is taken out of its type, and where a card in the clear is put together.

use super::rust::{has_reason_above, lines};
use super::tree::{File, Finding, Tree};

/// Crates that must not be able to put a card together: they pass on what the vault made.
const NEVER_MAKE_CARDS: &[&str] = &["conf", "filters", "proxy"];

/// Calls of `expose` outside of tests without a comment that says why this place must see it.
pub(crate) fn exposed_without_reason(tree: &Tree) -> Vec<Finding> {
    tree.ending(".rs").filter(|file| !is_test(file)).flat_map(unexplained).collect()
}

fn unexplained(file: &File) -> Vec<Finding> {
    let lines = lines(&file.text);
    let exposes = (0..).zip(&lines).filter(|(_, line)| !line.test && exposes(&line.code));
    exposes
        .filter(|(at, _)| !has_reason_above(&lines, *at))
        .map(|(at, _)| {
            file.finding(
                at.saturating_add(1),
                "`expose` without a comment above it: say why this place must see the secret",
            )
        })
        .collect()
}

fn exposes(code: &str) -> bool {
    code.contains(".expose()") || code.contains("::expose")
}

/// Cards that are put together, or card numbers that are read, where nobody should have one.
pub(crate) fn cards_made(tree: &Tree) -> Vec<Finding> {
    let rust = tree.ending(".rs").filter(|file| !is_test(file));
    rust.flat_map(|file| {
        let made = (1..).zip(lines(&file.text)).filter(|(_, line)| !line.test);
        made.filter_map(|(at, line)| Some(file.finding(at, made_here(file.top(), &line.code)?)))
            .collect::<Vec<_>>()
    })
    .collect()
}

fn made_here(top: &str, code: &str) -> Option<&'static str> {
    if NEVER_MAKE_CARDS.contains(&top) && builds_card(code) {
        return Some("only the vault makes a `Card`: ask it to open the operation");
    }
    let reads = top == "providers" && code.contains("Pan::parse");
    reads.then_some("a provider takes a card and never reads one from outside")
}

/// Whether a `Card { … }` stands in the line that is not a pattern.
fn builds_card(code: &str) -> bool {
    code.match_indices("Card {").any(|(at, _)| {
        let before = code.get(..at).unwrap_or_default();
        let path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
        let name = before.ends_with("::") || !before.ends_with(path);
        let pattern = before.trim_end_matches(path).trim_end().ends_with("let");
        name && !pattern && !code.contains("..")
    })
}

/// Whether all of a file is for tests.
fn is_test(file: &File) -> bool {
    file.top() == "tests" || file.path.contains("/tests/") || file.path.ends_with("/tests.rs")
}

#[cfg(test)]
mod tests {
    use super::{cards_made, exposed_without_reason};
    use crate::tidy::tree::Tree;

    fn unexplained(path: &str, text: &str) -> usize {
        exposed_without_reason(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn an_expose_without_a_reason_is_found() {
        assert_eq!(unexplained("proxy/src/a.rs", "fn a() {\n    b.expose();\n}"), 1);
        assert_eq!(unexplained("proxy/src/a.rs", "a.map(Secret::expose)"), 1);
        assert_eq!(unexplained("proxy/src/a.rs", "// why\na.map(Secret::expose)"), 0);
        assert_eq!(unexplained("model/src/a.rs", "pub fn expose(&self) -> &str {"), 0);
        assert_eq!(unexplained("model/src/a.rs", "let a = \".expose()\"; // .expose()"), 0);
    }

    #[test]
    fn tests_may_expose() {
        let text = "#[cfg(test)]\nmod tests {\n    fn a() {\n        b.expose();\n    }\n}";
        assert_eq!(unexplained("proxy/src/a.rs", text), 0);
        assert_eq!(unexplained("vault/tests/a.rs", "b.expose();"), 0);
        assert_eq!(unexplained("tests/src/a.rs", "b.expose();"), 0);
    }

    #[test]
    fn a_card_that_is_made_outside_of_the_vault_is_found() {
        let made = |path, text| cards_made(&Tree::of(&[(path, text)])).len();
        assert_eq!(made("proxy/src/a.rs", "let a = 1;\nb(Card { pan, cvv })"), 1);
        assert_eq!(made("proxy/src/a.rs", "b(model::Card {"), 1);
        assert_eq!(made("filters/src/a.rs", "b(Card { pan })"), 1);
        assert_eq!(made("proxy/src/a.rs", "let card = Card { pan };"), 1);
        assert_eq!(made("proxy/src/a.rs", "let model::Card { pan, cvv } = card;"), 0);
        assert_eq!(made("proxy/src/a.rs", "matches!(card, Card { cvv: None, .. })"), 0);
        assert_eq!(made("filters/src/a.rs", "b(FakeCard { pan })"), 0);
        assert_eq!(made("vault/src/a.rs", "b(Card { pan })"), 0);
        assert_eq!(made("providers/src/a.rs", "Pan::parse(text)"), 1);
        assert_eq!(made("filters/src/a.rs", "Pan::parse(text)"), 0);
    }
}
