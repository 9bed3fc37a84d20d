//! A payment operation from plan to end: who asks is answered once, whatever dies.
//!
//! Once begun it goes on to its end (see `undying`), so that a client that leaves cannot leave a
//! charge half done. What is sent is in the journal before, and what became of it is there before
//! the merchant is told.

mod account;
mod attempt;
mod change;
mod explain;
mod failover;
mod make;
mod replay;
mod tokenize;

use crate::breaker::Told;
use crate::reply::Reply;
use crate::result::{Ending, Finished, Skip, Tell};
use crate::shared::Shared;
use crate::undying::{Panicked, Undying};
use crate::upstream::Tally;
use filters::decode::{FieldError, PaymentRequest};
use filters::reject::Reject;
use model::{
    Action, Amount, ChangeKind, Kind, MerchantId, Operation, Outcome, Report, Secret,
    TransactionId, Unknown,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use vault::audit::Who;
use vault::payments::{Ongoing, Replay};
use vault::{CardError, CvvLoan, VaultError};

pub(crate) use explain::explain;
pub(crate) use replay::check_key;

/// What a merchant asked for, decoded, and who asked.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) merchant: MerchantId,
    /// The idempotency key of the merchant.
    pub(crate) key: Option<Box<str>>,
    pub(crate) request: PaymentRequest,
    pub(crate) who: Who,
}

/// How a plan ended for the merchant.
#[derive(Debug)]
pub(crate) enum Performed {
    Finished(Box<Done>),
    /// It says something that cannot be; nothing was sent.
    Invalid(FieldError),
    /// It was not begun.
    Refused(Reject),
    /// It was answered before.
    Replayed(Reply),
}

/// An operation that ended, with its answer.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) finished: Finished,
    pub(crate) reply: Reply,
}

/// Whose payment it is, and what it takes to carry it out.
struct Case<'a> {
    shared: &'a Shared,
    merchant: &'a MerchantId,
    who: &'a Who,
    /// What is left of it if it panics.
    trace: &'a Trace,
}

/// What is known of a payment that panicked.
#[derive(Debug, Default)]
struct Trace {
    /// Whether anything that moves money was handed to a connection.
    sent: AtomicBool,
    /// The name that the journal has it by.
    id: OnceLock<TransactionId>,
}

/// The accounts that were asked, so far.
#[derive(Debug, Default)]
struct Tried {
    attempts: Vec<crate::result::Attempt>,
    tally: Tally,
    /// The gateway's own name for the card, once it told one.
    token: Option<Secret>,
    /// Whether the last account was not reached by a fault of ours.
    fault_is_ours: bool,
}

/// Why an operation has no end of its own.
#[derive(Debug)]
enum Stop {
    /// Our own fault, before anything was sent.
    Failed,
    Invalid(FieldError),
    Refused(Reject),
    Replayed(Reply),
}

// === impl Plan ===

impl Plan {
    /// Carries the plan out.
    ///
    /// Whoever waits may go away: the payment goes on, and its outcome is counted all the same.
    pub(crate) async fn perform(self, shared: &Arc<Shared>) -> Performed {
        let trace = Arc::new(Trace::default());
        let (kind, amount) = kind_and_amount(&self.request);
        let payment = Undying::new(perform(shared.clone(), self, trace.clone()));
        payment.await.unwrap_or_else(|Panicked| {
            let finished = broken(kind, amount, &trace);
            shared.metrics.operation_done(&finished);
            Performed::Finished(Box::new(Done::of(finished)))
        })
    }
}

fn kind_and_amount(request: &PaymentRequest) -> (Kind, Option<Amount>) {
    match &request.action {
        Action::Authorize(authorization) => {
            let kind = match authorization.capture {
                model::Capture::Later => Kind::Authorize,
                model::Capture::Now => Kind::Charge,
            };
            (kind, Some(authorization.amount))
        }
        Action::Capture(earlier) => (Kind::Capture, Some(earlier.amount)),
        Action::Refund(earlier) => (Kind::Refund, Some(earlier.amount)),
        Action::Void(earlier) => (Kind::Void, Some(earlier.amount)),
        Action::Status(_) => (Kind::Status, None),
        Action::Tokenize(_) => (Kind::Tokenize, None),
    }
}

/// A payment that panicked: a mistake of ours, and if money may have moved, we do not know. The
/// journal has it, and asks the provider.
fn broken(kind: Kind, amount: Option<Amount>, trace: &Trace) -> Finished {
    log::error!("a payment panicked");
    let ending = if trace.sent.load(Ordering::SeqCst) {
        Ending::Reported(Report::bare(Outcome::Unknown(Unknown::Interrupted)))
    } else {
        Ending::Failed
    };
    let key = trace.id.get().map_or_else(nameless, |id| id.as_str().into());
    Finished::new(key, kind, amount, ending)
}

/// The name of what is in no journal: 32 digits of randomness.
fn nameless() -> Box<str> {
    let digits = model::hex(rand::random());
    str::from_utf8(&digits).unwrap_or_default().into()
}

async fn perform(shared: Arc<Shared>, plan: Plan, trace: Arc<Trace>) -> Performed {
    let _ongoing = shared.metrics.payment_begun();
    let (kind, amount) = kind_and_amount(&plan.request);
    let Plan { merchant, key, request, who } = plan;
    let case = Case { shared: &shared, merchant: &merchant, who: &who, trace: &trace };
    let done = match carry_out(&case, key.as_deref(), request).await {
        Ok(done) => done,
        Err(Stop::Invalid(error)) => return Performed::Invalid(error),
        Err(Stop::Refused(reject)) => return Performed::Refused(reject),
        Err(Stop::Replayed(reply)) => return Performed::Replayed(reply),
        Err(Stop::Failed) => Done::of(Finished::new(nameless(), kind, amount, Ending::Failed)),
    };
    // Counted here and not by whoever waits, since they may be gone.
    shared.metrics.operation_done(&done.finished);
    Performed::Finished(Box::new(done))
}

async fn carry_out(
    case: &Case<'_>,
    key: Option<&str>,
    request: PaymentRequest,
) -> Result<Done, Stop> {
    let replay = match key {
        Some(key) => Some(replay::claim(case, key, &request).await?),
        None => None,
    };
    let PaymentRequest { action, merchant_reference, account, fallbacks, payment } = request;
    let (kind, earlier) = match action {
        Action::Status(find) => {
            return ask(case, Action::Status(find), merchant_reference, account).await;
        }
        Action::Authorize(authorization) => {
            let wanted = make::Wanted { authorization, merchant_reference, account, fallbacks };
            return make::make(case, wanted, replay).await;
        }
        Action::Tokenize(tokenization) => {
            let wanted = tokenize::Wanted { tokenization, account, fallbacks };
            return tokenize::tokenize(case, wanted, replay).await;
        }
        Action::Capture(earlier) => (ChangeKind::Capture, earlier),
        Action::Refund(earlier) => (ChangeKind::Refund, earlier),
        Action::Void(earlier) => (ChangeKind::Void, earlier),
    };
    let wanted = change::Wanted { kind, earlier, merchant_reference, account, payment };
    change::change(case, wanted, replay).await
}

/// Asks for a payment's state, which moves nothing and is in no journal.
async fn ask(
    case: &Case<'_>,
    action: Action,
    merchant_reference: Option<Box<str>>,
    account: filters::AccountChoice,
) -> Result<Done, Stop> {
    let account = account::find(case.shared, case.merchant, account)?;
    let operation = Operation { key: nameless(), merchant_reference, action };
    let key = operation.key.clone();
    let mut tried = Tried::default();
    let ending = match attempt::write(case, &account, operation, &mut CvvLoan::default()) {
        Ok(written) => attempt::send(case, &account, written, &mut tried).await,
        Err(attempt::Unwritten::NotSupported) => Ending::NotSupported,
        Err(attempt::Unwritten::Stop(stop)) => return Err(stop),
    };
    if let Ending::Reported(report) = &ending {
        account.answered(case.shared, case.merchant, report).await;
    }
    let mut finished = Finished::new(key, Kind::Status, None, ending);
    tried.add(&account, &finished.ending, Kind::Status);
    finished.take(tried, &account);
    Ok(Done::of(finished))
}

/// Keeps how an operation ended, and only then answers. What cannot be kept is not known.
async fn settle(case: &Case<'_>, ongoing: Ongoing, finished: Finished) -> Done {
    let done = Done::of(finished);
    match case.shared.vault.settle(ongoing, Some(&done.replay())).await {
        Ok(_) => done,
        Err(error) => {
            log::error!("an outcome is not in the journal, so it is not told: {error}");
            let unknown = Report::bare(Outcome::Unknown(Unknown::Interrupted));
            Done::of(Finished { ending: Ending::Reported(unknown), ..done.finished })
        }
    }
}

// === impl Case ===

impl Case<'_> {
    /// Notes the name that the journal has the payment by, for the answer if it panics.
    fn is_named(&self, id: &TransactionId) {
        // It has one name.
        let _first = self.trace.id.set(id.clone());
    }
}

// === impl Tried ===

impl Tried {
    /// Adds the account that was asked, and what came of it.
    fn add(&mut self, account: &account::Account, ending: &Ending, kind: Kind) {
        self.push(account, Tell::Asked(ending.code(kind)));
    }

    /// What the end at the last account tells of its provider.
    fn told(&self, ending: &Ending) -> Told {
        if self.fault_is_ours { Told::Nothing } else { Told::by(ending) }
    }

    /// Adds an account that was left out.
    fn skip(&mut self, account: &account::Account, why: Skip) {
        self.push(account, Tell::Skipped(why));
    }

    fn push(&mut self, account: &account::Account, tell: Tell) {
        let (account, gateway) = (account.name.clone(), account.provider.gateway().id);
        self.attempts.push(crate::result::Attempt { account, gateway, tell });
    }
}

// === impl Done ===

impl Done {
    fn of(finished: Finished) -> Self {
        let reply = finished.reply();
        Self { finished, reply }
    }

    fn replay(&self) -> Replay {
        Replay { status: self.reply.status, body: self.reply.body.as_ref().into() }
    }
}

// === impl Finished ===

impl Finished {
    fn take(&mut self, tried: Tried, account: &account::Account) {
        self.account.clone_from(&account.name);
        self.gateway = account.provider.gateway().id;
        self.provider = account.provider.name();
        self.attempts = tried.attempts;
        self.tally = tried.tally;
        self.token = tried.token;
    }
}

// === impl Stop ===

impl From<VaultError> for Stop {
    fn from(error: VaultError) -> Self {
        log::error!("the vault failed: {error}");
        Self::Failed
    }
}

impl From<CardError> for Stop {
    fn from(error: CardError) -> Self {
        match error {
            CardError::Field { name, problem } => account::invalid(name, problem),
            CardError::Vault(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Trace, broken};
    use crate::result::Ending;
    use model::{Kind, Outcome, TransactionId};
    use std::sync::atomic::Ordering;

    #[test]
    fn what_panicked_is_answered_by_the_name_that_the_journal_has() {
        let trace = Trace::default();
        let early = broken(Kind::Charge, None, &trace);
        assert!(matches!(early.ending, Ending::Failed) && early.key.len() == 32);
        let id = TransactionId::new(7, 9);
        trace.id.set(id.clone()).unwrap();
        trace.sent.store(true, Ordering::SeqCst);
        let late = broken(Kind::Charge, None, &trace);
        assert_eq!(&*late.key, id.as_str());
        let Ending::Reported(report) = late.ending else { panic!("{late:?}") };
        assert!(matches!(report.outcome, Outcome::Unknown(_)));
    }
}
