//! What Braintree answers, and what it means. Nearly all of it has status 200.

use super::decline::{self, DECLINES};
use super::{is_called, is_id, order_id};
use crate::wire::{Answer, said};
use crate::{Validity, checks, doubted};
use model::{Action, Amount, Currency, CvvCheck, Decline, Find, FollowUp, Kind};
use model::{Operation, Outcome, Rejected, Report, State, Unknown};
use serde::Deserialize;
use serde::de::IgnoredAny;

pub(super) const UNREADABLE: Outcome = Outcome::Unknown(Unknown::Unreadable);

/// What an answer must speak of, as far as it is known. Nothing is asked where nothing is given.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// The name of a new payment or refund.
    order: Option<String>,
    /// The payment that is changed or asked for.
    payment: Option<&'a str>,
    /// The merchant's reference that is asked for.
    called: Option<&'a str>,
}

impl<'a> Expected<'a> {
    /// An answer about this payment.
    pub(super) fn about(payment: &'a str) -> Self {
        Self { payment: Some(payment), ..Self::default() }
    }

    pub(super) fn of<C>(operation: &'a Operation<C>) -> Self {
        let order = || Some(order_id(operation.reference(), &operation.key));
        match &operation.action {
            Action::Authorize(_) => Self { order: order(), ..Self::default() },
            Action::Refund(FollowUp { reference, .. }) => {
                Self { order: order(), payment: Some(reference), called: None }
            }
            Action::Capture(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. })
            | Action::Status(Find::Reference(reference)) => {
                Self::about(reference)
            }
            Action::Status(Find::MerchantReference(reference)) => {
                Self { called: Some(reference), ..Self::default() }
            }
            Action::Tokenize(_) => Self::default(),
        }
    }
}

/// The name that the card was exchanged for, or what became of the payment instead.
pub(super) fn method_id(answer: &Answer<'_>) -> Result<String, Box<Report>> {
    let failed = |told: Option<Told>| match told {
        Some(told) => told.failure(Kind::Tokenize),
        None => Report::bare(answer.by_status().unwrap_or(UNREADABLE)),
    };
    let mut told = Told::read(answer);
    let data = told.as_mut().and_then(|told| told.data.as_mut());
    let made = data.and_then(|data| data.tokenize_credit_card.take());
    match made {
        Some(Tokenized { payment_method: Named { id } }) if is_id(&id) => Ok(id),
        Some(_) => Err(Box::new(Report::bare(UNREADABLE))),
        None => Err(Box::new(failed(told))),
    }
}

pub(super) fn read(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Report {
    let Some(mut told) = Told::read(answer) else {
        return Report::bare(answer.by_status().unwrap_or(UNREADABLE));
    };
    let data = told.data.take().unwrap_or_default();
    if let (Kind::Status, Some(reference)) = (kind, expected.called) {
        return match data.search.and_then(|search| search.transactions) {
            Some(found) => found.best(reference),
            None => told.failure(kind),
        };
    }
    // What was made is told even where a part of what is told of it failed.
    match data.payment(kind) {
        Some(payment) => payment.report(kind, expected),
        None => told.failure(kind),
    }
}

/// Reads the answer to the search for nothing.
pub(super) fn validity(answer: &Answer<'_>) -> Validity {
    let Some(told) = Told::read(answer) else { return Validity::by_status(answer) };
    match told.errors.first().map(Problem::class) {
        Some("AUTHENTICATION") => Validity::CredentialsRefused,
        Some("AUTHORIZATION") => Validity::PermissionMissing,
        Some("NOT_FOUND") => Validity::AccountUnknown,
        Some("INTERNAL" | "RESOURCE_LIMIT" | "SERVICE_AVAILABILITY") => {
            Validity::ProviderUnavailable
        }
        Some(_) => Validity::NotUnderstood,
        None => {
            let search = told.data.and_then(|data| data.search?.transactions);
            search.map_or(Validity::NotUnderstood, |_| Validity::Valid)
        }
    }
}

/// An answer to anything.
#[derive(Deserialize)]
pub(super) struct Told {
    pub(super) data: Option<Data>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Data {
    authorize_credit_card: Option<Payload>,
    capture_transaction: Option<Payload>,
    charge_credit_card: Option<Payload>,
    pub(super) node: Option<Payment>,
    refund_transaction: Option<Payload>,
    reverse_transaction: Option<Payload>,
    pub(super) search: Option<Search>,
    tokenize_credit_card: Option<Tokenized>,
    vault_payment_method: Option<Tokenized>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokenized {
    payment_method: Named,
}

#[derive(Deserialize)]
pub(super) struct Named {
    id: String,
}

/// What an order made; each has one of them.
#[derive(Deserialize)]
struct Payload {
    refund: Option<Payment>,
    reversal: Option<Payment>,
    transaction: Option<Payment>,
}

#[derive(Deserialize)]
pub(super) struct Search {
    pub(super) refunds: Option<Found>,
    pub(super) transactions: Option<Found>,
}

#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) edges: Vec<Edge>,
}

#[derive(Deserialize)]
pub(super) struct Edge {
    pub(super) node: Payment,
}

/// A transaction or a refund.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment {
    #[serde(rename = "__typename")]
    type_name: Option<String>,
    amount: Option<MonetaryAmount>,
    id: String,
    pub(super) order_id: Option<String>,
    payment_method_snapshot: Option<Snapshot>,
    refunded_transaction: Option<Named>,
    pub(super) status: String,
    status_history: Option<Vec<Event>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MonetaryAmount {
    currency_code: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    network_transaction_id: Option<String>,
}

/// How a payment came to be as it is; the newest first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    /// Whether the processor's no is for good.
    decline_type: Option<String>,
    gateway_rejection_reason: Option<String>,
    /// What the scheme advises.
    merchant_advice_code_response: Option<Advice>,
    network_response: Option<NetworkResponse>,
    processor_response: Option<ProcessorResponse>,
}

#[derive(Deserialize)]
struct Advice {
    code: Option<String>,
}

#[derive(Deserialize)]
struct NetworkResponse {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProcessorResponse {
    authorization_id: Option<String>,
    avs_postal_code_response: Option<String>,
    avs_street_address_response: Option<String>,
    cvv_response: Option<String>,
    legacy_code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Problem {
    extensions: Option<Extensions>,
    message: Option<String>,
    /// What of the answer is not there because of it.
    path: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extensions {
    error_class: Option<String>,
    legacy_code: Option<String>,
}

// === impl Told ===

impl Told {
    pub(super) fn read(answer: &Answer<'_>) -> Option<Self> {
        let told: Self = if answer.status == 200 { answer.json()? } else { return None };
        (told.data.is_some() || !told.errors.is_empty()).then_some(told)
    }

    /// Whether all of it was answered.
    pub(super) fn is_whole(&self) -> bool {
        self.errors.is_empty()
    }

    /// Nothing was made, and the errors say why. Where they do not agree, nobody knows.
    pub(super) fn failure(&self, kind: Kind) -> Report {
        let Some(first) = self.errors.first() else { return Report::bare(UNREADABLE) };
        let outcome = first.outcome(kind);
        let agree = self.errors.iter().all(|problem| problem.outcome(kind) == outcome);
        let outcome = if agree { outcome } else { UNREADABLE };
        // What was made a moment ago may not be shown yet: this proves nothing.
        let not_found = outcome == Outcome::Rejected(Rejected::NotFound);
        let declined = matches!(outcome, Outcome::Declined(_));
        let state = declined.then_some(State::Declined).or(not_found.then_some(State::Unknown));
        let report = Report { state, ..Report::bare(outcome) };
        if outcome == Outcome::Rejected(Rejected::Credentials) {
            return report;
        }
        // A value that is not taken may be quoted, unless the error has a number of its own.
        let quotes = first.class() == "VALIDATION" && first.code().is_none();
        let text = first.message.as_deref().filter(|_| !quotes);
        let code = first.code().unwrap_or(first.class());
        Report { code: said(code), description: text.and_then(said), ..report }
    }
}

// === impl Problem ===

impl Problem {
    fn class(&self) -> &str {
        self.extensions.as_ref().and_then(|e| e.error_class.as_deref()).unwrap_or_default()
    }

    fn code(&self) -> Option<&str> {
        self.extensions.as_ref().and_then(|extensions| extensions.legacy_code.as_deref())
    }

    /// Whether it is about a part of what was made, and not about making it.
    fn is_within(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.len() > 1)
    }

    fn outcome(&self, kind: Kind) -> Outcome {
        let pays = matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize);
        match self.class() {
            // What was asked for was carried out, and only cannot be shown.
            _ if self.is_within() => UNREADABLE,
            "AUTHENTICATION" | "AUTHORIZATION" => Outcome::Rejected(Rejected::Credentials),
            "NOT_FOUND" if pays => Outcome::Rejected(Rejected::Malformed),
            "NOT_FOUND" => Outcome::Rejected(Rejected::NotFound),
            "NOT_IMPLEMENTED" | "UNSUPPORTED_CLIENT" => Outcome::Rejected(Rejected::Configuration),
            "RESOURCE_LIMIT" => Outcome::Rejected(Rejected::RateLimited),
            "VALIDATION" => self.invalid(pays),
            "INTERNAL" | "SERVICE_AVAILABILITY" => Outcome::Unknown(Unknown::UpstreamFailed),
            _ => UNREADABLE,
        }
    }

    fn invalid(&self, pays: bool) -> Outcome {
        let code = self.code().unwrap_or_default();
        match code {
            "91504" | "91506" | "91507" | "91512" | "91521" | "91522" if !pays => {
                Outcome::Rejected(Rejected::State)
            }
            _ => match DECLINES.find(code).filter(|_| pays) {
                Some(decline) => Outcome::Declined(decline),
                None => Outcome::Rejected(Rejected::Malformed),
            },
        }
    }
}

// === impl Data ===

impl Data {
    /// Braintree's name for a card that it keeps.
    pub(super) fn vaulted(&mut self) -> Option<String> {
        self.vault_payment_method.take().map(|made| made.payment_method.id)
    }

    fn payment(self, kind: Kind) -> Option<Payment> {
        match kind {
            Kind::Authorize => self.authorize_credit_card?.transaction,
            Kind::Capture => self.capture_transaction?.transaction,
            Kind::Charge => self.charge_credit_card?.transaction,
            Kind::Refund => self.refund_transaction?.refund,
            Kind::Status => self.node,
            Kind::Tokenize => None,
            Kind::Void => self.reverse_transaction?.reversal,
        }
    }
}

// === impl Found ===

impl Found {
    /// The payment that the merchant calls so: one that holds or took money goes before one that did
    /// not.
    fn best(self, reference: &str) -> Report {
        let called = |payment: &Payment| {
            payment.order_id.as_deref().is_some_and(|order| is_called(order, reference))
        };
        let all = self.edges.into_iter().map(|edge| edge.node).filter(called);
        let reports = all.map(|payment| payment.report(Kind::Status, &Expected::default()));
        let holds = |report: &Report| {
            !matches!(report.state, Some(State::Authorized | State::Captured | State::Pending))
        };
        let not_found = Outcome::Rejected(Rejected::NotFound);
        reports
            .min_by_key(holds)
            .unwrap_or(Report { state: Some(State::Unknown), ..Report::bare(not_found) })
    }
}

// === impl Payment ===

impl Payment {
    pub(super) fn report(&self, kind: Kind, expected: &Expected<'_>) -> Report {
        if !self.is_of(kind, expected) {
            return Report::bare(UNREADABLE);
        }
        let (outcome, state) = self.outcome(kind);
        let id = is_id(&self.id).then_some(&*self.id);
        let changes = matches!(kind, Kind::Capture | Kind::Refund | Kind::Void);
        let own = id.filter(|id| changes && expected.payment != Some(id));
        let report = Report {
            state,
            amount: self.amount(),
            // The payment keeps its id; a refund has one of its own, told as the sub-code.
            reference: if changes { expected.payment.or(id) } else { id }.map(Into::into),
            code: self.code().and_then(said),
            description: self.processor().and_then(|p| p.message.as_deref()).and_then(said),
            sub_code: own.map(Into::into),
            network_transaction_id: self
                .payment_method_snapshot
                .as_ref()
                .and_then(|snapshot| snapshot.network_transaction_id.as_deref())
                .and_then(checks::network_id),
            ..Report::bare(outcome)
        };
        let report = if changes { report } else { self.checked(report) };
        let declined = matches!(outcome, Outcome::Declined(_));
        // An approval of nobody knows what is no approval.
        if id.is_some() && report.amount.is_some() || declined { report } else { doubted(report) }
    }

    /// Whether this is what was asked for, or about what was asked for.
    fn is_of(&self, kind: Kind, expected: &Expected<'_>) -> bool {
        let order = self.order_id.as_deref();
        let named = match (&expected.order, order) {
            (Some(wanted), Some(told)) => wanted == told,
            (Some(_) | None, None) | (None, Some(_)) => true,
        };
        let refunded = self.refunded_transaction.as_ref().map(|named| &*named.id);
        named
            && match (kind, expected.payment) {
                (Kind::Refund, Some(payment)) => refunded.is_none_or(|told| told == payment),
                (Kind::Void, Some(payment)) if self.is_refund() => refunded == Some(payment),
                (_, Some(payment)) => self.id == payment,
                (_, None) => true,
            }
    }

    fn is_refund(&self) -> bool {
        self.type_name.as_deref() == Some("Refund")
    }

    fn amount(&self) -> Option<Amount> {
        let told = self.amount.as_ref()?;
        let currency = Currency::parse(told.currency_code.as_deref()?).ok()?;
        Amount::parse(told.value.as_deref()?, currency).ok()
    }

    fn processor(&self) -> Option<&ProcessorResponse> {
        let history = self.status_history.as_deref().unwrap_or_default();
        history.iter().find_map(|event| event.processor_response.as_ref())
    }

    fn rejection(&self) -> Option<&str> {
        let history = self.status_history.as_deref().unwrap_or_default();
        history.iter().find_map(|event| event.gateway_rejection_reason.as_deref())
    }

    /// Advice about another try, the scheme's or Braintree's.
    fn advice(&self) -> Option<&str> {
        let history = self.status_history.as_deref().unwrap_or_default();
        let told = history.iter().find_map(|event| event.merchant_advice_code_response.as_ref());
        let scheme = told.and_then(|advice| advice.code.as_deref());
        let own = history.iter().find_map(|event| event.decline_type.as_deref());
        decline::advice(own, scheme)
    }

    /// The gateway's own reason, the processor's code, or else the status.
    fn code(&self) -> Option<&str> {
        let processor = self.processor().and_then(|processor| processor.legacy_code.as_deref());
        self.rejection().or(processor).or(Some(&self.status))
    }

    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        let pays = matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize);
        match (kind, &*self.status) {
            (Kind::Status, _) => match self.state() {
                Some(state) => (Outcome::Approved, Some(state)),
                None => (UNREADABLE, None),
            },
            (Kind::Authorize, "AUTHORIZED") => (Outcome::Approved, Some(State::Authorized)),
            (Kind::Void, "VOIDED") => (Outcome::Approved, Some(State::Voided)),
            (
                Kind::Capture | Kind::Charge | Kind::Refund | Kind::Void,
                "SETTLED" | "SETTLEMENT_CONFIRMED" | "SETTLING" | "SUBMITTED_FOR_SETTLEMENT",
            ) => match (kind, self.is_refund()) {
                (Kind::Capture | Kind::Charge, false) => {
                    (Outcome::Approved, Some(State::Captured))
                }
                (Kind::Refund, _) | (Kind::Void, true) => {
                    (Outcome::Approved, Some(State::Refunded))
                }
                _ => (UNREADABLE, None),
            },
            (_, "AUTHORIZING" | "SETTLEMENT_PENDING") => (Outcome::Pending, Some(State::Pending)),
            (_, "FAILED" | "PROCESSOR_DECLINED" | "SETTLEMENT_DECLINED") => {
                // A change that is refused leaves the payment as it was.
                (Outcome::Declined(self.decline()), pays.then_some(State::Declined))
            }
            (_, "GATEWAY_REJECTED") => self.rejected(pays),
            // Held, where it should have been taken; or a state that is no answer to this.
            _ => (UNREADABLE, self.state()),
        }
    }

    fn decline(&self) -> Decline {
        let code = self.processor().and_then(|processor| processor.legacy_code.as_deref());
        let otherwise = match &*self.status {
            // Something went wrong on the way to the processor.
            "FAILED" => Decline::ProcessingError,
            _ => Decline::Unmapped,
        };
        code.and_then(|code| DECLINES.find(code)).unwrap_or(otherwise)
    }

    fn rejected(&self, pays: bool) -> (Outcome, Option<State>) {
        match self.rejection() {
            // The very same was there before: every attempt has an order id of its own. What became of
            // it is not told here.
            Some("DUPLICATE") | None => (UNREADABLE, None),
            Some("APPLICATION_INCOMPLETE" | "MANUAL_TRANSACTIONS_DISABLED") => {
                (Outcome::Rejected(Rejected::Configuration), None)
            }
            Some(reason) => {
                let why = DECLINES.find(reason).unwrap_or(Decline::Unmapped);
                (Outcome::Declined(why), pays.then_some(State::Declined))
            }
        }
    }

    fn state(&self) -> Option<State> {
        match &*self.status {
            "AUTHORIZED" => Some(State::Authorized),
            "SETTLED" | "SETTLEMENT_CONFIRMED" | "SETTLING" | "SUBMITTED_FOR_SETTLEMENT" => {
                Some(if self.is_refund() { State::Refunded } else { State::Captured })
            }
            "AUTHORIZING" | "SETTLEMENT_PENDING" => Some(State::Pending),
            "GATEWAY_REJECTED" | "PROCESSOR_DECLINED" => Some(State::Declined),
            "FAILED" | "SETTLEMENT_DECLINED" => Some(State::Failed),
            "AUTHORIZATION_EXPIRED" | "VOIDED" => Some(State::Voided),
            _ => None,
        }
    }

    /// The report with what the issuer says besides.
    fn checked(&self, report: Report) -> Report {
        let history = self.status_history.as_deref().unwrap_or_default();
        let network = history.iter().find_map(|event| event.network_response.as_ref());
        let Some(processor) = self.processor() else { return report };
        let (street, post_code) =
            (&processor.avs_street_address_response, &processor.avs_postal_code_response);
        let looked = street.is_some() || post_code.is_some();
        let is_right = |told: &Option<String>| told.as_deref().and_then(is_right);
        Report {
            authorization_code: processor.authorization_id.as_deref().and_then(said),
            address_check: looked
                .then(|| checks::address(is_right(street), is_right(post_code))),
            cvv_check: processor.cvv_response.as_deref().map(cvv),
            sub_code: network.and_then(|network| network.code.as_deref()).and_then(said),
            sub_description: self
                .advice()
                .or(network.and_then(|network| network.message.as_deref()))
                .and_then(said),
            ..report
        }
    }
}

/// A value of `AvsCvvResponseCode`: right, wrong or not looked at.
fn is_right(code: &str) -> Option<bool> {
    match code {
        "MATCHES" => Some(true),
        "DOES_NOT_MATCH" => Some(false),
        _ => None,
    }
}

fn cvv(code: &str) -> CvvCheck {
    match is_right(code) {
        Some(true) => CvvCheck::Match,
        Some(false) => CvvCheck::NoMatch,
        None => CvvCheck::NotChecked,
    }
}
