//! What Adyen answers, and what it means.

use super::decline::DECLINES;
use super::{places, psp_reference};
use crate::wire::{Answer, said};
use crate::{Validity, checks, doubted};
use model::{Action, AddressCheck, Amount, Currency, CvvCheck, Decline, FollowUp, Kind, Operation};
use model::{Outcome, Rejected, Report, State, Unknown};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What Adyen answers when the key may not use the merchant account, or there is none of the name.
pub(super) const INVALID_MERCHANT_ACCOUNT: &str = "901";

pub(super) const UNREADABLE: Outcome = Outcome::Unknown(Unknown::Unreadable);

/// What an answer must speak of, as far as it is known. Nothing is asked where nothing is given.
#[derive(Default)]
pub(super) struct Expected<'a> {
    /// The reference that we gave the payment.
    merchant_reference: Option<&'a str>,
    /// Adyen's reference of the payment that is changed.
    payment: Option<&'a str>,
}

impl<'a> Expected<'a> {
    /// What an answer about this payment must speak of.
    pub(super) fn about(payment: Option<&'a str>) -> Self {
        Self { merchant_reference: None, payment }
    }

    pub(super) fn of<C>(operation: &'a Operation<C>) -> Self {
        match &operation.action {
            Action::Authorize(_) => {
                Self { merchant_reference: Some(operation.reference()), payment: None }
            }
            Action::Capture(FollowUp { reference, .. })
            | Action::Refund(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. }) => Self::about(Some(reference)),
            Action::Status(_) | Action::Tokenize(_) => Self::default(),
        }
    }
}

pub(super) fn read(kind: Kind, answer: &Answer<'_>, expected: &Expected<'_>) -> Report {
    let report = match (kind, answer.status) {
        (Kind::Authorize | Kind::Charge, 200) => {
            answer.json().map(|result: PaymentResult| result.report(kind, expected))
        }
        (Kind::Capture | Kind::Refund | Kind::Void, 200 | 201) => {
            answer.json().map(|receipt: Receipt| receipt.report(kind, expected))
        }
        (_, 0..400) => None,
        (_, 400..) => Some(failure(kind, answer)),
    };
    report.unwrap_or(Report::bare(UNREADABLE))
}

pub(super) fn failure(kind: Kind, answer: &Answer<'_>) -> Report {
    match answer.json::<Failure>() {
        Some(failure) => failure.report(kind, answer),
        None => Report::bare(answer.by_status().unwrap_or(UNREADABLE)),
    }
}

/// Reads the answer to the question for the ways to pay.
pub(super) fn validity(answer: &Answer<'_>) -> Validity {
    match answer.status {
        200 if answer.json::<Ways>().is_some() => Validity::Valid,
        401..=403 | 422 if answer.json().is_some_and(|failure: Failure| failure.is_of_account()) => {
            Validity::AccountUnknown
        }
        _ => Validity::by_status(answer),
    }
}

/// The ways to pay. Which ones they are is not looked at: an account may get cards later.
#[derive(Deserialize)]
struct Ways {
    #[serde(rename = "paymentMethods")]
    _payment_methods: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaymentResult {
    additional_data: Option<ResultData>,
    amount: Option<Told>,
    merchant_reference: Option<String>,
    psp_reference: Option<String>,
    refusal_reason: Option<String>,
    refusal_reason_code: Option<String>,
    result_code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultData {
    auth_code: Option<String>,
    avs_result: Option<String>,
    cvc_result: Option<String>,
    merchant_advice_code: Option<String>,
    network_tx_reference: Option<String>,
    refusal_reason_raw: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Told {
    pub(super) currency: String,
    pub(super) value: u64,
}

/// The answer to a capture, a cancel or a refund.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    amount: Option<Told>,
    payment_psp_reference: String,
    psp_reference: String,
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    error_code: String,
    error_type: String,
    message: Option<String>,
    psp_reference: Option<String>,
}

// === impl PaymentResult ===

impl PaymentResult {
    fn report(self, kind: Kind, expected: &Expected<'_>) -> Report {
        // Nothing of another's payment is passed on, its name least of all.
        let told = self.merchant_reference.as_deref();
        if expected.merchant_reference.is_some_and(|wanted| told.is_some_and(|told| told != wanted)) {
            return Report::bare(UNREADABLE);
        }
        let (outcome, state) = self.outcome(kind);
        let data = self.additional_data.as_ref();
        let report = Report {
            state,
            amount: self.amount.as_ref().and_then(Told::read),
            authorization_code: data.and_then(|d| d.auth_code.as_deref()).and_then(said),
            reference: self.psp_reference.as_deref().and_then(psp_reference).map(Into::into),
            code: self.refusal_reason_code.as_deref().or(Some(&self.result_code)).and_then(said),
            description: self.refusal_reason.as_deref().and_then(said),
            sub_code: data.and_then(|d| d.merchant_advice_code.as_deref()).and_then(said),
            sub_description: data.and_then(|d| d.refusal_reason_raw.as_deref()).and_then(said),
            address_check: data.and_then(|d| d.avs_result.as_deref()).map(address),
            cvv_check: data.and_then(|d| d.cvc_result.as_deref()).map(cvv),
            network_transaction_id: data
                .and_then(|d| d.network_tx_reference.as_deref())
                .and_then(checks::network_id),
            ..Report::bare(outcome)
        };
        // An approval of nobody knows what is no approval; what is pending has an id at least.
        let whole = report.reference.is_some()
            && (report.amount.is_some() || outcome == Outcome::Pending && self.amount.is_none());
        if whole { report } else { doubted(report) }
    }

    /// <https://docs.adyen.com/online-payments/build-your-integration/payment-result-codes>
    fn outcome(&self, kind: Kind) -> (Outcome, Option<State>) {
        let held = match kind {
            // The capture was asked for with the payment, and Adyen starts it by itself.
            Kind::Charge => State::Captured,
            Kind::Authorize
            | Kind::Capture
            | Kind::Refund
            | Kind::Status
            | Kind::Tokenize
            | Kind::Void => State::Authorized,
        };
        match &*self.result_code {
            "Authorised" => (Outcome::Approved, Some(held)),
            // Less than was asked for is held or taken. It is not what the merchant asked, and it
            // is not nothing: it stands as unknown, with its amount, until somebody voids it.
            "PartiallyAuthorised" => (UNREADABLE, Some(held)),
            "Refused" | "Error" | "Cancelled" => {
                (Outcome::Declined(self.decline()), Some(State::Declined))
            }
            "Received" | "Pending" | "PresentToShopper" => {
                (Outcome::Pending, Some(State::Pending))
            }
            // The shopper would have to act, and is not with us.
            "RedirectShopper" | "IdentifyShopper" | "ChallengeShopper" => {
                (Outcome::Declined(Decline::AuthenticationRequired), Some(State::Declined))
            }
            _ => (UNREADABLE, None),
        }
    }

    fn decline(&self) -> Decline {
        match (self.refusal_reason_code.as_deref(), &*self.result_code) {
            (None | Some("0"), "Error") => Decline::ProcessingError,
            (Some(code), _) => DECLINES.find(code).unwrap_or(Decline::Unmapped),
            (None, "Cancelled") => Decline::CardDeclined,
            (None, _) => Decline::Unmapped,
        }
    }
}

/// The number before the words of `avsResult`, such as `7 Both postal code and address match`.
/// <https://docs.adyen.com/risk-management/avs-checks>
fn address(told: &str) -> AddressCheck {
    match number(told) {
        "7" | "20" | "24" => AddressCheck::Match,
        "1" | "9" | "12" | "21" | "25" => AddressCheck::StreetOnly,
        "6" | "14" | "15" | "19" | "23" => AddressCheck::PostCodeOnly,
        "2" | "10" | "13" | "16" | "17" | "26" => AddressCheck::NoMatch,
        _ => AddressCheck::NotChecked,
    }
}

/// The number before the words of `cvcResult`, such as `1 Matches`.
fn cvv(told: &str) -> CvvCheck {
    match number(told) {
        "1" => CvvCheck::Match,
        "2" => CvvCheck::NoMatch,
        _ => CvvCheck::NotChecked,
    }
}

fn number(told: &str) -> &str {
    told.split(' ').next().unwrap_or_default()
}

// === impl Told ===

impl Told {
    pub(super) fn read(&self) -> Option<Amount> {
        let currency = Currency::parse(&self.currency).ok()?;
        Amount::from_units(self.value, places(currency)?, currency).ok()
    }
}

// === impl Receipt ===

impl Receipt {
    /// The payment keeps its reference; the change has one of its own, told as the sub-code.
    fn report(self, kind: Kind, expected: &Expected<'_>) -> Report {
        if expected.payment.is_some_and(|wanted| wanted != self.payment_psp_reference) {
            return Report::bare(UNREADABLE);
        }
        let outcome = match &*self.status {
            "received" => Outcome::Pending,
            _ => UNREADABLE,
        };
        let report = Report {
            state: (outcome == Outcome::Pending).then_some(State::Pending),
            amount: self.amount.as_ref().and_then(Told::read),
            reference: psp_reference(&self.payment_psp_reference).map(Into::into),
            code: said(&self.status),
            sub_code: psp_reference(&self.psp_reference).map(Into::into),
            ..Report::bare(outcome)
        };
        let whole = report.reference.is_some()
            && report.sub_code.is_some()
            && (kind == Kind::Void || report.amount.is_some());
        if whole { report } else { doubted(report) }
    }
}

// === impl Failure ===

impl Failure {
    fn is_of_account(&self) -> bool {
        self.error_code == INVALID_MERCHANT_ACCOUNT
    }

    fn report(&self, kind: Kind, answer: &Answer<'_>) -> Report {
        let outcome = self.outcome(kind, answer);
        let declined = matches!(outcome, Outcome::Declined(_));
        let name = self.psp_reference.as_deref().and_then(psp_reference);
        // Adyen names what it refuses as well, so that a name in an error does not show that it took
        // the payment. While that is in doubt, the name is there for who asks Adyen.
        let is_doubted = matches!(outcome, Outcome::Unknown(_));
        let report = Report {
            state: declined.then_some(State::Declined),
            reference: name.filter(|_| !is_doubted).map(Into::into),
            code: said(&self.error_code),
            sub_code: said(&self.error_type),
            sub_description: name.filter(|_| is_doubted).map(Into::into),
            ..Report::bare(outcome)
        };
        // A text about a wrong key may quote it.
        if outcome == Outcome::Rejected(Rejected::Credentials) {
            return report;
        }
        Report { description: self.message.as_deref().and_then(said), ..report }
    }

    /// <https://docs.adyen.com/development-resources/error-codes>
    fn outcome(&self, kind: Kind, answer: &Answer<'_>) -> Outcome {
        let pays = matches!(kind, Kind::Authorize | Kind::Charge | Kind::Tokenize);
        match (answer.status, &*self.error_code, &*self.error_type) {
            // The merchant account of the request is not one that this key may use.
            (403, INVALID_MERCHANT_ACCOUNT, _) => Outcome::Rejected(Rejected::Configuration),
            (401 | 403 | 429, _, _) => answer.by_status().unwrap_or(UNREADABLE),
            // Executing or executed: what the first request did is not in this answer.
            (409 | 422, "704", _) => Outcome::Unknown(Unknown::Interrupted),
            // The account has no such payment method: it is said before anything is done.
            (422 | 500, "905", _) => Outcome::Rejected(Rejected::Configuration),
            (500.., _, _) => Outcome::Unknown(Unknown::UpstreamFailed),
            (422, "101", _) if pays => Outcome::Declined(Decline::IncorrectNumber),
            (422, "103", _) if pays => Outcome::Declined(Decline::IncorrectCvv),
            (422, "129", _) if pays => Outcome::Declined(Decline::ExpiredCard),
            (422, "167", _) if !pays => Outcome::Rejected(Rejected::NotFound),
            (_, _, "configuration") => Outcome::Rejected(Rejected::Configuration),
            (_, _, "security") => Outcome::Rejected(Rejected::Credentials),
            (_, _, "validation") => Outcome::Rejected(Rejected::Malformed),
            (_, _, "internal") => Outcome::Unknown(Unknown::UpstreamFailed),
            _ => UNREADABLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{address, cvv};
    use model::{AddressCheck, CvvCheck};

    /// Adyen's list, whole: what it says of the street and of the post code.
    #[test]
    fn every_documented_check_is_read() {
        let all: [&[u8]; 4] = [
            &[7, 20, 24],
            &[1, 9, 12, 21, 25],
            &[6, 14, 15, 19, 23],
            &[2, 10, 13, 16, 17, 26],
        ];
        let words = [
            AddressCheck::Match,
            AddressCheck::StreetOnly,
            AddressCheck::PostCodeOnly,
            AddressCheck::NoMatch,
        ];
        for code in 0..=30_u8 {
            let row = all.iter().position(|codes| codes.contains(&code));
            let expected = row.map_or(AddressCheck::NotChecked, |row| words[row]);
            assert_eq!(address(&format!("{code} in words")), expected, "{code}");
            assert_eq!(address(&code.to_string()), expected, "{code}");
        }
        for (told, expected) in [
            ("1 Matches", CvvCheck::Match),
            ("2 Doesn't Match", CvvCheck::NoMatch),
            ("0 Unknown", CvvCheck::NotChecked),
            ("3 Not Checked", CvvCheck::NotChecked),
            ("", CvvCheck::NotChecked),
        ] {
            assert_eq!(cvv(told), expected, "{told}");
        }
    }
}
