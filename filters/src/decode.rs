//! Bodies of requests, read into the words of `model`.

use model::{AccountName, Action, CardRef, Credentials, Kind, Secret};
use std::borrow::Cow;

/// A payment operation as a merchant asks for it, without the key that the proxy gives it.
#[derive(Debug)]
pub struct PaymentRequest {
    pub action: Action<CardRef>,
    pub merchant_reference: Option<Box<str>>,
    pub account: AccountChoice,
}

/// Which account of which gateway a payment goes through.
#[derive(Debug)]
pub enum AccountChoice {
    /// Credentials in the request itself. They win over a name.
    Inline(AccountInput),
    Named(AccountName),
}

/// An account as a merchant writes it.
#[derive(Debug)]
pub struct AccountInput {
    pub gateway: Box<str>,
    pub credentials: Credentials,
}

/// A month of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct YearMonth {
    pub year: u16,
    pub month: u8,
}

/// What is wrong in a body. It names a field as documented, and holds nothing of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Dotted, as in `card.cardNumber`; empty when it is the body as a whole.
    pub field: Cow<'static, str>,
    pub errors: Vec<&'static str>,
}

/// Reads the body of a payment operation.
pub fn payment(_kind: Kind, _body: &[u8], _today: YearMonth) -> Result<PaymentRequest, FieldError> {
    Err(FieldError::new("", "is not read yet"))
}

/// Reads the body of `PUT /PaymentGatewayAccounts/{name}`.
pub fn account(_body: &[u8]) -> Result<AccountInput, FieldError> {
    Err(FieldError::new("", "is not read yet"))
}

/// Reads the body of `POST /StringTokens`.
pub fn string_token(_body: &[u8]) -> Result<Secret, FieldError> {
    Err(FieldError::new("", "is not read yet"))
}

// === impl FieldError ===

impl FieldError {
    /// One problem with one field.
    pub fn new(field: impl Into<Cow<'static, str>>, problem: &'static str) -> Self {
        Self { field: field.into(), errors: vec![problem] }
    }
}
