//! Payments, what is done to them, and what is shown of them.

use super::{Cybersource, Order, Route, instrument, invalid, new_id, not_found};
use crate::sandbox::balance::Balance;
use crate::sandbox::ledger::{Entry, Outcome};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, Books, cards};
use model::{Amount, Currency, Cvv};
use serde_json::{Value, json};

/// Something that was asked for: a payment, a capture, a refund, a reversal or a void.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) code: String,
    /// The payment that it belongs to; its own id, where it is one.
    payment: String,
    amount: Amount,
    balance: Balance,
    declined: Option<Reason>,
    /// The services that did it, such as `ics_auth`.
    services: Vec<&'static str>,
    /// As it may be kept: see [`cards::kept`].
    number: String,
    comments: Option<String>,
    checks: (bool, bool),
}

/// Why a payment is declined: the number that an amount asks for it with, and CyberSource's words.
type Reason = (u64, &'static str, &'static str);

/// An amount of 1000 and one of these is declined.
const REASONS: &[Reason] = &[
    (201, "CONTACT_PROCESSOR", "Decline - The issuing bank has questions about the request."),
    (202, "EXPIRED_CARD", "Decline - Expired card."),
    (203, "PROCESSOR_DECLINED", "Decline - General decline of the card."),
    (204, "INSUFFICIENT_FUND", "Decline - Insufficient funds in the account."),
    (205, "STOLEN_LOST_CARD", "Decline - Stolen or lost card."),
    (207, "ISSUER_UNAVAILABLE", "Decline - Issuing bank unavailable."),
    (208, "UNAUTHORIZED_CARD", "Decline - Inactive card or not authorized for this."),
    (209, "CVN_NOT_MATCH", "Decline - The verification number does not match."),
    (210, "EXCEEDS_CREDIT_LIMIT", "Decline - The card has reached the credit limit."),
    (231, "INVALID_ACCOUNT", "Decline - Invalid account number."),
    (236, "PROCESSOR_ERROR", "Decline - General processor failure."),
    (478, "CONSUMER_AUTHENTICATION_REQUIRED", "Strong authentication is required."),
    (481, "DECISION_PROFILE_REJECT", "Decline - Rejected by the risk system."),
];

/// What becomes of a number that nobody publishes for tests.
const NOT_A_TEST_CARD: Reason = (231, "INVALID_ACCOUNT", "Decline - Invalid account number.");

// === impl Cybersource ===

impl Cybersource {
    pub(super) fn pay(&mut self, order: &Order, books: &Books) -> Result<Answer, Answer> {
        let parameters = self.with_card(&order.parameters)?;
        let mut made = Transaction::from_parameters(&parameters)?;
        made.declined = made.reason();
        let sale = is_sale(&parameters);
        if made.declined.is_some() {
            made.balance = Balance::default();
        }
        // Nothing moves where nothing is authorized.
        if !is_nothing(&parameters) {
            made.write(if sale { "charge" } else { "authorize" }, books);
        }
        let mut shown = made.answer();
        let keeps = made.declined.is_none() && instrument::is_wanted(&parameters);
        if let Some(object) = shown.as_object_mut().filter(|_| keeps) {
            object.insert("tokenInformation".into(), self.keep(&parameters));
        }
        self.transactions.insert(made.id.clone(), made);
        Ok(Answer::json(201, &shown))
    }

    pub(super) fn change(&mut self, order: &Order, books: &Books) -> Result<Answer, Answer> {
        let found = self.transactions.get(&order.id).ok_or_else(not_found)?;
        let payment = found.payment.clone();
        let whole = found.amount;
        let amount = match details(order) {
            Some(details) => amount(details)?,
            None => whole,
        };
        let payment = self.transactions.get_mut(&payment).ok_or_else(not_found)?;
        if amount.currency() != payment.amount.currency() {
            return Err(invalid("INVALID_DATA"));
        }
        let (services, operation, status) = payment.apply(order.route, amount.minor())?;
        let made = Transaction {
            id: new_id(),
            code: code(&order.parameters),
            payment: payment.id.clone(),
            amount,
            balance: Balance::default(),
            declined: None,
            services: vec![services],
            number: payment.number.clone(),
            comments: comments(&order.parameters),
            checks: (false, false),
        };
        made.write(operation, books);
        let shown = made.changed(order.route, status);
        self.transactions.insert(made.id.clone(), made);
        Ok(Answer::json(201, &shown))
    }

    pub(super) fn get(&self, id: &str) -> Answer {
        match self.transactions.get(&id.to_owned()) {
            Some(found) => Answer::json(200, &found.summary()),
            None => not_found(),
        }
    }

    /// One clause, `clientReferenceInformation.code:`. The real index lags; this one does not.
    pub(super) fn search(&self, parameters: &Value) -> Result<Answer, Answer> {
        let query = text(parameters, "/query").unwrap_or_default();
        let wanted = query.strip_prefix("clientReferenceInformation.code:");
        let wanted = wanted.ok_or_else(|| invalid("INVALID_DATA"))?;
        let limit = parameters.get("limit").and_then(Value::as_u64).unwrap_or(20);
        let limit = usize::try_from(limit).unwrap_or(20).min(100);
        let found: Vec<&Transaction> =
            self.transactions.latest().filter(|made| made.code == wanted).collect();
        let shown: Vec<Value> = found.iter().take(limit).map(|made| made.summary()).collect();
        let body = json!({
            "searchId": new_id(), "query": query, "count": shown.len(), "totalCount": found.len(),
            "limit": limit, "offset": 0, "save": false,
            "_embedded": {"transactionSummaries": shown},
        });
        Ok(Answer::json(201, &body))
    }
}

fn is_sale(parameters: &Value) -> bool {
    parameters.pointer("/processingInformation/capture") == Some(&Value::Bool(true))
}

/// Whether a card is only looked at, and kept.
pub(super) fn is_nothing(parameters: &Value) -> bool {
    let details = parameters.pointer("/orderInformation/amountDetails");
    let nothing = details.and_then(|details| amount(details).ok()).is_some_and(|a| a.minor() == 0);
    nothing && instrument::is_wanted(parameters)
}

fn code(parameters: &Value) -> String {
    text(parameters, "/clientReferenceInformation/code").unwrap_or_default().to_owned()
}

fn comments(parameters: &Value) -> Option<String> {
    text(parameters, "/clientReferenceInformation/comments").map(str::to_owned)
}

/// The amount that a request names, where it names one.
pub(super) fn details(order: &Order) -> Option<&Value> {
    let order_of = order.parameters.pointer("/orderInformation/amountDetails");
    order_of.or_else(|| order.parameters.pointer("/reversalInformation/amountDetails"))
}

pub(super) fn amount(details: &Value) -> Result<Amount, Answer> {
    let currency = text(details, "/currency").and_then(|code| Currency::parse(code).ok());
    let number = text(details, "/totalAmount");
    let amount = currency.zip(number).and_then(|(currency, n)| Amount::parse(n, currency).ok());
    amount.ok_or_else(|| invalid("INVALID_DATA"))
}

// === impl Transaction ===

impl Transaction {
    fn from_parameters(parameters: &Value) -> Result<Self, Answer> {
        let details = parameters.pointer("/orderInformation/amountDetails");
        let amount = amount(details.unwrap_or(&Value::Null))?;
        let number = text(parameters, "/paymentInformation/card/number").unwrap_or_default();
        check_card(parameters, number)?;
        let sale = is_sale(parameters);
        let id = new_id();
        Ok(Self {
            payment: id.clone(),
            id,
            code: code(parameters),
            amount,
            balance: Balance::new(amount.minor(), sale),
            declined: None,
            services: if sale { vec!["ics_auth", "ics_bill"] } else { vec!["ics_auth"] },
            number: cards::kept(number),
            comments: comments(parameters),
            checks: (
                parameters.pointer("/orderInformation/billTo/postalCode").is_some(),
                parameters.pointer("/paymentInformation/card/securityCode").is_some(),
            ),
        })
    }

    fn reason(&self) -> Option<Reason> {
        if cards::test_card(&self.number).is_none() {
            return Some(NOT_A_TEST_CARD);
        }
        let hundreds = self.amount.decimal();
        let whole = hundreds.strip_suffix(".00")?.strip_prefix('1')?.parse::<u64>().ok()?;
        REASONS.iter().find(|(number, ..)| *number == whole).copied()
    }

    /// Does it, and says by which service, as which operation, and with what status.
    fn apply(
        &mut self,
        route: Route,
        amount: u64,
    ) -> Result<(&'static str, &'static str, &'static str), Answer> {
        let before = self.balance;
        let missing = || invalid("MISSING_AUTH");
        if before.authorised == 0 {
            return Err(missing());
        }
        let done = |_: &'static str| invalid("TRANSACTION_ALREADY_REVERSED_OR_SETTLED");
        match route {
            Route::Capture => {
                let exceeds = |_: &'static str| {
                    if before.voided { missing() } else { invalid("EXCEEDS_AUTH_AMOUNT") }
                };
                self.balance.capture(amount).map_err(exceeds)?;
                Ok(("ics_bill", "capture", "PENDING"))
            }
            Route::RefundCapture | Route::RefundPayment => {
                self.balance.refund(amount).map_err(|_| invalid("INVALID_DATA"))?;
                Ok(("ics_credit", "refund", "PENDING"))
            }
            Route::Reverse => {
                self.balance.void().map_err(done)?;
                Ok(("ics_auth_reversal", "void", "REVERSED"))
            }
            Route::Get | Route::Pay | Route::Search | Route::Void => {
                // What was taken and is not settled is given back whole.
                if before.captured == 0 || before.refunded > 0 || before.voided {
                    return Err(invalid("NOT_VOIDABLE"));
                }
                self.balance = Balance { voided: true, captured: 0, ..before };
                Ok(("ics_void", "void", "VOIDED"))
            }
        }
    }

    fn details(&self, name: &str) -> Value {
        json!({name: self.amount.decimal(), "currency": self.amount.currency().code()})
    }

    fn processor(&self) -> Value {
        let (address, cvv) = self.checks;
        let approved = self.declined.is_none();
        json!({
            "approvalCode": approved.then_some("888888"),
            "networkTransactionId": approved.then_some("123456789619999"),
            "responseCode": self.declined.map_or("100".to_owned(), |(number, ..)| number.to_string()),
            "avs": {"code": if address { "Y" } else { "1" }},
            "cardVerification": {"resultCode": if cvv { "M" } else { "P" }},
        })
    }

    fn answer(&self) -> Value {
        let mut shown = json!({
            "id": self.id, "submitTimeUtc": "2026-06-16T12:00:00Z", "status": "AUTHORIZED",
            "clientReferenceInformation": {"code": self.code},
            "orderInformation": {"amountDetails": self.details("authorizedAmount")},
            "processorInformation": self.processor(),
        });
        if let (Some((_, reason, message)), Some(object)) = (self.declined, shown.as_object_mut()) {
            object.remove("orderInformation");
            object.insert("status".into(), "DECLINED".into());
            object.insert("errorInformation".into(), json!({"reason": reason, "message": message}));
        }
        shown
    }

    fn changed(&self, route: Route, status: &str) -> Value {
        let mut shown = json!({
            "id": self.id, "submitTimeUtc": "2026-06-16T12:00:00Z", "status": status,
            "clientReferenceInformation": {"code": self.code},
        });
        let (name, details) = match route {
            Route::RefundCapture | Route::RefundPayment => {
                ("refundAmountDetails", self.details("refundAmount"))
            }
            Route::Reverse => ("reversalAmountDetails", self.details("reversedAmount")),
            Route::Void => ("voidAmountDetails", self.details("voidAmount")),
            Route::Capture | Route::Get | Route::Pay | Route::Search => {
                ("orderInformation", json!({"amountDetails": self.details("totalAmount")}))
            }
        };
        if let Some(object) = shown.as_object_mut() {
            object.insert(name.into(), details);
        }
        shown
    }

    /// What is shown of it when it is asked for.
    fn summary(&self) -> Value {
        let flag = if self.declined.is_some() { "DCARDREFUSED" } else { "SOK" };
        let applications: Vec<Value> = self
            .services
            .iter()
            .filter(|name| self.declined.is_none() || **name == "ics_auth")
            .map(|name| json!({"name": name, "rFlag": flag, "rMessage": "-"}))
            .collect();
        let mut shown = json!({
            "id": self.id, "submitTimeUTC": "2026-06-16T12:00:00Z",
            "applicationInformation": {"applications": applications},
            "clientReferenceInformation": {"code": self.code},
            "orderInformation": {"amountDetails": self.details("totalAmount")},
            "processorInformation": self.processor(),
        });
        if let (Some((_, reason, message)), Some(object)) = (self.declined, shown.as_object_mut()) {
            object.insert("errorInformation".into(), json!({"reason": reason, "message": message}));
        }
        shown
    }

    fn write(&self, operation: &'static str, books: &Books) {
        books.write(Entry {
            number: 0,
            at: 0,
            provider: "cybersource",
            operation,
            outcome: if self.declined.is_some() { Outcome::Declined } else { Outcome::Approved },
            reason: self.declined.map(|(_, reason, _)| reason.to_owned()),
            id: self.id.clone(),
            payment: self.payment.clone(),
            amount: Some(self.amount.minor()),
            currency: Some(self.amount.currency().code().to_owned()),
            pan: Some(self.number.clone()),
            reference: self.comments.clone(),
            // There is none: what is sent twice is done twice.
            idempotency_key: None,
        });
    }
}

fn check_card(parameters: &Value, number: &str) -> Result<(), Answer> {
    if !cards::is_number(number) {
        return Err(invalid("INVALID_CARD"));
    }
    let part = |name: &str, len: usize| {
        let text = text(parameters, &format!("/paymentInformation/card/{name}"))?;
        text.parse::<u16>().ok().filter(|_| text.len() == len)
    };
    let month = part("expirationMonth", 2).filter(|month| (1..=12).contains(month));
    let year = part("expirationYear", 4).filter(|year| (2000..2100).contains(year));
    let cvv = text(parameters, "/paymentInformation/card/securityCode");
    if month.is_none() || year.is_none() || cvv.is_some_and(|cvv| Cvv::parse(cvv).is_err()) {
        return Err(invalid("INVALID_DATA"));
    }
    Ok(())
}
