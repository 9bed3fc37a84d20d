//! Checks of the tree itself: what the compiler and clippy cannot see, and a review would forget.
//!
//! Each check is a function from files to findings, with a test beside it that plants a violation
//! and sees it found. This file runs every one of them over the real tree. A finding says what to
//! do instead; where the rule is wrong, change the rule here, in a commit that says why.

/// The checks live in the folder of the same name.
mod tidy {
    #[cfg(test)]
    mod abilities;
    pub(crate) mod cards;
    pub(crate) mod dependencies;
    pub(crate) mod docs;
    pub(crate) mod rust;
    pub(crate) mod secrets;
    pub(crate) mod source;
    pub(crate) mod tree;
}

use tidy::tree::{Finding, Tree};
use tidy::{cards, dependencies, docs, secrets, source};

/// Fails with the list, one finding a line.
fn expect_none(findings: &[Finding]) {
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} finding(s):\n{}", list.len(), list.join("\n"));
}

#[test]
fn dependencies_point_as_the_drawing_says() {
    let members = dependencies::members().unwrap();
    expect_none(&dependencies::edges(&members));
    expect_none(&dependencies::owners(&members));
    expect_none(&dependencies::closed(&members));
}

#[test]
fn card_numbers_in_the_tree_are_public_test_numbers() {
    expect_none(&cards::unlisted(Tree::here()));
}

#[test]
fn every_expose_has_its_reason_above_it() {
    expect_none(&secrets::exposed_without_reason(Tree::here()));
}

#[test]
fn only_the_vault_makes_a_card() {
    expect_none(&secrets::cards_made(Tree::here()));
}

#[test]
fn unsafe_code_is_where_the_list_says() {
    expect_none(&source::unsafe_code(Tree::here()));
}

#[test]
fn words_and_providers_are_pure() {
    expect_none(&source::impure(Tree::here()));
}

#[test]
fn nothing_in_the_tree_has_a_banned_word_or_name() {
    expect_none(&source::banned_words(Tree::here()));
    expect_none(&source::banned_names(Tree::here()));
    expect_none(&source::machine_paths(Tree::here()));
}

#[test]
fn a_long_file_says_why() {
    expect_none(&source::too_long(Tree::here()));
}

#[test]
fn the_front_pages_are_short() {
    expect_none(&docs::too_long(Tree::here()));
}

#[test]
fn links_and_what_pages_name_exist() {
    expect_none(&docs::broken_links(Tree::here()));
    expect_none(&docs::missing_tests(Tree::here()));
    expect_none(&docs::missing_paths(Tree::here()));
}

#[test]
fn the_page_of_metrics_is_true() {
    expect_none(&docs::metrics_apart(Tree::here()));
}

#[test]
fn every_page_is_in_the_index() {
    expect_none(&docs::unlisted(Tree::here()));
}
