//! What CyberSource answers, and what it means.

use super::decline::DECLINES;
use super::instrument::Kept;
use super::is_id;
use super::lost::{SearchResult, Summary};
use crate::wire::{Answer, said};
use crate::{Validity, checks, doubted};
use model::{Action, AddressCheck, Amount, Currency, CvvCheck, Decline, Find, FollowUp, Kind};
use model::{Operation, Outcome, Rejected, Report, State, Unknown};
use serde::Deserialize;

pub(super) const UNREADABLE: Outcome = Outcome::Unknown(Unknown::Unreadable);

/// What an answer must speak of, as far as it is known. Nothing is asked where nothing is given.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// Our key, which every answer repeats.
    key: Option<&'a str>,
    /// The payment that is changed or asked for.
    payment: Option<&'a str>,
}

impl<'a> Expected<'a> {
    pub(super) fn of<C>(operation: &'a Operation<C>) -> Self {
        let key = Some(&*operation.key);
        match &operation.action {
            Action::Authorize(_) | Action::Tokenize(_) => Self { key, payment: None },
            Action::Capture(FollowUp { reference, .. })
            | Action::Refund(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. }) => Self { key, payment: Some(reference) },
            Action::Status(Find::Reference(reference)) => {
                Self { key: None, payment: Some(reference) }
            }
            Action::Status(Find::MerchantReference(_)) => Self::default(),
        }
    }
}

pub(super) fn read(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Report {
    let report = match (kind, answer.status) {
        (Kind::Status, 200) => {
            answer.json().map(|summary: Summary| summary.status(expected.payment))
        }
        (Kind::Status, 404) => {
            // What was done a moment ago is not shown yet: this does not prove that there is nothing.
            let outcome = Outcome::Rejected(Rejected::NotFound);
            Some(Report { state: Some(State::Unknown), ..Report::bare(outcome) })
        }
        (Kind::Tokenize, 200 | 201) => answer.json().map(|made: Made| made.kept(expected)),
        (_, 200 | 201) => answer.json().map(|made: Made| made.report(kind, expected)),
        (_, 0..400) => None,
        (_, 400..) => Some(failure(kind, answer)),
    };
    report.unwrap_or(Report::bare(UNREADABLE))
}

/// Reads the answer to the search for nothing.
pub(super) fn validity(answer: &Answer<'_>) -> Validity {
    match answer.status {
        200 | 201 if SearchResult::read(answer).is_some() => Validity::Valid,
        // The key is known, and is of another merchant.
        400 | 403 if rejected(answer).as_deref() == Some(INVALID_MERCHANT) => {
            Validity::AccountUnknown
        }
        _ => Validity::by_status(answer),
    }
}

const INVALID_MERCHANT: &str = "INVALID_MERCHANT_CONFIGURATION";

fn rejected(answer: &Answer<'_>) -> Option<String> {
    answer.json::<Failure>().and_then(|failure| failure.reason)
}

/// Whether CyberSource lists the currency with the decimals of ISO 4217.
pub(super) fn is_listed(currency: Currency) -> bool {
    currency.code() == "CLF" || currency.exponent() <= 3 && currency.code() != "UYI"
}

pub(super) fn amount(number: &str, code: &str) -> Option<Amount> {
    Amount::parse(number, Currency::parse(code).ok()?).ok()
}

/// What was made: a payment, a capture, a refund or a reversal.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    id: String,
    client_reference_information: Option<ClientReference>,
    error_information: Option<ErrorInformation>,
    order_information: Option<Order>,
    processor_information: Option<Processor>,
    refund_amount_details: Option<AmountDetails>,
    reversal_amount_details: Option<AmountDetails>,
    status: String,
    token_information: Option<Kept>,
    void_amount_details: Option<AmountDetails>,
}

#[derive(Deserialize)]
pub(super) struct ClientReference {
    pub(super) code: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ErrorInformation {
    pub(super) message: Option<String>,
    pub(super) reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Order {
    pub(super) amount_details: Option<AmountDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AmountDetails {
    authorized_amount: Option<String>,
    currency: Option<String>,
    refund_amount: Option<String>,
    reversed_amount: Option<String>,
    total_amount: Option<String>,
    void_amount: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Processor {
    pub(super) approval_code: Option<String>,
    avs: Option<Avs>,
    card_verification: Option<CardVerification>,
    merchant_advice: Option<MerchantAdvice>,
    network_transaction_id: Option<String>,
    response_code: Option<String>,
}

#[derive(Deserialize)]
struct Avs {
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CardVerification {
    result_code: Option<String>,
}

/// The scheme's advice about another try.
#[derive(Deserialize)]
struct MerchantAdvice {
    code: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    message: Option<String>,
    reason: Option<String>,
}

// === impl Made ===

impl Made {
    /// A card that is kept: that nothing was authorized for it is nothing to be told.
    fn kept(self, expected: &Expected<'_>) -> Report {
        let is_kept = self.token_information.as_ref().is_some_and(|kept| kept.name().is_some());
        let report = self.report(Kind::Tokenize, expected);
        if report.outcome == Outcome::Approved && !is_kept {
            return Report::bare(UNREADABLE);
        }
        Report { amount: None, reference: None, network_transaction_id: None, ..report }
    }

    fn report(self, kind: Kind, expected: &Expected<'_>) -> Report {
        let told = self.client_reference_information.as_ref().and_then(|r| r.code.as_deref());
        // Nothing of another's payment is passed on, its name least of all.
        if expected.key.is_some_and(|wanted| told.is_some_and(|told| told != wanted)) {
            return Report::bare(UNREADABLE);
        }
        let (outcome, state) = self.outcome(kind);
        let changes = matches!(kind, Kind::Capture | Kind::Refund | Kind::Void);
        let id = is_id(&self.id).then_some(&*self.id);
        let error = self.error_information.as_ref();
        let report = Report {
            state,
            amount: self.amount(),
            // The payment keeps its id; the change has one of its own, told as the sub-code.
            reference: if changes { expected.payment.or(id) } else { id }.map(Into::into),
            code: error.and_then(|e| e.reason.as_deref()).or(Some(&self.status)).and_then(said),
            description: error.and_then(|e| e.message.as_deref()).and_then(said),
            sub_code: if changes { id.map(Into::into) } else { None },
            // What was not captured cannot be refunded by its name.
            memo: id.filter(|_| kind == Kind::Capture && outcome == Outcome::Approved).map(Into::into),
            ..Report::bare(outcome)
        };
        let report = match &self.processor_information {
            Some(processor) => processor.told(report),
            None => report,
        };
        let moves = kind != Kind::Tokenize && !matches!(outcome, Outcome::Declined(_));
        // An approval of nobody knows what is no approval.
        if id.is_some() && (report.amount.is_some() || !moves) { report } else { doubted(report) }
    }

    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        match (kind, &*self.status) {
            (Kind::Tokenize, "AUTHORIZED") => (Outcome::Approved, None),
            (Kind::Authorize, "AUTHORIZED") => (Outcome::Approved, Some(State::Authorized)),
            (Kind::Charge, "AUTHORIZED" | "PENDING" | "TRANSMITTED")
            | (Kind::Capture, "PENDING" | "TRANSMITTED") => {
                (Outcome::Approved, Some(State::Captured))
            }
            (Kind::Refund, "PENDING" | "TRANSMITTED") => (Outcome::Approved, Some(State::Refunded)),
            (Kind::Void, "REVERSED" | "VOIDED" | "CANCELLED") => {
                (Outcome::Approved, Some(State::Voided))
            }
            // Something is held that was not asked for so: it stands as unknown until somebody
            // voids it.
            (Kind::Authorize | Kind::Charge, "PARTIAL_AUTHORIZED" | "AUTHORIZED_RISK_DECLINED") => {
                (UNREADABLE, Some(State::Authorized))
            }
            (Kind::Authorize | Kind::Charge, "AUTHORIZED_PENDING_REVIEW" | "PENDING_REVIEW") => {
                (Outcome::Pending, Some(State::Pending))
            }
            // The cardholder would have to act, and is not with us.
            (Kind::Authorize | Kind::Charge | Kind::Tokenize, "PENDING_AUTHENTICATION") => {
                (Outcome::Declined(Decline::AuthenticationRequired), Some(State::Declined))
            }
            (Kind::Authorize | Kind::Charge | Kind::Tokenize, "DECLINED") => {
                (Outcome::Declined(self.decline()), Some(State::Declined))
            }
            // It was turned down as it is by a 400.
            (_, "INVALID_REQUEST") => {
                let outcome = invalid(self.reason().unwrap_or_default(), is_new(kind));
                let declined = matches!(outcome, Outcome::Declined(_));
                (outcome, declined.then_some(State::Declined))
            }
            // The change is dead; the payment is what it was before.
            (Kind::Capture | Kind::Refund | Kind::Void, "DECLINED" | "FAILED") => {
                (Outcome::Declined(self.decline()), None)
            }
            _ => (UNREADABLE, None),
        }
    }

    fn reason(&self) -> Option<&str> {
        self.error_information.as_ref().and_then(|error| error.reason.as_deref())
    }

    fn decline(&self) -> Decline {
        self.reason().and_then(|reason| DECLINES.find(reason)).unwrap_or(Decline::Unmapped)
    }

    fn amount(&self) -> Option<Amount> {
        let order = self.order_information.as_ref().and_then(|order| order.amount_details.as_ref());
        let Self { refund_amount_details: refund, reversal_amount_details: reversal, .. } = self;
        let all = [refund, reversal, &self.void_amount_details];
        let details = all.into_iter().flatten().chain(order);
        details.into_iter().find_map(AmountDetails::read)
    }
}

// === impl AmountDetails ===

impl AmountDetails {
    /// The first that is told: each object has one of them.
    pub(super) fn read(&self) -> Option<Amount> {
        let told = [
            &self.authorized_amount,
            &self.refund_amount,
            &self.reversed_amount,
            &self.void_amount,
            &self.total_amount,
        ];
        let number = told.into_iter().flatten().next()?;
        amount(number, self.currency.as_deref()?)
    }
}

// === impl Processor ===

impl Processor {
    /// The report with what the processor says of the payment.
    pub(super) fn told(&self, report: Report) -> Report {
        let verification = self.card_verification.as_ref();
        let declined = matches!(report.outcome, Outcome::Declined(_));
        let raw = self.response_code.as_deref().filter(|_| declined);
        let advice = self.merchant_advice.as_ref().filter(|_| declined);
        Report {
            authorization_code: self.approval_code.as_deref().and_then(said),
            address_check: self.avs.as_ref().and_then(|a| a.code.as_deref()).map(address),
            cvv_check: verification.and_then(|v| v.result_code.as_deref()).map(cvv),
            network_transaction_id: self
                .network_transaction_id
                .as_deref()
                .and_then(checks::network_id),
            sub_code: report.sub_code.or(raw.and_then(said)),
            sub_description: advice.and_then(|advice| advice.code.as_deref()).and_then(said),
            ..report
        }
    }
}

/// The values of `avs.code`.
/// <https://developer.cybersource.com/docs/cybs/en-us/payments/developer/all/rest/payments/avs-codes.html>
fn address(code: &str) -> AddressCheck {
    match code {
        "D" | "H" | "J" | "M" | "Q" | "V" | "X" | "Y" => AddressCheck::Match,
        "A" | "B" | "O" | "T" => AddressCheck::StreetOnly,
        "F" | "L" | "P" | "W" | "Z" => AddressCheck::PostCodeOnly,
        "C" | "K" | "N" => AddressCheck::NoMatch,
        _ => AddressCheck::NotChecked,
    }
}

/// The values of `cardVerification.resultCode`.
fn cvv(code: &str) -> CvvCheck {
    match code {
        "M" => CvvCheck::Match,
        "I" | "N" => CvvCheck::NoMatch,
        _ => CvvCheck::NotChecked,
    }
}

// === failures ===

fn failure(kind: Kind, answer: &Answer<'_>) -> Report {
    let failure = answer.json::<Failure>();
    let reason = failure.as_ref().and_then(|failure| failure.reason.as_deref());
    let outcome = match (answer.status, reason) {
        (400, Some(reason)) => invalid(reason, is_new(kind)),
        (404, _) if !is_new(kind) => Outcome::Rejected(Rejected::NotFound),
        _ => answer.by_status().unwrap_or(UNREADABLE),
    };
    let declined = matches!(outcome, Outcome::Declined(_));
    let report = Report { state: declined.then_some(State::Declined), ..Report::bare(outcome) };
    match failure {
        Some(failure) if outcome != Outcome::Rejected(Rejected::Credentials) => Report {
            code: failure.reason.as_deref().and_then(said),
            description: failure.message.as_deref().and_then(said),
            ..report
        },
        Some(_) | None => report,
    }
}

/// Whether it is about no earlier payment.
fn is_new(kind: Kind) -> bool {
    matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize)
}

/// The reasons of `INVALID_REQUEST`.
fn invalid(reason: &str, is_new: bool) -> Outcome {
    match reason {
        // Every request has a name of its own, so that it was there before: what became of it is not
        // in this answer.
        "DUPLICATE_REQUEST" => Outcome::Unknown(Unknown::Interrupted),
        "INVALID_CARD" if is_new => Outcome::Declined(Decline::IncorrectNumber),
        "CARD_TYPE_NOT_ACCEPTED" | "INVALID_CARD_TYPE" if is_new => {
            Outcome::Declined(Decline::CardNotSupported)
        }
        "DEBIT_CARD_USEAGE_EXCEEDD_LIMIT" if is_new => Outcome::Declined(Decline::LimitExceeded),
        INVALID_MERCHANT => Outcome::Rejected(Rejected::Configuration),
        "INVALID_PAYMENT_ID" | "MISSING_AUTH" if !is_new => Outcome::Rejected(Rejected::NotFound),
        "AUTH_ALREADY_REVERSED"
        | "EXCEEDS_AUTH_AMOUNT"
        | "NOT_VOIDABLE"
        | "TRANSACTION_ALREADY_REVERSED_OR_SETTLED"
        | "TRANSACTION_ALREADY_SETTLED"
            if !is_new =>
        {
            Outcome::Rejected(Rejected::State)
        }
        "INVALID_AMOUNT" | "INVALID_DATA" | "MISSING_FIELD" => {
            Outcome::Rejected(Rejected::Malformed)
        }
        "PROCESSOR_UNAVAILABLE" => Outcome::Unknown(Unknown::UpstreamFailed),
        _ => UNREADABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::{address, cvv, is_listed};
    use model::{AddressCheck, Currency, CvvCheck};

    #[test]
    fn the_documented_letters_are_read_and_no_other() {
        for letter in ('A'..='Z').chain('0'..='9') {
            let expected = match letter {
                'D' | 'H' | 'J' | 'M' | 'Q' | 'V' | 'X' | 'Y' => AddressCheck::Match,
                'A' | 'B' | 'O' | 'T' => AddressCheck::StreetOnly,
                'F' | 'L' | 'P' | 'W' | 'Z' => AddressCheck::PostCodeOnly,
                'C' | 'K' | 'N' => AddressCheck::NoMatch,
                _ => AddressCheck::NotChecked,
            };
            assert_eq!(address(&letter.to_string()), expected, "{letter}");
        }
        assert_eq!(cvv("M"), CvvCheck::Match);
        assert_eq!((cvv("N"), cvv("I")), (CvvCheck::NoMatch, CvvCheck::NoMatch));
        for letter in ["D", "P", "S", "U", "X", "1", "2", "3", "", "m"] {
            assert_eq!(cvv(letter), CvvCheck::NotChecked, "{letter}");
        }
    }

    #[test]
    fn amounts_are_counted_as_iso_4217_says_where_cybersource_lists_the_currency() {
        let refused: Vec<_> =
            Currency::all().into_iter().filter(|c| !is_listed(*c)).map(|c| c.code().to_owned()).collect();
        assert_eq!(refused, ["UYI", "UYW"]);
    }
}
