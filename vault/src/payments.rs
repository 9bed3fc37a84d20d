//! The journal of payments: what was asked of providers, before it is sent, and what became of it.
//!
//! A payment is one row, and everything that follows changes that row; whoever goes on holds the
//! payment as it stands. Beside it there may be
//!
//! * a row for each change that a provider is being asked for or has not decided, which only says of
//!   which payment, so that it is found after a crash and by its name;
//! * a row for each idempotency key of the merchant ([`replay`](self::replay));
//! * a row for each name that a provider gave to a payment, which says whose it is;
//! * rows for what providers told of their own accord ([`hear`](self::hear));
//! * a row for each payment that must not stand ([`stray`](self::stray));
//! * a row for what has been in doubt for long ([`recover`](self::recover)).
//!
//! Those of a step are written at once, all or none. One rule is above that: **nothing is sent before
//! all rows of it are durable, so that what is not in the journal was not sent.**
//!
//! After a crash the rows that may be in doubt are found by their names, which begin with the time:
//! the journal remembers a moment before which nothing is in doubt.

mod balance;
mod course;
mod hear;
mod open;
mod read;
mod record;
mod recover;
mod replay;
mod stray;
mod write;

#[cfg(test)]
mod behind;
#[cfg(test)]
pub(crate) mod simulation;

pub use balance::{BALANCE_ROWS_MAX, Balance, Period};
pub use course::{Course, Told};
pub use hear::Heard;
pub(crate) use open::Journal;
use open::{Begun, Held};
pub use open::{Doubt, OPEN_MAX};
pub use read::{Filter, Page};
pub use replay::{Claimed, FieldTag, Fields as ReplayFields, Replay, ReplayClaim};
pub use stray::Stray;

use crate::seal::{Claim, DekId, Deks, Place, Purpose, key_of};
use crate::store::{Collection, Entry, Store};
use crate::{StoreError, UnixMillis, Vault, VaultError};
use model::{AccountName, Amount, Change, ChangeKind, Evidence, MerchantId};
use model::{NotAllowed, Payment, Report, Standing, TransactionId};
pub(crate) use recover::LOW_WATER_ROW;
use std::fmt;
use std::ops::Bound;
use write::swap;

/// How many payments one page shows.
pub const PAGE_MAX: usize = 100;
/// How often a row is written anew that a rotation of keys changed meanwhile.
const TRIES_MAX: usize = 100;
/// A row is sealed under its own name, and which of its forms counts, the store's ledger says.
const VERSION: u64 = 1;
const WHAT: &str = "journal";

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
        let mut replay = replay;
        let payment = Payment { id: held.id.clone(), ..payment };
        if let Some(reference) = payment.merchant_reference.as_deref() {
            let hash = self.journal.hash_reference(merchant, reference);
            self.journal.note_reference(&held.id, hash);
        }
        // Whoever goes away from here on leaves a row, or none.
        held.begun = Begun::Perhaps;
        let written = self.write_new(merchant, &payment, replay.as_mut()).await;
        held.begun = match &written {
            Ok(Some(_)) => Begun::Yes,
            Err(VaultError::Store(StoreError::Unavailable)) => Begun::Perhaps,
            Ok(None) | Err(_) => Begun::No,
        };
        // 80 random bits within a millisecond do not meet twice.
        let stored = Some(written?.ok_or(VaultError::Store(StoreError::Corrupt))?);
        let merchant = merchant.clone();
        Ok(Ongoing { merchant, payment, change: None, replay, stored, held })
    }

    /// Writes a payment that is new to the journal. None: there is another of the name that its
    /// provider gives it.
    async fn write_new(
        &self,
        merchant: &MerchantId,
        payment: &Payment,
        replay: Option<&mut ReplayClaim>,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let claim = self.claim(Some(merchant), Purpose::Payment, 2).await?;
        let (new, mut swaps) = self.new_swaps(&claim, merchant, payment)?;
        swaps.extend(self.claim_swap(&claim, replay, &payment.id, None));
        Ok(self.store.swap_all(swaps).await?.then_some(new))
    }

    /// Takes a payment that was made elsewhere into the journal, as `draft` has it, or finds it there:
    /// of many at once one does. All but the name is given, and the last attempt bears the
    /// provider and its name for the payment.
    pub async fn adopt_payment(
        &self,
        merchant: &MerchantId,
        draft: Payment,
        now: UnixMillis,
    ) -> Result<Payment, VaultError> {
        let (provider, reference) = draft.reference().ok_or_else(|| self.refused(WHAT))?;
        // It is over when it is written: nothing of it is left in doubt.
        let name = self.journal.begin(merchant, None, now)?;
        let adopted = Payment { id: name.id.clone(), ..draft };
        for _ in 0..TRIES_MAX {
            if let Some(id) = self.payment_by_reference(merchant, &provider, &reference)?
                && let Some(payment) = self.payment(merchant, &id)?
            {
                return Ok(payment);
            }
            if self.write_new(merchant, &adopted, None).await?.is_some() {
                return Ok(adopted);
            }
        }
        Err(VaultError::Store(StoreError::Unavailable))
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
        wanted: impl Into<NewChange>,
        replay: Option<ReplayClaim>,
        now: UnixMillis,
    ) -> Result<Ongoing, ChangeError> {
        let _one_at_a_time = self.journal.turn(payment).lock().await;
        let _keys = self.keys_of(merchant)?;
        let mut held = self.journal.begin(merchant, Some(payment.clone()), now)?;
        let (new, mut replay) = (wanted.into().begun(held.id.clone()), replay);
        // Whoever ends the payment has no turn here, and may write between the reading and this.
        for _ in 0..TRIES_MAX {
            let (payment, old) = self.read_with(merchant, payment, &new)?;
            let written = self.write_begun(merchant, &payment, old, replay.as_mut()).await?;
            if let Some(stored) = written {
                held.begun = Begun::Yes;
                let (merchant, change, stored) = (merchant.clone(), Some(new.id), Some(stored));
                return Ok(Ongoing { merchant, payment, change, replay, stored, held });
            }
            self.read_claim_anew(replay.as_mut()).map_err(VaultError::Store)?;
        }
        Err(VaultError::Store(StoreError::Unavailable).into())
    }

    /// The newest form of a payment with a new change of it, which it must allow, and the row that it
    /// was in.
    fn read_with(
        &self,
        merchant: &MerchantId,
        payment: &TransactionId,
        new: &Change,
    ) -> Result<(Payment, Vec<u8>), ChangeError> {
        let found = self.read_payment(merchant, payment)?;
        let (mut payment, stored) = found.ok_or(ChangeError::NoPayment)?;
        self.heal(&mut payment);
        payment.allows(new.kind, new.amount)?;
        payment.changes.push(new.clone());
        Ok((payment, stored))
    }

    /// Writes the last change of a payment as begun. None: a row was changed meanwhile.
    async fn write_begun(
        &self,
        merchant: &MerchantId,
        payment: &Payment,
        old: Vec<u8>,
        replay: Option<&mut ReplayClaim>,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let change = payment.changes.last().ok_or_else(|| self.refused(WHAT))?;
        let claim = self.claim(Some(merchant), Purpose::Payment, 3).await?;
        let id = payment.id.as_str();
        let new = self.seal_record(&claim, merchant, id, &record::write(payment));
        let pointer = self.seal_record(&claim, merchant, change.id.as_str(), id.as_bytes());
        let mut swaps = vec![
            swap(row(merchant, id), Some(old), Some(new.clone())),
            swap(row(merchant, change.id.as_str()), None, Some(pointer)),
        ];
        swaps.extend(self.claim_swap(&claim, replay, &payment.id, Some(&change.id)));
        Ok(self.store.swap_all(swaps).await?.then_some(new))
    }

    /// Keeps how a payment stands that goes on: another attempt is about to be sent.
    pub async fn go_on(&self, ongoing: &mut Ongoing) -> Result<(), VaultError> {
        // Whoever calls this has looked; it is money, so it is looked at twice.
        if !ongoing.payment.goes_on_from_nothing() {
            return Err(VaultError::NotNothing);
        }
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
        let claim = self.claim(Some(&merchant), Purpose::Payment, 4).await?;
        let (mut replay, change) = (ongoing.replay.take(), ongoing.change.clone());
        let nothing = change.is_none() && ongoing.standing().is_some_and(Standing::is_nothing);
        let told_nothing = answer.is_some() && nothing;
        // Held until it is written: others change the payment too.
        let turn = change.as_ref().map(|_| self.journal.turn(&id));
        let _one_at_a_time = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        for attempt in 0..TRIES_MAX {
            let mut swaps = vec![self.end_swap(&claim, &mut ongoing)?];
            if let (Some(replay), Some(answer)) = (replay.as_mut(), answer) {
                swaps.push(self.answer_swap(&claim, replay, &id, change.as_ref(), answer));
            }
            swaps.extend(self.pointer_swap(&merchant, &ongoing.payment, change.as_ref())?);
            let name = ongoing.payment.reference().filter(|_| change.is_none());
            swaps.extend(match attempt {
                // As a rule a payment that ends is named for the first time.
                0 => self.new_reference_swap(&claim, &merchant, &id, name)?,
                _ => self.reference_swap(&claim, &merchant, &id, name)?,
            });
            let stray = told_nothing.then(|| Stray::itself(&ongoing)).flatten();
            if let Some(stray) = &stray {
                swaps.extend(self.stray_swap(&claim, stray)?);
            }
            if self.store.swap_all(swaps).await? {
                self.journal.keep_strays(stray);
                if !ongoing.is_open() {
                    self.end_open(&merchant, &ongoing.held.id).await?;
                }
                return Ok(ongoing.payment);
            }
            self.read_anew(&mut ongoing)?;
            self.read_claim_anew(replay.as_mut())?;
        }
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// Takes off the list what has ended, with the row that it had if it was set aside.
    async fn end_open(&self, merchant: &MerchantId, id: &TransactionId) -> Result<(), VaultError> {
        if self.journal.end(id).is_some_and(|open| open.set_aside) {
            let aside = row(merchant, &recover::aside_record(id));
            self.delete(Collection::Payments, aside).await?;
        }
        Ok(())
    }

    /// What is in doubt and in nobody's hands, the oldest first, at most `max`.
    pub fn doubts(&self, max: usize) -> Vec<Doubt> {
        self.doubts_after(None, max)
    }

    /// As [`Self::doubts`], of those that come after one.
    pub fn doubts_after(&self, after: Option<&TransactionId>, max: usize) -> Vec<Doubt> {
        let inner = self.journal.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let open = inner.open.range((from, Bound::Unbounded));
        let doubts = open.filter(|(_, open)| open.is_doubt()).take(max);
        doubts.map(|(id, open)| open.doubt(id)).collect()
    }

    /// All that has not ended, the oldest first, at most `max`, and whether somebody has it in hand.
    pub fn undecided(&self, max: usize) -> Vec<(Doubt, bool)> {
        let inner = self.journal.lock();
        let open = inner.open.iter().filter(|(_, open)| !open.unseen).take(max);
        open.map(|(id, open)| (open.doubt(id), open.busy)).collect()
    }

    /// Takes something in doubt into hand. None: it has ended, or somebody has it.
    pub fn take_doubt(&self, doubt: &Doubt) -> Result<Option<Ongoing>, VaultError> {
        let Doubt { merchant, payment, change } = doubt;
        let Some(held) = self.journal.take(doubt.id()) else {
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
}

/// The name that a payment will have.
#[derive(Debug)]
pub struct NewName(Held);

/// A change that is about to be asked for. What these are is said at [`Change`].
#[derive(Clone, Debug)]
pub struct NewChange {
    pub kind: ChangeKind,
    pub amount: Amount,
    pub account: Option<AccountName>,
    pub merchant_reference: Option<Box<str>>,
}

// === impl NewChange ===

impl NewChange {
    fn begun(self, id: TransactionId) -> Change {
        let Self { kind, amount, account, merchant_reference } = self;
        let (standing, evidence) = (Standing::Sending, Evidence::default());
        Change { id, kind, amount, account, merchant_reference, standing, evidence }
    }
}

impl From<(ChangeKind, Amount)> for NewChange {
    /// One that the merchant gave no name, through an account that it sent along.
    fn from((kind, amount): (ChangeKind, Amount)) -> Self {
        Self { kind, amount, account: None, merchant_reference: None }
    }
}

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

    /// Notes how what it is about ended, and what its provider said; [`Vault::settle`] keeps it.
    pub fn note(&mut self, standing: Standing, report: Option<&Report>) {
        self.payment.note(self.change.as_ref(), standing, report);
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
