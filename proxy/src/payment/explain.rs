//! Which accounts a payment would ask, and why not others: nothing is sent, written or opened.
//!
//! What a payment would be refused for is refused here in the same words.

use super::account::{self, Account};
use super::attempt::context;
use super::make::{Candidate, candidates};
use super::{Stop, failover};
use crate::reply::Reply;
use crate::resource::Refused;
use crate::result::{Skip, operation_type};
use crate::shared::Shared;
use filters::PaymentRequest;
use filters::reject::Reject;
use model::{AccountName, Action, Authorization, Kind, MerchantId, Operation};
use providers::Refusal;
use serde::Serialize;
use std::time::Instant;
use vault::Vault;

/// The accounts of a payment, in the order in which they would be asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation<'a> {
    operation_type: &'static str,
    accounts: Vec<Explained<'a>>,
}

/// One account.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'a> {
    account: Option<&'a str>,
    gateway: &'static str,
    /// Whether it would be asked, if those before it certainly do nothing.
    tried: bool,
    skipped: Option<Why>,
    /// The field that the gateway cannot take, and what is wrong with it.
    field_name: Option<&'static str>,
    problem: Option<&'static str>,
}

/// Why an account would be left out.
#[derive(Serialize)]
enum Why {
    Disabled,
    NotSupported,
    Unavailable,
}

/// Explains what would be done with the request of a payment.
pub(crate) fn explain(
    shared: &Shared,
    merchant: &MerchantId,
    request: PaymentRequest,
) -> Result<Reply, Refused> {
    let PaymentRequest { action, account, fallbacks, merchant_reference, .. } = request;
    let Action::Authorize(authorization) = action else {
        return Err(Refused::Reject(Reject::NotFound));
    };
    let candidates = candidates(shared, merchant, account, fallbacks)?;
    let mut accounts = Vec::with_capacity(candidates.len());
    // As a payment goes: those that are left alone have their turn when nobody behind them can be asked.
    let mut is_anyone_behind = false;
    for (nth, candidate) in candidates.iter().enumerate().rev() {
        let later = candidates.get(nth.saturating_add(1)..).unwrap_or_default();
        let skipped = skips(shared, merchant, candidate, later);
        let left_alone = skipped == Some(Skip::Unavailable);
        let skipped = skipped.filter(|_| !left_alone || is_anyone_behind);
        let again = candidate.told(Box::new(authorization.again()));
        let refusal = refusal(&candidate.account, again, merchant_reference.clone());
        is_anyone_behind |= !left_alone && skipped.is_none() && refusal.is_none();
        accounts.push(match refusal {
            Some(Refusal::Field { name, problem }) if candidate.is_first && skipped.is_none() => {
                return Err(account::invalid(name, problem).into());
            }
            refusal => Explained::of(&candidate.account, skipped, refusal),
        });
    }
    accounts.reverse();
    Ok(Reply::json(200, &Explanation { operation_type: operation_type(Kind::Charge), accounts }))
}

/// Why the account would be left out, as a payment decides it; only that nobody tries an account
/// that is left alone.
fn skips(
    shared: &Shared,
    merchant: &MerchantId,
    candidate: &Candidate,
    later: &[Candidate],
) -> Option<Skip> {
    let now = Instant::now();
    let is_usable = |one: &Candidate| one.account.is_usable(shared, merchant, now);
    let another = later.iter().any(is_usable);
    failover::skip(candidate.account.state(), another, || is_usable(candidate))
}

/// Why the provider cannot be asked for it, as far as that does not depend on the card.
fn refusal(
    account: &Account,
    authorization: Box<Authorization>,
    merchant_reference: Option<Box<str>>,
) -> Option<Refusal> {
    let (key, action) = (super::nameless(), Action::Authorize(authorization));
    let operation = Operation { key, merchant_reference, action };
    let operation = Vault::blank_card(operation);
    // Written to see whether it can be, and dropped.
    let request = account.provider.request(&operation, &context(account));
    match account.provider.instant(&operation.forget_card()) {
        Some(_) => None,
        None => request.err(),
    }
}

// === impl Explained ===

impl<'a> Explained<'a> {
    fn of(account: &'a Account, skipped: Option<Skip>, refusal: Option<Refusal>) -> Self {
        let (field_name, problem) = match refusal {
            Some(Refusal::Field { name, problem }) => (Some(name), Some(problem)),
            Some(Refusal::Unsupported) | None => (None, None),
        };
        let skipped = match (skipped, refusal) {
            (Some(Skip::Disabled), _) => Some(Why::Disabled),
            (Some(Skip::Unavailable), _) => Some(Why::Unavailable),
            (None, Some(_)) => Some(Why::NotSupported),
            (None, None) => None,
        };
        Self {
            account: account.name.as_ref().map(AccountName::as_str),
            gateway: account.provider.gateway().id,
            tried: skipped.is_none(),
            skipped,
            field_name,
            problem,
        }
    }
}

// === impl Stop ===

impl From<Stop> for Refused {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Invalid(error) => Self::Invalid(error),
            Stop::Refused(reject) => Self::Reject(reject),
            Stop::Failed | Stop::Replayed(_) => Self::Reject(Reject::Internal),
        }
    }
}
