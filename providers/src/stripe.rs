//! Stripe.

use crate::wire::{Answer, Request};
use crate::{Cx, Gateway, Provider, Refusal};
use model::{Card, Kind, Operation, Outcome, Report, Unknown};

pub(crate) static PROVIDER: Stripe = Stripe;

#[derive(Debug)]
pub(crate) struct Stripe;

static GATEWAY: Gateway = Gateway {
    id: "Stripe",
    display_name: "Stripe",
    url: "",
    description: "",
    credentials: &[],
    supports_network_token: false,
};

impl Provider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
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
