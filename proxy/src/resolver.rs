//! Asks providers what became of payments whose answer was lost, until it is known.
//!
//! It can ask as often as it likes: what it sends moves no money, or is known to the provider by its key.
//! What turns out to stand where it must not, [`Undoer`] undoes.
//! What is in doubt is in the journal, so that it goes on after a crash. Nobody gets another answer
//! than the one that was given: what is found out is told at `/Transactions`.

use crate::clock;
use crate::inquiry::{Answered, Asker, conclude, lag_of};
use crate::shared::Shared;
use crate::stray::Undoer;
use async_trait::async_trait;
use model::{AccountName, MerchantId, TransactionId};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vault::payments::{Doubt, Ongoing};
use vault::{SweepCursor, VaultError};

/// How often it looks for what is due.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// How many questions are asked in one look.
const QUESTIONS_MAX: usize = 64;
/// How many doubts are looked through for those that are due.
const DOUBTS_MAX: usize = 10_000;
/// How often the journal remembers from where on it must look after a crash.
const LOW_WATER_PERIOD: Duration = Duration::from_secs(10);
/// How often a page of idempotency keys is looked through for those whose time is over.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// How long it rests after it has looked through all.
const SWEPT_PERIOD: Duration = Duration::from_secs(3_600);

/// How many questions may be under way at a time, and how many of one account, so that a provider that
/// hangs holds up nobody else.
const UNDER_WAY_MAX: usize = 32;
const UNDER_WAY_PER_ACCOUNT_MAX: usize = 4;

/// The service.
pub(crate) struct Resolver {
    inner: Arc<Inner>,
    undoer: Arc<Undoer>,
}

struct Inner {
    shared: Arc<Shared>,
    under_way: Mutex<UnderWay>,
}

/// Whose account a question is about; no account where the credentials were not kept.
type Whose = (MerchantId, Option<AccountName>);

/// The questions that are under way.
#[derive(Debug, Default)]
struct UnderWay {
    /// What they are about.
    about: HashSet<TransactionId>,
    of: HashMap<Whose, usize>,
}

/// A question that is under way, until it is dropped.
struct Turn {
    inner: Arc<Inner>,
    id: TransactionId,
    whose: Whose,
}

// === impl UnderWay ===

impl UnderWay {
    fn is_full(&self) -> bool {
        self.about.len() >= UNDER_WAY_MAX
    }

    /// Takes a turn, if the account has one left.
    fn begin(&mut self, whose: &Whose, id: &TransactionId) -> bool {
        let own = self.of.get(whose).copied().unwrap_or_default();
        if self.is_full() || own >= UNDER_WAY_PER_ACCOUNT_MAX {
            return false;
        }
        self.about.insert(id.clone());
        self.of.insert(whose.clone(), own.saturating_add(1));
        true
    }

    fn end(&mut self, whose: &Whose, id: &TransactionId) {
        self.about.remove(id);
        let left = self.of.remove(whose).unwrap_or_default().saturating_sub(1);
        if left > 0 {
            self.of.insert(whose.clone(), left);
        }
    }
}

// === impl Turn ===

impl Drop for Turn {
    fn drop(&mut self) {
        self.inner.under_way().end(&self.whose, &self.id);
    }
}

// === impl Resolver ===

impl Resolver {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let undoer = Arc::new(Undoer::new(shared.clone()));
        Self { inner: Arc::new(Inner { shared, under_way: Mutex::default() }), undoer }
    }
}

// === impl Inner ===

impl Inner {
    /// Begins to ask about all that is due, and does not wait for the answers.
    fn look(self: &Arc<Self>) {
        let doubts = self.shared.vault.doubts(DOUBTS_MAX);
        self.shared.waits.see(doubts.iter().map(Doubt::id), Instant::now());
        self.forget_others(&doubts);
        for doubt in self.due(doubts) {
            if self.under_way().is_full() {
                return;
            }
            if let Err(error) = self.begin(&doubt) {
                log::warn!("transaction {} is not resolved: {error}", doubt.payment);
            }
        }
    }

    /// Begins to ask, if it is the account's turn. If not, it is looked at again with the others.
    fn begin(self: &Arc<Self>, doubt: &Doubt) -> Result<(), VaultError> {
        let Some(ongoing) = self.shared.vault.take_doubt(doubt)? else { return Ok(()) };
        let account = ongoing.payment.last_attempt().and_then(|attempt| attempt.account.clone());
        let whose = (ongoing.merchant.clone(), account);
        let id = doubt.id().clone();
        if !self.under_way().begin(&whose, &id) {
            self.shared.waits.put_off(doubt.id(), Instant::now());
            return Ok(());
        }
        let (doubt, turn) = (doubt.clone(), Turn { inner: self.clone(), id, whose });
        tokio::spawn(async move {
            if let Err(error) = turn.inner.resolve(&doubt, ongoing).await {
                log::warn!("transaction {} is not resolved: {error}", doubt.payment);
            }
        });
        Ok(())
    }

    async fn resolve(&self, doubt: &Doubt, ongoing: Ongoing) -> Result<(), VaultError> {
        if !ongoing.is_open() {
            // Its provider told of it while somebody had it in hand.
            return self.shared.vault.settle(ongoing, None).await.map(drop);
        }
        let Ongoing { merchant, payment, change, .. } = &ongoing;
        // It has the change in its hands, and nobody else asks for it.
        let idle = self.shared.waits.idle(doubt.id(), Instant::now());
        let asker = Asker { may_repeat: true, ..self.shared.asker(idle) };
        match asker.inquire(merchant, payment, change.as_ref()).await {
            Answered::Known(standing, report) => {
                conclude(&self.shared.vault, ongoing, standing, report.as_ref()).await
            }
            Answered::Later(why) => {
                self.wait(doubt, &ongoing, why);
                Ok(())
            }
        }
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self, doubts: Vec<Doubt>) -> Vec<Doubt> {
        let due = |doubt: &Doubt| self.shared.waits.of(doubt.id()).and_then(|wait| wait.due);
        fairly(doubts, due, Instant::now())
    }

    /// Asks again later, and says so once it takes too long.
    fn wait(&self, doubt: &Doubt, ongoing: &Ongoing, why: &'static str) {
        let age = clock::now_millis().saturating_sub(doubt.id().millis());
        let overdue = u128::from(age) >= self.shared.payments.resolve_alarm.as_millis();
        let why = (why, lag_of(&ongoing.payment));
        if self.shared.waits.again(doubt.id(), why, overdue, Instant::now()) {
            self.shared.metrics.resolution_overdue();
            log::error!(
                "transaction {} of {} is not resolved after {} s: {}",
                ongoing.payment.id,
                ongoing.merchant.as_str(),
                age / 1_000,
                why.0
            );
        }
    }

    fn forget_others(&self, doubts: &[Doubt]) {
        if self.shared.waits.count() > doubts.len() {
            let open: HashSet<_> = doubts.iter().map(Doubt::id).collect();
            // What is under way is in doubt too, and in our own hands.
            let under_way = self.under_way();
            self.shared.waits.retain(|id| open.contains(id) || under_way.about.contains(id));
        }
    }

    /// Removes idempotency keys whose time is over, and says how long to rest.
    async fn sweep(&self, cursor: &mut SweepCursor) -> Duration {
        let keep = u64::try_from(self.shared.payments.idempotency_keep.as_millis());
        let before = clock::now_millis().saturating_sub(keep.unwrap_or(u64::MAX));
        match self.shared.vault.sweep_replays(cursor, before).await {
            Ok((_, false)) => SWEEP_PERIOD,
            Ok((_, true)) => {
                *cursor = SweepCursor::default();
                SWEPT_PERIOD
            }
            Err(error) => {
                log::warn!("idempotency keys whose time is over could not be removed: {error}");
                *cursor = SweepCursor::default();
                SWEPT_PERIOD
            }
        }
    }
}

/// Those that are due, as many as one look asks about: what was never asked about first, then what
/// has been due for longest. What has no answer does not keep the others waiting.
fn fairly<T>(all: Vec<T>, due: impl Fn(&T) -> Option<Instant>, now: Instant) -> Vec<T> {
    let with_time = all.into_iter().map(|one| (due(&one), one));
    let is_due = |(due, _): &(Option<Instant>, T)| due.is_none_or(|due| due <= now);
    let mut found: Vec<_> = with_time.filter(is_due).collect();
    found.sort_by_key(|(due, _)| *due);
    found.into_iter().map(|(_, one)| one).take(QUESTIONS_MAX).collect()
}

#[async_trait]
impl BackgroundService for Resolver {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut cursor = SweepCursor::default();
        let (mut low_water, mut sweep) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                () = tokio::time::sleep(LOOK_PERIOD) => {}
            }
            let inner = &self.inner;
            inner.look();
            self.undoer.look();
            let now = Instant::now();
            if now >= low_water {
                low_water = now.checked_add(LOW_WATER_PERIOD).unwrap_or(now);
                if let Err(error) = inner.shared.vault.remember_low_water(clock::now_millis()).await
                {
                    log::warn!("the journal does not remember where it is: {error}");
                }
            }
            if now >= sweep {
                sweep = now.checked_add(inner.sweep(&mut cursor).await).unwrap_or(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{QUESTIONS_MAX, UNDER_WAY_MAX, UNDER_WAY_PER_ACCOUNT_MAX, UnderWay, fairly};
    use model::{MerchantId, TransactionId};
    use std::time::{Duration, Instant};

    #[test]
    fn what_has_no_answer_does_not_keep_the_others_waiting() {
        let now = Instant::now();
        // Older than the others, more than one look asks about, and due again already.
        let stuck = 2 * QUESTIONS_MAX;
        let due = |nth: &usize| (*nth < stuck).then_some(now);
        let found = fairly((0..stuck + 3).collect(), due, now);
        assert_eq!(found.len(), QUESTIONS_MAX);
        assert_eq!(found[..4], [stuck, stuck + 1, stuck + 2, 0]);
    }

    #[test]
    fn what_is_not_due_is_not_asked_about_and_the_longest_due_comes_first() {
        let began = Instant::now();
        let at = |second: &u64| began.checked_add(Duration::from_secs(*second));
        let now = began + Duration::from_secs(3);
        assert_eq!(fairly(vec![3, 1, 4, 2], at, now), [1, 2, 3]);
    }

    #[test]
    fn an_account_that_hangs_holds_up_nobody_else() {
        let whose = |nth: u64| (MerchantId::parse(&format!("shop-{nth}")).unwrap(), None);
        let id = |nth: u64| TransactionId::new(nth, 0);
        let own = u64::try_from(UNDER_WAY_PER_ACCOUNT_MAX).unwrap();
        let all = u64::try_from(UNDER_WAY_MAX).unwrap();
        let mut under_way = UnderWay::default();
        for nth in 0..own {
            assert!(under_way.begin(&whose(0), &id(nth)));
        }
        assert!(!under_way.begin(&whose(0), &id(own)), "one more of the same");
        for nth in own..all {
            assert!(under_way.begin(&whose(nth), &id(nth)), "others go on");
        }
        assert!(under_way.is_full() && !under_way.begin(&whose(all), &id(all)));
        under_way.end(&whose(0), &id(0));
        assert!(under_way.begin(&whose(0), &id(all)));
        under_way.end(&whose(0), &id(all));
        (1..own).for_each(|nth| under_way.end(&whose(0), &id(nth)));
        (own..all).for_each(|nth| under_way.end(&whose(nth), &id(nth)));
        assert!(under_way.about.is_empty() && under_way.of.is_empty());
    }
}
