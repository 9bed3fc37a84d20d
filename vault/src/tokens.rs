//! String tokens: names for texts that the vault keeps.
//!
//! A token is 26 random characters and 6 that check them for one merchant, so that a guess costs
//! no read. A text that could be a card verification value never reaches the store: see `cvvs`.

use crate::random::{alphanumerics, base62_six};
use crate::seal::{Claim, DekId, Deks, Place, Purpose, key_of, same};
use crate::store::{Collection, Entry, Store};
use crate::{CardError, StoreError, UnixMillis, Vault, VaultError};
use model::{Card, CardRef, CardToken, Cvv, CvvSource, MerchantId, NumberSource, Operation};
use model::{Pan, Secret};
use std::time::Instant;
use zeroize::Zeroizing;

/// The longest text that a token may stand for, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16_384;
/// How many characters of a token are random; the rest checks them.
const RANDOM_CHARS: usize = CardToken::LEN - 6;
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
}

/// A record that was opened: when it was made, and the text in it.
struct Opened {
    created: UnixMillis,
    record: Zeroizing<Vec<u8>>,
}

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
    /// only, for minutes, until it is used once in [`Vault::open_card`], and is never shown.
    pub async fn keep(
        &self,
        merchant: &MerchantId,
        payload: Secret,
        now: UnixMillis,
    ) -> Result<TokenMeta, VaultError> {
        self.keys_of(merchant)?;
        if !matches!(payload.len(), 1..=PAYLOAD_BYTES_MAX) {
            return Err(VaultError::Size { what: "a text", max: PAYLOAD_BYTES_MAX });
        }
        let token = self.new_token(merchant)?;
        // Exposed to see whether it may be stored at all, and if not, to hold it in memory.
        if let Ok(cvv) = Cvv::parse(payload.expose()) {
            self.cvvs.keep(merchant, token.clone(), cvv, now, Instant::now())?;
        } else {
            let claim = self.claim(Some(merchant), Purpose::Card, 1).await?;
            let sealed = self.seal_payload(&claim, place(merchant, &token), &payload, now);
            self.write_token(row(merchant, &token), sealed).await?;
        }
        self.counts.tokens_kept.add();
        Ok(TokenMeta { token, created: now })
    }

    /// The text behind a token. A card verification value is never shown: its token is as absent.
    pub fn token(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
    ) -> Result<Option<(Secret, TokenMeta)>, VaultError> {
        let Some(opened) = self.open_token(merchant, token)? else { return Ok(None) };
        let meta = TokenMeta { token: token.clone(), created: opened.created };
        let payload = opened.text().ok_or_else(|| self.refused("tokens"))?;
        Ok(Some((Secret::new(payload), meta)))
    }

    /// What there is to say of a token, also of one of a card verification value that is held.
    pub fn token_meta(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
    ) -> Result<Option<TokenMeta>, VaultError> {
        let held = self.cvvs.created(merchant, token, Instant::now());
        let created = match held {
            Some(created) => Some(created),
            None => self.open_token(merchant, token)?.map(|opened| opened.created),
        };
        Ok(created.map(|created| TokenMeta { token: token.clone(), created }))
    }

    /// Deletes a token and its text. False when there is none.
    pub async fn forget(
        &self,
        merchant: &MerchantId,
        token: &CardToken,
    ) -> Result<bool, VaultError> {
        if self.cvvs.spend(merchant, token, Instant::now()).is_some() {
            return Ok(true);
        }
        if !self.is_genuine(merchant, token) {
            return Ok(false);
        }
        Ok(self.delete(Collection::Tokens, row(merchant, token)).await?)
    }

    /// Puts the card itself where its tokens stand. Uses up a token of a card verification value,
    /// unless the number does not open.
    pub fn open_card(
        &self,
        merchant: &MerchantId,
        operation: Operation<CardRef>,
    ) -> Result<Operation<Card>, CardError> {
        operation.try_map_card(|CardRef { number, cvv, holder, expiry }| {
            let pan = match number {
                NumberSource::Clear(pan) => pan,
                NumberSource::Token(token) => self.pan(merchant, &token)?,
            };
            let cvv = match cvv {
                None => None,
                Some(CvvSource::Clear(cvv)) => Some(cvv),
                Some(CvvSource::Token(token)) => Some(self.cvv(merchant, &token)?),
            };
            Ok(Card { pan, cvv, holder, expiry })
        })
    }

    fn pan(&self, merchant: &MerchantId, token: &CardToken) -> Result<Pan, CardError> {
        let not_a_number = field(NUMBER, "the token does not hold a card number");
        match self.open_token(merchant, token)? {
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

    fn cvv(&self, merchant: &MerchantId, token: &CardToken) -> Result<Cvv, CardError> {
        if let Some(cvv) = self.cvvs.spend(merchant, token, Instant::now()) {
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
        now: UnixMillis,
    ) -> Vec<u8> {
        let capacity = payload.len().saturating_add(size_of::<UnixMillis>());
        let mut record = Zeroizing::new(Vec::with_capacity(capacity));
        record.extend_from_slice(&now.to_be_bytes());
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
    ) -> Result<Option<Opened>, VaultError> {
        let keys = self.keys_of(merchant)?;
        let Some(sealed) = self.read_token(merchant, token)? else { return Ok(None) };
        let record = self.unseal("tokens", &keys.card, place(merchant, token), &sealed)?;
        self.counts.tokens_opened.add();
        let opened = Opened::new(record).ok_or_else(|| self.refused("tokens"))?;
        Ok(Some(opened))
    }
}

// === impl Opened ===

impl Opened {
    fn new(record: Zeroizing<Vec<u8>>) -> Option<Self> {
        let (created, _) = record.split_first_chunk()?;
        Some(Self { created: UnixMillis::from_be_bytes(*created), record })
    }

    fn text(&self) -> Option<&str> {
        str::from_utf8(self.record.get(size_of::<UnixMillis>()..)?).ok()
    }
}
