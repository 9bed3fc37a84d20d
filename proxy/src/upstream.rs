//! Where each provider is, and how connections to it are made and kept.

use crate::configuration::Field;
use crate::exchange::{self, Answer, Exchange};
use crate::idle::IdleConnections;
use crate::socket::BufferedSockets;
use anyhow::{Context, Result, ensure};
use conf::{Config, Upstream as Settings};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::server::configuration::ServerConf;
use pingora::tls::x509::X509;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorType};
use providers::wire::Request;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// The ways to all providers.
pub(crate) struct Upstreams {
    connector: TransportConnector,
    ways: BTreeMap<&'static str, Way>,
}

/// The way to one provider.
struct Way {
    authorities: Vec<X509>,
    /// A pile of its own, so that connections that were verified in different ways never mix.
    idle: IdleConnections,
    known: RwLock<HashMap<String, Known>>,
    settings: Settings,
}

/// A host name that was resolved.
#[derive(Clone)]
struct Known {
    peer: Arc<HttpPeer>,
    until: Instant,
}

/// How many host names of one provider are remembered; a full memory is emptied.
const HOSTS_MAX: usize = 1024;
/// How long an address is used before its name is resolved again.
const ADDRESS_TTL: Duration = Duration::from_secs(30);
/// How many idle connections to a provider are kept, for each thread.
const IDLE_PER_THREAD_MAX: usize = 128;
/// Every provider speaks HTTPS on its own port.
const PORT: u16 = 443;

// === impl Upstreams ===

impl Upstreams {
    /// Reads the certificate authorities and prepares the ways to all providers.
    ///
    /// # Errors
    /// When the configuration names an unreadable authority.
    pub(crate) fn new(server: &ServerConf, config: &Config) -> Result<Self> {
        let idle_max = IDLE_PER_THREAD_MAX.saturating_mul(server.threads);
        let way = |name| Ok((name, Way::new(name, config.upstream(name), idle_max)?));
        Ok(Self {
            connector: TransportConnector::new(Some(ConnectorOptions::from_server_conf(server))),
            ways: providers::PROVIDERS.iter().map(|one| way(one.name())).collect::<Result<_>>()?,
        })
    }

    /// Sends `request` to the provider `name`, once.
    pub(crate) async fn exchange(&self, name: &'static str, request: Request) -> Exchange {
        let Some(way) = self.ways.get(name) else {
            return Exchange::NotSent(Error::explain(
                ErrorType::ConnectNoRoute,
                "no such provider",
            ));
        };
        match way.peer(&request.authority).await {
            Ok(peer) => {
                let to = exchange::Way { connector: &self.connector, idle: &way.idle, peer: &peer };
                exchange::exchange(to, request, &way.limits()).await
            }
            Err(error) => Exchange::NotSent(error),
        }
    }
}

/// The certificates in `path`, which are the provider's roots.
pub(crate) fn authorities(path: &Path) -> Result<Vec<X509>> {
    let shown = path.display();
    let pem = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let found = X509::stack_from_pem(&pem).unwrap_or_default();
    ensure!(!found.is_empty(), "{shown} holds no PEM certificate");
    Ok(found)
}

// === impl Way ===

impl Way {
    fn new(name: &str, settings: Settings, idle_max: usize) -> Result<Self> {
        let authorities = match &settings.ca {
            Some(path) => {
                authorities(path).with_context(|| Field(format!("providers.{name}.ca")))?
            }
            None => Vec::new(),
        };
        let idle = IdleConnections::new(idle_max, settings.idle_timeout);
        Ok(Self { authorities, idle, known: RwLock::default(), settings })
    }

    fn limits(&self) -> exchange::Limits {
        exchange::Limits {
            answer_bytes_max: self.settings.answer_bytes_max,
            exchange_timeout: self.settings.exchange_timeout,
        }
    }

    /// The peer that stands for `host`, resolved not too long ago.
    async fn peer(&self, host: &str) -> Result<Arc<HttpPeer>, BError> {
        let now = Instant::now();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        if let Some(known) = known.filter(|known| known.until > now) {
            return Ok(known.peer);
        }
        let address = match self.settings.connect {
            Some(address) => address,
            None => resolve(host, self.settings.connect_timeout).await?,
        };
        let peer = Arc::new(self.peer_at(address, host));
        let until = now.checked_add(ADDRESS_TTL).unwrap_or(now);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= HOSTS_MAX {
            known.clear();
        }
        known.insert(host.to_owned(), Known { peer: peer.clone(), until });
        Ok(peer)
    }

    fn peer_at(&self, address: SocketAddr, host: &str) -> HttpPeer {
        let mut peer = HttpPeer::new(address, true, host.to_owned());
        let options = &mut peer.options;
        options.verify_cert = true;
        options.verify_hostname = true;
        options.connection_timeout = Some(self.settings.connect_timeout);
        options.total_connection_timeout = Some(self.settings.connect_timeout);
        options.custom_l4 = Some(Arc::new(BufferedSockets));
        if !self.authorities.is_empty() {
            options.ca = Some(Arc::new(self.authorities.clone().into_boxed_slice()));
        }
        peer
    }
}

/// Resolves a provider's host name to a public address.
async fn resolve(host: &str, limit: Duration) -> Result<SocketAddr, BError> {
    let failed = |why: &'static str| Error::explain(ErrorType::ConnectNoRoute, why);
    let found = tokio::time::timeout(limit, tokio::net::lookup_host((host, PORT)));
    let mut found = match found.await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => return Err(failed("the provider's name cannot be resolved")),
        Err(_) => return Err(failed("resolving the provider's name took too long")),
    };
    found
        .find(|address| is_public(address.ip()))
        .ok_or_else(|| failed("the provider's name has no public address"))
}

/// Whether a provider could be there: a name that leads inside our own network is refused.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let benchmark = a == 198 && (b == 18 || b == 19);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || shared
                || benchmark
                || a == 0
                || a >= 240)
        }
        IpAddr::V6(v6) => {
            let [first, ..] = v6.segments();
            // Global unicast is 2000::/3 (RFC 4291), less the range for documentation.
            first & 0xe000 == 0x2000 && v6.segments().first_chunk() != Some(&[0x2001, 0x0db8])
        }
    }
}

/// What is kept of an exchange for the access log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) exchanges: usize,
    pub(crate) reused: usize,
    pub(crate) time: Duration,
}

// === impl Tally ===

impl Tally {
    /// Adds one exchange that took `time`.
    pub(crate) fn add(&mut self, exchange: &Exchange, time: Duration) {
        self.exchanges = self.exchanges.saturating_add(1);
        self.time = self.time.saturating_add(time);
        if let Exchange::Answer(Answer { reused: true, .. }) = exchange {
            self.reused = self.reused.saturating_add(1);
        }
    }

    /// What came after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            exchanges: self.exchanges.saturating_sub(before.exchanges),
            reused: self.reused.saturating_sub(before.reused),
            time: self.time.saturating_sub(before.time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_public;

    #[test]
    fn only_public_addresses_are_providers() {
        for (address, expected) in [
            ("93.184.216.34", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("198.18.0.1", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("::1", false),
            ("::ffff:10.0.0.1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }
}
