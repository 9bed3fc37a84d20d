//! Cards that Braintree keeps: the name that a card was exchanged for, which pays once, is put into the
//! vault of the merchant, and has another one there.
//! <https://developer.paypal.com/braintree/graphql/guides/payment_methods>

use super::answer::{self, Told, UNREADABLE};
use super::{Variables, is_id, post, query, refuse};
use crate::wire::{Answer, Request};
use crate::{Cx, Refusal, means};
use model::{Kind, Outcome, Report, Secret};
use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Vaulted<'a> {
    payment_method_id: &'a str,
}

/// Has what the card was exchanged for kept.
pub(super) fn keep(method: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let input = Vaulted { payment_method_id: method };
    post(query::VAULT, &Variables { input }, cx)
}

/// Braintree's name for the card that is kept, or what became of it instead.
pub(super) fn kept(answer: &Answer<'_>) -> Result<String, Box<Report>> {
    let Some(mut told) = Told::read(answer) else {
        return Err(Box::new(Report::bare(answer.by_status().unwrap_or(UNREADABLE))));
    };
    let made = told.data.as_mut().and_then(answer::Data::vaulted);
    match made {
        Some(id) if is_id(&id) => Ok(id),
        Some(_) => Err(Box::new(Report::bare(UNREADABLE))),
        None => Err(Box::new(told.failure(Kind::Tokenize))),
    }
}

/// What became of a tokenization.
pub(super) fn read(answer: &Answer<'_>) -> Report {
    kept(answer).map_or_else(|report| *report, |_| Report::bare(Outcome::Approved))
}

/// Braintree's name in what the merchant was told.
pub(super) fn of(token: &Secret) -> Result<&str, Refusal> {
    // The name is exposed because this request is the one that is paid with it.
    let id = token.expose();
    if is_id(id) { Ok(id) } else { Err(refuse(means::TOKEN, "is not a card that Braintree keeps")) }
}
