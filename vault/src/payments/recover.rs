//! What a process finds of payments that another one left.

use super::open::Open;
use super::read::pointer;
use super::{WHAT, record, row};
use crate::seal::Purpose;
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, Write, wait};
use crate::{OpenError, StoreError, UnixMillis, Vault, VaultError};
use model::{MerchantId, TransactionId};

/// The row of [`Collection::Meta`] with the moment before which nothing is in doubt.
pub(crate) const LOW_WATER_ROW: &[u8] = b"journal";

/// How long something is in doubt until it is set aside: it gets a row of its own, so that it does not
/// have the next process read everything that came after it.
const SET_ASIDE_AFTER_MS: u64 = 3_600_000;
/// How much is set aside at a time.
const SET_ASIDE_MAX: usize = 100;

/// The name of the row of what was set aside. No transaction has an `o`.
pub(super) fn aside_record(id: &TransactionId) -> String {
    format!("o{id}")
}

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
        // What was set aside may be looked at twice, and is the same each time.
        for merchant in merchants {
            match self.keys_of(&merchant.id) {
                Err(VaultError::Shredded) => {}
                Err(error) => return Err(failed(error)),
                Ok(_keys) => {
                    self.find_open_of(&merchant.id, from).map_err(failed)?;
                    self.find_aside_of(&merchant.id).map_err(failed)?;
                    self.find_strays_of(&merchant.id).map_err(failed)?;
                }
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
                found.into_iter().for_each(|(id, open)| inner.insert(id, open));
            }
        }
    }

    /// Finds what was set aside, and is still in doubt.
    fn find_aside_of(&self, merchant: &MerchantId) -> Result<(), VaultError> {
        let mut after = row(merchant, "o");
        loop {
            let rows = self.store.page(
                Collection::Payments,
                Some(&after),
                &row(merchant, "o"),
                PAGE_ENTRIES_MAX,
            )?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after.clone_from(last);
            for (key, _) in &rows {
                let name = key.get(super::prefix(merchant).len()..);
                let name = name.and_then(|name| str::from_utf8(name).ok()?.strip_prefix('o'));
                let id = name.and_then(|name| TransactionId::parse(name).ok());
                let id = id.ok_or_else(|| self.refused(WHAT))?;
                let own = row(merchant, id.as_str());
                let found = match self.store.get(Collection::Payments, &own)? {
                    Some(sealed) => self.open_of_row(merchant, id, &(own, sealed))?,
                    None => Vec::new(),
                };
                if found.is_empty() {
                    wait(self.delete(Collection::Payments, key.clone()))?;
                }
                let mut inner = self.journal.lock();
                for (id, open) in found {
                    inner.insert(id, Open { set_aside: true, ..open });
                }
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
            let last = payment.last_attempt().map(|attempt| attempt.standing);
            let open = last.is_some_and(model::Standing::is_open);
            let reference = payment.merchant_reference.as_deref();
            let reference = reference.map(|text| self.journal.hash_reference(&merchant, text));
            let found = open.then(|| (id, Open { reference, ..Open::new(merchant, None) }));
            return Ok(found.into_iter().collect());
        };
        let payment = self.read_payment(&merchant, &of)?;
        let change = payment.as_ref().and_then(|(payment, _)| payment.change(&id));
        if change.is_some_and(|change| change.standing.is_open()) {
            return Ok(vec![(id, Open::new(merchant, Some(of)))]);
        }
        if change.is_some_and(|change| !change.standing.is_final()) {
            // Its provider took it upon itself, and will tell of it.
            return Ok(Vec::new());
        }
        // Whoever began it gave it up before it was sent, and the payment has heard of that.
        wait(self.delete(Collection::Payments, key.clone()))?;
        Ok(Vec::new())
    }

    fn low_water(&self) -> Result<UnixMillis, StoreError> {
        let row = self.store.get(Collection::Meta, LOW_WATER_ROW)?;
        Ok(row.and_then(|row| row.try_into().ok()).map_or(0, UnixMillis::from_be_bytes))
    }

    /// Remembers a moment before which nothing is in doubt, so that the next process need not look
    /// there. Called now and then.
    pub async fn remember_low_water(&self, now: UnixMillis) -> Result<(), VaultError> {
        self.look_for_unseen().await?;
        self.set_aside(now).await?;
        let value = self.journal.low_water(now).to_be_bytes().to_vec();
        let write = Write::Put { collection: Collection::Meta, key: LOW_WATER_ROW.to_vec(), value };
        Ok(self.store.batch(vec![write]).await?)
    }

    /// Looks whether what somebody was about to write down is there. If not, it was never begun.
    async fn look_for_unseen(&self) -> Result<(), VaultError> {
        for (id, merchant) in self.journal.unseen() {
            let key = row(&merchant, id.as_str());
            // Writes are made in their order: what was on its way before this has come.
            let is_there =
                !self.store.compare_and_swap(Collection::Payments, key, None, None).await?;
            self.journal.saw(&id, is_there);
        }
        Ok(())
    }

    /// Gives what has been in doubt for long rows of its own.
    async fn set_aside(&self, now: UnixMillis) -> Result<(), VaultError> {
        for (id, merchant) in self.journal.long_in_doubt(now) {
            let claim = match self.claim(Some(&merchant), Purpose::Payment, 1).await {
                // Nobody can open it any more, and nobody needs to find it.
                Err(VaultError::Shredded) => continue,
                claim => claim?,
            };
            let record = aside_record(&id);
            let sealed = self.seal_record(&claim, &merchant, &record, id.as_str().as_bytes());
            let key = row(&merchant, &record);
            self.store.put_if_absent(Collection::Payments, key.clone(), sealed).await?;
            if !self.journal.mark_aside(&id) {
                // It ended meanwhile.
                self.delete(Collection::Payments, key).await?;
            }
        }
        Ok(())
    }
}

// === impl Journal ===

impl super::Journal {
    fn long_in_doubt(&self, now: UnixMillis) -> Vec<(TransactionId, MerchantId)> {
        let inner = self.lock();
        let before = now.saturating_sub(SET_ASIDE_AFTER_MS);
        let old = inner.open.iter().take_while(|(id, _)| id.millis() < before);
        let left = old.filter(|(_, open)| open.is_doubt() && !open.set_aside);
        let named = left.map(|(id, open)| (id.clone(), open.merchant.clone()));
        named.take(SET_ASIDE_MAX).collect()
    }

    /// What nobody knows of whether it was written.
    fn unseen(&self) -> Vec<(TransactionId, MerchantId)> {
        let inner = self.lock();
        let unseen = inner.open.iter().filter(|(_, open)| open.unseen);
        unseen.map(|(id, open)| (id.clone(), open.merchant.clone())).collect()
    }

    /// Notes that it is in doubt, since its row is there, or forgets it.
    fn saw(&self, id: &TransactionId, is_there: bool) {
        let mut inner = self.lock();
        match inner.open.get_mut(id) {
            Some(open) if is_there => open.unseen = false,
            _ => drop(inner.remove(id)),
        }
    }

    /// Whether it is still open, and so needs its row.
    fn mark_aside(&self, id: &TransactionId) -> bool {
        let mut inner = self.lock();
        inner.open.get_mut(id).map(|open| open.set_aside = true).is_some()
    }
}
