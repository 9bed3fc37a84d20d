//! Having a gateway keep a card, which moves no money and is in no journal.
//!
//! Accounts to fall back to are asked by the rules of a payment: a card that one gateway may keep is
//! not given to another, since nobody would know of the first.

use super::account::Account;
use super::attempt::{self, Unwritten};
use super::failover::{certainly_nothing, may_go_on};
use super::make::candidates;
use super::{Case, Done, Stop, Tried, nameless};
use crate::result::{Ending, Finished};
use filters::AccountChoice;
use filters::decode::Fallback;
use model::{Action, Kind, Operation, Tokenization};
use std::time::Instant;
use vault::CvvLoan;

/// Asks one account after another.
pub(super) async fn tokenize(
    case: &Case<'_>,
    tokenization: Box<Tokenization>,
    account: AccountChoice,
    fallbacks: Vec<Fallback>,
) -> Result<Done, Stop> {
    let candidates = candidates(case.shared, case.merchant, account, fallbacks)?;
    let (mut tried, mut loan) = (Tried::default(), CvvLoan::default());
    let began = Instant::now();
    let mut last = None;
    for (nth, candidate) in candidates.iter().enumerate() {
        let later = candidates.get(nth.saturating_add(1)..).unwrap_or_default();
        if candidate.is_skipped(case, later, &mut tried) {
            continue;
        }
        let account = &candidate.account;
        let action = Action::Tokenize(Box::new(tokenization.again()));
        let operation = Operation { key: nameless(), merchant_reference: None, action };
        let key = operation.key.clone();
        let ending = match ask(case, account, operation, (&mut tried, &mut loan)).await {
            Ok(ending) => ending,
            Err(stop) if last.is_none() => {
                loan.give_back();
                return Err(stop);
            }
            // The card is nothing for this account: the next one may take it.
            Err(Stop::Invalid(_)) => Ending::NotSupported,
            Err(_) => Ending::Failed,
        };
        tried.add(account, &ending, Kind::Tokenize);
        let over = began.elapsed() >= case.shared.payments.failover_timeout;
        let goes_on = may_go_on(&ending) && !over;
        // An account that keeps no cards says nothing of why the one before failed.
        if last.is_none() || !matches!(ending, Ending::NotSupported) {
            last = Some((account, key, ending));
        }
        if !goes_on {
            break;
        }
    }
    let Some((account, key, ending)) = last else { return Err(Stop::Failed) };
    if certainly_nothing(&ending) {
        loan.give_back();
    }
    let mut finished = Finished::new(key, Kind::Tokenize, None, ending);
    finished.take(tried, account);
    Ok(Done::of(finished))
}

/// Asks one account.
async fn ask(
    case: &Case<'_>,
    account: &Account,
    operation: Operation,
    (tried, loan): (&mut Tried, &mut CvvLoan),
) -> Result<Ending, Stop> {
    let written = match attempt::write(case, account, operation, loan) {
        Ok(written) => written,
        Err(Unwritten::NotSupported) => return Ok(Ending::NotSupported),
        Err(Unwritten::Stop(stop)) => return Err(stop),
    };
    let ending = attempt::send(case, account, written, tried).await;
    account.used(case.shared, case.merchant, &ending).await;
    Ok(ending)
}
