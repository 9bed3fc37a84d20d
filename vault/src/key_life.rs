//! The life of keys: who may seal, how a key comes into the table and leaves it, and what happens
//! when the token is away for too long.
//!
//! How one key takes the place of another is the business of `rotation`.

#[cfg(test)]
mod tests;

use crate::audit::{Action, Who};
use crate::figures::Figures;
use crate::hsm::Manner;
use crate::keyring::table::{Anchor, KeyPlace, KeyState, Name, Row, TOKEN};
use crate::keyring::{self, Age, Former, New, SYSTEM, Spec};
use crate::seal::{Claim, Dek, DekId, Purpose};
use crate::store::{Collection, Store, Write, wait};
use crate::{HsmError, UnixSeconds, Vault, VaultError, deletion};
use model::MerchantId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::MutexGuard;

/// How many seals are reserved at a time: what a crash may count too many.
pub(crate) const SEALS_BLOCK: u64 = 1 << 16;
/// How many seals of one key with random nonces are safe (NIST SP 800-38D, 8.3). Each record has a
/// key of its own here, so that it is far away; it is kept to all the same.
pub(crate) const SEALS_LIMIT: u64 = 1 << 32;

/// How the vault treats its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySettings {
    /// How the next key in the token wraps.
    pub wrap: WrapMechanism,
    /// For how long data keys stay in memory while the token is away.
    pub hsm_outage_max: Duration,
    /// How many sessions wrap and unwrap keys at the same time. One more changes what is in the token.
    pub hsm_sessions: usize,
    /// How old a data key may become before another takes its place.
    pub dek_period: Duration,
    /// How old the key in the token may become before its exchange is asked for.
    pub kek_period: Duration,
    /// How long after a deletion the key of what was deleted is exchanged and destroyed.
    pub shred_after: Duration,
    /// After how many seals another data key takes the place of one.
    pub seals_max: u64,
    /// How many records a second a rotation seals again, at most.
    pub rotation_records_per_s: u32,
}

/// How the key in the token wraps data keys. Each key in the token does one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrapMechanism {
    /// AES-GCM by `C_Encrypt`, which authenticates whose key it is, and what for.
    AesGcm,
    /// RFC 5649 by `C_WrapKey`, which authenticates the key alone; the seal of the key table does
    /// the rest.
    AesKwp,
}

/// A key as it is listed. It says nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    pub id: Box<str>,
    pub owner: Box<str>,
    pub purpose: &'static str,
    pub version: u32,
    pub state: KeyState,
    pub created: UnixSeconds,
    /// When its state last changed.
    pub changed: UnixSeconds,
    /// On whose word it was made.
    pub by: Box<str>,
    /// Of a data key: how many records it sealed, rounded up after a crash.
    pub seals: Option<u64>,
}

/// The time, for what is made before anybody tells it.
pub(crate) fn now() -> UnixSeconds {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Takes away what the store knows of a key beside its row.
fn forgotten(id: DekId) -> [Write; 2] {
    let seals = Write::Delete { collection: Collection::Meta, key: keyring::seals_row(id) };
    [seals, deletion::unmark(id)]
}

// === impl KeySettings ===

impl Default for KeySettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            wrap: WrapMechanism::AesGcm,
            hsm_outage_max: Duration::from_secs(3_600),
            hsm_sessions: 2,
            dek_period: DAY.saturating_mul(365),
            kek_period: DAY.saturating_mul(730),
            shred_after: DAY.saturating_mul(3),
            seals_max: SEALS_LIMIT / 2,
            rotation_records_per_s: 2_000,
        }
    }
}

impl KeySettings {
    pub(crate) fn manner(&self) -> Manner {
        Manner { sessions: self.hsm_sessions, outage_max: self.hsm_outage_max }
    }
}

// === impl WrapMechanism ===

impl WrapMechanism {
    pub const ALL: [Self; 2] = [Self::AesGcm, Self::AesKwp];

    /// The word for it in storage and in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::AesKwp => "aes-kwp",
        }
    }

    pub fn by_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wrap| wrap.word() == word)
    }
}

// === impl Vault ===

impl Vault {
    /// The right to seal so many records of an owner, counted durably before it is given. It is
    /// held until the records are durable.
    pub(crate) async fn claim(
        &self,
        owner: Option<&MerchantId>,
        purpose: Purpose,
        seals: u64,
    ) -> Result<Claim, VaultError> {
        #[cfg(test)]
        crate::payments::simulation::breathe().await;
        loop {
            // A key that was retired has a successor by then, which the next round finds.
            let dek = self.keyring.active(owner, purpose)?;
            let Some(claim) = Claim::new(dek, seals) else { continue };
            if claim.dek().seals() > claim.dek().reserved() {
                self.reserve(claim.dek()).await?;
            }
            return Ok(claim);
        }
    }

    /// Makes it durable that a block of seals more than are claimed is spoken for.
    async fn reserve(&self, dek: &Arc<Dek>) -> Result<(), VaultError> {
        let _one_at_a_time = self.reserving.lock().await;
        if dek.seals() <= dek.reserved() {
            return Ok(());
        }
        let seals = dek.seals().saturating_add(SEALS_BLOCK);
        let write = Write::Put {
            collection: Collection::Meta,
            key: keyring::seals_row(dek.id()),
            value: seals.to_be_bytes().to_vec(),
        };
        self.store.batch(vec![write]).await?;
        dek.reserve(seals);
        Ok(())
    }

    /// Makes the keys of a merchant durable, together with `merchant`, and takes them into use.
    pub(crate) async fn make_merchant_keys(
        &self,
        id: &MerchantId,
        now: UnixSeconds,
        merchant: Write,
    ) -> Result<(), VaultError> {
        let mut made = Vec::new();
        for purpose in Purpose::OF_MERCHANT {
            let name = Name { owner: id.as_str().into(), purpose, version: 1 };
            made.push(self.make_key(name, KeyState::Active, now, "a new merchant").await?);
        }
        let rows: Vec<Row> = made.iter().map(|new| new.row.clone()).collect();
        self.change_table(&rows, None, vec![merchant]).await?;
        let deks: Vec<_> = made.into_iter().map(|new| new.dek).collect();
        self.keyring.refresh(id.as_str(), &deks);
        Ok(())
    }

    /// Makes a data key, wrapped by the key in the token that is in use.
    pub(crate) async fn make_key(
        &self,
        name: Name,
        state: KeyState,
        now: UnixSeconds,
        by: &str,
    ) -> Result<New, VaultError> {
        let (kek, born) = {
            let table = self.keyring.table();
            (table.kek(), table.version().saturating_add(1))
        };
        let kek = kek.ok_or(VaultError::Hsm(HsmError::Refused))?;
        let spec = Spec { name, state, born, now, by: by.into() };
        Ok(self.hsm.aside(move |hsm| keyring::make(hsm, kek, spec)).await?)
    }

    /// Changes rows of the key table, durably, and tells the token. Callers hold `changes`.
    pub(crate) async fn change_table(
        &self,
        rows: &[Row],
        vault_row: Option<Vec<u8>>,
        more: Vec<Write>,
    ) -> Result<(), VaultError> {
        let system = self.keyring.system()?;
        let sealed = self.keyring.table().seal(system.key_table.active(), rows, vault_row);
        let anchor = sealed.anchor();
        self.store.batch([sealed.writes(), more].concat()).await?;
        self.keyring.apply(sealed);
        // The change stands. What is not told the token now is told it by `tend`: until then it
        // does not notice when this very change is undone.
        if let Err(error) = self.tell_token(anchor).await {
            log::warn!("the token was not told of a change of the key table: {error}");
        }
        Ok(())
    }

    /// Lets the token remember the key table as it is now.
    pub(crate) async fn tell_token(&self, anchor: Anchor) -> Result<(), VaultError> {
        let vault = self.keyring.vault().to_vec();
        self.hsm.aside(move |hsm| hsm.set_anchor(vault, anchor.bytes())).await?;
        self.keyring.note_anchored(anchor.version);
        Ok(())
    }

    /// Puts keys into another state, durably, and takes the consequences in memory.
    pub(crate) async fn change_states(
        &self,
        owner: &str,
        rows: &[Row],
        new: &[Arc<Dek>],
    ) -> Result<Option<Former>, VaultError> {
        let before = self.keyring.deks_of(owner);
        let gone = rows.iter().filter(|row| row.state == KeyState::Destroyed).map(|row| row.id);
        self.change_table(rows, None, gone.flat_map(forgotten).collect()).await?;
        let former = self.keyring.refresh(owner, new);
        for row in rows.iter().filter(|row| row.state != KeyState::Active) {
            if let Some(dek) = before.get(&row.id).filter(|_| row.state != KeyState::PreActive) {
                dek.retire();
            }
        }
        Ok(former)
    }

    /// Destroys the keys of a merchant, on the word of `by`: nothing that they sealed opens again, its
    /// API keys are no longer good, and its name is not given to another.
    ///
    /// Copies of the wrapped keys, in backups and in old pages of the store, are good as long as the
    /// key in the token that wrapped them is. Rotating that one and destroying the old one ends them.
    pub(crate) async fn shred(
        &self,
        merchant: &MerchantId,
        by: &str,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let object = format!("{merchant}, on the word of {by}");
        let event = who.event(Action::MerchantShred, Some(merchant), object);
        self.audit.act(event, self.shred_now(merchant, now)).await
    }

    async fn shred_now(&self, merchant: &MerchantId, now: UnixSeconds) -> Result<(), VaultError> {
        let _one_at_a_time = self.changes.lock().await;
        self.keys_of(merchant)?;
        let owner = merchant.as_str();
        let rows: Vec<Row> = {
            let table = self.keyring.table();
            let live = table.of(owner).filter(|row| row.state != KeyState::Destroyed);
            live.map(|row| row.in_state(KeyState::Destroyed, now)).collect()
        };
        // First the keys, so that a crash in between leaves API keys that open nothing.
        self.change_states(owner, &rows, &[]).await?;
        self.cvvs.forget(merchant);
        for id in self.api_keys.forget(merchant) {
            self.delete(Collection::ApiKeys, id.as_str().as_bytes().to_vec()).await?;
        }
        Ok(())
    }

    /// Every key that there is or was.
    pub fn key_lines(&self) -> Vec<KeyLine> {
        let rows: Vec<Arc<Row>> = self.keyring.table().rows().cloned().collect();
        rows.iter().map(|row| self.key_line(row)).collect()
    }

    pub(crate) fn key_figures(&self, figures: &mut Figures) {
        let now = now();
        let table = self.keyring.table();
        for row in table.rows() {
            let count = match row.state {
                KeyState::PreActive => &mut figures.keys_pre_active,
                KeyState::Active => &mut figures.keys_active,
                KeyState::DecryptOnly => &mut figures.keys_decrypt_only,
                KeyState::Destroyed => &mut figures.keys_destroyed,
            };
            *count = count.saturating_add(1);
            if row.state == KeyState::Active {
                let of_token = matches!(row.place, KeyPlace::Token(_));
                let age =
                    if of_token { &mut figures.kek_age_s } else { &mut figures.key_age_max_s };
                *age = (*age).max(now.saturating_sub(row.created));
            }
            if matches!(row.place, KeyPlace::Token(_)) && row.state != KeyState::Destroyed {
                let age = &mut figures.kek_age_max_s;
                *age = (*age).max(now.saturating_sub(row.created));
            }
        }
        drop(table);
        let since = self.keyring.oldest_deletion();
        figures.deletion_age_max_s = since.map_or(0, |since| now.saturating_sub(since));
        figures.key_seals_max = self.keyring.seals_max();
        figures.key_seals_limit = self.settings.seals_max;
        figures.keys_locked = u64::from(self.keyring.is_empty());
        let silent = self.hsm.silent_for().as_millis();
        figures.hsm_silent_ms = u64::try_from(silent).unwrap_or(u64::MAX);
        (figures.key_memory_locked_bytes, figures.key_memory_unlocked_bytes) =
            crate::locked::figures();
        let (dumpable, locked) = crate::harden::dumpable_and_locked();
        figures.process_dumpable = u64::from(dumpable);
        figures.process_memory_locked = u64::from(locked);
    }

    fn key_line(&self, row: &Row) -> KeyLine {
        let dek = self.keyring.deks_of(&row.name.owner).get(&row.id).cloned();
        KeyLine {
            id: row.id.to_string().into(),
            owner: row.name.owner.clone(),
            purpose: row.name.purpose.word(),
            version: row.name.version,
            state: row.state,
            created: row.created,
            changed: row.changed,
            by: row.by.clone(),
            seals: dek.map(|dek| dek.seals()),
        }
    }

    /// Locks the keys up when the token has been away for too long, and takes them out again when
    /// it is back. Blocks on the token.
    pub(crate) fn watch_token(&self) {
        let away = self.hsm.silent_for() > self.settings.hsm_outage_max;
        if away && !self.keyring.is_empty() {
            self.keyring.empty();
            self.recent.clear();
            log::error!(
                "the hardware security module has been away for more than {} s: the keys are \
                 locked up, and nothing opens before it is back",
                self.settings.hsm_outage_max.as_secs()
            );
            self.tell_of_lock("locked up");
        }
        if !away && self.keyring.is_empty() && self.hsm.works() && !self.keyring.is_held() {
            let _one_at_a_time = wait(self.changes.lock());
            match self.keyring.fill(&*self.store, &self.hsm, Age::AsRemembered) {
                Ok(()) => {
                    log::warn!("the hardware security module is back, and so are the keys");
                    self.tell_of_lock("back in memory");
                }
                Err(error) => log::error!("the keys stay locked up: {error}"),
            }
        }
        self.catch_up();
    }

    /// What happens to the keys when the token comes and goes happens whether or not there is room
    /// for a line.
    fn tell_of_lock(&self, what: &str) {
        if self.audit.note(Who::system().event(Action::VaultKeysLock, None, what)).is_err() {
            log::error!("the audit log does not say that the keys are {what}");
        }
    }

    /// Tells the token what it was not told when it was away.
    fn catch_up(&self) {
        let behind = self.keyring.anchored() < self.keyring.table().version();
        if behind && self.hsm.works() && !self.keyring.is_empty() {
            let _one_at_a_time = wait(self.changes.lock());
            let told = Anchor::read(&*self.store).map(|anchor| wait(self.tell_token(anchor)));
            if !matches!(told, Ok(Ok(()))) {
                log::warn!("the token still does not know of the last change of the key table");
            }
        }
    }

    /// Says when the key in the token is due: that is for custodians to do.
    pub(crate) fn warn_of_old_kek(&self) {
        let period = self.settings.kek_period.as_secs();
        let table = self.keyring.table();
        let active = table.of(TOKEN).find(|row| row.state == KeyState::Active);
        if active.is_some_and(|row| now().saturating_sub(row.created) > period) {
            log::warn!(
                "the key in the token is due to be exchanged: `orchestra vault rotate --kek`"
            );
        }
    }

    /// Holds `changes`, for one change of keys at a time.
    pub(crate) fn change_keys(&self) -> MutexGuard<'_, ()> {
        wait(self.changes.lock())
    }

    /// The merchant that an owner of keys is. `None`: the system.
    pub(crate) fn merchant_of(owner: &str) -> Option<MerchantId> {
        if owner == SYSTEM { None } else { MerchantId::parse(owner).ok() }
    }

    /// Those of `old` that made what is still compared with.
    pub(crate) fn compared_with(
        &self,
        purpose: Purpose,
        old: &[DekId],
    ) -> Result<HashSet<DekId>, VaultError> {
        if purpose != Purpose::ApiKey {
            return Ok(HashSet::new());
        }
        let system = self.keyring.system()?;
        Ok(crate::api_keys::compared_with(&*self.store, &system.api_key, old)?)
    }
}
