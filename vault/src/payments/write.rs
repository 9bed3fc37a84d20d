//! Writing the rows of a payment: all that belong together at once.

use super::read::{reference_hash, reference_record};
use super::{Ongoing, ReplayClaim, TRIES_MAX, WHAT, place, record, row};
use crate::seal::Claim;
use crate::store::{Collection, Store, Swap};
use crate::{StoreError, Vault, VaultError};
use model::{MerchantId, Payment, TransactionId};

pub(super) fn swap(key: Vec<u8>, old: Option<Vec<u8>>, new: Option<Vec<u8>>) -> Swap {
    Swap { collection: Collection::Payments, key, old, new }
}

// === impl Vault ===

impl Vault {
    /// The rows of a payment that is new to the journal, the first of which is the payment.
    pub(super) fn new_swaps(
        &self,
        claim: &Claim,
        merchant: &MerchantId,
        payment: &Payment,
    ) -> Result<(Vec<u8>, Vec<Swap>), VaultError> {
        let id = &payment.id;
        let new = self.seal_record(claim, merchant, id.as_str(), &record::write(payment));
        let mut swaps = vec![swap(row(merchant, id.as_str()), None, Some(new.clone()))];
        swaps.extend(self.new_reference_swap(claim, merchant, id, payment.reference())?);
        Ok((new, swaps))
    }

    /// Removes the row that leads from a change to its payment, when nothing more is expected of it.
    pub(super) fn pointer_swap(
        &self,
        merchant: &MerchantId,
        payment: &Payment,
        change: Option<&TransactionId>,
    ) -> Result<Option<Swap>, VaultError> {
        let over = change.and_then(|id| payment.change(id));
        let Some(over) = over.filter(|change| change.standing.is_final()) else { return Ok(None) };
        let key = row(merchant, over.id.as_str());
        let old = self.store.get(Collection::Payments, &key)?;
        Ok(old.map(|old| swap(key, Some(old), None)))
    }

    /// Takes over what a payment has learnt that is in these hands: a rotation may have sealed it
    /// anew, and its provider may have told of it.
    pub(super) fn read_anew(&self, ongoing: &mut Ongoing) -> Result<(), VaultError> {
        let Ongoing { merchant, payment, change, stored, .. } = ongoing;
        let found = self.read_payment(merchant, &payment.id)?;
        let (newest, sealed) = found.ok_or(VaultError::Store(StoreError::Corrupt))?;
        *stored = Some(sealed);
        if change.is_some() {
            return Ok(());
        }
        let stands = newest.last_attempt().is_some_and(|last| last.standing.is_accepted());
        if newest.attempts.len() < payment.attempts.len() && stands {
            // What was given up stands, so that nobody else may be asked.
            return Err(VaultError::Store(StoreError::Unavailable));
        }
        payment.catch_up(&newest);
        Ok(())
    }

    /// Takes over how a rotation sealed the row of a key anew, which nobody else changes.
    pub(super) fn read_claim_anew(
        &self,
        replay: Option<&mut ReplayClaim>,
    ) -> Result<(), StoreError> {
        let Some(replay) = replay else { return Ok(()) };
        replay.stored = self.store.get(Collection::Payments, &replay.key())?;
        Ok(())
    }

    /// The row of the payment as these hands have it.
    pub(super) fn end_swap(
        &self,
        claim: &Claim,
        ongoing: &mut Ongoing,
    ) -> Result<Swap, VaultError> {
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

    pub(super) fn seal_record(
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
    pub(super) async fn swap_payment(
        &self,
        claim: &Claim,
        ongoing: &mut Ongoing,
    ) -> Result<(), VaultError> {
        for _ in 0..TRIES_MAX {
            let one = self.end_swap(claim, ongoing)?;
            if self.store.swap_all(vec![one]).await? {
                return Ok(());
            }
            self.read_anew(ongoing)?;
        }
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// The newest form of a payment with what became of one change of it, and the row that it was in.
    pub(super) fn with_change(
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

    /// Says whose payment the provider's name is, so that it is found by that. Nothing, if somebody
    /// has said so before: a provider that gives one name twice cannot move it.
    pub(super) fn reference_swap(
        &self,
        claim: &Claim,
        merchant: &MerchantId,
        payment: &TransactionId,
        name: Option<(Box<str>, Box<str>)>,
    ) -> Result<Option<Swap>, VaultError> {
        let swap = self.new_reference_swap(claim, merchant, payment, name)?;
        match swap {
            Some(Swap { ref key, .. }) if self.store.get(Collection::Payments, key)?.is_some() => {
                Ok(None)
            }
            swap => Ok(swap),
        }
    }

    /// As [`Self::reference_swap`], but that nobody has said so is not looked at: it is the condition
    /// of the swap.
    pub(super) fn new_reference_swap(
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
        let sealed = self.seal_record(claim, merchant, &record, payment.as_str().as_bytes());
        Ok(Some(swap(key, None, Some(sealed))))
    }
}
