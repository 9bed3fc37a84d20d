//! Cards that can be charged once or are in the vault, payments, and what is done to them.

use super::{Braintree, Route, answered, invalid, new_id, new_payment_id, not_found, refuse};
use crate::sandbox::balance::Balance;
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, Books, cards};
use model::{Amount, Currency};
use serde_json::{Value, json};

/// A card behind a name that is good for one payment, or in the vault.
#[derive(Clone, Debug)]
pub(super) struct Card {
    /// As it may be kept: see [`cards::kept`].
    number: String,
    cvv: &'static str,
    post_code: &'static str,
    /// Whether its name is good for more than one payment.
    kept: bool,
}

/// A transaction or a refund.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    id: String,
    /// The transaction that is refunded.
    refunds: Option<String>,
    amount: Amount,
    balance: Balance,
    wrong: Option<Wrong>,
    card: Card,
    order: Option<String>,
}

/// What is wrong with a payment: its status, and the processor's code or the gateway's reason.
#[derive(Clone, Debug)]
struct Wrong {
    status: &'static str,
    code: String,
    message: &'static str,
}

/// From so many units on, an amount asks for a decline with the code that it is.
const DECLINED: std::ops::RangeInclusive<u64> = 2_000..=2_999;
/// These ask for a failure on the way to the processor.
const FAILED: u64 = 3_000;
/// This asks for a rejection by the gateway.
const REJECTED: u64 = 5_001;

// === impl Braintree ===

impl Braintree {
    pub(super) fn tokenize(&mut self, input: &Value) -> Result<Answer, Answer> {
        let card = |name: &str| text(input, &format!("/creditCard/{name}"));
        let number = card("number").unwrap_or_default();
        let digits = |text: Option<&str>| text.is_some_and(|t| t.parse::<u16>().is_ok());
        if !digits(card("expirationMonth")) || !digits(card("expirationYear")) {
            return Err(invalid("81710", "Expiration date is invalid."));
        }
        let kept = Card {
            number: cards::kept(number),
            cvv: value(card("cvv")),
            post_code: post_code(card("billingAddress/postalCode")),
            kept: false,
        };
        let id = new_id("tokencc_");
        self.cards.insert(id.clone(), kept);
        Ok(answered("tokenizeCreditCard", &json!({"paymentMethod": {"id": id}})))
    }

    /// Puts a card into the vault, under another name. Its verification value does not go with it.
    pub(super) fn vault(&mut self, input: &Value) -> Result<Answer, Answer> {
        let name = text(input, "/paymentMethodId").unwrap_or_default().to_owned();
        let card = self.cards.get(&name).filter(|card| !card.kept).cloned();
        let card = card.ok_or_else(|| refuse("NOT_FOUND", None, "Unknown payment method."))?;
        self.cards.remove(&name);
        if !cards::is_number(&card.number) {
            return Err(invalid("81715", "Credit card number is invalid."));
        }
        let id = new_id("cGF5bWVudG1ldGhvZF9jY1");
        self.cards.insert(id.clone(), Card { kept: true, cvv: value(None), ..card });
        Ok(answered("vaultPaymentMethod", &json!({"paymentMethod": {"id": id}})))
    }

    pub(super) fn pay(
        &mut self,
        input: &Value,
        route: Route,
        books: &Books,
    ) -> Result<Answer, Answer> {
        let name = text(input, "/paymentMethodId").unwrap_or_default().to_owned();
        let card = self.cards.get(&name).cloned();
        let card = card.ok_or_else(|| refuse("NOT_FOUND", None, "Unknown payment method."))?;
        if !card.kept {
            // It can be used once, whatever becomes of it.
            self.cards.remove(&name);
        }
        if !cards::is_number(&card.number) {
            return Err(invalid("81715", "Credit card number is invalid."));
        }
        let currency = currency(text(input, "/transaction/merchantAccountId"));
        let amount = text(input, "/transaction/amount")
            .and_then(|number| Amount::parse(number, currency).ok())
            .filter(|amount| amount.minor() > 0)
            .ok_or_else(|| invalid("81531", "Amount must be greater than zero."))?;
        let charges = route == Route::Charge;
        let mut made = Payment {
            id: new_payment_id("transaction"),
            refunds: None,
            amount,
            balance: Balance::new(amount.minor(), charges),
            wrong: wrong(amount),
            card,
            order: text(input, "/transaction/orderId").map(str::to_owned),
        };
        if made.wrong.is_some() {
            made.balance = Balance::default();
        }
        made.write(if charges { "charge" } else { "authorize" }, amount, books);
        let shown = json!({"transaction": made.shown()});
        self.payments.insert(made.id.clone(), made);
        let field = if charges { "chargeCreditCard" } else { "authorizeCreditCard" };
        Ok(answered(field, &shown))
    }

    pub(super) fn capture(&mut self, input: &Value, books: &Books) -> Result<Answer, Answer> {
        let payment = self.transaction(input)?;
        if payment.wrong.is_some() || payment.balance.voided || payment.balance.captured > 0 {
            return Err(invalid("91507", "Cannot submit for settlement unless authorized."));
        }
        let amount = payment.part(input, "/transaction/amount")?;
        let too_much = |_: &'static str| invalid("91522", "Settlement amount is too large.");
        payment.balance.capture(amount.minor()).map_err(too_much)?;
        payment.write("capture", amount, books);
        Ok(answered("captureTransaction", &json!({"transaction": payment.shown()})))
    }

    /// Nothing is ever settled here: what was captured is voided as well.
    pub(super) fn reverse(&mut self, input: &Value, books: &Books) -> Result<Answer, Answer> {
        let payment = self.transaction(input)?;
        let before = payment.balance;
        if payment.wrong.is_some() || before.voided || before.refunded > 0 {
            return Err(invalid("91504", "Transaction can only be voided if authorized."));
        }
        payment.balance = Balance { voided: true, captured: 0, ..before };
        payment.write("void", payment.amount, books);
        Ok(answered("reverseTransaction", &json!({"reversal": payment.shown()})))
    }

    /// Unlike the real one, without waiting for the settlement.
    pub(super) fn refund(&mut self, input: &Value, books: &Books) -> Result<Answer, Answer> {
        let payment = self.transaction(input)?;
        if payment.balance.captured == 0 {
            return Err(invalid("91506", "Cannot refund transaction unless it is settled."));
        }
        let amount = payment.part(input, "/refund/amount")?;
        let too_much = |_: &'static str| invalid("91521", "Refund amount is too large.");
        payment.balance.refund(amount.minor()).map_err(too_much)?;
        let made = Payment {
            id: new_payment_id("refund"),
            refunds: Some(payment.id.clone()),
            amount,
            balance: Balance::new(amount.minor(), true),
            order: text(input, "/refund/orderId").map(str::to_owned),
            ..payment.clone()
        };
        made.write("refund", amount, books);
        let shown = json!({"refund": made.shown()});
        self.payments.insert(made.id.clone(), made);
        Ok(answered("refundTransaction", &shown))
    }

    fn transaction(&mut self, input: &Value) -> Result<&mut Payment, Answer> {
        let id = text(input, "/transactionId").unwrap_or_default().to_owned();
        let found = self.payments.get_mut(&id).filter(|payment| payment.refunds.is_none());
        found.ok_or_else(not_found)
    }

    pub(super) fn node(&self, variables: &Value) -> Result<Answer, Answer> {
        let id = text(variables, "/id").unwrap_or_default().to_owned();
        let found = self.payments.get(&id).ok_or_else(not_found)?;
        Ok(answered("node", &found.shown()))
    }

    /// The real index lags; this one does not.
    pub(super) fn search(&self, variables: &Value, route: Route) -> Answer {
        let is = text(variables, "/orderId/is");
        let begins = text(variables, "/orderId/startsWith");
        let refunds = matches!(route, Route::SearchRefunds);
        let what = if refunds { "refunds" } else { "transactions" };
        let fits = |payment: &&Payment| {
            let order = payment.order.as_deref().unwrap_or_default();
            payment.refunds.is_some() == refunds
                && is.is_none_or(|is| order == is)
                && begins.is_none_or(|begin| order.starts_with(begin))
        };
        let found = self.payments.latest().filter(fits).take(10);
        let edges: Vec<Value> = found.map(|payment| json!({"node": payment.shown()})).collect();
        answered("search", &json!({what: {"edges": edges}}))
    }
}

/// What the merchant account is kept in: the last part of its name, such as `shop_eur`.
fn currency(account: Option<&str>) -> Currency {
    let code = account.and_then(|account| account.rsplit('_').next());
    code.and_then(|code| Currency::parse(code).ok()).unwrap_or(Currency::USD)
}

/// The units of an amount as it is written, whatever the currency.
pub(super) fn minor(text: &str) -> Option<u64> {
    text.bytes().filter(|b| *b != b'.').map(char::from).collect::<String>().parse().ok()
}

fn wrong(amount: Amount) -> Option<Wrong> {
    let scale = 10_u64.checked_pow(amount.currency().exponent().into())?;
    let whole = amount.minor().checked_div(scale)?;
    let wrong = |status, code: &str, message| Some(Wrong { status, code: code.to_owned(), message });
    match whole {
        _ if DECLINED.contains(&whole) => {
            wrong("PROCESSOR_DECLINED", &whole.to_string(), "Declined")
        }
        FAILED => wrong("FAILED", "3000", "Processor Network Unavailable - Try Again"),
        REJECTED => wrong("GATEWAY_REJECTED", "APPLICATION_INCOMPLETE", "Rejected"),
        _ => None,
    }
}

fn value(cvv: Option<&str>) -> &'static str {
    match cvv {
        None => "NOT_PROVIDED",
        Some("200") => "DOES_NOT_MATCH",
        Some("201") => "NOT_VERIFIED",
        Some(_) => "MATCHES",
    }
}

fn post_code(code: Option<&str>) -> &'static str {
    match code {
        None => "NOT_PROVIDED",
        Some("20000") => "DOES_NOT_MATCH",
        Some(_) => "MATCHES",
    }
}

// === impl Payment ===

impl Payment {
    /// The amount that a change names, or all of it.
    fn part(&self, input: &Value, pointer: &str) -> Result<Amount, Answer> {
        let Some(number) = text(input, pointer) else { return Ok(self.amount) };
        let amount = Amount::parse(number, self.amount.currency());
        amount.map_err(|_| invalid("81503", "Amount is an invalid format."))
    }

    fn status(&self) -> &'static str {
        match &self.wrong {
            Some(wrong) => wrong.status,
            None if self.balance.voided => "VOIDED",
            None if self.balance.captured > 0 => "SUBMITTED_FOR_SETTLEMENT",
            None => "AUTHORIZED",
        }
    }

    fn processor(&self) -> Value {
        let wrong = self.wrong.as_ref().filter(|wrong| wrong.status != "GATEWAY_REJECTED");
        json!({
            "legacyCode": wrong.map_or("1000", |wrong| &wrong.code),
            "message": wrong.map_or("Approved", |wrong| wrong.message),
            "authorizationId": wrong.is_none().then_some("4W51GT"),
            "cvvResponse": self.card.cvv, "avsPostalCodeResponse": self.card.post_code,
            "avsStreetAddressResponse": self.card.post_code,
        })
    }

    fn shown(&self) -> Value {
        let taken = self.balance.captured;
        let amount = if taken > 0 { self.amount.with_minor(taken) } else { self.amount };
        let mut event = json!({"status": self.status(), "processorResponse": self.processor()});
        let rejected = self.wrong.as_ref().filter(|wrong| wrong.status == "GATEWAY_REJECTED");
        if let (Some(wrong), Some(event)) = (rejected, event.as_object_mut()) {
            event.insert("gatewayRejectionReason".into(), wrong.code.clone().into());
        }
        json!({
            "__typename": if self.refunds.is_some() { "Refund" } else { "Transaction" },
            "id": self.id, "status": self.status(), "orderId": self.order,
            "amount": {"value": amount.decimal(), "currencyCode": amount.currency().code()},
            "statusHistory": [event],
            "paymentMethodSnapshot": {"networkTransactionId": "020190722142652"},
            "refundedTransaction": self.refunds.as_ref().map(|id| json!({"id": id})),
        })
    }

    fn write(&self, operation: &'static str, amount: Amount, books: &Books) {
        books.write(Entry {
            number: 0,
            at: 0,
            provider: "braintree",
            operation,
            outcome: if self.wrong.is_some() { Outcome::Declined } else { Outcome::Approved },
            reason: self.wrong.as_ref().map(|wrong| wrong.code.clone()),
            id: self.id.clone(),
            payment: self.refunds.clone().unwrap_or_else(|| self.id.clone()),
            amount: Some(amount.minor()),
            currency: Some(amount.currency().code().to_owned()),
            pan: Some(self.card.number.clone()),
            reference: self.order.clone(),
            // There is none: what is sent twice is done twice.
            idempotency_key: None,
        });
    }
}
