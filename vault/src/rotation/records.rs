//! The records of a key: sealing them anew, and counting those that are not yet.

use super::job::Job;
use crate::seal::{Claim, DekId, Purpose};
use crate::store::{Collection, Entry, Store, wait};
use crate::{StoreError, Vault, VaultError};
use model::MerchantId;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Where the records of an owner for a purpose are.
pub(super) struct Records {
    pub(super) collection: Collection,
    pub(super) prefix: Vec<u8>,
}

pub(super) fn records_of(owner: &str, purpose: Purpose) -> Option<Records> {
    let of_merchant = || [owner.as_bytes(), b"\0"].concat();
    let (collection, prefix) = match purpose {
        Purpose::ApiKey => (Collection::ApiKeys, Vec::new()),
        Purpose::Card => (Collection::Tokens, of_merchant()),
        Purpose::Credential => (Collection::Accounts, of_merchant()),
        Purpose::Payment => (Collection::Payments, of_merchant()),
        Purpose::Audit
        | Purpose::Custodian
        | Purpose::Fingerprint
        | Purpose::Integrity
        | Purpose::Kek
        | Purpose::KeyTable
        | Purpose::TokenCheck => return None,
    };
    Some(Records { collection, prefix })
}

/// Waits for all of them at once, so that they share their commits.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match Pin::new(future).poll(cx) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

// === impl Vault ===

impl Vault {
    /// Seals records of a page again, and says how many, and how many did not open.
    pub(super) fn reseal_page(
        &self,
        job: &Job,
        collection: Collection,
        old: &[DekId],
        page: Vec<Entry>,
    ) -> Result<(u64, u64), VaultError> {
        let (owner, purpose) = &job.at;
        let merchant = Self::merchant_of(owner);
        let seals = u64::try_from(page.len().saturating_mul(2)).unwrap_or(u64::MAX);
        // Held until the page is durable, as every claim.
        let claim = wait(self.claim(merchant.as_ref(), *purpose, seals))?;
        let (mut swaps, mut refused) = (Vec::new(), 0_u64);
        for entry in page {
            match self.resealed(merchant.as_ref(), *purpose, &claim, old, &entry) {
                Ok(Some(new)) => {
                    let (key, value) = entry;
                    let swap = self.store.compare_and_swap(collection, key, Some(value), Some(new));
                    swaps.push(swap);
                }
                Ok(None) => {}
                Err(VaultError::Sealed { what }) => {
                    log::error!(
                        "a record of the {what} of {owner} does not open; it is left alone"
                    );
                    refused = refused.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
        // One that was changed meanwhile is under the new key, or is found by the second look.
        let swapped = wait(all(swaps)).into_iter().collect::<Result<Vec<bool>, StoreError>>()?;
        let done = swapped.iter().filter(|done| **done).count();
        drop(claim);
        Ok((u64::try_from(done).unwrap_or(u64::MAX), refused))
    }

    fn resealed(
        &self,
        merchant: Option<&MerchantId>,
        purpose: Purpose,
        claim: &Claim,
        old: &[DekId],
        entry: &Entry,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        match (purpose, merchant) {
            (Purpose::ApiKey, _) => crate::api_keys::reseal(&self.keyring, claim, old, entry),
            (Purpose::Card, Some(merchant)) => {
                let keys = self.keys_of(merchant)?;
                crate::tokens::reseal(merchant, &keys.card, claim, old, entry)
            }
            (Purpose::Credential, Some(merchant)) => {
                let keys = self.keys_of(merchant)?;
                crate::accounts::reseal(merchant, &keys.credential, claim, old, entry)
            }
            (Purpose::Payment, Some(merchant)) => {
                let keys = self.keys_of(merchant)?;
                crate::payments::reseal(merchant, &keys.payment, claim, old, entry)
            }
            (
                Purpose::Card
                | Purpose::Credential
                | Purpose::Audit
                | Purpose::Custodian
                | Purpose::Fingerprint
                | Purpose::Integrity
                | Purpose::Kek
                | Purpose::KeyTable
                | Purpose::Payment
                | Purpose::TokenCheck,
                _,
            ) => Ok(None),
        }
    }

    /// How many records of a page name one of these keys, or do not open.
    pub(super) fn count_old(
        &self,
        job: &Job,
        old: &[DekId],
        page: &[Entry],
    ) -> Result<u64, VaultError> {
        let (owner, purpose) = &job.at;
        let merchant = Self::merchant_of(owner);
        let claim = wait(self.claim(merchant.as_ref(), *purpose, 0))?;
        let mut left = 0_u64;
        for entry in page {
            // What would be sealed again names an old key. What does not open may.
            match self.resealed(merchant.as_ref(), *purpose, &claim, old, entry) {
                Ok(None) => {}
                Ok(Some(_)) | Err(VaultError::Sealed { .. }) => left = left.saturating_add(1),
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }
}
