//! New credentials of an account, beside those in use, until they take their place.
//!
//! Here is the mechanism: what is kept of them, and its steps, each of which is one compare-and-swap
//! of the account's row. When a step is taken, and which payments go where, is decided by the proxy.

use super::{AccountBrief, Parts, REPLACE_TRIES_MAX, SEALS, check_sizes, row};
use crate::deletion::Going;
use crate::frame::{Fields, frame};
use crate::seal::{Claim, Purpose};
use crate::store::{Collection, Store};
use crate::{StoreError, UnixMillis, Vault, VaultError};
use model::{AccountName, AccountState, Credentials, MerchantId};

/// What there is to say of staged credentials without showing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Which staging this is; no two of one account have the same.
    pub id: u64,
    /// When they were staged.
    pub since: UnixMillis,
    /// Of how many payments in a hundred they are used for.
    pub percent: u8,
    /// When the provider was last seen to take them.
    pub validated: Option<UnixMillis>,
    /// When their payments were taken back, because the provider refused them.
    pub failed: Option<UnixMillis>,
}

/// Which of an account's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pick {
    Current,
    Staged,
}

/// A change to what is said of staged credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The provider refuses them, as far as a question without a payment tells.
    Invalidated,
    /// They get no payments any more, because the provider refused some.
    RolledBack,
    /// They get so many payments in a hundred.
    Switched(u8),
    /// The provider takes them.
    Validated,
}

/// The largest share.
pub const PERCENT_MAX: u8 = 100;

/// A row, opened for a change.
pub(super) struct Whole {
    version: u64,
    brief: AccountBrief,
    credentials: Credentials,
    staged: Option<(Staged, Credentials)>,
}

/// What a row becomes.
struct Change<T> {
    row: Vec<u8>,
    /// Whether it held credentials that are gone with this.
    drops: bool,
    result: T,
}

// === impl Staged ===

impl Staged {
    fn new(id: u64, since: UnixMillis) -> Self {
        Self { id, since, percent: 0, validated: None, failed: None }
    }

    /// The same after a step that is taken at `now`.
    fn after(self, step: Step, now: UnixMillis) -> Self {
        match step {
            Step::Invalidated => Self { validated: None, ..self },
            Step::RolledBack => Self { percent: 0, validated: None, failed: Some(now), ..self },
            // Whoever gives them payments again takes the failure back.
            Step::Switched(percent) => Self {
                percent: percent.min(PERCENT_MAX),
                failed: self.failed.filter(|_| percent == 0),
                ..self
            },
            Step::Validated => Self { validated: Some(now), ..self },
        }
    }

    pub(super) fn written(&self) -> Vec<u8> {
        let Self { id, since, percent, validated, failed } = self;
        let time = |time: &Option<UnixMillis>| time.unwrap_or_default().to_be_bytes();
        frame(&[
            &id.to_be_bytes(),
            &since.to_be_bytes(),
            &[*percent],
            &time(validated),
            &time(failed),
        ])
    }

    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(text);
        let (id, since) = (fields.number()?, fields.number()?);
        let [percent] = fields.array()?;
        let mut time = || fields.number().map(|time| Some(time).filter(|time| *time > 0));
        let (validated, failed) = (time()?, time()?);
        fields.end()?;
        Some(Self { id, since, percent, validated, failed })
    }
}

// === impl Vault ===

impl Vault {
    /// Puts credentials beside those in use, which get no payments yet; others that were staged are
    /// gone. Nothing, when there is no such account.
    pub async fn stage_account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        credentials: Credentials,
        now: UnixMillis,
    ) -> Result<Option<Staged>, VaultError> {
        self.rewrite(merchant, name, now, |claim, whole, version| {
            check_sizes(&whole.brief.gateway, &credentials)?;
            let staged = Staged::new(version, now);
            let parts = Parts {
                brief: &whole.brief,
                credentials: &whole.credentials,
                staged: Some((&staged, &credentials)),
            };
            let row = self.seal_account(claim, merchant, &parts, version)?;
            Ok(Some(Change { row, drops: whole.staged.is_some(), result: staged }))
        })
        .await
    }

    /// Takes a step with the credentials that were staged as `id`. Nothing, when they are not there
    /// any more.
    pub async fn step_staged(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        id: u64,
        step: Step,
        now: UnixMillis,
    ) -> Result<Option<Staged>, VaultError> {
        self.rewrite(merchant, name, now, |claim, whole, version| {
            let Some((staged, credentials)) = whole.staged.filter(|(staged, _)| staged.id == id)
            else {
                return Ok(None);
            };
            let staged = staged.after(step, now);
            let parts = Parts {
                brief: &whole.brief,
                credentials: &whole.credentials,
                staged: Some((&staged, &credentials)),
            };
            let row = self.seal_account(claim, merchant, &parts, version)?;
            Ok(Some(Change { row, drops: false, result: staged }))
        })
        .await
    }

    /// Puts the credentials that were staged as `id` in the place of those in use, which are gone.
    /// False, when they are not there any more, or do not get all payments: what was taken back a
    /// moment ago does not become all that there is.
    pub async fn retire_account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        id: u64,
        now: UnixMillis,
    ) -> Result<bool, VaultError> {
        let retired = self.rewrite(merchant, name, now, |claim, whole, version| {
            let whole_share = |staged: &Staged| staged.id == id && staged.percent == PERCENT_MAX;
            let Some((_, credentials)) = whole.staged.filter(|(staged, _)| whole_share(staged))
            else {
                return Ok(None);
            };
            let parts = Parts { brief: &whole.brief, credentials: &credentials, staged: None };
            let row = self.seal_account(claim, merchant, &parts, version)?;
            Ok(Some(Change { row, drops: true, result: () }))
        });
        Ok(retired.await?.is_some())
    }

    /// Drops what is staged, whatever it is. False, when nothing is.
    pub async fn unstage_account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        now: UnixMillis,
    ) -> Result<bool, VaultError> {
        let dropped = self.rewrite(merchant, name, now, |claim, whole, version| {
            if whole.staged.is_none() {
                return Ok(None);
            }
            let parts =
                Parts { brief: &whole.brief, credentials: &whole.credentials, staged: None };
            let row = self.seal_account(claim, merchant, &parts, version)?;
            Ok(Some(Change { row, drops: true, result: () }))
        });
        Ok(dropped.await?.is_some())
    }

    /// Enables or disables an account; all else of it stays. False, when there is none.
    pub async fn set_account_state(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        state: AccountState,
        now: UnixMillis,
    ) -> Result<bool, VaultError> {
        let set = self.rewrite(merchant, name, now, |claim, whole, version| {
            let parts = Parts {
                brief: &AccountBrief { state, ..whole.brief },
                credentials: &whole.credentials,
                staged: whole.staged.as_ref().map(|(staged, credentials)| (staged, credentials)),
            };
            let row = self.seal_account(claim, merchant, &parts, version)?;
            Ok(Some(Change { row, drops: false, result: () }))
        });
        Ok(set.await?.is_some())
    }

    /// The accounts of a merchant that have staged credentials, by name.
    pub fn staged_accounts(
        &self,
        merchant: &MerchantId,
    ) -> Result<Vec<(AccountName, Staged)>, VaultError> {
        // Before the rows are read: see `keys_of`.
        let _keys = self.keys_of(merchant)?;
        let mut found = Vec::new();
        for (key, value) in self.account_rows(merchant)? {
            let name = self.name_in(merchant, &key)?;
            let opened = self.open_brief(merchant, &name, &value)?;
            found.extend(self.open_staged(merchant, &opened)?.map(|staged| (name, staged)));
        }
        Ok(found)
    }

    /// Swaps the row of an account for what `change` makes of it, again and again while others
    /// change it too. Nothing, when there is no account, or `change` wants none.
    async fn rewrite<T>(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        now: UnixMillis,
        change: impl Fn(&Claim, Whole, u64) -> Result<Option<Change<T>>, VaultError>,
    ) -> Result<Option<T>, VaultError> {
        let _turn = self.changes.lock().await;
        for _ in 0..REPLACE_TRIES_MAX {
            // Before the row is read: see `keys_of`. The claim is held until the row is durable.
            let keys = self.keys_of(merchant)?;
            let claim = self.claim(Some(merchant), Purpose::Credential, SEALS).await?;
            let key = row(merchant, name);
            let old = self.store.get(Collection::Accounts, &key)?;
            let whole =
                old.as_deref().map(|old| self.open_whole(merchant, name, old)).transpose()?;
            let changed = match whole {
                Some(whole) => {
                    let version = now.max(whole.version.saturating_add(1));
                    change(&claim, whole, version)?
                }
                None => None,
            };
            let (Some(old), Some(Change { row: new, drops, result })) = (old, changed) else {
                // What is answered was read, and must not be undone by a loss of power.
                self.store.durable().await?;
                return Ok(None);
            };
            let keys = drops.then_some(&*keys);
            let going = Going { collection: Collection::Accounts, key, old, new: Some(new) };
            if self.let_go(keys, Purpose::Credential, going, now).await? {
                return Ok(Some(result));
            }
        }
        // So many changes of one account at once are no use of it.
        Err(VaultError::Store(StoreError::Unavailable))
    }

    pub(super) fn open_whole(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        row: &[u8],
    ) -> Result<Whole, VaultError> {
        let opened = self.open_brief(merchant, name, row)?;
        let staged = match self.open_staged(merchant, &opened)? {
            Some(staged) => Some((staged, self.open_credentials(merchant, &opened, Pick::Staged)?)),
            None => None,
        };
        let credentials = self.open_credentials(merchant, &opened, Pick::Current)?;
        Ok(Whole { version: opened.version, brief: opened.brief, credentials, staged })
    }
}

#[cfg(test)]
mod tests {
    use super::{Staged, Step};

    #[test]
    fn what_is_said_of_staged_credentials_is_read_as_it_was_written() {
        let fresh = Staged::new(7, 9);
        let all = Staged { percent: 50, validated: Some(3), failed: Some(4), ..fresh };
        for staged in [fresh, all] {
            let written = staged.written();
            assert_eq!(Staged::read(&written), Some(staged));
            for end in 0..written.len() {
                assert_eq!(Staged::read(&written[..end]), None);
            }
        }
    }

    #[test]
    fn a_failure_takes_share_and_validation_and_a_new_share_takes_the_failure_back() {
        let taken = Staged::new(1, 1).after(Step::Validated, 2).after(Step::Switched(50), 3);
        assert_eq!((taken.percent, taken.validated, taken.failed), (50, Some(2), None));
        let failed = taken.after(Step::RolledBack, 4);
        assert_eq!((failed.percent, failed.validated, failed.failed), (0, None, Some(4)));
        let still = failed.after(Step::Switched(0), 5).after(Step::Validated, 6);
        assert_eq!((still.percent, still.validated, still.failed), (0, Some(6), Some(4)));
        let again = still.after(Step::Switched(200), 7);
        assert_eq!((again.percent, again.failed), (100, None));
        assert_eq!(again.after(Step::Invalidated, 8).validated, None);
    }
}
