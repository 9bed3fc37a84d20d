//! What became of an operation whose answer was lost.
//!
//! A new payment and a refund have a number of ours, and are in the list of what is not settled yet.
//! A capture and a void have none: the payment itself shows them.

use super::answer::{Details, Summary, Told, UNREADABLE, done, ending};
use super::{invoice, is_id};
use crate::wire::{Answer, said};
use crate::{Found, Lost, settled};
use jiff::Timestamp;
use model::{Amount, Decline, Kind, Outcome, Rejected, Report, State};

/// How many transactions a list shows. They must fit into an answer.
pub(super) const LIST_MAX: usize = 500;
/// How far the two clocks may be apart, in seconds.
const CLOCKS_APART_SECS: i64 = 60;

pub(super) fn found(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    let told = if answer.status == 200 { Told::read(answer) } else { None };
    match told.filter(Told::is_ok) {
        Some(told) => match lost.kind {
            Kind::Authorize | Kind::Charge | Kind::Refund => {
                listed(lost, told.transactions.as_deref().unwrap_or_default())
            }
            Kind::Capture | Kind::Void => {
                told.transaction.map_or(Found::Unclear, |details| details.shows(lost))
            }
            Kind::Status | Kind::Tokenize => Found::Unclear,
        },
        None => Found::Unclear,
    }
}

fn listed(lost: &Lost<'_>, all: &[Summary]) -> Found {
    let number = invoice(lost.kind, lost.key);
    match all.iter().find(|one| one.invoice_number.as_deref() == Some(&*number)) {
        Some(summary) => settled(lost, summary.report(lost)),
        None if all.len() < LIST_MAX && is_proven(lost, all) => Found::Absent,
        None => Found::Unclear,
    }
}

/// Whether what is not in the list cannot have been there.
///
/// A hold stays there until it is captured, which nobody can do who does not know of it. What goes
/// with the next settlement leaves with it; but one that was asked for earlier, and would have left
/// too, shows that there was no settlement in between.
fn is_proven(lost: &Lost<'_>, all: &[Summary]) -> bool {
    lost.kind == Kind::Authorize || all.iter().any(|one| one.waits_since_before(lost.sent))
}

// === impl Summary ===

impl Summary {
    /// Whether it is a charge or a refund of ours that waits for settlement since before that time.
    fn waits_since_before(&self, sent: u64) -> bool {
        let number = self.invoice_number.as_deref().unwrap_or_default();
        let ours = number.len() == invoice(Kind::Charge, "").len().saturating_add(19)
            && number.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        let waits = match number.as_bytes().first() {
            Some(b'c') => self.transaction_status == "capturedPendingSettlement",
            Some(b'r') => self.transaction_status == "refundPendingSettlement",
            _ => false,
        };
        // What a filter held begins to wait when somebody lets it go.
        ours && waits && self.fraud_information.is_none() && self.is_before(sent)
    }

    fn is_before(&self, sent: u64) -> bool {
        let submitted = self.submitted.parse().map(Timestamp::as_second);
        let sent = i64::try_from(sent).unwrap_or(i64::MAX);
        submitted.is_ok_and(|at| at.saturating_add(CLOCKS_APART_SECS) < sent)
    }

    fn report(&self, lost: &Lost<'_>) -> Report {
        let (outcome, state) = self.outcome(lost.kind);
        let id = is_id(&self.trans_id).then_some(&*self.trans_id);
        let amount = self.settle_amount.as_deref();
        let ending = self.account_number.as_deref().and_then(ending);
        Report {
            state,
            amount: amount.and_then(|text| Amount::parse(text, lost.amount.currency()).ok()),
            reference: lost.payment.or(id).map(Into::into),
            code: said(&self.transaction_status),
            sub_code: id.filter(|_| lost.payment.is_some()).map(Into::into),
            memo: ending.filter(|_| lost.payment.is_none()).map(Into::into),
            ..Report::bare(if id.is_some() { outcome } else { UNREADABLE })
        }
    }

    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        let pays = kind != Kind::Refund;
        match (kind, &*self.transaction_status) {
            (Kind::Authorize, "authorizedPendingCapture")
            | (Kind::Charge, "capturedPendingSettlement" | "settledSuccessfully")
            | (Kind::Refund, "refundPendingSettlement" | "refundSettledSuccessfully") => {
                (Outcome::Approved, done(kind))
            }
            (_, "declined") => {
                (Outcome::Declined(Decline::CardDeclined), pays.then_some(State::Declined))
            }
            (_, "generalError") => {
                (Outcome::Declined(Decline::ProcessingError), pays.then_some(State::Declined))
            }
            (_, "expired" | "voided") => {
                (Outcome::Rejected(Rejected::State), pays.then_some(State::Voided))
            }
            (_, "FDSAuthorizedPendingReview" | "FDSPendingReview" | "underReview") => {
                (Outcome::Pending, Some(State::Pending))
            }
            _ => (UNREADABLE, None),
        }
    }
}

// === impl Details ===

impl Details {
    /// What the payment shows of a capture or a void.
    fn shows(&self, lost: &Lost<'_>) -> Found {
        if lost.payment != Some(&*self.trans_id) {
            return Found::Unclear;
        }
        let amount = self.taken(lost.amount.currency());
        let approved = Report {
            state: done(lost.kind),
            amount,
            reference: Some((&*self.trans_id).into()),
            code: said(&self.transaction_status),
            ..Report::bare(Outcome::Approved)
        };
        let too_late = Report {
            outcome: Outcome::Rejected(Rejected::State),
            state: None,
            amount: None,
            ..approved.clone()
        };
        match (lost.kind, &*self.transaction_status) {
            (Kind::Capture, "capturedPendingSettlement" | "settledSuccessfully")
            | (Kind::Void, "voided") => settled(lost, approved),
            (Kind::Capture, "expired" | "voided") | (Kind::Void, "settledSuccessfully") => {
                Found::Report(too_late)
            }
            (_, "authorizedPendingCapture") | (Kind::Void, "capturedPendingSettlement") => {
                Found::Absent
            }
            _ => Found::Unclear,
        }
    }
}
