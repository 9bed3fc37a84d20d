//! What a merchant asks for.

use crate::{Amount, Card, CardRef, Gone, Secret};

/// One thing to do at a provider.
///
/// `C` is how the card is held. The default, [`CardRef`], is what the proxy passes around; only the
/// vault makes an `Operation<Card>`, only a provider takes one, and `Operation<Gone>` is what is
/// left of it once the request is written.
#[derive(Debug)]
pub struct Operation<C = CardRef> {
    /// Our name for this attempt, unique for ever: 32 characters `[a-z0-9]`. It is the idempotency
    /// key upstream, and the reference where the merchant gave none.
    pub key: Box<str>,
    /// The merchant's own name for it (`myRef`), at most 80 characters.
    pub merchant_reference: Option<Box<str>>,
    pub action: Action<C>,
}

/// The verbs, each with what it needs.
#[derive(Debug)]
pub enum Action<C = CardRef> {
    Authorize(Box<Authorization<C>>),
    Capture(FollowUp),
    Refund(FollowUp),
    Status(Find),
    Tokenize(Box<Tokenization<C>>),
    Void(FollowUp),
}

/// What is done to a payment that was made earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowUp {
    pub amount: Amount,
    /// The provider's name for the payment (`refTransId`), at most 255 characters.
    pub reference: Box<str>,
    /// What the journal knows of the payment, if it was made through us.
    pub known: Option<Known>,
}

/// What the journal knows of an earlier payment. Some providers ask for it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// How much was authorized in all.
    pub authorized: Amount,
    /// How much of it was captured before, in the same currency.
    pub captured: Amount,
    /// How many captures there were before.
    pub captures: u32,
    /// Whether it is not certain yet what became of one of them.
    pub capture_is_open: bool,
    /// The last four digits of the card.
    pub last_four: Option<Box<str>>,
    /// What the provider's own code kept ([`crate::Report::memo`]).
    pub memo: Option<Box<str>>,
}

/// A hold on a card, taken at once or later.
#[derive(Debug)]
pub struct Authorization<C = CardRef> {
    pub amount: Amount,
    pub capture: Capture,
    /// What the cardholder buys (`orderDesc`).
    pub description: Option<Box<str>>,
    /// Whether the goods are digital (`isDigital`).
    pub digital: Option<bool>,
    /// Whether the gateway is to keep the card, and to name it (`generateToken`).
    pub generate_token: bool,
    pub means: Means<C>,
    pub network_token: Option<NetworkTokenBrand>,
    pub payer: Option<Payer>,
    pub stored: Option<Stored>,
    pub three_ds: Option<ThreeDs>,
}

/// What is paid with.
#[derive(Debug)]
pub enum Means<C = CardRef> {
    Card(C),
    /// The gateway's own name for a card that it keeps (`userToken`), at most
    /// [`Means::TOKEN_CHARS_MAX`] characters. Whoever has it can charge the card there: it is a secret.
    Token(Secret),
}

/// A card that the gateway is to keep, without a payment.
#[derive(Debug)]
pub struct Tokenization<C = CardRef> {
    pub card: C,
    pub network_token: Option<NetworkTokenBrand>,
    pub payer: Option<Payer>,
}

/// What the schemes want to know of a payment with a card that is kept for later ones
/// (`storedCredential`).
///
/// It prints without the name, because a merchant may send anything as one.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    pub usage: StoredUsage,
    /// What the card is kept for; none for payments that the cardholder makes himself.
    pub purpose: Option<StoredPurpose>,
}

/// Which payment of those with a kept card it is, and who makes it.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredUsage {
    /// The cardholder pays, and agrees that the card is kept.
    First,
    /// The cardholder pays with the kept card.
    Cardholder { original: Option<Box<str>> },
    /// The merchant takes a payment that was agreed on. `original` is the scheme's name for the
    /// payment at which it was ([`crate::Report::network_transaction_id`]); whoever pays with a card of
    /// his own has one.
    Merchant { original: Option<Box<str>> },
}

/// What a card is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredPurpose {
    /// One price in several parts.
    Installment,
    /// At fixed intervals.
    Recurring,
    /// When something happens, such as a balance that runs low.
    Unscheduled,
}

/// When the money is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    Later,
    Now,
}

/// How a payment is named when its status is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// By the merchant's own reference (`myRef`).
    MerchantReference(Box<str>),
    /// By the provider's reference (`refTransId`).
    Reference(Box<str>),
}

/// An [`Action`] without its contents; what remains of it while an answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Authorize,
    Capture,
    Charge,
    Refund,
    Status,
    Tokenize,
    Void,
}

/// The scheme whose network token `cardNumber` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkTokenBrand {
    Amex,
    MasterCard,
    Visa,
}

/// Who pays, for risk checks and address verification. Personal data: it prints redacted.
pub struct Payer {
    pub address: [Option<Box<str>>; 3],
    pub city: Option<Box<str>>,
    /// ISO 3166-1 alpha-2, upper case.
    pub country: Box<str>,
    pub ip: std::net::IpAddr,
    pub post_code: Option<Box<str>>,
    pub state: Option<Box<str>>,
}

/// The result of a 3-D Secure authentication that was done elsewhere. It prints redacted.
pub struct ThreeDs {
    /// CAVV or AAV, base64 (`authenticationValue`).
    pub authentication_value: Secret,
    /// One or two characters, as the scheme gave it.
    pub eci: Box<str>,
    /// Mastercard's security level.
    pub sli: Option<Box<str>>,
    /// Such as `2.2.0`.
    pub version: Box<str>,
    /// The transaction id: `dsTransID` in 3DS 2, XID in 3DS 1.
    pub xid: Box<str>,
}

// === impl FollowUp ===

impl FollowUp {
    /// Something done to a payment of which we know no more than its name.
    pub fn unknown(amount: Amount, reference: Box<str>) -> Self {
        Self { amount, reference, known: None }
    }
}

// === impl Operation ===

impl<C> Operation<C> {
    /// What it asks for, without its contents.
    pub fn kind(&self) -> Kind {
        match &self.action {
            Action::Authorize(authorization) => match authorization.capture {
                Capture::Later => Kind::Authorize,
                Capture::Now => Kind::Charge,
            },
            Action::Capture(_) => Kind::Capture,
            Action::Refund(_) => Kind::Refund,
            Action::Status(_) => Kind::Status,
            Action::Tokenize(_) => Kind::Tokenize,
            Action::Void(_) => Kind::Void,
        }
    }

    /// The amount it moves, where it moves one.
    pub fn amount(&self) -> Option<Amount> {
        match &self.action {
            Action::Authorize(authorization) => Some(authorization.amount),
            Action::Capture(earlier) | Action::Refund(earlier) | Action::Void(earlier) => {
                Some(earlier.amount)
            }
            Action::Status(_) | Action::Tokenize(_) => None,
        }
    }

    /// Whether its answer is to bring the gateway's name for the card.
    pub fn wants_token(&self) -> bool {
        match &self.action {
            Action::Authorize(authorization) => authorization.generate_token,
            Action::Tokenize(_) => true,
            Action::Capture(_) | Action::Refund(_) | Action::Status(_) | Action::Void(_) => false,
        }
    }

    /// The reference under which the merchant will look for it: its own, or else our key.
    pub fn reference(&self) -> &str {
        self.merchant_reference.as_deref().unwrap_or(&self.key)
    }

    /// Exchanges the card for another form of it, where there is one.
    ///
    /// # Errors
    /// Those of `exchange`.
    pub fn try_map_card<D, E>(
        self,
        exchange: impl FnOnce(C) -> Result<D, E>,
    ) -> Result<Operation<D>, E> {
        let action = match self.action {
            Action::Authorize(authorization) => {
                Action::Authorize(Box::new(authorization.try_map_card(exchange)?))
            }
            Action::Capture(earlier) => Action::Capture(earlier),
            Action::Refund(earlier) => Action::Refund(earlier),
            Action::Status(find) => Action::Status(find),
            Action::Tokenize(tokenization) => {
                Action::Tokenize(Box::new(tokenization.try_map_card(exchange)?))
            }
            Action::Void(earlier) => Action::Void(earlier),
        };
        Ok(Operation { key: self.key, merchant_reference: self.merchant_reference, action })
    }
}

impl Operation<Card> {
    /// Wipes the card and keeps the rest.
    pub fn forget_card(self) -> Operation<Gone> {
        match self.try_map_card(|card| {
            drop(card);
            Ok::<_, std::convert::Infallible>(Gone)
        }) {
            Ok(operation) => operation,
        }
    }
}

// === impl Authorization ===

impl Authorization<CardRef> {
    /// A second one, for another account that is to be asked.
    #[must_use]
    pub fn again(&self) -> Self {
        let Self {
            amount,
            capture,
            description,
            digital,
            generate_token,
            means,
            network_token,
            payer,
            stored,
            three_ds,
        } = self;
        Self {
            amount: *amount,
            capture: *capture,
            description: description.clone(),
            digital: *digital,
            generate_token: *generate_token,
            means: means.again(),
            network_token: *network_token,
            payer: payer.as_ref().map(Payer::again),
            stored: stored.clone(),
            three_ds: three_ds.as_ref().map(ThreeDs::again),
        }
    }
}

impl<C> Authorization<C> {
    /// Whether it is paid with a card that the gateway keeps.
    pub fn is_by_token(&self) -> bool {
        matches!(self.means, Means::Token(_))
    }

    fn try_map_card<D, E>(
        self,
        exchange: impl FnOnce(C) -> Result<D, E>,
    ) -> Result<Authorization<D>, E> {
        let Self {
            amount,
            capture,
            description,
            digital,
            generate_token,
            means,
            network_token,
            payer,
            stored,
            three_ds,
        } = self;
        Ok(Authorization {
            amount,
            capture,
            description,
            digital,
            generate_token,
            means: means.try_map_card(exchange)?,
            network_token,
            payer,
            stored,
            three_ds,
        })
    }
}

// === impl Means ===

impl<C> Means<C> {
    /// How long a gateway's name for a card may be, in characters.
    pub const TOKEN_CHARS_MAX: usize = 255;

    fn try_map_card<D, E>(self, exchange: impl FnOnce(C) -> Result<D, E>) -> Result<Means<D>, E> {
        Ok(match self {
            Self::Card(card) => Means::Card(exchange(card)?),
            Self::Token(token) => Means::Token(token),
        })
    }
}

impl Means<CardRef> {
    fn again(&self) -> Self {
        match self {
            Self::Card(card) => Self::Card(card.again()),
            Self::Token(token) => Self::Token(token.again()),
        }
    }
}

// === impl Tokenization ===

impl Tokenization<CardRef> {
    /// A second one, for another account that is to be asked.
    #[must_use]
    pub fn again(&self) -> Self {
        let Self { card, network_token, payer } = self;
        Self {
            card: card.again(),
            network_token: *network_token,
            payer: payer.as_ref().map(Payer::again),
        }
    }
}

impl<C> Tokenization<C> {
    fn try_map_card<D, E>(
        self,
        exchange: impl FnOnce(C) -> Result<D, E>,
    ) -> Result<Tokenization<D>, E> {
        let Self { card, network_token, payer } = self;
        Ok(Tokenization { card: exchange(card)?, network_token, payer })
    }
}

// === impl Kind ===

impl Kind {
    /// Every kind, in the order of their words.
    pub const ALL: [Self; 7] = [
        Self::Authorize,
        Self::Capture,
        Self::Charge,
        Self::Refund,
        Self::Status,
        Self::Tokenize,
        Self::Void,
    ];

    /// The lower-case word for it in logs, metrics and fixtures.
    pub fn word(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Status => "status",
            Self::Tokenize => "tokenize",
            Self::Void => "void",
        }
    }
}

// === impl Payer ===

impl Payer {
    fn again(&self) -> Self {
        let Self { address, city, country, ip, post_code, state } = self;
        Self {
            address: address.clone(),
            city: city.clone(),
            country: country.clone(),
            ip: *ip,
            post_code: post_code.clone(),
            state: state.clone(),
        }
    }
}

impl std::fmt::Debug for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payer").field("country", &self.country).finish_non_exhaustive()
    }
}

// === impl StoredUsage ===

impl std::fmt::Debug for StoredUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::First => "First",
            Self::Cardholder { .. } => "Cardholder",
            Self::Merchant { .. } => "Merchant",
        })
    }
}

// === impl Stored ===

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

// === impl ThreeDs ===

impl ThreeDs {
    fn again(&self) -> Self {
        let Self { authentication_value, eci, sli, version, xid } = self;
        Self {
            authentication_value: authentication_value.again(),
            eci: eci.clone(),
            sli: sli.clone(),
            version: version.clone(),
            xid: xid.clone(),
        }
    }
}

impl std::fmt::Debug for ThreeDs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreeDs").field("version", &self.version).finish_non_exhaustive()
    }
}
