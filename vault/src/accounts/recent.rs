//! Accounts that were opened a moment ago.
//!
//! To open an account takes two derivations of keys and two decryptions, the same for every charge.
//! So what was opened is kept for seconds beside the very row that it was read from, and used
//! again while the store still has that row: a replaced, rotated or damaged row is opened anew,
//! and nobody has to tell this memory of a change.

use super::Account;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// Opened accounts, by the key of their row.
#[derive(Debug, Default)]
pub(crate) struct Recent(RwLock<HashMap<Vec<u8>, Kept>>);

#[derive(Debug)]
struct Kept {
    row: Vec<u8>,
    account: Arc<Account>,
    until: Instant,
}

/// How many accounts are kept open.
const RECENT_MAX: usize = 1_024;
/// How long an account is used before it is opened anew. Its credentials are wiped then, or by the
/// next sweep when nobody asks.
const KEPT_FOR: Duration = Duration::from_secs(10);

// === impl Recent ===

impl Recent {
    /// The account that was read from exactly this row.
    pub(crate) fn find(&self, key: &[u8], row: &[u8], now: Instant) -> Option<Arc<Account>> {
        let recent = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let kept = recent.get(key).filter(|kept| kept.row == row && now < kept.until)?;
        Some(kept.account.clone())
    }

    /// Keeps an account that was read from this row, unless there are too many.
    pub(crate) fn keep(&self, key: Vec<u8>, row: Vec<u8>, account: Arc<Account>, now: Instant) {
        let until = now.checked_add(KEPT_FOR).unwrap_or(now);
        let mut recent = self.write();
        if recent.len() < RECENT_MAX || recent.contains_key(&key) {
            recent.insert(key, Kept { row, account, until });
        }
    }

    /// Wipes everything.
    pub(crate) fn clear(&self) {
        self.write().clear();
    }

    /// Wipes what is over its time.
    pub(crate) fn sweep(&self, now: Instant) {
        self.write().retain(|_, kept| now < kept.until);
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Vec<u8>, Kept>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, KEPT_FOR, RECENT_MAX, Recent};
    use crate::AccountBrief;
    use crate::accounts::staged::Pick;
    use model::{AccountName, AccountState, Credentials};
    use std::sync::Arc;
    use std::time::Instant;

    fn account() -> Arc<Account> {
        let name = AccountName::parse("main").unwrap();
        let brief = AccountBrief {
            name,
            gateway: "Adyen".into(),
            created: 1,
            since: 1,
            state: AccountState::Enabled,
        };
        let credentials = Credentials::new(Vec::new());
        Arc::new(Account { brief, credentials, staged: None, picked: Pick::Current })
    }

    #[test]
    fn an_account_is_used_again_only_for_the_very_row_and_only_for_its_time() {
        let (recent, now) = (Recent::default(), Instant::now());
        recent.keep(b"a".to_vec(), b"row 1".to_vec(), account(), now);
        assert!(recent.find(b"a", b"row 1", now).is_some());
        assert!(recent.find(b"a", b"row 2", now).is_none(), "the row was replaced");
        assert!(recent.find(b"b", b"row 1", now).is_none(), "it is another account");
        assert!(recent.find(b"a", b"row 1", now + KEPT_FOR).is_none(), "its time is over");
        recent.sweep(now + KEPT_FOR);
        assert!(recent.write().is_empty());
    }

    #[test]
    fn there_are_no_more_than_may_be() {
        let (recent, now) = (Recent::default(), Instant::now());
        for nth in 0..=RECENT_MAX {
            recent.keep(nth.to_be_bytes().to_vec(), b"row".to_vec(), account(), now);
        }
        assert_eq!(recent.write().len(), RECENT_MAX);
    }
}
