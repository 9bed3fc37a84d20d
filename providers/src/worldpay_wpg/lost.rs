//! What became of an operation whose answer was lost, by asking for its order.

use super::answer::{Expected, Reply, amount, is_absent, last_event, reply, state, told};
use crate::wire::Answer;
use crate::wire::xml::Element;
use crate::{Found, Lost};
use model::{Amount, Decline, Kind, Outcome, Rejected, Report, State};

pub(super) fn read(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    let document = (answer.status == 200).then(|| Element::parse(answer.body)).flatten();
    let found = document.as_ref().and_then(|document| among(lost, document));
    found.unwrap_or(Found::Unclear)
}

fn among(lost: &Lost<'_>, document: &Element) -> Option<Found> {
    let new = matches!(lost.kind, Kind::Authorize | Kind::Charge);
    let wanted = if new { lost.key } else { lost.payment? };
    match reply(document, &Expected::to(wanted))? {
        // Of an order that is changed it proves nothing, since the order was there.
        Reply::Error(error) => (new && is_absent(error)).then_some(Found::Absent),
        Reply::Payment { order, payment } if new => paid(lost, order, payment),
        Reply::Payment { order, payment } => changed(lost, order, payment),
        Reply::Challenge | Reply::Received { .. } | Reply::Token(_) => None,
    }
}

/// What became of a new payment. What was done to it since was not done by us, who have no answer.
fn paid(lost: &Lost<'_>, order: &str, payment: &Element) -> Option<Found> {
    let outcome = match (last_event(payment)?, lost.kind) {
        ("AUTHORISED", _)
        | ("CAPTURED" | "SETTLED" | "SETTLED_BY_MERCHANT", Kind::Charge) => Outcome::Approved,
        ("REFUSED", _) => return Some(Found::Report(super::answer::refused(order, payment))),
        ("CANCELLED" | "EXPIRED", _) => Outcome::Declined(Decline::CardDeclined),
        _ => return None,
    };
    let held = if lost.kind == Kind::Charge { State::Captured } else { State::Authorized };
    let state = if outcome == Outcome::Approved { held } else { State::Declined };
    reported(told(outcome, Some(state), order, payment), Some(lost.amount))
}

/// What became of a change. A capture or a refund is called as we called it; a cancellation is the
/// only one.
fn changed(lost: &Lost<'_>, order: &str, payment: &Element) -> Option<Found> {
    let event = last_event(payment)?;
    let ours = payment.child("reference").is_some_and(|name| name.words() == lost.key);
    let so_far = |outcome| {
        let known = if outcome == Outcome::Pending { State::Pending } else { state(payment) };
        let report = told(outcome, Some(known), order, payment);
        reported(Report { amount: Some(lost.amount), ..report }, None)
    };
    // Of a part it is not told how much it is: that it was received is all that is certain.
    let whole = payment.children().iter().filter(|child| child.is("balance")).chain([payment]);
    let whole = whole.filter_map(|of| of.child("amount").and_then(amount));
    let pending = Outcome::Pending;
    let done = if whole.into_iter().any(|told| told == lost.amount) { Outcome::Approved } else { pending };
    match (lost.kind, event) {
        (Kind::Capture, "CAPTURED" | "SETTLED" | "SETTLED_BY_MERCHANT") if ours => so_far(done),
        (Kind::Refund, "SENT_FOR_REFUND") if ours => so_far(pending),
        (Kind::Refund, "REFUNDED" | "REFUNDED_BY_MERCHANT") if ours => so_far(done),
        (Kind::Refund, "REFUND_FAILED") if ours => {
            let outcome = Outcome::Declined(Decline::ProcessingError);
            reported(told(outcome, Some(state(payment)), order, payment), None)
        }
        (Kind::Void, "CANCELLED") => so_far(Outcome::Approved),
        // What is captured cannot be cancelled, and what is cancelled or over cannot be captured.
        (Kind::Void, "CAPTURED" | "SETTLED" | "SETTLED_BY_MERCHANT")
        | (Kind::Capture, "CANCELLED" | "EXPIRED") => {
            let outcome = Outcome::Rejected(Rejected::State);
            let report = told(outcome, Some(state(payment)), order, payment);
            report.reference.is_some().then_some(Found::Report(Report { amount: None, ..report }))
        }
        (Kind::Capture | Kind::Void, "AUTHORISED")
        | (Kind::Refund, "CAPTURED" | "SETTLED" | "SETTLED_BY_MERCHANT") => Some(Found::Absent),
        _ => None,
    }
}

/// The report, where it is whole and of the amount that was meant.
fn reported(report: Report, amount: Option<Amount>) -> Option<Found> {
    let whole = report.reference.is_some()
        && report.amount.is_some()
        && (amount.is_none() || report.amount == amount);
    whole.then_some(Found::Report(report))
}
