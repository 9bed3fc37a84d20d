//! How many connections there may be, in all and of one client.
//!
//! With TLS a place is taken before the handshake, which a client that says nothing holds for Pingora's
//! 60 seconds: counted only after it, such connections would be as many as there are file handles.

use crate::metrics::{Metrics, Ongoing};
use async_trait::async_trait;
use filters::flood;
use pingora::listeners::PreTlsProcess;
use pingora::protocols::GetSocketDigest;
use pingora::protocols::l4::stream::Stream;
use pingora::upstreams::peer::{Tracer, Tracing};
use pingora::{BError, Error, ErrorType};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for connections.
pub(crate) struct Places {
    metrics: Arc<Metrics>,
    per_address: Arc<PerAddress>,
    total: Arc<Semaphore>,
}

/// A place among all connections and those of one client; given back when dropped.
pub(crate) struct Place {
    _of_address: Option<OfAddress>,
    _of_all: OwnedSemaphorePermit,
    _open: Ongoing,
}

/// What counts as one client: see [`flood::network`].
type Network = (bool, u64);

/// How many connections each client has.
struct PerAddress {
    counts: Mutex<HashMap<Network, u32>>,
    max: u32,
}

/// A place among the connections of one client.
struct OfAddress {
    network: Network,
    per_address: Arc<PerAddress>,
}

/// A place that lives as long as the socket it is tied to, by way of what Pingora means for tracing.
#[derive(Clone)]
struct Held(#[expect(dead_code, reason = "it is held, and given back with the socket")] Arc<Place>);

// === impl Places ===

impl Places {
    /// As many places as `limits` say.
    pub(crate) fn new(limits: &conf::Limits, metrics: Arc<Metrics>) -> Self {
        let counts = Mutex::default();
        let max = limits.connections_per_address_max;
        Self {
            metrics,
            per_address: Arc::new(PerAddress { counts, max }),
            total: Arc::new(Semaphore::new(limits.connections_max)),
        }
    }

    /// A place for a connection, unless all are taken.
    pub(crate) fn take(&self, connection: &dyn GetSocketDigest) -> Option<Place> {
        let Ok(of_all) = self.total.clone().try_acquire_owned() else {
            self.metrics.connection_refused("total");
            return None;
        };
        let network = network_of(connection);
        let of_address = network.map(|network| PerAddress::take(&self.per_address, network));
        if matches!(of_address, Some(None)) {
            self.metrics.connection_refused("address");
            return None;
        }
        let open = self.metrics.connection_opened();
        Some(Place { _of_address: of_address.flatten(), _of_all: of_all, _open: open })
    }
}

/// Pingora calls it for connections with TLS, and closes those that get an error.
#[async_trait]
impl PreTlsProcess for Places {
    async fn process(&self, socket: &mut Stream) -> Result<(), BError> {
        let Some(place) = self.take(socket) else {
            return Error::e_explain(ErrorType::AcceptError, "all places are taken");
        };
        socket.tracer = Some(Tracer(Box::new(Held(Arc::new(place)))));
        Ok(())
    }
}

fn network_of(connection: &dyn GetSocketDigest) -> Option<Network> {
    let digest = connection.get_socket_digest()?;
    Some(flood::network(digest.peer_addr()?.as_inet()?.ip()))
}

// === impl PerAddress ===

impl PerAddress {
    fn take(this: &Arc<Self>, network: Network) -> Option<OfAddress> {
        let mut counts = this.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_insert(0);
        if *count >= this.max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(OfAddress { network, per_address: this.clone() })
    }
}

// === impl OfAddress ===

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut counts = self.per_address.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

// === impl Held ===

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl Tracing for Held {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {}

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}
