//! What became of an operation whose answer was lost.
//!
//! A new payment and a refund have a number of ours, and are in the list of what is not settled yet. What
//! was settled since is in a batch instead. A capture and a void have none: the payment itself shows
//! them.

use super::answer::{Batch, Details, Summary, Told, UNREADABLE, done, ending};
use super::{batches, invoice, is_id, settled_with, unsettled};
use crate::pursuit::{Pursuit, Trail};
use crate::wire::{Answer, said};
use crate::{Cx, Found, Lost, settled};
use jiff::Timestamp;
use model::{Amount, Decline, Kind, Outcome, Rejected, Report, State};

/// How many transactions a page of a list shows. They must fit into an answer.
pub(super) const LIST_MAX: usize = 500;
/// How many batches are looked through, the first first: there is one a day as a rule.
const BATCHES_MAX: usize = 8;
/// Of how many days batches are asked for. Authorize.Net takes no more than 31.
const BATCHES_SECS: u64 = 30 * 86_400;
/// How far the two clocks may be apart, in seconds.
const CLOCKS_APART_SECS: i64 = 60;
/// How long before an operation was sent the first batch may be settled that is asked for, in seconds.
const BATCHES_BEFORE_SECS: u64 = 3_600;

/// On a trail, what is not settled. Batches have numbers.
const UNSETTLED: &str = "unsettled";
/// On a trail, the list of batches.
const BATCHES: &str = "batches";

pub(super) fn found(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    match read(answer) {
        Some(told) => match lost.kind {
            Kind::Authorize | Kind::Charge | Kind::Refund => listed(lost, told.listed()),
            Kind::Capture | Kind::Void => {
                told.transaction.map_or(Found::Unclear, |details| details.shows(lost))
            }
            Kind::Status | Kind::Tokenize => Found::Unclear,
        },
        None => Found::Unclear,
    }
}

/// Goes through what is not settled, and then through what was since, until the operation is there.
///
/// Only the first page tells that there is nothing: what is read in pages may change in between, and
/// how soon a batch shows what has left the list is documented nowhere.
pub(super) fn pursue(
    lost: &Lost<'_>,
    trail: &mut Trail,
    answer: &Answer<'_>,
    cx: &Cx<'_>,
) -> Pursuit {
    let has_number = matches!(lost.kind, Kind::Authorize | Kind::Charge | Kind::Refund);
    let Some(told) = read(answer).filter(|_| has_number) else {
        return Pursuit::Found(found(lost, answer));
    };
    let is_first = trail.is_empty();
    if is_first {
        trail.add(UNSETTLED);
    }
    if trail.place().is_some_and(|(list, _)| list == BATCHES) {
        trail.leave();
        told.batches_since(lost.sent).for_each(|batch| trail.add(&batch.batch_id));
        return next(lost, trail, cx);
    }
    let found = listed(lost, told.listed());
    if named(lost, told.listed()).is_some() || is_first && found == Found::Absent {
        return Pursuit::Found(found);
    }
    go_on(lost, told.listed().len() >= LIST_MAX, trail);
    next(lost, trail, cx)
}

/// To the next page, the next list, or from what is not settled to the batches. What is only held is in
/// none of them.
fn go_on(lost: &Lost<'_>, is_full: bool, trail: &mut Trail) {
    let is_unsettled = trail.place().is_some_and(|(list, _)| list == UNSETTLED);
    if is_full {
        return trail.turn();
    }
    trail.leave();
    if is_unsettled && lost.kind != Kind::Authorize {
        trail.add(BATCHES);
    }
}

fn next(lost: &Lost<'_>, trail: &Trail, cx: &Cx<'_>) -> Pursuit {
    let request = match trail.place() {
        None => return Pursuit::Found(Found::Unclear),
        Some((UNSETTLED, page)) => unsettled(page, cx),
        Some((BATCHES, _)) => match span(lost) {
            Some(span) => batches(span, cx),
            None => return Pursuit::Found(Found::Unclear),
        },
        Some((batch, page)) => settled_with(batch, page, cx),
    };
    request.map_or(Pursuit::Found(Found::Unclear), Pursuit::Ask)
}

/// When what was sent may have been settled.
fn span(lost: &Lost<'_>) -> Option<[String; 2]> {
    let first = lost.sent.saturating_sub(BATCHES_BEFORE_SECS);
    let last = lost.now.clamp(lost.sent, first.saturating_add(BATCHES_SECS));
    let text = |at: u64| Some(Timestamp::from_second(i64::try_from(at).ok()?).ok()?.to_string());
    Some([text(first)?, text(last)?])
}

fn read(answer: &Answer<'_>) -> Option<Told> {
    let told = if answer.status == 200 { Told::read(answer) } else { None };
    told.filter(Told::is_ok)
}

fn listed(lost: &Lost<'_>, all: &[Summary]) -> Found {
    match named(lost, all) {
        Some(summary) => settled(lost, summary.report(lost)),
        None if all.len() < LIST_MAX && is_proven(lost, all) => Found::Absent,
        None => Found::Unclear,
    }
}

/// The one with our number.
fn named<'a>(lost: &Lost<'_>, all: &'a [Summary]) -> Option<&'a Summary> {
    let number = invoice(lost.kind, lost.key);
    all.iter().find(|one| one.invoice_number.as_deref() == Some(&*number))
}

/// Whether what is not in the list cannot have been there.
///
/// A hold stays there until it is captured, which nobody can do who does not know of it. What goes
/// with the next settlement leaves with it; but one that was asked for earlier, and would have left
/// too, shows that there was no settlement in between.
fn is_proven(lost: &Lost<'_>, all: &[Summary]) -> bool {
    lost.kind == Kind::Authorize || all.iter().any(|one| one.waits_since_before(lost.sent))
}

// === impl Told ===

impl Told {
    fn listed(&self) -> &[Summary] {
        self.transactions.as_deref().unwrap_or_default()
    }

    /// The batches in which it can be that was sent at that time, the first first.
    fn batches_since(&self, sent: u64) -> impl Iterator<Item = &Batch> {
        let after = |batch: &Batch| second(&batch.settled).filter(|at| !is_before(*at, sent));
        let all = self.batch_list.iter().flatten().filter(|batch| is_id(&batch.batch_id));
        let mut all: Vec<_> = all.filter_map(|batch| Some((after(batch)?, batch))).collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, batch)| batch).take(BATCHES_MAX)
    }
}

/// A time, in seconds since 1970.
fn second(text: &str) -> Option<i64> {
    text.parse().map(Timestamp::as_second).ok()
}

/// Whether something happened before another was sent, whatever the clocks say.
fn is_before(at: i64, sent: u64) -> bool {
    at.saturating_add(CLOCKS_APART_SECS) < i64::try_from(sent).unwrap_or(i64::MAX)
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
        let before = second(&self.submitted).is_some_and(|at| is_before(at, sent));
        ours && waits && self.fraud_information.is_none() && before
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
            // It was held, and whoever looked at it did not let it go.
            (_, "failedReview") => {
                (Outcome::Declined(Decline::Fraud), pays.then_some(State::Declined))
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

#[cfg(test)]
mod tests {
    use super::{BATCHES_MAX, BATCHES_SECS, LIST_MAX, pursue, span};
    use crate::pursuit::{Pursuit, Trail};
    use crate::wire::Answer;
    use crate::{Cx, Found, Lost};
    use model::{Amount, Credentials, Currency, Kind, Secret};
    use serde_json::{Value, json};

    const SENT: u64 = 1_781_611_200;

    fn lost(kind: Kind) -> Lost<'static> {
        Lost {
            kind,
            key: "k0000000000000000000000000000001",
            reference: "ORD-1",
            amount: Amount::new(1_099, Currency::USD).unwrap(),
            payment: None,
            memo: None,
            sent: SENT,
            now: SENT + 86_400,
        }
    }

    /// What is asked next, or the word for what was found.
    fn asked(kind: Kind, trail: &mut Trail, told: &Value) -> String {
        let pairs = [("apiloginid", "login"), ("transactionkey", "key"), ("environment", "Test")];
        let pairs = pairs.map(|(name, value)| (name.into(), Secret::new(value)));
        let credentials = Credentials::new(pairs.into());
        let mut body = json!({"messages": {"resultCode": "Ok", "message": []}});
        for (name, value) in told.as_object().unwrap() {
            body[name] = value.clone();
        }
        let body = body.to_string();
        let answer = Answer { status: 200, body: body.as_bytes() };
        match pursue(&lost(kind), trail, &answer, &Cx::timeless(&credentials)) {
            Pursuit::Found(Found::Absent) => "absent".to_owned(),
            Pursuit::Found(Found::Report(_)) => "found".to_owned(),
            Pursuit::Found(Found::Unclear) => "unclear".to_owned(),
            Pursuit::Ask(request) => {
                assert!(!request.moves_money);
                let asked: Value = serde_json::from_slice(request.body.as_ref()).unwrap();
                let (name, asked) = asked.as_object().unwrap().iter().next().unwrap();
                let name = name.trim_start_matches("get").trim_end_matches("Request");
                let told = [&asked["batchId"], &asked["paging"]["offset"]];
                let told: Vec<_> = told.into_iter().filter_map(Value::as_str).collect();
                format!("{name} {}", told.join(" "))
            }
        }
    }

    /// So many transactions that are not ours.
    fn others(count: usize) -> Value {
        let one = json!({
            "transId": "60198917001", "submitTimeUTC": "2026-06-16T12:00:00Z",
            "transactionStatus": "settledSuccessfully", "invoiceNumber": "other",
        });
        json!({"transactions": vec![one; count]})
    }

    fn batches(ids: impl Iterator<Item = usize>) -> Value {
        let one = |id| {
            let id = format!("7354{id:03}");
            json!({"batchId": id, "settlementTimeUTC": "2026-06-17T00:00:00Z"})
        };
        json!({"batchList": ids.map(one).collect::<Vec<_>>()})
    }

    #[test]
    fn every_page_of_every_list_is_read_and_proves_no_absence() {
        let (full, rest) = (others(LIST_MAX), others(1));
        let mut trail = Trail::default();
        let mut ask = |told: &Value| asked(Kind::Charge, &mut trail, told);
        for (told, next) in [
            (&full, "UnsettledTransactionList 2"),
            (&full, "UnsettledTransactionList 3"),
            (&rest, "SettledBatchList "),
            (&batches(1..3), "TransactionList 7354001 1"),
            (&full, "TransactionList 7354001 2"),
            (&rest, "TransactionList 7354002 1"),
            (&rest, "unclear"),
        ] {
            assert_eq!(ask(told), next);
        }
    }

    #[test]
    fn a_hold_is_in_no_batch_and_is_absent_from_a_list_of_one_page_only() {
        let (full, rest) = (others(LIST_MAX), others(1));
        assert_eq!(asked(Kind::Authorize, &mut Trail::default(), &rest), "absent");
        let mut trail = Trail::default();
        assert_eq!(asked(Kind::Authorize, &mut trail, &full), "UnsettledTransactionList 2");
        assert_eq!(asked(Kind::Authorize, &mut trail, &rest), "unclear");
    }

    #[test]
    fn a_charge_that_waits_since_before_proves_no_absence_on_a_later_page() {
        let mut before = others(1);
        before["transactions"][0]["transactionStatus"] = "capturedPendingSettlement".into();
        before["transactions"][0]["invoiceNumber"] = "c000000000000000000f".into();
        before["transactions"][0]["submitTimeUTC"] = "2026-06-16T11:00:00Z".into();
        assert_eq!(asked(Kind::Charge, &mut Trail::default(), &before), "absent");
        let mut trail = Trail::default();
        asked(Kind::Charge, &mut trail, &others(LIST_MAX));
        assert_eq!(asked(Kind::Charge, &mut trail, &before), "SettledBatchList ");
    }

    #[test]
    fn so_many_batches_are_looked_through_and_no_more() {
        let mut trail = Trail::default();
        asked(Kind::Refund, &mut trail, &others(0));
        let mut next = asked(Kind::Refund, &mut trail, &batches(0..BATCHES_MAX + 1));
        for id in 0..BATCHES_MAX {
            assert_eq!(next, format!("TransactionList {} 1", 7_354_000 + id));
            next = asked(Kind::Refund, &mut trail, &others(1));
        }
        assert_eq!(next, "unclear");
    }

    #[test]
    fn batches_are_asked_for_of_a_span_that_is_taken() {
        let at = |sent, now| span(&Lost { sent, now, ..lost(Kind::Charge) }).unwrap();
        assert_eq!(at(SENT, SENT + 60), ["2026-06-16T11:00:00Z", "2026-06-16T12:01:00Z"]);
        assert_eq!(at(SENT, 0)[1], "2026-06-16T12:00:00Z");
        assert_eq!(at(SENT, SENT + 2 * BATCHES_SECS)[1], "2026-07-16T11:00:00Z");
        assert_eq!(span(&Lost { sent: u64::MAX, now: 0, ..lost(Kind::Charge) }), None);
        assert!(span(&Lost { sent: 0, now: 0, ..lost(Kind::Charge) }).is_some());
    }
}
