//! The one table from endings to what the merchant hears.

use super::{Code, Ending};
use model::{Kind, NotAllowed, Outcome, Rejected, State};

/// What a client is to make of an ending.
pub(super) struct Verdict {
    pub(super) code: Code,
    pub(super) description: &'static str,
    pub(super) retryable: bool,
    pub(super) state: Option<State>,
}

// === impl Ending ===

impl Ending {
    /// The one table from endings to what the merchant hears.
    pub(super) fn verdict(&self, kind: Kind) -> Verdict {
        let verdict = self.verdict_of(kind);
        // What is kept is no payment, and is in no state.
        if kind == Kind::Tokenize { Verdict { state: None, ..verdict } } else { verdict }
    }

    fn verdict_of(&self, kind: Kind) -> Verdict {
        let new =
            |code, description, retryable, state| Verdict { code, description, retryable, state };
        let report = match self {
            Self::NotAllowed(why, state) => {
                let later = *why == NotAllowed::Unknown;
                return new(Code::Rejected, not_allowed(*why), later, Some(*state));
            }
            Self::Failed => {
                return new(
                    Code::FatalFailure,
                    "No money can have moved: an internal error.",
                    true,
                    None,
                );
            }
            Self::NotSent => {
                let why = "No money can have moved: the gateway was not reached, or did not answer \
                           what came before the payment. It may be tried again.";
                return new(Code::TemporaryFailure, why, true, None);
            }
            Self::NotSupported => {
                let why = "The gateway does not offer this operation.";
                return new(Code::NotImplemented, why, false, None);
            }
            Self::Reported(report) => report,
        };
        match report.outcome {
            Outcome::Approved => new(Code::Success, success(kind), false, report.state),
            Outcome::Pending => {
                let why = "The gateway accepted the request and will process it later.";
                new(Code::Accepted, why, false, report.state.or(Some(State::Pending)))
            }
            Outcome::Declined(decline) => {
                let state = report.state.or(Some(State::Declined));
                new(Code::Rejected, "The card was declined.", decline.is_retryable(), state)
            }
            Outcome::Rejected(Rejected::RateLimited | Rejected::Unavailable) => {
                let why =
                    "The gateway is busy and did not process the request; it may be tried again.";
                new(Code::TemporaryFailure, why, true, report.state)
            }
            Outcome::Rejected(rejected) => {
                new(Code::Rejected, refusal(rejected), false, report.state)
            }
            // To ask moves no money, so that not to know the answer is only a failure to ask.
            Outcome::Unknown(_) if kind == Kind::Status => {
                let why = "The gateway gave no usable answer; it may be asked again.";
                new(Code::TemporaryFailure, why, true, None)
            }
            // Nobody is charged by what is kept, least of all under a name that nobody knows.
            Outcome::Unknown(_) if kind == Kind::Tokenize => {
                let why = "It is not known whether the gateway keeps the card. No money can have moved: it may be tried again, with another Idempotency-Key if there is one, and the card may be kept twice then.";
                new(Code::TemporaryFailure, why, true, None)
            }
            Outcome::Unknown(_) => {
                let why = "It is not known whether the gateway did it. Do not repeat it: ask for it at /Transactions.";
                new(Code::Accepted, why, false, Some(State::Unknown))
            }
        }
    }
}

/// Why a payment does not allow what was asked.
fn not_allowed(why: NotAllowed) -> &'static str {
    match why {
        NotAllowed::Currency => "Nothing was sent: the payment is in another currency.",
        NotAllowed::InPart => {
            "Nothing was sent: only all of a payment can be voided, and this is another amount."
        }
        NotAllowed::OverAuthorized => {
            "Nothing was sent: more would be captured than was authorized."
        }
        NotAllowed::OverCaptured => "Nothing was sent: more would be refunded than was captured.",
        NotAllowed::State => "Nothing was sent: the payment is not in a state that allows this.",
        NotAllowed::TooMany => "Nothing was sent: too much was done to this payment already.",
        NotAllowed::Unknown => {
            "Nothing was sent: it is not known yet what became of the payment, or of what was asked \
             of it before. Wait until it is."
        }
    }
}

fn success(kind: Kind) -> &'static str {
    match kind {
        Kind::Authorize => "The amount was authorized.",
        Kind::Capture => "The amount was captured.",
        Kind::Charge => "The card was charged.",
        Kind::Refund => "The amount was refunded.",
        Kind::Status => "Transaction found.",
        Kind::Tokenize => "The gateway keeps the card.",
        Kind::Void => "The transaction was voided.",
    }
}

fn refusal(rejected: Rejected) -> &'static str {
    match rejected {
        Rejected::Configuration => "The gateway account is not set up for this request.",
        Rejected::Credentials => "The gateway refused the account's credentials.",
        Rejected::Duplicate => "The gateway has or had the same request already.",
        Rejected::Malformed => "The gateway did not accept the request's data.",
        Rejected::NotFound => "The gateway knows no such transaction.",
        Rejected::RateLimited => "The gateway is busy.",
        Rejected::State => "The transaction is not in a state that allows this.",
        Rejected::Unavailable => "The gateway is out of order.",
    }
}
