//! Adyen.

use crate::wire::{Answer, Request};
use crate::{Cx, Gateway, Provider, Refusal};
use model::{Card, Kind, Operation, Outcome, Report, Unknown};

pub(crate) static PROVIDER: Adyen = Adyen;

#[derive(Debug)]
pub(crate) struct Adyen;

static GATEWAY: Gateway = Gateway {
    id: "Adyen",
    display_name: "Adyen",
    url: "",
    description: "",
    credentials: &[],
    supports_network_token: false,
};

impl Provider for Adyen {
    fn name(&self) -> &'static str {
        "adyen"
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
