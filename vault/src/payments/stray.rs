//! Payments that stand at a provider and must not: their merchant was told that nothing was done.
//!
//! A provider said, or a connection showed, that a request did nothing, and later the provider tells
//! that it was done. By then the merchant may have made another payment in its place, here or elsewhere.
//! So it has to be undone, and what has to be has a row of its own, written at once with what was
//! learnt, until it is.

use super::read::pointer;
use super::{Ongoing, TRIES_MAX, WHAT, row, swap};
use crate::seal::{Claim, Purpose};
use crate::store::{Collection, PAGE_ENTRIES_MAX, Store, Swap};
use crate::{StoreError, Vault, VaultError};
use model::{MerchantId, Outcome, Payment, Report, Standing, TransactionId, Undo};

/// How many are known at a time. Those beyond are found by the next process.
const STRAYS_MAX: usize = 10_000;

/// A payment that must not stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    pub merchant: MerchantId,
    pub payment: TransactionId,
    /// The payment that it is an attempt of: itself, or the one that went on to another account.
    pub of: TransactionId,
}

/// The name of the row of a stray payment. No transaction has a `v`.
fn record_of(id: &TransactionId) -> String {
    format!("v{id}")
}

// === impl Stray ===

impl Stray {
    /// A payment that stands, and of which its merchant is told now that nothing was done.
    pub(super) fn itself(ongoing: &Ongoing) -> Option<Self> {
        let Ongoing { merchant, payment, .. } = ongoing;
        let stands = payment.last_attempt().is_some_and(|last| last.standing.is_accepted());
        let (merchant, id) = (merchant.clone(), payment.id.clone());
        stands.then(|| Self { merchant, payment: id.clone(), of: id })
    }
}

// === impl Vault ===

impl Vault {
    /// The payments that must not stand, the oldest first, at most `max`.
    pub fn strays(&self, max: usize) -> Vec<Stray> {
        self.journal.lock().strays.values().take(max).cloned().collect()
    }

    /// What is to be done about one of them now, and to which payment. None: it is gone.
    pub fn undo(&self, stray: &Stray) -> Result<Option<(Payment, Undo)>, VaultError> {
        let Stray { merchant, payment, of } = stray;
        let Some(payment) = self.payment(merchant, payment)? else { return Ok(None) };
        let made = Standing::Ended(Outcome::Approved);
        let is_double = *of != payment.id
            && self.payment(merchant, of)?.is_some_and(|of| {
                of.last_attempt().is_some_and(|last| last.standing == made)
                    && of.captured() > of.refunded()
            });
        let undo = payment.undo(is_double);
        Ok(Some((payment, undo)))
    }

    /// Notes that a payment does not stand any more, or may.
    pub async fn let_stand(&self, stray: &Stray) -> Result<(), VaultError> {
        let key = row(&stray.merchant, &record_of(&stray.payment));
        self.delete(Collection::Payments, key).await?;
        self.journal.lock().strays.remove(&stray.payment);
        Ok(())
    }

    /// Notes that a payment must not stand. Nothing, if that was noted before.
    pub(super) fn stray_swap(
        &self,
        claim: &Claim,
        stray: &Stray,
    ) -> Result<Option<Swap>, StoreError> {
        let Stray { merchant, payment, of } = stray;
        let record = record_of(payment);
        let key = row(merchant, &record);
        if self.store.get(Collection::Payments, &key)?.is_some() {
            return Ok(None);
        }
        let sealed = self.seal_record(claim, merchant, &record, of.as_str().as_bytes());
        Ok(Some(swap(key, None, Some(sealed))))
    }

    /// Keeps an attempt that was given up and stands as a payment of its own. Nothing, if it is one,
    /// or its provider gives it no name by which it could be undone.
    pub(super) async fn keep_stray(
        &self,
        merchant: &MerchantId,
        of: &Payment,
        (nth, report): (usize, &Report),
    ) -> Result<(), VaultError> {
        // It is over when it is written, and sorts behind the payment that it is an attempt of.
        let name = self.journal.begin(merchant, None, of.id.millis().saturating_add(1))?;
        let Some(payment) = of.stray(nth, name.id.clone(), report) else { return Ok(()) };
        let Some((provider, reference)) = payment.reference() else { return Ok(()) };
        let (id, of) = (payment.id.clone(), of.id.clone());
        let stray = Stray { merchant: merchant.clone(), payment: id, of };
        for _ in 0..TRIES_MAX {
            if self.payment_by_reference(merchant, &provider, &reference)?.is_some() {
                return Ok(self.store.durable().await?);
            }
            let claim = self.claim(Some(merchant), Purpose::Payment, 3).await?;
            let (_, mut swaps) = self.new_swaps(&claim, merchant, &payment)?;
            swaps.extend(self.stray_swap(&claim, &stray)?);
            if self.store.swap_all(swaps).await? {
                self.journal.keep_strays([stray]);
                return Ok(());
            }
        }
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// Finds what must be undone.
    pub(super) fn find_strays_of(&self, merchant: &MerchantId) -> Result<(), VaultError> {
        let mut after = row(merchant, "v");
        loop {
            let prefix = row(merchant, "v");
            let collection = Collection::Payments;
            let rows = self.store.page(collection, Some(&after), &prefix, PAGE_ENTRIES_MAX)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after.clone_from(last);
            for (key, sealed) in &rows {
                let stray = self.read_stray(merchant, key, sealed)?;
                self.journal.keep_strays([stray.ok_or_else(|| self.refused(WHAT))?]);
            }
        }
    }

    fn read_stray(
        &self,
        merchant: &MerchantId,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Stray>, VaultError> {
        let name = key.get(super::prefix(merchant).len()..);
        let Some(record) = name.and_then(|name| str::from_utf8(name).ok()) else { return Ok(None) };
        let payment = record.strip_prefix('v').and_then(|name| TransactionId::parse(name).ok());
        let of = pointer(&self.open_record(merchant, record, sealed)?);
        let merchant = merchant.clone();
        Ok(payment.zip(of).map(|(payment, of)| Stray { merchant, payment, of }))
    }
}

// === impl Journal ===

impl super::Journal {
    /// How many payments must not stand.
    pub(crate) fn strays(&self) -> u64 {
        u64::try_from(self.lock().strays.len()).unwrap_or_default()
    }

    /// Remembers what has its row.
    pub(super) fn keep_strays(&self, found: impl IntoIterator<Item = Stray>) {
        let strays = &mut self.lock().strays;
        for stray in found {
            if strays.len() < STRAYS_MAX {
                strays.insert(stray.payment.clone(), stray);
            }
        }
    }
}
