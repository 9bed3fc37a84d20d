//! Sealing: one record, one key, one place where it opens.
//!
//! A sealed record is `format (1) | key id (8) | nonce (12) | ciphertext | tag (16)`. Each record
//! has a key of its own, derived from a data key and from where the record stands; that place is
//! authenticated as well, so a record that was moved, renamed or taken from another version does
//! not open. What is not noticed is a whole row that was put back to what it once was.
//!
//! Where the data keys come from is the business of `keyring`.

use crate::UnixSeconds;
use crate::frame::frame;
use crate::locked::Locked;
use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The first byte of every record.
const FORMAT: u8 = 1;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// How much longer a record is than what is in it.
pub(crate) const OVERHEAD_BYTES: usize = 1 + ID_BYTES + NONCE_BYTES + TAG_BYTES;

/// What a data key is for. A key never serves two purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Hashes API keys, and seals what belongs to them.
    ApiKey,
    /// Signs the heads of the audit log, and seals the memory of the newest.
    Audit,
    /// Seals the texts behind tokens.
    Card,
    /// Seals the credentials of accounts.
    Credential,
    /// Hashes the secrets of custodians, and seals what belongs to them.
    Custodian,
    /// Makes fingerprints of card numbers.
    Fingerprint,
    /// Keeps account of all rows.
    Integrity,
    /// Wraps all others. It is inside the token and never a [`Dek`].
    Kek,
    /// Seals the key table.
    KeyTable,
    /// Seals the journal of payments.
    Payment,
    /// Makes the check inside a token.
    TokenCheck,
}

/// What becomes of what a key made when another takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// Its records are sealed again, and then it is destroyed.
    Reseal,
    /// What it made is in other hands and cannot be made again, so it stays to be compared with.
    Keep,
    /// It is not exchanged.
    Never,
}

/// The name of a data key: random, unique for ever, not secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct DekId(pub(crate) [u8; ID_BYTES]);

/// A data key, prepared for use. The key itself is not kept, only what is derived from it.
pub(crate) struct Dek {
    id: DekId,
    purpose: Purpose,
    states: Locked<States>,
    /// How many seals are claimed, and up to how many that is durable.
    claimed: AtomicU64,
    reserved: AtomicU64,
    /// How many claims are held now.
    claims: AtomicU64,
    /// Nothing is sealed with it any more.
    retired: AtomicBool,
    /// Since when a record is deleted that it may have sealed: see `deletion`. 0: there is none.
    deleted: AtomicU64,
}

/// HMAC, with the key taken in already. A record key, or a MAC, starts from a copy.
struct States {
    /// Keyed with what HKDF extracted: the first step of each expansion.
    records: Hmac<Sha256>,
    mac: Hmac<Sha256>,
}

/// The right to seal with a key. It is held until what was sealed is durable: rotation waits for
/// that before it looks for the records of the key.
#[derive(Debug)]
#[must_use]
pub(crate) struct Claim(Arc<Dek>);

/// The data keys of one owner for one purpose: one to seal with, and others to open with.
#[derive(Clone, Debug)]
pub(crate) struct Deks {
    active: Arc<Dek>,
    others: Vec<Arc<Dek>>,
}

/// Where a record stands. A record opens only there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) owner: &'a str,
    pub(crate) record: &'a str,
    pub(crate) field: &'a str,
    pub(crate) version: u64,
}

/// The record is not one that these keys sealed for this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(());

fn gcm_seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut [u8],
) -> [u8; TAG_BYTES] {
    Aes256Gcm::new(key.into())
        .encrypt_in_place_detached(nonce.into(), aad, text)
        .expect("nothing here is near the 64 GiB that GCM allows")
        .into()
}

fn gcm_open(
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), Refused> {
    Aes256Gcm::new(key.into())
        .decrypt_in_place_detached(nonce.into(), aad, text, tag.into())
        .map_err(|_| Refused(()))
}

/// HMAC-SHA-256 with this key taken in.
fn hmac(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// The first half of HKDF-SHA-256.
fn extract(salt: &[u8], key: &[u8]) -> Hmac<Sha256> {
    let (mut prk, _) = Hkdf::<Sha256>::extract(Some(salt), key);
    let extracted = hmac(&prk);
    zeroize::Zeroize::zeroize(prk.as_mut_slice());
    extracted
}

/// The second half of HKDF-SHA-256, for as much as one step gives: 32 bytes. `info` comes in pieces.
fn expand<'a>(
    extracted: &Hmac<Sha256>,
    info: impl IntoIterator<Item = &'a [u8]>,
) -> Zeroizing<[u8; 32]> {
    let mut step = extracted.clone();
    info.into_iter().for_each(|piece| step.update(piece));
    step.update(&[1]);
    let mut step = step.finalize().into_bytes();
    let key = Zeroizing::new(step.into());
    zeroize::Zeroize::zeroize(step.as_mut_slice());
    key
}

/// How `frame` begins a field.
fn length(field: &[u8]) -> [u8; 4] {
    u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes()
}

// === impl Purpose ===

impl Purpose {
    pub(crate) const ALL: [Self; 11] = [
        Self::ApiKey,
        Self::Audit,
        Self::Card,
        Self::Credential,
        Self::Custodian,
        Self::Fingerprint,
        Self::Integrity,
        Self::Kek,
        Self::KeyTable,
        Self::Payment,
        Self::TokenCheck,
    ];
    /// What each merchant has a key for.
    pub(crate) const OF_MERCHANT: [Self; 4] =
        [Self::Card, Self::Credential, Self::Fingerprint, Self::Payment];
    /// What the system has a key for.
    pub(crate) const OF_SYSTEM: [Self; 6] = [
        Self::ApiKey,
        Self::Audit,
        Self::Custodian,
        Self::Integrity,
        Self::KeyTable,
        Self::TokenCheck,
    ];
    /// The first in their order.
    pub(crate) const FIRST: Self = Self::ApiKey;

    /// What rotation does with it.
    pub(crate) fn rotation(self) -> Rotation {
        match self {
            Self::ApiKey | Self::Card | Self::Credential | Self::Payment => Rotation::Reseal,
            // The checks inside tokens are in the hands of merchants.
            Self::TokenCheck => Rotation::Keep,
            // Heads of the audit log and fingerprints are in other hands, to be compared with.
            Self::Audit
            | Self::Custodian
            | Self::Fingerprint
            | Self::Integrity
            | Self::Kek
            | Self::KeyTable => Rotation::Never,
        }
    }

    /// The word for it in storage and in errors.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ApiKey => "api-key",
            Self::Audit => "audit",
            Self::Card => "card",
            Self::Credential => "credential",
            Self::Custodian => "custodian",
            Self::Fingerprint => "fingerprint",
            Self::Integrity => "integrity",
            Self::Kek => "kek",
            Self::KeyTable => "key-table",
            Self::Payment => "payment",
            Self::TokenCheck => "token-check",
        }
    }

    pub(crate) fn by_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.word() == word)
    }
}

// === impl DekId ===

impl fmt::Debug for DekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

// === impl Dek ===

impl Dek {
    /// Prepares a key, of which `seals` are spoken for. The extraction and the keyed states are
    /// computed once, here.
    pub(crate) fn new(id: DekId, purpose: Purpose, key: &[u8; 32], seals: u64) -> Self {
        let records = extract(b"orchestra/1 data key", key);
        let info = frame(&[b"orchestra/1 mac", purpose.word().as_bytes()]);
        let mac = hmac(&*expand(&records, [info.as_slice()]));
        Self {
            id,
            purpose,
            states: Locked::new(States { records, mac }),
            claimed: AtomicU64::new(seals),
            reserved: AtomicU64::new(seals),
            claims: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            deleted: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> DekId {
        self.id
    }

    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// How many seals are claimed. After a crash it is more than there were, never less.
    pub(crate) fn seals(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed)
    }

    /// Up to how many seals it is durable that they are claimed.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Notes that so many seals are durably spoken for.
    pub(crate) fn reserve(&self, seals: u64) {
        self.reserved.fetch_max(seals, Ordering::Relaxed);
    }

    /// Lets nobody claim it any more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Notes that a record is deleted that it may have sealed. The first one counts.
    pub(crate) fn note_deletion(&self, at: UnixSeconds) {
        let (none, first) = (0, at.max(1));
        let _there_was_one =
            self.deleted.compare_exchange(none, first, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Since when a record is deleted that it may have sealed.
    pub(crate) fn deleted_since(&self) -> Option<UnixSeconds> {
        Some(self.deleted.load(Ordering::Relaxed)).filter(|since| *since > 0)
    }

    /// Whether somebody still holds a claim.
    pub(crate) fn is_claimed(&self) -> bool {
        self.claims.load(Ordering::SeqCst) > 0
    }

    /// Seals `text` for `place`. Through a [`Claim`] only, so that seals are counted.
    fn seal(&self, place: Place<'_>, text: &[u8]) -> Vec<u8> {
        let nonce = crate::random::unique_bytes();
        let mut sealed = Vec::with_capacity(text.len().saturating_add(OVERHEAD_BYTES));
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.id.0);
        sealed.extend_from_slice(&nonce);
        let head = sealed.len();
        sealed.extend_from_slice(text);
        let body = sealed.get_mut(head..).unwrap_or_default();
        let tag = gcm_seal(&self.record_key(place), &nonce, &self.context(place), body);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Seals what is counted by who seals it: the ledger, which has a key of its own each 2^24 times.
    pub(crate) fn seal_uncounted(&self, place: Place<'_>, text: &[u8]) -> Vec<u8> {
        self.seal(place, text)
    }

    /// HMAC-SHA-256 of `parts`, each behind its length, under a key that does nothing else.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.states.mac.clone();
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The key of one record. The info is a frame of five fields, which are not put together first.
    fn record_key(&self, place: Place<'_>) -> Zeroizing<[u8; 32]> {
        let fields: [&[u8]; 5] = [
            b"orchestra/1 record",
            self.purpose.word().as_bytes(),
            place.owner.as_bytes(),
            place.record.as_bytes(),
            place.field.as_bytes(),
        ];
        let lengths = fields.map(length);
        let pieces = lengths.iter().zip(fields).flat_map(|(length, field)| [&length[..], field]);
        expand(&self.states.records, pieces)
    }

    /// What is authenticated beside the text.
    fn context(&self, place: Place<'_>) -> Vec<u8> {
        frame(&[
            &[FORMAT],
            &self.id.0,
            place.owner.as_bytes(),
            place.record.as_bytes(),
            place.field.as_bytes(),
            &place.version.to_be_bytes(),
        ])
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dek({}, {})", self.id, self.purpose.word())
    }
}

// === impl Claim ===

impl Claim {
    /// Claims `seals` of a key. `None`: the key is retired, and another has taken its place.
    pub(crate) fn new(dek: Arc<Dek>, seals: u64) -> Option<Self> {
        dek.claims.fetch_add(1, Ordering::SeqCst);
        let claim = Self(dek);
        // After the claim is counted: either it is seen by who retires the key, or this sees that.
        if claim.0.retired.load(Ordering::SeqCst) {
            return None;
        }
        claim.0.claimed.fetch_add(seals, Ordering::Relaxed);
        Some(claim)
    }

    /// Seals `text` for `place`.
    pub(crate) fn seal(&self, place: Place<'_>, text: &[u8]) -> Vec<u8> {
        self.0.seal(place, text)
    }

    /// The key that is claimed.
    pub(crate) fn dek(&self) -> &Arc<Dek> {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.claims.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Deks ===

impl Deks {
    /// The one to seal with, and others that open as well.
    pub(crate) fn new(active: Arc<Dek>, others: Vec<Arc<Dek>>) -> Self {
        Self { active, others }
    }

    /// The key that seals.
    pub(crate) fn active(&self) -> &Arc<Dek> {
        &self.active
    }

    /// Every key, the active one first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Dek>> {
        std::iter::once(&self.active).chain(&self.others)
    }

    /// The key with this id.
    pub(crate) fn find(&self, id: DekId) -> Option<&Arc<Dek>> {
        self.iter().find(|dek| dek.id == id)
    }

    /// Opens a record that stands at `place`.
    ///
    /// The key is the one that the record names, or none: trying several would let a record be made
    /// that opens under two keys.
    pub(crate) fn open(
        &self,
        place: Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let (id, nonce, body, tag) = parts(sealed).ok_or(Refused(()))?;
        let dek = self.find(id).ok_or(Refused(()))?;
        let mut text = Zeroizing::new(body.to_vec());
        gcm_open(&dek.record_key(place), nonce, &dek.context(place), &mut text, tag)?;
        Ok(text)
    }
}

/// The key that a record names, if it is one by its form.
pub(crate) fn key_of(sealed: &[u8]) -> Option<DekId> {
    parts(sealed).map(|(id, ..)| id)
}

type Parts<'a> = (DekId, &'a [u8; NONCE_BYTES], &'a [u8], &'a [u8; TAG_BYTES]);

fn parts(sealed: &[u8]) -> Option<Parts<'_>> {
    let (format, rest) = sealed.split_first()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (body, tag) = rest.split_last_chunk()?;
    (*format == FORMAT).then_some((DekId(*id), nonce, body, tag))
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
#[path = "../tests/vectors/seal.rs"]
mod vectors;
