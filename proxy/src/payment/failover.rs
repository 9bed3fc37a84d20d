//! When the next account may be asked: only when it is certain that this one did nothing.
//!
//! The rules are those of `docs/concepts/outcomes.md`. A decline is an answer, and not knowing is
//! no reason to ask somebody else.

use crate::result::Ending;
use model::{Outcome, Rejected};

/// Whether it is certain that the account did nothing, so that another one may be asked.
pub(super) fn may_go_on(ending: &Ending) -> bool {
    match ending {
        // No complete request can have reached the provider, or there is none to send.
        Ending::NotSent | Ending::NotSupported => true,
        Ending::Reported(report) => match report.outcome {
            // The provider says that it did not process the request.
            Outcome::Rejected(why) => why.is_not_processed() || why == Rejected::Credentials,
            Outcome::Approved | Outcome::Declined(_) | Outcome::Pending | Outcome::Unknown(_) => {
                false
            }
        },
        // Our own fault would meet the next account as well.
        Ending::Failed | Ending::NotAllowed(..) => false,
    }
}

/// Whether a payment that ended so at its last account certainly did nothing anywhere: it went on to
/// that account only from others that did nothing.
pub(super) fn certainly_nothing(ending: &Ending) -> bool {
    may_go_on(ending) || matches!(ending, Ending::Failed | Ending::NotAllowed(..))
}

#[cfg(test)]
mod tests {
    use super::{certainly_nothing, may_go_on};
    use crate::result::Ending;
    use model::{Decline, Outcome, Rejected, Report, Unknown};

    #[test]
    fn another_account_is_asked_only_when_this_one_certainly_did_nothing() {
        let reported = |outcome| may_go_on(&Ending::Reported(Report::bare(outcome)));
        assert!(may_go_on(&Ending::NotSent) && may_go_on(&Ending::NotSupported));
        assert!(!may_go_on(&Ending::Failed));
        for why in Rejected::ALL {
            let expected = matches!(
                why,
                Rejected::RateLimited | Rejected::Unavailable | Rejected::Credentials
            );
            assert_eq!(reported(Outcome::Rejected(why)), expected, "{why:?}");
        }
        for why in Decline::ALL {
            assert!(!reported(Outcome::Declined(why)), "{why:?}");
        }
        for why in Unknown::ALL {
            assert!(!reported(Outcome::Unknown(why)), "{why:?}");
        }
        assert!(!reported(Outcome::Approved) && !reported(Outcome::Pending));
    }

    #[test]
    fn what_may_have_been_done_is_not_called_nothing() {
        let reported = |outcome| certainly_nothing(&Ending::Reported(Report::bare(outcome)));
        assert!(certainly_nothing(&Ending::Failed) && certainly_nothing(&Ending::NotSent));
        assert!(reported(Outcome::Rejected(Rejected::RateLimited)));
        assert!(!reported(Outcome::Rejected(Rejected::Malformed)));
        assert!(!reported(Outcome::Approved) && !reported(Outcome::Pending));
        assert!(!reported(Outcome::Declined(Decline::IncorrectCvv)));
        assert!(!reported(Outcome::Unknown(Unknown::Interrupted)));
    }
}
