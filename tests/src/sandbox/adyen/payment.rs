//! Payments.

use super::refusal::{self, NOT_A_TEST_CARD, Refusal};
use super::{Adyen, Desk, invalid, new_reference};
use crate::sandbox::Answer;
use crate::sandbox::cards::{self, Challenge, Script};
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::shape::text;
use model::{Currency, Cvv};
use serde_json::{Value, json};

/// A payment that was authorised.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) psp: String,
    pub(super) merchant: String,
    pub(super) currency: String,
    pub(super) authorised: u64,
    pub(super) captured: u64,
    pub(super) refunded: u64,
    pub(super) cancelled: bool,
    /// As it may be kept: see [`cards::kept`].
    pub(super) number: String,
}

/// What the issuer makes of a payment.
enum Verdict {
    Authorised,
    Challenged(Challenge),
    Refused(Refusal),
}

/// Whether the money is to be taken later.
pub(super) fn is_later(parameters: &Value) -> bool {
    text(parameters, "/additionalData/manualCapture")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

// === impl Adyen ===

impl Adyen {
    pub(super) fn pay(&mut self, parameters: &Value, desk: Desk<'_>) -> Result<Answer, Answer> {
        let payment = Payment::from_parameters(parameters)?;
        let verdict = verdict(parameters, &payment);
        let (mut answer, outcome, reason) = match &verdict {
            Verdict::Authorised => (authorised(parameters, &payment), Outcome::Approved, None),
            Verdict::Challenged(challenge) => {
                (challenged(*challenge), Outcome::Pending, Some("challenge".to_owned()))
            }
            Verdict::Refused(refusal) => {
                let answer = refused(parameters, &payment, *refusal);
                (answer, Outcome::Declined, Some(refusal.code.to_string()))
            }
        };
        desk.write_payment(parameters, &payment, outcome, reason);
        if let (Verdict::Authorised, Some(shopper)) = (&verdict, kept_for(parameters)) {
            let id = self.keep(parameters, shopper);
            let data = answer.pointer_mut("/additionalData").and_then(Value::as_object_mut);
            data.map(|data| data.insert("tokenization.storedPaymentMethodId".into(), id.into()));
        }
        let answer = Answer::json(200, &answer).header("pspreference", &payment.psp);
        if let Verdict::Authorised = verdict {
            let reference = text(parameters, "/reference").unwrap_or_default();
            self.references.insert(reference.to_owned(), payment.psp.clone());
            self.payments.insert(payment.psp.clone(), payment);
        }
        Ok(answer)
    }
}

/// For whom the card is to be kept, if it is.
fn kept_for(parameters: &Value) -> Option<&str> {
    let keeps = parameters.get("storePaymentMethod") == Some(&Value::Bool(true));
    text(parameters, "/shopperReference").filter(|_| keeps)
}

fn verdict(parameters: &Value, payment: &Payment) -> Verdict {
    if let Some(refusal) = refusal::asked_for(parameters) {
        return Verdict::Refused(refusal);
    }
    let authenticated = parameters.get("mpiData").is_some()
        || text(parameters, "/authenticationData/attemptAuthentication") == Some("never");
    match cards::test_card(&payment.number).map(|card| card.script) {
        None => Verdict::Refused(NOT_A_TEST_CARD),
        Some(Script::Challenge(challenge)) if !authenticated => Verdict::Challenged(challenge),
        Some(
            Script::Approve | Script::Authenticate | Script::Challenge(_) | Script::Decline(..),
        ) => Verdict::Authorised,
    }
}

fn authorised(parameters: &Value, payment: &Payment) -> Value {
    let brand = cards::test_card(&payment.number).map_or("visa", |card| card.brand);
    let brand = if brand == "mastercard" { "mc" } else { brand };
    let cvc = text(parameters, "/paymentMethod/cvc");
    let avs = parameters.get("billingAddress").is_some();
    json!({
        "additionalData": {
            "acquirerCode": "TestPmmAcquirer",
            "authCode": "065696",
            "avsResult": if avs { "7 Both postal code and address match" } else { "4 AVS not supported for this card type" },
            "cardSummary": cards::last_four(&payment.number),
            "cvcResult": if cvc.is_some() { "1 Matches" } else { "0 Unknown" },
            "expiryDate": format!(
                "{}/{}",
                text(parameters, "/paymentMethod/expiryMonth").unwrap_or_default().trim_start_matches('0'),
                text(parameters, "/paymentMethod/expiryYear").unwrap_or_default(),
            ),
            "issuerCountry": "NL",
            "networkTxReference": "060720116005060",
            "paymentMethod": brand,
            "refusalReasonRaw": "AUTHORISED",
        },
        "amount": {"currency": payment.currency, "value": payment.authorised},
        "merchantReference": text(parameters, "/reference"),
        "paymentMethod": {"brand": brand, "type": "scheme"},
        "pspReference": payment.psp,
        "resultCode": "Authorised",
    })
}

fn refused(parameters: &Value, payment: &Payment, refusal: Refusal) -> Value {
    json!({
        "additionalData": {"refusalReasonRaw": refusal.raw},
        "merchantReference": text(parameters, "/reference"),
        "pspReference": payment.psp,
        "refusalReason": refusal.reason,
        "refusalReasonCode": refusal.code.to_string(),
        "resultCode": refusal.result(),
    })
}

fn challenged(challenge: Challenge) -> Value {
    match challenge {
        Challenge::Redirect => json!({
            "resultCode": "RedirectShopper",
            "action": {
                "type": "redirect", "method": "GET", "paymentMethodType": "scheme",
                "url": "https://checkoutshopper-test.adyen.com/checkoutshopper/threeDS/redirect",
            },
        }),
        Challenge::Native => json!({
            "resultCode": "IdentifyShopper",
            "action": {
                "type": "threeDS2", "subtype": "fingerprint", "paymentMethodType": "scheme",
                "token": "eyJ0aHJlZURTTWV0aG9kTm90aWZpY", "paymentData": "Ab02b4c0",
                "authorisationToken": "Ab02b4c0",
            },
        }),
    }
}

// === impl Payment ===

impl Payment {
    fn from_parameters(parameters: &Value) -> Result<Self, Answer> {
        let (currency, authorised) = amount(parameters)?;
        if text(parameters, "/reference").is_none_or(str::is_empty) {
            return Err(invalid("130", "Reference Missing"));
        }
        if text(parameters, "/returnUrl").is_none_or(str::is_empty) {
            return Err(invalid("14_030", "Return URL is missing."));
        }
        let number = text(parameters, "/paymentMethod/number").unwrap_or_default();
        check_card(parameters, number)?;
        Ok(Self {
            psp: new_reference(),
            merchant: text(parameters, "/merchantAccount").unwrap_or_default().to_owned(),
            currency,
            authorised,
            captured: if is_later(parameters) { 0 } else { authorised },
            refunded: 0,
            cancelled: false,
            number: cards::kept(number),
        })
    }
}

/// The currency and the value of the amount.
pub(super) fn amount(parameters: &Value) -> Result<(String, u64), Answer> {
    let code = text(parameters, "/amount/currency").unwrap_or_default();
    let known = code.bytes().all(|byte| byte.is_ascii_uppercase()) && Currency::parse(code).is_ok();
    if !known {
        return Err(invalid("138", "Unsupported currency specified"));
    }
    let value = parameters.pointer("/amount/value").and_then(Value::as_u64);
    let value = value.ok_or_else(|| invalid("137", "Invalid amount specified"))?;
    Ok((code.to_owned(), value))
}

pub(super) fn check_card(parameters: &Value, number: &str) -> Result<(), Answer> {
    if number.is_empty() {
        return Err(invalid("100", "Required field 'paymentMethod.number' is not provided"));
    }
    if !cards::is_number(number) {
        return Err(invalid("101", "Invalid card number"));
    }
    let part = |pointer, length: usize| {
        let text = text(parameters, pointer).unwrap_or_default();
        let digits = text.len() <= length && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let month = part("/paymentMethod/expiryMonth", 2).filter(|month| (1..=12).contains(month));
    let year = part("/paymentMethod/expiryYear", 4).filter(|year| (2000..2100).contains(year));
    if month.is_none() || year.is_none() {
        return Err(invalid("129", "Expiry Date Invalid"));
    }
    match text(parameters, "/paymentMethod/cvc") {
        Some(cvc) if Cvv::parse(cvc).is_err() => Err(invalid("103", "CVC is not the right length")),
        _ => Ok(()),
    }
}

// === impl Desk ===

impl Desk<'_> {
    fn write_payment(
        self,
        parameters: &Value,
        payment: &Payment,
        outcome: Outcome,
        reason: Option<String>,
    ) {
        self.books.write(Entry {
            number: 0,
            at: 0,
            provider: "adyen",
            operation: if is_later(parameters) { "authorize" } else { "charge" },
            outcome,
            reason,
            id: payment.psp.clone(),
            payment: payment.psp.clone(),
            amount: Some(payment.authorised),
            currency: Some(payment.currency.clone()),
            pan: Some(payment.number.clone()),
            reference: text(parameters, "/reference").map(str::to_owned),
            idempotency_key: self.key.map(str::to_owned),
        });
    }
}
