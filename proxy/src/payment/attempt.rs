//! One account is asked: open the card, write the request, exchange until there is an end.
//!
//! A card is in the clear from `Vault::open_card` to the end of `Provider::request`, in [`write`],
//! and nowhere else.

use super::account::Account;
use super::{Case, Stop, Tried};
use crate::exchange::{self, Exchange};
use crate::metrics::Phase;
use crate::result::Ending;
use model::{Action, CardRef, Gone, Means, Operation, Outcome, Report, Unknown};
use providers::wire::{Answer, Request};
use providers::{Cx, EXCHANGES_MAX, Refusal};
use std::sync::atomic::Ordering;
use std::time::Instant;
use vault::{CvvLoan, Use};

/// What there is once the card is gone again.
pub(super) struct Written {
    /// Of the card, where there is one.
    pub(super) last_four: Option<Box<str>>,
    next: Next,
}

enum Next {
    /// A provider inside this program has answered.
    Answered(Report),
    Request(Operation<Gone>, Request),
}

/// Why nothing can be sent to this account.
pub(super) enum Unwritten {
    /// The provider has no such operation.
    NotSupported,
    /// Nobody can be asked for it.
    Stop(Stop),
}

/// Opens the card and writes the first request. The card lives as long as this function runs.
pub(super) fn write(
    case: &Case<'_>,
    account: &Account,
    operation: Operation<CardRef>,
    loan: &mut CvvLoan,
) -> Result<Written, Unwritten> {
    let Case { shared, merchant, who, .. } = case;
    let began = Instant::now();
    let gateway = account.provider.gateway().id;
    let account_name = account.name.as_ref();
    let purpose = Use { who, gateway, account: account_name, now: crate::clock::now_millis() };
    let opened = shared.vault.open_card(merchant, operation, purpose, loan);
    let operation = opened.map_err(|error| Unwritten::Stop(error.into()))?;
    shared.metrics.phase(Phase::OpenCard, began.elapsed());
    let last_four = match &operation.action {
        Action::Authorize(authorization) => match &authorization.means {
            Means::Card(card) => Some(card.pan.last_four().into()),
            Means::Token(_) => None,
        },
        Action::Capture(_)
        | Action::Refund(_)
        | Action::Status(_)
        | Action::Tokenize(_)
        | Action::Void(_) => None,
    };
    let request = account.provider.request(&operation, &context(account));
    let operation = operation.forget_card();
    let next = match account.provider.instant(&operation) {
        Some(report) => Next::Answered(report),
        None => Next::Request(operation, request?),
    };
    Ok(Written { last_four, next })
}

/// Sends what was written, and goes on until the operation has an end at this account.
pub(super) async fn send(
    case: &Case<'_>,
    account: &Account,
    written: Written,
    tried: &mut Tried,
) -> Ending {
    // What another account keeps is no name for this one.
    (tried.token, tried.fault_is_ours) = (None, false);
    match written.next {
        Next::Answered(report) => Ending::Reported(report),
        Next::Request(operation, request) => {
            let before = tried.tally;
            let ending = converse(case, account, &operation, request, tried).await;
            // Another account may be of another provider.
            let here = tried.tally.since(before);
            case.shared.metrics.exchanged(account.provider.name(), here);
            ending
        }
    }
}

/// What the provider may know about the world.
pub(super) fn context(account: &Account) -> Cx<'_> {
    let now = crate::clock::now_seconds();
    Cx { credentials: account.credentials(), now, nonce: rand::random() }
}

/// Exchanges requests and answers with the provider until the operation has an end.
async fn converse(
    case: &Case<'_>,
    account: &Account,
    operation: &Operation<Gone>,
    mut request: Request,
    tried: &mut Tried,
) -> Ending {
    let provider = account.provider;
    let cx = context(account);
    let mut sent = Sent::default();
    for nth in 0..EXCHANGES_MAX {
        sent.next(request.moves_money);
        if sent.moves_money() {
            case.trace.sent.store(true, Ordering::SeqCst);
        }
        let began = Instant::now();
        let exchange = case.shared.upstreams.exchange(provider.name(), request).await;
        tried.tally.add(&exchange, began.elapsed());
        let answer = match exchange {
            Exchange::Answer(answer) => answer,
            Exchange::NotSent(error) if !sent.leaves_doubt(false) => {
                tried.fault_is_ours = exchange::is_ours(&error);
                return not_sent(operation, &error);
            }
            Exchange::Unknown(error) if !sent.leaves_doubt(true) => {
                return not_sent(operation, &error);
            }
            Exchange::NotSent(error) | Exchange::Unknown(error) => {
                return unknown(operation, &error);
            }
        };
        let answer = Answer { status: answer.status, body: &answer.body };
        if operation.wants_token()
            && let Some(token) = provider.token(operation, nth, &answer)
        {
            tried.token = Some(token);
        }
        match provider.step(operation, nth, &answer, &cx) {
            providers::Step::Send(next) => request = next,
            providers::Step::Done(report) => return settled(report, sent.moves_money()),
        }
    }
    log::error!("a provider asks for more exchanges than there may be: {}", provider.name());
    Ending::Reported(Report::bare(Outcome::Unknown(Unknown::Unreadable)))
}

/// Which requests of an attempt may have moved money.
#[derive(Debug, Default)]
struct Sent {
    /// One of those that were answered.
    before: bool,
    /// The one that is under way.
    now: bool,
}

/// An answer without meaning to a request that moves no money leaves no doubt about the money.
fn settled(report: Report, moves_money: bool) -> Ending {
    match report.outcome {
        Outcome::Unknown(_) if !moves_money => Ending::NotSent,
        Outcome::Approved
        | Outcome::Declined(_)
        | Outcome::Pending
        | Outcome::Rejected(_)
        | Outcome::Unknown(_) => Ending::Reported(report),
    }
}

// === impl Sent ===

impl Sent {
    /// Another request is about to be sent.
    fn next(&mut self, moves_money: bool) {
        (self.before, self.now) = (self.moves_money(), moves_money);
    }

    fn moves_money(&self) -> bool {
        self.leaves_doubt(true)
    }

    /// Whether money may have moved if the one under way has no answer. `left` says whether it may have
    /// reached the provider.
    fn leaves_doubt(&self, left: bool) -> bool {
        self.before || (left && self.now)
    }
}

/// Only the class of the error is logged: its text may quote what was sent or received.
fn not_sent(operation: &Operation<Gone>, error: &pingora::Error) -> Ending {
    log::warn!("attempt {}: not sent: {}", operation.key, error.etype().as_str());
    Ending::NotSent
}

fn unknown(operation: &Operation<Gone>, error: &pingora::Error) -> Ending {
    log::warn!("attempt {}: outcome unknown: {}", operation.key, error.etype().as_str());
    Ending::Reported(Report::bare(Outcome::Unknown(Unknown::Interrupted)))
}

impl From<Refusal> for Unwritten {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Field { name, problem } => Self::Stop(super::account::invalid(name, problem)),
            Refusal::Unsupported => Self::NotSupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sent, settled};
    use crate::result::Ending;
    use model::{Outcome, Report, Unknown};

    #[test]
    fn a_question_after_a_request_that_moved_money_leaves_the_doubt() {
        let mut sent = Sent::default();
        // Whether there is a doubt when the request does not leave, and when it has no answer.
        for (moves_money, expected) in
            [(false, [false, false]), (true, [false, true]), (false, [true, true])]
        {
            sent.next(moves_money);
            assert_eq!([false, true].map(|left| sent.leaves_doubt(left)), expected);
            assert_eq!(sent.moves_money(), expected[1]);
        }
    }

    #[test]
    fn an_answer_without_meaning_says_nothing_of_money_only_if_none_was_asked_for() {
        let unknown = || Report::bare(Outcome::Unknown(Unknown::Unreadable));
        assert!(matches!(settled(unknown(), false), Ending::NotSent));
        assert!(matches!(settled(unknown(), true), Ending::Reported(_)));
        assert!(matches!(settled(Report::bare(Outcome::Approved), false), Ending::Reported(_)));
    }
}
