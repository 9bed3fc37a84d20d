//! NullFailure.

use crate::wire::{Answer, Request};
use crate::{Cx, Gateway, Provider, Refusal};
use model::{Card, Kind, Operation, Outcome, Report, Unknown};

pub(crate) static PROVIDER: NullFailure = NullFailure;

#[derive(Debug)]
pub(crate) struct NullFailure;

static GATEWAY: Gateway = Gateway {
    id: "NULLFailure",
    display_name: "NullFailure",
    url: "",
    description: "",
    credentials: &[],
    supports_network_token: false,
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
}
