//! Worldpay Access, Card Payments version 7.
//! <https://docs.worldpay.com/access/products/card-payments>
//!
//! A payment is one exchange. What follows it goes to links that change with every step: they are
//! kept in the memo, and asked for by the payment's id where there is none. Settlements, refunds and
//! cancellations are only received: what became of them is told by events and by queries.

use crate::environment::{self, Hosts};
use crate::webhook::{Delivery, Unproven};
use crate::wire::{Answer, Body, HeaderText, Request, path, query};
use crate::{
    CREDENTIALS, Cx, Declines, Found, Gateway, Lost, Provider, Refusal, Step, Validity, agreed,
};
use account::{ENTITY, EVENT_SECRET, NARRATIVE, PASSWORD, USERNAME};
use answer::Expected;
use change::Change;
pub(crate) use decline::DECLINES;
use model::{
    Action, Amount, Card, Currency, Find, FollowUp, Gone, Kind, Notice,
    Operation, Outcome, Rejected, Report, Secret,
};
use payment::Payment;
use std::time::Duration;

mod account;
mod answer;
mod change;
mod decline;
mod links;
mod lost;
mod notice;
mod payment;
mod queried;
mod token;

pub(crate) static PROVIDER: Worldpay = Worldpay;

#[derive(Debug)]
pub(crate) struct Worldpay;

static GATEWAY: Gateway = Gateway {
    id: "Worldpay",
    display_name: "Worldpay",
    url: "https://www.worldpay.com",
    description: "Cards through Access, Card Payments 7. The account must be allowed to send card \
                  numbers.",
    credentials: &[USERNAME, PASSWORD, ENTITY, NARRATIVE, environment::OPTIONAL, EVENT_SECRET],
    supports_network_token: false,
};

const HOSTS: Hosts = Hosts { live: "access.worldpay.com", test: "try.access.worldpay.com" };

const PAYMENTS: &str = "application/vnd.worldpay.payments-v7+json";
const QUERIES: &str = "application/vnd.worldpay.payment-queries-v1.hal+json";

/// How long a name of Worldpay's for a payment is, in characters.
const PAYMENT_ID_CHARS: std::ops::RangeInclusive<usize> = 21..=36;

/// How many characters our name for a payment has: only such a one can be searched for.
const KEY_CHARS: usize = 32;

/// A payment that nobody made, to see whether it may be asked for.
const NO_PAYMENT: &str = "orchestra-validation";

impl Provider for Worldpay {
    fn name(&self) -> &'static str {
        "worldpay"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn declines(&self) -> Declines {
        DECLINES
    }

    fn forbids_retry(&self, report: &Report) -> bool {
        crate::declines::says_stop(report.sub_code.as_deref())
    }

    fn request(&self, operation: &Operation<Card>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        match &operation.action {
            Action::Authorize(authorization) => {
                let payment = Payment::of(operation, authorization, cx)?;
                let by_merchant = payment::is_by_merchant(authorization);
                let path = path(&["cardPayments", payment::transactions(by_merchant)]);
                sent(Request::post(HOSTS.optional(cx)?, path, Body::json(&payment)), PAYMENTS, cx)
            }
            Action::Capture(earlier) | Action::Refund(earlier) | Action::Void(earlier) => {
                let id = payment_id(&earlier.reference)?;
                let change = Change::of(operation, earlier)?;
                match change.remembered() {
                    Some(link) => change.request(&link, cx),
                    None => by_id(id, cx),
                }
            }
            Action::Status(Find::Reference(reference)) => by_id(payment_id(reference)?, cx),
            Action::Status(Find::MerchantReference(reference)) => by_key(key(reference)?, cx),
            Action::Tokenize(tokenization) => token::request(&operation.key, tokenization, cx),
        }
    }

    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        answer::read(kind, answer, &Expected::default())
    }

    fn step(
        &self,
        operation: &Operation<Gone>,
        nth: usize,
        answer: &Answer<'_>,
        cx: &Cx<'_>,
    ) -> Step {
        let next = match &operation.action {
            Action::Authorize(_)
            | Action::Status(Find::Reference(_))
            | Action::Tokenize(_) => None,
            Action::Capture(earlier) | Action::Refund(earlier) | Action::Void(earlier) => {
                follow(operation, earlier, nth, answer, cx)
            }
            Action::Status(Find::MerchantReference(reference)) => {
                (nth == 0).then(|| look_up(reference, answer, cx))
            }
        };
        next.unwrap_or_else(|| {
            let report = answer::read(operation.kind(), answer, &Expected::of(operation));
            Step::Done(agreed(operation, report))
        })
    }

    fn token(
        &self,
        operation: &Operation<Gone>,
        _nth: usize,
        answer: &Answer<'_>,
    ) -> Option<Secret> {
        token::told(Some(&operation.key), answer)
    }

    /// Asks for a payment that nobody made, in the name of the entity.
    fn validation(&self, cx: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        let entity = cx.need(&ENTITY, "Entity is missing")?;
        // The entity is exposed because the question is about it; it is not a secret.
        let pairs = [("transactionRef", NO_PAYMENT), ("entity", entity.expose())];
        let path = query(&path(&["payments", "events"]), &pairs);
        sent(Request::get(HOSTS.optional(cx)?, path), PAYMENTS, cx).map(Some)
    }

    fn validity(&self, answer: &Answer<'_>) -> Validity {
        answer::validity(answer)
    }

    /// The entity belongs to the credentials: one that they may not use is refused with them.
    fn refuses_account(&self, report: &Report) -> bool {
        match report.outcome {
            Outcome::Rejected(Rejected::Credentials) => true,
            Outcome::Rejected(Rejected::Configuration) => {
                report.code.as_deref() == Some(answer::ENTITY_UNKNOWN)
            }
            Outcome::Approved
            | Outcome::Declined(_)
            | Outcome::Pending
            | Outcome::Rejected(_)
            | Outcome::Unknown(_) => false,
        }
    }

    fn inquiry(&self, lost: &Lost<'_>, cx: &Cx<'_>) -> Result<Request, Refusal> {
        match (lost.kind, lost.payment) {
            (Kind::Authorize | Kind::Charge, _) => by_key(key(lost.key)?, cx),
            (Kind::Capture | Kind::Refund | Kind::Void, Some(payment)) => {
                by_id(payment_id(payment)?, cx)
            }
            (Kind::Capture | Kind::Refund | Kind::Void, None)
            | (Kind::Status | Kind::Tokenize, _) => {
                Err(Refusal::Unsupported)
            }
        }
    }

    fn found(&self, lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
        lost::read(lost, answer)
    }

    fn lag(&self) -> Duration {
        lost::LAG
    }

    fn notices(&self, delivery: &Delivery<'_>, cx: &Cx<'_>) -> Result<Vec<Notice>, Unproven> {
        notice::read(delivery, cx)
    }
}

/// What follows the first answer of a change: where its link had to be asked for, the change.
fn follow(
    operation: &Operation<Gone>,
    earlier: &FollowUp,
    nth: usize,
    answer: &Answer<'_>,
    cx: &Cx<'_>,
) -> Option<Step> {
    let change = Change::of(operation, earlier).ok()?;
    if nth > 0 || change.remembered().is_some() {
        return None;
    }
    let queried = match answer::queried(answer, &earlier.reference) {
        Ok(queried) => queried,
        Err(report) => return Some(Step::Done(*report)),
    };
    let change = change.informed(&queried);
    let next = change.from(&queried.links).and_then(|link| change.request(&link, cx).ok());
    Some(next.map_or_else(|| Step::Done(queried.refusal()), Step::Send))
}

/// Asks for the payment that was found by our name for it.
fn look_up(reference: &str, answer: &Answer<'_>, cx: &Cx<'_>) -> Step {
    match answer::listed(answer, reference) {
        Ok(id) => by_id(&id, cx).map_or_else(
            // The same account wrote the first request.
            |_| Step::Done(Report::bare(Outcome::Rejected(Rejected::Malformed))),
            Step::Send,
        ),
        Err(report) => Step::Done(*report),
    }
}

/// Asks for a payment by Worldpay's name for it.
fn by_id(id: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let path = path(&["paymentQueries", "payments", id]);
    sent(Request::get(HOSTS.optional(cx)?, path), QUERIES, cx)
}

/// Asks for a payment by ours.
fn by_key(key: &str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let path = query(&path(&["paymentQueries", "payments"]), &[("transactionReference", key)]);
    sent(Request::get(HOSTS.optional(cx)?, path), QUERIES, cx)
}

/// Adds the headers. Worldpay asks for both media types in every request.
fn sent(request: Request, media: &'static str, cx: &Cx<'_>) -> Result<Request, Refusal> {
    let username = cx.need(&USERNAME, "Username is missing")?;
    let password = cx.need(&PASSWORD, "Password is missing")?;
    let authorization = HeaderText::basic(username, password)
        .map_err(|_| refuse(CREDENTIALS, "Username or Password is not one of Worldpay"))?;
    Ok(request
        .header("authorization", authorization)
        .header("content-type", HeaderText::of(media))
        .header("accept", HeaderText::of(media)))
}

fn payment_id(text: &str) -> Result<&str, Refusal> {
    is_payment_id(text)
        .then_some(text)
        .ok_or(refuse("refTransId", "is not a payment of Worldpay"))
}

fn is_payment_id(text: &str) -> bool {
    PAYMENT_ID_CHARS.contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Worldpay searches by the name that has to be new for each payment, which is ours.
fn key(text: &str) -> Result<&str, Refusal> {
    let is_key = text.len() == KEY_CHARS
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'));
    is_key.then_some(text).ok_or(Refusal::Unsupported)
}

fn refuse(name: &'static str, problem: &'static str) -> Refusal {
    Refusal::Field { name, problem }
}

// === amounts ===

/// Worldpay counts currencies as ISO 4217 does, and has none with four decimal places.
fn places(currency: Currency) -> Option<u8> {
    (currency.exponent() <= 3).then_some(currency.exponent())
}

fn units(amount: Amount) -> Result<u64, Refusal> {
    let places = places(amount.currency())
        .ok_or(refuse("currency", "is not a currency that Worldpay documents"))?;
    match amount.in_units(places) {
        Ok(0) => Err(refuse("amount", "must be more than zero")),
        Ok(units) => Ok(units),
        Err(_) => Err(refuse("amount", "is finer than Worldpay's unit of this currency")),
    }
}

/// An amount that Worldpay tells.
fn amount(units: u64, currency: &str) -> Option<Amount> {
    let currency = Currency::parse(currency).ok()?;
    Amount::from_units(units, places(currency)?, currency).ok()
}

#[cfg(test)]
mod tests {
    use super::{PROVIDER, is_payment_id, key, places, units};
    use crate::Provider;
    use model::{Amount, Currency};
    use std::time::Duration;

    #[test]
    fn amounts_are_counted_as_iso_does() {
        for currency in Currency::all() {
            let expected = Some(currency.exponent()).filter(|exponent| *exponent < 4);
            assert_eq!(places(currency), expected, "{currency:?}");
        }
        for (text, code, expected) in [
            ("10.99", "GBP", Some(1099)),
            ("1500", "CLP", Some(1500)),
            ("1.255", "KWD", Some(1255)),
            ("0.00", "GBP", None),
            ("1.0000", "CLF", None),
        ] {
            let amount = Amount::parse(text, Currency::parse(code).unwrap()).unwrap();
            assert_eq!(units(amount).ok(), expected, "{text} {code}");
        }
    }

    /// What was done at the very end is shown a quarter of an hour after that.
    #[test]
    fn absence_is_believed_only_when_the_last_payment_must_be_shown() {
        assert!(PROVIDER.lag() > Duration::from_mins(15));
    }

    #[test]
    fn references_and_keys_have_their_forms() {
        for (text, expected) in [
            ("payI-dUcet9fk4_X4qZU0hpU0", true),
            (&"a".repeat(21), true),
            (&"a".repeat(36), true),
            (&"a".repeat(20), false),
            (&"a".repeat(37), false),
            ("pay/../../../events/aaaa", false),
            ("payI-dUcet9fk4?X4qZU0hpU0", false),
            ("", false),
        ] {
            assert_eq!(is_payment_id(text), expected, "{text}");
        }
        assert!(key(&"k0".repeat(16)).is_ok());
        assert!(key("ORD-1001").is_err() && key(&"K0".repeat(16)).is_err());
    }
}
