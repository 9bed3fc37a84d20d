//! Puts the program together and runs it until it is told to end.

use crate::access_log::AccessLog;
use crate::admin::{self, Counter};
use crate::breaker::Breakers;
use crate::certificates::{Acceptor, Certificates};
use crate::configuration::Field;
use crate::drain::Watch;
use crate::gateway::Gateway;
use crate::guard::Guard;
use crate::health::{self, Operators};
use crate::metrics::Metrics;
use crate::places::Places;
use crate::resolver::Resolver;
use crate::rotation::Rotations;
use crate::shared::Shared;
use crate::upstream::Upstreams;
use crate::waits::Waits;
use anyhow::{Context, Result, anyhow};
use conf::Config;
use filters::flood::Flood;
use filters::quota::Quota;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{ListenerConfig, Listeners};
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use pingora::services::listening::Service;
use pingora::tls::ssl::SslVersion;
use pingora_proxy::{HttpProxy, http_proxy};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use vault::{Vault, VaultError};

/// How much of a client's bytes is read ahead of TLS: more than a usual request has. Each connection
/// has as much for as long as it is open; Pingora's own choice is 64 KiB.
const READ_BYTES: usize = 4 << 10;
/// Without TLS nothing is read ahead: a card would stay in the buffer for as long as the connection.
const UNBUFFERED: usize = 0;

/// Serves merchants and operators until a signal says to end. `file` is where `config` was read.
///
/// # Errors
/// When the configuration names what is not there, or an address cannot be listened on.
pub fn run(config: Config, vault: Arc<Vault>, file: &Path) -> Result<()> {
    try_addresses(&config.listen)?;
    let server_conf = server_conf(&config);
    let shared = shared(&config, &server_conf, vault.clone())?;
    let tls = config.listen.tls.as_ref();
    let certificates = tls.map(|tls| Certificates::load(&tls.certificates)).transpose();
    let certificates = certificates.context(Field::named("listen.tls.certificates"))?;
    let mut server = Server::new_with_opt_and_conf(None, server_conf);
    server.bootstrap();
    server.add_service(merchants(&config, &server, &shared, certificates.as_ref())?);
    server.add_service(operators(&config, &shared));
    server.add_service(background_service("resolver", Resolver::new(shared.clone())));
    let tender = vault::Tender::start(&vault)?;
    let sweeping = crate::sweep::spawn(vault.clone())?;
    let counter = counter(&config, vault.clone(), &Known::of(&shared))?;
    let admin = admin::spawn(counter, &config.listen.admin)?;
    let watch = Watch { certificates, config, file: file.to_owned(), shared };
    server.run(RunArgs { shutdown_signal: Box::new(watch) });
    drop((admin, sweeping, tender));
    // Some task of Pingora's may let go of the vault last, while this process ends and takes the module's
    // library down: a thread that is in it then brings a signal for a status.
    vault.close();
    Ok(())
}

/// Sees that every address can be listened on. Pingora tries those that are taken for half a minute, and
/// goes on without what it did not get.
fn try_addresses(listen: &conf::Listen) -> Result<()> {
    let tls = listen.tls.as_ref().map(|tls| ("listen.tls.address", tls.address));
    let plain = listen.plain.map(|address| ("listen.plain", address));
    let metrics = Some(("listen.metrics", listen.metrics));
    let all = [tls, plain, metrics].into_iter().flatten();
    let tried = all.map(|(field, address)| {
        TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}"))
            .context(Field::named(field))
    });
    // All of them at once, since two may stand in each other's way.
    tried.collect::<Result<Vec<_>>>().map(drop)
}

/// Where operators are answered.
fn counter(config: &Config, vault: Arc<Vault>, known: &Known) -> Result<Counter> {
    let upstreams = Upstreams::new(&server_conf(config), config)?;
    let Known { rotations, breakers, metrics, waits } = known;
    let (rotations, breakers) = (rotations.clone(), breakers.clone());
    Ok(Counter::new(vault, upstreams, rotations, breakers, metrics.clone(), waits.clone()))
}

/// What a program that serves knows, and operators see.
struct Known {
    rotations: Arc<Rotations>,
    breakers: Arc<Breakers>,
    metrics: Arc<Metrics>,
    waits: Arc<Waits>,
}

impl Known {
    fn of(shared: &Shared) -> Self {
        let Shared { rotations, breakers, metrics, waits, .. } = shared;
        let (rotations, breakers) = (rotations.clone(), breakers.clone());
        Self { rotations, breakers, metrics: metrics.clone(), waits: waits.clone() }
    }
}

/// The same for a command that opened the vault itself.
///
/// # Errors
/// When the configuration names an unreadable authority.
pub(crate) fn counter_alone(config: &Config, vault: Vault) -> Result<Counter> {
    let metrics = Arc::new(Metrics::new()?);
    // Nobody pays here, so that nothing is ever counted.
    let breakers = Arc::new(Breakers::new(config.payments.breaker));
    let known = Known { rotations: Arc::default(), breakers, metrics, waits: Arc::default() };
    counter(config, Arc::new(vault), &known)
}

fn server_conf(config: &Config) -> ServerConf {
    ServerConf {
        threads: config.threads,
        // One attempt. Nought would be none at all.
        max_retries: 1,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    }
}

fn shared(config: &Config, server: &ServerConf, vault: Arc<Vault>) -> Result<Arc<Shared>> {
    let metrics = Arc::new(Metrics::new()?);
    let limits = config.limits.clone();
    let requests = NonZeroU32::new(limits.quota.requests).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::new(requests, limits.quota.window);
    Ok(Arc::new(Shared {
        access_log: AccessLog::start(config.log.access.as_deref(), metrics.clone())?,
        breakers: Arc::new(Breakers::new(config.payments.breaker)),
        draining: AtomicBool::new(false),
        flood: Flood::new(limits.flood_per_address_per_s),
        head_limits: filters::head::Limits::new(limits.body_bytes_max),
        listening: AtomicBool::new(false),
        merchants: health::doors(&config.listen),
        metrics,
        payments: config.payments.clone(),
        quota_policy: quota.policy().try_into().context("the quota has no header")?,
        quota,
        reveals: {
            // PCI DSS 3.4.2: nobody copies cards in bulk.
            let reveals = NonZeroU32::new(limits.reveals.requests).unwrap_or(NonZeroU32::MIN);
            Quota::new(reveals, limits.reveals.window)
        },
        rotations: Arc::new(rotations(&vault)),
        upstreams: Upstreams::new(server, config)?,
        limits,
        vault,
        waits: Arc::default(),
    }))
}

/// The rotations that go on, as the vault knows them.
fn rotations(vault: &Vault) -> Rotations {
    let rotations = Rotations::default();
    let merchants = vault.merchants().unwrap_or_default();
    for id in merchants.into_iter().map(|merchant| merchant.id) {
        match vault.staged_accounts(&id) {
            Ok(all) => all.iter().for_each(|(name, on)| rotations.note(&id, name, Some(on))),
            Err(VaultError::Shredded) => {}
            // They are found again with their first payment.
            Err(error) => log::error!("what is staged for {id} is not counted: {error}"),
        }
    }
    rotations
}

/// The merchants' listeners, with and without TLS, in front of one application.
fn merchants(
    config: &Config,
    server: &Server,
    shared: &Arc<Shared>,
    certificates: Option<&Arc<Certificates>>,
) -> Result<Service<Guard<HttpProxy<Gateway>>>> {
    let mut proxy = http_proxy(&server.configuration, Gateway(shared.clone()));
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(config.limits.idle_timeout);
    proxy.server_options = Some(options);
    let places = Arc::new(Places::new(&config.limits, shared.metrics.clone()));
    let guard = Guard::new(proxy, &config.limits, places.clone(), shared.metrics.clone());
    let mut listeners = Listeners::new();
    listeners.set_pre_tls_callback(places);
    if let Some(address) = config.listen.plain {
        listeners.add_listener(listener(address, UNBUFFERED));
    }
    if let (Some(tls), Some(certificates)) = (&config.listen.tls, certificates) {
        let settings = tls_settings(certificates.clone())?;
        listeners.add_listener(listener(tls.address, READ_BYTES).tls(settings));
    }
    Ok(Service::with_listeners("merchants".to_owned(), listeners, guard))
}

/// A listener whose connections cost little while they rest.
fn listener(address: SocketAddr, read_bytes: usize) -> ListenerConfig {
    let buffers = L4BufferSettings::default().read(read_bytes);
    ListenerConfig::tcp(address.to_string()).l4_buffer(buffers)
}

/// TLS 1.2 or newer, HTTP/2 where the client speaks it.
fn tls_settings(certificates: Arc<Certificates>) -> Result<TlsSettings> {
    let mut settings = TlsSettings::with_callbacks(Box::new(Acceptor(certificates)))
        .map_err(|error| anyhow!("the TLS listener cannot be made: {}", error.etype().as_str()))?;
    settings.set_min_proto_version(Some(SslVersion::TLS1_2)).context("TLS 1.2 is not there")?;
    settings.enable_h2();
    Ok(settings)
}

fn operators(config: &Config, shared: &Arc<Shared>) -> Service<Operators> {
    let mut service = Service::new("operators".to_owned(), Operators(shared.clone()));
    service.threads = Some(1);
    service.add_tcp(&config.listen.metrics.to_string());
    service
}
