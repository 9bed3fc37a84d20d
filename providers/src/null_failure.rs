//! NULLFailure: says no to everything, inside this process. For integration tests.
//!
//! It keeps nothing, so it has no status to tell.

use crate::wire::{Answer, Request};
use crate::{Cx, Gateway, Provider, Refusal, Validity};
use model::{Action, Card, Decline, FollowUp, Gone, Kind, Operation, Outcome, Report, State, Unknown};

pub(crate) static PROVIDER: NullFailure = NullFailure;

#[derive(Debug)]
pub(crate) struct NullFailure;

static GATEWAY: Gateway = Gateway {
    id: "NULLFailure",
    display_name: "NULL failure",
    url: "",
    description: "Declines every operation at once, without a provider. For tests.",
    credentials: &[],
    supports_network_token: true,
};

impl Provider for NullFailure {
    fn name(&self) -> &'static str {
        "null_failure"
    }

    fn gateway(&self) -> &'static Gateway {
        &GATEWAY
    }

    fn request(&self, _: &Operation<Card>, _: &Cx<'_>) -> Result<Request, Refusal> {
        Err(Refusal::Unsupported)
    }

    fn outcome(&self, _: Kind, _: &Answer<'_>) -> Report {
        Report::bare(Outcome::Unknown(Unknown::Unreadable))
    }

    fn validation(&self, _: &Cx<'_>) -> Result<Option<Request>, Refusal> {
        Ok(None)
    }

    fn validity(&self, _: &Answer<'_>) -> Validity {
        Validity::NotUnderstood
    }

    fn instant(&self, operation: &Operation<Gone>) -> Option<Report> {
        let (state, reference) = match &operation.action {
            Action::Authorize(authorization) if authorization.generate_token => return None,
            Action::Authorize(_) => (Some(State::Declined), &operation.key),
            // A payment that is told no stays what it was, which nobody here knows.
            Action::Capture(FollowUp { reference, .. })
            | Action::Refund(FollowUp { reference, .. })
            | Action::Void(FollowUp { reference, .. }) => (None, reference),
            Action::Status(_) | Action::Tokenize(_) => return None,
        };
        Some(Report {
            state,
            amount: operation.amount(),
            reference: Some(reference.clone()),
            code: Some("failure".into()),
            description: Some("Always declined".into()),
            ..Report::bare(Outcome::Declined(Decline::CardDeclined))
        })
    }
}
