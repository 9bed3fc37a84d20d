//! The real program, with a real vault under a real PKCS#11 token, beside the sandbox.
//!
//! [`Net::start`] does what an operator does by hand: makes a token, certificates and a
//! configuration, runs `orchestra vault init`, `serve`, `merchants create` and `keys create`, and
//! stores the accounts over the API itself. All of it is in one folder that goes away with it.

pub mod certificates;
pub mod client;
pub mod puppet;
mod token;

use crate::sandbox::{Provider, Sandbox, Settings, Tls};
use anyhow::{Context as _, bail, ensure};
use boring::ssl::SslVersion;
use certificates::{Authority, Kind};
use client::{Answer, Client, Http};
use puppet::Puppet;
use serde_json::{Value, json};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the program may take until it is ready.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a command may take.
pub const PAUSE: Duration = Duration::from_millis(20);
/// The merchant that a net begins with.
pub const MERCHANT: &str = "acme";
/// The credentials of the accounts that a net begins with.
pub const STRIPE_KEY: &str = "sk_test_netOfTheTests0123456789";
pub const ADYEN_KEY: &str = "AQEnetOfTheTests0123456789abcdefghij";
pub const ADYEN_MERCHANT: &str = "OrchestraNetECOM";
/// For `limits`: as many requests of one address as it likes.
pub const NO_FLOOD: &str = "  flood_per_address_per_s: 1000000\n";
/// The command that serves.
pub const SERVE: &str = "serve";
const PIN: &str = "495160";
const SO_PIN: &str = "82635194";

/// What is different from the usual net.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lines for the section `limits` of the configuration, each with its indentation.
    pub limits: String,
    /// Lines for the section `payments`, each with its indentation.
    pub payments: String,
    /// Lines for the section `vault`, each with its indentation.
    pub vault: String,
    /// How long an exchange with a provider may take.
    pub exchange_timeout_ms: u32,
    /// Whether the providers' certificates are from the authority that the program trusts.
    pub sandbox_trusted: bool,
    /// The names in the providers' certificate.
    pub sandbox_names: Vec<&'static str>,
    pub sandbox_tls: Tls,
    /// The newest TLS of a puppet that stands in the place of all providers, if there is to be one.
    pub puppet: Option<SslVersion>,
}

/// A running program and sandbox. Both end when it is dropped.
#[derive(Debug)]
pub struct Net {
    pub sandbox: Sandbox,
    pub puppet: Option<Puppet>,
    /// Has every scope.
    pub key: String,
    directory: PathBuf,
    authority: Authority,
    tls: SocketAddr,
    plain: SocketAddr,
    metrics: SocketAddr,
    child: Option<Child>,
    token: Option<token::TokenFile>,
}

/// The program that is tested, as cargo built it.
///
/// # Errors
/// When it is not there.
pub fn program() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join("orchestra"));
    let found = found.into_iter().find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "the program `orchestra` is not beside {}: build it first, with `cargo build \
             --release --workspace --bins --tests`, as scripts/test.sh does",
            here.display()
        )
    })
}

/// A folder that is nobody else's.
fn new_directory() -> anyhow::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("orchestra-net-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        match fs::create_dir(&directory) {
            Ok(()) => {
                fs::create_dir(directory.join("tokens"))?;
                return Ok(directory);
            }
            // Left behind by a process that had this number before, and was killed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// An address that was free a moment ago.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The names of all providers, and the one of this machine.
fn every_host() -> Vec<&'static str> {
    let hosts = Provider::ALL.iter().flat_map(|provider| provider.hosts());
    hosts.copied().chain(["localhost"]).collect()
}

/// The sandbox with a certificate as the options want it.
fn start_sandbox(options: &Options, authority: &Authority) -> anyhow::Result<Sandbox> {
    let stranger;
    let signer = if options.sandbox_trusted {
        authority
    } else {
        stranger = Authority::new("Somebody Else")?;
        &stranger
    };
    let kind = match options.sandbox_tls {
        Tls::Modern => Kind::Ecdsa,
        Tls::Outdated => Kind::Rsa,
    };
    let leaf = signer.leaf(&options.sandbox_names, kind)?;
    Sandbox::start(&Settings {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        certificate: leaf.certificate,
        key: leaf.key,
        tls: options.sandbox_tls,
        threads: 1,
    })
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: NO_FLOOD.to_owned(),
            payments: String::new(),
            vault: String::new(),
            exchange_timeout_ms: 10_000,
            sandbox_trusted: true,
            sandbox_names: every_host(),
            sandbox_tls: Tls::Modern,
            puppet: None,
        }
    }
}

// === impl Net ===

impl Net {
    /// Starts the usual net.
    ///
    /// # Errors
    /// When any part of it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(Options::default()).await
    }

    /// Starts a net that differs from the usual one.
    ///
    /// # Errors
    /// When any part of it does not start.
    pub async fn with(options: Options) -> anyhow::Result<Self> {
        let authority = Authority::new("Net of the Tests")?;
        let puppet = options.puppet.map(|newest| {
            Puppet::start(&authority.leaf(&options.sandbox_names, Kind::Ecdsa)?, newest)
        });
        let mut net = Self {
            sandbox: start_sandbox(&options, &authority)?,
            puppet: puppet.transpose()?,
            key: String::new(),
            directory: new_directory()?,
            authority,
            tls: free_address()?,
            plain: free_address()?,
            metrics: free_address()?,
            child: None,
            token: None,
        };
        net.write_files(&options)?;
        net.run(&["vault", "init", "--create-token", "--so-pin", &net.file_reference("so-pin")])?;
        net.token = Some(token::TokenFile::keep(&net.directory.join("tokens"))?);
        net.serve().await?;
        net.run(&["merchants", "create", MERCHANT])?;
        net.key = net.new_key("net", "accounts,payments,reveal,tokens")?;
        net.store_accounts().await?;
        Ok(net)
    }

    fn write_files(&self, options: &Options) -> anyhow::Result<()> {
        let write = |name: &str, contents: &[u8]| {
            let mut options = fs::OpenOptions::new();
            // A PIN that others may read is refused.
            let file = options.create(true).truncate(true).write(true).mode(0o600);
            file.open(self.directory.join(name))?.write_all(contents)
        };
        let leaf = self.authority.leaf(&["localhost"], Kind::Ecdsa)?;
        write("ca.pem", &self.authority.pem()?)?;
        write("chain.pem", &leaf.certificate)?;
        write("key.pem", &leaf.key)?;
        write("pin", PIN.as_bytes())?;
        write("so-pin", SO_PIN.as_bytes())?;
        let tokens = self.directory.join("tokens");
        let softhsm = format!("directories.tokendir = {}\n", tokens.display());
        write("softhsm2.conf", softhsm.as_bytes())?;
        write("orchestra.yaml", self.configuration(options).as_bytes())?;
        Ok(())
    }

    fn configuration(&self, options: &Options) -> String {
        let Options { limits, payments, vault, exchange_timeout_ms, .. } = options;
        let payments = if payments.is_empty() { "  {}\n" } else { payments };
        let (tls, plain, metrics) = (self.tls, self.plain, self.metrics);
        let address = self.puppet.as_ref().map_or(self.sandbox.address(), Puppet::address);
        let upstream = |provider: &Provider| {
            let name = provider.word();
            format!(
                "  {name}:\n    connect: {address}\n    ca: ca.pem\n    \
                 exchange_timeout_ms: {exchange_timeout_ms}\n"
            )
        };
        let providers: String = Provider::ALL.iter().map(upstream).collect();
        format!(
            "listen:\n  tls:\n    address: {tls}\n    certificates:\n      - chain: chain.pem\n        \
             key: key.pem\n  plain: {plain}\n  metrics: {metrics}\n  admin: admin.sock\n\
             limits:\n{limits}payments:\n{payments}\
             vault:\n  directory: vault\n  cache_bytes: 16777216\n  \
             token_label: net\n  pin: file:pin\n{vault}\
             providers:\n{providers}\
             threads: 2\ngrace_s: 35\nlog:\n  access: access.log\n"
        )
    }

    fn file_reference(&self, name: &str) -> String {
        format!("file:{}", self.directory.join(name).display())
    }

    /// A command of the program with these arguments, for what [`Net::run`] does not do.
    ///
    /// # Errors
    /// When the program is not built.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program()?);
        command
            .args(arguments)
            .arg("--conf")
            .arg(self.directory.join("orchestra.yaml"))
            .env("SOFTHSM2_CONF", self.directory.join("softhsm2.conf"))
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command of the program, and gives what it prints.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command(arguments)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "orchestra {} failed: {said}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts the program, and waits until it is ready.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub async fn serve(&mut self) -> anyhow::Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// Starts the program, and does not wait for it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn launch(&mut self) -> anyhow::Result<()> {
        let append =
            |name| fs::OpenOptions::new().create(true).append(true).open(self.directory.join(name));
        let mut command = self.command(&[SERVE])?;
        command.stdout(append("stdout.log")?).stderr(append("stderr.log")?);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until the program that was started is ready.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.is_ready().await {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || began.elapsed() > READY_TIMEOUT {
                bail!("the program did not get ready: {}", self.read("stderr.log"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        let ready = client::plain(self.metrics, "GET", "/readyz").await;
        // It speaks of the vault; the merchants' listeners may be a moment behind.
        ready.is_ok_and(|answer| answer.status == 200)
            && TcpStream::connect(self.tls).is_ok()
            && TcpStream::connect(self.plain).is_ok()
    }

    /// The process of the program, while it serves.
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills the program with signal 9.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the program is not running")?;
        child.kill()?;
        child.wait()?;
        self.token.as_ref().map_or(Ok(()), token::TokenFile::mend)?;
        Ok(())
    }

    /// Tells the program to end, as a service manager does.
    ///
    /// # Errors
    /// When it was not running.
    pub fn terminate(&self) -> anyhow::Result<()> {
        let process = self.process().context("the program is not running")?.to_string();
        let status = Command::new("kill").args(["-TERM", &process]).status()?;
        ensure!(status.success(), "the program could not be told to end");
        Ok(())
    }

    /// Waits until the program has ended by itself.
    ///
    /// # Errors
    /// When it was not running, or goes on.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let mut child = self.child.take().context("the program is not running")?;
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > READY_TIMEOUT {
                child.kill()?;
                bail!("the program did not end: {}", self.read("stderr.log"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes an API key of the usual merchant.
    ///
    /// # Errors
    /// When the command fails.
    pub fn new_key(&self, name: &str, scopes: &str) -> anyhow::Result<String> {
        self.new_key_of(MERCHANT, name, scopes)
    }

    /// Makes an API key of a merchant.
    ///
    /// # Errors
    /// When the command fails.
    pub fn new_key_of(&self, merchant: &str, name: &str, scopes: &str) -> anyhow::Result<String> {
        let arguments =
            ["keys", "create", "--merchant", merchant, "--name", name, "--scopes", scopes];
        Ok(self.run(&arguments)?.trim().to_owned())
    }

    async fn store_accounts(&self) -> anyhow::Result<()> {
        let stripe = json!([{"key": "SecretKey", "value": STRIPE_KEY}]);
        let adyen = json!([{"key": "ApiKey", "value": ADYEN_KEY},
                           {"key": "MerchantAccount", "value": ADYEN_MERCHANT}]);
        for (name, gateway, credentials) in [
            ("stripe-primary", "Stripe", stripe),
            ("adyen-backup", "Adyen", adyen),
            ("null-success", "NULLSuccess", json!([])),
            ("null-failure", "NULLFailure", json!([])),
        ] {
            let body = json!({"paymentGatewayName": gateway, "credentials": credentials});
            let path = format!("/PaymentGatewayAccounts/{name}");
            let answer = self.send("PUT", &path, Some(&body)).await?;
            ensure!(answer.status == 200, "{name}: {} {}", answer.status, answer.text());
        }
        Ok(())
    }

    /// A client of the listener with TLS, with the key that has every scope.
    pub fn client(&self, http: Http) -> Client {
        Client::new(self.tls, self.authority.certificate().clone(), http).with_key(&self.key)
    }

    /// Sends one request over HTTP/1.1 and TLS on a connection of its own.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        self.client(Http::One).send(method, path, body).await
    }

    /// The listener with TLS.
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// The listener without TLS.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Where the metrics are.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// The folder with everything: configuration, vault, logs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The contents of a file of the net, or nothing.
    pub fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.directory.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The lines of the access log.
    ///
    /// # Errors
    /// When a line is not JSON.
    pub fn access_log(&self) -> anyhow::Result<Vec<Value>> {
        let lines = self.read("access.log");
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The text of the metrics.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn metrics_text(&self) -> anyhow::Result<String> {
        Ok(client::plain(self.metrics, "GET", "/metrics").await?.text())
    }

    /// The value of a metric with exactly these labels, as it stands in the text.
    ///
    /// # Errors
    /// When the metrics cannot be read.
    pub async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.metrics_text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map_or(Ok(0), str::parse)?)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to do.
            drop(child.kill());
            drop(child.wait());
        }
        // What is left behind is in the folder for temporary files.
        drop(fs::remove_dir_all(&self.directory));
    }
}
