//! What the payments of an account come to, a page of the journal at a time.

use super::{prefix, row};
use crate::store::{Collection, PAGE_ENTRIES_MAX, Store};
use crate::{UnixMillis, Vault, VaultError};
use model::{AccountName, Currency, MerchantId, Payment, Sums, TransactionId};
use std::collections::BTreeMap;

/// How many rows of the journal one balance looks at: some hundred thousand decryptions are more
/// than one question may cost.
pub const BALANCE_ROWS_MAX: usize = 20 * PAGE_ENTRIES_MAX;

/// Which payments are counted: those that began in this time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Period {
    pub from: Option<UnixMillis>,
    pub until: Option<UnixMillis>,
}

/// What payments come to, so far.
#[derive(Clone, Debug, Default)]
pub struct Balance {
    sums: BTreeMap<Box<str>, (Currency, Sums)>,
    /// How many rows were looked at.
    rows: usize,
    /// The last of them.
    after: Option<TransactionId>,
    /// There are no more.
    whole: bool,
}

// === impl Balance ===

impl Balance {
    /// One that goes on where another one ended.
    pub fn after(after: Option<TransactionId>) -> Self {
        Self { after, ..Self::default() }
    }

    /// The sums by currency, in the order of their codes.
    pub fn sums(&self) -> impl Iterator<Item = &(Currency, Sums)> {
        self.sums.values()
    }

    /// Where another one goes on; none: there are no more payments.
    pub fn next(&self) -> Option<&TransactionId> {
        self.after.as_ref().filter(|_| !self.whole)
    }

    /// Whether it has all that it may have.
    pub fn is_done(&self) -> bool {
        self.whole || self.rows >= BALANCE_ROWS_MAX
    }

    fn add(&mut self, payment: &Payment) {
        let currency = payment.told().currency();
        let nothing = (currency, Sums::default());
        let (_, sums) = self.sums.entry(currency.code().into()).or_insert(nothing);
        sums.add(&payment.sums());
    }
}

// === impl Vault ===

impl Vault {
    /// Adds the next page of the journal to a balance.
    pub fn add_to_balance(
        &self,
        merchant: &MerchantId,
        account: &AccountName,
        period: Period,
        balance: &mut Balance,
    ) -> Result<(), VaultError> {
        let _keys = self.keys_of(merchant)?;
        let from = period.from.map(|millis| TransactionId::new(millis, 0));
        let from = balance.after.as_ref().max(from.as_ref()).map(|id| row(merchant, id.as_str()));
        let (prefix, max) = (prefix(merchant), PAGE_ENTRIES_MAX);
        let rows = self.store.page(Collection::Payments, from.as_deref(), &prefix, max)?;
        balance.whole = rows.len() < max;
        for (key, sealed) in &rows {
            let id = self.id_of(merchant, key);
            let id = id.filter(|id| period.until.is_none_or(|until| id.millis() < until));
            let Some(id) = id else {
                balance.whole = true;
                return Ok(());
            };
            if let Some(payment) = self.open_payment(merchant, &id, sealed)? {
                let payment = self.healed(merchant, payment)?;
                let last = payment.last_attempt().and_then(|attempt| attempt.account.as_ref());
                if last == Some(account) {
                    balance.add(&payment);
                }
            }
            balance.rows = balance.rows.saturating_add(1);
            balance.after = Some(id);
        }
        Ok(())
    }
}
