//! Key custodians: two of them must agree before the key in the token is exchanged, and before what
//! cannot be undone ([`Deed`]).
//!
//! Each has a secret of their own, of which only a slow keyed hash is kept, sealed. One says yes,
//! and within [`APPROVAL_S`] another must; the same one twice is refused.
//!
//! Who may speak to the program can add custodians, and could so make two of their own. So once
//! custodians have made the key in the token, a new one is approved by one whose word counts, with the
//! secret of that one, and named in the logs beside the others. One custodian could make a second
//! of their own even so; therefore the word of the new one counts after [`NEWCOMER_S`] only, in which
//! the others see it. Whom nobody approves waits for [`UNAPPROVED_S`], whoever was removed in the
//! meantime: that is the way back for a vault whose custodians are all gone.

use crate::audit::{Action, Who};
use crate::frame::{Fields, Framer};
use crate::keyring::SYSTEM;
use crate::keyring::table::TOKEN;
use crate::seal::{Claim, Dek, Place, Purpose, same};
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store};
use crate::{StoreError, UnixSeconds, Vault, VaultError};
use argon2::{Algorithm, Argon2, Params, Version};
use model::Secret;
use zeroize::Zeroizing;

mod attempts;
mod deeds;

pub use deeds::{Approval, Deed};

/// How many custodians there may be.
pub const CUSTODIANS_MAX: usize = 32;
/// How long the name of a custodian may be, in bytes.
pub const CUSTODIAN_NAME_BYTES_MAX: usize = 32;
/// How long a custodian's secret is, in bytes.
pub const CUSTODIAN_SECRET_BYTES_MIN: usize = 12;
pub const CUSTODIAN_SECRET_BYTES_MAX: usize = 256;
/// How long a first word waits for the second.
pub const APPROVAL_S: u64 = 24 * 3_600;
/// How long the word of a new custodian does not count whom another approved: longer than a week-end.
pub const NEWCOMER_S: u64 = 72 * 3_600;
/// The same of one whom nobody approved.
pub const UNAPPROVED_S: u64 = 30 * 24 * 3_600;
/// What one hash costs: 64 MiB, three times over.
const HASH_KIB: u32 = 64 * 1024;
const HASH_ROUNDS: u32 = 3;
const PREFIX: &[u8] = b"custodian\0";
const WHAT: &str = "custodians";

/// What there is to say of a custodian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustodianBrief {
    pub name: Box<str>,
    /// When they accepted their responsibility.
    pub accepted: UnixSeconds,
    /// From when on their word counts.
    pub counts_from: UnixSeconds,
    /// Which custodian approved them.
    pub approved_by: Option<Box<str>>,
}

struct Custodian {
    hash: [u8; 32],
    salt: [u8; 16],
    accepted: UnixSeconds,
    counts_from: UnixSeconds,
    approved_by: Option<Box<str>>,
}

fn row(name: &str) -> Vec<u8> {
    [PREFIX, name.as_bytes()].concat()
}

fn name_of(row: &[u8]) -> Option<&str> {
    str::from_utf8(row.get(PREFIX.len()..)?).ok()
}

fn place<'a>(record: &'a str, field: &'a str) -> Place<'a> {
    Place { owner: SYSTEM, record, field, version: 1 }
}

fn is_name(name: &str) -> bool {
    matches!(name.len(), 1..=CUSTODIAN_NAME_BYTES_MAX)
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Argon2id, keyed with what only this vault has, so that a copied disk is not enough to guess.
fn hash(dek: &Dek, salt: &[u8; 16], secret: &Secret) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let refused = VaultError::Sealed { what: WHAT };
    let pepper = Zeroizing::new(dek.mac(&[b"custodian"]));
    let params = Params::new(HASH_KIB, HASH_ROUNDS, 1, Some(32)).map_err(|_| refused)?;
    let slow = Argon2::new_with_secret(&*pepper, Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = Zeroizing::new([0; 32]);
    // Exposed to be hashed.
    let hashed =
        slow.map_err(|_| refused)?.hash_password_into(secret.expose().as_bytes(), salt, &mut *hash);
    hashed.map_err(|_| refused)?;
    Ok(hash)
}

// === impl Custodian ===

impl Custodian {
    fn record(&self) -> Vec<u8> {
        let Self { hash, salt, accepted, counts_from, approved_by } = self;
        let mut out = Framer::default();
        out.put(hash);
        out.put(salt);
        out.number(*accepted);
        out.number(*counts_from);
        out.text(approved_by.as_deref());
        out.done()
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(record);
        let (hash, salt, accepted) = (fields.array()?, fields.array()?, fields.number()?);
        // Who became one before there was a time to wait has none.
        let counts_from = if fields.end().is_some() { accepted } else { fields.number()? };
        // Nor was who became one before there was an approval approved.
        let approved_by = if fields.end().is_some() { None } else { fields.optional()? };
        fields.end()?;
        Some(Self { hash, salt, accepted, counts_from, approved_by: approved_by.map(Into::into) })
    }

    /// Says that another one approves them, unless there is nothing to approve any more.
    fn approve(&mut self, by: &str, now: UnixSeconds) -> Result<(), VaultError> {
        if self.approved_by.is_some() || self.counts_from <= now {
            return Err(VaultError::CustodianApproved);
        }
        self.approved_by = Some(by.into());
        self.counts_from = self.counts_from.min(self.accepted.saturating_add(NEWCOMER_S));
        Ok(())
    }
}

// === impl Vault ===

impl Vault {
    /// Makes somebody a custodian, who has accepted what that means. Their word counts at once as
    /// long as the key in the token is the first one. From then on it counts after [`NEWCOMER_S`], if
    /// another custodian approves them, or after [`UNAPPROVED_S`].
    ///
    /// # Errors
    /// The name or the secret is not one, somebody has the name, or the vault failed.
    pub async fn add_custodian(
        &self,
        name: &str,
        secret: &Secret,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        if !is_name(name) {
            return Err(VaultError::Size {
                what: "the name of a custodian (small letters, digits, `-`)",
                max: CUSTODIAN_NAME_BYTES_MAX,
            });
        }
        if !(CUSTODIAN_SECRET_BYTES_MIN..=CUSTODIAN_SECRET_BYTES_MAX).contains(&secret.len()) {
            return Err(VaultError::CustodianSecret);
        }
        let object = self.beside_others(name)?;
        log::warn!("somebody becomes a custodian: {object}");
        let event = who.event(Action::CustodianAdd, None, object);
        self.audit.act(event, self.add_custodian_now(name, secret, now)).await
    }

    /// A new custodian, and those whom it concerns.
    fn beside_others(&self, name: &str) -> Result<String, VaultError> {
        let others: Vec<Box<str>> =
            self.custodians()?.into_iter().map(|other| other.name).collect();
        let alone = others.is_empty();
        Ok(if alone { name.into() } else { format!("{name}, beside {}", others.join(", ")) })
    }

    /// From when on the word of somebody counts who becomes a custodian now.
    fn counts_from(&self, now: UnixSeconds) -> UnixSeconds {
        let keys_in_token = self.keyring.table().of(TOKEN).count();
        if keys_in_token > 1 { now.saturating_add(UNAPPROVED_S) } else { now }
    }

    async fn add_custodian_now(
        &self,
        name: &str,
        secret: &Secret,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let _one_at_a_time = self.changes.lock().await;
        if self.custodian_rows()?.len() >= CUSTODIANS_MAX {
            return Err(VaultError::TooMany { what: WHAT, max: CUSTODIANS_MAX });
        }
        let claim = self.claim(None, Purpose::Custodian, 1).await?;
        let salt = crate::random::bytes();
        let hash = *hash(claim.dek(), &salt, secret)?;
        let counts_from = self.counts_from(now);
        let new = Custodian { hash, salt, accepted: now, counts_from, approved_by: None };
        let sealed = self.seal_custodian(&claim, name, &new);
        let new = self.store.put_if_absent(Collection::Meta, row(name), sealed).await?;
        new.then_some(()).ok_or(VaultError::CustodianExists)
    }

    fn seal_custodian(&self, claim: &Claim, name: &str, custodian: &Custodian) -> Vec<u8> {
        self.counts.seals.add();
        claim.seal(place(name, "custodian"), &custodian.record())
    }

    /// Says that the custodian `by`, who shows it with their secret, approves the new one `name`.
    ///
    /// # Errors
    /// The secret is not that of `by`, whose word counts already; there is no `name`, or it needs no
    /// approval any more; or the vault failed.
    pub async fn approve_custodian(
        &self,
        name: &str,
        (by, secret): (&str, &Secret),
        who: &Who,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let named = is_name(name) && is_name(by);
        let object =
            if named { format!("{name}, on the word of {by}") } else { "not a name".to_owned() };
        log::warn!("somebody is approved as a custodian: {object}");
        let event = who.event(Action::CustodianApprove, None, object);
        self.audit.act(event, self.approve_custodian_now(name, (by, secret), now)).await
    }

    async fn approve_custodian_now(
        &self,
        name: &str,
        (by, secret): (&str, &Secret),
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        self.check_custodian(by, secret, now).await?;
        let _one_at_a_time = self.changes.lock().await;
        let claim = self.claim(None, Purpose::Custodian, 1).await?;
        let old = self.store.get(Collection::Meta, &row(name))?;
        let mut custodian = self.custodian(name)?.ok_or(VaultError::NoCustodian)?;
        custodian.approve(by, now)?;
        let new = Some(self.seal_custodian(&claim, name, &custodian));
        let swapped = self.store.compare_and_swap(Collection::Meta, row(name), old, new).await?;
        swapped.then_some(()).ok_or(VaultError::Store(StoreError::Unavailable))
    }

    /// All custodians, by name.
    pub fn custodians(&self) -> Result<Vec<CustodianBrief>, VaultError> {
        let rows = self.custodian_rows()?;
        let briefs = rows.iter().map(|(key, _)| {
            let name = name_of(key).ok_or_else(|| self.refused(WHAT))?;
            let found = self.custodian(name)?.ok_or(VaultError::Custodian)?;
            let Custodian { accepted, counts_from, approved_by, .. } = found;
            Ok(CustodianBrief { name: name.into(), accepted, counts_from, approved_by })
        });
        briefs.collect()
    }

    /// How many custodians there are, and of how many the word does not count yet. It does not count
    /// as opening them, since it is asked whenever somebody looks at the figures.
    pub(crate) fn custodian_figures(&self, now: UnixSeconds) -> (u64, u64) {
        let rows = self.custodian_rows().unwrap_or_default();
        let system = self.keyring.system().ok();
        let is_new = |(key, sealed): &&Entry| {
            let keys = system.as_ref().map(|system| &system.custodian)?;
            let record = keys.open(place(name_of(key)?, "custodian"), sealed).ok()?;
            Custodian::parse(&record).filter(|custodian| custodian.counts_from > now)
        };
        let new = rows.iter().filter(|row| is_new(row).is_some()).count();
        (u64::try_from(rows.len()).unwrap_or(u64::MAX), u64::try_from(new).unwrap_or(u64::MAX))
    }

    /// Takes somebody out of the custodians. False when there is none of the name.
    pub async fn remove_custodian(&self, name: &str, who: &Who) -> Result<bool, VaultError> {
        if !is_name(name) {
            return Ok(false);
        }
        let _one_at_a_time = self.changes.lock().await;
        log::warn!("{name} is taken out of the custodians");
        let event = who.event(Action::CustodianRemove, None, name);
        let remove = async { Ok(self.delete(Collection::Meta, row(name)).await?) };
        self.audit.act::<_, VaultError>(event, remove).await
    }

    /// Refuses who is not the custodian they say they are. It takes as long for a name that nobody
    /// has.
    async fn check_custodian(
        &self,
        name: &str,
        secret: &Secret,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let _one_at_a_time = self.changes.lock().await;
        self.note_attempt(now).await?;
        let system = self.keyring.system()?;
        let found = if is_name(name) { self.custodian(name)? } else { None };
        let (salt, kept) = found.as_ref().map_or(([0; 16], [0; 32]), |c| (c.salt, c.hash));
        let right = same(&*hash(system.custodian.active(), &salt, secret)?, &kept);
        let found = found.filter(|_| right).ok_or(VaultError::Custodian)?;
        self.forget_attempts().await?;
        (found.counts_from <= now).then_some(()).ok_or(VaultError::NewCustodian)
    }

    fn custodian(&self, name: &str) -> Result<Option<Custodian>, VaultError> {
        let system = self.keyring.system()?;
        let Some(sealed) = self.store.get(Collection::Meta, &row(name))? else { return Ok(None) };
        let record = self.unseal(WHAT, &system.custodian, place(name, "custodian"), &sealed)?;
        Custodian::parse(&record).map(Some).ok_or_else(|| self.refused(WHAT))
    }

    /// Whether a row that has to do with custodians opens. `None`: it has not, or does not.
    pub(crate) fn custodian_row_holds(&self, key: &[u8], sealed: &[u8]) -> Option<()> {
        match key {
            deeds::APPROVAL_ROW => self.word_holds(sealed),
            attempts::ATTEMPTS_ROW => self.attempts_hold(sealed),
            _ => {
                let name = name_of(key).filter(|_| key.starts_with(PREFIX))?;
                let system = self.keyring.system().ok()?;
                let record = system.custodian.open(place(name, "custodian"), sealed).ok()?;
                Custodian::parse(&record).map(drop)
            }
        }
    }

    fn custodian_rows(&self) -> Result<Vec<Entry>, VaultError> {
        Ok(self.store.page(Collection::Meta, None, PREFIX, PAGE_ENTRIES_MAX)?)
    }
}

#[cfg(test)]
mod tests {
    use super::Who;
    use crate::VaultError;
    use crate::stage::{NOW, on_stage};
    use crate::store::{Collection, Store, Write, wait};
    use model::Secret;
    use std::future::Future;
    use std::task::{Context, Waker};

    on_stage!(1 an_attempt_counts_before_its_secret_is_looked_at(stage) {
        let (vault, secret) = (stage.make(), Secret::new("a secret of their own"));
        wait(vault.add_custodian("alice", &secret, &Who::system(), NOW)).unwrap();
        let mut nobody = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            let mut asking = Box::pin(vault.check_custodian("alice", &secret, NOW));
            assert!(asking.as_mut().poll(&mut nobody).is_pending());
            // Who asked is gone before there is an answer. It is in the queue of the store, in front of
            // this.
            drop(asking);
            let (collection, key) = (Collection::Meta, b"later".to_vec());
            wait(vault.store.batch(vec![Write::Put { collection, key, value: vec![] }])).unwrap();
        }
        let right = wait(vault.check_custodian("alice", &secret, NOW));
        assert_eq!(right, Err(VaultError::Custodian));
    });

    on_stage!(1 those_whose_word_does_not_count_yet_are_counted(stage) {
        let vault = stage.make();
        assert_eq!(vault.custodian_figures(NOW), (0, 0));
        let secret = Secret::new("a secret of their own");
        for (name, accepted) in [("alice", NOW), ("bob", NOW + 10)] {
            wait(vault.add_custodian(name, &secret, &Who::system(), accepted)).unwrap();
        }
        assert_eq!(vault.custodian_figures(NOW), (2, 1));
        assert_eq!(vault.custodian_figures(NOW + 10), (2, 0));
    });
}
