//! The data keys in memory: made of the operating system's randomness, wrapped by the token, kept
//! in the [`table`], and held here while the vault is open.
//!
//! Keys are taken out of memory when the token has been away for too long, and read again when it
//! is back. How keys come and go is the business of `rotation`.

pub(crate) mod table;

use crate::hsm::{Hsm, Kek};
use crate::seal::{Dek, DekId, Deks, Purpose, Rotation};
use crate::store::{Collection, Store};
use crate::{HsmError, OpenError, UnixSeconds, Vault, VaultError};
use arc_swap::{ArcSwap, ArcSwapOption};
use model::MerchantId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use table::{Anchor, KeyPlace, KeyState, Name, Row, Sealed, Table};
use zeroize::Zeroizing;

/// Who owns the keys that belong to no merchant. No merchant can have this name.
pub(crate) const SYSTEM: &str = "@system";
/// How many data keys the vault keeps in memory.
pub(crate) const DEKS_MAX: usize = 100_000;
/// The version that a key is made with.
const VERSION_FIRST: u32 = 1;

/// The data keys of a merchant.
#[derive(Debug)]
pub(crate) struct MerchantKeys {
    pub(crate) card: Deks,
    pub(crate) credential: Deks,
    pub(crate) fingerprint: Deks,
    pub(crate) payment: Deks,
}

/// The data keys that belong to no merchant.
#[derive(Debug)]
pub(crate) struct SystemKeys {
    pub(crate) api_key: Deks,
    pub(crate) audit: Deks,
    pub(crate) integrity: Deks,
    pub(crate) custodian: Deks,
    pub(crate) key_table: Deks,
    pub(crate) token_check: Deks,
}

/// Every data key, and what is known of it.
#[derive(Debug)]
pub(crate) struct Keyring {
    vault: [u8; 8],
    /// Nothing while the token has been away for too long.
    system: ArcSwapOption<SystemKeys>,
    merchants: ArcSwap<HashMap<MerchantId, Held>>,
    table: Mutex<Table>,
    /// The version of the table that the token remembers.
    anchored: std::sync::atomic::AtomicU64,
    /// The keys that were taken out of memory, as long as somebody still works with them.
    let_go: Mutex<Vec<Weak<Dek>>>,
}

/// What there is of a merchant.
#[derive(Clone, Debug)]
enum Held {
    Keys(Arc<MerchantKeys>),
    /// The keys were destroyed, and with them everything that they sealed.
    Shredded,
}

/// A key that is made and not yet durable.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) row: Row,
    pub(crate) dek: Arc<Dek>,
}

/// The first table of a vault, and the keys that its ledger begins with.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) sealed: Sealed,
    pub(crate) integrity: Deks,
    pub(crate) audit: Deks,
}

/// What a new key is for.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: Name,
    pub(crate) state: KeyState,
    pub(crate) born: u64,
    pub(crate) now: UnixSeconds,
    pub(crate) by: Box<str>,
}

/// Whether a key table may be older than the token remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    AsRemembered,
    /// It is not asked: the table is looked at only, or an operator says that it is a backup. The
    /// token remembers what it did before.
    Unasked,
}

/// What was let go of, as long as somebody still holds it.
#[derive(Debug)]
pub(crate) enum Former {
    Merchant(Weak<MerchantKeys>),
    System(Weak<SystemKeys>),
}

type Known = HashMap<DekId, Arc<Dek>>;

/// The first rows of a vault: its key in the token, and the keys of the system. Blocks on the token.
pub(crate) fn make_first(
    hsm: &Hsm,
    kek: Kek,
    vault_row: Vec<u8>,
    now: UnixSeconds,
) -> Result<First, OpenError> {
    let mut made = Vec::new();
    for purpose in Purpose::OF_SYSTEM {
        let name = Name { owner: SYSTEM.into(), purpose, version: VERSION_FIRST };
        let spec = Spec { name, state: KeyState::Active, born: 1, now, by: "init".into() };
        made.push(make(hsm, kek, spec)?);
    }
    let dek_for = |purpose| {
        let found = made.iter().find(|new| new.row.name.purpose == purpose);
        found.map(|new| new.dek.clone()).ok_or(HsmError::Refused)
    };
    let key = dek_for(Purpose::KeyTable)?;
    let integrity = Deks::new(dek_for(Purpose::Integrity)?, vec![]);
    let audit = Deks::new(dek_for(Purpose::Audit)?, vec![]);
    let mut rows = vec![kek_row(kek, VERSION_FIRST, KeyState::Active, 1, now, "init")];
    rows.extend(made.into_iter().map(|new| new.row));
    Ok(First { sealed: Table::default().seal(&key, &rows, Some(vault_row)), integrity, audit })
}

/// The row of a key inside the token.
pub(crate) fn kek_row(
    kek: Kek,
    version: u32,
    state: KeyState,
    born: u64,
    now: UnixSeconds,
    by: &str,
) -> Row {
    let name = Name { owner: table::TOKEN.into(), purpose: Purpose::Kek, version };
    let place = KeyPlace::Token(kek.wrap);
    Row { name, id: DekId(kek.id), state, born, created: now, changed: now, by: by.into(), place }
}

/// Makes a key. Blocks on the token.
pub(crate) fn make(hsm: &Hsm, kek: Kek, spec: Spec) -> Result<New, HsmError> {
    let Spec { name, state, born, now, by } = spec;
    let id = DekId(crate::random::bytes());
    let key = Zeroizing::new(crate::random::bytes::<32>());
    let bytes = hsm.wrap(kek, name.aad(id), &key)?;
    let dek = Arc::new(Dek::new(id, name.purpose, &key, 0));
    let place = KeyPlace::Wrapped { by: kek.id, bytes };
    let row = Row { name, id, state, born, created: now, changed: now, by, place };
    Ok(New { row, dek })
}

/// The row of a key under another key of the token. Blocks on the token.
pub(crate) fn rewrap(hsm: &Hsm, from: Kek, to: Kek, row: &Row) -> Result<Row, HsmError> {
    let KeyPlace::Wrapped { bytes, .. } = &row.place else { return Err(HsmError::Refused) };
    let key = hsm.unwrap(from, row.name.aad(row.id), bytes.clone())?;
    let key = <&[u8; 32]>::try_from(key.as_slice()).map_err(|_| HsmError::Refused)?;
    let bytes = hsm.wrap(to, row.name.aad(row.id), key)?;
    Ok(Row { place: KeyPlace::Wrapped { by: to.id, bytes }, ..row.clone() })
}

/// The keys of one owner for one purpose, as their states say.
fn deks<'a>(
    rows: impl Iterator<Item = &'a Arc<Row>>,
    purpose: Purpose,
    known: &Known,
) -> Option<Deks> {
    let (mut active, mut others) = (None, Vec::new());
    for row in rows.filter(|row| row.name.purpose == purpose) {
        match row.state {
            KeyState::Active if active.is_some() => return None,
            KeyState::Active => active = Some(known.get(&row.id)?.clone()),
            KeyState::PreActive | KeyState::DecryptOnly => {
                others.push(known.get(&row.id)?.clone());
            }
            KeyState::Destroyed => {}
        }
    }
    Some(Deks::new(active?, others))
}

// === impl MerchantKeys ===

impl MerchantKeys {
    fn of(owner: &str, table: &Table, known: &Known) -> Option<Self> {
        Some(Self {
            card: deks(table.of(owner), Purpose::Card, known)?,
            credential: deks(table.of(owner), Purpose::Credential, known)?,
            fingerprint: deks(table.of(owner), Purpose::Fingerprint, known)?,
            payment: deks(table.of(owner), Purpose::Payment, known)?,
        })
    }

    /// The keys for one purpose. `None`: merchants have none for it.
    pub(crate) fn find(&self, purpose: Purpose) -> Option<&Deks> {
        match purpose {
            Purpose::Card => Some(&self.card),
            Purpose::Credential => Some(&self.credential),
            Purpose::Fingerprint => Some(&self.fingerprint),
            Purpose::Payment => Some(&self.payment),
            Purpose::ApiKey
            | Purpose::Audit
            | Purpose::Custodian
            | Purpose::Integrity
            | Purpose::Kek
            | Purpose::KeyTable
            | Purpose::TokenCheck => None,
        }
    }

    fn known(&self) -> Known {
        let all = [&self.card, &self.credential, &self.fingerprint, &self.payment]
            .into_iter()
            .flat_map(Deks::iter);
        all.map(|dek| (dek.id(), dek.clone())).collect()
    }
}

// === impl SystemKeys ===

impl SystemKeys {
    fn of(table: &Table, known: &Known) -> Option<Self> {
        let keys = |purpose| deks(table.of(SYSTEM), purpose, known);
        Some(Self {
            api_key: keys(Purpose::ApiKey)?,
            audit: keys(Purpose::Audit)?,
            custodian: keys(Purpose::Custodian)?,
            integrity: keys(Purpose::Integrity)?,
            key_table: keys(Purpose::KeyTable)?,
            token_check: keys(Purpose::TokenCheck)?,
        })
    }

    /// The keys for one purpose. `None`: the system has none for it.
    pub(crate) fn find(&self, purpose: Purpose) -> Option<&Deks> {
        match purpose {
            Purpose::ApiKey => Some(&self.api_key),
            Purpose::Audit => Some(&self.audit),
            Purpose::Custodian => Some(&self.custodian),
            Purpose::Integrity => Some(&self.integrity),
            Purpose::KeyTable => Some(&self.key_table),
            Purpose::TokenCheck => Some(&self.token_check),
            Purpose::Card
            | Purpose::Credential
            | Purpose::Fingerprint
            | Purpose::Kek
            | Purpose::Payment => None,
        }
    }

    fn known(&self) -> Known {
        let all = Purpose::ALL.into_iter().filter_map(|purpose| self.find(purpose));
        all.flat_map(Deks::iter).map(|dek| (dek.id(), dek.clone())).collect()
    }
}

// === impl Former ===

impl Former {
    /// Whether somebody still works with what these keys were before the change.
    pub(crate) fn is_held(&self) -> bool {
        match self {
            Self::Merchant(keys) => keys.strong_count() > 0,
            Self::System(keys) => keys.strong_count() > 0,
        }
    }
}

// === impl Keyring ===

impl Keyring {
    /// Unwraps every key of the table, and refuses one that is not as the vault left it. Blocks on
    /// the token.
    pub(crate) fn open(
        store: &dyn Store,
        hsm: &Hsm,
        vault: [u8; 8],
        table: Table,
        age: Age,
    ) -> Result<Self, OpenError> {
        let keyring = Self {
            vault,
            system: ArcSwapOption::empty(),
            merchants: ArcSwap::default(),
            table: Mutex::new(table),
            anchored: std::sync::atomic::AtomicU64::new(0),
            let_go: Mutex::default(),
        };
        keyring.fill(store, hsm, age)?;
        Ok(keyring)
    }

    /// Reads the keys of the table into memory. Blocks on the token.
    pub(crate) fn fill(&self, store: &dyn Store, hsm: &Hsm, age: Age) -> Result<(), OpenError> {
        let damaged = || OpenError::Damaged { what: "list of keys" };
        let mut table = self.table();
        let known = unwrap_all(store, hsm, &table)?;
        let key = deks(table.of(SYSTEM), Purpose::KeyTable, &known).ok_or_else(damaged)?;
        let anchor = Anchor::read(store)?;
        if !table.is_sealed_by(key.active(), &anchor) {
            return Err(OpenError::KeyTable);
        }
        self.check_anchor(hsm, &anchor, age)?;
        let merchants = held(&table, &known).ok_or_else(damaged)?;
        let system = SystemKeys::of(&table, &known).ok_or_else(damaged)?;
        self.system.store(Some(Arc::new(system)));
        self.merchants.store(Arc::new(merchants));
        Ok(())
    }

    /// Refuses a table that is older than the one that the token remembers. One that is newer was
    /// cut off before the token was told.
    fn check_anchor(&self, hsm: &Hsm, found: &Anchor, age: Age) -> Result<(), OpenError> {
        if age == Age::Unasked {
            return Ok(());
        }
        let told = hsm.anchor(self.vault.to_vec())?;
        if let Some(told) = told.as_deref().and_then(Anchor::parse) {
            let older = found.version < told.version;
            let other = found.version == told.version && *found != told;
            if older || other {
                return Err(OpenError::RolledBack { found: found.version, told: told.version });
            }
        }
        if told.as_deref() != Some(&found.bytes()) {
            hsm.set_anchor(self.vault.to_vec(), found.bytes())?;
        }
        self.anchored.store(found.version, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Lets the token remember the table that is there, whatever it remembered. Blocks on the token.
    pub(crate) fn have_believed(&self, store: &dyn Store, hsm: &Hsm) -> Result<(), VaultError> {
        let damaged = |_| VaultError::Sealed { what: "seal of the list of keys" };
        let found = Anchor::read(store).map_err(damaged)?;
        hsm.set_anchor(self.vault.to_vec(), found.bytes())?;
        self.anchored.store(found.version, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Takes every key out of memory. What needs one is refused until [`Self::fill`].
    pub(crate) fn empty(&self) {
        let (system, merchants) = (self.system.swap(None), self.merchants.swap(Arc::default()));
        let of_system = system.iter().flat_map(|keys| keys.known());
        let of_merchants = merchants.values().flat_map(|held| match held {
            Held::Keys(keys) => keys.known(),
            Held::Shredded => Known::new(),
        });
        // The keys of the audit log and of the ledger stay with these, and are never exchanged.
        let exchanged = |dek: &Arc<Dek>| dek.purpose().rotation() != Rotation::Never;
        let all = of_system.chain(of_merchants).map(|(_, dek)| dek).filter(exchanged);
        *self.let_go() = all.map(|dek| Arc::downgrade(&dek)).collect();
    }

    /// Whether somebody still works with keys that were taken out of memory. A rotation would not
    /// wait for those if they were read into memory a second time.
    pub(crate) fn is_held(&self) -> bool {
        self.let_go().iter().any(|dek| dek.strong_count() > 0)
    }

    fn let_go(&self) -> MutexGuard<'_, Vec<Weak<Dek>>> {
        self.let_go.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds on to all keys as they are, for who reads records of many owners: see
    /// [`Self::merchant`].
    pub(crate) fn hold(&self) -> impl Sized + use<> {
        (self.system.load_full(), self.merchants.load_full())
    }

    /// Whether the keys are out of memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.system.load().is_none()
    }

    /// The keys of the system.
    pub(crate) fn system(&self) -> Result<Arc<SystemKeys>, VaultError> {
        self.system.load_full().ok_or(VaultError::Locked)
    }

    /// The keys of a merchant. Whoever opens a record has them before it reads the record: then the
    /// key of the record is among them, whatever is rotated meanwhile.
    pub(crate) fn merchant(&self, id: &MerchantId) -> Result<Arc<MerchantKeys>, VaultError> {
        match self.merchants.load().get(id) {
            Some(Held::Keys(keys)) => Ok(keys.clone()),
            Some(Held::Shredded) => Err(VaultError::Shredded),
            None if self.is_empty() => Err(VaultError::Locked),
            None => Err(VaultError::NoSuchMerchant),
        }
    }

    /// The key that seals for an owner.
    pub(crate) fn active(
        &self,
        owner: Option<&MerchantId>,
        purpose: Purpose,
    ) -> Result<Arc<Dek>, VaultError> {
        let none = VaultError::Sealed { what: "list of keys" };
        match owner {
            Some(merchant) => {
                let keys = self.merchant(merchant)?;
                keys.find(purpose).map(|keys| keys.active().clone()).ok_or(none)
            }
            None => self.system()?.find(purpose).map(|keys| keys.active().clone()).ok_or(none),
        }
    }

    /// How many merchants have keys, or had them.
    pub(crate) fn merchants(&self) -> usize {
        self.merchants.load().len()
    }

    /// Whether there is such a merchant, shredded or not.
    pub(crate) fn has(&self, id: &MerchantId) -> bool {
        self.merchants.load().contains_key(id)
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of the table that the token is known to remember.
    pub(crate) fn anchored(&self) -> u64 {
        self.anchored.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(crate) fn note_anchored(&self, version: u64) {
        self.anchored.fetch_max(version, std::sync::atomic::Ordering::Relaxed);
    }

    /// What the token remembers the table by.
    pub(crate) fn vault(&self) -> [u8; 8] {
        self.vault
    }

    /// Takes over a change of the table that is durable: the keys of `owner` become what their rows
    /// say. `new` is the key among them that memory did not have.
    ///
    /// Callers do this one at a time.
    pub(crate) fn apply(&self, sealed: Sealed) {
        self.table().apply(sealed);
    }

    /// Makes the keys of an owner what their rows say, with `new` among them. Returns what they
    /// were before, for who must know when nobody works with that any more.
    pub(crate) fn refresh(&self, owner: &str, new: &[Arc<Dek>]) -> Option<Former> {
        let table = self.table();
        let add = |mut known: Known| {
            known.extend(new.iter().map(|dek| (dek.id(), dek.clone())));
            known
        };
        if owner == SYSTEM {
            let before = self.system.load_full()?;
            let keys = SystemKeys::of(&table, &add(before.known()))?;
            self.system.store(Some(Arc::new(keys)));
            return Some(Former::System(Arc::downgrade(&before)));
        }
        let id = MerchantId::parse(owner).ok()?;
        let mut merchants = HashMap::clone(&self.merchants.load());
        let before = match merchants.get(&id) {
            Some(Held::Keys(keys)) => Some(keys.clone()),
            Some(Held::Shredded) | None => None,
        };
        let known = add(before.as_ref().map(|keys| keys.known()).unwrap_or_default());
        let after = match MerchantKeys::of(owner, &table, &known) {
            Some(keys) => Held::Keys(Arc::new(keys)),
            None => Held::Shredded,
        };
        merchants.insert(id, after);
        self.merchants.store(Arc::new(merchants));
        Some(Former::Merchant(before.as_ref().map(Arc::downgrade).unwrap_or_default()))
    }

    /// The most seals of one key that is in use.
    pub(crate) fn seals_max(&self) -> u64 {
        let merchants = self.merchants.load();
        let of_merchants = merchants.values().flat_map(|held| match held {
            Held::Keys(keys) => [&keys.card, &keys.credential, &keys.payment]
                .map(|deks| deks.active().seals())
                .to_vec(),
            Held::Shredded => vec![],
        });
        let system = self.system.load_full();
        let of_system = system.iter().map(|keys| keys.api_key.active().seals());
        of_merchants.chain(of_system).max().unwrap_or_default()
    }

    /// Since when the oldest deletion waits that is not final.
    pub(crate) fn oldest_deletion(&self) -> Option<UnixSeconds> {
        let merchants = self.merchants.load();
        let of_merchants = merchants.values().filter_map(|held| match held {
            Held::Keys(keys) => {
                let all = keys.card.iter().chain(keys.credential.iter());
                all.filter_map(|dek| dek.deleted_since()).min()
            }
            Held::Shredded => None,
        });
        of_merchants.min()
    }

    /// Every key in memory of an owner, by id.
    pub(crate) fn deks_of(&self, owner: &str) -> HashMap<DekId, Arc<Dek>> {
        if owner == SYSTEM {
            return self.system.load_full().map(|keys| keys.known()).unwrap_or_default();
        }
        let keys = MerchantId::parse(owner).ok().and_then(|id| self.merchant(&id).ok());
        keys.map(|keys| keys.known()).unwrap_or_default()
    }
}

/// Every merchant that has rows, and its keys.
fn held(table: &Table, known: &Known) -> Option<HashMap<MerchantId, Held>> {
    let mut owners: BTreeMap<&str, bool> = BTreeMap::new();
    for row in table.rows().filter(|row| !row.name.owner.starts_with('@')) {
        *owners.entry(&row.name.owner).or_default() |= row.state != KeyState::Destroyed;
    }
    let merchants = owners.into_iter().map(|(owner, lives)| {
        let keys = || MerchantKeys::of(owner, table, known).map(|keys| Held::Keys(Arc::new(keys)));
        Some((MerchantId::parse(owner).ok()?, if lives { keys()? } else { Held::Shredded }))
    });
    merchants.collect()
}

fn unwrap_all(store: &dyn Store, hsm: &Hsm, table: &Table) -> Result<Known, OpenError> {
    let (mut known, mut seen) = (Known::new(), HashSet::new());
    for row in table.rows() {
        if !seen.insert(row.id) {
            return Err(row.name.refused(row.id));
        }
        if let Some(dek) = unwrap(store, hsm, table, row)? {
            known.insert(row.id, Arc::new(dek));
        }
        if known.len() > DEKS_MAX {
            return Err(OpenError::TooMany { what: "data keys", max: DEKS_MAX });
        }
    }
    Ok(known)
}

fn unwrap(
    store: &dyn Store,
    hsm: &Hsm,
    table: &Table,
    row: &Row,
) -> Result<Option<Dek>, OpenError> {
    let (name, id) = (&row.name, row.id);
    let KeyPlace::Wrapped { by, bytes } = &row.place else { return Ok(None) };
    if row.state == KeyState::Destroyed {
        return Ok(None);
    }
    let kek = table.kek_by_id(*by).ok_or_else(|| name.refused(id))?;
    let key = hsm.unwrap(kek, name.aad(id), bytes.clone()).map_err(|error| match error {
        HsmError::Refused => name.refused(id),
        HsmError::Away | HsmError::Busy | HsmError::Deadline | HsmError::Pin => error.into(),
    })?;
    let key = <&[u8; 32]>::try_from(key.as_slice()).map_err(|_| name.refused(id))?;
    let seals = store.get(Collection::Meta, &seals_row(id))?;
    let seals = seals.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    let dek = Dek::new(id, name.purpose, key, seals);
    if let Some(since) = crate::deletion::mark_of(store, id)? {
        dek.note_deletion(since);
    }
    Ok(Some(dek))
}

/// Where in [`Collection::Meta`] it stands how many seals of a key are spoken for.
pub(crate) const SEALS: &[u8] = b"seals\0";

pub(crate) fn seals_row(id: DekId) -> Vec<u8> {
    [SEALS, &id.0].concat()
}

// === impl Vault ===

impl Vault {
    /// Whether the row of a key is one: in its form, and the token, if it answers, unwraps it.
    pub(crate) fn wrapped_key_holds(&self, row: &[u8], value: &[u8]) -> Result<bool, HsmError> {
        let Some(row) = Row::parse(&(row.to_vec(), value.to_vec())) else { return Ok(false) };
        let KeyPlace::Wrapped { by, bytes } = &row.place else { return Ok(true) };
        if row.state == KeyState::Destroyed {
            return Ok(bytes.is_empty());
        }
        let Some(kek) = self.keyring.table().kek_by_id(*by) else { return Ok(false) };
        match self.hsm.unwrap(kek, row.name.aad(row.id), bytes.clone()) {
            Ok(_) => Ok(true),
            Err(HsmError::Refused) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
