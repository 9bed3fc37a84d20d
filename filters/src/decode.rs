//! Bodies of requests, read into the words of `model`.
//!
//! Strict, because what is guessed here is money there: a field that is not documented, a key that
//! comes twice, a wrong type and a null where a value is needed are all refused. Names and words
//! of enums are read in any ASCII case. A field that is optional may be null, which is the same as
//! leaving it out.
//!
//! When several things are wrong, one is told, and it is always the same one:
//! 1. the body as a whole: missing, byte order mark, UTF-8, depth, syntax, not an object;
//! 2. in each object, from the outermost in: fields that are not documented, then fields that come
//!    twice;
//! 3. fields in the order of their schema in [`schema`], each with all that is inside it.
//!
//! No text of an error holds anything of the input but the name of an unknown field, and that only
//! when it is a plain short word. Texts of serde_json quote what they read, so none is kept.

mod card;
pub mod compare;
mod object;
mod payment;
pub mod schema;
mod text;

use crate::decode::object::{Object, Place};
use model::{AccountName, AccountState, Action, CardRef, Credentials, Kind, Secret, TransactionId};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// A payment operation as a merchant asks for it, without the key that the proxy gives it.
#[derive(Debug)]
pub struct PaymentRequest {
    pub action: Action<CardRef>,
    /// `myRef`.
    pub merchant_reference: Option<Box<str>>,
    pub account: AccountChoice,
    /// Accounts to be tried after it, in this order (`fallbackUpgs`).
    pub fallbacks: Vec<Fallback>,
    /// The payment of ours that is to be changed (`transactionId`). It wins over a reference.
    pub payment: Option<TransactionId>,
}

/// An account that is tried when the one before it did certainly nothing.
#[derive(Debug)]
pub struct Fallback {
    pub account: AccountName,
    /// Whether it is told of the 3-D Secure authentication (`pass3DSData`).
    pub pass_three_ds: bool,
}

/// Which account of which gateway a payment goes through.
#[derive(Debug)]
pub enum AccountChoice {
    /// Credentials in the request itself. They win over a name.
    Inline {
        gateway: Box<str>,
        credentials: Credentials,
    },
    Named(AccountName),
    /// The one that the payment went through.
    OfPayment,
}

/// An account as a merchant writes it.
#[derive(Debug)]
pub struct AccountInput {
    pub gateway: Box<str>,
    pub credentials: Credentials,
}

/// How many payments staged credentials get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// At most 100.
    pub percent: u8,
    pub force: Force,
}

/// Whether what was not found to be good may be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    No,
    Yes,
}

/// A text to be kept, and on which terms.
#[derive(Debug)]
pub struct TokenInput {
    pub payload: Secret,
    pub time_to_live_s: Option<u32>,
    pub bindings: Vec<BindingInput>,
    pub metadata: Vec<(Box<str>, Box<str>)>,
}

/// A gateway that a token is bound to, or one account of it.
#[derive(Debug)]
pub struct BindingInput {
    pub gateway: Box<str>,
    pub account: Option<AccountName>,
}

/// A month of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct YearMonth {
    pub year: u16,
    pub month: u8,
}

/// What is wrong in a body. It names a field as documented, and holds no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Dotted, as in `card.cardNumber`; empty when it is the body as a whole.
    pub field: Cow<'static, str>,
    pub errors: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValidationErrorMessage<'a> {
    field_name: Option<&'a str>,
    errors: &'a [&'static str],
}

/// Reads the body of a payment operation. A card that was good for the last time before `today` is
/// refused for a new payment.
///
/// # Errors
/// The first field that is wrong, in the order that this module documents.
pub fn payment(kind: Kind, body: &[u8], today: YearMonth) -> Result<PaymentRequest, FieldError> {
    payment::read(kind, &Object::body(schema::of(kind), body)?, today)
}

/// Reads the body of `PUT /PaymentGatewayAccounts/{name}`.
///
/// # Errors
/// The first field that is wrong, in the order that this module documents.
pub fn account(body: &[u8]) -> Result<(AccountInput, AccountState), FieldError> {
    payment::stored_account(&Object::body(&schema::ACCOUNT, body)?)
}

/// Reads the body of `PUT /PaymentGatewayAccounts/{name}/staged`.
///
/// # Errors
/// The first field that is wrong, in the order that this module documents.
pub fn staged(body: &[u8]) -> Result<Credentials, FieldError> {
    payment::credentials(&Object::body(&schema::STAGED, body)?)
}

/// Reads the body of `POST /PaymentGatewayAccounts/{name}/staged/switch`.
///
/// # Errors
/// The first field that is wrong, in the order that this module documents.
pub fn switch(body: &[u8]) -> Result<Switch, FieldError> {
    let body = Object::body(&schema::SWITCH, body)?;
    // The schema ends at 100.
    let percent = u8::try_from(body.required_whole("percent")?).unwrap_or(u8::MAX);
    let force = body.flag("force")?.unwrap_or_default();
    Ok(Switch { percent, force: if force { Force::Yes } else { Force::No } })
}

/// Reads the body of `POST /StringTokens`.
///
/// # Errors
/// The first field that is wrong, in the order that this module documents.
pub fn string_token(body: &[u8]) -> Result<TokenInput, FieldError> {
    let object = Object::body(&schema::STRING_TOKEN, body)?;
    let payload = object.required_text("payload")?.into_secret();
    let time_to_live_s = object.whole("timeToLiveSeconds")?;
    let bindings = object.list("bindings", |one| {
        let gateway = one.required_text("paymentGatewayName")?.to_box();
        let account = one.text("paymentGatewayAccountName")?;
        let account = account.map(|name| AccountName::parse(name.as_str())).transpose();
        let account = account.map_err(|_| one.wrong("paymentGatewayAccountName", "is no name"))?;
        Ok(BindingInput { gateway, account })
    })?;
    let metadata = object.list("metadata", |one| {
        Ok((one.required_text("key")?.to_box(), one.required_text("value")?.to_box()))
    })?;
    Ok(TokenInput { payload, time_to_live_s, bindings, metadata })
}

// === impl YearMonth ===

impl YearMonth {
    /// The month in which it still is somewhere on Earth at a time in seconds since 1970 UTC, so
    /// that no card is refused while its last day lasts.
    pub fn anywhere_at(unix_s: u64) -> Self {
        const HALF_A_DAY_S: u64 = 43_200;
        let mut days = unix_s.saturating_sub(HALF_A_DAY_S) / 86_400;
        for year in 1970..=9_998 {
            for (month, length) in (1..).zip(days_of_months(year)) {
                match days.checked_sub(length) {
                    Some(rest) => days = rest,
                    None => return Self { year, month },
                }
            }
        }
        Self { year: 9_999, month: 12 }
    }
}

fn days_of_months(year: u16) -> [u64; 12] {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

// === impl FieldError ===

impl FieldError {
    /// One problem with one field.
    pub fn new(field: impl Into<Cow<'static, str>>, problem: &'static str) -> Self {
        Self { field: field.into(), errors: vec![problem] }
    }

    /// The body of the answer with status 400.
    pub fn json(&self) -> String {
        let field_name = Some(&*self.field).filter(|name| !name.is_empty());
        let message = ValidationErrorMessage { field_name, errors: &self.errors };
        serde_json::to_string(&message).unwrap_or_default()
    }

    fn at(place: Place<'_>, problem: &'static str) -> Self {
        Self::new(place.name(), problem)
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { "body" } else { &self.field };
        write!(f, "{field}: {}", self.errors.join(", "))
    }
}

impl std::error::Error for FieldError {}

#[cfg(test)]
mod tests;
