//! A payment, as Payment Queries shows it.
//! <https://docs.worldpay.com/access/products/payment-queries>

use super::change::Progress;
use super::links::Links;
use super::{amount, is_payment_id};
use crate::checks::network_id;
use crate::wire::said;
use model::{Amount, Currency, Outcome, Rejected, Report, State};
use serde::Deserialize;

/// A list of payments.
#[derive(Deserialize)]
pub(super) struct List {
    #[serde(rename = "_embedded")]
    pub(super) embedded: Embedded,
}

#[derive(Deserialize)]
pub(super) struct Embedded {
    pub(super) payments: Vec<Queried>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queried {
    pub(super) payment_id: String,
    pub(super) transaction_reference: String,
    pub(super) last_event: Option<String>,
    pub(super) value: Option<Told>,
    issuer: Option<Issuer>,
    scheme: Option<Scheme>,
    /// Not in lists.
    #[serde(default)]
    pub(super) events: Vec<Event>,
    #[serde(rename = "_links")]
    pub(super) links: Links,
}

/// Something that happened to a payment.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) event_name: String,
    pub(super) command_id: Option<String>,
    pub(super) refund_reference: Option<String>,
    pub(super) settlement_reference: Option<String>,
    pub(super) value: Option<Told>,
}

#[derive(Deserialize)]
pub(super) struct Told {
    pub(super) amount: u64,
    pub(super) currency: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Issuer {
    pub(super) authorization_code: String,
}

#[derive(Deserialize)]
pub(super) struct Scheme {
    pub(super) reference: String,
}

// === impl Queried ===

impl Queried {
    /// What Worldpay says of the payment, with an outcome that somebody else decided.
    pub(super) fn report(&self, outcome: Outcome, state: State) -> Report {
        Report {
            state: Some(state),
            amount: self.amount(),
            authorization_code: self.issuer.as_ref().and_then(Issuer::code),
            reference: is_payment_id(&self.payment_id).then(|| self.payment_id.as_str().into()),
            code: self.last_event.as_deref().and_then(said),
            network_transaction_id: self.scheme.as_ref().and_then(Scheme::id),
            memo: self.links.memo(),
            ..Report::bare(outcome)
        }
    }

    /// The report when what was asked for is not among the links.
    pub(super) fn refusal(&self) -> Report {
        let report = self.report(Outcome::Rejected(Rejected::State), self.state());
        Report { amount: None, ..report }
    }

    pub(super) fn amount(&self) -> Option<Amount> {
        self.value.as_ref().and_then(Told::read)
    }

    /// How far the settling is, where the whole amount is told.
    pub(super) fn progress(&self) -> Option<Progress> {
        let authorized = self.amount()?;
        let settled = self.events.iter().filter(|event| event.is("settlementRequested"));
        let captures = u32::try_from(settled.count()).ok()?;
        let captured = Amount::new(self.sum("settlementRequested")?, authorized.currency()).ok()?;
        Some(Progress { authorized, captured, captures })
    }

    /// How much the events of a name are about, in minor units.
    fn sum(&self, name: &str) -> Option<u64> {
        let events = self.events.iter().filter(|event| event.is(name));
        events.map(|event| Some(event.value.as_ref()?.read()?.minor())).try_fold(
            0_u64,
            |sum, minor| sum.checked_add(minor?),
        )
    }

    /// The state of the payment. It goes by the last event, but for refunds: all must have gone back.
    pub(super) fn state(&self) -> State {
        match self.last_event.as_deref().unwrap_or_default() {
            "authorizationRequested" | "saleRequested" | "cancellationRequested"
            | "reversalRequested" => State::Pending,
            "authorizationSucceeded"
            | "settlementRequestSubmissionFailed"
            | "cancellationRequestSubmissionFailed" => State::Authorized,
            "authorizationRefused" | "authorizationFailed" | "saleRefused" | "saleFailed" => {
                State::Declined
            }
            "saleSucceeded"
            | "settlementRequested"
            | "settlementRequestSubmitted"
            | "refundRequestSubmissionFailed"
            | "reversalRequestSubmissionFailed" => State::Captured,
            "refundRequested" | "refundRequestSubmitted" => self.state_after_refund(),
            "cancellationRequestSubmitted" | "reversalRequestSubmitted" => State::Voided,
            _ => State::Unknown,
        }
    }

    fn state_after_refund(&self) -> State {
        let (taken, given) = (self.sum("settlementRequested"), self.sum("refundRequested"));
        match (taken, given, self.amount()) {
            (Some(taken @ 1..), Some(given), _) if given >= taken => State::Refunded,
            (_, Some(given), Some(amount)) if given >= amount.minor() => State::Refunded,
            _ => State::Captured,
        }
    }
}

// === impl Event ===

impl Event {
    pub(super) fn is(&self, name: &str) -> bool {
        self.event_name == name
    }
}

// === impl Told ===

impl Told {
    pub(super) fn read(&self) -> Option<Amount> {
        amount(self.amount, &self.currency)
    }

    /// Whether it is this amount.
    pub(super) fn is(&self, other: Amount) -> bool {
        Currency::parse(&self.currency).is_ok() && self.read() == Some(other)
    }
}

// === impl Issuer ===

impl Issuer {
    pub(super) fn code(&self) -> Option<Box<str>> {
        said(&self.authorization_code)
    }
}

// === impl Scheme ===

impl Scheme {
    pub(super) fn id(&self) -> Option<Box<str>> {
        network_id(&self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::Queried;
    use model::State;
    use serde_json::{Value, json};

    fn queried(last_event: &str, events: Value) -> Queried {
        let value = json!({
            "paymentId": "payExample000000000000001", "transactionReference": "k",
            "lastEvent": last_event, "value": {"amount": 1099, "currency": "GBP"},
            "events": events, "_links": {},
        });
        serde_json::from_value(value).unwrap()
    }

    fn event(name: &str, amount: u64) -> Value {
        json!({"eventName": name, "value": {"amount": amount, "currency": "GBP"}})
    }

    /// Every word that Payment Queries documents.
    #[test]
    fn every_last_event_is_a_state() {
        for (words, expected) in [
            ("authorizationRequested saleRequested cancellationRequested reversalRequested", State::Pending),
            (
                "authorizationSucceeded settlementRequestSubmissionFailed \
                 cancellationRequestSubmissionFailed",
                State::Authorized,
            ),
            ("authorizationRefused authorizationFailed saleRefused saleFailed", State::Declined),
            (
                "authorizationTimedOut saleTimedOut settlementRequestSubmissionTimedOut \
                 refundRequestSubmissionTimedOut cancellationRequestSubmissionTimedOut \
                 reversalRequestSubmissionTimedOut tomorrow",
                State::Unknown,
            ),
            (
                "saleSucceeded settlementRequested settlementRequestSubmitted \
                 refundRequestSubmissionFailed reversalRequestSubmissionFailed",
                State::Captured,
            ),
            ("cancellationRequestSubmitted reversalRequestSubmitted", State::Voided),
        ] {
            for word in words.split_whitespace() {
                assert_eq!(queried(word, json!([])).state(), expected, "{word}");
            }
        }
    }

    #[test]
    fn refunded_is_what_went_back_in_whole() {
        let (taken, given) = ("settlementRequested", "refundRequested");
        for (events, expected) in [
            (json!([event(given, 1099)]), State::Refunded),
            (json!([event(given, 1000)]), State::Captured),
            (json!([event(taken, 500), event(given, 500)]), State::Refunded),
            (json!([event(taken, 500), event(given, 200), event(given, 299)]), State::Captured),
            (json!([{"eventName": given}]), State::Captured),
        ] {
            assert_eq!(queried("refundRequested", events.clone()).state(), expected, "{events}");
        }
    }
}
