//! Credentials that the providers no longer take, to order.

use super::{Answer, Provider, Received};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How many credentials may be out of order at a time.
const CREDENTIALS_MAX: usize = 1_000;

/// An order about one key. Keys that nobody ordered anything about are good when they are of the
/// right form.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    pub provider: Provider,
    pub key: String,
    pub standing: Standing,
}

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Everything, again.
    Good,
    /// The provider knows it, but it may not do anything.
    Restricted,
    /// It was good once.
    Revoked,
}

/// The keys that are not good.
#[derive(Debug, Default)]
pub(super) struct Standings(HashMap<(Provider, String), Standing>);

// === impl Standings ===

impl Standings {
    /// Carries an order out, unless too many keys are out of order already.
    pub(super) fn order(&mut self, order: Order) -> bool {
        let Order { provider, key, standing } = order;
        if standing == Standing::Good {
            self.0.remove(&(provider, key));
            return true;
        }
        let room = self.0.len() < CREDENTIALS_MAX;
        if room {
            self.0.insert((provider, key), standing);
        }
        room
    }

    /// The answer to a request whose key is not good.
    pub(super) fn refuse(&self, received: &Received) -> Option<Answer> {
        if self.0.is_empty() {
            return None;
        }
        let provider = received.provider;
        let key = provider.key(received).to_owned();
        match self.0.get(&(provider, key))? {
            Standing::Good => None,
            Standing::Restricted => Some(provider.forbidden()),
            Standing::Revoked => Some(provider.revoked()),
        }
    }
}
