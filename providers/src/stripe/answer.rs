//! What Stripe answers, and what it means.

use super::decline::{self, DECLINES};
use super::{id, places};
use crate::{Validity, checks, doubted};
use crate::wire::{Answer, said};
use model::{Action, AddressCheck, Amount, Currency, CvvCheck, Decline, Find, FollowUp, Kind};
use model::{Operation, Outcome, Rejected, Report, State, Unknown};
use serde::Deserialize;
use serde::de::IgnoredAny;

pub(super) const UNREADABLE: Outcome = Outcome::Unknown(Unknown::Unreadable);

/// What an answer must speak of, as far as it is known. Nothing is asked where nothing is given.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// Our key, in the metadata of a new intent.
    key: Option<&'a str>,
    /// The merchant's reference, in the metadata of what a search finds.
    merchant_reference: Option<&'a str>,
    /// The object itself, or the payment that a refund belongs to.
    reference: Option<&'a str>,
}

impl<'a> Expected<'a> {
    /// A new payment under this key of ours.
    pub(super) fn key(key: &'a str) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// This payment, or something done to it.
    pub(super) fn payment(reference: &'a str) -> Self {
        Self { reference: Some(reference), ..Self::default() }
    }

    pub(super) fn of<C>(operation: &'a Operation<C>) -> Self {
        let none = Self::default();
        match &operation.action {
            Action::Authorize(_) => Self { key: Some(&operation.key), ..none },
            Action::Capture(FollowUp { reference, .. })
            | Action::Refund(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. })
            | Action::Status(Find::Reference(reference)) => {
                Self { reference: Some(reference), ..none }
            }
            Action::Status(Find::MerchantReference(reference)) => {
                Self { merchant_reference: Some(reference), ..none }
            }
            Action::Tokenize(_) => none,
        }
    }
}

pub(super) fn read(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Report {
    if answer.status != 200 {
        return failure(kind, answer);
    }
    match answer.json::<Object>() {
        Some(Object::PaymentIntent(intent)) => intent.report(kind, expected),
        Some(Object::Refund(refund)) => refund.report(kind, expected),
        Some(Object::SearchResult { data }) if kind == Kind::Status => found(data, expected),
        Some(Object::SearchResult { .. } | Object::PaymentMethod { .. }) | None => {
            Report::bare(UNREADABLE)
        }
    }
}

/// The id of the PaymentMethod that the first exchange made, or what became of it instead.
pub(super) fn method_id(answer: &Answer<'_>) -> Result<String, Box<Report>> {
    if answer.status != 200 {
        return Err(Box::new(failure(Kind::Authorize, answer)));
    }
    match answer.json::<Object>() {
        Some(Object::PaymentMethod { id: name, r#type }) if r#type == "card" => {
            id(&name, "pm_").map(str::to_owned)
        }
        _ => None,
    }
    .ok_or_else(|| Box::new(Report::bare(UNREADABLE)))
}

/// Picks among the intents that have the merchant's reference.
///
/// The search does not mind case, so the reference is compared again. A merchant may try the same
/// order again after a decline: what holds or took money goes before what did not, and of several
/// the newest.
fn found(data: Vec<Intent>, expected: &Expected<'_>) -> Report {
    let wanted = |intent: &Intent| match (expected.merchant_reference, &intent.metadata) {
        (Some(wanted), Some(meta)) => meta.merchant_reference.as_deref() == Some(wanted),
        (Some(_), None) => false,
        (None, _) => true,
    };
    let best = data
        .into_iter()
        .filter(wanted)
        .max_by_key(|intent| (intent.holds_money(), intent.created));
    match best {
        Some(intent) => intent.report(Kind::Status, &Expected::default()),
        // The index lags behind by a minute or more: this does not prove that there is nothing.
        None => Report {
            state: Some(State::Unknown),
            ..Report::bare(Outcome::Rejected(Rejected::NotFound))
        },
    }
}

fn amount(units: u64, currency: &str) -> Option<Amount> {
    let currency = Currency::parse(currency).ok()?;
    Amount::from_units(units, places(currency)?, currency).ok()
}

pub(super) fn failure(kind: Kind, answer: &Answer<'_>) -> Report {
    match answer.json::<Failure>() {
        Some(Failure { error }) => error.report(kind, answer),
        None => Report::bare(answer.by_status().unwrap_or(UNREADABLE)),
    }
}

#[derive(Deserialize)]
#[serde(tag = "object", rename_all = "snake_case")]
pub(super) enum Object {
    PaymentIntent(Box<Intent>),
    PaymentMethod { id: String, r#type: String },
    Refund(Refund),
    SearchResult { data: Vec<Intent> },
}

#[derive(Deserialize)]
pub(super) struct Intent {
    id: String,
    amount: u64,
    amount_capturable: Option<u64>,
    amount_received: Option<u64>,
    capture_method: Option<String>,
    #[serde(default)]
    created: u64,
    currency: String,
    last_payment_error: Option<Error>,
    latest_charge: Option<Latest>,
    metadata: Option<Metadata>,
    status: String,
}

#[derive(Deserialize)]
struct Metadata {
    merchant_reference: Option<String>,
    operation_key: Option<String>,
}

/// The charge, where it was asked for, or its id.
#[derive(Deserialize)]
#[serde(untagged)]
enum Latest {
    Charge(Box<Charge>),
    Id(#[expect(dead_code, reason = "only its type is checked")] String),
}

#[derive(Deserialize)]
struct Charge {
    amount_captured: Option<u64>,
    amount_refunded: Option<u64>,
    outcome: Option<ChargeOutcome>,
    payment_method_details: Option<Details>,
}

#[derive(Deserialize)]
struct ChargeOutcome {
    seller_message: Option<String>,
}

#[derive(Deserialize)]
struct Details {
    card: Option<CardDetails>,
}

#[derive(Deserialize)]
struct CardDetails {
    authorization_code: Option<String>,
    checks: Option<Checks>,
    network_transaction_id: Option<String>,
}

/// What the issuer says of what only the cardholder knows.
#[derive(Deserialize)]
struct Checks {
    address_line1_check: Option<String>,
    address_postal_code_check: Option<String>,
    cvc_check: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Refund {
    id: String,
    amount: u64,
    currency: String,
    failure_reason: Option<String>,
    metadata: Option<Metadata>,
    payment_intent: Option<String>,
    status: String,
}

/// Reads the answer to the question for payments that there are not.
pub(super) fn validity(answer: &Answer<'_>) -> Validity {
    let failure = || answer.json::<Failure>().and_then(|failure| failure.error.code);
    match answer.status {
        200 if answer.json::<List>().is_some_and(|list| list.object == "list") => Validity::Valid,
        400..=403 if failure().as_deref() == Some(INVALID_ACCOUNT) => Validity::AccountUnknown,
        _ => Validity::by_status(answer),
    }
}

/// What Stripe answers when the key may not act for the connected account, or there is none.
const INVALID_ACCOUNT: &str = "account_invalid";

/// A list, whatever is in it.
#[derive(Deserialize)]
struct List {
    object: String,
    #[serde(rename = "data")]
    _data: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Failure {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    advice_code: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
    network_advice_code: Option<String>,
    payment_intent: Option<Named>,
    payment_method: Option<Method>,
    r#type: String,
}

/// The card that was declined.
#[derive(Deserialize)]
struct Method {
    card: Option<MethodCard>,
}

#[derive(Deserialize)]
struct MethodCard {
    checks: Option<Checks>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

// === impl Intent ===

impl Intent {
    /// Stripe's word for the state.
    pub(super) fn status(&self) -> &str {
        &self.status
    }

    /// The key of ours under which it was made.
    pub(super) fn key(&self) -> Option<&str> {
        self.metadata.as_ref()?.operation_key.as_deref()
    }

    /// Whether it is only held until somebody captures it.
    pub(super) fn is_captured_later(&self) -> bool {
        self.capture_method.as_deref() == Some("manual")
    }

    /// Whether this is what was taken of it.
    pub(super) fn received(&self, wanted: Amount) -> bool {
        self.amount_received.and_then(|units| amount(units, &self.currency)) == Some(wanted)
    }

    pub(super) fn reference(&self) -> Option<Box<str>> {
        id(&self.id, "pi_").map(Into::into)
    }

    pub(super) fn report(&self, kind: Kind, expected: &Expected<'_>) -> Report {
        // Nothing of another's payment is passed on, its name least of all.
        if !self.is(expected) {
            return Report::bare(UNREADABLE);
        }
        let state = self.state();
        let outcome = self.outcome(kind, state);
        let declined = matches!(outcome, Outcome::Declined(_));
        let card = self.card();
        let checks = card.and_then(|card| card.checks.as_ref());
        let report = Report {
            state: if declined { Some(State::Declined) } else { state },
            amount: amount(self.told(kind, state), &self.currency),
            authorization_code: card.and_then(|c| c.authorization_code.as_deref()).and_then(said),
            address_check: checks.map(Checks::address),
            cvv_check: checks.map(Checks::cvv),
            network_transaction_id: card
                .and_then(|card| card.network_transaction_id.as_deref())
                .and_then(checks::network_id),
            reference: self.reference(),
            code: said(&self.status),
            description: self.seller_message().and_then(said),
            ..Report::bare(outcome)
        };
        let report = match &self.last_payment_error {
            Some(error) if state == Some(State::Declined) => error.told(report),
            Some(_) | None => report,
        };
        // An approval of nobody knows what is no approval.
        if report.amount.is_some() && report.reference.is_some() { report } else { doubted(report) }
    }

    /// The state of the payment, in the words of the intent's life cycle.
    fn state(&self) -> Option<State> {
        match &*self.status {
            // Also the state after a decline; before any attempt there is no error to see.
            "requires_payment_method" if self.last_payment_error.is_some() => Some(State::Declined),
            "requires_payment_method" => Some(State::Unknown),
            "requires_confirmation" | "requires_action" | "processing" => Some(State::Pending),
            "requires_capture" => Some(State::Authorized),
            "canceled" => Some(State::Voided),
            "succeeded" if self.is_refunded() => Some(State::Refunded),
            "succeeded" => Some(State::Captured),
            _ => None,
        }
    }

    fn outcome(&self, kind: Kind, state: Option<State>) -> Outcome {
        match (kind, &*self.status) {
            (Kind::Status, _) if state.is_some() => Outcome::Approved,
            (Kind::Charge, "succeeded") if self.amount_received == Some(self.amount) => {
                Outcome::Approved
            }
            (Kind::Authorize, "requires_capture") if self.is_wholly_held() => Outcome::Approved,
            (Kind::Capture, "succeeded") if self.amount_received.is_some() => Outcome::Approved,
            (Kind::Void, "canceled") => Outcome::Approved,
            (Kind::Authorize | Kind::Capture | Kind::Charge, "processing") => Outcome::Pending,
            (Kind::Authorize | Kind::Charge, "requires_action") => {
                Outcome::Declined(Decline::AuthenticationRequired)
            }
            (Kind::Authorize | Kind::Charge, "requires_payment_method") => self
                .last_payment_error
                .as_ref()
                .map_or(UNREADABLE, |error| Outcome::Declined(error.decline())),
            _ => UNREADABLE,
        }
    }

    /// The amount that the intent speaks of, in Stripe's units.
    fn told(&self, kind: Kind, state: Option<State>) -> u64 {
        let whole = self.amount;
        match (kind, state) {
            (Kind::Charge | Kind::Capture | Kind::Status, Some(State::Captured | State::Refunded)) => {
                self.amount_received.unwrap_or(whole)
            }
            _ => whole,
        }
    }

    fn is_wholly_held(&self) -> bool {
        self.amount_capturable.is_none_or(|held| held == self.amount)
    }

    fn is_refunded(&self) -> bool {
        self.charge().is_some_and(|charge| {
            charge.amount_refunded.is_some_and(|refunded| refunded > 0)
                && charge.amount_refunded == charge.amount_captured
        })
    }

    fn holds_money(&self) -> bool {
        matches!(&*self.status, "processing" | "requires_capture" | "succeeded")
    }

    /// Whether this is the intent that was asked for, as far as both sides tell.
    pub(super) fn is(&self, expected: &Expected<'_>) -> bool {
        let key = self.metadata.as_ref().and_then(|meta| meta.operation_key.as_deref());
        expected.reference.is_none_or(|wanted| wanted == self.id)
            && expected.key.is_none_or(|wanted| key.is_none_or(|key| key == wanted))
    }

    fn charge(&self) -> Option<&Charge> {
        match &self.latest_charge {
            Some(Latest::Charge(charge)) => Some(charge),
            Some(Latest::Id(_)) | None => None,
        }
    }

    fn card(&self) -> Option<&CardDetails> {
        self.charge()?.payment_method_details.as_ref()?.card.as_ref()
    }

    fn seller_message(&self) -> Option<&str> {
        self.charge()?.outcome.as_ref()?.seller_message.as_deref()
    }
}

// === impl Checks ===

impl Checks {
    fn address(&self) -> AddressCheck {
        checks::address(
            passed(self.address_line1_check.as_deref()),
            passed(self.address_postal_code_check.as_deref()),
        )
    }

    fn cvv(&self) -> CvvCheck {
        match passed(self.cvc_check.as_deref()) {
            Some(true) => CvvCheck::Match,
            Some(false) => CvvCheck::NoMatch,
            None => CvvCheck::NotChecked,
        }
    }
}

/// Besides these two there are `unavailable` and `unchecked`.
fn passed(check: Option<&str>) -> Option<bool> {
    match check {
        Some("pass") => Some(true),
        Some("fail") => Some(false),
        Some(_) | None => None,
    }
}

// === impl Refund ===

impl Refund {
    /// The key of ours under which it was made.
    pub(super) fn key(&self) -> Option<&str> {
        self.metadata.as_ref()?.operation_key.as_deref()
    }

    /// The payment that it belongs to.
    pub(super) fn payment(&self) -> Option<Box<str>> {
        self.payment_intent.as_deref().and_then(|name| id(name, "pi_")).map(Into::into)
    }

    pub(super) fn report(self, kind: Kind, expected: &Expected<'_>) -> Report {
        if !self.is(expected) {
            return Report::bare(UNREADABLE);
        }
        let (outcome, state) = self.outcome(kind);
        let report = Report {
            state,
            amount: amount(self.amount, &self.currency),
            reference: id(&self.id, "re_").map(Into::into),
            code: said(&self.status),
            sub_code: self.failure_reason.as_deref().and_then(said),
            ..Report::bare(outcome)
        };
        if report.amount.is_some() && report.reference.is_some() { report } else { doubted(report) }
    }

    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        match (kind, &*self.status) {
            (Kind::Refund | Kind::Status, "succeeded") => {
                (Outcome::Approved, Some(State::Refunded))
            }
            (Kind::Refund, "pending" | "requires_action") => {
                (Outcome::Pending, Some(State::Pending))
            }
            (Kind::Status, "pending" | "requires_action") => {
                (Outcome::Approved, Some(State::Pending))
            }
            // The refund is dead; the payment is what it was before.
            (Kind::Refund, "failed" | "canceled") => (Outcome::Declined(self.decline()), None),
            (Kind::Status, "failed" | "canceled") => (Outcome::Approved, Some(State::Declined)),
            _ => (UNREADABLE, None),
        }
    }

    fn decline(&self) -> Decline {
        match self.failure_reason.as_deref() {
            Some("lost_or_stolen_card") => Decline::LostOrStolen,
            Some("expired_or_canceled_card") => Decline::ExpiredCard,
            Some("insufficient_funds") => Decline::InsufficientFunds,
            Some("declined" | "merchant_request" | "charge_for_pending_refund_disputed") | None => {
                Decline::CardDeclined
            }
            Some(_) => Decline::Unmapped,
        }
    }

    fn is(&self, expected: &Expected<'_>) -> bool {
        let payment = self.payment_intent.as_deref();
        expected
            .reference
            .is_none_or(|wanted| wanted == self.id || payment.is_none_or(|name| name == wanted))
    }
}

// === impl Error ===

impl Error {
    fn report(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        let outcome = self.outcome(kind, answer);
        let authorizes = matches!(kind, Kind::Authorize | Kind::Charge);
        let declined = matches!(outcome, Outcome::Declined(_));
        let report = Report {
            state: (authorizes && declined).then_some(State::Declined),
            reference: self.payment_intent.as_ref().and_then(|p| id(&p.id, "pi_")).map(Into::into),
            ..Report::bare(outcome)
        };
        // A text about a wrong key may quote it.
        if outcome == Outcome::Rejected(Rejected::Credentials) {
            return report;
        }
        self.told(report)
    }

    /// The report with Stripe's own words.
    fn told(&self, report: Report) -> Report {
        let card = self.payment_method.as_ref().and_then(|method| method.card.as_ref());
        let checks = card.and_then(|card| card.checks.as_ref());
        let (own, scheme) = (self.advice_code.as_deref(), self.network_advice_code.as_deref());
        let advice = decline::advice(own, scheme);
        Report {
            address_check: checks.map(Checks::address).or(report.address_check),
            cvv_check: checks.map(Checks::cvv).or(report.cvv_check),
            code: self.code.as_deref().or(Some(&self.r#type)).and_then(said),
            description: self.message.as_deref().and_then(said),
            sub_code: self.decline_code.as_deref().and_then(said),
            sub_description: advice.and_then(said),
            ..report
        }
    }

    /// <https://docs.stripe.com/error-codes>
    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Outcome {
        let code = self.code.as_deref();
        match (answer.status, &*self.r#type, code) {
            // Executing or executed: what the first request did is not in this answer.
            (_, _, Some("idempotency_key_in_use")) if answer.status < 500 => {
                Outcome::Unknown(Unknown::Interrupted)
            }
            // Another request holds the object, so this one did nothing.
            (400..=499, _, Some("lock_timeout")) => Outcome::Rejected(Rejected::RateLimited),
            (401 | 403 | 429 | 500.., _, _) => answer.by_status().unwrap_or(UNREADABLE),
            (424, _, _) | (_, "api_error", _) => Outcome::Unknown(Unknown::UpstreamFailed),
            (400..=499, "card_error", _) => Outcome::Declined(self.decline()),
            (400..=499, "idempotency_error", _) => Outcome::Rejected(Rejected::Duplicate),
            (400..=499, "invalid_request_error", _) => self.invalid(kind, answer.status),
            _ => UNREADABLE,
        }
    }

    fn invalid(&self, kind: Kind, status: u16) -> Outcome {
        match self.code.as_deref() {
            Some("payment_intent_authentication_failure" | "payment_intent_action_required") => {
                Outcome::Declined(Decline::AuthenticationRequired)
            }
            // In a charge it is not a payment that is missing.
            Some("resource_missing")
                if !matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize) =>
            {
                Outcome::Rejected(Rejected::NotFound)
            }
            Some(
                "capture_charge_authorization_expired"
                | "charge_already_captured"
                | "charge_already_refunded"
                | "charge_disputed"
                | "charge_expired_for_capture"
                | "charge_not_refundable"
                | "intent_invalid_state"
                | "payment_intent_unexpected_state"
                | "refund_disputed_payment",
            ) => Outcome::Rejected(Rejected::State),
            Some("rate_limit" | "payment_intent_rate_limit_exceeded") => {
                Outcome::Rejected(Rejected::RateLimited)
            }
            Some("api_key_expired" | "platform_api_key_expired" | "secret_key_required") => {
                Outcome::Rejected(Rejected::Credentials)
            }
            Some(
                "account_invalid"
                | "capability_not_active"
                | "country_unsupported"
                | "livemode_mismatch"
                | "payment_method_unactivated"
                | "payment_method_not_available"
                | "testmode_charges_only"
                | "three_d_secure_authentication_not_supported",
            ) => Outcome::Rejected(Rejected::Configuration),
            // Such as a card number from an account that may not send one.
            _ if status == 402 => Outcome::Rejected(Rejected::Configuration),
            _ => Outcome::Rejected(Rejected::Malformed),
        }
    }

    /// The issuer's reason goes before Stripe's own; a reason that is not in the table is unmapped.
    fn decline(&self) -> Decline {
        let word = self.decline_code.as_deref().or(self.code.as_deref());
        word.and_then(|word| DECLINES.find(word)).unwrap_or(Decline::Unmapped)
    }
}
