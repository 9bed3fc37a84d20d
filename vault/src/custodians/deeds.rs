//! What is done on the words of two custodians only: the first word is kept, sealed, until the second
//! comes, for this deed and no other. Both are in the audit log beside what was done.

use super::{APPROVAL_S, WHAT, is_name, place};
use crate::audit::{Action, Who};
use crate::frame::{Fields, frame};
use crate::rotation::Rotate;
use crate::seal::Purpose;
use crate::store::{Collection, Store, Write};
use crate::{UnixSeconds, Vault, VaultError};
use model::{MerchantId, Secret};

/// Where in [`Collection::Meta`] the word is that waits for another. There is one at a time: the word for
/// another deed takes its place.
pub(super) const APPROVAL_ROW: &[u8] = b"kek approval";

/// What takes the words of two custodians.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The token believes this vault, which is older than the token remembers.
    AcceptRestored,
    /// A key in the token that wraps nothing any more is destroyed.
    DestroyKek { id: Box<str> },
    /// Another key in the token takes the place of the one that wraps all others.
    RotateKek,
    /// The keys of a merchant are destroyed.
    Shred { merchant: MerchantId },
}

/// What a word led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// It is the first one. Another custodian has time until then.
    Waits { until: UnixSeconds },
    /// It is the second one. The rotation has begun, or it was done, on the word of these.
    Done { by: Box<str> },
}

/// A first word.
struct Word {
    name: Box<str>,
    begun: UnixSeconds,
    deed: Box<str>,
}

// === impl Deed ===

impl Deed {
    /// What it is called in storage and in the audit log. No two deeds are called the same.
    pub fn words(&self) -> String {
        match self {
            Self::AcceptRestored => "accept-restored".to_owned(),
            Self::DestroyKek { id } => format!("destroy-kek {id}"),
            Self::RotateKek => "rotate-kek".to_owned(),
            Self::Shred { merchant } => format!("shred {merchant}"),
        }
    }

    fn merchant(&self) -> Option<&MerchantId> {
        match self {
            Self::Shred { merchant } => Some(merchant),
            Self::AcceptRestored | Self::DestroyKek { .. } | Self::RotateKek => None,
        }
    }
}

// === impl Word ===

impl Word {
    fn read(text: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(text);
        let word = Self {
            name: fields.text()?.into(),
            begun: fields.number()?,
            deed: fields.text()?.into(),
        };
        fields.end()?;
        Some(word)
    }

    fn written(&self) -> Vec<u8> {
        frame(&[self.name.as_bytes(), &self.begun.to_be_bytes(), self.deed.as_bytes()])
    }
}

// === impl Vault ===

impl Vault {
    /// Says yes to a deed. The second custodian who does has it done.
    ///
    /// # Errors
    /// There are no custodians; the secret is not that of this one, their word does not count yet, or it
    /// is the same custodian again; or what was said yes to cannot be done.
    pub async fn approve(
        &self,
        deed: &Deed,
        (name, secret): (&str, &Secret),
        who: &Who,
        now: UnixSeconds,
    ) -> Result<Approval, VaultError> {
        let name_or_not = if is_name(name) { name } else { "not a name" };
        let (action, object) = match deed {
            Deed::RotateKek => (Action::KekApprove, name_or_not.to_owned()),
            Deed::AcceptRestored | Deed::DestroyKek { .. } | Deed::Shred { .. } => {
                (Action::CustodianAgree, format!("{name_or_not}, to {}", deed.words()))
            }
        };
        let event = who.event(action, deed.merchant(), object);
        self.audit.act(event, self.approve_now(deed, (name, secret), who, now)).await
    }

    /// Says yes to a new key in the token, as [`Self::approve`].
    pub async fn approve_kek_rotation(
        &self,
        name: &str,
        secret: &Secret,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<Approval, VaultError> {
        self.approve(&Deed::RotateKek, (name, secret), who, now).await
    }

    async fn approve_now(
        &self,
        deed: &Deed,
        (name, secret): (&str, &Secret),
        who: &Who,
        now: UnixSeconds,
    ) -> Result<Approval, VaultError> {
        if self.custodian_rows()?.is_empty() {
            return Err(VaultError::NoCustodians);
        }
        self.check_custodian(name, secret, now).await?;
        self.can_be_done(deed)?;
        let changes = self.changes.lock().await;
        let waiting = self.waiting_word(now)?.filter(|word| *word.deed == *deed.words());
        let Some(first) = waiting else {
            let deed = deed.words().into();
            self.keep_word(&Word { name: name.into(), begun: now, deed }).await?;
            return Ok(Approval::Waits { until: now.saturating_add(APPROVAL_S) });
        };
        if *first.name == *name {
            return Err(VaultError::SameCustodian);
        }
        drop(changes);
        let by: Box<str> = format!("{}, {name}", first.name).into();
        self.carry_out(deed, &by, who, now).await?;
        Ok(Approval::Done { by })
    }

    /// Refuses what could not be done on a second word either.
    fn can_be_done(&self, deed: &Deed) -> Result<(), VaultError> {
        match deed {
            Deed::AcceptRestored | Deed::RotateKek => Ok(()),
            Deed::DestroyKek { id } => self.doomed_kek(id).map(drop),
            Deed::Shred { merchant } => self.keys_of(merchant).map(drop),
        }
    }

    /// Does it. The first word is used up with it: before it, where it cannot be in one write.
    async fn carry_out(
        &self,
        deed: &Deed,
        by: &str,
        who: &Who,
        now: UnixSeconds,
    ) -> Result<(), VaultError> {
        let used = Write::Delete { collection: Collection::Meta, key: APPROVAL_ROW.to_vec() };
        if *deed == Deed::RotateKek {
            return self.begin(Rotate::Kek { by: by.into() }, now, vec![used]).await;
        }
        self.store.batch(vec![used]).await?;
        match deed {
            Deed::AcceptRestored => {
                self.accept_age(&format!("vault, on the word of {by}"), who).await
            }
            Deed::DestroyKek { id } => self.destroy_kek(id, by, who, now).await,
            Deed::RotateKek => Ok(()),
            Deed::Shred { merchant } => self.shred(merchant, by, who, now).await,
        }
    }

    async fn keep_word(&self, word: &Word) -> Result<(), VaultError> {
        let claim = self.claim(None, Purpose::Custodian, 1).await?;
        self.counts.seals.add();
        let value = claim.seal(place("kek", "approval"), &word.written());
        let (collection, key) = (Collection::Meta, APPROVAL_ROW.to_vec());
        Ok(self.store.batch(vec![Write::Put { collection, key, value }]).await?)
    }

    /// The first word, if it is still good.
    fn waiting_word(&self, now: UnixSeconds) -> Result<Option<Word>, VaultError> {
        let system = self.keyring.system()?;
        let Some(sealed) = self.store.get(Collection::Meta, APPROVAL_ROW)? else { return Ok(None) };
        let text = self.unseal(WHAT, &system.custodian, place("kek", "approval"), &sealed)?;
        let word = Word::read(&text).ok_or_else(|| self.refused(WHAT))?;
        // Somebody who has the name since then has said nothing.
        let same = self.custodian(&word.name)?.is_some_and(|one| one.accepted <= word.begun);
        let good = same && now < word.begun.saturating_add(APPROVAL_S);
        Ok(good.then_some(word))
    }

    /// Whether the row of a first word opens.
    pub(super) fn word_holds(&self, sealed: &[u8]) -> Option<()> {
        let system = self.keyring.system().ok()?;
        let text = system.custodian.open(place("kek", "approval"), sealed).ok()?;
        Word::read(&text).map(drop)
    }
}
