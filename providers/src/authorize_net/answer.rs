//! What Authorize.Net answers, and what it means. Nearly all of it has status 200.

use super::decline::{DECLINES, is_configuration, is_malformed};
use super::profile::{self, Made};
use super::{is_id, name};
use crate::wire::{Answer, said};
use crate::{Validity, checks, doubted};
use model::{Action, AddressCheck, Amount, Currency, CvvCheck, Decline, Find, FollowUp, Kind};
use model::{Operation, Outcome, Rejected, Report, Secret, State, Unknown};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub(super) const UNREADABLE: Outcome = Outcome::Unknown(Unknown::Unreadable);

/// What stands before the JSON: the mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What stands in an answer for the digits of a card that are not told.
const MASK: &str = "XXXX";

/// There is no such transaction.
const NO_RECORD: &str = "E00040";

/// The account may keep no cards.
const NO_PROFILES: &str = "E00044";

/// What an answer must speak of, and what it leaves out. Nothing is asked where nothing is given.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// The end of our key, which answers repeat.
    name: Option<&'a str>,
    /// The payment that is changed or asked for.
    payment: Option<&'a str>,
    /// What was asked for. No answer repeats it.
    amount: Option<Amount>,
    /// What the account is kept in.
    currency: Option<Currency>,
    /// Whether it is paid with a card that only Authorize.Net knows.
    is_by_token: bool,
}

impl<'a> Expected<'a> {
    pub(super) fn of<C>(operation: &'a Operation<C>, currency: Option<Currency>) -> Self {
        let (name, amount) = (Some(name(&operation.key)), operation.amount());
        let payment: Option<&str> = match &operation.action {
            Action::Authorize(_)
            | Action::Status(Find::MerchantReference(_))
            | Action::Tokenize(_) => None,
            Action::Capture(FollowUp { reference, .. })
            | Action::Refund(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. })
            | Action::Status(Find::Reference(reference)) => Some(reference),
        };
        let is_by_token = match &operation.action {
            Action::Authorize(authorization) => authorization.is_by_token(),
            Action::Capture(_)
            | Action::Refund(_)
            | Action::Status(_)
            | Action::Tokenize(_)
            | Action::Void(_) => false,
        };
        Self { name, payment, amount, currency, is_by_token }
    }
}

pub(super) fn read(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Report {
    if let Some(outcome) = answer.by_status() {
        return Report::bare(outcome);
    }
    let told = if answer.status == 200 { Told::read(answer) } else { None };
    let report = told.map(|told| match told {
        told if !expected.is_meant(&told) => Report::bare(UNREADABLE),
        Told { transaction: Some(details), .. } if kind == Kind::Status => details.status(expected),
        told if kind == Kind::Tokenize && told.is_ok() => told.tokenized(),
        Told { transaction_response: Some(response), .. }
            if kind != Kind::Status && !response.response_code.is_empty() =>
        {
            response.report(kind, expected)
        }
        Told { messages, .. } => messages.failure(kind, expected),
    });
    report.unwrap_or(Report::bare(UNREADABLE))
}

/// Reads the answer to the question for a transaction that nobody made.
pub(super) fn validity(answer: &Answer<'_>) -> Validity {
    let told = if answer.status == 200 { Told::read(answer) } else { None };
    let Some(told) = told else { return Validity::by_status(answer) };
    match told.messages.code() {
        Some(NO_RECORD) => Validity::Valid,
        Some("E00005" | "E00006" | "E00007") => Validity::CredentialsRefused,
        Some("E00008" | "E00009") => Validity::AccountUnknown,
        Some("E00010" | "E00011") => Validity::PermissionMissing,
        Some("E00001" | "E00053") => Validity::ProviderUnavailable,
        _ => Validity::NotUnderstood,
    }
}

/// An answer to anything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    pub(super) batch_list: Option<Vec<Batch>>,
    /// The customer who has the card that is kept, and the card.
    customer_profile_id: Option<String>,
    customer_payment_profile_id_list: Option<Vec<String>>,
    messages: Messages,
    pub(super) profile_response: Option<Made>,
    ref_id: Option<String>,
    pub(super) transaction: Option<Details>,
    transaction_response: Option<Response>,
    pub(super) transactions: Option<Vec<Summary>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Messages {
    message: Vec<Message>,
    result_code: String,
}

#[derive(Deserialize)]
struct Message {
    code: String,
    text: Option<String>,
}

/// What became of a payment or of a change.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    /// The end of the card's number, behind a mask.
    account_number: Option<String>,
    auth_code: Option<String>,
    avs_result_code: Option<String>,
    cvv_result_code: Option<String>,
    #[serde(default)]
    errors: Vec<Error>,
    #[serde(default)]
    messages: Vec<Reason>,
    network_trans_id: Option<String>,
    pre_paid_card: Option<PrePaid>,
    #[serde(rename = "refTransID")]
    ref_trans_id: Option<String>,
    /// Empty where the transaction was not even begun.
    #[serde(default)]
    response_code: String,
    #[serde(default)]
    trans_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Error {
    error_code: String,
    error_text: Option<String>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    description: Option<String>,
}

/// A card that holds less than was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrePaid {
    #[serde(default, deserialize_with = "number")]
    approved_amount: Option<String>,
}

/// A transaction, as it is shown when it is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details {
    #[serde(rename = "AVSResponse")]
    avs_response: Option<String>,
    auth_code: Option<String>,
    #[serde(default, deserialize_with = "number")]
    auth_amount: Option<String>,
    card_code_response: Option<String>,
    network_trans_id: Option<String>,
    response_reason_description: Option<String>,
    #[serde(default, deserialize_with = "number")]
    settle_amount: Option<String>,
    pub(super) trans_id: String,
    pub(super) transaction_status: String,
}

/// A transaction, as it is shown among others.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) account_number: Option<String>,
    /// What a filter held it for.
    pub(super) fraud_information: Option<serde::de::IgnoredAny>,
    pub(super) invoice_number: Option<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) settle_amount: Option<String>,
    #[serde(rename = "submitTimeUTC")]
    pub(super) submitted: String,
    pub(super) trans_id: String,
    pub(super) transaction_status: String,
}

/// What was settled at one time.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Batch {
    pub(super) batch_id: String,
    #[serde(rename = "settlementTimeUTC")]
    pub(super) settled: String,
}

/// A number as it was written, with quotes or without. It never becomes a float.
fn number<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let raw = <Option<&'de RawValue>>::deserialize(input)?;
    Ok(raw.map(|raw| raw.get().trim_matches('"').to_owned()))
}

// === impl Expected ===

impl Expected<'_> {
    /// Whether an answer is to our request.
    pub(super) fn is_meant(&self, told: &Told) -> bool {
        let named = told.ref_id.as_deref().filter(|name| !name.is_empty());
        named.is_none_or(|named| self.name.is_none_or(|name| name == named))
    }
}

// === impl Told ===

impl Told {
    pub(super) fn read(answer: &Answer<'_>) -> Option<Self> {
        let body = answer.body.strip_prefix(MARK).unwrap_or(answer.body);
        let told: Self = Answer { body, ..*answer }.json()?;
        matches!(&*told.messages.result_code, "Ok" | "Error").then_some(told)
    }

    /// Whether it says that what was asked for was done.
    pub(super) fn is_ok(&self) -> bool {
        self.messages.result_code == "Ok"
    }

    /// The name of the card that was kept by itself.
    pub(super) fn kept(&self) -> Option<Secret> {
        let cards = self.customer_payment_profile_id_list.as_deref();
        profile::name(self.customer_profile_id.as_deref(), cards).filter(|_| self.is_ok())
    }

    fn tokenized(&self) -> Report {
        let kept = self.kept().map_or(UNREADABLE, |_| Outcome::Approved);
        Report::bare(kept)
    }
}

// === impl Messages ===

impl Messages {
    fn code(&self) -> Option<&str> {
        self.message.first().map(|message| &*message.code)
    }

    /// The request as a whole was turned away.
    fn failure(&self, kind: Kind, expected: &Expected<'_>) -> Report {
        let pays = matches!(kind, Kind::Authorize | Kind::Charge);
        let outcome = match self.code().unwrap_or_default() {
            "E00001" => Outcome::Unknown(Unknown::UpstreamFailed),
            "E00002" | "E00003" | "E00004" | "E00013" | "E00014" | "E00015" | "E00016" => {
                Outcome::Rejected(Rejected::Malformed)
            }
            "E00005" | "E00006" | "E00007" | "E00010" | "E00011" => {
                Outcome::Rejected(Rejected::Credentials)
            }
            "E00008" | "E00009" | NO_PROFILES => Outcome::Rejected(Rejected::Configuration),
            // There is no such card.
            NO_RECORD if expected.is_by_token => Outcome::Rejected(Rejected::Malformed),
            NO_RECORD if !pays => Outcome::Rejected(Rejected::NotFound),
            "E00053" => Outcome::Rejected(Rejected::Unavailable),
            _ => UNREADABLE,
        };
        // What was made a moment ago may not be shown yet: this proves nothing.
        let not_found = outcome == Outcome::Rejected(Rejected::NotFound);
        let state = not_found.then_some(State::Unknown);
        let report = Report { state, ..Report::bare(outcome) };
        if outcome == Outcome::Rejected(Rejected::Credentials) {
            return report;
        }
        // What is malformed is quoted, be it a verification value.
        let quotes = outcome == Outcome::Rejected(Rejected::Malformed);
        let text = self.message.first().and_then(|message| message.text.as_deref());
        let text = text.filter(|_| !quotes);
        let (code, description) = (self.code().and_then(said), text.and_then(said));
        Report { code, description, ..report }
    }
}

// === impl Response ===

impl Response {
    fn report(&self, kind: Kind, expected: &Expected<'_>) -> Report {
        if !self.speaks_of(kind, expected) {
            return Report::bare(UNREADABLE);
        }
        let (outcome, state) = self.outcome(kind);
        if outcome == Outcome::Rejected(Rejected::Credentials) {
            return Report::bare(outcome);
        }
        let id = is_id(&self.trans_id).then_some(&*self.trans_id);
        let error = self.errors.first();
        let reason = self.messages.first();
        let text = error.and_then(|error| error.error_text.as_deref());
        let changes = matches!(kind, Kind::Capture | Kind::Refund | Kind::Void);
        let report = Report {
            state,
            amount: self.amount(outcome, expected),
            // The payment keeps its id; a refund has one of its own, told as the sub-code.
            reference: if changes { expected.payment.or(id) } else { id }.map(Into::into),
            code: self.code().and_then(said),
            description: text.or(reason.and_then(|r| r.description.as_deref())).and_then(said),
            sub_code: id.filter(|_| kind == Kind::Refund).map(Into::into),
            // Nobody else knows it, and a refund asks for it.
            memo: self.ending().filter(|_| expected.is_by_token).map(Into::into),
            ..Report::bare(outcome)
        };
        let report = if changes { report } else { self.checked(report) };
        let declined = matches!(outcome, Outcome::Declined(_));
        // An approval of nobody knows what is no approval.
        if id.is_some() && report.amount.is_some() || declined { report } else { doubted(report) }
    }

    /// A change names the payment; a new payment has no earlier one.
    fn speaks_of(&self, kind: Kind, expected: &Expected<'_>) -> bool {
        let told = self.ref_trans_id.as_deref().filter(|id| !id.is_empty() && *id != "0");
        match (kind, expected.payment) {
            (Kind::Capture | Kind::Void, Some(payment)) if self.response_code == "1" => {
                self.trans_id == payment && told.is_none_or(|told| told == payment)
            }
            (_, Some(payment)) => told.is_none_or(|told| told == payment),
            (Kind::Authorize | Kind::Charge, None) => told.is_none(),
            (_, None) => true,
        }
    }

    /// The last four digits of the card.
    fn ending(&self) -> Option<&str> {
        ending(self.account_number.as_deref()?)
    }

    fn code(&self) -> Option<&str> {
        let error = self.errors.first().map(|error| &*error.error_code);
        error.or_else(|| self.messages.first().map(|reason| &*reason.code))
    }

    /// What was asked for, or the part of it that a card had.
    fn amount(&self, outcome: Outcome, expected: &Expected<'_>) -> Option<Amount> {
        let asked = expected.amount?;
        let part = self.pre_paid_card.as_ref().and_then(|card| card.approved_amount.as_deref());
        match (outcome, part) {
            (_, Some(part)) => Amount::parse(part, asked.currency()).ok(),
            (Outcome::Approved | Outcome::Pending, None) => Some(asked),
            _ => None,
        }
    }

    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        let pays = matches!(kind, Kind::Authorize | Kind::Charge);
        let code = self.code().unwrap_or_default();
        match (&*self.response_code, code) {
            ("1", _) => (Outcome::Approved, done(kind)),
            ("2" | "3", code) if is_configuration(code) => {
                (Outcome::Rejected(Rejected::Configuration), None)
            }
            ("2" | "3", code) if is_malformed(code) => {
                (Outcome::Rejected(Rejected::Malformed), None)
            }
            ("2", _) => {
                let why = DECLINES.find(code).unwrap_or(Decline::Unmapped);
                // A change that is refused leaves the payment as it was.
                (Outcome::Declined(why), pays.then_some(State::Declined))
            }
            ("3", _) => {
                let outcome = wrong(code, pays);
                let declined = matches!(outcome, Outcome::Declined(_));
                (outcome, declined.then_some(State::Declined))
            }
            // A part is held that was not asked for so: it stands until somebody voids it.
            ("4", "295") => (UNREADABLE, Some(State::Authorized)),
            ("4", _) => (Outcome::Pending, Some(State::Pending)),
            _ => (UNREADABLE, None),
        }
    }

    /// The report with what the issuer says besides.
    fn checked(&self, report: Report) -> Report {
        let told = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Report {
            authorization_code: self.auth_code.as_deref().and_then(said),
            address_check: told(&self.avs_result_code).as_deref().map(address),
            cvv_check: told(&self.cvv_result_code).as_deref().map(cvv),
            network_transaction_id: self.network_trans_id.as_deref().and_then(checks::network_id),
            ..report
        }
    }
}

/// The last four digits, of a number behind a mask.
pub(super) fn ending(masked: &str) -> Option<&str> {
    let digits = masked.strip_prefix(MASK)?;
    (digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(digits)
}

/// The state of a payment to which this was done.
pub(super) fn done(kind: Kind) -> Option<State> {
    match kind {
        Kind::Authorize => Some(State::Authorized),
        Kind::Capture | Kind::Charge => Some(State::Captured),
        Kind::Refund => Some(State::Refunded),
        Kind::Status | Kind::Tokenize => None,
        Kind::Void => Some(State::Voided),
    }
}

/// Response code 3: something is wrong, and nothing was approved.
fn wrong(code: &str, pays: bool) -> Outcome {
    match code {
        "13" | "103" => Outcome::Rejected(Rejected::Credentials),
        "16" | "319" if !pays => Outcome::Rejected(Rejected::NotFound),
        "47" | "48" | "50" | "51" | "54" | "55" | "310" | "311" if !pays => {
            Outcome::Rejected(Rejected::State)
        }
        // Behind 11 and 318 is the very same request: every attempt has a number of its own. What
        // became of it is not told here.
        _ => match DECLINES.find(code).filter(|_| pays) {
            Some(decline) => Outcome::Declined(decline),
            None => UNREADABLE,
        },
    }
}

// === impl Details ===

impl Details {
    fn status(&self, expected: &Expected<'_>) -> Report {
        if !is_id(&self.trans_id) || expected.payment.is_some_and(|id| id != self.trans_id) {
            return Report::bare(UNREADABLE);
        }
        let Some(state) = self.state() else { return Report::bare(UNREADABLE) };
        let taken = matches!(state, State::Captured | State::Refunded);
        let number = if taken { &self.settle_amount } else { &self.auth_amount };
        let report = Report {
            state: Some(state),
            amount: expected.currency.and_then(|currency| counted(number.as_deref(), currency)),
            authorization_code: self.auth_code.as_deref().and_then(said),
            reference: Some((&*self.trans_id).into()),
            code: said(&self.transaction_status),
            description: self.response_reason_description.as_deref().and_then(said),
            address_check: self.avs_response.as_deref().map(address),
            cvv_check: self.card_code_response.as_deref().map(cvv),
            network_transaction_id: self.network_trans_id.as_deref().and_then(checks::network_id),
            ..Report::bare(Outcome::Approved)
        };
        if report.amount.is_some() { report } else { doubted(report) }
    }

    fn state(&self) -> Option<State> {
        match &*self.transaction_status {
            "authorizedPendingCapture" => Some(State::Authorized),
            "capturedPendingSettlement" | "settledSuccessfully" => Some(State::Captured),
            "refundPendingSettlement" | "refundSettledSuccessfully" => Some(State::Refunded),
            "declined" => Some(State::Declined),
            "generalError" | "failedReview" => Some(State::Failed),
            "expired" | "voided" => Some(State::Voided),
            "FDSAuthorizedPendingReview" | "FDSPendingReview" | "underReview" => {
                Some(State::Pending)
            }
            _ => None,
        }
    }

    /// What was taken, or is to be.
    pub(super) fn taken(&self, currency: Currency) -> Option<Amount> {
        counted(self.settle_amount.as_deref(), currency)
    }
}

fn counted(number: Option<&str>, currency: Currency) -> Option<Amount> {
    number.and_then(|number| Amount::parse(number, currency).ok())
}

/// The values of `avsResultCode`.
fn address(letter: &str) -> AddressCheck {
    match letter {
        "X" | "Y" => AddressCheck::Match,
        "A" => AddressCheck::StreetOnly,
        "W" | "Z" => AddressCheck::PostCodeOnly,
        "N" => AddressCheck::NoMatch,
        _ => AddressCheck::NotChecked,
    }
}

/// The values of `cvvResultCode`.
fn cvv(letter: &str) -> CvvCheck {
    match letter {
        "M" => CvvCheck::Match,
        "N" => CvvCheck::NoMatch,
        _ => CvvCheck::NotChecked,
    }
}

#[cfg(test)]
mod tests {
    use super::{address, cvv, ending, wrong};
    use model::{AddressCheck, CvvCheck, Outcome, Rejected, Unknown};

    #[test]
    fn the_documented_letters_are_read_and_no_other() {
        for letter in ('A'..='Z').chain('0'..='9') {
            let expected = match letter {
                'X' | 'Y' => AddressCheck::Match,
                'A' => AddressCheck::StreetOnly,
                'W' | 'Z' => AddressCheck::PostCodeOnly,
                'N' => AddressCheck::NoMatch,
                _ => AddressCheck::NotChecked,
            };
            assert_eq!(address(&letter.to_string()), expected, "{letter}");
        }
        assert_eq!((cvv("M"), cvv("N")), (CvvCheck::Match, CvvCheck::NoMatch));
        for letter in ["P", "S", "U", "", "m"] {
            assert_eq!(cvv(letter), CvvCheck::NotChecked, "{letter}");
        }
    }

    #[test]
    fn no_more_than_the_end_of_a_card_is_taken() {
        assert_eq!(ending("XXXX1111"), Some("1111"));
        for text in ["", "XXXX", "1111", "XXXX111", "XXXX11111", "XXXX111a", "XXXXXXXX"] {
            assert_eq!(ending(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_change_is_not_wrong_with_a_payment() {
        let unknown = Outcome::Unknown(Unknown::Unreadable);
        for (code, why) in [("16", Rejected::NotFound), ("54", Rejected::State)] {
            assert_eq!(wrong(code, false), Outcome::Rejected(why), "{code}");
            assert_eq!(wrong(code, true), unknown, "{code}");
        }
        for code in ["11", "318", "36", "", "99999"] {
            assert_eq!((wrong(code, false), wrong(code, true)), (unknown, unknown), "{code}");
        }
        assert_eq!(wrong("6", false), unknown);
    }
}
