//! Which accounts are asked: the next one only when it is certain that this one did nothing.
//!
//! The rules are those of `docs/concepts/outcomes.md`. A decline is an answer, and not knowing is
//! no reason to ask somebody else.

use crate::result::{Ending, Skip};
use model::AccountState;
use vault::payments::Told;

/// Whether it is certain that the account did nothing, so that another one may be asked.
pub(super) fn may_go_on(ending: &Ending) -> bool {
    match ending {
        // No complete request can have reached the provider, or there is none to send.
        Ending::NotSent | Ending::NotSupported => true,
        Ending::Reported(_) => ending.standing().is_nothing(),
        // Our own fault would meet the next account as well.
        Ending::Failed | Ending::NotAllowed(..) => false,
    }
}

/// Why an account is left out. One whose provider fails is asked all the same where there is no other:
/// `works` is only looked at if there is.
pub(super) fn skip(
    state: AccountState,
    another: bool,
    works: impl FnOnce() -> bool,
) -> Option<Skip> {
    if !state.is_enabled() {
        Some(Skip::Disabled)
    } else if another && !works() {
        Some(Skip::Unavailable)
    } else {
        None
    }
}

/// Whether a payment that ended so at its last account certainly did nothing anywhere: it went on to
/// that account only from others that did nothing.
pub(super) fn certainly_nothing(ending: &Ending) -> bool {
    may_go_on(ending) || matches!(ending, Ending::Failed | Ending::NotAllowed(..))
}

#[cfg(test)]
mod tests {
    use super::{certainly_nothing, may_go_on, skip};
    use crate::result::{Ending, Skip};
    use model::{AccountState, Decline, Outcome, Rejected, Report, Unknown};

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
    fn an_account_that_fails_is_left_out_only_where_there_is_another() {
        let enabled = AccountState::Enabled;
        assert_eq!(skip(enabled, true, || false), Some(Skip::Unavailable));
        assert_eq!(skip(enabled, true, || true), None);
        assert_eq!(skip(enabled, false, || panic!("nobody else is there")), None);
        for another in [false, true] {
            let disabled = skip(AccountState::Disabled, another, || panic!("it is no matter"));
            assert_eq!(disabled, Some(Skip::Disabled));
        }
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
