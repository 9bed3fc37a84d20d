//! Making a payment: a charge or an authorization, at one account after another if need be.

use super::account::{self, Account};
use super::attempt::{self, Unwritten};
use super::failover::{self, certainly_nothing, may_go_on};
use super::{Case, Done, Stop, Tried, settle};
use crate::clock;
use crate::metrics::Phase;
use crate::result::{Ending, Finished, Skip};
use crate::shared::Shared;
use filters::AccountChoice;
use filters::decode::Fallback;
use model::{
    Action, Attempt, Authorization, Evidence, MerchantId, Operation, Outcome, Payment, Report,
    Standing, TransactionId, Unknown,
};
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Instant;
use vault::CvvLoan;
use vault::payments::{Course, ReplayClaim};

/// What is wanted.
pub(super) struct Wanted {
    pub(super) authorization: Box<Authorization>,
    pub(super) merchant_reference: Option<Box<str>>,
    pub(super) account: AccountChoice,
    pub(super) fallbacks: Vec<Fallback>,
}

/// An account to be asked.
pub(super) struct Candidate {
    pub(super) account: Account,
    pass_three_ds: bool,
    /// Whether it is the account that the merchant named first: what it cannot take is refused.
    pub(super) is_first: bool,
}

/// The accounts that are still to be asked.
pub(super) struct Line<'a> {
    rest: &'a [Candidate],
    /// Those that are left alone, as long as nobody behind them was asked. When it turns out that nobody
    /// can be, it is their turn.
    left_alone: VecDeque<&'a Candidate>,
    is_their_turn: bool,
}

/// A payment on its way through the accounts.
struct Journey<'a> {
    case: &'a Case<'a>,
    course: Course,
    tried: Tried,
    /// The card verification value, if there is one, for all accounts.
    loan: CvvLoan,
}

/// Makes the payment.
pub(super) async fn make(
    case: &Case<'_>,
    wanted: Wanted,
    replay: Option<ReplayClaim>,
) -> Result<Done, Stop> {
    let Wanted { authorization, merchant_reference, account, fallbacks } = wanted;
    // All are looked up before any is asked, so that a wrong name is told while nothing is done.
    let candidates = candidates(case.shared, case.merchant, account, fallbacks)?;
    let name = case.shared.vault.name_payment(case.merchant, clock::now_millis())?;
    let id = name.id().clone();
    case.is_named(&id);
    let payment = draft(id, &authorization, merchant_reference);
    let tried = Tried::default();
    let (course, loan) = (Course::new(payment, name, replay), CvvLoan::default());
    let mut journey = Journey { case, course, tried, loan };
    match journey.travel(&candidates, authorization).await {
        Ok((last, ending)) => Ok(journey.end(last, ending).await),
        Err(stop) => {
            journey.loan.give_back();
            Err(stop)
        }
    }
}

/// Looks up the accounts of a payment. One that is named again has had its turn.
pub(super) fn candidates(
    shared: &Shared,
    merchant: &MerchantId,
    account: AccountChoice,
    fallbacks: Vec<Fallback>,
) -> Result<Vec<Candidate>, Stop> {
    const FALLBACKS: &str = "fallbackUpgs";
    let first = account::find(shared, merchant, account)?;
    if !first.state().is_enabled() {
        return Err(account::invalid(account::NAME, "the account is disabled"));
    }
    let mut all = vec![Candidate { account: first, pass_three_ds: true, is_first: true }];
    for Fallback { account, pass_three_ds } in fallbacks {
        let account = account::named(shared, merchant, account, FALLBACKS)?;
        if !all.iter().any(|one| one.account.name == account.name) {
            all.push(Candidate { account, pass_three_ds, is_first: false });
        }
    }
    Ok(all)
}

fn draft(
    id: TransactionId,
    authorization: &Authorization,
    merchant_reference: Option<Box<str>>,
) -> Payment {
    Payment {
        id,
        capture: authorization.capture,
        amount: authorization.amount,
        merchant_reference,
        adopted: false,
        last_four: None,
        memo: None,
        attempts: Vec::with_capacity(1),
        changes: Vec::new(),
    }
}

// === impl Candidate ===

impl Candidate {
    /// What this account may be told.
    pub(super) fn told(&self, authorization: Box<Authorization>) -> Box<Authorization> {
        let three_ds = authorization.three_ds.filter(|_| self.pass_three_ds);
        Box::new(Authorization { three_ds, ..*authorization })
    }

    /// Why this account is left out, if it is; `later` are those that stand behind it.
    fn skip(&self, case: &Case<'_>, later: &[Self]) -> Option<Skip> {
        let Case { shared, merchant, .. } = case;
        let (breakers, now) = (&shared.breakers, Instant::now());
        let another = later.iter().any(|one| one.account.is_usable(shared, merchant, now));
        let account = &self.account;
        let state =
            if self.is_first { account.state() } else { account.state_now(shared, merchant) };
        let works =
            || account.name.as_ref().is_none_or(|name| breakers.admits(merchant, name, now));
        failover::skip(state, another, works)
    }
}

// === impl Line ===

impl<'a> Line<'a> {
    pub(super) fn new(all: &'a [Candidate]) -> Self {
        Self { rest: all, left_alone: VecDeque::new(), is_their_turn: false }
    }

    /// The account whose turn it is. Those that are left out on the way are told.
    pub(super) fn next(&mut self, case: &Case<'_>, tried: &mut Tried) -> Option<&'a Candidate> {
        while let Some((one, later)) = self.rest.split_first() {
            self.rest = later;
            let Some(why) = one.skip(case, later) else { return Some(one) };
            tried.skip(&one.account, why);
            case.shared.metrics.skipped(one.account.provider.name(), why);
            if why == Skip::Unavailable {
                self.left_alone.push_back(one);
            }
        }
        self.is_their_turn = true;
        self.left_alone.pop_front()
    }

    /// Notes that an account could be asked, so that those before it stay alone.
    pub(super) fn asked(&mut self) {
        if !self.is_their_turn {
            self.left_alone.clear();
        }
    }

    /// Whether nobody comes any more.
    fn is_over(&self) -> bool {
        self.rest.is_empty() && self.left_alone.is_empty()
    }
}

// === impl Journey ===

impl Journey<'_> {
    /// Asks one account after another, and says at which it ended, and how.
    async fn travel<'b>(
        &mut self,
        candidates: &'b [Candidate],
        authorization: Box<Authorization>,
    ) -> Result<(&'b Account, Ending), Stop> {
        let began = Instant::now();
        let mut spare = Some(authorization);
        let mut line = Line::new(candidates);
        let mut last = None;
        while let Some(candidate) = line.next(self.case, &mut self.tried) {
            let again = |kept: &Authorization| Box::new(kept.again());
            let next = if line.is_over() { spare.take() } else { spare.as_deref().map(again) };
            let Some(authorization) = next else { break };
            let authorization = candidate.told(authorization);
            let ending = self.ask(candidate, authorization).await?;
            self.tried.add(&candidate.account, &ending, self.course.payment().kind());
            if let (true, Some((_, before))) = (self.course.is_lost(), &mut last) {
                // It may have turned out to stand, which is why nobody else may be asked.
                *before = Ending::Reported(Report::bare(Outcome::Unknown(Unknown::Interrupted)));
                break;
            }
            let over = began.elapsed() >= self.case.shared.payments.failover_timeout;
            let goes_on = may_go_on(&ending) && !over;
            let was_asked = !matches!(ending, Ending::NotSupported);
            if was_asked {
                line.asked();
            }
            // An account that cannot be asked says nothing of why the one before failed.
            if last.is_none() || was_asked {
                last = Some((&candidate.account, ending));
            }
            if !goes_on {
                break;
            }
        }
        last.ok_or(Stop::Failed)
    }

    /// Asks one account.
    async fn ask(
        &mut self,
        candidate: &Candidate,
        authorization: Box<Authorization>,
    ) -> Result<Ending, Stop> {
        let Candidate { account, is_first, .. } = candidate;
        let operation = Operation {
            key: self.course.next_key(),
            merchant_reference: self.course.payment().merchant_reference.clone(),
            action: Action::Authorize(authorization),
        };
        let written = match attempt::write(self.case, account, operation, &mut self.loan) {
            Ok(written) => written,
            Err(Unwritten::NotSupported) => return Ok(Ending::NotSupported),
            // The request, or its card, is nothing for this account: the next one may take it.
            Err(Unwritten::Stop(Stop::Invalid(_))) if !is_first => return Ok(Ending::NotSupported),
            Err(Unwritten::Stop(stop)) if self.course.payment().attempts.is_empty() => {
                return Err(stop);
            }
            // What was done so far is told, and that it did not go on.
            Err(Unwritten::Stop(_)) => return Ok(Ending::Failed),
        };
        let attempt = Attempt {
            account: account.name.clone(),
            provider: account.provider.name().into(),
            began: clock::now_millis(),
            standing: Standing::Sending,
            evidence: Evidence::default(),
        };
        self.course.note_card(written.last_four.clone());
        let (Case { shared, merchant, .. }, began) = (self.case, Instant::now());
        let asked = {
            // Pinned here, so that what waits for the journal holds no copy of it.
            let send = pin!(async {
                shared.metrics.phase(Phase::Journal, began.elapsed());
                attempt::send(self.case, account, written, &mut self.tried).await
            });
            self.course.ask((&shared.vault, merchant), attempt, send).await
        };
        let ending = match asked {
            Ok(ending) => ending,
            // Nothing was sent at this account, because that could not be written down.
            Err(error) if self.course.payment().attempts.is_empty() => return Err(error.into()),
            Err(error) => {
                log::error!("the vault failed: {error}");
                return Ok(Ending::Failed);
            }
        };
        let told = self.tried.told(&ending);
        account.used(shared, merchant, (&ending, told)).await;
        Ok(ending)
    }

    /// Keeps how it ended, and answers.
    async fn end(self, last: &Account, ending: Ending) -> Done {
        let Self { case, course, tried, loan } = self;
        if certainly_nothing(&ending) {
            loan.give_back();
        } else {
            drop(loan);
        }
        let payment = course.payment();
        let (id, kind, amount) = (payment.id.as_str().into(), payment.kind(), payment.amount);
        let mut finished = Finished::new(id, kind, Some(amount), ending);
        finished.take(tried, last);
        let Some(ongoing) = course.into_ongoing() else { return Done::of(finished) };
        let began = Instant::now();
        let done = settle(case, ongoing, finished).await;
        case.shared.metrics.phase(Phase::Journal, began.elapsed());
        done
    }
}
