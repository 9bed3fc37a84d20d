//! The words of the payments domain.
//!
//! What belongs here: types that several crates must agree on, and the rules that make them valid.
//! What does not: I/O, async, clocks, randomness, and every wire or storage format. There is no
//! serde in this crate on purpose: whoever owns a wire writes it, so that a card cannot be
//! serialised by a derive that nobody looked at.

pub mod access;
pub mod account;
pub mod card;
pub mod doubt;
pub mod hex;
pub mod money;
pub mod operation;
pub mod outcome;
pub mod payment;
pub mod secret;
pub mod wiped;

pub use access::{KeyId, MerchantId, Principal, Scope};
pub use account::{AccountName, AccountState, Credentials};
pub use card::{Card, CardRef, CardToken, Cvv, CvvSource, Expiry, Gone, NumberSource, Pan};
pub use hex::hex;
pub use money::{Amount, Currency};
pub use operation::{
    Action, Authorization, Capture, Find, FollowUp, Kind, Known, Means, NetworkTokenBrand,
    Operation, Payer, Stored, StoredPurpose, StoredUsage, ThreeDs, Tokenization,
};
pub use outcome::{AddressCheck, CvvCheck, Decline, Outcome, Rejected, Report, State, Unknown};
pub use payment::{
    About, Attempt, Change, ChangeKind, Evidence, Learnt, Lesson, NotAllowed, Notice, Payment,
    Standing, Subject, Sums, Teller, TransactionId, Undo,
};
pub use secret::Secret;
pub use wiped::Wiped;
