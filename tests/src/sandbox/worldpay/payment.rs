//! Payments.

use super::refusal::{self, NOT_A_TEST_CARD, Refusal};
use super::{Worldpay, failure, invalid, new_id, refuse};
use crate::sandbox::cards;
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, Books};
use model::{Currency, Cvv, Expiry};
use serde_json::{Value, json};

/// A payment, declined ones included.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) entity: String,
    /// The merchant's name for it.
    pub(super) reference: String,
    pub(super) currency: String,
    pub(super) authorised: u64,
    pub(super) captured: u64,
    pub(super) refunded: u64,
    pub(super) cancelled: bool,
    pub(super) refused: bool,
    pub(super) sale: bool,
    /// As it may be kept: see [`cards::kept`].
    pub(super) number: String,
    /// How many things happened to it; each makes new links.
    pub(super) step: u32,
    /// As Payment Queries shows them.
    pub(super) events: Vec<Value>,
}

const INSTRUMENT: &str = "/instruction/paymentInstrument";

/// Whether the money is to be taken at once.
pub(super) fn is_sale(parameters: &Value) -> bool {
    let enabled = parameters.pointer("/instruction/requestAutoSettlement/enabled");
    enabled.and_then(Value::as_bool).unwrap_or(false)
}

fn of_card<'a>(parameters: &'a Value, name: &str) -> Option<&'a str> {
    text(parameters, &format!("{INSTRUMENT}/{name}"))
}

/// The currency and the value of an amount.
pub(super) fn amount(parameters: &Value, at: &str) -> Result<(String, u64), Answer> {
    let code = text(parameters, &format!("{at}/currency")).unwrap_or_default();
    let known = code.bytes().all(|byte| byte.is_ascii_uppercase()) && Currency::parse(code).is_ok();
    let value = parameters.pointer(&format!("{at}/amount")).and_then(Value::as_u64);
    match value {
        Some(value @ 1..) if known => Ok((code.to_owned(), value)),
        _ => Err(invalid("$.value", "fieldHasInvalidValue", "The value is not valid")),
    }
}

// === impl Worldpay ===

impl Worldpay {
    pub(super) fn pay(&mut self, parameters: &Value, books: &Books) -> Result<Answer, Answer> {
        let parameters = &self.with_card(parameters)?;
        let mut payment = Payment::from_parameters(parameters)?;
        if of_card(parameters, "cardHolderName") == Some("ERROR") {
            return Err(failure(500));
        }
        let name = (payment.entity.clone(), payment.reference.clone());
        if self.references.get(&name).is_some() {
            let said = "The transaction reference is a duplicate";
            return Err(refuse(400, "transactionReferenceIsDuplicate", said));
        }
        let refusal = verdict(parameters, &payment);
        payment.decide(refusal);
        payment.write(books, payment.verb(), refusal.map(|refusal| refusal.code));
        let shown = match refusal {
            None => payment.approved(parameters),
            Some(refusal) => payment.declined(parameters, refusal),
        };
        self.references.insert(name, payment.id.clone());
        self.payments.insert(payment.id.clone(), payment);
        Ok(Answer::json(201, &shown))
    }
}

fn verdict(parameters: &Value, payment: &Payment) -> Option<Refusal> {
    let unknown = cards::test_card(&payment.number).is_none().then_some(NOT_A_TEST_CARD);
    refusal::asked_for(parameters).or(unknown)
}

/// What was not right, or not looked at, by the values that Worldpay publishes for tests.
fn risks(parameters: &Value) -> Vec<Value> {
    let cvc = match of_card(parameters, "cvc") {
        None => Some("notSupplied"),
        Some("111") => Some("notChecked"),
        Some("444" | "4444") => Some("notMatched"),
        Some(_) => None,
    };
    let (address, post_code) = match of_card(parameters, "billingAddress/postalCode") {
        None => (Some("notSupplied"), Some("notSupplied")),
        Some("CCCC") => (Some("notMatched"), None),
        Some("FFFF") => (None, Some("notMatched")),
        Some("JJJJ") => (Some("notMatched"), Some("notMatched")),
        Some(_) => (None, None),
    };
    let avs = [("address", address), ("postcode", post_code)];
    let avs = avs.into_iter().filter_map(|(detail, risk)| {
        Some(json!({"type": "avs", "risk": risk?, "detail": detail}))
    });
    cvc.map(|risk| json!({"type": "cvc", "risk": risk})).into_iter().chain(avs).collect()
}

// === impl Payment ===

impl Payment {
    fn from_parameters(parameters: &Value) -> Result<Self, Answer> {
        let (currency, authorised) = amount(parameters, "/instruction/value")?;
        check_card(parameters)?;
        Ok(Self {
            id: new_id("pay"),
            entity: text(parameters, "/merchant/entity").unwrap_or_default().to_owned(),
            reference: text(parameters, "/transactionReference").unwrap_or_default().to_owned(),
            currency,
            authorised,
            captured: 0,
            refunded: 0,
            cancelled: false,
            refused: false,
            sale: is_sale(parameters),
            number: cards::kept(of_card(parameters, "cardNumber").unwrap_or_default()),
            step: 0,
            events: Vec::new(),
        })
    }

    /// Writes down what became of it.
    fn decide(&mut self, refusal: Option<Refusal>) {
        let command = new_id("cmd");
        let what = if self.sale { "sale" } else { "authorization" };
        let ending = if refusal.is_some() { "Refused" } else { "Succeeded" };
        self.refused = refusal.is_some();
        for ending in ["Requested", ending] {
            self.happens(&format!("{what}{ending}"), &command, json!({}));
        }
        if self.sale && refusal.is_none() {
            self.captured = self.authorised;
            let value = json!({"currency": self.currency, "amount": self.authorised});
            let details = json!({"type": "fullSettlement", "value": value});
            self.happens("settlementRequested", &command, details);
            self.happens("settlementRequestSubmitted", &command, json!({}));
        }
    }

    /// Adds an event; the links are others from now on.
    pub(super) fn happens(&mut self, name: &str, command: &str, mut details: Value) {
        if let Some(details) = details.as_object_mut() {
            details.insert("eventName".into(), name.into());
            details.insert("timestamp".into(), "2026-06-08T16:11:13.164Z".into());
            details.insert("commandId".into(), command.into());
        }
        self.events.push(details);
        self.step = self.step.saturating_add(1);
    }

    fn verb(&self) -> &'static str {
        if self.sale { "charge" } else { "authorize" }
    }

    fn approved(&self, parameters: &Value) -> Value {
        json!({
            "outcome": if self.sale { "Sent for Settlement" } else { "authorized" },
            "paymentId": self.id,
            "commandId": new_id("cmd"),
            "riskFactors": risks(parameters),
            "issuer": {"authorizationCode": "T75725"},
            "scheme": {"reference": "MCCOLXT1C0104  "},
            "paymentInstrument": self.instrument(),
            "_links": self.links(),
        })
    }

    fn declined(&self, parameters: &Value, refusal: Refusal) -> Value {
        json!({
            "outcome": "refused",
            "paymentId": self.id,
            "commandId": new_id("cmd"),
            "refusalCode": refusal.code,
            "refusalDescription": refusal.description,
            "riskFactors": risks(parameters),
            "paymentInstrument": self.instrument(),
        })
    }

    fn write(&self, books: &Books, operation: &'static str, reason: Option<&str>) {
        books.write(Entry {
            number: 0,
            at: 0,
            provider: "worldpay",
            operation,
            outcome: if reason.is_some() { Outcome::Declined } else { Outcome::Approved },
            reason: reason.map(str::to_owned),
            id: self.id.clone(),
            payment: self.id.clone(),
            amount: Some(self.authorised),
            currency: Some(self.currency.clone()),
            pan: Some(self.number.clone()),
            reference: Some(self.reference.clone()),
            idempotency_key: None,
        });
    }
}

fn check_card(parameters: &Value) -> Result<(), Answer> {
    let number = of_card(parameters, "cardNumber").unwrap_or_default();
    let part = |name: &str| {
        let at = format!("{INSTRUMENT}/expiryDate/{name}");
        parameters.pointer(&at).and_then(Value::as_u64).unwrap_or_default()
    };
    let month = u8::try_from(part("month")).unwrap_or_default();
    let year = u16::try_from(part("year")).unwrap_or_default();
    let fits = cards::is_number(number)
        && Expiry::new(month, year).is_ok()
        && of_card(parameters, "cvc").is_none_or(|cvc| Cvv::parse(cvc).is_ok());
    let lines = of_card(parameters, "billingAddress/address1").is_some();
    let city = of_card(parameters, "billingAddress/city").is_some();
    let said = "The payment instrument is not valid";
    let wrong = || invalid("$.instruction.paymentInstrument", "fieldHasInvalidValue", said);
    if fits && (city || !lines) { Ok(()) } else { Err(wrong()) }
}
