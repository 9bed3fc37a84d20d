//! A merchant's accounts at payment gateways.
//!
//! An account is one row: a version, a sealed brief, and its sealed credentials, apart so that to
//! list accounts opens no credential. The brief is no secret, but who could change it could send
//! credentials to another gateway.

use crate::frame::{Fields, frame};
use crate::seal::{OVERHEAD_BYTES, Place};
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, VALUE_BYTES_MAX};
use crate::{StoreError, UnixMillis, Vault, VaultError};
use model::{AccountName, Credentials, MerchantId, Secret};
use zeroize::Zeroizing;

/// How many accounts a merchant may have.
pub const ACCOUNTS_MAX: usize = 1_000;
/// How long the name of a gateway may be, in bytes.
const GATEWAY_BYTES_MAX: usize = 64;
/// How often a replacement is tried when others replace the same account.
const REPLACE_TRIES_MAX: usize = 8;
/// What errors call the rows.
const WHAT: &str = "accounts";

/// What there is to say of an account without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountBrief {
    pub name: AccountName,
    pub gateway: Box<str>,
    /// When the account was first put; a replacement keeps it.
    pub created: UnixMillis,
}

/// An account with its credentials in the clear.
#[derive(Debug)]
pub struct Account {
    pub brief: AccountBrief,
    pub credentials: Credentials,
}

/// A row whose brief was opened.
struct Opened<'a> {
    version: u64,
    brief: AccountBrief,
    credentials: &'a [u8],
}

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
    /// Adds an account, or replaces the whole of it and keeps the time of its creation.
    pub async fn put_account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        gateway: &str,
        credentials: Credentials,
        now: UnixMillis,
    ) -> Result<AccountBrief, VaultError> {
        check_sizes(gateway, &credentials)?;
        for _ in 0..REPLACE_TRIES_MAX {
            let key = row(merchant, name);
            let old = self.store.get(Collection::Accounts, &key)?;
            let (created, version) = self.follow(merchant, name, old.as_deref(), now)?;
            let brief = AccountBrief { name: name.clone(), gateway: gateway.into(), created };
            let new = self.seal_account(merchant, &brief, &credentials, version)?;
            let swap = self.store.compare_and_swap(Collection::Accounts, key, old, Some(new));
            if swap.await? {
                return Ok(brief);
            }
        }
        // So many replacements of one account at once are no use of it.
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// An account with its credentials.
    pub fn account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
    ) -> Result<Option<Account>, VaultError> {
        let Some(value) = self.store.get(Collection::Accounts, &row(merchant, name))? else {
            return Ok(None);
        };
        let opened = self.open_brief(merchant, name, &value)?;
        let credentials = self.open_credentials(merchant, &opened)?;
        Ok(Some(Account { brief: opened.brief, credentials }))
    }

    /// The accounts of a merchant, by name.
    pub fn accounts(&self, merchant: &MerchantId) -> Result<Vec<AccountBrief>, VaultError> {
        self.account_rows(merchant)?
            .iter()
            .map(|(key, value)| {
                let name = key
                    .get(prefix(merchant).len()..)
                    .and_then(|name| AccountName::parse(str::from_utf8(name).ok()?).ok())
                    .ok_or_else(|| self.refused(WHAT))?;
                Ok(self.open_brief(merchant, &name, value)?.brief)
            })
            .collect()
    }

    /// Deletes an account. False when there is none.
    pub async fn delete_account(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
    ) -> Result<bool, VaultError> {
        Ok(self.delete(Collection::Accounts, row(merchant, name)).await?)
    }

    fn account_rows(&self, merchant: &MerchantId) -> Result<Vec<Entry>, VaultError> {
        let max = ACCOUNTS_MAX.min(PAGE_ENTRIES_MAX);
        Ok(self.store.page(Collection::Accounts, None, &prefix(merchant), max)?)
    }

    /// When the account that is put was created, and which version it is.
    ///
    /// Versions also grow over a deletion, so that no field of a deleted account opens in a new
    /// one of the same name.
    fn follow(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        old: Option<&[u8]>,
        now: UnixMillis,
    ) -> Result<(UnixMillis, u64), VaultError> {
        match old {
            Some(old) => {
                let opened = self.open_brief(merchant, name, old)?;
                Ok((opened.brief.created, now.max(opened.version.saturating_add(1))))
            }
            None if self.account_rows(merchant)?.len() >= ACCOUNTS_MAX => {
                Err(VaultError::TooMany { what: WHAT, max: ACCOUNTS_MAX })
            }
            None => Ok((now, now)),
        }
    }

    fn seal_account(
        &self,
        merchant: &MerchantId,
        brief: &AccountBrief,
        credentials: &Credentials,
        version: u64,
    ) -> Result<Vec<u8>, VaultError> {
        let keys = self.keys_of(merchant)?;
        let seal = |field: &str, text: &[u8]| {
            self.counts.seals.add();
            keys.credential.active().seal(place(merchant, &brief.name, field, version), text)
        };
        let told = frame(&[&brief.created.to_be_bytes(), brief.gateway.as_bytes()]);
        let row = frame(&[
            &version.to_be_bytes(),
            &seal("brief", &told),
            &seal("credentials", &written(credentials)),
        ]);
        let fits = row.len() <= VALUE_BYTES_MAX;
        fits.then_some(row).ok_or(VaultError::Size { what: "an account", max: VALUE_BYTES_MAX })
    }

    fn open_brief<'a>(
        &self,
        merchant: &MerchantId,
        name: &AccountName,
        row: &'a [u8],
    ) -> Result<Opened<'a>, VaultError> {
        let keys = self.keys_of(merchant)?;
        let (version, sealed, credentials) = read_row(row).ok_or_else(|| self.refused(WHAT))?;
        let text =
            self.unseal(WHAT, &keys.credential, place(merchant, name, "brief", version), sealed)?;
        let brief = read_brief(name, &text).ok_or_else(|| self.refused(WHAT))?;
        Ok(Opened { version, brief, credentials })
    }

    fn open_credentials(
        &self,
        merchant: &MerchantId,
        opened: &Opened<'_>,
    ) -> Result<Credentials, VaultError> {
        let keys = self.keys_of(merchant)?;
        let place = place(merchant, &opened.brief.name, "credentials", opened.version);
        let text = self.unseal(WHAT, &keys.credential, place, opened.credentials)?;
        read_credentials(&text).ok_or_else(|| self.refused(WHAT))
    }
}

/// The version, the sealed brief and the sealed credentials.
fn read_row(row: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let mut fields = Fields::new(row);
    let parts = (fields.number()?, fields.bytes()?, fields.bytes()?);
    fields.end()?;
    Some(parts)
}

fn read_brief(name: &AccountName, text: &[u8]) -> Option<AccountBrief> {
    let mut fields = Fields::new(text);
    let created = fields.number()?;
    let gateway = fields.text()?.into();
    fields.end()?;
    Some(AccountBrief { name: name.clone(), gateway, created })
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
    VALUE_BYTES_MAX > 24 * (Credentials::VALUE_BYTES_MAX + 128) + 2 * OVERHEAD_BYTES,
    "24 of the longest credentials fit into a row"
);
