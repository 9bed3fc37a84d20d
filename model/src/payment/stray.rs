//! A payment that stands and must not: its merchant was told that nothing was done.

use super::{Change, ChangeKind, Evidence, Payment, Standing, TransactionId};
use crate::{Outcome, Report};

/// What is to be done about a payment that must not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Nothing more: it does not stand, or its merchant has taken it into use.
    Nothing,
    /// Something about it is not decided yet.
    Wait,
    /// This, with all of it.
    Do(ChangeKind),
    /// What can be done by itself was done, and a person has to look.
    Person,
}

// === impl Payment ===

impl Payment {
    /// The attempt number `nth`, which was given up and stands, as a payment of its own.
    pub fn stray(&self, nth: usize, id: TransactionId, report: &Report) -> Option<Self> {
        let mut attempt = self.attempts.get(nth)?.clone();
        attempt.learn(Standing::Ended(report.outcome), &Evidence::from(report));
        let mut stray = Self {
            id,
            capture: self.capture,
            amount: self.amount,
            merchant_reference: self.merchant_reference.clone(),
            adopted: false,
            last_four: self.last_four.clone(),
            memo: None,
            attempts: vec![attempt],
            changes: Vec::new(),
        };
        stray.remember(report);
        Some(stray)
    }

    /// It as it was when this attempt was its last.
    pub fn until(&self, nth: usize) -> Self {
        let mut then = self.clone();
        if !self.is_last_attempt(nth) {
            then.attempts.truncate(nth.saturating_add(1));
            then.changes.clear();
        }
        then
    }

    /// What is to be done about it if it must not stand. `is_double`: the same was paid for elsewhere.
    ///
    /// It is voided. Money that was taken is given back only where it certainly was taken twice:
    /// otherwise the merchant may want to keep it.
    pub fn undo(&self, is_double: bool) -> Undo {
        let is = |standing: fn(Standing) -> bool| {
            self.last_attempt().is_some_and(|attempt| standing(attempt.standing))
        };
        let undecided = |change: &Change| {
            let undoes = change.kind != ChangeKind::Capture;
            change.standing.is_open() || undoes && !change.standing.is_final()
        };
        if is(Standing::is_open) || self.changes.iter().any(undecided) {
            Undo::Wait
        } else if !is(Standing::is_accepted)
            || self.changes.iter().any(|change| change.standing.is_accepted())
        {
            Undo::Nothing
        } else {
            let next = self.next_undo(is_double);
            let next = next.filter(|kind| self.allows(*kind, self.amount).is_ok());
            next.map_or(Undo::Person, Undo::Do)
        }
    }

    /// What its provider has not refused yet: asked again it would refuse again.
    fn next_undo(&self, is_double: bool) -> Option<ChangeKind> {
        let refuses = |standing: Standing| {
            matches!(standing, Standing::Ended(Outcome::Declined(_) | Outcome::Rejected(_)))
                && !standing.is_nothing()
        };
        if !self.any(ChangeKind::Void, refuses) {
            return Some(ChangeKind::Void);
        }
        // Where nothing was taken, the payment allows no refund.
        (is_double && !self.any(ChangeKind::Refund, refuses)).then_some(ChangeKind::Refund)
    }
}

#[cfg(test)]
mod tests {
    use super::Undo;
    use crate::payment::tests::{APPROVED, DECLINED, PENDING, UNKNOWN, payment, with};
    use crate::{Capture, ChangeKind, Outcome, Rejected, Report, Standing, TransactionId};

    #[test]
    fn what_must_not_stand_is_voided_and_given_back_only_if_it_was_taken_twice() {
        use ChangeKind::{Capture as Take, Refund, Void};
        let later = || payment(Capture::Later, APPROVED);
        let now = || payment(Capture::Now, APPROVED);
        let busy = Standing::Ended(Outcome::Rejected(Rejected::Unavailable));
        let refused = Standing::Ended(Outcome::Rejected(Rejected::State));
        let twice = &[(Void, 1_000, refused), (Refund, 1_000, refused)];
        for (payment, alone, double) in [
            (later(), Undo::Do(Void), Undo::Do(Void)),
            (now(), Undo::Do(Void), Undo::Do(Void)),
            (payment(Capture::Now, PENDING), Undo::Do(Void), Undo::Do(Void)),
            (payment(Capture::Now, UNKNOWN), Undo::Wait, Undo::Wait),
            (payment(Capture::Now, DECLINED), Undo::Nothing, Undo::Nothing),
            (with(now(), &[(Void, 1_000, UNKNOWN)]), Undo::Wait, Undo::Wait),
            (with(now(), &[(Void, 1_000, PENDING)]), Undo::Wait, Undo::Wait),
            (with(now(), &[(Void, 1_000, APPROVED)]), Undo::Nothing, Undo::Nothing),
            (with(now(), &[(Void, 1_000, Standing::NotDone)]), Undo::Do(Void), Undo::Do(Void)),
            (with(now(), &[(Void, 1_000, busy)]), Undo::Do(Void), Undo::Do(Void)),
            (with(now(), &[(Void, 1_000, refused)]), Undo::Person, Undo::Do(Refund)),
            (with(now(), &[(Void, 1_000, DECLINED)]), Undo::Person, Undo::Do(Refund)),
            (with(later(), &[(Void, 1_000, refused)]), Undo::Person, Undo::Person),
            (with(now(), twice), Undo::Person, Undo::Person),
            (with(now(), &[(Refund, 1_000, PENDING)]), Undo::Wait, Undo::Wait),
            (with(now(), &[(Refund, 1_000, APPROVED)]), Undo::Nothing, Undo::Nothing),
            // The merchant has found it, and uses it.
            (with(later(), &[(Take, 400, APPROVED)]), Undo::Nothing, Undo::Nothing),
            (with(later(), &[(Take, 400, PENDING)]), Undo::Nothing, Undo::Nothing),
            (with(later(), &[(Take, 400, UNKNOWN)]), Undo::Wait, Undo::Wait),
        ] {
            assert_eq!(payment.undo(false), alone, "{payment:?}");
            assert_eq!(payment.undo(true), double, "{payment:?}");
        }
    }

    #[test]
    fn a_void_that_is_never_done_is_not_asked_for_without_end() {
        let mut stray = payment(Capture::Later, APPROVED);
        let mut asked = 0;
        while let Undo::Do(kind) = stray.undo(false) {
            stray = with(stray, &[(kind, 1_000, Standing::NotDone)]);
            asked += 1;
        }
        assert_eq!(asked, super::Payment::CHANGES_MAX);
        assert_eq!(stray.undo(false), Undo::Person);
    }

    #[test]
    fn what_was_given_up_and_stands_becomes_a_payment_of_its_own() {
        let mut went_on = payment(Capture::Now, Standing::NotDone);
        went_on.attempts.push(went_on.attempts[0].clone());
        let id = TransactionId::new(9, 9);
        let named = Report { reference: Some("pi_1".into()), ..Report::bare(Outcome::Approved) };
        let stray = went_on.stray(0, id.clone(), &named).unwrap();
        assert_eq!((&stray.id, stray.captured()), (&id, 1_000));
        assert_eq!(stray.reference().unwrap().1.as_ref(), "pi_1");
        assert_eq!(went_on.stray(2, id, &named), None);
        // What is done to it is done to the attempt that counts.
        let went_on = with(went_on, &[(ChangeKind::Refund, 1_000, UNKNOWN)]);
        let then = went_on.until(0);
        assert_eq!((then.attempts.len(), then.changes.len()), (1, 0));
        assert_eq!(went_on.until(1), went_on);
    }
}
