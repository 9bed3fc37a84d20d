//! A merchant's accounts at payment gateways.
//!
//! An account is one row: a version, a sealed brief, and its sealed credentials, apart so that to
//! list accounts opens no credential. The brief is no secret, but who could change it could send
//! credentials to another gateway. Credentials that are staged to follow are two more fields of the
//! same row (see [`staged`]), so that every step of a rotation is one swap of one row.

use crate::deletion::Going;
use crate::frame::{Fields, frame};
use crate::seal::{Claim, DekId, Deks, OVERHEAD_BYTES, Place, Purpose, key_of};
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, VALUE_BYTES_MAX};
use crate::{StoreError, UnixMillis, Vault, VaultError};
use model::{AccountName, AccountState, Credentials, MerchantId, Secret};
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

pub(crate) mod recent;
pub(crate) mod staged;
use staged::{Pick, Staged};

/// How many accounts a merchant may have.
pub const ACCOUNTS_MAX: usize = 1_000;
/// How long the row of an account may be, in bytes, with what is staged.
const ACCOUNT_BYTES_MAX: usize = 32 * 1024;
/// How long the name of a gateway may be, in bytes.
const GATEWAY_BYTES_MAX: usize = 64;
/// How often a replacement is tried when others replace the same account.
const REPLACE_TRIES_MAX: usize = 64;
/// How many records an account is at most.
const SEALS: u64 = 4;
/// What errors call the rows.
const WHAT: &str = "accounts";
/// For how long after its credentials were replaced something may still be asked for with those before:
/// whoever has found the account goes on with what it found, also after the accounts before it.
const IN_HAND_MAX_MS: u64 = 600_000;

/// What there is to say of an account without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBrief {
    pub name: AccountName,
    pub gateway: Box<str>,
    /// When the account was first put; a replacement keeps it.
    pub created: UnixMillis,
    /// From when on all that is asked for is asked for with these credentials, or with others that were
    /// staged to follow them. What was written down before that may have been asked of another account
    /// of the gateway. It is later than any name in the journal by then, whatever the clock says.
    pub since: UnixMillis,
    pub state: AccountState,
}

/// An account with credentials of it in the clear.
#[derive(Debug)]
pub struct Account {
    pub brief: AccountBrief,
    pub credentials: Credentials,
    /// What is staged beside them, whichever were picked.
    pub staged: Option<Staged>,
    /// Which of the account's credentials these are.
    pub picked: Pick,
}

/// A row as it is stored.
struct Sealed<'a> {
    version: u64,
    brief: &'a [u8],
    credentials: &'a [u8],
    staged: Option<SealedStage<'a>>,
}

/// A row whose brief was opened.
struct Opened<'a> {
    version: u64,
    brief: AccountBrief,
    credentials: &'a [u8],
    staged: Option<SealedStage<'a>>,
}

/// The two fields of a row that has staged credentials: what there is to say of them, and they.
#[derive(Clone, Copy)]
struct SealedStage<'a> {
    brief: &'a [u8],
    credentials: &'a [u8],
}

/// What a row is made of, in the clear.
struct Parts<'a> {
    brief: &'a AccountBrief,
    credentials: &'a Credentials,
    staged: Option<(&'a Staged, &'a Credentials)>,
}

/// The names of a row's fields, which its seals authenticate.
const BRIEF: &str = "brief";
const CREDENTIALS: &str = "credentials";
const STAGED: &str = "staged";
const STAGED_CREDENTIALS: &str = "staged-credentials";
/// The word in the brief of an account that takes no payments.
const DISABLED: &str = "disabled";

/// Where an account is in the store. A merchant's name has no NUL.
fn row(merchant: &MerchantId, name: &AccountName) -> Vec<u8> {
    [merchant.as_str().as_bytes(), b"\0", name.as_str().as_bytes()].concat()
}

fn prefix(merchant: &MerchantId) -> Vec<u8> {
    [merchant.as_str().as_bytes(), b"\0"].concat()
}

fn place<'a>(
    merchant: &'a MerchantId,
    name: &'a AccountName,
    field: &'a str,
    version: u64,
) -> Place<'a> {
    Place { owner: merchant.as_str(), record: name.as_str(), field, version }
}

/// The row of an account, sealed anew, if one of `old` sealed any of it. It must open.
pub(crate) fn reseal(
    merchant: &MerchantId,
    keys: &Deks,
    claim: &Claim,
    old: &[DekId],
    (key, row): &Entry,
) -> Result<Option<Vec<u8>>, VaultError> {
    let refused = VaultError::Sealed { what: WHAT };
    let Sealed { version, brief, credentials, staged } = read_row(row).ok_or(refused)?;
    let mut fields = vec![(BRIEF, brief), (CREDENTIALS, credentials)];
    if let Some(staged) = staged {
        fields.extend([(STAGED, staged.brief), (STAGED_CREDENTIALS, staged.credentials)]);
    }
    let is_old = |sealed| key_of(sealed).is_some_and(|id| old.contains(&id));
    if !fields.iter().any(|(_, sealed)| is_old(sealed)) {
        return Ok(None);
    }
    let name = key.get(prefix(merchant).len()..).and_then(|name| str::from_utf8(name).ok());
    let name = name.and_then(|name| AccountName::parse(name).ok()).ok_or(refused)?;
    let mut again = vec![version.to_be_bytes().to_vec()];
    for (field, sealed) in fields {
        let place = place(merchant, &name, field, version);
        let text = keys.open(place, sealed).map_err(|_| refused)?;
        again.push(claim.seal(place, &text));
    }
    Ok(Some(frame(&again.iter().map(Vec::as_slice).collect::<Vec<_>>())))
}

fn check_sizes(gateway: &str, credentials: &Credentials) -> Result<(), VaultError> {
    let size = |what, max| Err(VaultError::Size { what, max });
    if !matches!(gateway.len(), 1..=GATEWAY_BYTES_MAX) {
        return size("the name of a gateway", GATEWAY_BYTES_MAX);
    }
    if credentials.len() > Credentials::PAIRS_MAX {
        return Err(VaultError::TooMany { what: "credentials", max: Credentials::PAIRS_MAX });
    }
    for (name, value) in credentials.iter() {
        if !matches!(name.len(), 1..=Credentials::NAME_BYTES_MAX) {
            return size("the name of a credential", Credentials::NAME_BYTES_MAX);
        }
        if value.len() > Credentials::VALUE_BYTES_MAX {
            return size("a credential", Credentials::VALUE_BYTES_MAX);
        }
    }
    Ok(())
}

// === impl Vault ===

impl Vault {
    /// Adds an account that takes payments, or replaces the whole of it. As [`Self::put_account_as`].
    pub async fn put_account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        gateway: &str,
        credentials: Credentials,
        now: UnixMillis,
    ) -> Result<AccountBrief, VaultError> {
        let enabled = AccountState::Enabled;
        self.put_account_as(merchant, name, gateway, (credentials, enabled), now).await
    }

    /// Adds an account, or replaces the whole of it and keeps the time of its creation. What was
    /// staged is gone then.
    pub async fn put_account_as(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        gateway: &str,
        (credentials, state): (Credentials, AccountState),
        now: UnixMillis,
    ) -> Result<AccountBrief, VaultError> {
        check_sizes(gateway, &credentials)?;
        // One after another: who only tries again may find the row changed for ever.
        let _turn = self.changes.lock().await;
        for _ in 0..REPLACE_TRIES_MAX {
            // Before the row is read: see `keys_of`.
            let keys = self.keys_of(merchant)?;
            let key = row(merchant, name);
            let old = self.store.get(Collection::Accounts, &key)?;
            let new = (gateway, &credentials);
            let (brief, version) = self.follow(merchant, name, old.as_deref(), new, now)?;
            let brief = AccountBrief { state, ..brief };
            let parts = Parts { brief: &brief, credentials: &credentials, staged: None };
            // Held until the row is durable.
            let claim = self.claim(Some(merchant), Purpose::Credential, SEALS).await?;
            let new = self.seal_account(&claim, merchant, &parts, version)?;
            let swapped = match old {
                Some(old) => {
                    let going =
                        Going { collection: Collection::Accounts, key, old, new: Some(new) };
                    self.let_go(Some(&keys), Purpose::Credential, going, now).await?
                }
                None => self.store.put_if_absent(Collection::Accounts, key, new).await?,
            };
            if swapped {
                return Ok(brief);
            }
        }
        // So many replacements of one account at once are no use of it.
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// An account with the credentials that are in use.
    pub fn account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
    ) -> Result<Option<Arc<Account>>, VaultError> {
        self.account_by(merchant, name, |_| Pick::Current)
    }

    /// An account with the credentials that `pick` decides for; it is asked only where some are
    /// staged, and no others are opened.
    pub fn account_by(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        pick: impl FnOnce(&Staged) -> Pick,
    ) -> Result<Option<Arc<Account>>, VaultError> {
        // Asked first, so that nothing that is kept outlives the merchant's keys.
        // And held, while the row is read: see `keys_of`.
        let _keys = self.keys_of(merchant)?;
        let (key, now) = (row(merchant, name), Instant::now());
        let Some(value) = self.store.get(Collection::Accounts, &key)? else { return Ok(None) };
        if let Some(account) = self.recent.find(&key, &value, now) {
            return Ok(Some(account));
        }
        let account = Arc::new(self.open_account(merchant, name, &value, pick)?);
        if account.staged.is_none() {
            self.recent.keep(key, value, account.clone(), now);
        }
        Ok(Some(account))
    }

    pub(crate) fn open_account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        row: &[u8],
        pick: impl FnOnce(&Staged) -> Pick,
    ) -> Result<Account, VaultError> {
        let opened = self.open_brief(merchant, name, row)?;
        let staged = self.open_staged(merchant, &opened)?;
        let picked = staged.as_ref().map_or(Pick::Current, pick);
        let credentials = self.open_credentials(merchant, &opened, picked)?;
        Ok(Account { brief: opened.brief, credentials, staged, picked })
    }

    /// The accounts of a merchant, by name.
    pub fn accounts(&self, merchant: &MerchantId) -> Result<Vec<AccountBrief>, VaultError> {
        // Before the rows are read: see `keys_of`.
        let _keys = self.keys_of(merchant)?;
        self.account_rows(merchant)?
            .iter()
            .map(|(key, value)| {
                let name = self.name_in(merchant, key)?;
                Ok(self.open_brief(merchant, &name, value)?.brief)
            })
            .collect()
    }

    /// The name of the account in the key of its row.
    fn name_in(&self, merchant: &MerchantId, key: &[u8]) -> Result<AccountName, VaultError> {
        key.get(prefix(merchant).len()..)
            .and_then(|name| AccountName::parse(str::from_utf8(name).ok()?).ok())
            .ok_or_else(|| self.refused(WHAT))
    }

    /// Deletes an account. False when there is none. See `deletion` for when it is final.
    pub async fn delete_account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        now: UnixMillis,
    ) -> Result<bool, VaultError> {
        let row = (Collection::Accounts, row(merchant, name));
        Ok(self.delete_record((merchant, Purpose::Credential), row, now).await?)
    }

    fn account_rows(&self, merchant: &MerchantId) -> Result<Vec<Entry>, VaultError> {
        let max = ACCOUNTS_MAX.min(PAGE_ENTRIES_MAX);
        Ok(self.store.page(Collection::Accounts, None, &prefix(merchant), max)?)
    }

    /// Whether the row of an account opens, with all that is in it.
    pub(crate) fn account_holds(&self, key: &[u8], value: &[u8]) -> bool {
        let holds = || {
            let (merchant, name) = crate::merchants::split_row(key)?;
            let name = AccountName::parse(name).ok()?;
            if self.keys_of(&merchant).is_err_and(|error| error == VaultError::Shredded) {
                // Nobody can open it, and that is how it should be.
                return Some(());
            }
            self.open_whole(&merchant, &name, value).ok().map(drop)
        };
        holds().is_some()
    }

    /// What there is to say of the account that is put, and which version it is.
    ///
    /// Versions also grow over a deletion, so that no field of a deleted account opens in a new
    /// one of the same name.
    fn follow(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        old: Option<&[u8]>,
        (gateway, credentials): (&str, &Credentials),
        now: UnixMillis,
    ) -> Result<(AccountBrief, u64), VaultError> {
        let (name, gateway, state) = (name.clone(), gateway.into(), AccountState::Enabled);
        let since = now.max(self.journal.latest());
        let new = AccountBrief { name, gateway, created: now, since, state };
        let Some(old) = old else {
            let fits = self.account_rows(merchant)?.len() < ACCOUNTS_MAX;
            let full = VaultError::TooMany { what: WHAT, max: ACCOUNTS_MAX };
            return if fits { Ok((new, now)) } else { Err(full) };
        };
        let opened = self.open_brief(merchant, &new.name, old)?;
        let version = now.max(opened.version.saturating_add(1));
        // Credentials that do not open are others, and are replaced as any.
        let before = self.open_credentials(merchant, &opened, Pick::Current);
        let same = opened.brief.gateway == new.gateway
            && before.is_ok_and(|before| written(&before) == written(credentials));
        let replaced = || version.max(new.since).saturating_add(IN_HAND_MAX_MS);
        let since = if same { opened.brief.since } else { replaced() };
        Ok((AccountBrief { created: opened.brief.created, since, ..new }, version))
    }

    fn seal_account(
        &self,
        claim: &Claim,
        merchant: &MerchantId,
        parts: &Parts<'_>,
        version: u64,
    ) -> Result<Vec<u8>, VaultError> {
        let Parts { brief, credentials, staged } = parts;
        let seal = |field: &str, text: &[u8]| {
            self.counts.seals.add();
            claim.seal(place(merchant, &brief.name, field, version), text)
        };
        let told = told(brief, staged.is_some());
        let mut fields = vec![
            version.to_be_bytes().to_vec(),
            seal(BRIEF, &told),
            seal(CREDENTIALS, &written(credentials)),
        ];
        if let Some((staged, credentials)) = staged {
            fields.push(seal(STAGED, &staged.written()));
            fields.push(seal(STAGED_CREDENTIALS, &written(credentials)));
        }
        let row = frame(&fields.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let fits = row.len() <= ACCOUNT_BYTES_MAX;
        fits.then_some(row).ok_or(VaultError::Size { what: "an account", max: ACCOUNT_BYTES_MAX })
    }

    fn open_brief<'a>(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        row: &'a [u8],
    ) -> Result<Opened<'a>, VaultError> {
        let keys = self.keys_of(merchant)?;
        let Sealed { version, brief, credentials, staged } =
            read_row(row).ok_or_else(|| self.refused(WHAT))?;
        let place = place(merchant, name, BRIEF, version);
        let text = self.unseal(WHAT, &keys.credential, place, brief)?;
        let brief = read_brief(name, &text, staged.is_some());
        let brief = brief.ok_or_else(|| self.refused(WHAT))?;
        Ok(Opened { version, brief, credentials, staged })
    }

    fn open_staged(
        &self,
        merchant: &MerchantId,
        opened: &Opened<'_>,
    ) -> Result<Option<Staged>, VaultError> {
        let Some(sealed) = opened.staged else { return Ok(None) };
        let keys = self.keys_of(merchant)?;
        let place = place(merchant, &opened.brief.name, STAGED, opened.version);
        let text = self.unseal(WHAT, &keys.credential, place, sealed.brief)?;
        Staged::read(&text).map(Some).ok_or_else(|| self.refused(WHAT))
    }

    fn open_credentials(
        &self,
        merchant: &MerchantId,
        opened: &Opened<'_>,
        pick: Pick,
    ) -> Result<Credentials, VaultError> {
        let keys = self.keys_of(merchant)?;
        let (field, sealed) = match (pick, opened.staged) {
            (Pick::Staged, Some(staged)) => (STAGED_CREDENTIALS, staged.credentials),
            (Pick::Staged, None) | (Pick::Current, _) => (CREDENTIALS, opened.credentials),
        };
        let place = place(merchant, &opened.brief.name, field, opened.version);
        let text = self.unseal(WHAT, &keys.credential, place, sealed)?;
        read_credentials(&text).ok_or_else(|| self.refused(WHAT))
    }
}

/// The fields of a row: three of them, or five where something is staged.
fn read_row(row: &[u8]) -> Option<Sealed<'_>> {
    let mut fields = Fields::new(row);
    let (version, brief, credentials) = (fields.number()?, fields.bytes()?, fields.bytes()?);
    if fields.end().is_some() {
        return Some(Sealed { version, brief, credentials, staged: None });
    }
    let staged = SealedStage { brief: fields.bytes()?, credentials: fields.bytes()? };
    fields.end()?;
    Some(Sealed { version, brief, credentials, staged: Some(staged) })
}

/// The brief as it is sealed. It says whether something is staged, so that nobody can cut that off, and
/// whether the account is disabled.
fn told(brief: &AccountBrief, staged: bool) -> Vec<u8> {
    let (created, since) = (brief.created.to_be_bytes(), brief.since.to_be_bytes());
    let mut fields: Vec<&[u8]> = vec![&created, &since, brief.gateway.as_bytes()];
    if brief.state == AccountState::Disabled {
        fields.push(DISABLED.as_bytes());
    }
    if staged {
        fields.push(STAGED.as_bytes());
    }
    frame(&fields)
}

fn read_brief(name: &AccountName, text: &[u8], staged: bool) -> Option<AccountBrief> {
    let mut fields = Fields::new(text);
    let (created, since) = (fields.number()?, fields.number()?);
    let gateway = fields.text()?.into();
    let mut words = Vec::new();
    while fields.end().is_none() {
        (words.len() < 2).then_some(())?;
        words.push(fields.text()?);
    }
    let (state, rest) = match &words[..] {
        [DISABLED, rest @ ..] => (AccountState::Disabled, rest),
        rest => (AccountState::Enabled, rest),
    };
    let agreed = if staged { *rest == [STAGED] } else { rest.is_empty() };
    agreed.then(|| AccountBrief { name: name.clone(), gateway, created, since, state })
}

/// Names and values in turn.
fn written(credentials: &Credentials) -> Zeroizing<Vec<u8>> {
    // Exposed to be sealed.
    let pairs = credentials.iter().flat_map(|(name, value)| [name, value.expose()]);
    Zeroizing::new(frame(&pairs.map(str::as_bytes).collect::<Vec<_>>()))
}

fn read_credentials(text: &[u8]) -> Option<Credentials> {
    let mut fields = Fields::new(text);
    let mut pairs = Vec::new();
    while fields.end().is_none() {
        pairs.push((fields.text()?.into(), Secret::new(fields.text()?)));
    }
    Some(Credentials::new(pairs))
}

/// An account at every maximum is refused by its size, and not by the store: see `seal_account`.
const _: () = assert!(
    VALUE_BYTES_MAX >= ACCOUNT_BYTES_MAX
        && ACCOUNT_BYTES_MAX > 24 * (Credentials::VALUE_BYTES_MAX + 128) + 2 * OVERHEAD_BYTES,
    "24 of the longest credentials fit into a row"
);
