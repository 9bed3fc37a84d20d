//! NULLSuccess: says yes to everything, inside this process. For integration tests.
//!
//! It keeps nothing, so it has no status to tell, and no card.

use crate::wire::{Answer, Request};
use crate::{Cx, Gateway, Provider, Refusal, Validity};
use model::{Action, Capture, Card, FollowUp, Gone, Kind, Operation, Outcome, Report, State, Unknown};

pub(crate) static PROVIDER: NullSuccess = NullSuccess;

#[derive(Debug)]
pub(crate) struct NullSuccess;

static GATEWAY: Gateway = Gateway {
    id: "NULLSuccess",
    display_name: "NULL success",
    url: "",
    description: "Approves every operation at once, without a provider. For tests.",
    credentials: &[],
    supports_network_token: true,
};

impl Provider for NullSuccess {
    fn name(&self) -> &'static str {
        "null_success"
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
            Action::Authorize(authorization) => match authorization.capture {
                Capture::Later => (State::Authorized, &operation.key),
                Capture::Now => (State::Captured, &operation.key),
            },
            Action::Capture(FollowUp { reference, .. }) => (State::Captured, reference),
            Action::Refund(FollowUp { reference, .. }) => (State::Refunded, reference),
            Action::Void(FollowUp { reference, .. }) => (State::Voided, reference),
            Action::Status(_) | Action::Tokenize(_) => return None,
        };
        Some(Report {
            state: Some(state),
            amount: operation.amount(),
            authorization_code: Some("000000".into()),
            reference: Some(reference.clone()),
            code: Some("success".into()),
            description: Some("Always approved".into()),
            ..Report::bare(Outcome::Approved)
        })
    }
}
