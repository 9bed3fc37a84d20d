//! Payment methods: a card, to be used for one payment, or again and again by the customer who has it.

use super::error::Refused;
use super::{Stripe, new_id, now};
use crate::sandbox::cards::{self, Script};
use crate::sandbox::shape::text;
use serde_json::{Value, json};

/// A card as Stripe keeps it.
#[derive(Clone, Debug)]
pub(super) struct PaymentMethod {
    pub(super) id: String,
    /// As it may be kept: see [`cards::kept`].
    pub(super) number: String,
    pub(super) script: Script,
    pub(super) brand: &'static str,
    pub(super) exp_month: u64,
    pub(super) exp_year: u64,
    pub(super) has_cvc: bool,
    pub(super) billing: Value,
    /// Whether it has paid already.
    pub(super) used: bool,
    /// Who has it, where it is kept.
    pub(super) customer: Option<String>,
    created: u64,
    metadata: Value,
}

/// Payment methods that exist without being made, and can be used again and again.
const BUILT_IN: [(&str, &str); 5] = [
    ("pm_card_visa", "4242424242424242"),
    ("pm_card_mastercard", "5555555555554444"),
    ("pm_card_amex", "378282246310005"),
    ("pm_card_visa_chargeDeclined", "4000000000000002"),
    ("pm_card_visa_chargeDeclinedInsufficientFunds", "4000000000009995"),
];

// === impl Stripe ===

impl Stripe {
    pub(super) fn create_method(&mut self, parameters: &Value) -> Result<Value, Refused> {
        let method = PaymentMethod::from_parameters(parameters)?;
        let shown = method.shown();
        self.methods.insert(method.id.clone(), method);
        Ok(shown)
    }

    pub(super) fn method(&self, id: &str) -> Result<&PaymentMethod, Refused> {
        let missing = || Refused::missing("PaymentMethod", "payment_method", id);
        self.methods.get(&id.to_owned()).ok_or_else(missing)
    }

    /// Takes a method for a payment of this customer. One that is attached to nobody is good for one.
    pub(super) fn spend_method(
        &mut self,
        id: &str,
        customer: Option<&str>,
    ) -> Result<PaymentMethod, Refused> {
        if let Some((_, number)) = BUILT_IN.iter().find(|(name, _)| *name == id) {
            return Ok(PaymentMethod::built_in(id, number));
        }
        let missing = || Refused::missing("PaymentMethod", "payment_method", id);
        let method = self.methods.get_mut(&id.to_owned()).ok_or_else(missing)?;
        if method.customer.is_some() {
            let message = "The payment method belongs to a Customer. Please include the Customer \
                           in the request.";
            return match customer {
                Some(customer) if method.customer.as_deref() == Some(customer) => {
                    Ok(method.clone())
                }
                Some(customer) => Err(Refused::missing("customer", "customer", customer)),
                None => Err(Refused::invalid(None, Some("payment_method"), message)),
            };
        }
        if method.used {
            let message = "The provided PaymentMethod was previously used with a PaymentIntent \
                           without Customer attachment, and may not be used again.";
            return Err(Refused::invalid(None, Some("payment_method"), message));
        }
        method.used = true;
        Ok(method.clone())
    }
}

// === impl PaymentMethod ===

impl PaymentMethod {
    fn from_parameters(parameters: &Value) -> Result<Self, Refused> {
        let number = text(parameters, "/card/number").unwrap_or_default();
        let cvc = text(parameters, "/card/cvc");
        let (exp_month, exp_year) = check_card(parameters, number, cvc)?;
        let card = cards::test_card(number);
        Ok(Self {
            id: new_id("pm_1"),
            number: cards::kept(number),
            script: card.map_or(Script::Decline("card_declined", "testmode_decline"), |c| c.script),
            brand: card.map_or("unknown", |card| card.brand),
            exp_month,
            exp_year,
            has_cvc: cvc.is_some(),
            billing: billing(parameters),
            used: false,
            customer: None,
            created: now(),
            metadata: parameters.get("metadata").cloned().unwrap_or_else(|| json!({})),
        })
    }

    fn built_in(id: &str, number: &str) -> Self {
        let card = cards::test_card(number);
        Self {
            id: id.to_owned(),
            number: number.to_owned(),
            script: card.map_or(Script::Approve, |card| card.script),
            brand: card.map_or("unknown", |card| card.brand),
            exp_month: 12,
            exp_year: 2034,
            has_cvc: true,
            billing: billing(&Value::Null),
            used: false,
            customer: None,
            created: now(),
            metadata: json!({}),
        }
    }

    /// The object that Stripe shows.
    pub(super) fn shown(&self) -> Value {
        json!({
            "id": self.id, "object": "payment_method", "type": "card", "created": self.created,
            "customer": self.customer, "livemode": false, "metadata": self.metadata,
            "billing_details": self.billing,
            "card": {
                "brand": self.brand, "country": "US", "exp_month": self.exp_month,
                "exp_year": self.exp_year, "fingerprint": "Xt5EWLLDS7FJjR1c", "funding": "credit",
                "last4": cards::last_four(&self.number),
                "checks": {"address_line1_check": null, "address_postal_code_check": null,
                           "cvc_check": null},
                "networks": {"available": [self.brand], "preferred": null},
            },
        })
    }
}

/// The checks that need no issuer. The month and the year of expiry.
fn check_card(parameters: &Value, number: &str, cvc: Option<&str>) -> Result<(u64, u64), Refused> {
    if !cards::is_number(number) {
        return Err(Refused::card("incorrect_number", "number", "Your card number is incorrect."));
    }
    let part = |pointer| text(parameters, pointer).and_then(|text| text.parse::<u64>().ok());
    let month =
        part("/card/exp_month").filter(|month| (1..=12).contains(month)).ok_or_else(|| {
            let message = "Your card's expiration month is invalid.";
            Refused::card("invalid_expiry_month", "exp_month", message)
        })?;
    let (this_year, this_month) = today();
    let year = part("/card/exp_year").filter(|year| {
        (*year, month) >= (this_year, this_month) && *year <= this_year.saturating_add(50)
    });
    let year = year.ok_or_else(|| {
        let message = "Your card's expiration year is invalid.";
        Refused::card("invalid_expiry_year", "exp_year", message)
    })?;
    match cvc {
        Some(cvc) if model::Cvv::parse(cvc).is_err() => {
            let message = "Your card's security code is invalid.";
            Err(Refused::card("invalid_cvc", "cvc", message))
        }
        _ => Ok((month, year)),
    }
}

/// The year and the month (civil calendar, UTC).
fn today() -> (u64, u64) {
    // Days since 0000-03-01, in eras of 400 years, each year beginning in March.
    let days = (now() / 86_400).saturating_add(719_468);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = day.saturating_sub(day / 1_460).saturating_add(day / 36_524);
    let year = year.saturating_sub(day / 146_096) / 365;
    let before = year.saturating_mul(365).saturating_add(year / 4).saturating_sub(year / 100);
    let month = day.saturating_sub(before).saturating_mul(5).saturating_add(2) / 153;
    let year = era.saturating_mul(400).saturating_add(year);
    if month < 10 {
        (year, month.saturating_add(3))
    } else {
        (year.saturating_add(1), month.saturating_sub(9))
    }
}

fn billing(parameters: &Value) -> Value {
    let part = |pointer: &str| text(parameters, pointer).map(str::to_owned);
    let line = |name: &str| part(&format!("/billing_details/address/{name}"));
    json!({
        "address": {
            "city": line("city"), "country": line("country"), "line1": line("line1"),
            "line2": line("line2"), "postal_code": line("postal_code"), "state": line("state"),
        },
        "email": part("/billing_details/email"), "name": part("/billing_details/name"),
        "phone": part("/billing_details/phone"),
    })
}
