//! What Worldpay answers, and what it means.

use super::decline::DECLINES;
use super::{is_payment_id, token};
use super::links::Links;
use super::queried::{Issuer, List, Queried, Scheme, Told};
use crate::wire::{Answer, said};
use crate::{Validity, checks, doubted};
use model::{Action, AddressCheck, Amount, CvvCheck, Decline, FollowUp, Kind, Operation};
use model::{Outcome, Rejected, Report, State, Unknown};
use serde::Deserialize;

/// What Worldpay answers when the credentials may not use the entity, or there is none of the name.
pub(super) const ENTITY_UNKNOWN: &str = "entityIsNotConfigured";

/// Worldpay keeps no cards of this brand.
const BRAND_UNKNOWN: &str = "unrecognizedCardBrand";

const ENDPOINT_UNKNOWN: &str = "endpointNotFound";

pub(super) const UNREADABLE: Outcome = Outcome::Unknown(Unknown::Unreadable);

/// What an answer must speak of, as far as it is known. Nothing is asked where nothing is given.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// The name that we gave the payment.
    key: Option<&'a str>,
    /// Worldpay's name for the payment that is changed or asked for.
    payment: Option<&'a str>,
    /// What was asked for: an approval names no amount unless it is of less.
    amount: Option<Amount>,
}

impl<'a> Expected<'a> {
    pub(super) fn of<C>(operation: &'a Operation<C>) -> Self {
        match &operation.action {
            Action::Authorize(authorization) => Self {
                key: Some(&operation.key),
                payment: None,
                amount: Some(authorization.amount),
            },
            Action::Capture(FollowUp { reference, .. })
            | Action::Refund(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. })
            | Action::Status(model::Find::Reference(reference)) => {
                Self { key: None, payment: Some(reference), amount: None }
            }
            Action::Status(model::Find::MerchantReference(key)) => {
                Self { key: Some(key), payment: None, amount: None }
            }
            Action::Tokenize(_) => Self { key: Some(&operation.key), ..Self::default() },
        }
    }
}

pub(super) fn read(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Report {
    let report = match (kind, answer.status) {
        (Kind::Authorize | Kind::Charge, 201) => {
            answer.json().map(|result: PaymentResult| result.report(kind, expected))
        }
        (Kind::Capture | Kind::Refund | Kind::Void, 202) => {
            answer.json().map(|receipt: Receipt| receipt.report(expected))
        }
        (Kind::Status, 200) => answer.json().map(|queried: Queried| status(&queried, expected)),
        (Kind::Tokenize, 200 | 201) => {
            token::told(expected.key, answer).map(|_| Report::bare(Outcome::Approved))
        }
        (_, 0..400) => None,
        (_, 400..) => Some(failed(kind, answer)),
    };
    report.unwrap_or(Report::bare(UNREADABLE))
}

fn failed(kind: Kind, answer: &Answer<'_>) -> Report {
    match answer.json::<Failure>() {
        Some(failure) => failure.report(kind, answer),
        None => Report::bare(answer.by_status().unwrap_or(UNREADABLE)),
    }
}

/// The payment that was asked for before a change, or what to say instead of changing it.
pub(super) fn queried(answer: &Answer<'_>, payment: &str) -> Result<Queried, Box<Report>> {
    match (answer.status, answer.json::<Queried>()) {
        (200, Some(queried)) if queried.payment_id == payment => Ok(queried),
        (400.., _) => Err(failed(Kind::Capture, answer).into()),
        _ => Err(Report::bare(UNREADABLE).into()),
    }
}

/// Worldpay's name for the payment that has this name of ours.
pub(super) fn listed(answer: &Answer<'_>, key: &str) -> Result<String, Box<Report>> {
    let list = match (answer.status, answer.json::<List>()) {
        (200, Some(list)) => list,
        (400.., _) => return Err(failed(Kind::Status, answer).into()),
        _ => return Err(Report::bare(UNREADABLE).into()),
    };
    let payments = list.embedded.payments.into_iter();
    let mut found = payments.filter(|payment| payment.transaction_reference == key);
    match (found.next(), found.next()) {
        (Some(payment), None) if is_payment_id(&payment.payment_id) => Ok(payment.payment_id),
        (None, _) => Err(absent().into()),
        _ => Err(Report::bare(UNREADABLE).into()),
    }
}

/// The queries are behind by up to a quarter of an hour: that there is nothing proves nothing.
fn absent() -> Report {
    let state = Some(State::Unknown);
    Report { state, ..Report::bare(Outcome::Rejected(Rejected::NotFound)) }
}

/// A status is a success when the payment was found, whatever became of it.
fn status(queried: &Queried, expected: &Expected<'_>) -> Report {
    let another = expected.payment.is_some_and(|wanted| wanted != queried.payment_id)
        || expected.key.is_some_and(|wanted| wanted != queried.transaction_reference);
    if another {
        return Report::bare(UNREADABLE);
    }
    let report = queried.report(Outcome::Approved, queried.state());
    let whole = report.reference.is_some() && report.amount.is_some() && report.code.is_some();
    if whole { report } else { doubted(report) }
}

/// Reads the answer to the question for a payment that nobody made.
pub(super) fn validity(answer: &Answer<'_>) -> Validity {
    let failure = answer.json::<Failure>();
    let name = failure.as_ref().map(|failure| &*failure.error_name);
    match (answer.status, name) {
        (400 | 403, Some(ENTITY_UNKNOWN)) => Validity::AccountUnknown,
        (404, Some(name)) if name != ENDPOINT_UNKNOWN => Validity::Valid,
        (200, None) if answer.json::<Events>().is_some() => Validity::Valid,
        _ => Validity::by_status(answer),
    }
}

/// The last event of a payment.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Events {
    #[serde(rename = "lastEvent")]
    _last_event: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaymentResult {
    outcome: String,
    payment_id: Option<String>,
    transaction_reference: Option<String>,
    issuer: Option<Issuer>,
    scheme: Option<Scheme>,
    risk_factors: Option<Vec<Risk>>,
    amounts: Option<Amounts>,
    refusal_code: Option<String>,
    refusal_description: Option<String>,
    advice: Option<Advice>,
    #[serde(rename = "_links")]
    links: Option<Links>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Amounts {
    total_authorized: u64,
    currency: String,
}

#[derive(Deserialize)]
struct Advice {
    code: String,
}

/// Something that was not as it should be. What was right is not listed.
#[derive(Deserialize)]
struct Risk {
    r#type: String,
    risk: String,
    detail: Option<String>,
}

/// The answer to a settlement, a cancellation, a reversal or a refund.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    payment_id: Option<String>,
    command_id: Option<String>,
    #[serde(rename = "_links")]
    links: Links,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    error_name: String,
    message: Option<String>,
    #[serde(default)]
    validation_errors: Vec<Invalid>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invalid {
    message: Option<String>,
    json_path: Option<String>,
}

// === impl PaymentResult ===

impl PaymentResult {
    fn report(&self, kind: Kind, expected: &Expected<'_>) -> Report {
        let told = self.transaction_reference.as_deref();
        if expected.key.is_some_and(|wanted| told.is_some_and(|told| told != wanted)) {
            return Report::bare(UNREADABLE);
        }
        let (outcome, state) = self.outcome(kind);
        let declined = matches!(outcome, Outcome::Declined(_));
        let report = Report {
            state,
            amount: if declined { None } else { self.amount(expected) },
            authorization_code: self.issuer.as_ref().and_then(Issuer::code),
            reference: self.payment_id.as_deref().filter(|id| is_payment_id(id)).map(Into::into),
            code: self.refusal_code.as_deref().or(Some(&self.outcome)).and_then(said),
            description: self.refusal_description.as_deref().and_then(said),
            sub_code: self.advice.as_ref().and_then(|advice| said(&advice.code)),
            address_check: self.address(declined),
            cvv_check: self.cvv(declined),
            network_transaction_id: self.scheme.as_ref().and_then(Scheme::id),
            memo: self.links.as_ref().and_then(Links::memo),
            ..Report::bare(outcome)
        };
        // An approval of nobody knows what is no approval.
        let whole = report.reference.is_some() && report.amount.is_some();
        if whole { report } else { doubted(report) }
    }

    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        match (&*self.outcome, kind) {
            ("authorized", Kind::Authorize) => (Outcome::Approved, Some(State::Authorized)),
            // Worldpay was told to settle at once, and does so by itself.
            ("Sent for Settlement" | "sentForSettlement", Kind::Charge) => {
                (Outcome::Approved, Some(State::Captured))
            }
            // A charge that is only held, a hold that was taken: it is not what was asked.
            ("authorized", _) => (UNREADABLE, Some(State::Authorized)),
            ("Sent for Settlement" | "sentForSettlement", _) => {
                (UNREADABLE, Some(State::Captured))
            }
            ("refused", _) => (Outcome::Declined(self.decline()), Some(State::Declined)),
            _ => (UNREADABLE, None),
        }
    }

    fn decline(&self) -> Decline {
        let code = self.refusal_code.as_deref();
        code.and_then(|code| DECLINES.find(code)).unwrap_or(Decline::Unmapped)
    }

    /// What was authorized: all of it, unless the answer says how much.
    fn amount(&self, expected: &Expected<'_>) -> Option<Amount> {
        match &self.amounts {
            Some(told) => super::amount(told.total_authorized, &told.currency),
            None => expected.amount,
        }
    }

    fn address(&self, declined: bool) -> Option<AddressCheck> {
        let risks = self.risk_factors.as_ref()?;
        let right = |part| right(risks, "avs", Some(part), declined);
        Some(checks::address(right("address"), right("postcode")))
    }

    fn cvv(&self, declined: bool) -> Option<CvvCheck> {
        Some(match right(self.risk_factors.as_ref()?, "cvc", None, declined) {
            Some(true) => CvvCheck::Match,
            Some(false) => CvvCheck::NoMatch,
            None => CvvCheck::NotChecked,
        })
    }
}

/// Whether something was right. In an approval it is when it is not listed; what was declined may not
/// have been looked at.
fn right(risks: &[Risk], what: &str, part: Option<&str>, declined: bool) -> Option<bool> {
    match risks.iter().find(|risk| risk.is_about(what, part)).map(|risk| &*risk.risk) {
        None => (!declined).then_some(true),
        Some("notMatched") => Some(false),
        Some(_) => None,
    }
}

// === impl Risk ===

impl Risk {
    /// One without a detail is about every part.
    fn is_about(&self, what: &str, part: Option<&str>) -> bool {
        let detail = self.detail.as_deref();
        self.r#type == what && (detail.is_none() || part.is_none() || detail == part)
    }
}

// === impl Receipt ===

impl Receipt {
    /// The payment keeps its name; the change has one of its own, told as the sub-code.
    fn report(&self, expected: &Expected<'_>) -> Report {
        let told = self.payment_id.as_deref();
        if expected.payment.is_some_and(|wanted| told.is_some_and(|told| told != wanted)) {
            return Report::bare(UNREADABLE);
        }
        // Cancellations and reversals do not say whose they are.
        let reference = told.or(expected.payment).filter(|id| is_payment_id(id));
        let report = Report {
            state: Some(State::Pending),
            reference: reference.map(Into::into),
            sub_code: self.command_id.as_deref().filter(|id| is_payment_id(id)).map(Into::into),
            memo: self.links.memo(),
            ..Report::bare(Outcome::Pending)
        };
        if report.reference.is_some() { report } else { doubted(report) }
    }
}

// === impl Failure ===

impl Failure {
    fn report(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        let outcome = self.outcome(kind, answer);
        let invalid = self.validation_errors.first();
        let report = Report {
            state: match outcome {
                Outcome::Declined(_) => Some(State::Declined),
                Outcome::Rejected(Rejected::NotFound) => Some(State::Unknown),
                Outcome::Approved
                | Outcome::Pending
                | Outcome::Rejected(_)
                | Outcome::Unknown(_) => None,
            },
            code: said(&self.error_name),
            ..Report::bare(outcome)
        };
        // A text about wrong credentials may quote them.
        if outcome == Outcome::Rejected(Rejected::Credentials) {
            return report;
        }
        Report {
            description: self.message.as_deref().and_then(said),
            sub_code: invalid.and_then(|invalid| invalid.json_path.as_deref()).and_then(said),
            sub_description: invalid.and_then(|invalid| invalid.message.as_deref()).and_then(said),
            ..report
        }
    }

    /// <https://docs.worldpay.com/access/products/reference/worldpay-error-responses>
    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Outcome {
        let is_new = matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize);
        match (answer.status, &*self.error_name) {
            (500.., _) => Outcome::Unknown(Unknown::UpstreamFailed),
            // The same request was there before: what became of that is not in this answer.
            _ if self.is_duplicate() => Outcome::Unknown(Unknown::Interrupted),
            (400 | 403, ENTITY_UNKNOWN) => Outcome::Rejected(Rejected::Configuration),
            (422, BRAND_UNKNOWN) => Outcome::Declined(Decline::CardNotSupported),
            (401 | 403 | 429, _) => answer.by_status().unwrap_or(UNREADABLE),
            (404, _) if !is_new => Outcome::Rejected(Rejected::NotFound),
            (409, _) => Outcome::Unknown(Unknown::Interrupted),
            // Nothing was done: it may be corrected and sent again.
            (400..=499, _) => Outcome::Rejected(Rejected::Malformed),
            _ => UNREADABLE,
        }
    }

    fn is_duplicate(&self) -> bool {
        let told = |text: &str| text.to_ascii_lowercase().contains("duplicate");
        told(&self.error_name) || self.message.as_deref().is_some_and(told)
    }
}

/// Whether an amount that is told is the one that was meant.
pub(super) fn is_of(told: Option<&Told>, amount: Amount) -> bool {
    told.is_none_or(|told| told.is(amount))
}
