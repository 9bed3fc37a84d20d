//! Inquiries that take more than one question.

use crate::Found;
use crate::wire::Request;
use std::collections::VecDeque;

/// How many questions one inquiry may take.
pub const QUESTIONS_MAX: usize = 16;

/// What follows an answer to an inquiry.
#[derive(Debug)]
pub enum Pursuit {
    /// This is what the inquiry brought.
    Found(Found),
    /// It goes on with another question, which moves no money either.
    Ask(Request),
}

/// How far an inquiry has come. It is empty before the first answer.
#[derive(Debug, Default)]
pub struct Trail {
    /// What is still to be read, in the provider's own words; the first is being read.
    lists: VecDeque<Box<str>>,
    /// Which page of that, counted from 0.
    page: u32,
}

// === impl Trail ===

impl Trail {
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The list that is being read, and its page.
    pub(crate) fn place(&self) -> Option<(&str, u32)> {
        self.lists.front().map(|list| (&**list, self.page))
    }

    /// Adds a list that is to be read after all others.
    pub(crate) fn add(&mut self, list: &str) {
        self.lists.push_back(list.into());
    }

    /// Goes on to the next page of the list.
    pub(crate) fn turn(&mut self) {
        self.page = self.page.saturating_add(1);
    }

    /// Goes on to the next list.
    pub(crate) fn leave(&mut self) {
        self.lists.pop_front();
        self.page = 0;
    }
}
