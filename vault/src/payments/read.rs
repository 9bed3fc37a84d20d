//! Reading the journal.

use super::{PAGE_MAX, WHAT, hear, place, prefix, record, replay, row};
use crate::seal::Deks;
use crate::store::{Collection, Store};
use crate::{UnixMillis, Vault, VaultError};
use model::{AccountName, MerchantId, Payment, Standing, State, TransactionId};

/// How many payments are looked at for one page.
const PAGE_ROWS_MAX: usize = 1_000;

/// Which payments are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub merchant_reference: Option<Box<str>>,
    pub account: Option<AccountName>,
    pub state: Option<State>,
    /// From this time on, in milliseconds since 1970.
    pub from: Option<UnixMillis>,
    /// Before this time.
    pub until: Option<UnixMillis>,
}

/// A page of payments, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub payments: Vec<Payment>,
    /// Where the next page begins; none: there is no more.
    pub next: Option<TransactionId>,
}

/// The name of the row that says whose payment a provider's name is. No transaction has an `r`.
pub(super) fn reference_record(hash: &[u8; 32]) -> String {
    let digits = model::hex(*hash.first_chunk().unwrap_or(&[0; 16]));
    ["r", str::from_utf8(&digits).unwrap_or_default()].concat()
}

/// The payment that a row names, if that is all it does.
pub(super) fn pointer(text: &[u8]) -> Option<TransactionId> {
    TransactionId::parse(str::from_utf8(text).ok()?).ok()
}

/// Under a key that is never exchanged, because the name of the row must stay.
pub(super) fn reference_hash(keys: &Deks, provider: &str, reference: &str) -> [u8; 32] {
    keys.active().mac(&[b"payment reference", provider.as_bytes(), reference.as_bytes()])
}

// === impl Vault ===

impl Vault {
    /// A payment of a merchant.
    pub fn payment(
        &self,
        merchant: &MerchantId,
        id: &TransactionId,
    ) -> Result<Option<Payment>, VaultError> {
        let _keys = self.keys_of(merchant)?;
        let Some((payment, _)) = self.read_payment(merchant, id)? else { return Ok(None) };
        self.healed(merchant, payment).map(Some)
    }

    /// The payment that a provider calls so.
    pub fn payment_by_reference(
        &self,
        merchant: &MerchantId,
        provider: &str,
        reference: &str,
    ) -> Result<Option<TransactionId>, VaultError> {
        let keys = self.keys_of(merchant)?;
        let record = reference_record(&reference_hash(&keys.fingerprint, provider, reference));
        let Some(sealed) = self.store.get(Collection::Payments, &row(merchant, &record))? else {
            return Ok(None);
        };
        let text = self.unseal(WHAT, &keys.payment, place(merchant, &record), &sealed)?;
        let id = str::from_utf8(&text).ok().and_then(|text| TransactionId::parse(text).ok());
        id.map(Some).ok_or_else(|| self.refused(WHAT))
    }

    /// The payments of a merchant that pass a filter, in the order of their beginning, after `after`.
    pub fn payments(
        &self,
        merchant: &MerchantId,
        filter: &Filter,
        after: Option<&TransactionId>,
    ) -> Result<Page, VaultError> {
        let _keys = self.keys_of(merchant)?;
        let from = filter.from.map(|millis| TransactionId::new(millis, 0));
        // The later of both, since a page may be asked for from anywhere.
        let from = after.max(from.as_ref()).map(|id| row(merchant, id.as_str()));
        let rows = self.store.page(
            Collection::Payments,
            from.as_deref(),
            &prefix(merchant),
            PAGE_ROWS_MAX,
        )?;
        let (mut page, whole) = (Page::default(), rows.len() < PAGE_ROWS_MAX);
        for (key, sealed) in &rows {
            let Some(id) = self.id_of(merchant, key) else { return Ok(page) };
            if filter.until.is_some_and(|until| id.millis() >= until) {
                return Ok(page);
            }
            if page.payments.len() >= PAGE_MAX {
                page.next = page.payments.last().map(|payment: &Payment| payment.id.clone());
                return Ok(page);
            }
            let Some(payment) = self.open_payment(merchant, &id, sealed)? else { continue };
            let payment = self.healed(merchant, payment)?;
            if filter.takes(&payment) {
                page.payments.push(payment);
            }
        }
        if !whole {
            page.next = rows.last().and_then(|(key, _)| self.id_of(merchant, key));
        }
        Ok(page)
    }

    /// Whether the row of the journal is one.
    pub(crate) fn journal_holds(&self, key: &[u8], sealed: &[u8]) -> bool {
        let holds = || {
            let (merchant, name) = crate::merchants::split_row(key)?;
            let keys = match self.keys_of(&merchant) {
                // Nobody can open it, and that is how it should be.
                Err(VaultError::Shredded) => return Some(()),
                keys => keys.ok()?,
            };
            let text = self.unseal(WHAT, &keys.payment, place(&merchant, name), sealed).ok()?;
            match TransactionId::parse(name) {
                Ok(id) => record::read(id, &text).map(drop).or_else(|| pointer(&text).map(drop)),
                Err(_) if name.starts_with(['r', 'o', 'v']) => pointer(&text).map(drop),
                Err(_) if name.starts_with('w') => hear::holds(&text).then_some(()),
                Err(_) => replay::holds(&text).then_some(()),
            }
        };
        holds().is_some()
    }

    pub(super) fn id_of(&self, merchant: &MerchantId, key: &[u8]) -> Option<TransactionId> {
        let name = key.get(prefix(merchant).len()..)?;
        TransactionId::parse(str::from_utf8(name).ok()?).ok()
    }

    /// The payment as it stands. What looks as if it had never been sent is read again, because it
    /// may have ended between the reading and the looking: an outcome is written before it ends.
    pub(super) fn healed(
        &self,
        merchant: &MerchantId,
        payment: Payment,
    ) -> Result<Payment, VaultError> {
        let mut again = payment.clone();
        self.heal(&mut again);
        if again == payment {
            return Ok(payment);
        }
        let newest = self.read_payment(merchant, &payment.id)?;
        let mut newest = newest.map_or(payment, |(newest, _)| newest);
        self.heal(&mut newest);
        Ok(newest)
    }

    /// What was begun by a process that ended before all of its rows were durable was never sent.
    pub(super) fn heal(&self, payment: &mut Payment) {
        for change in &mut payment.changes {
            if change.standing == Standing::Sending && !self.journal.is_open(&change.id) {
                change.standing = Standing::NotDone;
            }
        }
    }

    pub(super) fn read_payment(
        &self,
        merchant: &MerchantId,
        id: &TransactionId,
    ) -> Result<Option<(Payment, Vec<u8>)>, VaultError> {
        let key = row(merchant, id.as_str());
        let Some(sealed) = self.store.get(Collection::Payments, &key)? else { return Ok(None) };
        let payment = self.open_payment(merchant, id, &sealed)?;
        Ok(payment.map(|payment| (payment, sealed)))
    }

    /// None: the row says of which payment a change is.
    pub(super) fn open_payment(
        &self,
        merchant: &MerchantId,
        id: &TransactionId,
        sealed: &[u8],
    ) -> Result<Option<Payment>, VaultError> {
        let text = self.open_record(merchant, id.as_str(), sealed)?;
        match record::read(id.clone(), &text) {
            Some(payment) => Ok(Some(payment)),
            None if pointer(&text).is_some() => Ok(None),
            None => Err(self.refused(WHAT)),
        }
    }

    pub(super) fn open_record(
        &self,
        merchant: &MerchantId,
        record: &str,
        sealed: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, VaultError> {
        let keys = self.keys_of(merchant)?;
        self.unseal(WHAT, &keys.payment, place(merchant, record), sealed)
    }
}

// === impl Filter ===

impl Filter {
    fn takes(&self, payment: &Payment) -> bool {
        let Self { merchant_reference, account, state, from: _, until: _ } = self;
        let reference = merchant_reference.is_none()
            || merchant_reference.as_deref() == payment.merchant_reference.as_deref();
        let of_account = |account: &AccountName| {
            payment.attempts.iter().any(|attempt| attempt.account.as_ref() == Some(account))
        };
        reference
            && account.as_ref().is_none_or(of_account)
            && state.is_none_or(|state| payment.state() == state)
    }
}
