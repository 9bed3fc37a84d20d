//! What is held, taken and given back of a payment.

/// The sums of one payment, in the provider's units.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Balance {
    pub(super) authorised: u64,
    pub(super) captured: u64,
    pub(super) refunded: u64,
    pub(super) voided: bool,
}

// === impl Balance ===

impl Balance {
    /// A hold, taken at once or not.
    pub(super) fn new(authorised: u64, taken: bool) -> Self {
        let captured = if taken { authorised } else { 0 };
        Self { authorised, captured, ..Self::default() }
    }

    /// Takes a part, or says why not.
    pub(super) fn capture(&mut self, amount: u64) -> Result<(), &'static str> {
        if self.voided {
            return Err("the payment was voided");
        }
        if amount > self.authorised.saturating_sub(self.captured) {
            return Err("more than was authorised");
        }
        self.captured = self.captured.saturating_add(amount);
        Ok(())
    }

    /// Gives a part back, or says why not.
    pub(super) fn refund(&mut self, amount: u64) -> Result<(), &'static str> {
        if amount > self.captured.saturating_sub(self.refunded) {
            return Err("more than was captured");
        }
        self.refunded = self.refunded.saturating_add(amount);
        Ok(())
    }

    /// Lets the hold go, or says why not.
    pub(super) fn void(&mut self) -> Result<(), &'static str> {
        if self.voided {
            return Err("the payment was voided");
        }
        if self.captured > 0 {
            return Err("the payment was captured");
        }
        self.voided = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Balance;

    #[test]
    fn never_more_is_taken_than_is_held_and_never_more_given_back_than_was_taken() {
        let mut held = Balance::new(100, false);
        assert!(held.refund(1).is_err());
        assert!(held.capture(60).is_ok() && held.capture(41).is_err() && held.capture(40).is_ok());
        assert!(held.void().is_err());
        assert!(held.refund(100).is_ok() && held.refund(1).is_err());
        let mut held = Balance::new(100, false);
        assert!(held.void().is_ok() && held.void().is_err() && held.capture(1).is_err());
        assert!(Balance::new(100, true).refund(100).is_ok());
    }
}
