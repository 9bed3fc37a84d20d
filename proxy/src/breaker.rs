//! Whether the provider behind an account works, as far as payments tell. One that fails is left
//! alone for a while where there is another account to ask.
//!
//! Only the provider's own faults count: that it was not reached, that its answer was lost or made
//! no sense, that it said it was out of order. A decline is an answer, and so is a refusal of what a
//! merchant did wrong. What is counted is in memory only: a new process begins with trust.

use crate::result::Ending;
use model::{AccountName, MerchantId, Outcome, Rejected};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of how many accounts faults are counted at a time; those beyond are trusted.
const ACCOUNTS_MAX: usize = 10_000;

/// The breakers of all accounts of which a fault is known.
#[derive(Debug)]
pub(crate) struct Breakers {
    settings: conf::Breaker,
    /// Whether there are any, so that payments at providers that work need not wait for a lock.
    any: AtomicBool,
    accounts: Mutex<HashMap<Key, Breaker>>,
}

type Key = (MerchantId, AccountName);

/// What is known of one account.
#[derive(Clone, Copy, Debug)]
struct Breaker {
    provider: &'static str,
    /// How many payments it failed, and answered, since then.
    faults: u32,
    answers: u32,
    since: Instant,
    /// It is left alone since then, or since it was last tried.
    open: Option<Instant>,
}

/// What a payment told of the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Answer,
    Fault,
    Nothing,
}

/// What became of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Opened,
    Closed,
}

// === impl Told ===

impl Told {
    /// What the end of a payment at one account tells of its provider.
    pub(crate) fn by(ending: &Ending) -> Self {
        let Ending::Reported(report) = ending else {
            let not_reached = matches!(ending, Ending::NotSent);
            return if not_reached { Self::Fault } else { Self::Nothing };
        };
        match report.outcome {
            Outcome::Approved | Outcome::Declined(_) | Outcome::Pending => Self::Answer,
            Outcome::Rejected(Rejected::Unavailable) | Outcome::Unknown(_) => Self::Fault,
            // Too much was asked of it, which is no fault, and no sign of health either.
            Outcome::Rejected(Rejected::RateLimited) => Self::Nothing,
            Outcome::Rejected(_) => Self::Answer,
        }
    }
}

// === impl Breaker ===

impl Breaker {
    fn new(provider: &'static str, now: Instant) -> Self {
        Self { provider, faults: 0, answers: 0, since: now, open: None }
    }

    /// Whether it would be skipped now.
    fn is_open(&self, settings: &conf::Breaker, now: Instant) -> bool {
        self.open.is_some_and(|since| age(since, now) < settings.open)
    }

    /// Whether nothing in it counts any more.
    fn is_over(&self, settings: &conf::Breaker, now: Instant) -> bool {
        self.open.is_none() && age(self.since, now) >= settings.window
    }

    /// Whether it is over, or nobody has asked for its account in all the time that it was to be tried.
    fn is_idle(&self, settings: &conf::Breaker, now: Instant) -> bool {
        let idle = settings.open.saturating_add(settings.window);
        self.is_over(settings, now) || self.open.is_some_and(|since| age(since, now) >= idle)
    }

    fn answer(&mut self) -> Option<Change> {
        self.answers = self.answers.saturating_add(1);
        self.open.take().map(|_| Change::Closed)
    }

    fn fault(&mut self, settings: &conf::Breaker, now: Instant) -> Option<Change> {
        if let Some(since) = &mut self.open {
            *since = now;
            return None;
        }
        if self.is_over(settings, now) {
            *self = Self::new(self.provider, now);
        }
        self.faults = self.faults.saturating_add(1);
        if self.faults < settings.faults || self.faults < self.answers {
            return None;
        }
        self.open = Some(now);
        Some(Change::Opened)
    }
}

fn age(since: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(since)
}

// === impl Breakers ===

impl Breakers {
    pub(crate) fn new(settings: conf::Breaker) -> Self {
        Self { settings, any: AtomicBool::new(false), accounts: Mutex::default() }
    }

    /// Whether the account would be left alone now, if there is another one.
    pub(crate) fn is_open(&self, merchant: &MerchantId, name: &AccountName, now: Instant) -> bool {
        self.any() && {
            let key = (merchant.clone(), name.clone());
            self.lock().get(&key).is_some_and(|breaker| breaker.is_open(&self.settings, now))
        }
    }

    /// Whether a payment is to go to the account although there is another one. While it is left
    /// alone, one payment in each period tries it.
    pub(crate) fn admits(&self, merchant: &MerchantId, name: &AccountName, now: Instant) -> bool {
        if !self.any() {
            return true;
        }
        let key = (merchant.clone(), name.clone());
        let mut accounts = self.lock();
        let Some(breaker) = accounts.get_mut(&key) else { return true };
        let admitted = !breaker.is_open(&self.settings, now);
        if let Some(since) = breaker.open.as_mut().filter(|_| admitted) {
            *since = now;
        }
        admitted
    }

    /// Counts what a payment told.
    pub(crate) fn told(
        &self,
        (merchant, name): (&MerchantId, &AccountName),
        provider: &'static str,
        told: Told,
        now: Instant,
    ) -> Option<Change> {
        if told == Told::Nothing || told == Told::Answer && !self.any() {
            return None;
        }
        let key = (merchant.clone(), name.clone());
        let mut accounts = self.lock();
        if told == Told::Answer {
            let breaker = accounts.get_mut(&key)?;
            let (change, over) = (breaker.answer(), breaker.is_over(&self.settings, now));
            if over || change.is_some() {
                accounts.remove(&key);
                self.any.store(!accounts.is_empty(), Ordering::Relaxed);
            }
            return change;
        }
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(&key) {
            accounts.retain(|_, breaker| !breaker.is_idle(&self.settings, now));
            if accounts.len() >= ACCOUNTS_MAX {
                return None;
            }
        }
        self.any.store(true, Ordering::Relaxed);
        let breaker = accounts.entry(key).or_insert_with(|| Breaker::new(provider, now));
        breaker.fault(&self.settings, now)
    }

    /// Trusts an account anew, because it is gone or another one now. When it was left alone, says whose
    /// provider that was.
    pub(crate) fn forget(&self, merchant: &MerchantId, name: &AccountName) -> Option<&'static str> {
        if !self.any() {
            return None;
        }
        let mut accounts = self.lock();
        let gone = accounts.remove(&(merchant.clone(), name.clone()))?;
        self.any.store(!accounts.is_empty(), Ordering::Relaxed);
        gone.open.map(|_| gone.provider)
    }

    /// At how many accounts of a provider breakers are open.
    pub(crate) fn open_at(&self, provider: &str) -> usize {
        let accounts = self.lock();
        let open = accounts.values().filter(|breaker| breaker.open.is_some());
        open.filter(|breaker| breaker.provider == provider).count()
    }

    fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Breaker>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{ACCOUNTS_MAX, Breakers, Change, Told};
    use crate::result::Ending;
    use model::{AccountName, Decline, MerchantId, Outcome, Rejected, Report, Unknown};
    use std::time::{Duration, Instant};

    const WINDOW: Duration = Duration::from_secs(30);
    const OPEN: Duration = Duration::from_secs(20);

    fn breakers() -> Breakers {
        Breakers::new(conf::Breaker { faults: 3, window: WINDOW, open: OPEN })
    }

    fn key(nth: usize) -> (MerchantId, AccountName) {
        (MerchantId::parse("acme").unwrap(), AccountName::parse(&format!("acc-{nth}")).unwrap())
    }

    /// Tells it of account `nth`.
    fn tell(breakers: &Breakers, nth: usize, told: Told, now: Instant) -> Option<Change> {
        let (merchant, name) = key(nth);
        breakers.told((&merchant, &name), "stripe", told, now)
    }

    fn admits(breakers: &Breakers, now: Instant) -> bool {
        let (merchant, name) = key(0);
        breakers.admits(&merchant, &name, now)
    }

    #[test]
    fn only_the_providers_own_faults_count() {
        let by = |outcome| Told::by(&Ending::Reported(Report::bare(outcome)));
        assert_eq!(Told::by(&Ending::NotSent), Told::Fault);
        for ending in [Ending::Failed, Ending::NotSupported] {
            assert_eq!(Told::by(&ending), Told::Nothing);
        }
        for why in Decline::ALL {
            assert_eq!(by(Outcome::Declined(why)), Told::Answer);
        }
        for why in Unknown::ALL {
            assert_eq!(by(Outcome::Unknown(why)), Told::Fault);
        }
        for why in Rejected::ALL {
            let busy = why == Rejected::RateLimited;
            let answer = if busy { Told::Nothing } else { Told::Answer };
            let expected = if why == Rejected::Unavailable { Told::Fault } else { answer };
            assert_eq!(by(Outcome::Rejected(why)), expected, "{why:?}");
        }
    }

    #[test]
    fn so_many_faults_in_a_window_open_it_and_one_payment_in_each_period_tries() {
        let (breakers, now) = (breakers(), Instant::now());
        assert_eq!(tell(&breakers, 0, Told::Fault, now), None);
        assert_eq!(tell(&breakers, 0, Told::Fault, now), None);
        assert!(admits(&breakers, now));
        assert_eq!(tell(&breakers, 0, Told::Fault, now), Some(Change::Opened));
        assert!(!admits(&breakers, now) && breakers.open_at("stripe") == 1);
        let later = now + OPEN;
        assert!(admits(&breakers, later), "it is tried");
        assert!(!admits(&breakers, later), "by one");
        assert_eq!(tell(&breakers, 0, Told::Fault, later), None);
        assert!(!admits(&breakers, later + OPEN / 2));
        assert!(admits(&breakers, later + OPEN));
        assert_eq!(tell(&breakers, 0, Told::Answer, later + OPEN), Some(Change::Closed));
        assert!(admits(&breakers, later + OPEN) && breakers.open_at("stripe") == 0);
    }

    #[test]
    fn faults_of_another_window_or_among_many_answers_do_not_open_it() {
        let (breakers, now) = (breakers(), Instant::now());
        for nth in 0..9_u32 {
            let now = now + WINDOW * (nth / 2);
            assert_eq!(tell(&breakers, 0, Told::Fault, now), None, "two in each window");
        }
        let now = now + WINDOW * 9;
        assert_eq!(tell(&breakers, 0, Told::Fault, now), None);
        for _ in 0..4 {
            assert_eq!(tell(&breakers, 0, Told::Answer, now), None);
        }
        assert_eq!(tell(&breakers, 0, Told::Fault, now), None);
        assert_eq!(tell(&breakers, 0, Told::Fault, now), None, "three of seven");
        assert_eq!(tell(&breakers, 0, Told::Fault, now), Some(Change::Opened), "four of eight");
    }

    #[test]
    fn an_account_has_its_own() {
        let (breakers, now) = (breakers(), Instant::now());
        for _ in 0..3 {
            tell(&breakers, 0, Told::Fault, now);
        }
        let other = key(1);
        assert!(breakers.admits(&other.0, &other.1, now));
        let (merchant, name) = key(0);
        assert!(breakers.is_open(&merchant, &name, now));
    }

    #[test]
    fn an_account_that_is_gone_or_changed_is_trusted_anew() {
        let (breakers, now) = (breakers(), Instant::now());
        let (merchant, name) = key(0);
        assert_eq!(breakers.forget(&merchant, &name), None);
        tell(&breakers, 0, Told::Fault, now);
        assert_eq!(breakers.forget(&merchant, &name), None, "it was not left alone");
        for _ in 0..3 {
            tell(&breakers, 0, Told::Fault, now);
        }
        assert!(!admits(&breakers, now));
        assert_eq!(breakers.forget(&merchant, &name), Some("stripe"));
        assert!(admits(&breakers, now) && breakers.open_at("stripe") == 0 && !breakers.any());
    }

    #[test]
    fn accounts_that_nobody_asks_for_any_more_make_room() {
        let (breakers, now) = (breakers(), Instant::now());
        for nth in (0..ACCOUNTS_MAX).flat_map(|nth| [nth; 3]) {
            tell(&breakers, nth, Told::Fault, now);
        }
        assert_eq!(breakers.open_at("stripe"), ACCOUNTS_MAX);
        let later = now + WINDOW + OPEN;
        assert!(admits(&breakers, later), "this one is tried");
        tell(&breakers, ACCOUNTS_MAX, Told::Fault, later);
        assert_eq!(breakers.lock().len(), 2);
    }

    #[test]
    fn there_is_a_maximum_and_what_is_over_makes_room() {
        let (breakers, now) = (breakers(), Instant::now());
        for nth in 0..ACCOUNTS_MAX + 1 {
            tell(&breakers, nth, Told::Fault, now);
        }
        assert_eq!(breakers.lock().len(), ACCOUNTS_MAX);
        tell(&breakers, ACCOUNTS_MAX, Told::Fault, now + WINDOW);
        assert_eq!(breakers.lock().len(), 1);
    }
}
