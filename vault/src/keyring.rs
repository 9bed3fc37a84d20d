//! The data keys: made of the operating system's randomness, wrapped by the token, kept in the
//! store, and held in memory while the vault is open.
//!
//! A row of the store is found under `owner, purpose, version` and says `id, vector, wrapped key`.
//! Where the row stands is authenticated by the token, so a row that was moved to another owner,
//! purpose or version does not unwrap.

use crate::frame::{Fields, frame};
use crate::hsm::{Hsm, IV_BYTES, Wrapped};
use crate::seal::{Dek, DekId, Deks, Purpose};
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store, Write};
use crate::{HsmError, OpenError, Vault};
use arc_swap::ArcSwap;
use model::MerchantId;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
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
}

/// The data keys that belong to no merchant.
#[derive(Debug)]
pub(crate) struct SystemKeys {
    pub(crate) api_key: Deks,
    pub(crate) integrity: Deks,
    pub(crate) token_check: Deks,
}

/// Every data key.
#[derive(Debug)]
pub(crate) struct Keyring {
    pub(crate) system: SystemKeys,
    merchants: ArcSwap<HashMap<MerchantId, Arc<MerchantKeys>>>,
}

/// New keys, and the writes that must be durable before they are used.
#[derive(Debug)]
pub(crate) struct New<K> {
    pub(crate) keys: K,
    pub(crate) writes: Vec<Write>,
}

/// The name of a data key in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    owner: Box<str>,
    purpose: Purpose,
    version: u32,
}

type Loaded = HashMap<Box<str>, HashMap<Purpose, BTreeMap<u32, Arc<Dek>>>>;

/// Makes the keys of the system. Blocks on the token.
pub(crate) fn make_system(hsm: &Hsm) -> Result<Vec<Write>, HsmError> {
    let api_key = make(hsm, SYSTEM, Purpose::ApiKey)?;
    let integrity = make(hsm, SYSTEM, Purpose::Integrity)?;
    let token_check = make(hsm, SYSTEM, Purpose::TokenCheck)?;
    Ok([api_key.writes, integrity.writes, token_check.writes].concat())
}

/// Makes the keys of a merchant. Blocks on the token.
pub(crate) fn make_merchant(hsm: &Hsm, id: &MerchantId) -> Result<New<MerchantKeys>, HsmError> {
    let card = make(hsm, id.as_str(), Purpose::Card)?;
    let credential = make(hsm, id.as_str(), Purpose::Credential)?;
    let keys = MerchantKeys { card: card.keys, credential: credential.keys };
    Ok(New { keys, writes: [card.writes, credential.writes].concat() })
}

fn make(hsm: &Hsm, owner: &str, purpose: Purpose) -> Result<New<Deks>, HsmError> {
    let name = Name { owner: owner.into(), purpose, version: VERSION_FIRST };
    let id = DekId(crate::random::bytes());
    let key = Zeroizing::new(crate::random::bytes::<32>());
    let wrapped = hsm.wrap(name.aad(id), &key)?;
    let value = frame(&[&id.0, &wrapped.iv, &wrapped.bytes]);
    let write = Write::Put { collection: Collection::Keys, key: name.row(), value };
    let keys = Deks::new(vec![Arc::new(Dek::new(id, purpose, &key))]).ok_or(HsmError::Refused)?;
    Ok(New { keys, writes: vec![write] })
}

// === impl Name ===

impl Name {
    fn row(&self) -> Vec<u8> {
        frame(&[self.owner.as_bytes(), self.purpose.word().as_bytes(), &self.version.to_be_bytes()])
    }

    fn parse(row: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(row);
        let owner = fields.text()?.into();
        let purpose = Purpose::by_word(fields.text()?)?;
        let version = u32::from_be_bytes(fields.array()?);
        fields.end()?;
        Some(Self { owner, purpose, version })
    }

    /// What the token authenticates beside the key.
    fn aad(&self, id: DekId) -> Vec<u8> {
        frame(&[
            b"orchestra/1 wrapped key",
            &id.0,
            self.owner.as_bytes(),
            self.purpose.word().as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }

    fn refused(&self, id: DekId) -> OpenError {
        OpenError::WrappedKey {
            key: id.to_string().into(),
            owner: self.owner.clone(),
            purpose: self.purpose.word(),
            version: self.version,
        }
    }
}

// === impl Keyring ===

impl Keyring {
    /// Unwraps every key in the store. Blocks on the token.
    pub(crate) fn open(store: &dyn Store, hsm: &Hsm) -> Result<Self, OpenError> {
        let mut loaded = load(store, hsm)?;
        let mut system = loaded.remove(SYSTEM).unwrap_or_default();
        let damaged = || OpenError::Damaged { what: "list of keys" };
        let system = SystemKeys {
            api_key: take(&mut system, Purpose::ApiKey).ok_or_else(damaged)?,
            integrity: take(&mut system, Purpose::Integrity).ok_or_else(damaged)?,
            token_check: take(&mut system, Purpose::TokenCheck).ok_or_else(damaged)?,
        };
        let merchants = loaded
            .into_iter()
            .map(|(owner, keys)| merchant(&owner, keys).ok_or_else(damaged))
            .collect::<Result<_, OpenError>>()?;
        Ok(Self { system, merchants: ArcSwap::from_pointee(merchants) })
    }

    /// The keys of a merchant, if there is such a merchant.
    pub(crate) fn merchant(&self, id: &MerchantId) -> Option<Arc<MerchantKeys>> {
        self.merchants.load().get(id).cloned()
    }

    /// How many merchants have keys.
    pub(crate) fn merchants(&self) -> usize {
        self.merchants.load().len()
    }

    /// Adds the keys of a merchant, which are durable. Callers do this one at a time.
    pub(crate) fn add(&self, id: &MerchantId, keys: MerchantKeys) {
        let mut merchants = HashMap::clone(&self.merchants.load());
        merchants.insert(id.clone(), Arc::new(keys));
        self.merchants.store(Arc::new(merchants));
    }
}

fn load(store: &dyn Store, hsm: &Hsm) -> Result<Loaded, OpenError> {
    let mut loaded = Loaded::new();
    let mut seen = HashSet::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.page(Collection::Keys, after.as_deref(), b"", PAGE_ENTRIES_MAX)?;
        let Some((last, _)) = page.last() else { return Ok(loaded) };
        after = Some(last.clone());
        for entry in &page {
            let (name, dek) = unwrap(hsm, entry)?;
            if !seen.insert(dek.id()) {
                return Err(name.refused(dek.id()));
            }
            let owner = loaded.entry(name.owner).or_default();
            owner.entry(name.purpose).or_default().insert(name.version, Arc::new(dek));
        }
        if seen.len() > DEKS_MAX {
            return Err(OpenError::TooMany { what: "data keys", max: DEKS_MAX });
        }
    }
}

fn unwrap(hsm: &Hsm, (row, value): &Entry) -> Result<(Name, Dek), OpenError> {
    let damaged = || OpenError::Damaged { what: "list of keys" };
    let name = Name::parse(row).ok_or_else(damaged)?;
    let (id, wrapped) = parse(value).ok_or_else(damaged)?;
    let key = hsm.unwrap(name.aad(id), wrapped).map_err(|error| match error {
        HsmError::Refused => name.refused(id),
        HsmError::Away | HsmError::Busy | HsmError::Deadline | HsmError::Pin => error.into(),
    })?;
    let key = <&[u8; 32]>::try_from(key.as_slice()).map_err(|_| name.refused(id))?;
    let dek = Dek::new(id, name.purpose, key);
    Ok((name, dek))
}

fn parse(value: &[u8]) -> Option<(DekId, Wrapped)> {
    let mut fields = Fields::new(value);
    let id = DekId(fields.array()?);
    let iv = fields.array::<IV_BYTES>()?;
    let bytes = fields.bytes()?.to_vec();
    fields.end()?;
    Some((id, Wrapped { iv, bytes }))
}

fn take(keys: &mut HashMap<Purpose, BTreeMap<u32, Arc<Dek>>>, purpose: Purpose) -> Option<Deks> {
    Deks::new(keys.remove(&purpose)?.into_values().collect())
}

fn merchant(
    owner: &str,
    mut keys: HashMap<Purpose, BTreeMap<u32, Arc<Dek>>>,
) -> Option<(MerchantId, Arc<MerchantKeys>)> {
    let card = take(&mut keys, Purpose::Card)?;
    let credential = take(&mut keys, Purpose::Credential)?;
    Some((MerchantId::parse(owner).ok()?, Arc::new(MerchantKeys { card, credential })))
}

// === impl Vault ===

impl Vault {
    /// Whether the row of a wrapped key is one: in its form, and the token unwraps it.
    pub(crate) fn wrapped_key_holds(&self, row: &[u8], value: &[u8]) -> bool {
        unwrap(&self.hsm, &(row.to_vec(), value.to_vec())).is_ok()
    }
}
