//! What payments come to.

use super::{Capture, ChangeKind, Payment, Standing};

/// What payments of one currency come to, in minor units. No part is in another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many payments these are.
    pub payments: u64,
    /// Of how many of them something is in doubt. That is in none of the sums.
    pub in_doubt: u64,
    /// Held, and not captured.
    pub authorized: u64,
    pub captured: u64,
    /// What the provider took upon itself to capture, and has not confirmed.
    pub pending_capture: u64,
    pub refunded: u64,
    /// What the provider took upon itself to refund, and has not confirmed.
    pub pending_refund: u64,
}

// === impl Payment ===

impl Payment {
    /// What it comes to.
    pub fn sums(&self) -> Sums {
        let pending_capture = self.pending(ChangeKind::Capture);
        let pending_refund = self.pending(ChangeKind::Refund);
        let in_doubt = self.any(ChangeKind::Capture, Standing::is_open)
            || self.any(ChangeKind::Void, Standing::is_open);
        let held = match self.capture {
            // What may be captured or let go of at this moment is not counted as held.
            Capture::Later if !in_doubt => self.authorized().saturating_sub(self.captured()),
            Capture::Later | Capture::Now => 0,
        };
        Sums {
            payments: 1,
            in_doubt: u64::from(self.is_open()),
            authorized: held,
            captured: self.captured().saturating_sub(pending_capture),
            pending_capture,
            refunded: self.refunded().saturating_sub(pending_refund),
            pending_refund,
        }
    }
}

// === impl Sums ===

impl Sums {
    /// Adds the sums of others. What is more than can be counted stays the most that can be.
    pub fn add(&mut self, other: &Self) {
        let parts = [
            (&mut self.payments, other.payments),
            (&mut self.in_doubt, other.in_doubt),
            (&mut self.authorized, other.authorized),
            (&mut self.captured, other.captured),
            (&mut self.pending_capture, other.pending_capture),
            (&mut self.refunded, other.refunded),
            (&mut self.pending_refund, other.pending_refund),
        ];
        for (mine, theirs) in parts {
            *mine = mine.saturating_add(theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sums;
    use crate::payment::tests::{APPROVED, DECLINED, PENDING, UNKNOWN, payment, with};
    use crate::{Capture, ChangeKind, Standing};

    #[test]
    fn no_part_of_a_payment_is_counted_twice() {
        use ChangeKind::{Capture as Take, Refund, Void};
        let later = |standing| payment(Capture::Later, standing);
        let now = |standing| payment(Capture::Now, standing);
        for (payment, sums, in_doubt) in [
            (later(APPROVED), [1_000, 0, 0, 0, 0], 0),
            (later(PENDING), [1_000, 0, 0, 0, 0], 0),
            (later(UNKNOWN), [0, 0, 0, 0, 0], 1),
            (later(DECLINED), [0, 0, 0, 0, 0], 0),
            (later(Standing::NotDone), [0, 0, 0, 0, 0], 0),
            (now(APPROVED), [0, 1_000, 0, 0, 0], 0),
            (now(PENDING), [0, 0, 1_000, 0, 0], 0),
            (with(later(APPROVED), &[(Take, 400, APPROVED)]), [600, 400, 0, 0, 0], 0),
            (with(later(APPROVED), &[(Take, 400, PENDING)]), [600, 0, 400, 0, 0], 0),
            (with(later(APPROVED), &[(Take, 400, DECLINED)]), [1_000, 0, 0, 0, 0], 0),
            (with(later(APPROVED), &[(Take, 400, UNKNOWN)]), [0, 0, 0, 0, 0], 1),
            (with(later(APPROVED), &[(Void, 1_000, APPROVED)]), [0, 0, 0, 0, 0], 0),
            (with(now(APPROVED), &[(Refund, 300, APPROVED)]), [0, 1_000, 0, 300, 0], 0),
            (with(now(APPROVED), &[(Refund, 300, PENDING)]), [0, 1_000, 0, 0, 300], 0),
            (with(now(APPROVED), &[(Refund, 300, UNKNOWN)]), [0, 1_000, 0, 0, 0], 1),
        ] {
            let [authorized, captured, pending_capture, refunded, pending_refund] = sums;
            let expected = Sums {
                payments: 1,
                in_doubt,
                authorized,
                captured,
                pending_capture,
                refunded,
                pending_refund,
            };
            assert_eq!(payment.sums(), expected, "{payment:?}");
        }
    }

    #[test]
    fn sums_are_added_and_never_wrap() {
        let mut sums = payment(Capture::Now, APPROVED).sums();
        sums.add(&payment(Capture::Later, APPROVED).sums());
        assert_eq!((sums.payments, sums.authorized, sums.captured), (2, 1_000, 1_000));
        sums.captured = u64::MAX;
        sums.add(&payment(Capture::Now, APPROVED).sums());
        assert_eq!(sums.captured, u64::MAX);
    }
}
