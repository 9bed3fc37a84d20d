//! What became of an operation.

use crate::Amount;

/// What became of an operation. Listed so that a reader sees the whole space; there is no `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider did it.
    Approved,
    /// The issuer said no. Asking again with the same card will not help, unless the reason says so.
    Declined(Decline),
    /// The provider took the request and will do it later.
    Pending,
    /// The provider refused the request; no issuer saw it. The fault is ours or the merchant's,
    /// never the cardholder's.
    Rejected(Rejected),
    /// The request may have taken effect, and we do not know. It is never sent again by hope.
    Unknown(Unknown),
}

/// Why an issuer said no, in words that all providers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Decline {
    /// The cardholder must be authenticated (3-D Secure), then it may be tried again.
    AuthenticationRequired,
    /// The issuer said no and gave no reason (do not honour, call the issuer).
    CardDeclined,
    /// The card or the account cannot be used for this (blocked, restricted, not permitted).
    CardNotSupported,
    ExpiredCard,
    /// Suspected fraud, by the issuer or by the provider's risk system.
    Fraud,
    IncorrectAddress,
    IncorrectCvv,
    IncorrectNumber,
    IncorrectPin,
    InsufficientFunds,
    InvalidAmount,
    /// The issuer could not be reached: may be tried again later.
    IssuerUnavailable,
    /// A limit on amount or number of uses was reached.
    LimitExceeded,
    /// Lost or stolen. Show the cardholder the same as for [`Decline::CardDeclined`].
    LostOrStolen,
    /// The cardholder withdrew the mandate: never try again.
    Revoked,
    /// A technical failure on the way to the issuer; nothing was approved: may be tried again.
    ProcessingError,
    /// A code this version does not know. It is counted by provider, and worth a mapping.
    Unmapped,
}

/// Why a provider refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejected {
    /// Our credentials were refused (401, 403).
    Credentials,
    /// The account is not set up for this.
    Configuration,
    /// The provider says that the same request is being or was handled.
    Duplicate,
    /// The request was not understood or not valid.
    Malformed,
    /// The provider knows no such payment.
    NotFound,
    /// Too many requests, and the provider documents that this one was not processed.
    RateLimited,
    /// The payment is not in a state that allows this.
    State,
    /// The provider is out of order, and documents that this request was not processed.
    Unavailable,
}

/// What the issuer says of the cardholder's address (AVS).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressCheck {
    /// Street and post code are right.
    Match,
    /// Neither is right.
    NoMatch,
    /// It was not looked at, or the issuer does not say.
    NotChecked,
    /// The post code is right, and the street is wrong or was not looked at.
    PostCodeOnly,
    /// The street is right, and the post code is wrong or was not looked at.
    StreetOnly,
}

/// What the issuer says of the card verification value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CvvCheck {
    Match,
    NoMatch,
    /// It was not looked at, or was not sent, or the issuer does not say.
    NotChecked,
}

/// Why we do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unknown {
    /// The connection died, or the deadline passed, after the request may have been read.
    Interrupted,
    /// The answer was not in the shape that the provider documents.
    Unreadable,
    /// A 5xx after the request was sent.
    UpstreamFailed,
}

/// The state of the payment after the operation, as far as the provider tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    Authorized,
    Captured,
    Declined,
    /// Nothing was done, and nothing will be.
    Failed,
    Pending,
    Refunded,
    Unknown,
    Voided,
}

/// An outcome with what the provider said of it.
///
/// The texts are the provider's own words, cleaned by `providers::wire::said`: bounded, printable,
/// and without anything that could be a card number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub outcome: Outcome,
    pub state: Option<State>,
    /// The amount that the provider speaks of, where it does.
    pub amount: Option<Amount>,
    /// The issuer's approval code.
    pub authorization_code: Option<Box<str>>,
    /// The provider's name for the payment, to be used as `refTransId`.
    pub reference: Option<Box<str>>,
    pub code: Option<Box<str>>,
    pub description: Option<Box<str>>,
    pub sub_code: Option<Box<str>>,
    pub sub_description: Option<Box<str>>,
    pub address_check: Option<AddressCheck>,
    pub cvv_check: Option<CvvCheck>,
    /// The scheme's name for the payment, by which later ones refer to it.
    pub network_transaction_id: Option<Box<str>>,
    /// What the provider's own code wants to be told again when the payment is captured, voided or
    /// refunded, at most [`Report::MEMO_BYTES_MAX`] bytes. No merchant sees it.
    pub memo: Option<Box<str>>,
}

// === impl Outcome ===

impl Outcome {
    /// The lower-case word for it in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined(_) => "declined",
            Self::Pending => "pending",
            Self::Rejected(_) => "rejected",
            Self::Unknown(_) => "unknown",
        }
    }
}

// === impl Decline ===

impl Decline {
    /// Every reason, in the order of their words.
    pub const ALL: [Self; 17] = [
        Self::AuthenticationRequired,
        Self::CardDeclined,
        Self::CardNotSupported,
        Self::ExpiredCard,
        Self::Fraud,
        Self::IncorrectAddress,
        Self::IncorrectCvv,
        Self::IncorrectNumber,
        Self::IncorrectPin,
        Self::InsufficientFunds,
        Self::InvalidAmount,
        Self::IssuerUnavailable,
        Self::LimitExceeded,
        Self::LostOrStolen,
        Self::ProcessingError,
        Self::Revoked,
        Self::Unmapped,
    ];

    /// The word for it in the API (`declineReason`).
    pub fn word(self) -> &'static str {
        match self {
            Self::AuthenticationRequired => "AuthenticationRequired",
            Self::CardDeclined => "CardDeclined",
            Self::CardNotSupported => "CardNotSupported",
            Self::ExpiredCard => "ExpiredCard",
            Self::Fraud => "Fraud",
            Self::IncorrectAddress => "IncorrectAddress",
            Self::IncorrectCvv => "IncorrectCvv",
            Self::IncorrectNumber => "IncorrectNumber",
            Self::IncorrectPin => "IncorrectPin",
            Self::InsufficientFunds => "InsufficientFunds",
            Self::InvalidAmount => "InvalidAmount",
            Self::IssuerUnavailable => "IssuerUnavailable",
            Self::LimitExceeded => "LimitExceeded",
            Self::LostOrStolen => "LostOrStolen",
            Self::ProcessingError => "ProcessingError",
            Self::Revoked => "Revoked",
            Self::Unmapped => "Unmapped",
        }
    }

    /// What a merchant does about it, in a sentence.
    pub fn advice(self) -> &'static str {
        match self {
            Self::AuthenticationRequired => {
                "Authenticate the cardholder with 3-D Secure, then try again with the result."
            }
            Self::CardDeclined => "Ask for another card, or let the cardholder call the issuer.",
            Self::CardNotSupported => "Ask for another card.",
            Self::ExpiredCard => "Ask for the new expiry date, or for another card.",
            Self::Fraud => {
                "Do not try this card again, and tell the cardholder no more than of any decline."
            }
            Self::IncorrectAddress => "Ask for the billing address again.",
            Self::IncorrectCvv => "Ask for the card verification value again.",
            Self::IncorrectNumber => "Ask for the card number again.",
            Self::IncorrectPin => "Ask for another card.",
            Self::InsufficientFunds => {
                "Try again another day, for less, or with another card: at most 15 times in 30 days."
            }
            Self::InvalidAmount => "Check the amount against the limits of the provider.",
            Self::IssuerUnavailable => "Try again in some minutes.",
            Self::LimitExceeded => "Try again another day, or ask for another card.",
            Self::LostOrStolen => {
                "Do not try this card again, and tell the cardholder no more than of any decline."
            }
            Self::ProcessingError => "Try again in some minutes.",
            Self::Revoked => "Never try this card again for this agreement.",
            Self::Unmapped => "Look the provider's own code up, and report it as missing here.",
        }
    }

    /// Whether the same card may be tried again, later or after a correction.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::AuthenticationRequired
            | Self::InsufficientFunds
            | Self::IssuerUnavailable
            | Self::LimitExceeded
            | Self::ProcessingError => true,
            Self::CardDeclined
            | Self::CardNotSupported
            | Self::ExpiredCard
            | Self::Fraud
            | Self::IncorrectAddress
            | Self::IncorrectCvv
            | Self::IncorrectNumber
            | Self::IncorrectPin
            | Self::InvalidAmount
            | Self::LostOrStolen
            | Self::Revoked
            | Self::Unmapped => false,
        }
    }
}

// === impl AddressCheck ===

impl AddressCheck {
    /// Every result, in the order of their words.
    pub const ALL: [Self; 5] =
        [Self::Match, Self::NoMatch, Self::NotChecked, Self::PostCodeOnly, Self::StreetOnly];

    /// The word for it in the API (`addressCheck`).
    pub fn word(self) -> &'static str {
        match self {
            Self::Match => "Match",
            Self::NoMatch => "NoMatch",
            Self::NotChecked => "NotChecked",
            Self::PostCodeOnly => "PostCodeOnly",
            Self::StreetOnly => "StreetOnly",
        }
    }
}

// === impl CvvCheck ===

impl CvvCheck {
    /// Every result, in the order of their words.
    pub const ALL: [Self; 3] = [Self::Match, Self::NoMatch, Self::NotChecked];

    /// The word for it in the API (`cvvCheck`).
    pub fn word(self) -> &'static str {
        match self {
            Self::Match => "Match",
            Self::NoMatch => "NoMatch",
            Self::NotChecked => "NotChecked",
        }
    }
}

// === impl Rejected ===

impl Rejected {
    /// Every reason, in the order of their words.
    pub const ALL: [Self; 8] = [
        Self::Configuration,
        Self::Credentials,
        Self::Duplicate,
        Self::Malformed,
        Self::NotFound,
        Self::RateLimited,
        Self::State,
        Self::Unavailable,
    ];

    /// The word for it in storage.
    pub fn word(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::Credentials => "Credentials",
            Self::Duplicate => "Duplicate",
            Self::Malformed => "Malformed",
            Self::NotFound => "NotFound",
            Self::RateLimited => "RateLimited",
            Self::State => "State",
            Self::Unavailable => "Unavailable",
        }
    }

    /// Whether the provider says that it did not process the request, and that it may be asked
    /// again: no other account can then charge for a second time.
    pub fn is_not_processed(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable)
    }

    /// Whether the provider certainly did nothing: it did not process the request, or did not even
    /// let us in.
    pub fn is_nothing(self) -> bool {
        self.is_not_processed() || self == Self::Credentials
    }
}

// === impl Unknown ===

impl Unknown {
    /// Every reason, in the order of their words.
    pub const ALL: [Self; 3] = [Self::Interrupted, Self::Unreadable, Self::UpstreamFailed];

    /// The word for it in storage.
    pub fn word(self) -> &'static str {
        match self {
            Self::Interrupted => "Interrupted",
            Self::Unreadable => "Unreadable",
            Self::UpstreamFailed => "UpstreamFailed",
        }
    }
}

// === impl State ===

impl State {
    /// Every state, in the order of their words.
    pub const ALL: [Self; 8] = [
        Self::Authorized,
        Self::Captured,
        Self::Declined,
        Self::Failed,
        Self::Pending,
        Self::Refunded,
        Self::Unknown,
        Self::Voided,
    ];

    /// The word for it in the API (`state`).
    pub fn word(self) -> &'static str {
        match self {
            Self::Authorized => "Authorized",
            Self::Captured => "Captured",
            Self::Declined => "Declined",
            Self::Failed => "Failed",
            Self::Pending => "Pending",
            Self::Refunded => "Refunded",
            Self::Unknown => "Unknown",
            Self::Voided => "Voided",
        }
    }
}

// === impl Report ===

impl Report {
    /// How long a memo may be, in bytes.
    pub const MEMO_BYTES_MAX: usize = 4_096;

    /// An outcome of which the provider said nothing more.
    pub fn bare(outcome: Outcome) -> Self {
        Self {
            outcome,
            state: None,
            amount: None,
            authorization_code: None,
            reference: None,
            code: None,
            description: None,
            sub_code: None,
            sub_description: None,
            address_check: None,
            cvv_check: None,
            network_transaction_id: None,
            memo: None,
        }
    }
}
