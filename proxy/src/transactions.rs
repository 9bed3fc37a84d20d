//! `GET /Transactions`: what the journal knows of a merchant's payments.

use crate::clock;
use crate::reply::Reply;
use crate::resource::Refused;
use crate::result::operation_type;
use filters::query::{self, TransactionsQuery};
use filters::reject::Reject;
use model::{
    AccountName, Amount, Attempt, Change, ChangeKind, Decline, MerchantId, Outcome, Payment,
    Standing, TransactionId,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use vault::Vault;
use vault::payments::Filter;

/// A payment, as merchants see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransactionModel<'a> {
    transaction_id: &'a str,
    operation_type: &'static str,
    creation_time: String,
    state: &'static str,
    my_ref: Option<&'a str>,
    card_last_four: Option<&'a str>,
    currency: Box<str>,
    amount: Number,
    authorized_amount: Number,
    captured_amount: Number,
    /// How much of that is not certain yet.
    pending_capture_amount: Number,
    refunded_amount: Number,
    pending_refund_amount: Number,
    gateway_reference: Option<&'a str>,
    network_transaction_id: Option<&'a str>,
    attempts: Vec<TransactionAttempt<'a>>,
    changes: Vec<TransactionChange<'a>>,
}

/// One account that was asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransactionAttempt<'a> {
    account: Option<&'a str>,
    gateway: &'static str,
    outcome: &'static str,
    creation_time: String,
    decline_reason: Option<&'static str>,
    gateway_reference: Option<&'a str>,
    gateway_result_code: Option<&'a str>,
    authorization_code: Option<&'a str>,
}

/// Something done to it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransactionChange<'a> {
    id: &'a str,
    my_ref: Option<&'a str>,
    account: Option<&'a str>,
    operation_type: &'static str,
    amount: Number,
    outcome: &'static str,
    creation_time: String,
    gateway_reference: Option<&'a str>,
    gateway_result_code: Option<&'a str>,
}

/// A page of payments.
#[derive(Serialize)]
struct TransactionPage<'a> {
    transactions: Vec<TransactionModel<'a>>,
    next: Option<&'a str>,
}

/// Major units, exactly.
type Number = Option<Box<RawValue>>;

/// Shows one payment.
pub(crate) fn show(
    vault: &Vault,
    merchant: &MerchantId,
    id: &TransactionId,
) -> Result<Reply, Refused> {
    let payment = vault.payment(merchant, id)?;
    let payment = payment.ok_or(Refused::Reject(Reject::NoSuchTransaction))?;
    Ok(Reply::json(200, &TransactionModel::of(&payment)))
}

/// One payment, for operators.
pub(crate) fn value(payment: &Payment) -> Value {
    serde_json::to_value(TransactionModel::of(payment)).unwrap_or_default()
}

/// Lists payments, a page at a time.
pub(crate) fn list(vault: &Vault, merchant: &MerchantId, query: &str) -> Result<Reply, Refused> {
    let asked = query::transactions(query).map_err(Refused::Invalid)?;
    let TransactionsQuery { my_ref, account, state, from, until, after } = asked;
    let filter = Filter { merchant_reference: my_ref, account, state, from, until };
    let page = vault.payments(merchant, &filter, after.as_ref())?;
    let transactions = page.payments.iter().map(TransactionModel::of).collect();
    let next = page.next.as_ref().map(TransactionId::as_str);
    Ok(Reply::json(200, &TransactionPage { transactions, next }))
}

fn number(amount: Amount) -> Number {
    RawValue::from_string(amount.decimal()).ok()
}

/// The word for how something stands.
fn outcome_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Sending => "unknown",
        Standing::NotDone => "not_done",
        Standing::Ended(outcome) => outcome.word(),
    }
}

// === impl TransactionModel ===

impl<'a> TransactionModel<'a> {
    fn of(payment: &'a Payment) -> Self {
        let amount = payment.told();
        let currency = amount.currency().code().into();
        let part = |minor| number(amount.with_minor(minor));
        let evidence = payment.last_attempt().map(|attempt| &attempt.evidence);
        Self {
            transaction_id: payment.id.as_str(),
            operation_type: operation_type(payment.kind()),
            creation_time: clock::timestamp(payment.id.millis()),
            state: payment.state().word(),
            my_ref: payment.merchant_reference.as_deref(),
            card_last_four: payment.last_four.as_deref(),
            currency,
            amount: number(amount),
            authorized_amount: part(payment.authorized()),
            captured_amount: part(payment.captured()),
            pending_capture_amount: part(payment.pending(ChangeKind::Capture)),
            refunded_amount: part(payment.refunded()),
            pending_refund_amount: part(payment.pending(ChangeKind::Refund)),
            gateway_reference: evidence.and_then(|evidence| evidence.reference.as_deref()),
            network_transaction_id: evidence
                .and_then(|evidence| evidence.network_transaction_id.as_deref()),
            attempts: payment.attempts.iter().map(TransactionAttempt::of).collect(),
            changes: payment.changes.iter().map(TransactionChange::of).collect(),
        }
    }
}

// === impl TransactionAttempt ===

impl<'a> TransactionAttempt<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        let Attempt { account, provider, began, standing, evidence } = attempt;
        let provider = providers::by_gateway(provider);
        let decline_reason = if let Standing::Ended(Outcome::Declined(why)) = standing {
            Some(Decline::word(*why))
        } else {
            None
        };
        Self {
            account: account.as_ref().map(AccountName::as_str),
            gateway: provider.map(|provider| provider.gateway().id).unwrap_or_default(),
            outcome: outcome_word(*standing),
            creation_time: clock::timestamp(*began),
            decline_reason,
            gateway_reference: evidence.reference.as_deref(),
            gateway_result_code: evidence.code.as_deref(),
            authorization_code: evidence.authorization_code.as_deref(),
        }
    }
}

// === impl TransactionChange ===

impl<'a> TransactionChange<'a> {
    fn of(change: &'a Change) -> Self {
        let Change { id, kind, amount, account, merchant_reference, standing, evidence } = change;
        Self {
            id: id.as_str(),
            my_ref: merchant_reference.as_deref(),
            account: account.as_ref().map(AccountName::as_str),
            operation_type: operation_type(kind.kind()),
            amount: number(*amount),
            outcome: outcome_word(*standing),
            creation_time: clock::timestamp(id.millis()),
            gateway_reference: evidence.reference.as_deref(),
            gateway_result_code: evidence.code.as_deref(),
        }
    }
}
