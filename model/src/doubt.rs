//! An operation whose answer was lost: what its provider is asked, what is believed of what it says, and
//! when a change may be asked for once more instead.
//!
//! A change that is asked for once more bears the key that it was asked for with, at a provider that
//! remembers keys. Whichever of the two comes first is carried out, and the other one is answered as the
//! first was. So it has to be the very account, while it surely remembers.

use crate::{AccountName, Amount, Kind, Outcome, Payment, Report, Standing, TransactionId};
use std::time::Duration;

/// Why something stays in doubt of which the provider tells another amount than was asked for.
pub const DIFFERS: &str = "its provider tells another amount";

/// For how long before its provider may forget a key a change is not asked for again: a question may be
/// under way for a while, and clocks differ.
pub const REPEAT_MARGIN: Duration = Duration::from_hours(24);

/// A payment, or a change of one, as its provider was asked for it.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who is asked. None where the merchant sent credentials along.
    pub account: Option<&'a AccountName>,
    /// Whether this is the account through which it was asked for.
    pub is_same_account: bool,
    /// The provider's name.
    pub provider: &'a str,
    pub kind: Kind,
    pub key: Box<str>,
    /// What the merchant called it, if anything.
    pub merchant_reference: Option<&'a str>,
    pub amount: Amount,
    /// The payment that it is a change of, as the provider calls it.
    pub earlier: Option<&'a str>,
    /// [`Report::memo`] of the payment.
    pub memo: Option<&'a str>,
    /// When it was written down, in milliseconds since 1970.
    pub sent: u64,
}

/// What was lost, as far as it counts for what is believed.
#[derive(Clone, Copy, Debug)]
pub struct Doubt<'a> {
    pub question: &'a Question<'a>,
    /// When the provider is asked, in milliseconds since 1970: what it says was so by then. It is the
    /// latest time that is known of, where a clock was put back.
    pub now: u64,
    /// How long nobody has had it in hand, as far as that was seen, by no clock that can be put back. A
    /// request may leave well after it was written down, but not after this.
    pub idle: Duration,
    /// Since when the account has the credentials that it has, in milliseconds since 1970.
    pub since: u64,
    /// How long the provider may not show yet what it did.
    pub lag: Duration,
    /// For how long the provider remembers a key, at least.
    pub remembers: Duration,
}

/// How a provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What it has of it.
    About,
    /// For the change itself, once more under its key.
    Again,
}

/// What the provider said.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    Report(&'a Report),
    /// It knows nothing of it.
    Absent,
    /// Neither.
    Unclear,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// This is certain, and stays.
    Known(Standing),
    /// It must be asked again; why.
    Later(&'static str),
}

// === impl Question ===

impl<'a> Question<'a> {
    /// The question about the last attempt of a payment, or about this change of it. None: there is none.
    pub fn of(payment: &'a Payment, change: Option<&TransactionId>) -> Option<Self> {
        let attempt = payment.last_attempt()?;
        let nth = payment.attempts.len().saturating_sub(1);
        let whole = Self {
            account: attempt.account.as_ref(),
            is_same_account: true,
            provider: &attempt.provider,
            kind: payment.kind(),
            key: payment.id.attempt_key(nth),
            merchant_reference: payment.merchant_reference.as_deref(),
            amount: payment.amount,
            earlier: None,
            memo: payment.memo.as_deref(),
            // A clock that was put back made it no older than its name.
            sent: attempt.began.max(payment.id.millis()),
        };
        let Some(id) = change else { return Some(whole) };
        let change = payment.change(id)?;
        Some(Self {
            is_same_account: change.account == attempt.account,
            kind: change.kind.kind(),
            key: id.attempt_key(0),
            merchant_reference: change.merchant_reference.as_deref(),
            amount: change.amount,
            earlier: attempt.evidence.reference.as_deref(),
            sent: id.millis(),
            ..whole
        })
    }
}

// === impl Doubt ===

impl Doubt<'_> {
    /// Whether the change may be asked for once more: the provider certainly still knows its key, under
    /// which nothing happens twice.
    pub fn may_come_again(&self) -> bool {
        let age = self.by_the_clock().max(self.idle);
        let known = age.checked_add(REPEAT_MARGIN).is_some_and(|age| age < self.remembers);
        known && self.question.is_same_account && !self.is_before()
    }

    /// What is believed. That there is nothing is believed only after the provider's lag; and of who was
    /// asked for it once more only that it is done, since a refusal may be of the question.
    pub fn believe(&self, asked: Asked, heard: Heard<'_>) -> Belief {
        match (asked, heard) {
            (_, Heard::Report(report)) if matches!(report.outcome, Outcome::Unknown(_)) => {
                Belief::Later("its provider does not know yet")
            }
            (_, Heard::Report(report)) if self.differs(report) => Belief::Later(DIFFERS),
            (_, Heard::Report(report)) if Standing::Ended(report.outcome).is_accepted() => {
                Belief::Known(Standing::Ended(report.outcome))
            }
            (Asked::About, Heard::Report(report)) => Belief::Known(Standing::Ended(report.outcome)),
            (Asked::About, Heard::Absent) => self.believe_absent(),
            (Asked::Again, Heard::Report(_) | Heard::Absent) => {
                Belief::Later("its provider may have refused to be asked again")
            }
            (_, Heard::Unclear) => Belief::Later("its provider gives no usable answer"),
        }
    }

    fn believe_absent(&self) -> Belief {
        if self.is_before() {
            Belief::Later("its account has got other credentials since")
        } else if self.idle < self.lag {
            Belief::Later("its provider may still show it")
        } else {
            Belief::Known(Standing::NotDone)
        }
    }

    /// Whether it was sent before the account got the credentials that it has: then another account of
    /// the gateway may be asked than the one that has it.
    fn is_before(&self) -> bool {
        self.question.sent < self.since
    }

    /// How long ago it was sent by a clock that may have been put forward or back.
    fn by_the_clock(&self) -> Duration {
        Duration::from_millis(self.now.saturating_sub(self.question.sent))
    }

    fn differs(&self, report: &Report) -> bool {
        let told = report.amount.is_some_and(|told| told != self.question.amount);
        told && self.question.kind != Kind::Void
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Belief, Doubt, Heard, Question, REPEAT_MARGIN};
    use crate::{
        AccountName, Amount, Attempt, Capture, Change, ChangeKind, Currency, Decline, Evidence,
        Outcome, Payment, Rejected, Report, Standing, TransactionId, Unknown,
    };
    use std::time::Duration;

    const NOW: u64 = 1_700_000_000_000;
    const DAY_MS: u64 = 86_400_000;
    const WEEK: Duration = Duration::from_hours(7 * 24);
    const LAG: Duration = Duration::from_secs(10);

    fn account(name: &str) -> Option<AccountName> {
        Some(AccountName::parse(name).unwrap())
    }

    fn euros(minor: u64) -> Amount {
        Amount::new(minor, Currency::EUR).unwrap()
    }

    /// A payment through the account `first`, of which a part is changed since so many milliseconds.
    fn payment(kind: ChangeKind, ago: u64) -> (Payment, TransactionId) {
        let evidence = Evidence { reference: Some("psp".into()), ..Evidence::default() };
        let standing = Standing::Ended(Outcome::Approved);
        let (provider, began) = ("adyen".into(), NOW.saturating_sub(30 * DAY_MS));
        let attempt = Attempt { account: account("first"), provider, began, standing, evidence };
        let id = TransactionId::new(NOW.saturating_sub(ago), 7);
        let change = Change {
            id: id.clone(),
            kind,
            amount: euros(60),
            account: account("first"),
            merchant_reference: Some("CAP-1".into()),
            standing: Standing::Sending,
            evidence: Evidence::default(),
        };
        let payment = Payment {
            id: TransactionId::new(began, 1),
            capture: Capture::Later,
            amount: euros(100),
            merchant_reference: Some("ORD-1".into()),
            adopted: false,
            last_four: None,
            memo: None,
            attempts: vec![attempt],
            changes: vec![change],
        };
        (payment, id)
    }

    fn doubt<'a>(question: &'a Question<'a>) -> Doubt<'a> {
        let (idle, lag, remembers) = (Duration::ZERO, LAG, WEEK);
        Doubt { question, now: NOW, idle, since: 0, lag, remembers }
    }

    /// What is believed of a change of 60 that nobody has had in hand for so many seconds.
    fn believed(kind: ChangeKind, seconds: u64, asked: Asked, heard: Heard<'_>) -> Belief {
        let (payment, id) = payment(kind, DAY_MS);
        let question = Question::of(&payment, Some(&id)).unwrap();
        let idle = Duration::from_secs(seconds);
        Doubt { idle, ..doubt(&question) }.believe(asked, heard)
    }

    fn may_come_again((payment, id): &(Payment, TransactionId), idle: Duration) -> bool {
        let question = Question::of(payment, Some(id)).unwrap();
        Doubt { idle, ..doubt(&question) }.may_come_again()
    }

    #[test]
    fn a_change_is_asked_for_by_its_own_name_and_not_by_that_of_its_payment() {
        let (payment, id) = payment(ChangeKind::Capture, 0);
        let of_change = Question::of(&payment, Some(&id)).unwrap();
        assert_eq!(&*of_change.key, id.as_str());
        assert_eq!((of_change.merchant_reference, of_change.earlier), (Some("CAP-1"), Some("psp")));
        let of_payment = Question::of(&payment, None).unwrap();
        assert_eq!(&*of_payment.key, payment.id.as_str());
        assert_eq!((of_payment.merchant_reference, of_payment.earlier), (Some("ORD-1"), None));
    }

    #[test]
    fn a_clock_that_was_put_back_makes_no_payment_older_than_its_name() {
        let (mut payment, _) = payment(ChangeKind::Capture, 0);
        payment.attempts[0].began = payment.id.millis() - DAY_MS;
        assert_eq!(Question::of(&payment, None).unwrap().sent, payment.id.millis());
        payment.attempts[0].began = payment.id.millis() + 5;
        assert_eq!(Question::of(&payment, None).unwrap().sent, payment.id.millis() + 5);
    }

    #[test]
    fn nothing_is_believed_only_after_the_lag() {
        // However long ago it was written down: it may have been sent just now.
        let at = |seconds| believed(ChangeKind::Refund, seconds, Asked::About, Heard::Absent);
        assert!(matches!(at(9), Belief::Later(_)));
        assert_eq!(at(10), Belief::Known(Standing::NotDone));
        let unclear = believed(ChangeKind::Refund, 99, Asked::About, Heard::Unclear);
        assert!(matches!(unclear, Belief::Later(_)));
    }

    #[test]
    fn nothing_is_believed_of_an_account_that_has_got_other_credentials() {
        let (payment, id) = payment(ChangeKind::Refund, DAY_MS);
        let question = Question::of(&payment, Some(&id)).unwrap();
        let at = |since| Doubt { since, idle: WEEK, ..doubt(&question) };
        let known = Belief::Known(Standing::NotDone);
        assert_eq!(at(id.millis()).believe(Asked::About, Heard::Absent), known);
        let replaced = at(id.millis() + 1);
        assert!(matches!(replaced.believe(Asked::About, Heard::Absent), Belief::Later(_)));
        let may = |doubt: Doubt<'_>| Doubt { idle: Duration::ZERO, ..doubt }.may_come_again();
        assert!(may(at(id.millis())) && !may(replaced));
    }

    #[test]
    fn a_report_is_believed_unless_it_does_not_know_or_tells_another_amount() {
        let approved = Report { amount: Some(euros(60)), ..Report::bare(Outcome::Approved) };
        let dearer = Report { amount: Some(euros(61)), ..approved.clone() };
        let unknown = Report::bare(Outcome::Unknown(Unknown::Unreadable));
        let known = Belief::Known(Standing::Ended(Outcome::Approved));
        for asked in [Asked::About, Asked::Again] {
            let of = |kind, report| believed(kind, 0, asked, Heard::Report(report));
            assert_eq!(of(ChangeKind::Capture, &approved), known);
            assert!(matches!(of(ChangeKind::Capture, &dearer), Belief::Later(_)));
            assert!(matches!(of(ChangeKind::Capture, &unknown), Belief::Later(_)));
            assert_eq!(of(ChangeKind::Void, &dearer), known);
        }
    }

    #[test]
    fn who_is_asked_for_a_change_again_is_believed_only_that_it_is_done() {
        let declined = Outcome::Declined(Decline::CardDeclined);
        let rejected = Outcome::Rejected(Rejected::Malformed);
        for (outcome, is_done) in [
            (Outcome::Approved, true),
            (Outcome::Pending, true),
            (declined, false),
            (rejected, false),
        ] {
            let report = Report::bare(outcome);
            let of = |asked| believed(ChangeKind::Refund, 99, asked, Heard::Report(&report));
            let known = Belief::Known(Standing::Ended(outcome));
            assert_eq!(of(Asked::About), known);
            assert_eq!(of(Asked::Again) == known, is_done, "{outcome:?}");
        }
        let absent = believed(ChangeKind::Refund, 99, Asked::Again, Heard::Absent);
        assert!(matches!(absent, Belief::Later(_)));
    }

    #[test]
    fn nothing_comes_again_when_its_provider_may_have_forgotten_the_key() {
        let remembered = WEEK.saturating_sub(REPEAT_MARGIN);
        let millis = u64::try_from(remembered.as_millis()).unwrap();
        let young = payment(ChangeKind::Capture, millis - 60_000);
        assert!(may_come_again(&young, Duration::ZERO));
        let old = payment(ChangeKind::Capture, millis + 60_000);
        assert!(!may_come_again(&old, Duration::ZERO));
        // A clock that was put back makes it look younger than it is known to be.
        assert!(!may_come_again(&young, remembered));
        let (payment, id) = payment(ChangeKind::Capture, 0);
        let question = Question::of(&payment, Some(&id)).unwrap();
        let forgets = Doubt { remembers: Duration::ZERO, ..doubt(&question) };
        assert!(!forgets.may_come_again(), "it says for how long");
    }

    #[test]
    fn nothing_comes_again_through_another_account_than_before() {
        let mut other = payment(ChangeKind::Capture, 0);
        other.0.changes.iter_mut().for_each(|change| change.account = account("second"));
        assert!(!may_come_again(&other, Duration::ZERO));
        other.0.changes.iter_mut().for_each(|change| change.account = None);
        assert!(!may_come_again(&other, Duration::ZERO), "its credentials came with the request");
    }
}
