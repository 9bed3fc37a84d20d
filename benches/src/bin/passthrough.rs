//! A bare Pingora pass-through: what Orchestra's cost is compared with.
//!
//! It has no logic at all, but that it can be told to write as often as a payment must be written, for
//! what that costs alone. A plain HTTP listener, Pingora's ordinary proxy phases, and a pool of
//! verified TLS connections to one provider, with the settings, the number of threads and the
//! allocator of Orchestra.

use anyhow::{Context, ensure};
use async_trait::async_trait;
use benches::journal::Journal;
use clap::Parser;
use pingora::http::ResponseHeader;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::tls::x509::X509;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Forwards every request to one provider, over verified TLS, as it is.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen, without TLS
    #[arg(long)]
    listen: SocketAddr,
    /// Where the provider is
    #[arg(long)]
    upstream: SocketAddr,
    /// The provider's host name, which its certificate must have
    #[arg(long)]
    host: String,
    /// The certificate authority to verify it with, a PEM file
    #[arg(long)]
    ca: PathBuf,
    /// How many threads serve
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Write to a new file, durably, before each request is sent and before it is answered
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

/// The one peer that everything goes to, and what is written before, if anything.
struct PassThrough {
    peer: HttpPeer,
    journal: Option<Journal>,
}

/// Sets the peer up as Orchestra sets up its own, with the times that `conf` has by default.
fn peer(options: &Options) -> anyhow::Result<HttpPeer> {
    let times = conf::Upstream::default();
    let mut peer = HttpPeer::new(options.upstream, true, options.host.clone());
    peer.options.verify_cert = true;
    peer.options.verify_hostname = true;
    peer.options.connection_timeout = Some(times.connect_timeout);
    peer.options.total_connection_timeout = Some(times.connect_timeout);
    peer.options.read_timeout = Some(times.exchange_timeout);
    peer.options.write_timeout = Some(times.exchange_timeout);
    peer.options.idle_timeout = Some(times.idle_timeout);
    peer.options.ca = Some(authorities(&options.ca)?);
    Ok(peer)
}

/// Reads the PEM file of certificate authorities.
fn authorities(path: &Path) -> anyhow::Result<Arc<Box<[X509]>>> {
    let shown = path.display();
    let pem = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    let found = X509::stack_from_pem(&pem)?;
    ensure!(!found.is_empty(), "{shown} holds no PEM certificate");
    Ok(Arc::new(found.into_boxed_slice()))
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let conf = ServerConf { threads: options.threads, max_retries: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let journal = options.journal.as_deref().map(Journal::create).transpose()?;
    let pass_through = PassThrough { peer: peer(&options)?, journal };
    let mut service = http_proxy_service(&server.configuration, pass_through);
    service.add_tcp(&options.listen.to_string());
    server.add_service(service);
    server.run_forever()
}

// === impl PassThrough ===

impl PassThrough {
    async fn write(&self) -> Result<()> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let written = journal.write().await;
        written.map_err(|error| Error::because(ErrorType::FileWriteError, "journal", error))
    }
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }

    async fn request_filter(&self, _: &mut Session, (): &mut ()) -> Result<bool> {
        self.write().await.map(|()| false)
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        _: &mut ResponseHeader,
        (): &mut (),
    ) -> Result<()>
    where
        (): Send + Sync,
    {
        self.write().await
    }
}
