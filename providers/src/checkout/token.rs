//! Cards that Checkout.com keeps: instruments.
//!
//! A card becomes a token, which is good for a quarter of an hour and made with the public key, and
//! that becomes an instrument. A payment with a card makes one by itself.
//! <https://www.checkout.com/docs/payments/store-payment-details>

use super::answer::{UNREADABLE, failure};
use super::source::Source;
use super::{PUBLIC_KEY, base, id, keyed, refuse, signed};
use crate::wire::{Answer, Body, HeaderText, Request, path};
use crate::{Cx, Refusal, means};
use model::{Kind, Operation, Outcome, Report, Secret, Tokenization};
use serde::{Deserialize, Serialize};

/// A token that is to become an instrument.
#[derive(Serialize)]
struct Exchanged<'a> {
    r#type: &'static str,
    token: &'a str,
}

#[derive(Deserialize)]
struct Token {
    token: String,
    r#type: String,
}

#[derive(Deserialize)]
struct Instrument {
    id: String,
    r#type: String,
}

/// What the answer to a payment tells of the card.
#[derive(Deserialize)]
struct Payment {
    source: Named,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// Has the card made a token, which alone is nothing.
pub(super) fn request(
    tokenization: &Tokenization<model::Card>,
    cx: &Cx<'_>,
) -> Result<Request, Refusal> {
    if tokenization.network_token.is_some() {
        return Err(refuse("networkTokenBrand", "network tokens are not supported"));
    }
    let key = cx.need(&PUBLIC_KEY, "PublicKey is missing: cards cannot be kept without it")?;
    let card = Source::card(&tokenization.card, tokenization.payer.as_ref(), None);
    let body = Body::json(&card);
    let request = Request::post(base(cx)?, path(&["tokens"]), body);
    Ok(keyed(request, key, "PublicKey is not a key of Checkout.com")?
        .header("content-type", HeaderText::of("application/json"))
        .harmless())
}

/// Has the token made an instrument, which counts as something done.
pub(super) fn next(answer: &Answer<'_>, cx: &Cx<'_>) -> Result<Request, Box<Report>> {
    if answer.status >= 400 {
        return Err(Box::new(failure(Kind::Tokenize, answer)));
    }
    let token = answer.json().filter(|one: &Token| one.r#type == "card");
    let token = token.filter(|one| answer.status == 201 && id(&one.token, "tok_").is_some());
    let token = token.ok_or_else(|| Box::new(Report::bare(UNREADABLE)))?;
    let exchanged = Exchanged { r#type: "token", token: &token.token };
    let body = Body::json(&exchanged);
    let request =
        signed(|authority| Request::post(authority, path(&["instruments"]), body), cx);
    let request = request.map_err(|_| Box::new(Report::bare(UNREADABLE)))?;
    Ok(request.header("content-type", HeaderText::of("application/json")))
}

/// What became of a tokenization.
pub(super) fn read(answer: &Answer<'_>) -> Report {
    match instrument(answer) {
        Some(_) => Report::bare(Outcome::Approved),
        None if answer.status < 400 => Report::bare(UNREADABLE),
        None => failure(Kind::Tokenize, answer),
    }
}

/// The merchant's name for the card that is kept since this answer.
pub(super) fn told<C>(
    operation: &Operation<C>,
    nth: usize,
    answer: &Answer<'_>,
) -> Option<Secret> {
    let name = match (operation.kind(), nth) {
        (Kind::Tokenize, 0) => None,
        (Kind::Tokenize, _) => instrument(answer),
        _ => answer.json().filter(|_| answer.status < 300).map(|paid: Payment| paid.source.id),
    }?;
    is_instrument(&name).then(|| Secret::new(name.as_str()))
}

/// The instrument that a payment is paid with.
pub(super) fn instrument_of(token: &Secret) -> Result<&str, Refusal> {
    // The name is exposed because this request is the one that is paid with it.
    let name = token.expose();
    let refused = refuse(means::TOKEN, "is not a card that Checkout.com keeps");
    if is_instrument(name) { Ok(name) } else { Err(refused) }
}

fn instrument(answer: &Answer<'_>) -> Option<String> {
    let made: Instrument = answer.json().filter(|_| matches!(answer.status, 200 | 201))?;
    (made.r#type == "card" && is_instrument(&made.id)).then_some(made.id)
}

fn is_instrument(text: &str) -> bool {
    id(text, "src_").is_some()
}
