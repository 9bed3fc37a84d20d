//! What became of an operation whose answer was lost, by Payment Queries.

use super::answer::is_of;
use super::queried::{Event, List, Queried};
use crate::wire::Answer;
use crate::{Found, Lost};
use model::{Decline, Kind, Outcome, State};
use serde::Deserialize;
use std::time::Duration;

/// Queries are behind by up to a quarter of an hour, and that begins when the payment is done, not
/// when we stopped to wait for it.
pub(super) const LAG: Duration = Duration::from_mins(20);

/// What Worldpay answers where there is no such payment.
const PAYMENT_UNKNOWN: &str = "paymentNotFound";

/// How the names end of what became of a request.
const SUBMITTED: &str = "Submitted";
const FAILED: &str = "SubmissionFailed";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    error_name: String,
}

pub(super) fn read(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    match (lost.kind, answer.status) {
        (Kind::Authorize | Kind::Charge, 200) => {
            answer.json().map_or(Found::Unclear, |list: List| among(lost, &list))
        }
        (Kind::Authorize | Kind::Charge, 404) => match answer.json() {
            Some(Failure { error_name }) if error_name == PAYMENT_UNKNOWN => Found::Absent,
            Some(_) | None => Found::Unclear,
        },
        (Kind::Capture | Kind::Refund | Kind::Void, 200) => {
            answer.json().map_or(Found::Unclear, |payment: Queried| of(lost, &payment))
        }
        _ => Found::Unclear,
    }
}

fn among(lost: &Lost<'_>, list: &List) -> Found {
    let payments = list.embedded.payments.iter();
    let mut found = payments.filter(|payment| payment.transaction_reference == lost.key);
    match (found.next(), found.next()) {
        (None, _) => Found::Absent,
        (Some(payment), None) => new(lost, payment),
        (Some(_), Some(_)) => Found::Unclear,
    }
}

/// What became of a new payment. Whatever was done to it since was not done by us, who have no
/// name for it.
fn new(lost: &Lost<'_>, payment: &Queried) -> Found {
    let outcome = match (payment.last_event.as_deref().unwrap_or_default(), lost.kind) {
        ("authorizationSucceeded", Kind::Authorize)
        | ("saleSucceeded" | "settlementRequested" | "settlementRequestSubmitted", Kind::Charge) => {
            Outcome::Approved
        }
        ("authorizationRefused" | "saleRefused", _) => Outcome::Declined(Decline::CardDeclined),
        ("authorizationFailed" | "saleFailed", _) => Outcome::Declined(Decline::ProcessingError),
        _ => return Found::Unclear,
    };
    let report = payment.report(outcome, payment.state());
    let whole = report.reference.is_some() && report.amount == Some(lost.amount);
    if whole { Found::Report(report) } else { Found::Unclear }
}

/// What became of a change. Worldpay names it as we did, but for cancellations and reversals.
fn of(lost: &Lost<'_>, payment: &Queried) -> Found {
    if lost.payment != Some(&*payment.payment_id) {
        return Found::Unclear;
    }
    let mut requests = payment.events.iter().filter(|event| is_request_of(lost, event));
    if lost.kind == Kind::Void {
        return requests.fold(Found::Absent, |found, request| {
            void(found, answered(lost, payment, request))
        });
    }
    match requests.next() {
        None => Found::Absent,
        Some(event) if !is_of(event.value.as_ref(), lost.amount) => Found::Unclear,
        Some(event) => answered(lost, payment, event),
    }
}

/// What is known of a void by one more request for one, whose it is not being told. One that stands is
/// as good as ours. One that failed may be that of an earlier void, while ours is on its way: it is as
/// if it were not there.
fn void(found: Found, next: Found) -> Found {
    let stands = |found: &Found| {
        matches!(found, Found::Report(report) if report.outcome == Outcome::Pending)
    };
    match (found, next) {
        (found, _) if stands(&found) => found,
        (_, next) if stands(&next) => next,
        (Found::Unclear, _) | (_, Found::Unclear) => Found::Unclear,
        (Found::Absent | Found::Report(_), Found::Absent | Found::Report(_)) => Found::Absent,
    }
}

fn is_request_of(lost: &Lost<'_>, event: &Event) -> bool {
    match lost.kind {
        Kind::Capture => {
            event.is("settlementRequested")
                && event.settlement_reference.as_deref() == Some(lost.key)
        }
        Kind::Refund => {
            event.is("refundRequested") && event.refund_reference.as_deref() == Some(lost.key)
        }
        Kind::Void => event.is("cancellationRequested") || event.is("reversalRequested"),
        Kind::Authorize | Kind::Charge | Kind::Status | Kind::Tokenize => false,
    }
}

/// A request that was received is as good as its receipt, unless it is told that it failed.
fn answered(lost: &Lost<'_>, payment: &Queried, request: &Event) -> Found {
    let command = request.command_id.as_deref();
    let mut others = payment.events.iter().filter(|event| {
        command.is_some() && event.command_id.as_deref() == command && event.event_name != request.event_name
    });
    let outcome = match others.next().map(|event| &*event.event_name) {
        None => Outcome::Pending,
        Some(name) if name.ends_with(SUBMITTED) => Outcome::Pending,
        Some(name) if name.ends_with(FAILED) => Outcome::Declined(Decline::ProcessingError),
        Some(_) => return Found::Unclear,
    };
    let state = if outcome == Outcome::Pending { State::Pending } else { payment.state() };
    let mut report = payment.report(outcome, state);
    report.amount = request.value.as_ref().and_then(|told| told.read()).or(Some(lost.amount));
    report.sub_code = command.and_then(crate::wire::said);
    Found::Report(report)
}
