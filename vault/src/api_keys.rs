//! API keys: shown once, kept as keyed hashes, all of them in memory.
//!
//! The text is `ork_live_<id 12>_<secret 43><check 6>`, or `ork_test_` for a key of the sandbox.
//! The check is the CRC-32 (IEEE) of all that stands before it, as six digits of base 62
//! (`0-9A-Za-z`), most significant first: it finds typing errors, and lets a scanner of source
//! code know a key when it sees one.

use crate::frame::{Fields, frame};
use crate::keyring::{Keyring, SYSTEM};
use crate::random::{alphanumerics, base62_six};
use crate::seal::{Claim, Dek, DekId, Deks, Place, Purpose, key_of, same};
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store};
use crate::{OpenError, StoreError, UnixSeconds, Vault, VaultError};
use arc_swap::ArcSwap;
use model::{KeyId, MerchantId, Principal, Scope, Secret};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How many keys there may be, over all merchants.
pub const KEYS_MAX: usize = 50_000;
/// How long the name of a key may be, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 64;
const SECRET_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const TEXT_CHARS: usize = LIVE.len() + KeyId::LEN + 1 + SECRET_CHARS + CHECK_CHARS;
const LIVE: &str = "ork_live_";
const TEST: &str = "ork_test_";
/// A key's record is never changed, so it has one version.
const VERSION: u64 = 1;
/// What errors call the rows.
const WHAT: &str = "API keys";

/// What a new key is for.
#[derive(Clone, Debug)]
pub struct KeySpec {
    /// What people call it: 1 to [`KEY_NAME_BYTES_MAX`] bytes.
    pub name: Box<str>,
    pub sandbox: bool,
    pub scopes: Vec<Scope>,
    /// The first second in which the key is no longer good.
    pub expires: Option<UnixSeconds>,
}

/// A new key. Its text is not to be had again.
#[derive(Debug)]
pub struct IssuedKey {
    pub id: KeyId,
    pub key: Secret,
}

/// What there is to say of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBrief {
    pub id: KeyId,
    pub name: Box<str>,
    pub sandbox: bool,
    pub scopes: Vec<Scope>,
    pub created: UnixSeconds,
    pub expires: Option<UnixSeconds>,
}

/// Every key, by id.
#[derive(Debug)]
pub(crate) struct ApiKeys(ArcSwap<HashMap<Id, Arc<Known>>>);

type Id = [u8; KeyId::LEN];

/// A key as it is kept.
struct Known {
    principal: Arc<Principal>,
    created: UnixSeconds,
    expires: Option<UnixSeconds>,
    /// The data key that made `hash`.
    dek: DekId,
    hash: [u8; 32],
}

/// A key as it was presented: in the right form, not yet compared.
struct Presented<'a> {
    id: Id,
    /// All but the check.
    text: &'a [u8],
}

fn hash(dek: &Dek, text: &[u8]) -> [u8; 32] {
    dek.mac(&[b"api key", text])
}

fn check(text: &[u8]) -> [u8; CHECK_CHARS] {
    base62_six(u64::from(crc32fast::hash(text)))
}

fn place(id: &KeyId) -> Place<'_> {
    Place { owner: SYSTEM, record: id.as_str(), field: "key", version: VERSION }
}

/// The text of a key, in one allocation.
fn compose(id: &KeyId, sandbox: bool) -> Zeroizing<String> {
    let kind = if sandbox { TEST } else { LIVE };
    let secret = alphanumerics(SECRET_CHARS);
    let mut text = Zeroizing::new(String::with_capacity(TEXT_CHARS));
    for part in [kind, id.as_str(), "_", &secret] {
        text.push_str(part);
    }
    let check = check(text.as_bytes());
    text.extend(check.map(char::from));
    text
}

/// The row of a key, sealed anew, if one of `old` sealed it. It must open.
pub(crate) fn reseal(
    keyring: &Keyring,
    claim: &Claim,
    old: &[DekId],
    (row, sealed): &Entry,
) -> Result<Option<Vec<u8>>, VaultError> {
    if !key_of(sealed).is_some_and(|id| old.contains(&id)) {
        return Ok(None);
    }
    let refused = VaultError::Sealed { what: WHAT };
    let id = str::from_utf8(row).ok().and_then(|id| KeyId::parse(id).ok()).ok_or(refused)?;
    let record = keyring.system()?.api_key.open(place(&id), sealed).map_err(|_| refused)?;
    Ok(Some(claim.seal(place(&id), &record)))
}

/// Those of `old` that made the hash of a key. The rows are asked and not the list in memory: of a
/// key whose making was given up half-way only its row knows. One that does not open may have any.
pub(crate) fn compared_with(
    store: &dyn Store,
    keys: &Deks,
    old: &[DekId],
) -> Result<HashSet<DekId>, StoreError> {
    let mut found = HashSet::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.page(Collection::ApiKeys, after.as_deref(), b"", PAGE_ENTRIES_MAX)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = Some(last.clone());
        for entry in &page {
            match hashed_with(keys, entry) {
                Some(dek) => found.extend(old.contains(&dek).then_some(dek)),
                None => found.extend(old),
            }
        }
    }
}

/// The data key that made the hash in a row.
fn hashed_with(keys: &Deks, (row, sealed): &Entry) -> Option<DekId> {
    let id = KeyId::parse(str::from_utf8(row).ok()?).ok()?;
    let record = keys.open(place(&id), sealed).ok()?;
    Fields::new(&record).array().map(DekId)
}

fn id_bytes(id: &KeyId) -> Option<Id> {
    id.as_str().as_bytes().try_into().ok()
}

// === impl Vault ===

impl Vault {
    /// Makes a key for a merchant.
    pub async fn create_key(
        &self,
        merchant: &MerchantId,
        spec: KeySpec,
        now: UnixSeconds,
    ) -> Result<IssuedKey, VaultError> {
        self.keys_of(merchant)?;
        if !matches!(spec.name.len(), 1..=KEY_NAME_BYTES_MAX) {
            return Err(VaultError::Size { what: "the name of a key", max: KEY_NAME_BYTES_MAX });
        }
        let _one_at_a_time = self.changes.lock().await;
        if self.api_keys.0.load().len() >= KEYS_MAX {
            return Err(VaultError::TooMany { what: WHAT, max: KEYS_MAX });
        }
        let corrupt = VaultError::Store(StoreError::Corrupt);
        let id = KeyId::parse(&alphanumerics(KeyId::LEN)).map_err(|_| corrupt)?;
        let text = compose(&id, spec.sandbox);
        let presented = Presented::parse(text.as_bytes()).ok_or(corrupt)?;
        let claim = self.claim(None, Purpose::ApiKey, 1).await?;
        let known = Known::new(&id, merchant, spec, now, claim.dek(), &presented);
        let row = claim.seal(place(&id), &known.record());
        self.counts.seals.add();
        let key = id.as_str().as_bytes().to_vec();
        if !self.store.put_if_absent(Collection::ApiKeys, key, row).await? {
            return Err(corrupt);
        }
        let known = Arc::new(known);
        self.api_keys.change(|keys| drop(keys.insert(presented.id, known.clone())));
        Ok(IssuedKey { id, key: Secret::new(text.as_str()) })
    }

    /// The keys of a merchant, by id.
    pub fn keys(&self, merchant: &MerchantId) -> Result<Vec<KeyBrief>, VaultError> {
        self.keys_of(merchant)?;
        let keys = self.api_keys.0.load();
        let own = keys.values().filter(|known| known.principal.merchant == *merchant);
        let mut briefs: Vec<KeyBrief> = own.map(|known| known.brief()).collect();
        briefs.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Ok(briefs)
    }

    /// Takes a key out of use, at once. False when there is none.
    ///
    /// After an error the key is out of use in this process, but may be back after a restart: do
    /// it again.
    pub async fn revoke_key(&self, id: &KeyId) -> Result<bool, VaultError> {
        let _one_at_a_time = self.changes.lock().await;
        if let Some(id) = id_bytes(id) {
            self.api_keys.change(|keys| drop(keys.remove(&id)));
        }
        Ok(self.delete(Collection::ApiKeys, id.as_str().as_bytes().to_vec()).await?)
    }

    /// Whether the row of a key opens and is in its form.
    pub(crate) fn api_key_holds(&self, row: &[u8], sealed: &[u8]) -> bool {
        Known::open_or_log(&self.keyring, &(row.to_vec(), sealed.to_vec())).is_some()
    }

    /// Whose key this is, if it is one and is good.
    ///
    /// It takes as long for an id that nobody has as for a wrong secret.
    pub fn authenticate(&self, presented: &[u8], now: UnixSeconds) -> Option<Arc<Principal>> {
        let presented = Presented::parse(presented)?;
        let system = self.keyring.system().ok()?;
        let keys = self.api_keys.0.load();
        let known = keys.get(&presented.id);
        let nobody = [0; 32];
        let kept = known.and_then(|known| Some((system.api_key.find(known.dek)?, &known.hash)));
        let (dek, kept) = kept.unwrap_or((system.api_key.active(), &nobody));
        let genuine = same(&hash(dek, presented.text), kept);
        known.filter(|known| genuine && known.is_good(now)).map(|known| known.principal.clone())
    }
}

// === impl ApiKeys ===

impl ApiKeys {
    /// Reads every key. One whose row does not open is not accepted, and the log says so.
    pub(crate) fn open(store: &dyn Store, keyring: &Keyring) -> Result<Self, OpenError> {
        let mut keys = HashMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.page(Collection::ApiKeys, after.as_deref(), b"", PAGE_ENTRIES_MAX)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            keys.extend(page.iter().filter_map(|entry| Known::open_or_log(keyring, entry)));
            if keys.len() > KEYS_MAX {
                return Err(OpenError::TooMany { what: WHAT, max: KEYS_MAX });
            }
        }
        Ok(Self(ArcSwap::from_pointee(keys)))
    }

    /// Forgets the keys of a merchant, and says which they were. Callers do this one at a time.
    pub(crate) fn forget(&self, merchant: &MerchantId) -> Vec<KeyId> {
        let mut gone = Vec::new();
        let keys = self.0.load();
        gone.extend(keys.values().filter(|known| known.principal.merchant == *merchant));
        let ids = gone.iter().map(|known| known.principal.key.clone()).collect();
        self.change(|keys| keys.retain(|_, known| known.principal.merchant != *merchant));
        ids
    }

    /// Changes the list. Callers do this one at a time.
    fn change(&self, change: impl Fn(&mut HashMap<Id, Arc<Known>>)) {
        let mut keys = HashMap::clone(&self.0.load());
        change(&mut keys);
        self.0.store(Arc::new(keys));
    }
}

// === impl Known ===

impl Known {
    fn new(
        id: &KeyId,
        merchant: &MerchantId,
        spec: KeySpec,
        created: UnixSeconds,
        dek: &Arc<Dek>,
        presented: &Presented<'_>,
    ) -> Self {
        let KeySpec { name, sandbox, scopes, expires } = spec;
        let merchant = merchant.clone();
        let principal = Principal { merchant, key: id.clone(), name, sandbox, scopes };
        Self {
            principal: Arc::new(principal),
            created,
            expires,
            dek: dek.id(),
            hash: hash(dek, presented.text),
        }
    }

    /// What is sealed into the row.
    fn record(&self) -> Vec<u8> {
        let scopes: Vec<&str> = self.principal.scopes.iter().map(|scope| scope.word()).collect();
        frame(&[
            &self.dek.0,
            &self.hash,
            self.principal.merchant.as_str().as_bytes(),
            self.principal.name.as_bytes(),
            &[u8::from(self.principal.sandbox)],
            scopes.join(",").as_bytes(),
            &self.created.to_be_bytes(),
            &self.expires.map(UnixSeconds::to_be_bytes).map_or(vec![], |bytes| bytes.to_vec()),
        ])
    }

    fn parse(keyring: &Keyring, key: KeyId, record: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(record);
        let dek = DekId(fields.array()?);
        keyring.system().ok()?.api_key.find(dek)?;
        let hash = fields.array()?;
        let merchant = MerchantId::parse(fields.text()?).ok()?;
        let name = fields.text()?.into();
        let sandbox = fields.array::<1>()? == [1];
        let scopes = scopes(fields.text()?)?;
        let created = fields.number()?;
        let expires = match fields.bytes()? {
            [] => None,
            bytes => Some(UnixSeconds::from_be_bytes(bytes.try_into().ok()?)),
        };
        fields.end()?;
        let principal = Arc::new(Principal { merchant, key, name, sandbox, scopes });
        Some(Self { principal, created, expires, dek, hash })
    }

    fn open_or_log(keyring: &Keyring, (row, sealed): &Entry) -> Option<(Id, Arc<Self>)> {
        let Some(id) = str::from_utf8(row).ok().and_then(|id| KeyId::parse(id).ok()) else {
            log::error!("a row of the API keys has no key's id; it is left out");
            return None;
        };
        let system = keyring.system().ok()?;
        let opened = system.api_key.open(place(&id), sealed).ok();
        let known = opened.and_then(|record| Self::parse(keyring, id.clone(), &record));
        if known.is_none() {
            log::error!(
                "the row of the API key {id} was changed or moved: it is not accepted; revoke it"
            );
        }
        Some((id_bytes(&id)?, Arc::new(known?)))
    }

    fn is_good(&self, now: UnixSeconds) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    fn brief(&self) -> KeyBrief {
        KeyBrief {
            id: self.principal.key.clone(),
            name: self.principal.name.clone(),
            sandbox: self.principal.sandbox,
            scopes: self.principal.scopes.clone(),
            created: self.created,
            expires: self.expires,
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Known").field(&self.principal.key).finish()
    }
}

fn scopes(words: &str) -> Option<Vec<Scope>> {
    words.split(',').filter(|word| !word.is_empty()).map(Scope::by_word).collect()
}

// === impl Presented ===

impl<'a> Presented<'a> {
    /// Takes the text apart, if it is a key by its form and its check.
    fn parse(presented: &'a [u8]) -> Option<Self> {
        let rest = presented
            .strip_prefix(LIVE.as_bytes())
            .or_else(|| presented.strip_prefix(TEST.as_bytes()))?;
        let (id, rest) = rest.split_first_chunk::<{ KeyId::LEN }>()?;
        let secret = rest.strip_prefix(b"_")?;
        let (text, told) = presented.split_last_chunk::<CHECK_CHARS>()?;
        let well_formed = secret.len() == SECRET_CHARS + CHECK_CHARS
            && id.iter().chain(secret).all(u8::is_ascii_alphanumeric)
            && check(text) == *told;
        well_formed.then_some(Self { id: *id, text })
    }
}

#[cfg(test)]
mod tests {
    use super::{Presented, check, compose};
    use model::KeyId;
    use proptest::prelude::*;

    #[test]
    fn a_key_has_the_documented_form() {
        let id = KeyId::parse("abcDEF123456").unwrap();
        for (sandbox, start) in
            [(false, "ork_live_abcDEF123456_"), (true, "ork_test_abcDEF123456_")]
        {
            let text = compose(&id, sandbox);
            assert!(text.starts_with(start), "{start}");
            assert_eq!(text.len(), 71);
            assert_eq!(&Presented::parse(text.as_bytes()).unwrap().id, b"abcDEF123456");
        }
    }

    #[test]
    fn the_check_is_the_crc_of_all_before_it() {
        // CRC-32 (IEEE) of "123456789" is 0xCBF43926 = 3421780262.
        assert_eq!(&check(b"123456789"), b"3jZRME");
    }

    #[test]
    fn a_key_with_one_wrong_character_is_none() {
        let text = compose(&KeyId::parse("abcDEF123456").unwrap(), false);
        for place in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'x' { b'y' } else { b'x' };
            assert!(Presented::parse(&bytes).is_none(), "{place}");
        }
        assert!(Presented::parse(&text.as_bytes()[1..]).is_none());
        assert!(Presented::parse(&[text.as_bytes(), b"0"].concat()).is_none());
        assert!(Presented::parse(b"").is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, tail in "[ -~]{0,80}") {
            let _nothing = Presented::parse(&bytes).is_some();
            let _nothing = Presented::parse(format!("ork_live_{tail}").as_bytes()).is_some();
        }
    }
}
