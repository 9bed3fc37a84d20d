//! Which payments use staged credentials, and when they no longer do: the policy of a rotation.
//!
//! What is staged is in the vault. Here is what only a running program knows: how often each of
//! an account's credentials was used and refused since it started, and that staged ones which the
//! provider refused [`REFUSALS_MAX`] times within [`REFUSAL_WINDOW`] get no more payments. That
//! holds from the moment of the last refusal, whether or not the vault can be told.

use model::{AccountName, MerchantId};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vault::{Pick, Staged};

/// How many payments the provider may refuse because of staged credentials.
pub(crate) const REFUSALS_MAX: usize = 3;
/// Within how long.
pub(crate) const REFUSAL_WINDOW: Duration = Duration::from_secs(60);

/// A share is so many of these.
const SHARES: u32 = 100;

/// The accounts with staged credentials that this program has seen. There is one entry for each of
/// them, and it goes when the staging ends.
#[derive(Debug, Default)]
pub(crate) struct Rotations(Mutex<HashMap<(MerchantId, AccountName), Watched>>);

/// The state of what is staged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It gets no payments, because the provider refused some.
    Failed,
    #[default]
    Staged,
    /// It gets payments.
    Switched,
    /// The provider was found to take it.
    Validated,
}

/// How often the credentials of an account were used, and refused, while these were staged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) current: Uses,
    pub(crate) staged: Uses,
}

/// How often credentials were used for a payment, and how often that payment was refused for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) payments: u64,
    pub(crate) refusals: u64,
}

/// What the provider made of the credentials of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    No,
    Yes,
}

/// What follows from a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    GoOn,
    /// That was one refusal too many: the vault is to be told.
    RollBack,
}

/// One staging.
#[derive(Debug, Default)]
struct Watched {
    /// Which one; another one begins anew.
    id: u64,
    counts: Counts,
    state: State,
    /// When the latest refusals of the staged credentials were.
    refused_at: VecDeque<Instant>,
    /// Whether they get no payments, whatever the vault says.
    stopped: bool,
}

// === impl Rotations ===

impl Rotations {
    /// Which credentials a payment uses; `draw` is any number, drawn at random.
    pub(crate) fn pick(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        staged: &Staged,
        draw: u32,
    ) -> Pick {
        let drawn = draw % SHARES < u32::from(staged.percent);
        let stopped = || self.is_stopped(merchant, name, staged);
        if drawn && !stopped() { Pick::Staged } else { Pick::Current }
    }

    /// Counts a payment that used one of an account's credentials while `staged` was staged.
    pub(crate) fn used(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        staged: &Staged,
        (pick, taken): (Pick, Taken),
        now: Instant,
    ) -> Next {
        let mut all = self.lock();
        // One that began under another staging, or that outlived its own, says nothing of this one.
        let found = all.get_mut(&(merchant.clone(), name.clone()));
        let Some(watched) = found.filter(|watched| watched.id == staged.id) else {
            return Next::GoOn;
        };
        watched.count(pick, taken);
        match (pick, taken) {
            (Pick::Staged, Taken::No) => watched.refused(now),
            (Pick::Staged, Taken::Yes) | (Pick::Current, _) => Next::GoOn,
        }
    }

    /// How often the credentials were used while those staged as `id` were.
    pub(crate) fn counts(&self, merchant: &MerchantId, name: &AccountName, id: u64) -> Counts {
        let all = self.lock();
        let found = all.get(&(merchant.clone(), name.clone())).filter(|watched| watched.id == id);
        found.map(|watched| watched.counts).unwrap_or_default()
    }

    /// Lets staged credentials have payments again, because somebody said so.
    pub(crate) fn resume(&self, merchant: &MerchantId, name: &AccountName, id: u64) {
        let mut all = self.lock();
        let found = all.get_mut(&(merchant.clone(), name.clone()));
        if let Some(watched) = found.filter(|watched| watched.id == id) {
            watched.stopped = false;
            watched.refused_at.clear();
        }
    }

    /// Takes note of what is staged for an account now, if anything is.
    pub(crate) fn note(&self, merchant: &MerchantId, name: &AccountName, staged: Option<&Staged>) {
        let (mut all, key) = (self.lock(), (merchant.clone(), name.clone()));
        match staged {
            Some(staged) => all.entry(key).or_default().follow(staged),
            None => drop(all.remove(&key)),
        }
    }

    /// How many accounts have something staged in this state.
    pub(crate) fn in_state(&self, state: State) -> usize {
        self.lock().values().filter(|watched| watched.state == state).count()
    }

    fn is_stopped(&self, merchant: &MerchantId, name: &AccountName, staged: &Staged) -> bool {
        let mut all = self.lock();
        let watched = all.entry((merchant.clone(), name.clone())).or_default();
        watched.follow(staged);
        watched.id == staged.id && watched.stopped
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(MerchantId, AccountName), Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Every state, in the order of their words.
    pub(crate) const ALL: [Self; 4] = [Self::Failed, Self::Staged, Self::Switched, Self::Validated];

    /// The state of `staged`.
    pub(crate) fn of(staged: &Staged) -> Self {
        match staged {
            Staged { percent: 1.., .. } => Self::Switched,
            Staged { failed: Some(_), .. } => Self::Failed,
            Staged { validated: Some(_), .. } => Self::Validated,
            Staged { .. } => Self::Staged,
        }
    }

    /// The word for it in the API.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Staged => "Staged",
            Self::Switched => "Switched",
            Self::Validated => "Validated",
        }
    }

    /// The word for it in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Staged => "staged",
            Self::Switched => "switched",
            Self::Validated => "validated",
        }
    }
}

// === impl Watched ===

impl Watched {
    /// Looks at what is staged now: another staging begins anew, and an older one says nothing.
    fn follow(&mut self, staged: &Staged) {
        if self.id < staged.id {
            *self = Self { id: staged.id, ..Self::default() };
        }
        if self.id == staged.id {
            self.state = State::of(staged);
        }
    }

    fn count(&mut self, pick: Pick, taken: Taken) {
        let uses = match pick {
            Pick::Current => &mut self.counts.current,
            Pick::Staged => &mut self.counts.staged,
        };
        uses.payments = uses.payments.saturating_add(1);
        uses.refusals = uses.refusals.saturating_add(u64::from(taken == Taken::No));
    }

    fn refused(&mut self, now: Instant) -> Next {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) > REFUSAL_WINDOW;
        self.refused_at.retain(|at| !is_old(at));
        self.refused_at.push_back(now);
        if self.stopped || self.refused_at.len() < REFUSALS_MAX {
            return Next::GoOn;
        }
        self.stopped = true;
        Next::RollBack
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Next, REFUSAL_WINDOW, REFUSALS_MAX, Rotations, State, Taken, Uses};
    use model::{AccountName, MerchantId};
    use std::time::{Duration, Instant};
    use vault::{Pick, Staged};

    fn names() -> (MerchantId, AccountName) {
        (MerchantId::parse("acme").unwrap(), AccountName::parse("stripe").unwrap())
    }

    fn staged(id: u64, percent: u8) -> Staged {
        Staged { id, since: 1, percent, validated: None, failed: None }
    }

    #[test]
    fn a_share_is_exact_over_all_draws() {
        let (rotations, (acme, stripe)) = (Rotations::default(), names());
        for percent in [0, 1, 50, 99, 100] {
            let picked = (0..1_000).filter(|draw| {
                rotations.pick(&acme, &stripe, &staged(1, percent), *draw) == Pick::Staged
            });
            assert_eq!(picked.count(), usize::from(percent) * 10);
        }
    }

    #[test]
    fn so_many_refusals_within_the_window_stop_staged_credentials() {
        let (rotations, (acme, stripe)) = (Rotations::default(), names());
        let all = staged(7, 100);
        let (refused, begin) = ((Pick::Staged, Taken::No), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let used = |what, seconds| rotations.used(&acme, &stripe, &all, what, at(seconds));
        rotations.note(&acme, &stripe, Some(&all));
        let picks = || rotations.pick(&acme, &stripe, &all, 0);
        let window = REFUSAL_WINDOW.as_secs();
        // Too slow, and then those of others do not count.
        for nth in 0..REFUSALS_MAX as u64 * 2 {
            assert_eq!(used(refused, nth * window), Next::GoOn);
            assert_eq!(used((Pick::Current, Taken::No), nth * window), Next::GoOn);
            assert_eq!(used((Pick::Staged, Taken::Yes), nth * window), Next::GoOn);
        }
        assert_eq!(picks(), Pick::Staged);
        let late = 10 * window;
        assert_eq!((used(refused, late), used(refused, late + 1)), (Next::GoOn, Next::GoOn));
        assert_eq!(used(refused, late + window), Next::RollBack);
        assert_eq!(picks(), Pick::Current);
        assert_eq!(used(refused, late + window), Next::GoOn, "it is said once");
        rotations.resume(&acme, &stripe, 6);
        assert_eq!(picks(), Pick::Current, "another staging is resumed");
        rotations.resume(&acme, &stripe, 7);
        assert_eq!(picks(), Pick::Staged);
    }

    #[test]
    fn each_staging_is_counted_by_itself() {
        let (rotations, (acme, stripe)) = (Rotations::default(), names());
        let now = Instant::now();
        let uses = |payments, refusals| Uses { payments, refusals };
        rotations.note(&acme, &stripe, Some(&staged(1, 50)));
        for what in [(Pick::Staged, Taken::No), (Pick::Staged, Taken::Yes)] {
            rotations.used(&acme, &stripe, &staged(1, 50), what, now);
        }
        rotations.used(&acme, &stripe, &staged(1, 50), (Pick::Current, Taken::Yes), now);
        let first = Counts { current: uses(1, 0), staged: uses(2, 1) };
        assert_eq!(rotations.counts(&acme, &stripe, 1), first);
        assert_eq!(rotations.counts(&acme, &stripe, 2), Counts::default());
        rotations.note(&acme, &stripe, Some(&staged(2, 50)));
        rotations.used(&acme, &stripe, &staged(2, 50), (Pick::Staged, Taken::Yes), now);
        // One that began under the first staging ends under the second.
        rotations.used(&acme, &stripe, &staged(1, 50), (Pick::Staged, Taken::No), now);
        let second = Counts { current: uses(0, 0), staged: uses(1, 0) };
        assert_eq!(rotations.counts(&acme, &stripe, 2), second);
        assert_eq!(State::ALL.map(|state| rotations.in_state(state)), [0, 0, 1, 0]);
        rotations.note(&acme, &stripe, Some(&Staged { failed: Some(1), ..staged(2, 0) }));
        assert_eq!(State::ALL.map(|state| rotations.in_state(state)), [1, 0, 0, 0]);
        assert_eq!(rotations.counts(&acme, &stripe, 2), second, "it is the same staging");
        rotations.note(&acme, &stripe, None);
        rotations.used(&acme, &stripe, &staged(2, 50), (Pick::Staged, Taken::No), now);
        assert_eq!(rotations.counts(&acme, &stripe, 2), Counts::default());
        assert_eq!(State::ALL.map(|state| rotations.in_state(state)), [0; 4]);
    }
}
