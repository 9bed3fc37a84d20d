//! What is under way and what is in doubt, in memory.
//!
//! It is what the rows say, so that nobody has to look through them. Whoever makes or changes a payment
//! holds its place here, and lets go of it by dropping that.

use super::{Stray, replay};
use crate::{UnixMillis, Vault, VaultError};
use model::{MerchantId, TransactionId};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many payments and changes may be under way or in doubt at a time.
pub const OPEN_MAX: usize = 100_000;
/// How many changes of payments may be begun at the same time.
const TURNS: usize = 64;
/// What is under way, and what is in doubt.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(super) inner: Mutex<Inner>,
    /// Whoever changes a payment that others may change has its turn.
    pub(super) turns: [tokio::sync::Mutex<()>; TURNS],
    /// The part of a name that is chance.
    pub(super) chance: fn() -> [u8; 16],
    /// Makes a [`ReferenceHash`]. Another process makes others.
    pub(super) hasher: RandomState,
}

/// A hash of a merchant and its reference to a payment.
pub(super) type ReferenceHash = u64;

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) open: BTreeMap<TransactionId, Open>,
    /// The payments of those to which their merchant gave a reference.
    by_reference: BTreeSet<(ReferenceHash, TransactionId)>,
    /// The latest time that a name was given at.
    pub(super) millis: UnixMillis,
    /// The idempotency keys whose requests are being answered.
    pub(super) claims: HashSet<replay::Name>,
    pub(super) strays: BTreeMap<TransactionId, Stray>,
}

/// A payment or a change of one that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) merchant: MerchantId,
    /// The payment, if this is a change of one.
    pub(super) payment: Option<TransactionId>,
    /// Somebody in this process goes on with it.
    pub(super) busy: bool,
    /// It has a row of its own, by which it is found after a crash.
    pub(super) set_aside: bool,
    /// Whether its row was written is not known. It counts as in doubt once the row was seen.
    pub(super) unseen: bool,
    /// By what a provider may ask for it that knows it by its merchant's reference only.
    pub(super) reference: Option<ReferenceHash>,
}

/// A payment or a change in doubt, whose provider is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub merchant: MerchantId,
    pub payment: TransactionId,
    /// The change that is in doubt; none: the payment itself.
    pub change: Option<TransactionId>,
}

/// Something open that is in somebody's hands. When it is let go of, it is in doubt if it has begun,
/// and forgotten if not.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: TransactionId,
    pub(super) begun: Begun,
    pub(super) journal: std::sync::Arc<Journal>,
}

/// Whether there is a row of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    No,
    /// It was being written, and nobody knows how that ended.
    Perhaps,
    Yes,
}

// === impl Journal ===

impl Default for Journal {
    fn default() -> Self {
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::default());
        let (chance, hasher) = (crate::random::unique_bytes as fn() -> _, RandomState::new());
        Self { inner: Mutex::default(), turns, chance, hasher }
    }
}

impl Journal {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn turn(&self, id: &TransactionId) -> &tokio::sync::Mutex<()> {
        let sum = id
            .as_str()
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let nth = sum.checked_rem(TURNS).unwrap_or_default();
        self.turns.get(nth).expect("the remainder is a place")
    }

    /// Gives a name to something that begins now, and counts it as open.
    pub(super) fn begin(
        self: &std::sync::Arc<Self>,
        merchant: &MerchantId,
        payment: Option<TransactionId>,
        now: UnixMillis,
    ) -> Result<Held, VaultError> {
        let mut inner = self.lock();
        if inner.open.len() >= OPEN_MAX {
            return Err(VaultError::TooMany { what: "payments under way", max: OPEN_MAX });
        }
        // A clock that was put back does not put names where nobody would look for them.
        inner.millis = inner.millis.max(now);
        let random = u128::from_be_bytes((self.chance)());
        let id = TransactionId::new(inner.millis, random);
        let merchant = merchant.clone();
        let open = Open { busy: true, ..Open::new(merchant, payment) };
        inner.insert(id.clone(), open);
        Ok(Held { id, begun: Begun::No, journal: self.clone() })
    }

    /// Takes something in doubt into hand. None: it has ended, or somebody has it.
    pub(super) fn take(self: &std::sync::Arc<Self>, id: &TransactionId) -> Option<Held> {
        let mut inner = self.lock();
        let open = inner.open.get_mut(id).filter(|open| open.is_doubt())?;
        open.busy = true;
        Some(Held { id: id.clone(), begun: Begun::Yes, journal: self.clone() })
    }

    pub(super) fn end(&self, id: &TransactionId) -> Option<Open> {
        self.lock().remove(id)
    }

    pub(super) fn is_open(&self, id: &TransactionId) -> bool {
        self.lock().open.contains_key(id)
    }

    /// The latest time that a name was given at: none that is open has a later one.
    pub(crate) fn latest(&self) -> UnixMillis {
        self.lock().millis
    }

    /// What a payment is found by to which its merchant gave this reference.
    pub(super) fn hash_reference(&self, merchant: &MerchantId, reference: &str) -> ReferenceHash {
        self.hasher.hash_one((merchant.as_str(), reference))
    }

    /// Has a payment found by its merchant's reference, as long as it is open. It had none before.
    pub(super) fn note_reference(&self, id: &TransactionId, hash: ReferenceHash) {
        let mut inner = self.lock();
        let Some(open) = inner.open.get_mut(id) else { return };
        open.reference = Some(hash);
        inner.by_reference.insert((hash, id.clone()));
    }

    /// The payments under way or in doubt to which their merchant may have given this reference, the
    /// oldest first. As hashes are compared, another may be among them.
    pub(super) fn open_by_reference(&self, hash: ReferenceHash, max: usize) -> Vec<TransactionId> {
        let inner = self.lock();
        let from = inner.by_reference.range((hash, TransactionId::new(0, 0))..);
        let same = from.take_while(|(other, _)| *other == hash).take(max);
        same.map(|(_, id)| id.clone()).collect()
    }

    /// A moment before which nothing is open but what was set aside.
    pub(super) fn low_water(&self, now: UnixMillis) -> UnixMillis {
        let mut inner = self.lock();
        // Names are given under the same lock, and none before this.
        inner.millis = inner.millis.max(now);
        let first = inner.open.iter().find(|(_, open)| !open.set_aside).map(|(id, _)| id.millis());
        first.unwrap_or(inner.millis)
    }

    /// How many are under way, and how many in doubt.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let inner = self.lock();
        let busy = inner.open.values().filter(|open| open.busy).count();
        let doubt = inner.open.len().saturating_sub(busy);
        (u64::try_from(busy).unwrap_or_default(), u64::try_from(doubt).unwrap_or_default())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inner = self.journal.lock();
        if self.begun == Begun::No {
            inner.remove(&self.id);
        } else if let Some(open) = inner.open.get_mut(&self.id) {
            open.busy = false;
            open.unseen = self.begun == Begun::Perhaps;
        }
    }
}

// === impl Inner ===

impl Inner {
    pub(super) fn insert(&mut self, id: TransactionId, open: Open) {
        self.by_reference.extend(open.reference.map(|hash| (hash, id.clone())));
        self.open.insert(id, open);
    }

    pub(super) fn remove(&mut self, id: &TransactionId) -> Option<Open> {
        let open = self.open.remove(id)?;
        if let Some(hash) = open.reference {
            self.by_reference.remove(&(hash, id.clone()));
        }
        Some(open)
    }
}

// === impl Vault ===

impl Vault {
    /// What time it is at least: what the clock says, or when the latest name was given, if the clock was
    /// put back since. It also holds for the next process, but for the last hour of what is in doubt.
    pub fn moment(&self, clock: UnixMillis) -> UnixMillis {
        self.journal.latest().max(clock)
    }
}

// === impl Open ===

impl Open {
    /// Something that was begun by somebody who has gone.
    pub(super) fn new(merchant: MerchantId, payment: Option<TransactionId>) -> Self {
        Self { merchant, payment, busy: false, set_aside: false, unseen: false, reference: None }
    }

    /// Whether it is in doubt, and in nobody's hands.
    pub(super) fn is_doubt(&self) -> bool {
        !self.busy && !self.unseen
    }

    pub(super) fn doubt(&self, id: &TransactionId) -> Doubt {
        let merchant = self.merchant.clone();
        match &self.payment {
            None => Doubt { merchant, payment: id.clone(), change: None },
            Some(payment) => Doubt { merchant, payment: payment.clone(), change: Some(id.clone()) },
        }
    }
}

// === impl Doubt ===

impl Doubt {
    /// The name of what is in doubt: of the change, or of the payment.
    pub fn id(&self) -> &TransactionId {
        self.change.as_ref().unwrap_or(&self.payment)
    }
}

#[cfg(test)]
mod tests {
    use super::{Journal, OPEN_MAX};
    use crate::VaultError;
    use model::MerchantId;
    use std::sync::Arc;

    #[test]
    fn so_many_are_under_way_and_no_more() {
        let (journal, merchant) = (Arc::<Journal>::default(), MerchantId::parse("acme").unwrap());
        let mut held: Vec<_> =
            (0..OPEN_MAX).map(|_| journal.begin(&merchant, None, 0).unwrap()).collect();
        let refused = journal.begin(&merchant, None, 0);
        assert!(matches!(refused, Err(VaultError::TooMany { max: OPEN_MAX, .. })));
        // Who has gone leaves a place.
        held.pop();
        assert!(journal.begin(&merchant, None, 0).is_ok());
    }
}
