//! What became of an operation whose answer was lost, and the state of a payment: both are
//! summaries of transactions. Every one has our key as its reference, by which it is searched for.

use super::answer::{ClientReference, ErrorInformation, Order, Processor, UNREADABLE};
use super::decline::DECLINES;
use super::is_id;
use crate::wire::{Answer, said};
use crate::{Found, Lost, Refusal, doubted, settled};
use model::{Decline, Kind, Outcome, Rejected, Report, State};
use serde::{Deserialize, Serialize};

/// How many transactions a search shows.
const LIMIT: u32 = 20;

/// The flag of a service that did what it was asked.
const DONE: &str = "SOK";

/// The flags of a decision that a payment, which the issuer approved, is for somebody to look at, or is
/// not to be.
const REVIEW: &str = "DREVIEW";
const REJECTED: [&str; 2] = ["DREJECT", "DSCORE"];

/// The flags of a service that was not even begun, because of what was sent.
const MALFORMED: [&str; 2] = ["DINVALIDDATA", "DMISSINGFIELD"];

#[derive(Serialize)]
pub(super) struct Search {
    query: String,
    sort: &'static str,
    limit: u32,
    offset: u32,
    save: bool,
}

impl Search {
    /// For what there is not: our keys are longer.
    pub(super) fn for_nothing() -> Self {
        Self::by("0")
    }

    fn by(key: &str) -> Self {
        let query = format!("clientReferenceInformation.code:{key}");
        Self { query, sort: "submitTimeUtc:desc", limit: LIMIT, offset: 0, save: false }
    }

    /// Our keys are letters and digits: nothing in them could be another clause.
    pub(super) fn of(lost: &Lost<'_>) -> Result<Self, Refusal> {
        let plain = !lost.key.is_empty() && lost.key.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain || matches!(lost.kind, Kind::Status | Kind::Tokenize) {
            return Err(Refusal::Unsupported);
        }
        Ok(Self::by(lost.key))
    }
}

/// What a search found.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchResult {
    #[serde(rename = "_embedded")]
    embedded: Embedded,
    total_count: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Embedded {
    transaction_summaries: Vec<Summary>,
}

/// A transaction: what was asked of which services, and what they did.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    id: String,
    application_information: Applications,
    client_reference_information: Option<ClientReference>,
    error_information: Option<ErrorInformation>,
    order_information: Option<Order>,
    processor_information: Option<Processor>,
}

#[derive(Deserialize)]
struct Applications {
    applications: Vec<Application>,
}

/// A service, such as `ics_auth`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Application {
    name: String,
    r_flag: Option<String>,
    r_message: Option<String>,
}

pub(super) fn found(lost: &Lost<'_>, answer: &Answer<'_>) -> Found {
    if !matches!(answer.status, 200 | 201) {
        return Found::Unclear;
    }
    let Some(SearchResult { embedded, total_count }) = SearchResult::read(answer) else {
        return Found::Unclear;
    };
    let mut all = embedded.transaction_summaries.into_iter();
    match all.find(|summary| summary.has_key(lost.key)) {
        Some(summary) => settled(lost, summary.report(lost)),
        None if total_count == 0 => Found::Absent,
        None => Found::Unclear,
    }
}

/// The services by which an operation is done.
fn services(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Authorize | Kind::Status | Kind::Tokenize => &["ics_auth"],
        Kind::Capture => &["ics_bill"],
        Kind::Charge => &["ics_auth", "ics_bill"],
        Kind::Refund => &["ics_credit"],
        Kind::Void => &["ics_auth_reversal", "ics_void"],
    }
}

// === impl SearchResult ===

impl SearchResult {
    pub(super) fn read(answer: &Answer<'_>) -> Option<Self> {
        answer.json()
    }
}

// === impl Summary ===

impl Summary {
    fn has_key(&self, key: &str) -> bool {
        let told = self.client_reference_information.as_ref();
        told.and_then(|reference| reference.code.as_deref()) == Some(key)
    }

    /// The state of a payment by itself; what was done to it later has summaries of its own.
    pub(super) fn status(&self, payment: Option<&str>) -> Report {
        if payment.is_some_and(|wanted| wanted != self.id) {
            return Report::bare(UNREADABLE);
        }
        let state = match (self.flag("ics_auth"), self.flag("ics_bill")) {
            (Some(DONE), Some(DONE)) => State::Captured,
            (Some(DONE), _) => State::Authorized,
            (Some(_), _) => State::Declined,
            (None, Some(DONE)) => State::Captured,
            _ if self.flag("ics_credit") == Some(DONE) => State::Refunded,
            _ if self.is_undone() => State::Voided,
            _ => return Report::bare(UNREADABLE),
        };
        self.told(Report { state: Some(state), ..Report::bare(Outcome::Approved) })
    }

    fn report(&self, lost: &Lost<'_>) -> Report {
        let (outcome, state) = self.outcome(lost.kind);
        let report = self.told(Report { state, ..Report::bare(outcome) });
        match lost.payment {
            // The payment keeps its id; the change has one of its own, told as the sub-code.
            Some(payment) => Report {
                sub_code: report.reference.clone(),
                memo: report.reference.filter(|_| {
                    lost.kind == Kind::Capture && outcome == Outcome::Approved
                }),
                reference: Some(payment.into()),
                ..report
            },
            None => report,
        }
    }

    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        let is_new = matches!(kind, Kind::Authorize | Kind::Charge);
        if is_new && self.flag("ics_auth") == Some(DONE) {
            // It is held, and not what was asked for.
            if self.has_flag(&REJECTED) {
                return (UNREADABLE, Some(State::Authorized));
            }
            if self.has_flag(&[REVIEW]) {
                return (Outcome::Pending, Some(State::Pending));
            }
        }
        let wanted = services(kind);
        let done = |name: &&&str| self.flag(name) == Some(DONE);
        let enough = if kind == Kind::Void { 1 } else { wanted.len() };
        if wanted.iter().filter(done).count() >= enough {
            let state = match kind {
                Kind::Authorize | Kind::Status | Kind::Tokenize => State::Authorized,
                Kind::Capture | Kind::Charge => State::Captured,
                Kind::Refund => State::Refunded,
                Kind::Void => State::Voided,
            };
            return (Outcome::Approved, Some(state));
        }
        let first = wanted.iter().find_map(|name| self.flag(name).filter(|flag| *flag != DONE));
        // Of a payment only its authorization can say that nothing is held.
        let begun = if is_new { self.flag("ics_auth") } else { first };
        if begun.is_some_and(|flag| MALFORMED.contains(&flag)) {
            return (Outcome::Rejected(Rejected::Malformed), None);
        }
        match (kind, first.and_then(|flag| self.decline(flag))) {
            (Kind::Authorize | Kind::Charge, Some(decline)) if self.flag("ics_auth") != Some(DONE) => {
                (Outcome::Declined(decline), Some(State::Declined))
            }
            (Kind::Capture | Kind::Refund | Kind::Void, Some(decline)) => {
                (Outcome::Declined(decline), None)
            }
            _ => (UNREADABLE, None),
        }
    }

    /// The reason goes before the flag; a flag that is not in the table says nothing.
    fn decline(&self, flag: &str) -> Option<Decline> {
        let reason = self.error_information.as_ref().and_then(|error| error.reason.as_deref());
        reason.and_then(|reason| DECLINES.find(reason)).or_else(|| DECLINES.find(flag))
    }

    fn flag(&self, name: &str) -> Option<&str> {
        let all = &self.application_information.applications;
        all.iter().find(|one| one.name == name)?.r_flag.as_deref()
    }

    fn has_flag(&self, flags: &[&str]) -> bool {
        let all = self.application_information.applications.iter();
        all.filter_map(|one| one.r_flag.as_deref()).any(|flag| flags.contains(&flag))
    }

    fn is_undone(&self) -> bool {
        ["ics_auth_reversal", "ics_void"].iter().any(|name| self.flag(name) == Some(DONE))
    }

    fn told(&self, report: Report) -> Report {
        let all = &self.application_information.applications;
        let last = all.iter().rfind(|one| one.r_flag.is_some());
        let error = self.error_information.as_ref();
        let flag = last.and_then(|one| one.r_flag.as_deref());
        let details = self.order_information.as_ref().and_then(|o| o.amount_details.as_ref());
        let report = Report {
            amount: details.and_then(super::answer::AmountDetails::read),
            reference: is_id(&self.id).then(|| (&*self.id).into()),
            code: error.and_then(|e| e.reason.as_deref()).or(flag).and_then(said),
            description: last.and_then(|one| one.r_message.as_deref()).and_then(said),
            ..report
        };
        let report = match &self.processor_information {
            Some(processor) => processor.told(report),
            None => report,
        };
        if report.amount.is_some() && report.reference.is_some() { report } else { doubted(report) }
    }
}
