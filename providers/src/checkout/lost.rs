//! What became of an operation whose answer was lost.
//!
//! A new payment is among those of its reference, by our key in its metadata; a change is among the
//! actions of its payment.

use super::answer::{Expected, Metadata, Page, Payment, amount};
use super::decline::DECLINES;
use super::{id, listed, payment_id, reference_sent};
use crate::wire::{Answer, path, said};
use crate::{Found, Lost, Refusal, settled};
use model::{Decline, Kind, Outcome, Rejected, Report, State};
use serde::Deserialize;

/// Where to ask.
pub(super) fn question(lost: &Lost<'_>) -> Result<String, Refusal> {
    match lost.kind {
        Kind::Authorize | Kind::Charge => Ok(listed(reference_sent(lost.reference, lost.key))),
        Kind::Capture | Kind::Refund | Kind::Void => {
            let payment = payment_id(lost.payment.unwrap_or_default())?;
            Ok(path(&["payments", payment, "actions"]))
        }
        Kind::Status | Kind::Tokenize => Err(Refusal::Unsupported),
    }
}

/// What the answer says.
pub(super) fn found(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    if answer.status != 200 {
        return Found::Unclear;
    }
    match lost.kind {
        Kind::Authorize | Kind::Charge => payment(lost, answer),
        Kind::Capture | Kind::Refund | Kind::Void => change(lost, answer),
        Kind::Status | Kind::Tokenize => Found::Unclear,
    }
}

/// Something that was done to a payment.
#[derive(Deserialize)]
struct Deed {
    id: String,
    amount: Option<u64>,
    approved: Option<bool>,
    metadata: Option<Metadata>,
    response_code: Option<String>,
    response_summary: Option<String>,
    r#type: String,
}

fn payment(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    let Some(Page { total_count, data }) = answer.json() else { return Found::Unclear };
    let whole = u64::try_from(data.len()).is_ok_and(|shown| shown >= total_count);
    // Of a payment without metadata nobody can tell whose it is.
    let told = data.iter().all(|payment| payment.metadata().is_some());
    let has_key = |payment: &Payment| payment.metadata().is_some_and(|m| m.has_key(lost.key));
    match data.into_iter().find(has_key) {
        Some(payment) if payment.is_dead() => Found::Report(Report {
            state: Some(State::Voided),
            reference: payment.reference(),
            ..Report::bare(Outcome::Rejected(Rejected::State))
        }),
        Some(payment) => settled(lost, payment.report(lost.kind, &Expected::default())),
        None if whole && told => Found::Absent,
        None => Found::Unclear,
    }
}

fn change(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    let Some(deeds) = answer.json::<Vec<Deed>>() else { return Found::Unclear };
    let has_key = |deed: &&Deed| deed.metadata.as_ref().is_some_and(|m| m.has_key(lost.key));
    match deeds.iter().find(has_key) {
        Some(deed) if deed.r#type == word(lost.kind) => settled(lost, deed.report(lost)),
        Some(_) => Found::Unclear,
        // Of an action without metadata nobody can tell whose it is.
        None if deeds.iter().any(|deed| deed.r#type == word(lost.kind) && deed.metadata.is_none()) => {
            Found::Unclear
        }
        None => Found::Absent,
    }
}

/// What Checkout.com calls an action of this kind.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Authorize | Kind::Charge | Kind::Status | Kind::Tokenize => "Authorization",
        Kind::Capture => "Capture",
        Kind::Refund => "Refund",
        Kind::Void => "Void",
    }
}

// === impl Deed ===

impl Deed {
    fn report(&self, lost: &Lost<'_>) -> Report {
        let code = self.response_code.as_deref();
        let (outcome, state) = match self.approved {
            Some(true) => (Outcome::Approved, Some(done(lost.kind))),
            // The change is dead; the payment is what it was before.
            Some(false) => {
                let why = code.and_then(|code| DECLINES.find(code)).unwrap_or(Decline::Unmapped);
                (Outcome::Declined(why), None)
            }
            None => (Outcome::Pending, Some(State::Pending)),
        };
        Report {
            state,
            amount: self.amount.and_then(|units| amount(units, lost.amount.currency())),
            reference: lost.payment.map(Into::into),
            code: code.and_then(said),
            description: self.response_summary.as_deref().and_then(said),
            sub_code: id(&self.id, "act_").map(Into::into),
            ..Report::bare(outcome)
        }
    }
}

/// The state of a payment to which this was done.
fn done(kind: Kind) -> State {
    match kind {
        Kind::Authorize => State::Authorized,
        Kind::Capture | Kind::Charge => State::Captured,
        Kind::Refund => State::Refunded,
        Kind::Status | Kind::Tokenize => State::Unknown,
        Kind::Void => State::Voided,
    }
}
