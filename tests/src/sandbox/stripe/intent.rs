//! Payment intents and the charges that they make.

use super::error::Refused;
use super::method::PaymentMethod;
use super::{Desk, Stripe, expands, new_id, now};
use crate::sandbox::cards::{self, Script};
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::shape::text;
use model::Currency;
use serde_json::{Value, json};

/// The largest amount: eight digits.
const AMOUNT_MAX: u64 = 99_999_999;
/// The least that a card is charged, for the currencies where it is one figure.
const AMOUNTS_MIN: [(&str, u64); 4] = [("EUR", 50), ("GBP", 30), ("JPY", 50), ("USD", 50)];
/// Sent with three decimal places, of which the last is 0.
const THREE_DECIMALS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
/// Sent with two decimal places, both of which are 0.
const WHOLE_ONLY: [&str; 2] = ["ISK", "UGX"];

/// The names under which merchants keep their own reference in the metadata.
const REFERENCES: [&str; 2] = ["order_id", "merchant_reference"];

/// A payment.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    pub(super) id: String,
    /// Whose it is: nobody else's list shows it.
    pub(super) account: String,
    pub(super) amount: u64,
    pub(super) currency: Currency,
    pub(super) status: Status,
    pub(super) capturable: u64,
    pub(super) received: u64,
    pub(super) charge: Option<Charge>,
    pub(super) metadata: Value,
    manual: bool,
    method: Option<PaymentMethod>,
    description: Option<String>,
    suffix: Option<String>,
    last_error: Value,
    next_action: Value,
    created: u64,
    canceled: Option<u64>,
    reason: Option<String>,
}

/// What an issuer was asked for, and what it said.
#[derive(Clone, Debug)]
pub(super) struct Charge {
    pub(super) id: String,
    pub(super) captured: u64,
    pub(super) refunded: u64,
    decline: Option<Declined>,
    three_ds: Value,
}

/// A decline: code, decline code, and the words for the cardholder.
#[derive(Clone, Copy, Debug)]
struct Declined {
    code: &'static str,
    decline: &'static str,
    message: &'static str,
    /// The issuer's own code (ISO 8583 field 39), where it is passed on.
    network: Option<&'static str>,
    advice: &'static str,
}

/// Where an intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Canceled,
    RequiresAction,
    RequiresCapture,
    RequiresConfirmation,
    RequiresPaymentMethod,
    Succeeded,
}

const fn declined(
    code: &'static str,
    decline: &'static str,
    network: Option<&'static str>,
    advice: &'static str,
    message: &'static str,
) -> Declined {
    Declined { code, decline, message, network, advice }
}

const AGAIN: &str = "try_again_later";
const NEVER: &str = "do_not_try_again";
const DATA: &str = "confirm_card_data";

/// From the pages on declines and on testing.
const DECLINES: [Declined; 11] = [
    declined("card_declined", "generic_decline", Some("05"), AGAIN, "Your card was declined."),
    declined(
        "card_declined",
        "insufficient_funds",
        Some("51"),
        AGAIN,
        "Your card has insufficient funds.",
    ),
    declined("card_declined", "lost_card", Some("41"), NEVER, "Your card was declined."),
    declined("card_declined", "stolen_card", Some("43"), NEVER, "Your card was declined."),
    declined("expired_card", "expired_card", Some("54"), DATA, "Your card has expired."),
    declined(
        "incorrect_cvc",
        "incorrect_cvc",
        Some("82"),
        DATA,
        "Your card's security code is incorrect.",
    ),
    declined(
        "processing_error",
        "processing_error",
        Some("96"),
        AGAIN,
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    declined(
        "card_declined",
        "card_velocity_exceeded",
        Some("65"),
        AGAIN,
        "Your card was declined.",
    ),
    declined("card_declined", "fraudulent", None, NEVER, "Your card was declined."),
    declined(
        "card_declined",
        "testmode_decline",
        None,
        NEVER,
        "Your card was declined. Your request was in test mode, but used a non test card.",
    ),
    declined(
        "authentication_required",
        "authentication_required",
        None,
        AGAIN,
        "Your card was declined. This transaction requires authentication.",
    ),
];

// === impl Stripe ===

impl Stripe {
    pub(super) fn intent(&self, id: &str) -> Result<&Intent, Refused> {
        let missing = || Refused::missing("payment_intent", "intent", id);
        self.intents.get(&id.to_owned()).ok_or_else(missing)
    }

    pub(super) fn intent_mut(&mut self, id: &str) -> Result<&mut Intent, Refused> {
        let missing = || Refused::missing("payment_intent", "intent", id);
        self.intents.get_mut(&id.to_owned()).ok_or_else(missing)
    }

    pub(super) fn create_intent(
        &mut self,
        parameters: &Value,
        desk: Desk<'_>,
    ) -> Result<Value, Refused> {
        let mut intent = Intent::from_parameters(parameters, desk.account)?;
        if let Some(id) = text(parameters, "/payment_method") {
            let customer = text(parameters, "/customer");
            intent.method = Some(match text(parameters, "/confirm") {
                Some("true") => self.spend_method(id, customer)?,
                _ => self.method(id)?.clone(),
            });
            intent.status = Status::RequiresConfirmation;
        }
        let answer = match text(parameters, "/confirm") {
            Some("true") => intent.confirm(parameters, desk),
            _ => Ok(()),
        };
        let answer = answer.map(|()| intent.shown(parameters, ""));
        // A decline has an intent too; an error about the parameters has none.
        if answer.is_ok() || intent.charge.is_some() {
            self.intents.insert(intent.id.clone(), intent);
        }
        answer
    }

    pub(super) fn capture_intent(
        &mut self,
        id: &str,
        parameters: &Value,
        desk: Desk<'_>,
    ) -> Result<Value, Refused> {
        let intent = self.intent_mut(id)?;
        if intent.status != Status::RequiresCapture {
            return Err(intent.unexpected("captured", "requires_capture"));
        }
        let amount = match text(parameters, "/amount_to_capture") {
            Some(text) => amount(text, "amount_to_capture", intent.currency)?,
            None => intent.capturable,
        };
        if amount > intent.capturable {
            let message = "The amount to capture is greater than the capturable amount.";
            let code = Some("amount_too_large");
            return Err(Refused::invalid(code, Some("amount_to_capture"), message));
        }
        intent.capture(amount);
        desk.write("capture", intent, &intent.id, Some(amount), Outcome::Approved, None);
        Ok(intent.shown(parameters, ""))
    }

    pub(super) fn cancel_intent(
        &mut self,
        id: &str,
        parameters: &Value,
        desk: Desk<'_>,
    ) -> Result<Value, Refused> {
        let intent = self.intent_mut(id)?;
        if matches!(intent.status, Status::Canceled | Status::Succeeded) {
            let wanted = "requires_payment_method, requires_capture, requires_confirmation, \
                          requires_action, processing";
            return Err(intent.unexpected("canceled", wanted));
        }
        let held = (intent.status == Status::RequiresCapture).then_some(intent.capturable);
        intent.status = Status::Canceled;
        intent.capturable = 0;
        intent.canceled = Some(now());
        intent.reason = text(parameters, "/cancellation_reason").map(str::to_owned);
        desk.write("void", intent, &intent.id, held, Outcome::Approved, None);
        Ok(intent.shown(parameters, ""))
    }

    /// One clause, `metadata['name']:'value'`. The real index is a minute behind; this one is not.
    pub(super) fn list_intents(
        &self,
        account: &str,
        parameters: &Value,
    ) -> Result<Value, Refused> {
        let limit = super::limit(parameters)?;
        let number = |name| text(parameters, name).and_then(|text| text.parse::<u64>().ok());
        let within = |created: u64| {
            number("/created/gt").is_none_or(|bound| created > bound)
                && number("/created/gte").is_none_or(|bound| created >= bound)
                && number("/created/lt").is_none_or(|bound| created < bound)
                && number("/created/lte").is_none_or(|bound| created <= bound)
        };
        let mut found = self
            .intents
            .latest()
            .filter(|intent| intent.account == account && within(intent.created));
        let data: Vec<Value> =
            found.by_ref().take(limit).map(|intent| intent.shown(parameters, "data.")).collect();
        let has_more = found.next().is_some();
        let url = "/v1/payment_intents";
        Ok(json!({"object": "list", "url": url, "has_more": has_more, "data": data}))
    }

    pub(super) fn search_intents(
        &self,
        account: &str,
        parameters: &Value,
    ) -> Result<Value, Refused> {
        let query = text(parameters, "/query").unwrap_or_default();
        let (name, value) = clause(query).ok_or_else(|| {
            let message = "We were unable to parse your search query.";
            Refused::invalid(None, Some("query"), message)
        })?;
        let has = |intent: &&Intent| {
            intent.metadata.get(name).and_then(Value::as_str) == Some(value)
        };
        let own = self.intents.latest().filter(|intent| intent.account == account);
        let found = own.filter(has);
        let data: Vec<Value> =
            found.take(10).map(|intent| intent.shown(parameters, "data.")).collect();
        Ok(json!({
            "object": "search_result", "url": "/v1/payment_intents/search", "has_more": false,
            "next_page": null, "data": data,
        }))
    }
}

fn clause(query: &str) -> Option<(&str, &str)> {
    let rest = query.trim().strip_prefix("metadata[")?;
    let (name, value) = rest.split_once("]:")?;
    Some((unquoted(name)?, unquoted(value)?))
}

fn unquoted(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    inner.or_else(|| text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')))
}

/// Reads an amount, with the rules of its currency.
pub(super) fn amount(text: &str, param: &str, currency: Currency) -> Result<u64, Refused> {
    let invalid = |code, message: &str| Err(Refused::invalid(code, Some(param), message));
    let Ok(amount) = text.parse::<u64>() else {
        return invalid(Some("parameter_invalid_integer"), "Invalid positive integer");
    };
    let code = currency.code();
    if amount == 0 {
        invalid(Some("parameter_invalid_integer"), "This value must be greater than or equal to 1.")
    } else if amount > AMOUNT_MAX {
        invalid(Some("amount_too_large"), "Amount must be no more than 8 digits.")
    } else if THREE_DECIMALS.contains(&code) && !amount.is_multiple_of(10) {
        invalid(None, "The last digit of an amount in this currency must be 0.")
    } else if WHOLE_ONLY.contains(&code) && !amount.is_multiple_of(100) {
        invalid(None, "The last two digits of an amount in this currency must be 0.")
    } else {
        Ok(amount)
    }
}

fn currency(parameters: &Value) -> Result<Currency, Refused> {
    let code = text(parameters, "/currency").unwrap_or_default();
    Currency::parse(code).map_err(|_| {
        Refused::invalid(None, Some("currency"), "Invalid currency: not one that is supported.")
    })
}

// === impl Intent ===

impl Intent {
    fn from_parameters(parameters: &Value, account: &str) -> Result<Self, Refused> {
        let currency = currency(parameters)?;
        let amount = amount(text(parameters, "/amount").unwrap_or_default(), "amount", currency)?;
        let least = AMOUNTS_MIN.iter().find(|(code, _)| *code == currency.code());
        if least.is_some_and(|(_, least)| amount < *least) {
            let message = "Amount must be at least the minimum for this currency.";
            return Err(Refused::invalid(Some("amount_too_small"), Some("amount"), message));
        }
        let own = |pointer| text(parameters, pointer).map(str::to_owned);
        Ok(Self {
            id: new_id("pi_3"),
            account: account.to_owned(),
            amount,
            currency,
            status: Status::RequiresPaymentMethod,
            capturable: 0,
            received: 0,
            charge: None,
            metadata: parameters.get("metadata").cloned().unwrap_or_else(|| json!({})),
            manual: text(parameters, "/capture_method") == Some("manual"),
            method: None,
            description: own("/description"),
            suffix: own("/statement_descriptor_suffix"),
            last_error: Value::Null,
            next_action: Value::Null,
            created: now(),
            canceled: None,
            reason: None,
        })
    }

    /// Asks the issuer, so to speak.
    fn confirm(&mut self, parameters: &Value, desk: Desk<'_>) -> Result<(), Refused> {
        let Some(method) = &self.method else {
            let message = "You cannot confirm this PaymentIntent because it's missing a payment \
                           method.";
            return Err(Refused::invalid(Some("payment_intent_unexpected_state"), None, message)
                .with("payment_intent", self.shown(parameters, "")));
        };
        let three_ds = parameters.pointer("/payment_method_options/card/three_d_secure").cloned();
        match method.script {
            Script::Decline(code, decline) => self.decline(parameters, code, decline, desk),
            Script::Authenticate if three_ds.is_none() => self.challenge(parameters, desk),
            Script::Approve | Script::Challenge(_) | Script::Authenticate => {
                self.approve(three_ds.unwrap_or(Value::Null), desk);
                Ok(())
            }
        }
    }

    fn approve(&mut self, three_ds: Value, desk: Desk<'_>) {
        self.charge = Some(Charge::new(None, three_ds));
        if self.manual {
            self.status = Status::RequiresCapture;
            self.capturable = self.amount;
        } else {
            self.capture(self.amount);
        }
        desk.write(self.verb(), self, &self.id, Some(self.amount), Outcome::Approved, None);
    }

    fn capture(&mut self, amount: u64) {
        self.status = Status::Succeeded;
        self.capturable = 0;
        self.received = amount;
        if let Some(charge) = &mut self.charge {
            charge.captured = amount;
        }
    }

    fn challenge(&mut self, parameters: &Value, desk: Desk<'_>) -> Result<(), Refused> {
        if text(parameters, "/error_on_requires_action") == Some("true") {
            let code = "authentication_required";
            return self.decline(parameters, code, code, desk);
        }
        let Some(url) = text(parameters, "/return_url") else {
            let message = "A return_url is needed for a payment method that may redirect.";
            return Err(Refused::invalid(Some("parameter_missing"), Some("return_url"), message));
        };
        self.status = Status::RequiresAction;
        self.next_action = json!({
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": url,
                "url": "https://hooks.stripe.com/3d_secure_2/hosted?merchant=acct_1"},
        });
        desk.write(self.verb(), self, &self.id, Some(self.amount), Outcome::Pending, None);
        Ok(())
    }

    fn decline(
        &mut self,
        parameters: &Value,
        code: &str,
        decline: &str,
        desk: Desk<'_>,
    ) -> Result<(), Refused> {
        let found = DECLINES.iter().find(|row| row.code == code && row.decline == decline);
        let declined = *found.unwrap_or(&DECLINES[0]);
        let charge = Charge::new(Some(declined), Value::Null);
        let error = declined.error(&charge.id);
        self.charge = Some(charge);
        self.status = Status::RequiresPaymentMethod;
        self.last_error = error.clone();
        let reason = Some(declined.decline.to_owned());
        desk.write(self.verb(), self, &self.id, Some(self.amount), Outcome::Declined, reason);
        let refused = Refused { status: 402, error };
        Err(refused.with("payment_intent", self.shown(parameters, "")))
    }

    /// The refusal of something that the status does not allow.
    pub(super) fn unexpected(&self, verb: &str, wanted: &str) -> Refused {
        let message = format!(
            "This PaymentIntent could not be {verb} because it has a status of {}. Only a \
             PaymentIntent with one of the following statuses may be {verb}: {wanted}.",
            self.status.word()
        );
        Refused::invalid(Some("payment_intent_unexpected_state"), None, &message)
            .with("payment_intent", self.shown(&Value::Null, ""))
    }

    fn verb(&self) -> &'static str {
        if self.manual { "authorize" } else { "charge" }
    }

    /// The object that Stripe shows. `prefix` is what comes before a name to expand.
    pub(super) fn shown(&self, parameters: &Value, prefix: &str) -> Value {
        let expanded = |name: &str| expands(parameters, &format!("{prefix}{name}"));
        let charge = self.charge.as_ref().map(|charge| match expanded("latest_charge") {
            true => charge.shown(self),
            false => charge.id.clone().into(),
        });
        let method = self.method.as_ref().map(|method| match expanded("payment_method") {
            true => method.shown(),
            false => method.id.clone().into(),
        });
        json!({
            "id": self.id, "object": "payment_intent", "amount": self.amount,
            "amount_capturable": self.capturable, "amount_received": self.received,
            "canceled_at": self.canceled, "cancellation_reason": self.reason,
            "capture_method": if self.manual { "manual" } else { "automatic" },
            "client_secret": format!("{}_secret_x", self.id),
            "confirmation_method": "automatic", "created": self.created,
            "currency": self.currency.code().to_ascii_lowercase(), "customer": null,
            "description": self.description, "last_payment_error": self.last_error,
            "latest_charge": charge, "livemode": false, "metadata": self.metadata,
            "next_action": self.next_action, "payment_method": method,
            "payment_method_types": ["card"], "statement_descriptor_suffix": self.suffix,
            "status": self.status.word(),
        })
    }
}

// === impl Charge ===

impl Charge {
    fn new(decline: Option<Declined>, three_ds: Value) -> Self {
        Self { id: new_id("ch_3"), captured: 0, refunded: 0, decline, three_ds }
    }

    fn shown(&self, intent: &Intent) -> Value {
        let paid = self.decline.is_none();
        json!({
            "id": self.id, "object": "charge", "amount": intent.amount,
            "amount_captured": self.captured, "amount_refunded": self.refunded,
            "billing_details": intent.method.as_ref().map(|method| &method.billing),
            "captured": self.captured > 0, "created": intent.created, "metadata": intent.metadata,
            "currency": intent.currency.code().to_ascii_lowercase(), "disputed": false,
            "failure_code": self.decline.map(|declined| declined.code),
            "failure_message": self.decline.map(|declined| declined.message), "livemode": false,
            "outcome": self.outcome(), "paid": paid, "payment_intent": intent.id,
            "payment_method_details": self.details(intent),
            "refunded": self.captured > 0 && self.refunded == self.captured,
            "status": if paid { "succeeded" } else { "failed" },
        })
    }

    fn outcome(&self) -> Value {
        match self.decline {
            None => json!({"network_status": "approved_by_network", "reason": null,
                "risk_level": "normal", "risk_score": 12, "seller_message": "Payment complete.",
                "type": "authorized"}),
            Some(declined) => json!({"network_status": "declined_by_network",
                "reason": declined.decline, "risk_level": "normal", "risk_score": 12,
                "seller_message": "The bank declined the payment.", "type": "issuer_declined"}),
        }
    }

    fn details(&self, intent: &Intent) -> Value {
        let Some(method) = &intent.method else { return Value::Null };
        let paid = self.decline.is_none();
        let pass = |given: bool| if given && paid { Some("pass") } else { None };
        let given = |pointer| method.billing.pointer(pointer).is_some_and(Value::is_string);
        json!({"type": "card", "card": {
            "amount_authorized": paid.then_some(intent.amount),
            "authorization_code": paid.then_some("123456"), "brand": method.brand,
            "checks": {
                "address_line1_check": pass(given("/address/line1")),
                "address_postal_code_check": pass(given("/address/postal_code")),
                "cvc_check": pass(method.has_cvc),
            },
            "country": "US", "exp_month": method.exp_month, "exp_year": method.exp_year,
            "funding": "credit", "last4": cards::last_four(&method.number),
            "network": method.brand,
            "network_transaction_id": paid.then_some("104557651805572"),
            "three_d_secure": self.three_ds,
        }})
    }
}

// === impl Declined ===

impl Declined {
    fn error(&self, charge: &str) -> Value {
        let mut refused = Refused::card(self.code, "", self.message)
            .with("decline_code", self.decline.into())
            .with("charge", charge.into())
            .with("advice_code", self.advice.into());
        if let Some(network) = self.network {
            let advice = if self.advice == NEVER { "03" } else { "02" };
            refused = refused
                .with("network_decline_code", network.into())
                .with("network_advice_code", advice.into());
        }
        if let Some(error) = refused.error.as_object_mut() {
            match self.code {
                "expired_card" => error.insert("param".into(), "exp_month".into()),
                "incorrect_cvc" => error.insert("param".into(), "cvc".into()),
                _ => error.remove("param"),
            };
        }
        refused.error
    }
}

// === impl Desk ===

impl Desk<'_> {
    /// Writes a movement of `intent` down.
    pub(super) fn write(
        self,
        operation: &'static str,
        intent: &Intent,
        id: &str,
        amount: Option<u64>,
        outcome: Outcome,
        reason: Option<String>,
    ) {
        self.books.write(Entry {
            number: 0,
            at: 0,
            provider: "stripe",
            operation,
            outcome,
            reason,
            id: id.to_owned(),
            payment: intent.id.clone(),
            amount,
            currency: Some(intent.currency.code().to_owned()),
            pan: intent.method.as_ref().map(|method| method.number.clone()),
            reference: REFERENCES
                .iter()
                .find_map(|name| intent.metadata.get(name)?.as_str().map(str::to_owned)),
            idempotency_key: self.key.map(str::to_owned),
        });
    }
}

// === impl Status ===

impl Status {
    /// Stripe's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Canceled => "canceled",
            Self::RequiresAction => "requires_action",
            Self::RequiresCapture => "requires_capture",
            Self::RequiresConfirmation => "requires_confirmation",
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::Succeeded => "succeeded",
        }
    }
}
