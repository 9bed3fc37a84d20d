//! What became of an operation whose answer was lost.
//!
//! A new payment and a refund are searched for by their order id; a capture and a void are shown by
//! the payment itself.

use super::answer::{Expected, Payment, Told};
use super::order_id;
use crate::wire::Answer;
use crate::{Found, Lost, settled};
use model::{Kind, Outcome, Rejected, Report, State};

pub(super) fn found(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    let data = Told::read(answer).filter(Told::is_whole).and_then(|told| told.data);
    let Some(data) = data else { return Found::Unclear };
    let all = match lost.kind {
        Kind::Authorize | Kind::Charge => data.search.and_then(|search| search.transactions),
        Kind::Refund => data.search.and_then(|search| search.refunds),
        Kind::Capture | Kind::Void => {
            return data.node.map_or(Found::Unclear, |payment| payment.shows(lost));
        }
        Kind::Status | Kind::Tokenize => None,
    };
    let Some(all) = all else { return Found::Unclear };
    let order = order_id(lost.reference, lost.key);
    let mut payments = all.edges.into_iter().map(|edge| edge.node);
    let nothing = payments.len() == 0;
    match payments.find(|payment| payment.order_id.as_deref() == Some(&*order)) {
        Some(payment) => payment.became(lost),
        None if nothing => Found::Absent,
        None => Found::Unclear,
    }
}

/// What a payment or refund tells that was voided since, or has expired.
fn too_late(report: Report) -> Found {
    let outcome = Outcome::Rejected(Rejected::State);
    Found::Report(Report { outcome, amount: None, ..report })
}

// === impl Payment ===

impl Payment {
    /// What the payment or the refund itself tells.
    fn became(&self, lost: &Lost<'_>) -> Found {
        let expected = match lost.payment {
            Some(payment) => Expected::about(payment),
            None => Expected::default(),
        };
        let report = self.report(lost.kind, &expected);
        match &*self.status {
            "AUTHORIZATION_EXPIRED" | "VOIDED" if report.reference.is_some() => too_late(report),
            _ => settled(lost, report),
        }
    }

    /// What the payment shows of a capture or a void.
    fn shows(&self, lost: &Lost<'_>) -> Found {
        let Some(payment) = lost.payment else { return Found::Unclear };
        let report = self.report(lost.kind, &Expected::about(payment));
        if report.reference.is_none() {
            return Found::Unclear;
        }
        match (lost.kind, report.state) {
            (Kind::Capture, Some(State::Captured)) | (Kind::Void, Some(State::Voided)) => {
                settled(lost, report)
            }
            (Kind::Capture, Some(State::Voided)) => too_late(report),
            (Kind::Capture | Kind::Void, Some(State::Authorized)) => Found::Absent,
            (Kind::Void, _) if self.status == "SUBMITTED_FOR_SETTLEMENT" => Found::Absent,
            _ => Found::Unclear,
        }
    }
}
