//! What Checkout.com answers, and what it means.

use super::decline::DECLINES;
use super::{id, places, reference_sent};
use crate::declines::strictest;
use crate::wire::{Answer, said};
use crate::{Validity, checks, doubted};
use model::{Action, AddressCheck, Amount, Currency, CvvCheck, Decline, Find, FollowUp, Kind};
use model::{Operation, Outcome, Rejected, Report, State, Unknown};
use serde::Deserialize;
use serde::de::IgnoredAny;

pub(super) const UNREADABLE: Outcome = Outcome::Unknown(Unknown::Unreadable);

/// The answer that a payment was approved for a part of its amount only.
const IN_PART: &str = "10010";
/// The answer that a payment was approved and is held for somebody to look at.
const FLAGGED: &str = "10100";

/// What an answer must speak of, as far as it is known. Nothing is asked where nothing is given.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// The reference that we gave the payment.
    reference: Option<&'a str>,
    /// The merchant's reference, in the metadata of what is found by it.
    merchant_reference: Option<&'a str>,
    /// The payment that is changed or asked for.
    payment: Option<&'a str>,
}

impl<'a> Expected<'a> {
    /// This payment, or something done to it.
    pub(super) fn payment(payment: &'a str) -> Self {
        Self { payment: Some(payment), ..Self::default() }
    }

    pub(super) fn of<C>(operation: &'a Operation<C>) -> Self {
        match &operation.action {
            Action::Authorize(_) => {
                let reference = reference_sent(operation.reference(), &operation.key);
                Self { reference: Some(reference), ..Self::default() }
            }
            Action::Capture(FollowUp { reference, .. })
            | Action::Refund(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. })
            | Action::Status(Find::Reference(reference)) => Self::payment(reference),
            Action::Status(Find::MerchantReference(reference)) => {
                Self { merchant_reference: Some(reference), ..Self::default() }
            }
            Action::Tokenize(_) => Self::default(),
        }
    }
}

pub(super) fn read(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Report {
    let report = match (kind, answer.status) {
        (Kind::Authorize | Kind::Charge, 200 | 201) | (Kind::Status, 200) => {
            payment(kind, answer, expected)
        }
        // Taken, and not decided: nothing is approved by it, whatever the words are.
        (Kind::Authorize | Kind::Charge, 202) => payment(kind, answer, expected)
            .map(|report| if report.outcome == Outcome::Approved { doubted(report) } else { report }),
        (Kind::Capture | Kind::Refund | Kind::Void, 200..=202) => {
            answer.json().map(|receipt: Receipt| receipt.report(expected))
        }
        (_, 0..400) => None,
        (_, 400..) => Some(failure(kind, answer)),
    };
    report.unwrap_or(Report::bare(UNREADABLE))
}

fn payment(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Option<Report> {
    if kind == Kind::Status
        && let Some(page) = answer.json::<Page>()
    {
        return Some(found(page.data, expected));
    }
    answer.json().map(|payment: Payment| payment.report(kind, expected))
}

/// Picks among the payments that have the merchant's reference: what holds or took money goes before
/// what did not, and of several the newest, which come first.
fn found(data: Vec<Payment>, expected: &Expected<'_>) -> Report {
    let wanted = |payment: &Payment| payment.is_of_merchant(expected.merchant_reference);
    let mut best: Option<Payment> = None;
    for payment in data.into_iter().filter(wanted) {
        if best.as_ref().is_none_or(|best| !best.holds_money() && payment.holds_money()) {
            best = Some(payment);
        }
    }
    match best {
        Some(payment) => payment.report(Kind::Status, &Expected::default()),
        None => Report {
            state: Some(State::Unknown),
            ..Report::bare(Outcome::Rejected(Rejected::NotFound))
        },
    }
}

/// Reads the answer to the question for payments that there are not.
pub(super) fn validity(answer: &Answer<'_>) -> Validity {
    match answer.status {
        200 if answer.json::<Listed>().is_some() => Validity::Valid,
        // The prefix of the host's name is nobody's.
        404 => Validity::AccountUnknown,
        _ => Validity::by_status(answer),
    }
}

pub(super) fn amount(units: u64, currency: Currency) -> Option<Amount> {
    Amount::from_units(units, places(currency)?, currency).ok()
}

/// A list, whatever is in it.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "total_count")]
    _total_count: u64,
    #[serde(rename = "data")]
    _data: Vec<IgnoredAny>,
}

/// The payments of a reference.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) total_count: u64,
    pub(super) data: Vec<Payment>,
}

#[derive(Deserialize)]
pub(super) struct Payment {
    id: String,
    #[serde(default)]
    actions: Vec<Step>,
    amount: Option<u64>,
    auth_code: Option<String>,
    balances: Option<Balances>,
    currency: Option<String>,
    #[serde(rename = "_links")]
    links: Option<Links>,
    metadata: Option<Metadata>,
    processing: Option<Processing>,
    reference: Option<String>,
    response_code: Option<String>,
    response_summary: Option<String>,
    scheme_id: Option<String>,
    source: Option<Source>,
    status: String,
}

/// Advice about another try.
/// <https://www.checkout.com/docs/developer-resources/codes/recommendation-codes>
#[derive(Deserialize)]
struct Processing {
    /// Mastercard's own.
    partner_merchant_advice_code: Option<String>,
    /// Checkout.com's, which are the same for Mastercard and Visa.
    recommendation_code: Option<String>,
}

/// What was done first, in a payment that is asked for: there the code of a decline is.
#[derive(Deserialize)]
struct Step {
    response_code: Option<String>,
    response_summary: Option<String>,
}

#[derive(Deserialize)]
struct Balances {
    total_captured: Option<u64>,
}

#[derive(Deserialize)]
struct Links {
    payment: Option<Link>,
    redirect: Option<Link>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
pub(super) struct Metadata {
    merchant_reference: Option<String>,
    operation_key: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    avs_check: Option<String>,
    cvv_check: Option<String>,
}

/// The answer to a capture, a void or a refund.
#[derive(Deserialize)]
struct Receipt {
    action_id: String,
    #[serde(rename = "_links")]
    links: Links,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    error_codes: Vec<String>,
    error_type: String,
}

// === impl Payment ===

impl Payment {
    pub(super) fn report(self, kind: Kind, expected: &Expected<'_>) -> Report {
        // Nothing of another's payment is passed on, its name least of all.
        if !self.is(expected) {
            return Report::bare(UNREADABLE);
        }
        let (outcome, state) = self.outcome(kind);
        let source = self.source.as_ref();
        let (code, summary) = self.told();
        let report = Report {
            state,
            amount: self.amount(state),
            authorization_code: self.auth_code.as_deref().and_then(said),
            reference: self.reference(),
            code: code.or(Some(&self.status)).and_then(said),
            description: summary.and_then(said),
            sub_code: code.is_some().then(|| said(&self.status)).flatten(),
            sub_description: self.advice(outcome).and_then(said),
            address_check: source.and_then(|s| s.avs_check.as_deref()).map(address),
            cvv_check: source.and_then(|s| s.cvv_check.as_deref()).map(cvv),
            network_transaction_id: self.scheme_id.as_deref().and_then(checks::network_id),
            ..Report::bare(outcome)
        };
        // An approval of nobody knows what is no approval; what is pending has an id at least.
        let whole = report.reference.is_some()
            && (report.amount.is_some() || outcome == Outcome::Pending && self.amount.is_none());
        if whole { report } else { doubted(report) }
    }

    /// <https://www.checkout.com/docs/payments/manage-payments>
    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        let state = self.state();
        let flagged = self.told().0 == Some(FLAGGED);
        match (kind, &*self.status, state) {
            (Kind::Status, _, Some(state)) => (Outcome::Approved, Some(state)),
            // Less than was asked for is held or taken: it stands as unknown, with its amount, until
            // somebody voids it.
            (_, "Authorized" | "Captured", _) if self.told().0 == Some(IN_PART) => {
                (UNREADABLE, state)
            }
            // Nobody captures a payment that somebody must look at first.
            (Kind::Charge, "Authorized", _) if flagged => (UNREADABLE, state),
            // The capture was asked for with the payment, and follows by itself.
            (Kind::Charge, "Authorized" | "Card Verified" | "Captured", _) => {
                (Outcome::Approved, Some(State::Captured))
            }
            (Kind::Authorize, "Authorized" | "Card Verified", _) => (Outcome::Approved, state),
            (Kind::Authorize | Kind::Charge, "Declined", _) => {
                (Outcome::Declined(self.decline()), state)
            }
            // The cardholder would have to act, and is not with us.
            (Kind::Authorize | Kind::Charge, "Pending", _) if self.is_sent_away() => {
                (Outcome::Declined(Decline::AuthenticationRequired), Some(State::Declined))
            }
            (Kind::Authorize | Kind::Charge, "Pending", _) => (Outcome::Pending, state),
            _ => (UNREADABLE, state),
        }
    }

    fn state(&self) -> Option<State> {
        Some(match &*self.status {
            "Authorized" | "Card Verified" => State::Authorized,
            "Canceled" | "Expired" | "Voided" => State::Voided,
            "Captured" | "Paid" | "Partially Captured" | "Partially Refunded" => State::Captured,
            "Declined" => State::Declined,
            "Pending" => State::Pending,
            "Refunded" => State::Refunded,
            _ => return None,
        })
    }

    /// What is taken of it, where something is and we are told; else all of it.
    fn amount(&self, state: Option<State>) -> Option<Amount> {
        let taken = self.balances.as_ref().and_then(|balances| balances.total_captured);
        let units = match state {
            Some(State::Captured | State::Refunded) => taken.filter(|taken| *taken > 0),
            _ => None,
        };
        amount(units.or(self.amount)?, Currency::parse(self.currency.as_deref()?).ok()?)
    }

    /// The code and the words of the answer.
    fn told(&self) -> (Option<&str>, Option<&str>) {
        let first = self.actions.first();
        let code = self.response_code.as_deref();
        let words = self.response_summary.as_deref();
        (
            code.or(first.and_then(|step| step.response_code.as_deref())),
            words.or(first.and_then(|step| step.response_summary.as_deref())),
        )
    }

    /// The advice about another try of what was declined.
    fn advice(&self, outcome: Outcome) -> Option<&str> {
        let told = self.processing.as_ref().filter(|_| matches!(outcome, Outcome::Declined(_)))?;
        let Processing { partner_merchant_advice_code: scheme, recommendation_code: own } = told;
        strictest(own.as_deref(), scheme.as_deref())
    }

    fn decline(&self) -> Decline {
        self.told().0.and_then(|code| DECLINES.find(code)).unwrap_or(Decline::Unmapped)
    }

    fn is(&self, expected: &Expected<'_>) -> bool {
        let told = self.reference.as_deref();
        expected.payment.is_none_or(|wanted| wanted == self.id)
            && expected.reference.is_none_or(|wanted| told.is_none_or(|told| told == wanted))
    }

    fn is_of_merchant(&self, reference: Option<&str>) -> bool {
        let told = self.metadata.as_ref().and_then(|meta| meta.merchant_reference.as_deref());
        reference.is_none_or(|wanted| told.or(self.reference.as_deref()) == Some(wanted))
    }

    fn is_sent_away(&self) -> bool {
        self.links.as_ref().is_some_and(|links| links.redirect.is_some())
    }

    fn holds_money(&self) -> bool {
        !matches!(self.state(), None | Some(State::Declined | State::Voided))
    }

    pub(super) fn reference(&self) -> Option<Box<str>> {
        id(&self.id, "pay_").map(Into::into)
    }

    /// Whether nothing is held any more, and nothing was taken.
    pub(super) fn is_dead(&self) -> bool {
        self.state() == Some(State::Voided)
    }

    pub(super) fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }
}

// === impl Metadata ===

impl Metadata {
    /// Whether what has it was made under this key of ours.
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.key() == Some(key)
    }

    /// The key of ours under which it was made.
    pub(super) fn key(&self) -> Option<&str> {
        self.operation_key.as_deref()
    }
}

// === impl Receipt ===

impl Receipt {
    /// The payment keeps its id; the change has one of its own, told as the sub-code.
    fn report(self, expected: &Expected<'_>) -> Report {
        let told = self.links.payment.as_ref().and_then(|link| link.href.rsplit('/').next());
        let told = told.and_then(|told| id(told, "pay_"));
        if expected.payment.is_some_and(|wanted| told.is_some_and(|told| told != wanted)) {
            return Report::bare(UNREADABLE);
        }
        let report = Report {
            state: Some(State::Pending),
            reference: told.or(expected.payment).map(Into::into),
            sub_code: id(&self.action_id, "act_").map(Into::into),
            ..Report::bare(Outcome::Pending)
        };
        let whole = report.reference.is_some() && report.sub_code.is_some();
        if whole { report } else { doubted(Report { state: None, ..report }) }
    }
}

/// The letters of `avs_check`.
/// <https://www.checkout.com/docs/developer-resources/codes/avs-codes>
pub(super) fn address(code: &str) -> AddressCheck {
    match code {
        "D" | "F" | "M" | "X" | "Y" => AddressCheck::Match,
        "A" | "B" => AddressCheck::StreetOnly,
        "P" | "W" | "Z" => AddressCheck::PostCodeOnly,
        "N" => AddressCheck::NoMatch,
        _ => AddressCheck::NotChecked,
    }
}

/// The letters of `cvv_check`.
/// <https://www.checkout.com/docs/developer-resources/codes/cvv-response-codes>
pub(super) fn cvv(code: &str) -> CvvCheck {
    match code {
        "Y" => CvvCheck::Match,
        "D" => CvvCheck::NoMatch,
        _ => CvvCheck::NotChecked,
    }
}

// === failures ===

pub(super) fn failure(kind: Kind, answer: &Answer<'_>) -> Report {
    let pays = matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize);
    let failure = answer.json::<Failure>();
    let outcome = match (answer.status, &failure) {
        // It is the payment that may not be changed so, not we who may not change it.
        (403, _) if matches!(kind, Kind::Capture | Kind::Refund | Kind::Void) => {
            Outcome::Rejected(Rejected::State)
        }
        (404, _) if !pays => Outcome::Rejected(Rejected::NotFound),
        // The first request with the key is running: what becomes of it is not in this answer.
        (409, _) => Outcome::Unknown(Unknown::Interrupted),
        (429, Some(failure)) if failure.is_about_a_duplicate() => {
            Outcome::Unknown(Unknown::Interrupted)
        }
        (422, Some(failure)) => failure.outcome(pays),
        _ => answer.by_status().unwrap_or(UNREADABLE),
    };
    let declined = matches!(outcome, Outcome::Declined(_));
    let report =
        Report { state: declined.then_some(State::Declined), ..Report::bare(outcome) };
    match failure {
        Some(failure) if outcome != Outcome::Rejected(Rejected::Credentials) => {
            failure.told(report)
        }
        Some(_) | None => report,
    }
}

// === impl Failure ===

impl Failure {
    /// The report with Checkout.com's own words.
    fn told(&self, report: Report) -> Report {
        Report {
            code: self.error_codes.first().and_then(|code| said(code)),
            sub_code: said(&self.error_type),
            ..report
        }
    }

    fn is_about_a_duplicate(&self) -> bool {
        let words = self.error_codes.iter().chain([&self.error_type]);
        words.into_iter().any(|word| word.contains("duplicate"))
    }

    /// <https://www.checkout.com/docs/developer-resources/codes/error-codes>
    ///
    /// The first code that is more than a word about the form decides.
    fn outcome(&self, pays: bool) -> Outcome {
        let meant = self.error_codes.iter().find_map(|code| meaning(code, pays));
        match (meant, &*self.error_type) {
            (Some(outcome), _) => outcome,
            (None, "request_invalid") => Outcome::Rejected(Rejected::Malformed),
            (None, _) => UNREADABLE,
        }
    }
}

fn meaning(code: &str, pays: bool) -> Option<Outcome> {
    Some(match code {
        "card_number_invalid" | "card_not_found" if pays => {
            Outcome::Declined(Decline::IncorrectNumber)
        }
        "card_expired" if pays => Outcome::Declined(Decline::ExpiredCard),
        "cvv_invalid" if pays => Outcome::Declined(Decline::IncorrectCvv),
        "card_disabled" if pays => Outcome::Declined(Decline::CardNotSupported),
        "business_invalid" | "business_settings_missing" | "payment_method_not_supported"
        | "processing_channel_id_invalid" | "processing_channel_id_required" => {
            Outcome::Rejected(Rejected::Configuration)
        }
        "amount_exceeds_balance"
        | "capture_value_greater_than_authorized"
        | "capture_value_greater_than_remaining_authorized"
        | "payment_expired"
        | "refund_authorization_declined"
        | "refund_value_greater_than_balance"
            if !pays =>
        {
            Outcome::Rejected(Rejected::State)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{address, cvv};
    use model::{AddressCheck, CvvCheck};

    #[test]
    fn the_documented_letters_are_read_and_no_other() {
        for letter in ('A'..='Z').chain('0'..='9') {
            let expected = match letter {
                'D' | 'F' | 'M' | 'X' | 'Y' => AddressCheck::Match,
                'A' | 'B' => AddressCheck::StreetOnly,
                'P' | 'W' | 'Z' => AddressCheck::PostCodeOnly,
                'N' => AddressCheck::NoMatch,
                _ => AddressCheck::NotChecked,
            };
            assert_eq!(address(&letter.to_string()), expected, "{letter}");
            let expected = match letter {
                'Y' => CvvCheck::Match,
                'D' => CvvCheck::NoMatch,
                _ => CvvCheck::NotChecked,
            };
            assert_eq!(cvv(&letter.to_string()), expected, "{letter}");
        }
    }
}
