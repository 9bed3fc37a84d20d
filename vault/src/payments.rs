//! The journal of payments: what was asked of providers, before it is sent, and what became of it.
//!
//! A payment is one row, and everything that follows changes that row; whoever goes on holds the
//! payment as it stands. Beside it there may be
//!
//! * a row for each change that a provider is being asked for or has not decided, which only says of
//!   which payment, so that it is found after a crash and by its name;
//! * a row for each idempotency key of the merchant ([`replay`](self::replay));
//! * a row for each name that a provider gave to a payment, which says whose it is;
//! * rows for what providers told of their own accord ([`hear`](self::hear)).
//!
//! They are written together and need no transaction, because of one rule: **nothing is sent before
//! all rows of it are durable, so that a row that is missing proves that nothing was sent.**
//!
//! After a crash the rows that may be in doubt are found by their names, which begin with the time:
//! the journal remembers a moment before which nothing is in doubt.

mod balance;
mod hear;
mod read;
mod record;
mod recover;
mod replay;

pub use balance::{BALANCE_ROWS_MAX, Balance, Period};
pub use hear::Heard;
pub use read::{Filter, Page};
pub use replay::{Claimed, FieldTag, Fields as ReplayFields, Replay, ReplayClaim};

use crate::seal::{Claim, DekId, Deks, Place, Purpose, key_of};
use crate::store::{Collection, Entry, Store, Swap};
use crate::{StoreError, UnixMillis, Vault, VaultError};
use model::{Amount, TransactionId};
use model::{Change, ChangeKind, Evidence, MerchantId, NotAllowed, Payment, Standing};
use read::{reference_hash, reference_record};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many payments and changes may be under way or in doubt at a time.
pub const OPEN_MAX: usize = 100_000;
/// How many payments one page shows.
pub const PAGE_MAX: usize = 100;
/// How many changes of payments may be begun at the same time.
const TURNS: usize = 64;
/// How often a row is written anew that a rotation of keys changed meanwhile.
const TRIES_MAX: usize = 100;
/// A row is sealed under its own name, and which of its forms counts, the store's ledger says.
const VERSION: u64 = 1;
const WHAT: &str = "journal";

/// What is under way, and what is in doubt.
#[derive(Debug)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
    /// Whoever changes a payment that others may change has its turn.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

#[derive(Debug, Default)]
struct Inner {
    open: BTreeMap<TransactionId, Open>,
    /// The latest time that a name was given at.
    millis: UnixMillis,
    /// The idempotency keys whose requests are being answered.
    claims: HashSet<replay::Name>,
}

/// A payment or a change of one that has not ended.
#[derive(Clone, Debug)]
struct Open {
    merchant: MerchantId,
    /// The payment, if this is a change of one.
    payment: Option<TransactionId>,
    /// Somebody in this process goes on with it.
    busy: bool,
}

/// A payment or a change in doubt, whose provider is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub merchant: MerchantId,
    pub payment: TransactionId,
    /// The change that is in doubt; none: the payment itself.
    pub change: Option<TransactionId>,
}

/// A payment that is being made or changed. When it is dropped before its end, it is in doubt.
pub struct Ongoing {
    pub merchant: MerchantId,
    pub payment: Payment,
    /// The change that is being made; none: the payment itself.
    pub change: Option<TransactionId>,
    replay: Option<ReplayClaim>,
    /// The row as it is in the store.
    stored: Option<Vec<u8>>,
    held: Held,
}

/// Something open that is in somebody's hands. When it is let go of, it is in doubt if it has begun,
/// and forgotten if not.
#[derive(Debug)]
struct Held {
    id: TransactionId,
    begun: bool,
    journal: std::sync::Arc<Journal>,
}

/// Why a change was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such payment.
    #[error("there is no such payment")]
    NoPayment,
    /// The payment does not allow it.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

fn row(merchant: &MerchantId, record: &str) -> Vec<u8> {
    [merchant.as_str().as_bytes(), b"\0", record.as_bytes()].concat()
}

fn prefix(merchant: &MerchantId) -> Vec<u8> {
    row(merchant, "")
}

fn place<'a>(merchant: &'a MerchantId, record: &'a str) -> Place<'a> {
    Place { owner: merchant.as_str(), record, field: WHAT, version: VERSION }
}

/// The row, sealed anew, if one of `old` sealed it. It must open.
pub(crate) fn reseal(
    merchant: &MerchantId,
    keys: &Deks,
    claim: &Claim,
    old: &[DekId],
    (key, sealed): &Entry,
) -> Result<Option<Vec<u8>>, VaultError> {
    if !key_of(sealed).is_some_and(|id| old.contains(&id)) {
        return Ok(None);
    }
    let refused = VaultError::Sealed { what: WHAT };
    let record = key.get(prefix(merchant).len()..).and_then(|name| str::from_utf8(name).ok());
    let place = place(merchant, record.ok_or(refused)?);
    let text = keys.open(place, sealed).map_err(|_| refused)?;
    Ok(Some(claim.seal(place, &text)))
}

// === impl Journal ===

impl Default for Journal {
    fn default() -> Self {
        let turns = std::array::from_fn(|_| tokio::sync::Mutex::default());
        Self { inner: Mutex::default(), turns }
    }
}

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, id: &TransactionId) -> &tokio::sync::Mutex<()> {
        let sum = id
            .as_str()
            .bytes()
            .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let nth = sum.checked_rem(TURNS).unwrap_or_default();
        self.turns.get(nth).expect("the remainder is a place")
    }

    /// Gives a name to something that begins now, and counts it as open.
    fn begin(
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
        let random = u128::from_be_bytes(crate::random::bytes());
        let id = TransactionId::new(inner.millis, random);
        inner.open.insert(id.clone(), Open { merchant: merchant.clone(), payment, busy: true });
        Ok(Held { id, begun: false, journal: self.clone() })
    }

    /// Takes something in doubt into hand. None: it has ended, or somebody has it.
    fn take(self: &std::sync::Arc<Self>, id: &TransactionId) -> Option<Held> {
        let mut inner = self.lock();
        let open = inner.open.get_mut(id).filter(|open| !open.busy)?;
        open.busy = true;
        Some(Held { id: id.clone(), begun: true, journal: self.clone() })
    }

    fn end(&self, id: &TransactionId) {
        self.lock().open.remove(id);
    }

    fn is_open(&self, id: &TransactionId) -> bool {
        self.lock().open.contains_key(id)
    }

    /// The payments of a merchant that are under way or in doubt, the newest first.
    fn open_payments(&self, merchant: &MerchantId, max: usize) -> Vec<TransactionId> {
        let inner = self.lock();
        let of_merchant = |open: &Open| open.payment.is_none() && open.merchant == *merchant;
        let newest = inner.open.iter().rev().filter(|(_, open)| of_merchant(open));
        newest.take(max).map(|(id, _)| id.clone()).collect()
    }

    /// A moment before which nothing is open.
    fn low_water(&self, now: UnixMillis) -> UnixMillis {
        let mut inner = self.lock();
        // Names are given under the same lock, and none before this.
        inner.millis = inner.millis.max(now);
        inner.open.keys().next().map_or(inner.millis, TransactionId::millis)
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
        if !self.begun {
            inner.open.remove(&self.id);
        } else if let Some(open) = inner.open.get_mut(&self.id) {
            open.busy = false;
        }
    }
}

// === impl Vault ===

impl Vault {
    /// Begins a payment, of which all but the name is given, and is durable when this returns. What
    /// is not written is not begun.
    pub async fn begin_payment(
        &self,
        merchant: &MerchantId,
        payment: Payment,
        replay: Option<ReplayClaim>,
        name: NewName,
    ) -> Result<Ongoing, VaultError> {
        let NewName(mut held) = name;
        let (id, mut replay) = (held.id.clone(), replay);
        let payment = Payment { id: id.clone(), ..payment };
        let claim = self.claim(Some(merchant), Purpose::Payment, 2).await?;
        let stored = self.seal_record(&claim, merchant, id.as_str(), &record::write(&payment));
        let key = row(merchant, id.as_str());
        let mut swaps = vec![swap(key, None, Some(stored.clone()))];
        swaps.extend(self.claim_swap(&claim, replay.as_mut(), &id, None));
        // 80 random bits within a millisecond do not meet twice.
        let written = self.store.swap_all(swaps).await?;
        written.then_some(()).ok_or(VaultError::Store(StoreError::Corrupt))?;
        held.begun = true;
        let merchant = merchant.clone();
        Ok(Ongoing { merchant, payment, change: None, replay, stored: Some(stored), held })
    }

    /// A name for a payment that is about to begin.
    pub fn name_payment(
        &self,
        merchant: &MerchantId,
        now: UnixMillis,
    ) -> Result<NewName, VaultError> {
        self.journal.begin(merchant, None, now).map(NewName)
    }

    /// Begins a change of a payment, if the payment allows it.
    ///
    /// # Errors
    /// There is no such payment, it does not allow the change, or the vault failed. Nothing may be
    /// sent then.
    pub async fn begin_change(
        &self,
        merchant: &MerchantId,
        payment: &TransactionId,
        (kind, amount): (ChangeKind, Amount),
        replay: Option<ReplayClaim>,
        now: UnixMillis,
    ) -> Result<Ongoing, ChangeError> {
        let _one_at_a_time = self.journal.turn(payment).lock().await;
        let _keys = self.keys_of(merchant)?;
        let (mut payment, stored) =
            self.read_payment(merchant, payment)?.ok_or(ChangeError::NoPayment)?;
        self.heal(&mut payment);
        payment.allows(kind, amount)?;
        let mut held = self.journal.begin(merchant, Some(payment.id.clone()), now)?;
        let (id, standing, mut replay) = (held.id.clone(), Standing::Sending, replay);
        let evidence = Evidence::default();
        payment.changes.push(Change { id: id.clone(), kind, amount, standing, evidence });
        let stored = self.write_begun(merchant, &payment, &id, stored, replay.as_mut()).await?;
        held.begun = true;
        let (merchant, change) = (merchant.clone(), Some(id));
        Ok(Ongoing { merchant, payment, change, replay, stored: Some(stored), held })
    }

    async fn write_begun(
        &self,
        merchant: &MerchantId,
        payment: &Payment,
        change: &TransactionId,
        old: Vec<u8>,
        replay: Option<&mut ReplayClaim>,
    ) -> Result<Vec<u8>, VaultError> {
        let claim = self.claim(Some(merchant), Purpose::Payment, 3).await?;
        let id = payment.id.as_str();
        let new = self.seal_record(&claim, merchant, id, &record::write(payment));
        let pointer = self.seal_record(&claim, merchant, change.as_str(), id.as_bytes());
        let mut swaps = vec![
            swap(row(merchant, id), Some(old), Some(new.clone())),
            swap(row(merchant, change.as_str()), None, Some(pointer)),
        ];
        swaps.extend(self.claim_swap(&claim, replay, &payment.id, Some(change)));
        self.swap_together(swaps).await?;
        Ok(new)
    }

    /// Keeps how a payment stands that goes on: another attempt is about to be sent.
    pub async fn go_on(&self, ongoing: &mut Ongoing) -> Result<(), VaultError> {
        let claim = self.claim(Some(&ongoing.merchant), Purpose::Payment, 1).await?;
        self.swap_payment(&claim, ongoing).await
    }

    /// Keeps how a payment or a change of one ended, with the answer that the merchant gets. What is
    /// not certain stays open, and is found by [`Vault::doubts`].
    pub async fn settle(
        &self,
        mut ongoing: Ongoing,
        answer: Option<&Replay>,
    ) -> Result<Payment, VaultError> {
        let (merchant, id) = (ongoing.merchant.clone(), ongoing.payment.id.clone());
        let _keys = self.keys_of(&merchant)?;
        let claim = self.claim(Some(&merchant), Purpose::Payment, 3).await?;
        let (mut replay, change) = (ongoing.replay.take(), ongoing.change.clone());
        // Held until it is written: others change the payment too.
        let turn = change.as_ref().map(|_| self.journal.turn(&id));
        let _one_at_a_time = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        for _ in 0..TRIES_MAX {
            let mut swaps = vec![self.end_swap(&claim, &mut ongoing)?];
            if let (Some(replay), Some(answer)) = (replay.as_mut(), answer) {
                swaps.push(self.answer_swap(&claim, replay, &id, change.as_ref(), answer));
            }
            swaps.extend(self.pointer_swap(&ongoing)?);
            let name = ongoing.payment.reference_to_keep();
            swaps.extend(self.reference_swap(&claim, &merchant, &id, name)?);
            if self.store.swap_all(swaps).await? {
                if !ongoing.is_open() {
                    self.journal.end(&ongoing.held.id);
                }
                return Ok(ongoing.payment.clone());
            }
            self.read_anew(&mut ongoing)?;
            if let Some(replay) = replay.as_mut() {
                replay.stored = self.store.get(Collection::Payments, &replay.key())?;
            }
        }
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// Removes the row that leads from a change to its payment, when nothing more is expected of it.
    fn pointer_swap(&self, ongoing: &Ongoing) -> Result<Option<Swap>, VaultError> {
        let over = !ongoing.is_open() && ongoing.is_final();
        let Some(change) = ongoing.change.as_ref().filter(|_| over) else { return Ok(None) };
        let key = row(&ongoing.merchant, change.as_str());
        let old = self.store.get(Collection::Payments, &key)?;
        Ok(old.map(|old| swap(key, Some(old), None)))
    }

    /// Takes over what a payment has learnt that is in these hands: a rotation may have sealed it
    /// anew, and its provider may have told of it.
    fn read_anew(&self, ongoing: &mut Ongoing) -> Result<(), VaultError> {
        let Ongoing { merchant, payment, change, stored, .. } = ongoing;
        let found = self.read_payment(merchant, &payment.id)?;
        let (newest, sealed) = found.ok_or(VaultError::Store(StoreError::Corrupt))?;
        *stored = Some(sealed);
        if change.is_some() {
            return Ok(());
        }
        if newest.attempts.len() < payment.attempts.len() && newest.reference().is_some() {
            // What was given up stands, so that nobody else may be asked.
            return Err(VaultError::Store(StoreError::Unavailable));
        }
        payment.catch_up(&newest);
        Ok(())
    }

    /// The row of the payment as these hands have it.
    fn end_swap(&self, claim: &Claim, ongoing: &mut Ongoing) -> Result<Swap, VaultError> {
        let Ongoing { merchant, payment, change, stored, .. } = ongoing;
        let key = row(merchant, payment.id.as_str());
        if let Some(change) = change {
            let (newest, old) = self.with_change(merchant, payment, change)?;
            (*payment, *stored) = (newest, Some(old));
        }
        let id = payment.id.as_str();
        let new = self.seal_record(claim, merchant, id, &record::write(payment));
        Ok(swap(key, stored.replace(new.clone()), Some(new)))
    }

    /// What is in doubt and in nobody's hands, the oldest first, at most `max`.
    pub fn doubts(&self, max: usize) -> Vec<Doubt> {
        let inner = self.journal.lock();
        let open = inner.open.iter().filter(|(_, open)| !open.busy).take(max);
        open.map(|(id, open)| match &open.payment {
            None => Doubt { merchant: open.merchant.clone(), payment: id.clone(), change: None },
            Some(payment) => Doubt {
                merchant: open.merchant.clone(),
                payment: payment.clone(),
                change: Some(id.clone()),
            },
        })
        .collect()
    }

    /// Takes something in doubt into hand. None: it has ended, or somebody has it.
    pub fn take_doubt(&self, doubt: &Doubt) -> Result<Option<Ongoing>, VaultError> {
        let Doubt { merchant, payment, change } = doubt;
        let Some(held) = self.journal.take(change.as_ref().unwrap_or(payment)) else {
            return Ok(None);
        };
        let _keys = self.keys_of(merchant)?;
        let Some((payment, stored)) = self.read_payment(merchant, payment)? else {
            return Ok(None);
        };
        let (merchant, change, replay) = (merchant.clone(), change.clone(), None);
        let stored = Some(stored);
        Ok(Some(Ongoing { merchant, payment, change, replay, stored, held }))
    }

    fn seal_record(
        &self,
        claim: &Claim,
        merchant: &MerchantId,
        record: &str,
        text: &[u8],
    ) -> Vec<u8> {
        self.counts.seals.add();
        claim.seal(place(merchant, record), text)
    }

    /// Writes the payment that is in these hands.
    async fn swap_payment(&self, claim: &Claim, ongoing: &mut Ongoing) -> Result<(), VaultError> {
        for _ in 0..TRIES_MAX {
            let one = self.end_swap(claim, ongoing)?;
            if self.store.swap_all(vec![one]).await? {
                return Ok(());
            }
            self.read_anew(ongoing)?;
        }
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// Changes rows that nobody else changes, all at once, but a rotation may have sealed them anew.
    async fn swap_together(&self, swaps: Vec<Swap>) -> Result<(), VaultError> {
        let mut swaps = swaps;
        for _ in 0..TRIES_MAX {
            if self.store.swap_all(swaps.clone()).await? {
                return Ok(());
            }
            for Swap { collection, key, old, .. } in &mut swaps {
                *old = self.store.get(*collection, key)?;
            }
        }
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// The newest form of a payment with what became of one change of it, and the row that it was in.
    fn with_change(
        &self,
        merchant: &MerchantId,
        payment: &Payment,
        change: &TransactionId,
    ) -> Result<(Payment, Vec<u8>), VaultError> {
        let known = payment.change(change).cloned().ok_or_else(|| self.refused(WHAT))?;
        let found = self.read_payment(merchant, &payment.id)?;
        let (mut newest, old) = found.ok_or(VaultError::Store(StoreError::Corrupt))?;
        let place = newest.changes.iter_mut().find(|one| one.id == *change);
        let place = place.ok_or_else(|| self.refused(WHAT))?;
        place.learn(known.standing, &known.evidence);
        if payment.memo.is_some() {
            newest.memo.clone_from(&payment.memo);
        }
        Ok((newest, old))
    }

    /// Says whose payment the provider's name is, so that it is found by that.
    fn reference_swap(
        &self,
        claim: &Claim,
        merchant: &MerchantId,
        payment: &TransactionId,
        name: Option<(Box<str>, Box<str>)>,
    ) -> Result<Option<Swap>, VaultError> {
        let Some((provider, reference)) = name else { return Ok(None) };
        let keys = self.keys_of(merchant)?;
        let record = reference_record(&reference_hash(&keys.fingerprint, &provider, &reference));
        let key = row(merchant, &record);
        // Whoever was there first stays: a provider that gives one name twice cannot move it.
        if self.store.get(Collection::Payments, &key)?.is_some() {
            return Ok(None);
        }
        let sealed = self.seal_record(claim, merchant, &record, payment.as_str().as_bytes());
        Ok(Some(swap(key, None, Some(sealed))))
    }
}

fn swap(key: Vec<u8>, old: Option<Vec<u8>>, new: Option<Vec<u8>>) -> Swap {
    Swap { collection: Collection::Payments, key, old, new }
}

/// The name that a payment will have.
#[derive(Debug)]
pub struct NewName(Held);

// === impl NewName ===

impl NewName {
    /// The name.
    pub fn id(&self) -> &TransactionId {
        &self.0.id
    }
}

// === impl Ongoing ===

impl Ongoing {
    /// Whether what it is about is still in doubt.
    pub fn is_open(&self) -> bool {
        self.standing().is_some_and(Standing::is_open)
    }

    /// Whether nothing more is expected to be said of it.
    fn is_final(&self) -> bool {
        self.standing().is_none_or(Standing::is_final)
    }

    fn standing(&self) -> Option<Standing> {
        match &self.change {
            None => self.payment.last_attempt().map(|attempt| attempt.standing),
            Some(id) => self.payment.change(id).map(|change| change.standing),
        }
    }
}

impl fmt::Debug for Ongoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, change) = (&self.payment.id, &self.change);
        f.debug_struct("Ongoing").field("id", id).field("change", change).finish_non_exhaustive()
    }
}
