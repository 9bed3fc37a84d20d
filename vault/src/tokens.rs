//! String tokens: names for texts that the vault keeps.
//!
//! A token is 26 random characters and 6 that check them for one merchant, so that a guess costs
//! no read. A text that could be a card verification value never reaches the store: see `cvvs`.

use crate::audit::{Action, AuditError, Who, object_of};
use crate::deletion::Going;
use crate::frame::{Fields, LENGTH_BYTES};
use crate::random::{alphanumerics, base62_six};
use crate::seal::{Claim, DekId, Deks, Place, Purpose, key_of, same};
use crate::store::{Collection, Entry, PAGE_ENTRIES_MAX, Store};
use crate::terms::{Binding, Kept, Terms};
use crate::{CardError, CvvLoan, StoreError, UnixMillis, Vault, VaultError};
use model::{
    AccountName, Card, CardRef, CardToken, Cvv, CvvSource, MerchantId, NumberSource, Operation,
};
use model::{Pan, Secret};
use std::time::Instant;
use zeroize::Zeroizing;

/// The longest text that a token may stand for, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;
/// How many characters of a token are random; the rest checks them.
const RANDOM_CHARS: usize = CardToken::LEN - 6;
/// How many zeros stand for a card number.
const BLANK_DIGITS: usize = 16;
/// A token's record is never changed, so it has one version.
const VERSION: u64 = 1;
/// How the API calls the field of the card number.
const NUMBER: &str = "card.cardNumber";
/// How the API calls the field of the card verification value.
const CVV: &str = "card.cvv";

/// What there is to say of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenMeta {
    pub token: CardToken,
    pub created: UnixMillis,
    /// From when on it is as absent.
    pub expires: Option<UnixMillis>,
    pub bindings: Vec<Binding>,
    pub metadata: Vec<(Box<str>, Box<str>)>,
    /// What may be said of a card number.
    pub card: Option<CardFacts>,
}

/// What is said of a card number to those who may not see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardFacts {
    /// As [`Pan::mask`] shows it.
    pub mask: Box<str>,
    /// The same for all tokens of one merchant that stand for the same number, and for nothing else:
    /// an HMAC under a key of this merchant for this alone, in 64 hexadecimal digits.
    pub fingerprint: Box<str>,
}

/// For what a card is opened.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    pub who: &'a Who,
    /// Where the card is about to go.
    pub gateway: &'a str,
    pub account: Option<&'a AccountName>,
    pub now: UnixMillis,
}

/// How far a walk over all tokens has come.
#[derive(Clone, Debug, Default)]
pub struct SweepCursor {
    pub(crate) after: Option<Vec<u8>>,
}

/// A record that was opened: when it was made, on which terms, and the text in it.
struct Opened {
    created: UnixMillis,
    kept: Kept,
    text_at: usize,
    record: Zeroizing<Vec<u8>>,
}

/// The first byte of a record: without terms, and with.
const PLAIN: u8 = 1;
const WITH_TERMS: u8 = 2;
/// The form and the time at the beginning of a record.
const HEAD_BYTES: usize = 1 + size_of::<UnixMillis>();

/// Where a token's record is in the store. A merchant's name has no NUL.
fn row(merchant: &MerchantId, token: &CardToken) -> Vec<u8> {
    [merchant.as_str().as_bytes(), b"\0", token.as_str().as_bytes()].concat()
}

fn place<'a>(merchant: &'a MerchantId, token: &'a CardToken) -> Place<'a> {
    Place { owner: merchant.as_str(), record: token.as_str(), field: "payload", version: VERSION }
}

/// The last characters of a token that begins with `random`.
fn check(mac: [u8; 32]) -> [u8; 6] {
    let [a, b, c, d, e, f, g, h, ..] = mac;
    base62_six(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

/// The row of a token, sealed anew, if one of `old` sealed it. It must open.
pub(crate) fn reseal(
    merchant: &MerchantId,
    keys: &Deks,
    claim: &Claim,
    old: &[DekId],
    (row, sealed): &Entry,
) -> Result<Option<Vec<u8>>, VaultError> {
    if !key_of(sealed).is_some_and(|id| old.contains(&id)) {
        return Ok(None);
    }
    let refused = VaultError::Sealed { what: "tokens" };
    let name = row.split_at_checked(merchant.as_str().len().saturating_add(1));
    let token = name.and_then(|(_, token)| CardToken::parse(str::from_utf8(token).ok()?).ok());
    let token = token.ok_or(refused)?;
    let record = keys.open(place(merchant, &token), sealed).map_err(|_| refused)?;
    Ok(Some(claim.seal(place(merchant, &token), &record)))
}

fn field(name: &'static str, problem: &'static str) -> CardError {
    CardError::Field { name, problem }
}

// === impl Vault ===

impl Vault {
    /// Keeps a text of 1 to [`PAYLOAD_BYTES_MAX`] bytes and gives it a name.
    ///
    /// A text that could be a card verification value (three or four digits) is kept in memory
    /// only, for minutes, until it is used for one payment, and is never shown.
    pub async fn keep(
        &self,
        merchant: &MerchantId,
        payload: Secret,
        now: UnixMillis,
    ) -> Result<TokenMeta, VaultError> {
        self.keep_on(merchant, payload, Terms::default(), now).await
    }

    /// As [`Self::keep`], on terms. A card verification value takes none.
    pub async fn keep_on(
        &self,
        merchant: &MerchantId,
        payload: Secret,
        terms: Terms,
        now: UnixMillis,
    ) -> Result<TokenMeta, VaultError> {
        self.keys_of(merchant)?;
        if !matches!(payload.len(), 1..=PAYLOAD_BYTES_MAX) {
            return Err(VaultError::Size { what: "a text", max: PAYLOAD_BYTES_MAX });
        }
        terms.check()?;
        let kept = terms.kept(now);
        let token = self.new_token(merchant)?;
        // Exposed to see whether it may be stored at all, and if not, to hold it in memory.
        if let Ok(cvv) = Cvv::parse(payload.expose()) {
            if !kept.is_empty() {
                return Err(VaultError::NoTerms);
            }
            self.cvvs.keep(merchant, token.clone(), cvv, now, Instant::now())?;
        } else {
            let claim = self.claim(Some(merchant), Purpose::Card, 1).await?;
            let sealed = self.seal_payload(&claim, place(merchant, &token), &payload, &kept, now);
            self.write_token(row(merchant, &token), sealed).await?;
        }
        self.counts.tokens_kept.add();
        Ok(TokenMeta::of(&token, now, kept))
    }

    /// The text behind a token. A card verification value is never shown: its token is as absent.
    pub fn token(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
        now: UnixMillis,
    ) -> Result<Option<(Secret, TokenMeta)>, VaultError> {
        let Some(opened) = self.open_token(merchant, token, now)? else { return Ok(None) };
        let payload = Secret::new(opened.text().ok_or_else(|| self.refused("tokens"))?);
        Ok(Some((payload, TokenMeta::of(token, opened.created, opened.kept))))
    }

    /// What there is to say of a token, also of one of a card verification value that is held.
    pub fn token_meta(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
        now: UnixMillis,
    ) -> Result<Option<TokenMeta>, VaultError> {
        if let Some(created) = self.cvvs.created(merchant, token, Instant::now()) {
            return Ok(Some(TokenMeta::of(token, created, Kept::default())));
        }
        let Some(opened) = self.open_token(merchant, token, now)? else { return Ok(None) };
        let text = opened.text().ok_or_else(|| self.refused("tokens"))?;
        let card = Pan::parse(text).ok().map(|pan| self.card_facts(merchant, &pan)).transpose()?;
        Ok(Some(TokenMeta { card, ..TokenMeta::of(token, opened.created, opened.kept) }))
    }

    /// Worked out when it is asked for: what is not kept can be neither stolen nor compared.
    fn card_facts(&self, merchant: &MerchantId, pan: &Pan) -> Result<CardFacts, VaultError> {
        let keys = self.keys_of(merchant)?;
        // Exposed to be hashed under a key that never leaves the vault.
        let number = pan.expose().as_bytes();
        let mac =
            keys.fingerprint.active().mac(&[b"fingerprint", merchant.as_str().as_bytes(), number]);
        Ok(CardFacts { mask: pan.mask(), fingerprint: crate::audit::hex(&mac).into() })
    }

    /// Removes the next tokens whose time is over, and says how many, and whether the walk is at its
    /// end. Each has a line in the audit log first. One that is sealed anew meanwhile is left to the
    /// next walk.
    pub async fn sweep_tokens(
        &self,
        cursor: &mut SweepCursor,
        now: UnixMillis,
    ) -> Result<(u64, bool), VaultError> {
        let after = cursor.after.as_deref();
        let page = self.store.page(Collection::Tokens, after, b"", PAGE_ENTRIES_MAX)?;
        let mut swept = 0_u64;
        for (key, sealed) in &page {
            let Some((merchant, token)) = self.expired(key, sealed, now) else { continue };
            let event =
                Who::system().event(Action::TokenExpire, Some(&merchant), object_of(&token));
            self.audit.record(event).await?;
            // Before the row is read once more: see `keys_of`. It must be the one that was looked at.
            let keys = self.keys_of(&merchant).ok();
            let (collection, key) = (Collection::Tokens, key.clone());
            if self.store.get(collection, &key)?.as_ref() != Some(sealed) {
                continue;
            }
            let going = Going { collection, key, old: sealed.clone(), new: None };
            if self.let_go(keys.as_deref(), Purpose::Card, going, now).await? {
                self.counts.tokens_expired.add();
                swept = swept.saturating_add(1);
            }
        }
        cursor.after = page.last().map(|(key, _)| key.clone());
        Ok((swept, page.is_empty()))
    }

    /// Whose token this row is, if its time is over.
    fn expired(
        &self,
        key: &[u8],
        sealed: &[u8],
        now: UnixMillis,
    ) -> Option<(MerchantId, CardToken)> {
        let (merchant, token) = crate::merchants::split_row(key)?;
        let token = CardToken::parse(token).ok()?;
        let keys = self.keys_of(&merchant).ok()?;
        let record = keys.card.open(place(&merchant, &token), sealed).ok()?;
        Opened::new(record)?.kept.is_over(now).then_some((merchant, token))
    }

    /// Deletes a token and its text. False when there is none. See `deletion` for when it is final.
    pub async fn forget(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
        now: UnixMillis,
    ) -> Result<bool, VaultError> {
        if self.cvvs.remove(merchant, token, Instant::now()) {
            return Ok(true);
        }
        if !self.is_genuine(merchant, token) {
            return Ok(false);
        }
        let row = (Collection::Tokens, row(merchant, token));
        Ok(self.delete_record((merchant, Purpose::Card), row, now).await?)
    }

    /// Puts the card itself where its tokens stand. A card verification value is lent to the payment
    /// that `loan` belongs to, unless the number does not open.
    ///
    /// It is in the audit log before the card is handed out, or it is not handed out.
    pub fn open_card(
        &self,
        merchant: &MerchantId,
        operation: Operation<CardRef>,
        purpose: Use<'_>,
        loan: &mut CvvLoan,
    ) -> Result<Operation<Card>, CardError> {
        operation.try_map_card(|CardRef { number, cvv, holder, expiry }| {
            let (action, object) = match &number {
                NumberSource::Clear(pan) => {
                    (Action::CardPass, format!("…{}", pan.last_four()).into())
                }
                NumberSource::Token(token) => (Action::CardOpen, object_of(token)),
            };
            let event = purpose.who.event(action, Some(merchant), object);
            let pan = match number {
                NumberSource::Clear(pan) => Ok(pan),
                NumberSource::Token(token) => self.pan(merchant, &token, purpose),
            };
            let pan = match pan {
                Ok(pan) => pan,
                Err(error) => {
                    self.note(event.failed("the token does not open"))?;
                    return Err(error);
                }
            };
            self.note(event)?;
            let cvv = match cvv {
                None => None,
                Some(CvvSource::Clear(cvv)) => Some(cvv),
                Some(CvvSource::Token(token)) => Some(self.cvv(merchant, &token, loan)?),
            };
            Ok(Card { pan, cvv, holder, expiry })
        })
    }

    /// Puts a card of zeros where the card is meant, which is not looked at: to see whether a provider
    /// would take the rest of a request.
    pub fn blank_card(operation: Operation<CardRef>) -> Operation<Card> {
        let blank = operation.try_map_card(|CardRef { number: _, cvv, holder, expiry }| {
            let pan = Pan::parse(&"0".repeat(BLANK_DIGITS)).map_err(drop)?;
            let cvv = cvv.map(|_| Cvv::parse("000")).transpose().map_err(drop)?;
            Ok::<_, ()>(Card { pan, cvv, holder, expiry })
        });
        blank.expect("zeros pass every check")
    }

    fn note(&self, event: crate::audit::Event) -> Result<(), CardError> {
        let refused = |error: AuditError| CardError::Vault(error.into());
        self.audit.note(event).map_err(refused)
    }

    fn pan(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
        purpose: Use<'_>,
    ) -> Result<Pan, CardError> {
        let not_a_number = field(NUMBER, "the token does not hold a card number");
        match self.open_token(merchant, token, purpose.now)? {
            Some(opened) if !opened.kept.allows(purpose.gateway, purpose.account) => {
                Err(field(NUMBER, "the token is bound to other gateways or accounts"))
            }
            Some(opened) => {
                let text = opened.text().ok_or_else(|| self.refused("tokens"))?;
                Pan::parse(text).map_err(|_| not_a_number)
            }
            None if self.cvvs.created(merchant, token, Instant::now()).is_some() => {
                Err(not_a_number)
            }
            None => Err(field(NUMBER, "no such token")),
        }
    }

    fn cvv(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
        loan: &mut CvvLoan,
    ) -> Result<Cvv, CardError> {
        if let Some(cvv) = self.cvvs.open(merchant, token, loan, Instant::now()) {
            self.counts.tokens_opened.add();
            return Ok(cvv);
        }
        Err(match self.read_token(merchant, token)? {
            Some(_) => field(CVV, "the token does not hold a card verification value"),
            None => field(CVV, "no such token, or it was used, or its time is over"),
        })
    }

    fn new_token(&self, merchant: &MerchantId) -> Result<CardToken, VaultError> {
        let random = alphanumerics(RANDOM_CHARS);
        let mac = self.keyring.system()?.token_check.active().mac(&[
            b"token",
            merchant.as_str().as_bytes(),
            random.as_bytes(),
        ]);
        let text: String = random.chars().chain(check(mac).map(char::from)).collect();
        CardToken::parse(&text).map_err(|_| VaultError::Sealed { what: "tokens" })
    }

    /// Whether this vault could have made the token for this merchant.
    fn is_genuine(&self, merchant: &MerchantId, token: &CardToken) -> bool {
        let Some((random, told)) = token.as_str().as_bytes().split_at_checked(RANDOM_CHARS) else {
            return false;
        };
        let Ok(system) = self.keyring.system() else { return false };
        system.token_check.iter().any(|dek| {
            let mac = dek.mac(&[b"token", merchant.as_str().as_bytes(), random]);
            same(&check(mac), told)
        })
    }

    fn seal_payload(
        &self,
        claim: &Claim,
        place: Place<'_>,
        payload: &Secret,
        kept: &Kept,
        now: UnixMillis,
    ) -> Vec<u8> {
        let (form, terms) = match kept.is_empty() {
            true => (PLAIN, Vec::new()),
            false => (WITH_TERMS, crate::frame::frame(&[&kept.write()])),
        };
        let capacity = payload.len().saturating_add(terms.len()).saturating_add(HEAD_BYTES);
        let mut record = Zeroizing::new(Vec::with_capacity(capacity));
        record.push(form);
        record.extend_from_slice(&now.to_be_bytes());
        record.extend_from_slice(&terms);
        // Exposed to be sealed.
        record.extend_from_slice(payload.expose().as_bytes());
        self.counts.seals.add();
        claim.seal(place, &record)
    }

    async fn write_token(&self, row: Vec<u8>, sealed: Vec<u8>) -> Result<(), VaultError> {
        let new = self.store.put_if_absent(Collection::Tokens, row, sealed).await?;
        // 155 random bits do not meet twice: the store did not do what it was asked.
        new.then_some(()).ok_or(VaultError::Store(StoreError::Corrupt))
    }

    fn read_token(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        if !self.is_genuine(merchant, token) {
            return Ok(None);
        }
        Ok(self.store.get(Collection::Tokens, &row(merchant, token))?)
    }

    /// Whether the row of a token opens and is in its form.
    pub(crate) fn token_holds(&self, key: &[u8], sealed: &[u8]) -> bool {
        let holds = || {
            let (merchant, token) = crate::merchants::split_row(key)?;
            let token = CardToken::parse(token).ok().filter(|t| self.is_genuine(&merchant, t))?;
            let keys = match self.keys_of(&merchant) {
                // Nobody can open it, and that is how it should be.
                Err(VaultError::Shredded) => return Some(()),
                keys => keys.ok()?,
            };
            let record =
                self.unseal("tokens", &keys.card, place(&merchant, &token), sealed).ok()?;
            Opened::new(record)?.text().map(drop)
        };
        holds().is_some()
    }

    fn open_token(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
        now: UnixMillis,
    ) -> Result<Option<Opened>, VaultError> {
        let keys = self.keys_of(merchant)?;
        let Some(sealed) = self.read_token(merchant, token)? else { return Ok(None) };
        let record = self.unseal("tokens", &keys.card, place(merchant, token), &sealed)?;
        self.counts.tokens_opened.add();
        let opened = Opened::new(record).ok_or_else(|| self.refused("tokens"))?;
        Ok(Some(opened).filter(|opened| !opened.kept.is_over(now)))
    }
}

// === impl Opened ===

impl Opened {
    fn new(record: Zeroizing<Vec<u8>>) -> Option<Self> {
        let (form, rest) = record.split_first()?;
        let (created, rest) = rest.split_first_chunk()?;
        let created = UnixMillis::from_be_bytes(*created);
        let (kept, length) = match *form {
            PLAIN => (Kept::default(), 0),
            WITH_TERMS => {
                let terms = Fields::new(rest).bytes()?;
                (Kept::read(terms)?, LENGTH_BYTES.checked_add(terms.len())?)
            }
            _ => return None,
        };
        Some(Self { created, kept, text_at: HEAD_BYTES.checked_add(length)?, record })
    }

    fn text(&self) -> Option<&str> {
        str::from_utf8(self.record.get(self.text_at..)?).ok()
    }
}

// === impl TokenMeta ===

impl TokenMeta {
    fn of(token: &CardToken, created: UnixMillis, kept: Kept) -> Self {
        let Kept { expires, bindings, metadata } = kept;
        Self { token: token.clone(), created, expires, bindings, metadata, card: None }
    }
}
