//! Idempotency keys: the second request with the same key gets the first one's answer.
//!
//! A key is kept as a keyed hash, and so is each field of the request, so that a request that
//! differs is told in which field, and nothing of the first can be learnt from the row.

use super::{TRIES_MAX, WHAT, row};
use crate::frame::{Fields as Framed, Framer};
use crate::seal::{Claim, Dek, Purpose};
use crate::store::{Collection, PAGE_ENTRIES_MAX, Store, Swap};
use crate::{StoreError, SweepCursor, UnixMillis, Vault, VaultError};
use model::{MerchantId, Payment, TransactionId};
use std::fmt;
use std::sync::Arc;

const FORM: &[u8] = b"replay/1";
/// How many bytes of a field's hash are kept.
const TAG_BYTES: usize = 8;
/// How many fields a request may have.
const FIELDS_MAX: usize = 64;

/// The record of a key: `k` and 32 hexadecimal digits, with its merchant.
pub(super) type Name = (MerchantId, Box<str>);

/// The keyed hash of one field of a request.
pub type FieldTag = (Box<str>, [u8; TAG_BYTES]);

/// The fields of a request, hashed one by one.
#[derive(Clone)]
pub struct Fields {
    key: Arc<Dek>,
    tags: Vec<FieldTag>,
}

/// An answer, as it was given and is given again, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub status: u16,
    pub body: Box<[u8]>,
}

/// The right to answer the request of an idempotency key. While it is held, others wait.
#[derive(Debug)]
pub struct ReplayClaim {
    name: Name,
    tags: Vec<FieldTag>,
    now: UnixMillis,
    journal: Arc<super::Journal>,
    /// The row as it is in the store.
    pub(super) stored: Option<Vec<u8>>,
}

/// What there is about an idempotency key.
#[derive(Debug)]
pub enum Claimed {
    /// Nobody used it: go on.
    New(ReplayClaim),
    /// It was answered like this.
    Answered(Replay),
    /// Its request is being answered.
    InFlight,
    /// It was used for a request that differs in this field.
    Differs(Box<str>),
    /// What it asked for was begun, and no answer was kept: the process ended. The answer follows
    /// from how the payment, or this change of it, stands now.
    Cut { payment: TransactionId, change: Option<TransactionId>, claim: ReplayClaim },
    /// What it asked for was begun, and no answer was kept; nothing else is in the journal of it.
    Lost(ReplayClaim),
}

struct Row {
    /// None, where the request leaves nothing in the journal but this row.
    payment: Option<TransactionId>,
    change: Option<TransactionId>,
    now: UnixMillis,
    tags: Vec<FieldTag>,
    answer: Option<Replay>,
}

pub(super) fn holds(text: &[u8]) -> bool {
    Row::read(text).is_some()
}

// === impl Row ===

impl Row {
    fn write(&self) -> Vec<u8> {
        let mut out = Framer::default();
        out.put(FORM);
        let payment = self.payment.as_ref().map_or("", TransactionId::as_str);
        out.put(payment.as_bytes());
        out.text(self.change.as_ref().map(TransactionId::as_str));
        out.number(self.now);
        out.number(u64::try_from(self.tags.len()).unwrap_or(u64::MAX));
        for (name, tag) in &self.tags {
            out.put(name.as_bytes());
            out.put(tag);
        }
        if let Some(Replay { status, body }) = &self.answer {
            out.number(u64::from(*status));
            out.put(body);
        }
        out.done()
    }

    fn read(text: &[u8]) -> Option<Self> {
        let mut fields = Framed::new(text);
        (fields.bytes()? == FORM).then_some(())?;
        let payment = match fields.text()? {
            "" => None,
            id => Some(TransactionId::parse(id).ok()?),
        };
        let change = fields.optional()?.map(TransactionId::parse).transpose().ok()?;
        let (now, count) = (fields.number()?, usize::try_from(fields.number()?).ok()?);
        (count <= FIELDS_MAX).then_some(())?;
        let tag = |_| Some((fields.text()?.into(), fields.array()?));
        let tags = (0..count).map(tag).collect::<Option<_>>()?;
        if fields.end().is_some() {
            return Some(Self { payment, change, now, tags, answer: None });
        }
        let status = u16::try_from(fields.number()?).ok()?;
        let body = fields.bytes()?.into();
        fields.end()?;
        Some(Self { payment, change, now, tags, answer: Some(Replay { status, body }) })
    }

    /// The first field in which the two requests differ.
    fn differs<'a>(&'a self, tags: &'a [FieldTag]) -> Option<&'a str> {
        let lacks = |these: &'a [FieldTag], those: &'a [FieldTag]| {
            these.iter().find(|tag| !those.contains(tag)).map(|(name, _)| &**name)
        };
        lacks(tags, &self.tags).or_else(|| lacks(&self.tags, tags))
    }
}

// === impl Fields ===

impl Fields {
    /// Adds a field of this name, which has these parts.
    pub fn add(&mut self, name: &str, parts: &[&[u8]]) {
        if self.tags.len() < FIELDS_MAX {
            let all: Vec<&[u8]> = [&b"request field"[..], name.as_bytes()]
                .into_iter()
                .chain(parts.iter().copied())
                .collect();
            let mac = self.key.mac(&all);
            self.tags.push((name.into(), *mac.first_chunk().unwrap_or(&[0; TAG_BYTES])));
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({})", self.tags.len())
    }
}

// === impl ReplayClaim ===

impl ReplayClaim {
    /// Where its row is.
    pub(super) fn key(&self) -> Vec<u8> {
        row(&self.name.0, &self.name.1)
    }

    fn row(
        &self,
        payment: Option<&TransactionId>,
        change: Option<&TransactionId>,
        answer: Option<&Replay>,
    ) -> Row {
        Row {
            payment: payment.cloned(),
            change: change.cloned(),
            now: self.now,
            tags: self.tags.clone(),
            answer: answer.cloned(),
        }
    }
}

impl Drop for ReplayClaim {
    fn drop(&mut self) {
        self.journal.lock().claims.remove(&self.name);
    }
}

// === impl Vault ===

impl Vault {
    /// Begins to hash the fields of a request of a merchant.
    pub fn request_fields(&self, merchant: &MerchantId) -> Result<Fields, VaultError> {
        let key = self.keys_of(merchant)?.fingerprint.active().clone();
        Ok(Fields { key, tags: Vec::with_capacity(16) })
    }

    /// Looks an idempotency key of a merchant up, and takes it if it is free. While the clock is put back,
    /// it is taken at the latest time that is known, so that it is not over once the clock is right.
    pub async fn claim_replay(
        &self,
        merchant: &MerchantId,
        key: &str,
        fields: Fields,
        now: UnixMillis,
    ) -> Result<Claimed, VaultError> {
        let _keys = self.keys_of(merchant)?;
        let mac = fields.key.mac(&[b"idempotency key", key.as_bytes()]);
        let hex = crate::audit::hex(mac.first_chunk::<16>().unwrap_or(&[0; 16]));
        let name: Name = (merchant.clone(), format!("k{hex}").into());
        // Before the row is read: whoever holds it may be about to write the answer.
        let free = self.journal.lock().claims.insert(name.clone());
        let now = self.moment(now);
        let (record, tags, journal) = (name.1.clone(), fields.tags, self.journal.clone());
        let claim = free.then(|| {
            let tags = tags.clone();
            ReplayClaim { name, tags, now, journal, stored: None }
        });
        let Some(sealed) = self.store.get(Collection::Payments, &row(merchant, &record))? else {
            return Ok(claim.map_or(Claimed::InFlight, Claimed::New));
        };
        let text = self.open_record(merchant, &record, &sealed)?;
        let found = Row::read(&text).ok_or_else(|| self.refused(WHAT))?;
        if let Some(field) = found.differs(&tags) {
            return Ok(Claimed::Differs(field.into()));
        }
        if let Some(answer) = found.answer {
            // What is read may not be durable yet, and an answer is.
            self.store.durable().await?;
            return Ok(Claimed::Answered(answer));
        }
        let Some(mut claim) = claim else { return Ok(Claimed::InFlight) };
        claim.stored = Some(sealed);
        match found.payment {
            Some(payment) => self.cut(merchant, payment, found.change, claim),
            None => Ok(Claimed::Lost(claim)),
        }
    }

    /// What became of the request of a key that has no answer and that nobody answers. Its row was
    /// written with those of the payment.
    fn cut(
        &self,
        merchant: &MerchantId,
        payment: TransactionId,
        change: Option<TransactionId>,
        claim: ReplayClaim,
    ) -> Result<Claimed, VaultError> {
        let found = self.read_payment(merchant, &payment)?.map(|(payment, _)| payment);
        let is_there = |found: Payment| change.as_ref().is_none_or(|id| found.change(id).is_some());
        let whole = found.is_some_and(is_there);
        whole.then_some(()).ok_or(VaultError::Store(StoreError::Corrupt))?;
        Ok(Claimed::Cut { payment, change, claim })
    }

    /// Keeps the answer to a request that was cut short.
    pub async fn answer_cut(
        &self,
        claim: ReplayClaim,
        payment: &TransactionId,
        change: Option<&TransactionId>,
        answer: &Replay,
    ) -> Result<(), VaultError> {
        let mut claim = claim;
        self.write_claim(&mut claim, (Some(payment), change), Some(answer)).await
    }

    /// Writes that a request of this key has begun which leaves nothing else in the journal.
    pub async fn begin_replay(&self, claim: &mut ReplayClaim) -> Result<(), VaultError> {
        self.write_claim(claim, (None, None), None).await
    }

    /// Keeps the answer to such a request.
    pub async fn answer_replay(
        &self,
        claim: ReplayClaim,
        answer: &Replay,
    ) -> Result<(), VaultError> {
        let mut claim = claim;
        self.write_claim(&mut claim, (None, None), Some(answer)).await
    }

    /// Writes the row of a key by itself.
    async fn write_claim(
        &self,
        claim: &mut ReplayClaim,
        (payment, change): (Option<&TransactionId>, Option<&TransactionId>),
        answer: Option<&Replay>,
    ) -> Result<(), VaultError> {
        let merchant = claim.name.0.clone();
        let seal = self.claim(Some(&merchant), Purpose::Payment, 1).await?;
        for _ in 0..TRIES_MAX {
            let text = claim.row(payment, change, answer).write();
            let swap = self.row_swap(&seal, claim, &text);
            if self.store.swap_all(vec![swap]).await? {
                return Ok(());
            }
            self.read_claim_anew(Some(claim))?;
        }
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// Writes that a request of this key has begun.
    pub(super) fn claim_swap(
        &self,
        seal: &Claim,
        replay: Option<&mut ReplayClaim>,
        payment: &TransactionId,
        change: Option<&TransactionId>,
    ) -> Option<Swap> {
        let replay = replay?;
        let text = replay.row(Some(payment), change, None).write();
        Some(self.row_swap(seal, replay, &text))
    }

    /// Writes how a request of this key was answered.
    pub(super) fn answer_swap(
        &self,
        seal: &Claim,
        replay: &mut ReplayClaim,
        payment: &TransactionId,
        change: Option<&TransactionId>,
        answer: &Replay,
    ) -> Swap {
        let text = replay.row(Some(payment), change, Some(answer)).write();
        self.row_swap(seal, replay, &text)
    }

    fn row_swap(&self, seal: &Claim, replay: &mut ReplayClaim, text: &[u8]) -> Swap {
        let (merchant, record) = &replay.name;
        let sealed = self.seal_record(seal, merchant, record, text);
        let old = replay.stored.replace(sealed.clone());
        super::swap(row(merchant, record), old, Some(sealed))
    }

    /// Removes the next idempotency keys that were used before `before`, and says how many, and
    /// whether the walk is at its end.
    pub async fn sweep_replays(
        &self,
        cursor: &mut SweepCursor,
        before: UnixMillis,
    ) -> Result<(u64, bool), VaultError> {
        let after = cursor.after.as_deref();
        let page = self.store.page(Collection::Payments, after, b"", PAGE_ENTRIES_MAX)?;
        let mut swept = 0_u64;
        for (key, sealed) in &page {
            let over = self.replay_time(key, sealed).is_some_and(|time| time < before);
            if over {
                let old = Some(sealed.clone());
                let gone =
                    self.store.compare_and_swap(Collection::Payments, key.clone(), old, None);
                swept = swept.saturating_add(u64::from(gone.await?));
            }
        }
        cursor.after = page.last().map(|(key, _)| key.clone());
        Ok((swept, page.is_empty()))
    }

    fn replay_time(&self, key: &[u8], sealed: &[u8]) -> Option<UnixMillis> {
        let (merchant, name) = crate::merchants::split_row(key)?;
        name.starts_with('k').then_some(())?;
        let text = self.open_record(&merchant, name, sealed).ok()?;
        Row::read(&text).map(|row| row.now)
    }
}
