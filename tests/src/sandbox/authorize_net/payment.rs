//! Transactions, what is done to them, and what is shown of them.

use super::{AuthorizeNet, answer, messages, new_id, refuse};
use crate::sandbox::balance::Balance;
use crate::sandbox::ledger::{Entry, Outcome, now_ms};
use crate::sandbox::shape::text;
use crate::sandbox::{Answer, Books, cards};
use jiff::Timestamp;
use model::{Amount, Currency};
use serde_json::{Value, json};

/// A payment or a refund. Captures and voids change a payment and are none by themselves.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    id: String,
    /// The payment that it belongs to; its own id, where it is one.
    payment: String,
    kind: Kind,
    amount: Amount,
    balance: Balance,
    wrong: Option<Wrong>,
    /// As it may be kept: see [`cards::kept`].
    number: String,
    invoice: String,
    reference: Option<String>,
    /// Milliseconds since 1970.
    made: u64,
    /// The batch that it was settled with.
    batch: Option<String>,
    checks: (&'static str, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Charge,
    Hold,
    Refund,
}

/// What is wrong: the response code, the reason code and a text.
#[derive(Clone, Copy, Debug)]
struct Wrong(&'static str, &'static str, &'static str);

const DECLINED: Wrong = Wrong("2", "2", "This transaction has been declined.");
const NOT_A_CARD: Wrong = Wrong("3", "6", "The credit card number is invalid.");
const SEEN_BEFORE: Wrong = Wrong("3", "11", "A duplicate transaction has been submitted.");
const NOT_FOUND: Wrong = Wrong("3", "16", "The transaction cannot be found.");
const TOO_MUCH: Wrong = Wrong("3", "47", "More than was authorized cannot be settled.");
const NO_CREDIT: Wrong = Wrong("3", "54", "The transaction does not meet the criteria for a credit.");
const VOIDED: Wrong = Wrong("3", "310", "This transaction has already been voided.");
const CAPTURED: Wrong = Wrong("3", "311", "This transaction has already been captured.");
const FIELD: Wrong = Wrong("3", "33", "A field is missing or invalid.");

/// An amount of 1000 and one of these codes is declined with it.
const BY_AMOUNT: &[Wrong] = &[
    DECLINED,
    Wrong("2", "4", "This transaction has been declined."),
    Wrong("3", "8", "The credit card has expired."),
    Wrong("3", "17", "The merchant does not accept this type of credit card."),
    Wrong("3", "19", "An error occurred during processing. Please try again."),
    Wrong("2", "27", "The transaction has been declined because of an AVS mismatch."),
    Wrong("2", "65", "This transaction has been declined."),
    Wrong("2", "254", "This transaction has been declined."),
];

/// How many transactions a page shows, at most.
const PAGE_MAX: usize = 1_000;

/// The post code of the payer that asks for a decline.
const DECLINED_ZIP: &str = "46282";

// === impl AuthorizeNet ===

impl AuthorizeNet {
    pub(super) fn create(&mut self, parameters: &Value, books: &Books) -> Answer {
        let sent = parameters.get("transactionRequest").unwrap_or(&Value::Null);
        let request = &match self.with_card(sent) {
            Ok(request) => request,
            Err(refused) => return refused,
        };
        let done = match text(request, "/transactionType").unwrap_or_default() {
            "authCaptureTransaction" => self.pay(request, Kind::Charge, books),
            "authOnlyTransaction" => self.pay(request, Kind::Hold, books),
            "priorAuthCaptureTransaction" => self.capture(request, books),
            "refundTransaction" => self.refund(request, books),
            _ => self.void(request, books),
        };
        let response = done.unwrap_or_else(|wrong| wrong.response("0", ("P", "")));
        let failed = response.get("responseCode") == Some(&json!("3"));
        let told = if failed {
            messages("Error", "E00027", "The transaction was unsuccessful.")
        } else {
            messages("Ok", "I00001", "Successful.")
        };
        let approved = response.get("responseCode") == Some(&json!("1"));
        let mut body = json!({"transactionResponse": response, "messages": told});
        let kept = approved.then(|| self.keep_paid(request)).flatten();
        let Some(object) = body.as_object_mut() else { return answer(&body) };
        if let Some((customer, payment)) = kept {
            let profile = json!({
                "messages": messages("Ok", "I00001", "Successful."),
                "customerProfileId": customer, "customerPaymentProfileIdList": [payment],
                "customerShippingAddressIdList": [],
            });
            object.insert("profileResponse".into(), profile);
        }
        if let Some(name) = text(parameters, "/refId") {
            object.insert("refId".into(), name.into());
        }
        answer(&body)
    }

    fn pay(&mut self, request: &Value, kind: Kind, books: &Books) -> Result<Value, Wrong> {
        let mut made = Transaction::from_request(request, kind)?;
        let same = |other: &&Transaction| {
            !made.invoice.is_empty()
                && (&other.invoice, other.amount, &other.number)
                    == (&made.invoice, made.amount, &made.number)
        };
        if self.transactions.latest().any(|other| same(&other)) {
            return Err(SEEN_BEFORE);
        }
        made.wrong = made.reason(request);
        if made.wrong.is_some() {
            made.balance = Balance::default();
        }
        made.write(if kind == Kind::Charge { "charge" } else { "authorize" }, made.amount, books);
        let shown = made.response("");
        self.transactions.insert(made.id.clone(), made);
        Ok(shown)
    }

    fn capture(&mut self, request: &Value, books: &Books) -> Result<Value, Wrong> {
        let (amount, payment) = self.referred(request)?;
        let amount = amount.ok_or(FIELD)?;
        if payment.balance.captured > 0 {
            return Err(CAPTURED);
        }
        payment.balance.capture(amount.minor()).map_err(|_| TOO_MUCH)?;
        payment.write("capture", amount, books);
        Ok(payment.response(&payment.id))
    }

    /// What was captured and is not settled can be voided as well.
    fn void(&mut self, request: &Value, books: &Books) -> Result<Value, Wrong> {
        let (_, payment) = self.referred(request)?;
        if payment.batch.is_some() {
            return Err(NOT_FOUND);
        }
        if payment.balance.voided || payment.balance.refunded > 0 {
            return Err(VOIDED);
        }
        payment.balance = Balance { voided: true, captured: 0, ..payment.balance };
        payment.write("void", payment.amount, books);
        Ok(payment.response(&payment.id))
    }

    /// Unlike the real one, without waiting for the settlement.
    fn refund(&mut self, request: &Value, books: &Books) -> Result<Value, Wrong> {
        let (amount, payment) = self.referred(request)?;
        let amount = amount.ok_or(FIELD)?;
        let ending = text(request, "/payment/creditCard/cardNumber").unwrap_or_default();
        if ending.len() < 4 || cards::last_four(ending) != cards::last_four(&payment.number) {
            return Err(NO_CREDIT);
        }
        payment.balance.refund(amount.minor()).map_err(|_| NO_CREDIT)?;
        let made = Transaction {
            id: new_id(),
            kind: Kind::Refund,
            amount,
            balance: Balance::default(),
            invoice: invoice(request),
            made: now_ms(),
            batch: None,
            ..payment.clone()
        };
        made.write("refund", amount, books);
        let shown = made.response(&made.payment);
        self.transactions.insert(made.id.clone(), made);
        Ok(shown)
    }

    /// The amount that a change names, and the payment, which must have been approved.
    fn referred(&mut self, request: &Value) -> Result<(Option<Amount>, &mut Transaction), Wrong> {
        let id = text(request, "/refTransId").unwrap_or_default().to_owned();
        let amount = request_amount(request);
        let payment = self.transactions.get_mut(&id).ok_or(NOT_FOUND)?;
        let other = amount.is_some_and(|a| a.currency() != payment.amount.currency());
        if payment.kind == Kind::Refund || payment.wrong.is_some() || other {
            return Err(NOT_FOUND);
        }
        if payment.balance.voided { Err(VOIDED) } else { Ok((amount, payment)) }
    }

    pub(super) fn details(&self, parameters: &Value) -> Answer {
        let id = text(parameters, "/transId").unwrap_or_default().to_owned();
        match self.transactions.get(&id) {
            Some(found) => answer(&json!({
                "transaction": found.details(), "messages": messages("Ok", "I00001", "Successful."),
            })),
            None => refuse("E00040", "The record cannot be found."),
        }
    }

    /// A page of what is in this batch, or of what is in none, the newest first.
    pub(super) fn list(&self, batch: Option<&str>, parameters: &Value) -> Answer {
        let paging = |name: &str| {
            text(parameters, &format!("/paging/{name}")).and_then(|number| number.parse().ok())
        };
        let limit = paging("limit").unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let page: usize = paging("offset").unwrap_or(1).max(1);
        let all = self.transactions.latest().filter(|made| {
            made.batch.as_deref() == batch && made.wrong.is_none_or(|wrong| wrong.0 == "2")
        });
        let shown = all.skip(page.saturating_sub(1).saturating_mul(limit)).take(limit);
        let shown: Vec<Value> = shown.map(Transaction::summary).collect();
        if shown.is_empty() {
            return nothing();
        }
        let count = shown.len();
        answer(&json!({
            "transactions": shown, "totalNumInResultSet": count,
            "messages": messages("Ok", "I00001", "Successful."),
        }))
    }
}

/// What is answered where there is nothing to show.
pub(super) fn nothing() -> Answer {
    answer(&json!({"messages": messages("Ok", "I00004", "No records found.")}))
}

fn invoice(request: &Value) -> String {
    text(request, "/order/invoiceNumber").unwrap_or_default().to_owned()
}

/// The amount that a request names, where it names one.
pub(super) fn amount(parameters: &Value) -> Option<Amount> {
    request_amount(parameters.get("transactionRequest")?)
}

fn request_amount(request: &Value) -> Option<Amount> {
    let code = text(request, "/currencyCode").unwrap_or("USD");
    Amount::parse(text(request, "/amount")?, Currency::parse(code).ok()?).ok()
}

// === impl Wrong ===

impl Wrong {
    fn response(self, id: &str, checks: (&str, &str)) -> Value {
        let Self(response, code, text) = self;
        json!({
            "responseCode": response, "authCode": "", "avsResultCode": checks.0,
            "cvvResultCode": checks.1, "transId": id, "refTransID": "", "testRequest": "0",
            "errors": [{"errorCode": code, "errorText": text}],
        })
    }
}

// === impl Transaction ===

impl Transaction {
    /// Goes with a batch, if it waits for one.
    pub(super) fn settle(&mut self, batch: &str) -> Option<()> {
        let waits = self.status().ends_with("PendingSettlement");
        waits.then(|| self.batch = Some(batch.to_owned()))
    }

    fn from_request(request: &Value, kind: Kind) -> Result<Self, Wrong> {
        let amount = request_amount(request).ok_or(FIELD)?;
        let card = |name: &str| text(request, &format!("/payment/creditCard/{name}"));
        let number = card("cardNumber").ok_or(FIELD)?;
        if !cards::is_number(number) {
            return Err(NOT_A_CARD);
        }
        let expiry = card("expirationDate").and_then(|date| date.split_once('-'));
        let good = expiry.is_some_and(|(year, month)| year.len() == 4 && month.len() == 2);
        if !good {
            return Err(Wrong("3", "7", "Credit card expiration date is invalid."));
        }
        let id = new_id();
        Ok(Self {
            payment: id.clone(),
            id,
            kind,
            amount,
            balance: Balance::new(amount.minor(), kind == Kind::Charge),
            wrong: None,
            number: cards::kept(number),
            invoice: invoice(request),
            reference: text(request, "/userFields/userField/0/value").map(str::to_owned),
            made: now_ms(),
            batch: None,
            checks: (address(text(request, "/billTo/zip")), value(card("cardCode"))),
        })
    }

    fn reason(&self, request: &Value) -> Option<Wrong> {
        if cards::test_card(&self.number).is_none() {
            return Some(NOT_A_CARD);
        }
        if text(request, "/billTo/zip") == Some(DECLINED_ZIP) {
            return Some(DECLINED);
        }
        let whole = self.amount.minor().checked_sub(100_000).filter(|rest| rest % 100 == 0)?;
        let code = (whole / 100).to_string();
        BY_AMOUNT.iter().find(|wrong| wrong.1 == code).copied()
    }

    /// What is answered when it is made or changed.
    fn response(&self, referred: &str) -> Value {
        if let Some(wrong) = self.wrong {
            let made = wrong.0 == "2";
            return wrong.response(if made { &self.id } else { "0" }, self.checks);
        }
        let new = referred.is_empty();
        json!({
            "responseCode": "1", "authCode": if new { "HW617E" } else { "" },
            "avsResultCode": if new { self.checks.0 } else { "P" },
            "cvvResultCode": if new { self.checks.1 } else { "" },
            "transId": self.id, "refTransID": referred, "testRequest": "0",
            "accountNumber": format!("XXXX{}", cards::last_four(&self.number)),
            "messages": [{"code": "1", "description": "This transaction has been approved."}],
            "networkTransId": if new { "TN3JM13TYU0QUWNQ1O3RPGV" } else { "" },
        })
    }

    fn status(&self) -> &'static str {
        match (self.wrong, self.kind) {
            (Some(Wrong("2", ..)), _) => "declined",
            (Some(_), _) => "generalError",
            (None, Kind::Refund) if self.batch.is_some() => "refundSettledSuccessfully",
            (None, Kind::Refund) => "refundPendingSettlement",
            (None, _) if self.balance.voided => "voided",
            (None, _) if self.batch.is_some() => "settledSuccessfully",
            (None, _) if self.balance.captured > 0 => "capturedPendingSettlement",
            (None, _) => "authorizedPendingCapture",
        }
    }

    /// What is taken or given back of it, or still held: a number, as Authorize.Net writes it.
    fn settles(&self) -> Value {
        let taken = self.balance.captured;
        let amount = if taken > 0 { self.amount.with_minor(taken) } else { self.amount };
        serde_json::from_str(&amount.decimal()).unwrap_or_default()
    }

    fn details(&self) -> Value {
        let authorized: Value = serde_json::from_str(&self.amount.decimal()).unwrap_or_default();
        json!({
            "transId": self.id, "transactionStatus": self.status(), "responseCode": 1,
            "responseReasonDescription": "Approval", "authCode": "HW617E",
            "AVSResponse": self.checks.0, "cardCodeResponse": self.checks.1,
            "order": {"invoiceNumber": self.invoice}, "authAmount": authorized,
            "settleAmount": self.settles(),
        })
    }

    fn summary(&self) -> Value {
        let at = i64::try_from(self.made).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let at = at.map(|at| at.to_string());
        json!({
            "transId": self.id, "submitTimeUTC": at, "transactionStatus": self.status(),
            "invoiceNumber": self.invoice, "settleAmount": self.settles(),
            "accountNumber": format!("XXXX{}", cards::last_four(&self.number)),
        })
    }

    fn write(&self, operation: &'static str, amount: Amount, books: &Books) {
        books.write(Entry {
            number: 0,
            at: 0,
            provider: "authorize_net",
            operation,
            outcome: if self.wrong.is_some() { Outcome::Declined } else { Outcome::Approved },
            reason: self.wrong.map(|wrong| wrong.1.to_owned()),
            id: self.id.clone(),
            payment: self.payment.clone(),
            amount: Some(amount.minor()),
            currency: Some(amount.currency().code().to_owned()),
            pan: Some(self.number.clone()),
            reference: self.reference.clone(),
            // There is none, but that the very same request is refused.
            idempotency_key: None,
        });
    }
}

fn address(zip: Option<&str>) -> &'static str {
    match zip {
        None => "P",
        Some("46201") => "A",
        Some("46203") => "E",
        Some("46204") => "G",
        Some("46205") => "N",
        Some("46207") => "R",
        Some("46217") => "Z",
        Some(_) => "Y",
    }
}

fn value(code: Option<&str>) -> &'static str {
    match code {
        None | Some("904") => "P",
        Some("901") => "N",
        Some("902") => "S",
        Some("903") => "U",
        Some(_) => "M",
    }
}
