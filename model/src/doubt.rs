//! What is believed of an operation whose answer was lost, when its provider was asked about it.

use crate::{Amount, Kind, Outcome, Report, Standing};
use std::time::Duration;

/// Why something stays in doubt of which the provider tells another amount than was asked for.
pub const DIFFERS: &str = "its provider tells another amount";

/// What was lost, as far as it counts here.
#[derive(Clone, Copy, Debug)]
pub struct Doubt {
    pub kind: Kind,
    pub amount: Amount,
    /// How long ago the last of it was sent at the latest: a request may leave well after it was
    /// written down. It counts up to the question, not up to its answer.
    pub age: Duration,
    /// How long the provider may not show yet what it did.
    pub lag: Duration,
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

// === impl Doubt ===

impl Doubt {
    /// What is believed. That there is nothing is believed only after the provider's lag.
    pub fn believe(&self, heard: Heard<'_>) -> Belief {
        match heard {
            Heard::Report(report) if matches!(report.outcome, Outcome::Unknown(_)) => {
                Belief::Later("its provider does not know yet")
            }
            Heard::Report(report) if self.differs(report) => Belief::Later(DIFFERS),
            Heard::Report(report) => Belief::Known(Standing::Ended(report.outcome)),
            Heard::Absent if self.age >= self.lag => Belief::Known(Standing::NotDone),
            Heard::Absent => Belief::Later("its provider may still show it"),
            Heard::Unclear => Belief::Later("its provider gives no usable answer"),
        }
    }

    fn differs(&self, report: &Report) -> bool {
        self.kind != Kind::Void && report.amount.is_some_and(|told| told != self.amount)
    }
}

#[cfg(test)]
mod tests {
    use super::{Belief, Doubt, Heard};
    use crate::{Amount, Currency, Kind, Outcome, Report, Standing, Unknown};
    use std::time::Duration;

    const LAG: Duration = Duration::from_secs(10);

    fn doubt(kind: Kind, age: u64) -> Doubt {
        let amount = Amount::new(100, Currency::EUR).unwrap();
        Doubt { kind, amount, age: Duration::from_secs(age), lag: LAG }
    }

    #[test]
    fn nothing_is_believed_only_after_the_lag() {
        let at = |age| doubt(Kind::Charge, age).believe(Heard::Absent);
        assert!(matches!(at(9), Belief::Later(_)));
        assert_eq!(at(10), Belief::Known(Standing::NotDone));
        assert!(matches!(doubt(Kind::Charge, 99).believe(Heard::Unclear), Belief::Later(_)));
    }

    #[test]
    fn a_report_is_believed_unless_it_does_not_know_or_tells_another_amount() {
        let approved = Report::bare(Outcome::Approved);
        let other = Amount::new(101, Currency::EUR).ok();
        let dearer = Report { amount: other, ..approved.clone() };
        let unknown = Report::bare(Outcome::Unknown(Unknown::Unreadable));
        let charge = doubt(Kind::Charge, 0);
        let known = Belief::Known(Standing::Ended(Outcome::Approved));
        assert_eq!(charge.believe(Heard::Report(&approved)), known);
        assert!(matches!(charge.believe(Heard::Report(&dearer)), Belief::Later(_)));
        assert!(matches!(charge.believe(Heard::Report(&unknown)), Belief::Later(_)));
        assert_eq!(doubt(Kind::Void, 0).believe(Heard::Report(&dearer)), known);
    }
}
