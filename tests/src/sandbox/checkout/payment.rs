//! Payments, and what is done to them.

use super::{Checkout, Desk, Order, Route, invalid, new_id, refuse};
use crate::sandbox::balance::Balance;
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, cards};
use model::{Currency, Cvv};
use serde_json::{Value, json};

/// The most that can be asked for.
const AMOUNT_MAX: u64 = 999_999_999;
/// How long a reference may be for an American Express card, in characters.
const AMEX_REFERENCE_MAX: usize = 30;

/// A payment, declined ones included: they can be asked for as well.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) reference: Option<String>,
    balance: Balance,
    currency: String,
    /// Whether nothing more of it is captured.
    is_final: bool,
    /// The code and the words that it was declined with.
    declined: Option<(&'static str, &'static str)>,
    last_four: String,
    metadata: Value,
    /// As it may be kept: see [`cards::kept`].
    number: String,
    /// What was done to it, the newest first.
    actions: Vec<Value>,
    checks: (bool, bool),
}

/// The endings of an amount that decline a payment, in currencies of two decimals.
const ENDINGS: &[(u64, &str, &str)] = &[
    (5, "20005", "Declined - Do Not Honour"),
    (12, "20012", "Invalid Transaction"),
    (14, "20014", "Invalid Card Number"),
    (51, "20051", "Insufficient Funds"),
    (54, "20054", "Expired Card"),
    (59, "20059", "Suspected Fraud"),
    (62, "20062", "Restricted Card"),
    (63, "20063", "Security Violation"),
];

/// What becomes of a number that nobody publishes for tests.
const NOT_A_TEST_CARD: (&str, &str) = ("20014", "Invalid Card Number");

// === impl Checkout ===

impl Checkout {
    /// `source` is the name of the instrument that is paid with, or that the card becomes.
    pub(super) fn pay(
        &mut self,
        parameters: &Value,
        source: &str,
        desk: Desk<'_>,
    ) -> Result<Answer, Answer> {
        let mut payment = Payment::from_parameters(parameters)?;
        payment.declined = declined(parameters, &payment);
        if payment.declined.is_some() {
            payment.balance = Balance::default();
        }
        let action = payment.first_action(parameters);
        desk.write(&payment, operation(parameters), &action, amount_of(parameters));
        let mut shown = payment.answer(&action, parameters);
        let told = shown.pointer_mut("/source").and_then(Value::as_object_mut);
        told.map(|told| told.insert("id".into(), source.into()));
        payment.actions.push(action);
        if is_sale(parameters) && payment.declined.is_none() {
            let amount = payment.balance.authorised;
            payment.note("Capture", amount, &new_id("act_"), None, &Value::Null);
        }
        self.payments.insert(payment.id.clone(), payment);
        Ok(Answer::json(201, &shown))
    }

    pub(super) fn change(&mut self, order: &Order, desk: Desk<'_>) -> Result<Answer, Answer> {
        let missing = || Answer::json(404, &Value::Null);
        let payment = self.payments.get_mut(&order.payment).ok_or_else(missing)?;
        let asked = order.parameters.get("amount").and_then(Value::as_u64);
        let balance = payment.balance;
        let (word, operation, amount) = match order.route {
            Route::Capture => {
                let rest = balance.authorised.saturating_sub(balance.captured);
                ("Capture", "capture", asked.unwrap_or(rest))
            }
            Route::Refund => {
                let rest = balance.captured.saturating_sub(balance.refunded);
                ("Refund", "refund", asked.unwrap_or(rest))
            }
            Route::Actions
            | Route::Get
            | Route::List
            | Route::Pay
            | Route::Store
            | Route::Tokenize
            | Route::Void => {
                ("Void", "void", balance.authorised)
            }
        };
        payment.apply(order.route, amount)?;
        payment.is_final |= is_final(order);
        let id = new_id("act_");
        let reference = text(&order.parameters, "/reference").map(str::to_owned);
        let metadata = order.parameters.get("metadata").cloned().unwrap_or_default();
        payment.note(word, amount, &id, reference.as_deref(), &metadata);
        desk.write(payment, operation, &json!({ "id": id }), Some(amount));
        let href = format!("https://api.sandbox.checkout.com/payments/{}", payment.id);
        let shown = json!({
            "action_id": id, "reference": reference, "_links": {"payment": {"href": href}},
        });
        Ok(Answer::json(202, &shown))
    }

    pub(super) fn list(&self, order: &Order) -> Answer {
        let wanted = text(&order.parameters, "/reference");
        let limit = text(&order.parameters, "/limit").and_then(|text| text.parse().ok());
        let limit = limit.unwrap_or(10_usize).min(100);
        let of = |payment: &&Payment| payment.reference.as_deref() == wanted;
        let found: Vec<&Payment> = self.payments.latest().filter(of).collect();
        let data: Vec<Value> = found.iter().take(limit).map(|payment| payment.shown()).collect();
        let count = found.len();
        Answer::json(
            200,
            &json!({"limit": limit, "skip": 0, "total_count": count, "data": data}),
        )
    }

    pub(super) fn get(&self, order: &Order) -> Answer {
        match (self.payments.get(&order.payment), order.route) {
            (None, _) => Answer::json(404, &Value::Null),
            (Some(payment), Route::Actions) => Answer::json(200, &json!(payment.actions)),
            (Some(payment), _) => Answer::json(200, &payment.shown()),
        }
    }
}

fn is_sale(parameters: &Value) -> bool {
    parameters.get("capture").and_then(Value::as_bool).unwrap_or(true)
}

/// A capture that does not say what it is lets go of what is left.
fn is_final(order: &Order) -> bool {
    order.route == Route::Capture && text(&order.parameters, "/capture_type") != Some("NonFinal")
}

fn operation(parameters: &Value) -> &'static str {
    if is_sale(parameters) { "charge" } else { "authorize" }
}

fn amount_of(parameters: &Value) -> Option<u64> {
    parameters.get("amount").and_then(Value::as_u64)
}

fn declined(parameters: &Value, payment: &Payment) -> Option<(&'static str, &'static str)> {
    if cards::test_card(&payment.number).is_none() {
        return Some(NOT_A_TEST_CARD);
    }
    let two = Currency::parse(&payment.currency).is_ok_and(|currency| currency.exponent() == 2);
    let ending = amount_of(parameters).filter(|_| two)? % 100;
    ENDINGS.iter().find(|(of, ..)| *of == ending).map(|(_, code, words)| (*code, *words))
}

// === impl Payment ===

impl Payment {
    fn from_parameters(parameters: &Value) -> Result<Self, Answer> {
        let currency = text(parameters, "/currency").unwrap_or_default();
        if currency.bytes().any(|b| !b.is_ascii_uppercase()) || Currency::parse(currency).is_err() {
            return Err(invalid("currency_invalid"));
        }
        let amount = amount_of(parameters).filter(|amount| *amount <= AMOUNT_MAX);
        let amount = amount.ok_or_else(|| invalid("amount_invalid"))?;
        let three = Currency::parse(currency).is_ok_and(|currency| currency.exponent() == 3);
        if three && !amount.is_multiple_of(10) || currency == "CLP" && !amount.is_multiple_of(100) {
            return Err(invalid("amount_invalid"));
        }
        let number = text(parameters, "/source/number").unwrap_or_default();
        check_card(parameters, number)?;
        let reference = text(parameters, "/reference").map(str::to_owned);
        let amex = cards::test_card(number).is_some_and(|card| card.brand == "amex");
        let long = |text: &String| text.chars().count() > AMEX_REFERENCE_MAX;
        if amex && reference.as_ref().is_some_and(long) {
            return Err(invalid("reference_invalid"));
        }
        Ok(Self {
            id: new_id("pay_"),
            reference,
            balance: Balance::new(amount, is_sale(parameters)),
            is_final: false,
            currency: currency.to_owned(),
            declined: None,
            last_four: cards::last_four(number).to_owned(),
            metadata: parameters.get("metadata").cloned().unwrap_or_else(|| json!({})),
            number: cards::kept(number),
            actions: Vec::new(),
            checks: (
                parameters.pointer("/source/billing_address/zip").is_some(),
                parameters.pointer("/source/cvv").is_some(),
            ),
        })
    }

    fn first_action(&self, parameters: &Value) -> Value {
        let (code, words) = self.code();
        json!({
            "id": new_id("act_"), "type": "Authorization", "amount": amount_of(parameters),
            "approved": self.declined.is_none(), "response_code": code, "response_summary": words,
            "reference": self.reference, "metadata": self.metadata,
        })
    }

    fn code(&self) -> (&'static str, &'static str) {
        self.declined.unwrap_or(("10000", "Approved"))
    }

    fn note(
        &mut self,
        word: &str,
        amount: u64,
        id: &str,
        reference: Option<&str>,
        metadata: &Value,
    ) {
        let action = json!({
            "id": id, "type": word, "amount": amount, "approved": true, "response_code": "10000",
            "response_summary": "Approved", "reference": reference, "metadata": metadata,
        });
        self.actions.insert(0, action);
    }

    fn apply(&mut self, route: Route, amount: u64) -> Result<(), Answer> {
        let before = self.balance;
        match route {
            // What was left was voided.
            Route::Capture if self.is_final => Err(Answer::json(403, &Value::Null)),
            Route::Capture => self.balance.capture(amount).map_err(|_| {
                if before.voided || before.authorised == 0 {
                    Answer::json(403, &Value::Null)
                } else {
                    invalid("capture_value_greater_than_remaining_authorized")
                }
            }),
            Route::Refund => self.balance.refund(amount).map_err(|_| {
                if before.captured == 0 {
                    Answer::json(403, &Value::Null)
                } else {
                    invalid("refund_value_greater_than_balance")
                }
            }),
            Route::Actions
            | Route::Get
            | Route::List
            | Route::Pay
            | Route::Store
            | Route::Tokenize
            | Route::Void => {
                let dead = before.authorised == 0;
                let voided = if dead { Err("") } else { self.balance.void() };
                voided.map_err(|_| Answer::json(403, &Value::Null))
            }
        }
    }

    fn status(&self) -> &'static str {
        let Balance { authorised, captured, refunded, voided } = self.balance;
        match () {
            () if self.declined.is_some() => "Declined",
            () if voided => "Voided",
            () if authorised == 0 => "Card Verified",
            () if captured == 0 => "Authorized",
            () if refunded == captured => "Refunded",
            () if refunded > 0 => "Partially Refunded",
            () if captured < authorised => "Partially Captured",
            () => "Captured",
        }
    }

    /// The answer to the payment: the capture of a sale has not happened yet.
    fn answer(&self, action: &Value, parameters: &Value) -> Value {
        let mut shown = self.shown();
        let status = match self.status() {
            "Captured" => "Authorized",
            status => status,
        };
        if let Some(object) = shown.as_object_mut() {
            object.remove("balances");
            object.remove("actions");
            object.remove("metadata");
            let (code, words) = self.code();
            object.insert("action_id".into(), action["id"].clone());
            object.insert("amount".into(), json!(amount_of(parameters)));
            object.insert("response_code".into(), code.into());
            object.insert("response_summary".into(), words.into());
            object.insert("status".into(), status.into());
        }
        shown
    }

    fn shown(&self) -> Value {
        let approved = self.declined.is_none();
        let (code, words) = self.code();
        let href = format!("https://api.sandbox.checkout.com/payments/{}", self.id);
        let asked = self.actions.last().map(|action| action["amount"].clone());
        let (address, cvv) = self.checks;
        json!({
            "id": self.id, "amount": asked, "currency": self.currency, "approved": approved,
            "status": self.status(), "auth_code": approved.then_some("643381"),
            "scheme_id": approved.then_some("489341065491658"),
            "reference": self.reference, "metadata": self.metadata,
            "actions": [{"type": "Authorization", "response_code": code, "response_summary": words}],
            "balances": {
                "total_authorized": self.balance.authorised,
                "total_captured": self.balance.captured,
                "total_refunded": self.balance.refunded,
            },
            "risk": {"flagged": false},
            "source": {
                "type": "card", "last4": self.last_four,
                "avs_check": if address { "Y" } else { "S" },
                "cvv_check": if cvv { "Y" } else { "X" },
            },
            "_links": {"self": {"href": href}},
        })
    }
}

pub(super) fn check_card(parameters: &Value, number: &str) -> Result<(), Answer> {
    if !cards::is_number(number) {
        return Err(invalid("card_number_invalid"));
    }
    let part = |pointer| parameters.pointer(pointer).and_then(Value::as_u64);
    if part("/source/expiry_month").is_none_or(|month| !(1..=12).contains(&month)) {
        return Err(invalid("card_expiry_month_invalid"));
    }
    if part("/source/expiry_year").is_none_or(|year| !(2000..2100).contains(&year)) {
        return Err(invalid("card_expiry_year_invalid"));
    }
    match text(parameters, "/source/cvv") {
        Some(cvv) if Cvv::parse(cvv).is_err() => Err(invalid("cvv_invalid")),
        _ => check_three_ds(parameters),
    }
}

fn check_three_ds(parameters: &Value) -> Result<(), Answer> {
    let part = |name: &str| parameters.pointer(&format!("/3ds/{name}")).is_some();
    let given = part("cryptogram") || part("eci") || part("xid");
    let whole = part("cryptogram") && part("eci") && part("version");
    if given && !whole {
        return Err(refuse(422, "3ds_malformed"));
    }
    Ok(())
}

// === impl Desk ===

impl Desk<'_> {
    fn write(
        self,
        payment: &Payment,
        operation: &'static str,
        action: &Value,
        amount: Option<u64>,
    ) {
        let new = matches!(operation, "authorize" | "charge");
        let declined = payment.declined.filter(|_| new);
        let reference = payment.metadata.get("merchant_reference").and_then(Value::as_str);
        self.books.write(Entry {
            number: 0,
            at: 0,
            provider: "checkout",
            operation,
            outcome: if declined.is_some() { Outcome::Declined } else { Outcome::Approved },
            reason: declined.map(|(code, _)| code.to_owned()),
            id: text(action, "/id").unwrap_or_default().to_owned(),
            payment: payment.id.clone(),
            amount,
            currency: Some(payment.currency.clone()),
            pan: Some(payment.number.clone()),
            reference: reference.map(str::to_owned).or_else(|| payment.reference.clone()),
            idempotency_key: self.key.map(str::to_owned),
        });
    }
}
