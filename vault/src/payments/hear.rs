//! What providers tell of their own accord, taken into the journal.
//!
//! A notice changes the row of its payment whoever holds that: who holds it finds out when it writes.
//! What was taken in once is remembered, so that the same notice again is only acknowledged. That
//! memory has a fixed number of places for each merchant, and a newer notice takes the place of an
//! older one. To forget too early does no harm, because a payment learns nothing from the same word
//! twice.

use super::read::pointer;
use super::{Stray, TRIES_MAX, WHAT, place, record, row, swap};
use crate::frame::{Fields, frame};
use crate::seal::Purpose;
use crate::store::{Collection, Store, Write};
use crate::{StoreError, UnixMillis, Vault, VaultError};
use model::{
    About, Attempt, Learnt, Lesson, MerchantId, Notice, Payment, Report, Standing, Teller,
    TransactionId,
};

/// How many notices of a merchant are remembered.
const SEEN_MAX: u16 = u16::MAX;
/// How long one is. The most patient provider sends again for a week.
const SEEN_KEEP_MS: u64 = 8 * 24 * 3_600_000;
/// How many payments in doubt that bear one reference of a merchant are looked through for the one
/// that a provider knows by that only.
const LOOKED_THROUGH_MAX: usize = 1_000;

/// What came of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was taken in before.
    Repeated,
    /// There is no such payment.
    Unknown,
    /// What its payment learnt.
    Learnt(Learnt),
}

/// A notice in the memory of those that were taken in.
struct Seen {
    /// Its place. No other row has a `w`.
    record: String,
    hash: [u8; 16],
}

/// Whether these are the bytes of a place in that memory.
pub(super) fn holds(text: &[u8]) -> bool {
    read_seen(text).is_some()
}

fn read_seen(text: &[u8]) -> Option<([u8; 16], UnixMillis)> {
    let mut fields = Fields::new(text);
    let (hash, time) = (fields.array()?, fields.number()?);
    fields.end()?;
    Some((hash, time))
}

// === impl Vault ===

impl Vault {
    /// Takes in what a provider tells, once, and says of which payment. What it says is durable when
    /// this returns.
    ///
    /// # Errors
    /// The vault failed: the provider must send it again.
    pub async fn hear(
        &self,
        merchant: &MerchantId,
        teller: &Teller,
        (notice, report): (&Notice, &Report),
        now: UnixMillis,
    ) -> Result<(Heard, Option<TransactionId>), VaultError> {
        let seen = self.seen(merchant, teller, &notice.name)?;
        if self.is_seen(merchant, &seen, now)? {
            self.store.durable().await?;
            return Ok((Heard::Repeated, None));
        }
        let Some(payment) = self.payment_told(merchant, teller, &notice.about, report)? else {
            return Ok((Heard::Unknown, None));
        };
        let lesson = self.learn(merchant, &payment, teller, (&notice.about, report)).await?;
        self.keep_seen(merchant, &seen, now).await?;
        let heard = lesson.map_or(Heard::Unknown, |lesson| Heard::Learnt(lesson.learnt));
        Ok((heard, Some(payment)))
    }

    /// The payment that a provider tells of: by our key, by its own name for it, or else by the
    /// merchant's reference, where exactly one in doubt fits.
    pub fn payment_told(
        &self,
        merchant: &MerchantId,
        teller: &Teller,
        about: &About,
        report: &Report,
    ) -> Result<Option<TransactionId>, VaultError> {
        let _keys = self.keys_of(merchant)?;
        for key in [&about.key, &about.payment_key].into_iter().flatten() {
            let found = self.payment_of_key(merchant, key)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        if let Some(reference) = about.payment.as_deref() {
            let found = self.payment_by_reference(merchant, &teller.provider, reference)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        match about.merchant_reference.as_deref() {
            Some(reference) => self.payment_in_doubt(merchant, teller, (reference, about), report),
            None => Ok(None),
        }
    }

    fn payment_of_key(
        &self,
        merchant: &MerchantId,
        key: &str,
    ) -> Result<Option<TransactionId>, VaultError> {
        for id in TransactionId::of_key(key) {
            let row = row(merchant, id.as_str());
            let Some(sealed) = self.store.get(Collection::Payments, &row)? else { continue };
            let text = self.open_record(merchant, id.as_str(), &sealed)?;
            if let Some(of) = pointer(&text) {
                return Ok(Some(of));
            }
            let payment = record::read(id, &text).ok_or_else(|| self.refused(WHAT))?;
            if payment.has_key(key) {
                return Ok(Some(payment.id));
            }
        }
        Ok(None)
    }

    fn payment_in_doubt(
        &self,
        merchant: &MerchantId,
        teller: &Teller,
        (reference, about): (&str, &About),
        report: &Report,
    ) -> Result<Option<TransactionId>, VaultError> {
        let is_it = |attempt: &Attempt| {
            let named = attempt.evidence.reference.as_deref().zip(about.payment.as_deref());
            attempt.is_of(teller)
                && attempt.standing.is_open()
                && named.is_none_or(|(ours, told)| ours == told)
        };
        let fits = |payment: &Payment| {
            payment.merchant_reference.as_deref() == Some(reference)
                && report.amount.is_none_or(|told| told == payment.amount)
                && payment.last_attempt().is_some_and(is_it)
        };
        let hash = self.journal.hash_reference(merchant, reference);
        let named = self.journal.open_by_reference(hash, LOOKED_THROUGH_MAX.saturating_add(1));
        if named.len() > LOOKED_THROUGH_MAX {
            return Ok(None);
        }
        let mut found = None;
        for id in named {
            let payment = self.read_payment(merchant, &id)?.map(|(payment, _)| payment);
            if payment.as_ref().is_some_and(fits) && found.replace(id).is_some() {
                // Two of them: nobody can tell which is meant.
                return Ok(None);
            }
        }
        Ok(found)
    }

    /// Takes one word about a payment in. None: there is no such payment.
    pub async fn learn(
        &self,
        merchant: &MerchantId,
        id: &TransactionId,
        teller: &Teller,
        (about, report): (&About, &Report),
    ) -> Result<Option<Lesson>, VaultError> {
        let _one_at_a_time = self.journal.turn(id).lock().await;
        for _ in 0..TRIES_MAX {
            let _keys = self.keys_of(merchant)?;
            let Some((before, sealed)) = self.read_payment(merchant, id)? else { return Ok(None) };
            let mut payment = before.clone();
            self.heal(&mut payment);
            let lesson = payment.hear(teller, about, report);
            if let Some(nth) = lesson.stray.filter(|nth| !payment.is_last_attempt(*nth)) {
                self.keep_stray(merchant, &payment, (nth, report)).await?;
            }
            if payment == before {
                self.store.durable().await?;
                return Ok(Some(lesson));
            }
            if self.write_learnt(merchant, &payment, &lesson, sealed).await? {
                self.put_away(merchant, &payment, &lesson).await?;
                return Ok(Some(lesson));
            }
        }
        Err(VaultError::Store(StoreError::Unavailable))
    }

    /// False: the row was changed meanwhile.
    async fn write_learnt(
        &self,
        merchant: &MerchantId,
        payment: &Payment,
        lesson: &Lesson,
        old: Vec<u8>,
    ) -> Result<bool, VaultError> {
        let claim = self.claim(Some(merchant), Purpose::Payment, 3).await?;
        let id = payment.id.as_str();
        let new = Some(self.seal_record(&claim, merchant, id, &record::write(payment)));
        let mut swaps = vec![swap(row(merchant, id), Some(old), new)];
        swaps.extend(self.pointer_swap(merchant, payment, lesson.change.as_ref())?);
        let name = payment.reference();
        swaps.extend(self.reference_swap(&claim, merchant, &payment.id, name)?);
        let (merchant, of) = (merchant.clone(), payment.id.clone());
        let stray = lesson.stray.filter(|nth| payment.is_last_attempt(*nth));
        let stray = stray.map(|_| Stray { merchant, payment: of.clone(), of });
        if let Some(stray) = &stray {
            swaps.extend(self.stray_swap(&claim, stray)?);
        }
        let written = self.store.swap_all(swaps).await?;
        self.journal.keep_strays(stray.filter(|_| written));
        Ok(written)
    }

    /// Takes off the list what is not in doubt any more. Whoever has it in hand does that itself.
    async fn put_away(
        &self,
        merchant: &MerchantId,
        payment: &Payment,
        lesson: &Lesson,
    ) -> Result<(), VaultError> {
        let change = lesson.change.as_ref();
        let standing = match change {
            None => payment.last_attempt().map(|attempt| attempt.standing),
            Some(id) => payment.change(id).map(|change| change.standing),
        };
        if standing.is_none_or(Standing::is_open) {
            return Ok(());
        }
        let name = change.unwrap_or(&payment.id);
        if let Some(_held) = self.journal.take(name) {
            self.end_open(merchant, name).await?;
        }
        Ok(())
    }

    // === what was taken in ===

    /// Under a key that is never exchanged, because the place must stay.
    fn seen(&self, merchant: &MerchantId, teller: &Teller, name: &str) -> Result<Seen, VaultError> {
        let keys = self.keys_of(merchant)?;
        let parts = [&*teller.provider, teller.account.as_str(), name].map(str::as_bytes);
        let mac = keys.fingerprint.active().mac(&[b"notice", parts[0], parts[1], parts[2]]);
        let (hash, rest) = mac.split_first_chunk::<16>().ok_or_else(|| self.refused(WHAT))?;
        let place =
            rest.first_chunk::<2>().map_or(0, |bytes| u16::from_be_bytes(*bytes) % SEEN_MAX);
        Ok(Seen { record: format!("w{place:04x}"), hash: *hash })
    }

    fn is_seen(
        &self,
        merchant: &MerchantId,
        seen: &Seen,
        now: UnixMillis,
    ) -> Result<bool, VaultError> {
        let key = row(merchant, &seen.record);
        let Some(sealed) = self.store.get(Collection::Payments, &key)? else { return Ok(false) };
        let text = self.open_record(merchant, &seen.record, &sealed)?;
        let (hash, time) = read_seen(&text).ok_or_else(|| self.refused(WHAT))?;
        Ok(hash == seen.hash && now.saturating_sub(time) < SEEN_KEEP_MS)
    }

    async fn keep_seen(
        &self,
        merchant: &MerchantId,
        seen: &Seen,
        now: UnixMillis,
    ) -> Result<(), VaultError> {
        let claim = self.claim(Some(merchant), Purpose::Payment, 1).await?;
        let text = frame(&[&seen.hash, &now.to_be_bytes()]);
        self.counts.seals.add();
        let value = claim.seal(place(merchant, &seen.record), &text);
        let key = row(merchant, &seen.record);
        let write = Write::Put { collection: Collection::Payments, key, value };
        Ok(self.store.batch(vec![write]).await?)
    }
}
