//! What all requests share.

use crate::access_log::AccessLog;
use crate::accounts::Desk;
use crate::breaker::{Breakers, Change, Told};
use crate::inquiry::Asker;
use crate::metrics::Metrics;
use crate::rotation::Rotations;
use crate::upstream::Upstreams;
use crate::waits::Waits;
use filters::flood::Flood;
use filters::quota::Quota;
use http::HeaderValue;
use model::{AccountName, MerchantId};
use pingora::upstreams::peer::HttpPeer;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use vault::Vault;

/// Everything that lives as long as the program serves.
pub(crate) struct Shared {
    pub(crate) access_log: AccessLog,
    /// Shared with those who listen to operators.
    pub(crate) breakers: Arc<Breakers>,
    /// Whether the program is about to end and takes no new payments.
    pub(crate) draining: AtomicBool,
    pub(crate) flood: Flood,
    pub(crate) head_limits: filters::head::Limits,
    pub(crate) limits: conf::Limits,
    /// Whether the merchants' listeners have been seen to take connections.
    pub(crate) listening: AtomicBool,
    /// Where the merchants' listeners are, as their clients see them.
    pub(crate) merchants: Vec<HttpPeer>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) payments: conf::Payments,
    pub(crate) quota: Quota,
    /// The value of `RateLimit-Policy`, which never changes.
    pub(crate) quota_policy: HeaderValue,
    /// How often a key may have a text revealed.
    pub(crate) reveals: Quota,
    /// Shared with those who listen to operators.
    pub(crate) rotations: Arc<Rotations>,
    pub(crate) upstreams: Upstreams,
    pub(crate) vault: Arc<Vault>,
    /// Shared with those who listen to operators.
    pub(crate) waits: Arc<Waits>,
}

// === impl Shared ===

impl Shared {
    /// Counts what a payment told of the provider of an account, and says so when the account is
    /// left alone from now on, or no longer.
    pub(crate) fn told(
        &self,
        (merchant, name): (&MerchantId, &AccountName),
        provider: &'static str,
        told: Told,
    ) {
        let now = Instant::now();
        let Some(change) = self.breakers.told((merchant, name), provider, told, now) else {
            return;
        };
        match change {
            Change::Opened => log::warn!(
                "account {name} of {} is left alone where there is another: {provider} fails",
                merchant.as_str()
            ),
            Change::Closed => {
                log::info!("account {name} of {}: {provider} works again", merchant.as_str());
            }
        }
        self.metrics.breaker(provider, change, self.breakers.open_at(provider));
    }

    /// What it takes to ask what became of something that nobody has had in hand for so long.
    pub(crate) fn asker(&self, idle: Duration) -> Asker<'_> {
        let Self { vault, upstreams, metrics, .. } = self;
        Asker { vault, upstreams, metrics, idle, may_repeat: false }
    }

    /// What it takes to work with accounts.
    pub(crate) fn desk(&self) -> Desk<'_> {
        Desk {
            vault: &self.vault,
            upstreams: &self.upstreams,
            rotations: &self.rotations,
            breakers: &self.breakers,
            metrics: &self.metrics,
        }
    }
}
