//! What a process finds of payments that another one left.

use super::read::pointer;
use super::{Open, WHAT, record, row};
use crate::seal::Purpose;
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, Write, wait};
use crate::{OpenError, StoreError, UnixMillis, Vault, VaultError};
use model::{MerchantId, Payment, TransactionId};

/// The row of [`Collection::Meta`] with the moment before which nothing is in doubt.
const LOW_WATER_ROW: &[u8] = b"journal";

/// What a page of rows brought.
type Found = Vec<(TransactionId, Open)>;

// === impl Vault ===

impl Vault {
    /// Finds what may be in doubt. Changes that ended lose their rows.
    pub(crate) fn find_open_payments(&self) -> Result<(), OpenError> {
        let from = self.low_water()?;
        let failed = |error| {
            let damaged = OpenError::Damaged { what: WHAT };
            if let VaultError::Store(error) = error { OpenError::Read(error) } else { damaged }
        };
        let merchants = self.merchants().map_err(failed)?;
        self.journal.lock().millis = from;
        for merchant in merchants {
            match self.keys_of(&merchant.id) {
                Err(VaultError::Shredded) => {}
                Err(error) => return Err(failed(error)),
                Ok(_keys) => self.find_open_of(&merchant.id, from).map_err(failed)?,
            }
        }
        Ok(())
    }

    fn find_open_of(&self, merchant: &MerchantId, from: UnixMillis) -> Result<(), VaultError> {
        let mut after = row(merchant, TransactionId::new(from, 0).as_str());
        // The name before the first that may be there.
        after.pop();
        loop {
            let rows = self.store.page(
                Collection::Payments,
                Some(&after),
                &super::prefix(merchant),
                PAGE_ENTRIES_MAX,
            )?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after.clone_from(last);
            for entry in &rows {
                let Some(id) = self.id_of(merchant, &entry.0) else { return Ok(()) };
                let found = self.open_of_row(merchant, id, entry)?;
                let mut inner = self.journal.lock();
                inner.millis = found.iter().map(|(id, _)| id.millis()).fold(inner.millis, u64::max);
                inner.open.extend(found);
            }
        }
    }

    /// What is in doubt of what a row is about.
    fn open_of_row(
        &self,
        merchant: &MerchantId,
        id: TransactionId,
        (key, sealed): &Entry,
    ) -> Result<Found, VaultError> {
        let text = self.open_record(merchant, id.as_str(), sealed)?;
        let merchant = merchant.clone();
        let Some(of) = pointer(&text) else {
            let payment = record::read(id.clone(), &text).ok_or_else(|| self.refused(WHAT))?;
            self.mend_reference(&merchant, &payment)?;
            let last = payment.last_attempt().map(|attempt| attempt.standing);
            let open = last.is_some_and(model::Standing::is_open);
            let found = open.then_some((id, Open { merchant, payment: None, busy: false }));
            return Ok(found.into_iter().collect());
        };
        let payment = self.read_payment(&merchant, &of)?;
        let change = payment.as_ref().and_then(|(payment, _)| payment.change(&id));
        if change.is_some_and(|change| change.standing.is_open()) {
            return Ok(vec![(id, Open { merchant, payment: Some(of), busy: false })]);
        }
        if change.is_some_and(|change| !change.standing.is_final()) {
            // Its provider took it upon itself, and will tell of it.
            return Ok(Vec::new());
        }
        // It ended, or was never written into the payment, so that nothing was sent.
        wait(self.delete(Collection::Payments, key.clone()))?;
        Ok(Vec::new())
    }

    /// Writes the row with the provider's name for a payment, if it was cut off from the outcome
    /// that it belongs to: whoever names the payment so must find it.
    fn mend_reference(&self, merchant: &MerchantId, payment: &Payment) -> Result<(), VaultError> {
        let Some((provider, reference)) = payment.reference_to_keep() else { return Ok(()) };
        if self.payment_by_reference(merchant, &provider, &reference)?.is_some() {
            return Ok(());
        }
        let claim = wait(self.claim(Some(merchant), Purpose::Payment, 1))?;
        let name = Some((provider, reference));
        let reference = self.reference_swap(&claim, merchant, &payment.id, name)?;
        // Whoever was faster is as good.
        wait(self.store.swap_all(reference.into_iter().collect()))?;
        Ok(())
    }

    fn low_water(&self) -> Result<UnixMillis, StoreError> {
        let row = self.store.get(Collection::Meta, LOW_WATER_ROW)?;
        Ok(row.and_then(|row| row.try_into().ok()).map_or(0, UnixMillis::from_be_bytes))
    }

    /// Remembers a moment before which nothing is in doubt, so that the next process need not look
    /// there. Called now and then.
    pub async fn remember_low_water(&self, now: UnixMillis) -> Result<(), VaultError> {
        let value = self.journal.low_water(now).to_be_bytes().to_vec();
        let write = Write::Put { collection: Collection::Meta, key: LOW_WATER_ROW.to_vec(), value };
        Ok(self.store.batch(vec![write]).await?)
    }
}
