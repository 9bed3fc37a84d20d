//! A payment from its first attempt to its last refund, and what may be done to it.
//!
//! What is kept is what happened: the attempts to make the payment, and the captures, refunds and
//! voids after it, each with how it stands. Amounts and the state are worked out from that, so that
//! they can never disagree with it. An amount whose fate is not known counts against whatever it
//! could still use up, and for nothing.

use crate::{
    AccountName, AddressCheck, Amount, Capture, CvvCheck, Kind, Known, Outcome, Report, State, hex,
};
use std::fmt;
use std::sync::Arc;

mod notice;
mod stray;
mod sums;

pub use notice::{About, Learnt, Lesson, Notice, Subject, Teller};
pub use stray::Undo;
pub use sums::Sums;

/// The name of a payment or of something done to one: 32 digits `[0-9a-f]`, of which the first
/// twelve are the time in milliseconds since 1970, so that names sort as they were given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(Arc<str>);

/// The text is not 32 digits `[0-9a-f]`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a transaction")]
pub struct NotATransaction(());

/// A payment, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub id: TransactionId,
    pub capture: Capture,
    pub amount: Amount,
    /// `myRef`.
    pub merchant_reference: Option<Box<str>>,
    /// It was made elsewhere: how much was authorized or captured is not known, and `amount` is that
    /// of what was done to it first.
    pub adopted: bool,
    /// Of the card.
    pub last_four: Option<Box<str>>,
    /// The newest [`Report::memo`] of its provider.
    pub memo: Option<Box<str>>,
    /// At most [`Payment::ATTEMPTS_MAX`], in the order in which they were made.
    pub attempts: Vec<Attempt>,
    /// At most [`Payment::CHANGES_MAX`], in the order in which they were begun.
    pub changes: Vec<Change>,
}

/// One account that was asked to make a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// None where the merchant sent credentials along.
    pub account: Option<AccountName>,
    /// The provider's name.
    pub provider: Box<str>,
    /// In milliseconds since 1970.
    pub began: u64,
    pub standing: Standing,
    pub evidence: Evidence,
}

/// Something done to a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: TransactionId,
    pub kind: ChangeKind,
    pub amount: Amount,
    /// Through which account it was asked for. None where the merchant sent credentials along.
    pub account: Option<AccountName>,
    /// What the merchant calls the change, if anything.
    pub merchant_reference: Option<Box<str>>,
    pub standing: Standing,
    pub evidence: Evidence,
}

/// What can be done to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    Capture,
    Refund,
    Void,
}

/// How something stands that a provider was, or is to be, asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may have been sent.
    Sending,
    /// It is certain that the provider did not do it and never will.
    NotDone,
    /// What became of it.
    Ended(Outcome),
}

/// What a provider said, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    pub reference: Option<Box<str>>,
    pub authorization_code: Option<Box<str>>,
    pub code: Option<Box<str>>,
    pub description: Option<Box<str>>,
    pub sub_code: Option<Box<str>>,
    pub sub_description: Option<Box<str>>,
    pub network_transaction_id: Option<Box<str>>,
    pub address_check: Option<AddressCheck>,
    pub cvv_check: Option<CvvCheck>,
}

/// Why something must not be done to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error("the amount is in another currency than the payment")]
    Currency,
    #[error("only all of a payment can be voided")]
    InPart,
    #[error("more would be captured than was authorized")]
    OverAuthorized,
    #[error("more would be refunded than was captured")]
    OverCaptured,
    #[error("the payment is not in a state that allows this")]
    State,
    #[error("the outcome of the payment, or of an earlier change of it, is not known yet")]
    Unknown,
    #[error("too much was done to this payment already")]
    TooMany,
}

// === impl TransactionId ===

impl TransactionId {
    /// How long a name is, in characters.
    pub const LEN: usize = 32;

    /// Makes a name of a time in milliseconds since 1970 and of random bits.
    pub fn new(millis: u64, random: u128) -> Self {
        const MILLIS_BITS: u64 = (1 << 48) - 1;
        const RANDOM_BITS: u128 = (1 << 80) - 1;
        let bits = u128::from(millis.min(MILLIS_BITS)) << 80 | random & RANDOM_BITS;
        Self(str::from_utf8(&hex(bits.to_be_bytes())).unwrap_or_default().into())
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, NotATransaction> {
        let digits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let well_formed = text.len() == Self::LEN && digits;
        well_formed.then(|| Self(text.into())).ok_or(NotATransaction(()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was given, in milliseconds since 1970.
    pub fn millis(&self) -> u64 {
        let digits = self.0.get(..12).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        digits.unwrap_or_default()
    }

    /// The key that the provider is told at attempt number `nth`, counted from 0: unique for ever,
    /// 32 characters `[0-9a-z]`, and never used for another attempt.
    pub fn attempt_key(&self, nth: usize) -> Box<str> {
        // No name has a letter behind `f`, so that no two of these are the same.
        const LETTERS: &str = "ghijklmnopqrstuvwxyz";
        let letter = nth.checked_sub(1).and_then(|nth| LETTERS.get(nth..=nth));
        match (letter, self.0.split_at_checked(Self::LEN - 1)) {
            (Some(letter), Some((most, _))) => format!("{most}{letter}").into(),
            _ => self.as_str().into(),
        }
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Payment ===

impl Payment {
    /// How many accounts one payment may try.
    pub const ATTEMPTS_MAX: usize = 6;
    /// How much may be done to one payment.
    pub const CHANGES_MAX: usize = 32;

    /// What it was asked for as.
    pub fn kind(&self) -> Kind {
        match self.capture {
            Capture::Later => Kind::Authorize,
            Capture::Now => Kind::Charge,
        }
    }

    /// The attempt that counts: the last.
    pub fn last_attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// Whether this is the number of the attempt that counts.
    pub fn is_last_attempt(&self, nth: usize) -> bool {
        nth.saturating_add(1) == self.attempts.len()
    }

    /// Whether every attempt before the last certainly did nothing. It must always be so: then no
    /// more than one attempt ever stands, and none is left behind that would have to be voided.
    pub fn goes_on_from_nothing(&self) -> bool {
        let before = self.attempts.split_last().map_or(&[][..], |(_, before)| before);
        before.iter().all(|attempt| attempt.standing.is_nothing())
    }

    /// The change with this name.
    pub fn change(&self, id: &TransactionId) -> Option<&Change> {
        self.changes.iter().find(|change| change.id == *id)
    }

    /// Notes how its last attempt, or this change of it, ended, and what its provider said.
    pub fn note(
        &mut self,
        change: Option<&TransactionId>,
        standing: Standing,
        report: Option<&Report>,
    ) {
        if let Some(report) = report {
            self.remember(report);
        }
        match change {
            None => {
                if let Some(attempt) = self.attempts.last_mut() {
                    attempt.standing = standing;
                    attempt.evidence = report.map(Evidence::from).unwrap_or_default();
                }
            }
            Some(id) => {
                if let Some(change) = self.changes.iter_mut().find(|change| change.id == *id) {
                    change.standing = standing;
                    change.evidence = report.map(Evidence::brief).unwrap_or_default();
                }
            }
        }
    }

    /// Keeps the memo of a report, if it has one that is not too long.
    pub fn remember(&mut self, report: &Report) {
        let memo = report.memo.as_ref().filter(|memo| memo.len() <= Report::MEMO_BYTES_MAX);
        if let Some(memo) = memo {
            self.memo = Some(memo.clone());
        }
    }

    /// Whether something about it is in doubt, so that the provider must be asked.
    pub fn is_open(&self) -> bool {
        let attempts = self.attempts.iter().map(|attempt| attempt.standing);
        attempts.chain(self.changes.iter().map(|change| change.standing)).any(Standing::is_open)
    }

    /// Its amount, in the currency in which what it comes to is told: that of a payment which was made
    /// elsewhere is not known until its provider takes a change of it upon itself.
    pub fn told(&self) -> Amount {
        let taken = self.changes.iter().find(|change| change.standing.is_accepted());
        let other = |change: &&Change| change.amount.currency() != self.amount.currency();
        taken.filter(|_| self.adopted).filter(other).map_or(self.amount, |change| change.amount)
    }

    /// How much of it stands: all of it, once it is approved and as long as it is not voided.
    pub fn authorized(&self) -> u64 {
        if self.is_made() && !self.adopted { self.amount.minor() } else { 0 }
    }

    /// How much the provider captured or took upon it to capture, in minor units.
    pub fn captured(&self) -> u64 {
        let at_once = if self.capture == Capture::Now { self.authorized() } else { 0 };
        at_once.saturating_add(self.sum(ChangeKind::Capture, Standing::is_accepted))
    }

    /// How much the provider refunded or took upon it to refund, in minor units.
    pub fn refunded(&self) -> u64 {
        self.sum(ChangeKind::Refund, Standing::is_accepted)
    }

    /// How much of that the provider only took upon itself so far, in minor units.
    pub fn pending(&self, kind: ChangeKind) -> u64 {
        let pending = |standing| standing == Standing::Ended(Outcome::Pending);
        let made = self.last_attempt().is_some_and(|attempt| pending(attempt.standing));
        let at_once = match (kind, self.capture) {
            (ChangeKind::Capture, Capture::Now) if made => self.authorized(),
            _ => 0,
        };
        at_once.saturating_add(self.sum(kind, pending))
    }

    /// The state, as merchants are told it.
    pub fn state(&self) -> State {
        let Some(attempt) = self.last_attempt() else { return State::Failed };
        match attempt.standing {
            Standing::Sending | Standing::Ended(Outcome::Unknown(_)) => State::Unknown,
            Standing::NotDone | Standing::Ended(Outcome::Rejected(_)) => State::Failed,
            Standing::Ended(Outcome::Declined(_)) => State::Declined,
            Standing::Ended(Outcome::Approved | Outcome::Pending) => self.state_when_made(),
        }
    }

    fn state_when_made(&self) -> State {
        let last = self.last_attempt().map(|attempt| attempt.standing);
        if self.any(ChangeKind::Void, Standing::is_accepted) {
            State::Voided
        } else if self.refunded() > 0 {
            State::Refunded
        } else if last == Some(Standing::Ended(Outcome::Pending)) {
            State::Pending
        } else if self.captured() > 0 {
            State::Captured
        } else if self.adopted {
            State::Unknown
        } else {
            State::Authorized
        }
    }

    /// Whether this may be done to it now.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, kind: ChangeKind, amount: Amount) -> Result<(), NotAllowed> {
        if amount.currency() != self.amount.currency() && !self.adopted {
            return Err(NotAllowed::Currency);
        }
        match self.last_attempt().map(|attempt| attempt.standing) {
            Some(Standing::Ended(Outcome::Approved | Outcome::Pending)) => {}
            Some(standing) if standing.is_open() => return Err(NotAllowed::Unknown),
            _ => return Err(NotAllowed::State),
        }
        if self.changes.len() >= Self::CHANGES_MAX {
            return Err(NotAllowed::TooMany);
        }
        if self.any(ChangeKind::Void, Standing::is_open) {
            return Err(NotAllowed::Unknown);
        }
        if self.any(ChangeKind::Void, Standing::is_accepted) {
            return Err(NotAllowed::State);
        }
        if self.adopted {
            // The provider knows.
            return Ok(());
        }
        match kind {
            ChangeKind::Capture => self.allows_capture(amount.minor()),
            ChangeKind::Refund => self.allows_refund(amount.minor()),
            ChangeKind::Void => self.allows_void(amount.minor()),
        }
    }

    fn allows_capture(&self, minor: u64) -> Result<(), NotAllowed> {
        if self.capture == Capture::Now {
            return Err(NotAllowed::State);
        }
        let used = self.captured().saturating_add(self.in_doubt(ChangeKind::Capture));
        if used.saturating_add(minor) <= self.amount.minor() {
            Ok(())
        } else {
            Err(NotAllowed::OverAuthorized)
        }
    }

    fn allows_refund(&self, minor: u64) -> Result<(), NotAllowed> {
        if self.captured() == 0 {
            let doubt = self.any(ChangeKind::Capture, Standing::is_open);
            return Err(if doubt { NotAllowed::Unknown } else { NotAllowed::State });
        }
        let used = self.refunded().saturating_add(self.in_doubt(ChangeKind::Refund));
        if used.saturating_add(minor) <= self.captured() {
            Ok(())
        } else {
            Err(NotAllowed::OverCaptured)
        }
    }

    /// A charge may be voided as long as nothing of it was refunded, until the provider settles it;
    /// whether it has, the provider says. Who names another amount means something else than a void; of
    /// nothing, which verifies a card, no part can be meant.
    fn allows_void(&self, minor: u64) -> Result<(), NotAllowed> {
        if self.any(ChangeKind::Capture, Standing::is_open)
            || self.any(ChangeKind::Refund, Standing::is_open)
        {
            return Err(NotAllowed::Unknown);
        }
        let changed = self.any(ChangeKind::Capture, Standing::is_accepted)
            || self.any(ChangeKind::Refund, Standing::is_accepted);
        let whole = [0, minor].contains(&self.amount.minor());
        match (changed, whole) {
            (true, _) => Err(NotAllowed::State),
            (false, false) => Err(NotAllowed::InPart),
            (false, true) => Ok(()),
        }
    }

    /// What a provider may want to be told of it again.
    pub fn known(&self) -> Known {
        let captures = self
            .changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Capture && change.standing.is_accepted());
        Known {
            authorized: self.amount,
            // No more than was authorized, which is an amount.
            captured: self.amount.with_minor(self.captured()),
            captures: u32::try_from(captures.count()).unwrap_or(u32::MAX),
            capture_is_open: self.any(ChangeKind::Capture, Standing::is_undecided),
            last_four: self.last_four.clone(),
            memo: self.memo.clone(),
        }
    }

    fn is_made(&self) -> bool {
        self.last_attempt().is_some_and(|attempt| attempt.standing.is_accepted())
            && !self.any(ChangeKind::Void, Standing::is_accepted)
    }

    fn any(&self, kind: ChangeKind, standing: impl Fn(Standing) -> bool) -> bool {
        self.changes.iter().any(|change| change.kind == kind && standing(change.standing))
    }

    fn in_doubt(&self, kind: ChangeKind) -> u64 {
        self.sum(kind, Standing::is_open)
    }

    fn sum(&self, kind: ChangeKind, standing: impl Fn(Standing) -> bool) -> u64 {
        let currency = self.told().currency();
        let these = self.changes.iter().filter(|change| {
            change.kind == kind && standing(change.standing) && change.amount.currency() == currency
        });
        these.map(|change| change.amount.minor()).fold(0, u64::saturating_add)
    }
}

// === impl ChangeKind ===

impl ChangeKind {
    /// The operation that makes it.
    pub fn kind(self) -> Kind {
        match self {
            Self::Capture => Kind::Capture,
            Self::Refund => Kind::Refund,
            Self::Void => Kind::Void,
        }
    }

    /// The change that an operation of this kind makes, if it makes one.
    pub fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Capture => Some(Self::Capture),
            Kind::Refund => Some(Self::Refund),
            Kind::Void => Some(Self::Void),
            Kind::Authorize | Kind::Charge | Kind::Status | Kind::Tokenize => None,
        }
    }
}

// === impl Standing ===

impl Standing {
    /// Whether nobody knows yet whether it was done.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Sending | Self::Ended(Outcome::Unknown(_)))
    }

    /// Whether the provider did it or took it upon itself.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Ended(Outcome::Approved | Outcome::Pending))
    }

    /// Whether it is not certain yet what became of it.
    fn is_undecided(self) -> bool {
        self.is_open() || self == Self::Ended(Outcome::Pending)
    }

    /// Whether the provider did it, took it upon itself, or had it declined.
    pub fn is_answered(self) -> bool {
        self.is_accepted() || matches!(self, Self::Ended(Outcome::Declined(_)))
    }

    /// Whether it is certain that nothing was done, so that another account may be asked. A decline is
    /// an answer, and not to know is no reason.
    pub fn is_nothing(self) -> bool {
        match self {
            Self::NotDone => true,
            Self::Ended(Outcome::Rejected(why)) => why.is_nothing(),
            Self::Sending
            | Self::Ended(
                Outcome::Approved | Outcome::Declined(_) | Outcome::Pending | Outcome::Unknown(_),
            ) => false,
        }
    }

    /// Whether `next` may follow. What is certain stays: no late word takes it back. But a success
    /// may turn out to be none: a capture that the scheme sends back, a refund that does not arrive.
    /// What was done was not nothing, whoever says so.
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (_, Self::Sending) | (Self::NotDone, _) => false,
            (Self::Sending | Self::Ended(Outcome::Unknown(_)), _) => true,
            (_, nothing) if nothing.is_nothing() => false,
            (Self::Ended(Outcome::Pending), Self::Ended(next)) => {
                !matches!(next, Outcome::Pending | Outcome::Unknown(_))
            }
            (Self::Ended(Outcome::Approved), Self::Ended(next)) => {
                matches!(next, Outcome::Declined(_) | Outcome::Rejected(_))
            }
            (Self::Ended(_), _) => false,
        }
    }
}

// === impl Evidence ===

impl Evidence {
    /// How much of a code is kept of a change, in bytes.
    const BRIEF_CODE_BYTES_MAX: usize = 64;

    /// What is kept of what was said of a change: there may be many, and they share one row. The
    /// sub-code is how many providers name a change.
    pub fn brief(report: &Report) -> Self {
        let short = |code: &str| {
            let end = code.floor_char_boundary(Self::BRIEF_CODE_BYTES_MAX);
            code.get(..end).map(Box::from)
        };
        Self {
            reference: report.reference.clone(),
            code: report.code.as_deref().and_then(short),
            sub_code: report.sub_code.as_deref().and_then(short),
            ..Self::default()
        }
    }
}

impl From<&Report> for Evidence {
    fn from(report: &Report) -> Self {
        Self {
            reference: report.reference.clone(),
            authorization_code: report.authorization_code.clone(),
            code: report.code.clone(),
            description: report.description.clone(),
            sub_code: report.sub_code.clone(),
            sub_description: report.sub_description.clone(),
            network_transaction_id: report.network_transaction_id.clone(),
            address_check: report.address_check,
            cvv_check: report.cvv_check,
        }
    }
}

#[cfg(test)]
mod tests;
