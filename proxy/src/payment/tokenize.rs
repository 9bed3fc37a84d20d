//! Having a gateway keep a card, which moves no money. The journal has no more of it than the row of
//! its idempotency key, where it has one.
//!
//! Accounts to fall back to are asked by the rules of a payment: a card that one gateway may keep is
//! not given to another, since nobody would know of the first.

use super::account::Account;
use super::attempt::{self, Unwritten};
use super::failover::{certainly_nothing, may_go_on};
use super::make::{Line, candidates};
use super::{Case, Done, Stop, Tried, nameless};
use crate::result::{Ending, Finished};
use filters::AccountChoice;
use filters::decode::Fallback;
use model::{Action, Kind, Operation, Outcome, Report, Tokenization, Unknown};
use std::time::Instant;
use vault::CvvLoan;
use vault::payments::ReplayClaim;

/// What is wanted.
pub(super) struct Wanted {
    pub(super) tokenization: Box<Tokenization>,
    pub(super) account: AccountChoice,
    pub(super) fallbacks: Vec<Fallback>,
}

/// An idempotency key, and whether it is written down that its request has begun.
struct Key {
    claim: Option<ReplayClaim>,
    begun: bool,
}

/// Asks one account after another.
pub(super) async fn tokenize(
    case: &Case<'_>,
    wanted: Wanted,
    replay: Option<ReplayClaim>,
) -> Result<Done, Stop> {
    let Wanted { tokenization, account, fallbacks } = wanted;
    let candidates = candidates(case.shared, case.merchant, account, fallbacks)?;
    let (mut tried, mut loan) = (Tried::default(), CvvLoan::default());
    let mut replay = Key { claim: replay, begun: false };
    let began = Instant::now();
    let mut line = Line::new(&candidates);
    let mut last = None;
    while let Some(candidate) = line.next(case, &mut tried) {
        let account = &candidate.account;
        let action = Action::Tokenize(Box::new(tokenization.again()));
        let operation = Operation { key: nameless(), merchant_reference: None, action };
        let key = operation.key.clone();
        let ending = match ask(case, account, operation, (&mut tried, &mut loan, &mut replay)).await
        {
            Ok(ending) => ending,
            // The card is nothing for this account: the next one may take it.
            Err(Stop::Invalid(_)) if !candidate.is_first => Ending::NotSupported,
            Err(stop) if last.is_none() || candidate.is_first => {
                loan.give_back();
                return Err(stop);
            }
            Err(_) => Ending::Failed,
        };
        tried.add(account, &ending, Kind::Tokenize);
        let over = began.elapsed() >= case.shared.payments.failover_timeout;
        let goes_on = may_go_on(&ending) && !over;
        let was_asked = !matches!(ending, Ending::NotSupported);
        if was_asked {
            line.asked();
        }
        // An account that keeps no cards says nothing of why the one before failed.
        if last.is_none() || was_asked {
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
    Ok(replay.answer(case, Done::of(finished)).await)
}

/// Asks one account.
async fn ask(
    case: &Case<'_>,
    account: &Account,
    operation: Operation,
    (tried, loan, replay): (&mut Tried, &mut CvvLoan, &mut Key),
) -> Result<Ending, Stop> {
    let written = match attempt::write(case, account, operation, loan) {
        Ok(written) => written,
        Err(Unwritten::NotSupported) => return Ok(Ending::NotSupported),
        Err(Unwritten::Stop(stop)) => return Err(stop),
    };
    replay.begin(case).await?;
    let ending = attempt::send(case, account, written, tried).await;
    let told = tried.told(&ending);
    account.used(case.shared, case.merchant, (&ending, told)).await;
    Ok(ending)
}

// === impl Key ===

impl Key {
    /// Writes down that the request has begun, before anything of it is sent.
    async fn begin(&mut self, case: &Case<'_>) -> Result<(), Stop> {
        let Some(claim) = self.claim.as_mut().filter(|_| !self.begun) else { return Ok(()) };
        case.shared.vault.begin_replay(claim).await?;
        self.begun = true;
        Ok(())
    }

    /// Keeps the answer, and only then gives it. What was never begun leaves the key free.
    async fn answer(self, case: &Case<'_>, done: Done) -> Done {
        let Some(claim) = self.claim.filter(|_| self.begun) else { return done };
        match case.shared.vault.answer_replay(claim, &done.replay()).await {
            Ok(()) => done,
            Err(error) => {
                log::error!("an answer cannot be kept, so it is not given: {error}");
                let unknown = Report::bare(Outcome::Unknown(Unknown::Interrupted));
                let token = None;
                Done::of(Finished { ending: Ending::Reported(unknown), token, ..done.finished })
            }
        }
    }
}
