//! Asks providers what became of payments whose answer was lost, until it is known.
//!
//! It can ask as often as it likes: what it sends moves no money, or is known to the provider by its key.
//! What turns out to stand where it must not, [`Undoer`] undoes.
//! What is in doubt is in the journal, so that it goes on after a crash. Nobody gets another answer
//! than the one that was given: what is found out is told at `/Transactions`.

mod turns;

use crate::clock;
use crate::inquiry::{Answered, Asker, conclude, lag_of};
use crate::shared::Shared;
use crate::stray::Undoer;
use async_trait::async_trait;
use model::TransactionId;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use turns::{Place, Turn, Turns};
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

/// The service.
pub(crate) struct Resolver {
    inner: Arc<Inner>,
    undoer: Arc<Undoer>,
}

struct Inner {
    shared: Arc<Shared>,
    turns: Turns,
}

// === impl Resolver ===

impl Resolver {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let undoer = Arc::new(Undoer::new(shared.clone()));
        Self { inner: Arc::new(Inner { shared, turns: Turns::default() }), undoer }
    }
}

// === impl Inner ===

impl Inner {
    /// Begins to ask about what is due of those that come after `after`, and does not wait for the
    /// answers. Says after which to look next.
    fn look(self: &Arc<Self>, after: Option<&TransactionId>) -> Option<TransactionId> {
        let doubts = self.shared.vault.doubts_after(after, DOUBTS_MAX);
        let last = doubts.last().filter(|_| doubts.len() >= DOUBTS_MAX);
        let last = last.map(|doubt| doubt.id().clone());
        self.shared.waits.see(doubts.iter().map(Doubt::id), Instant::now());
        self.forget_others((after, last.as_ref()), &doubts);
        for doubt in self.due(doubts) {
            self.told(&doubt, self.begin(&doubt));
        }
        last
    }

    /// Begins to ask, if it is the account's turn. If not, it stands in line, or is looked at again with
    /// the others.
    fn begin(self: &Arc<Self>, doubt: &Doubt) -> Result<(), VaultError> {
        let Some(ongoing) = self.shared.vault.take_doubt(doubt)? else { return Ok(()) };
        // What has ended meanwhile is settled, and nobody is asked.
        if let Some(why) = self.asker(doubt).cannot(&ongoing).filter(|_| ongoing.is_open()) {
            self.wait(doubt, &ongoing, why);
            return Ok(());
        }
        let account = ongoing.payment.last_attempt().and_then(|attempt| attempt.account.clone());
        match self.turns.take((ongoing.merchant.clone(), account), doubt) {
            Place::Turn(turn) => {
                tokio::spawn(self.clone().work(turn, doubt.clone(), ongoing));
            }
            // It is in nobody's hands until its turn comes.
            Place::InLine => drop(ongoing),
            Place::None => self.shared.waits.put_off(doubt.id(), Instant::now()),
        }
        Ok(())
    }

    /// Asks about this, and then about who is in line behind it.
    async fn work(self: Arc<Self>, mut turn: Turn, doubt: Doubt, ongoing: Ongoing) {
        self.told(&doubt, self.resolve(&doubt, ongoing).await);
        while let Some(doubt) = turn.pass() {
            let resolved = match self.shared.vault.take_doubt(&doubt) {
                Ok(Some(ongoing)) => self.resolve(&doubt, ongoing).await,
                // It has ended, or somebody has it.
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            self.told(&doubt, resolved);
        }
    }

    /// Says that the vault is at fault, and tries again later: it may be so for all, and for hours.
    fn told(&self, doubt: &Doubt, resolved: Result<(), VaultError>) {
        if let Err(error) = resolved {
            log::warn!("transaction {} is not resolved: {error}", doubt.payment);
            self.shared.waits.failed(doubt.id(), Instant::now());
        }
    }

    fn asker(&self, doubt: &Doubt) -> Asker<'_> {
        let idle = self.shared.waits.idle(doubt.id(), Instant::now());
        Asker { may_repeat: true, ..self.shared.asker(idle) }
    }

    async fn resolve(&self, doubt: &Doubt, ongoing: Ongoing) -> Result<(), VaultError> {
        if !ongoing.is_open() {
            // Its provider told of it while somebody had it in hand.
            return self.shared.vault.settle(ongoing, None).await.map(drop);
        }
        let Ongoing { merchant, payment, change, .. } = &ongoing;
        // It has the change in its hands, and nobody else asks for it.
        match self.asker(doubt).inquire(merchant, payment, change.as_ref()).await {
            Answered::Known(standing, report) => {
                conclude(&self.shared.vault, ongoing, standing, report.as_ref()).await
            }
            Answered::Later(why) => {
                self.wait(doubt, &ongoing, why);
                Ok(())
            }
        }
    }

    fn due(&self, mut doubts: Vec<Doubt>) -> Vec<Doubt> {
        doubts.retain(|doubt| !self.turns.has(doubt.id()));
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

    /// Forgets what is in doubt no longer, of those that come after the first of `within` and not after
    /// the last.
    fn forget_others(
        &self,
        within: (Option<&TransactionId>, Option<&TransactionId>),
        doubts: &[Doubt],
    ) {
        if self.shared.waits.count() > doubts.len() {
            let open: HashSet<_> = doubts.iter().map(Doubt::id).collect();
            let is_elsewhere = |id: &TransactionId| {
                within.0.is_some_and(|after| id <= after) || within.1.is_some_and(|last| id > last)
            };
            // What is under way is in doubt too, and in our own hands.
            let stays =
                |id: &TransactionId| is_elsewhere(id) || open.contains(id) || self.turns.has(id);
            self.shared.waits.retain(stays);
        }
    }

    /// Removes idempotency keys whose time is over, and says how long to rest.
    async fn sweep(&self, cursor: &mut SweepCursor) -> Duration {
        let before = over_before(clock::now_millis(), self.shared.payments.idempotency_keep);
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

/// Before which moment a key must have been used for its time to be over now.
fn over_before(now_millis: u64, keep: Duration) -> u64 {
    let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    now_millis.saturating_sub(keep)
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
        let (mut low_water, mut sweep, mut after) = (Instant::now(), Instant::now(), None);
        loop {
            tokio::select! {
                _ = shutdown.changed() => return,
                () = tokio::time::sleep(LOOK_PERIOD) => {}
            }
            let inner = &self.inner;
            after = inner.look(after.as_ref());
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
    use super::{QUESTIONS_MAX, fairly, over_before};
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
    fn a_key_is_kept_for_its_time() {
        let day = Duration::from_hours(24);
        assert_eq!(over_before(100_000_000, day), 13_600_000);
        assert_eq!(over_before(5, day), 0, "nothing is over before there was time");
        assert_eq!(over_before(u64::MAX, Duration::MAX), 0);
    }
}
