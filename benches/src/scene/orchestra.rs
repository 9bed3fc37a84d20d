//! Orchestra as an operator sets it up: a token, a vault, a merchant, a key and accounts, all by
//! the command line; then a card token, over HTTP.

use super::{Front, START_TIMEOUT, Settings, Trust, free_address};
use crate::charge::{self, ACCOUNTS, Account};
use crate::contest::Lane;
use crate::process::{self, Program};
use anyhow::{Context, ensure};
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const MERCHANT: &str = "bench";
/// The environment variable by which SoftHSM finds its configuration.
const SOFTHSM_CONF: &str = "SOFTHSM2_CONF";

/// The running program, and what a merchant needs to use it.
#[derive(Debug)]
pub(super) struct Orchestra {
    program: Program,
    addresses: Addresses,
    key: String,
    token: String,
}

/// The files of an installation.
#[derive(Debug)]
struct Installation {
    folder: PathBuf,
    binary: PathBuf,
}

/// Where the program listens.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    plain: SocketAddr,
    tls: SocketAddr,
    metrics: SocketAddr,
}

/// Writes the configuration. Quota and flood guard work as always, but at rates that the load does
/// not reach, and a client that rests is kept: refusing it would be measuring something else.
fn configuration(
    Addresses { plain, tls, metrics }: Addresses,
    provider: SocketAddr,
    trust: &Trust,
    threads: u32,
) -> String {
    let Trust { authority, certificate, key } = trust;
    let (authority, chain, key) = (authority.display(), certificate.display(), key.display());
    let mut text = format!(
        "listen:\n  plain: {plain}\n  metrics: {metrics}\n  admin: admin.sock\n  \
         tls:\n    address: {tls}\n    certificates:\n      - chain: {chain}\n        key: {key}\n\
         limits:\n  flood_per_address_per_s: 1000000\n  idle_timeout_ms: 600000\n  \
         connections_max: 1000000\n  connections_per_address_max: 1000000\n  \
         quota:\n    requests: 10000000\n    window_s: 1\n\
         vault:\n  directory: vault\n  module: {MODULE}\n  token_label: bench\n  pin: file:pin\n\
         threads: {threads}\nlog:\n  access: access.log\nproviders:\n"
    );
    for account in &ACCOUNTS {
        let name = account.provider;
        text.push_str(&format!("  {name}:\n    connect: {provider}\n    ca: {authority}\n"));
    }
    text
}

// === impl Orchestra ===

impl Orchestra {
    /// Sets everything up for the program `binary`, in a folder that is not there yet, and serves.
    pub(super) fn start(
        binary: PathBuf,
        folder: PathBuf,
        trust: &Trust,
        provider: SocketAddr,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let (plain, tls, metrics) = (free_address()?, free_address()?, free_address()?);
        let addresses = Addresses { plain, tls, metrics };
        let installation = Installation { folder, binary };
        let text = configuration(addresses, provider, trust, settings.threads);
        installation.prepare(&text)?;
        let mut serve = installation.command();
        serve.arg("serve");
        let mut program = Program::start(serve, &installation.folder.join("serve.log"))?;
        program.listens(plain, START_TIMEOUT)?;
        program.listens(tls, START_TIMEOUT)?;
        if let Some(cpus) = &settings.pin {
            process::pin(program.pid(), cpus)?;
        }
        let key = installation.populate()?;
        let token = tokenize(plain, &key)?;
        Ok(Self { program, addresses, key, token })
    }

    /// What a client over TLS needs.
    pub(super) fn front(&self, trust: &Trust) -> Front {
        let (pid, address, key) = (self.program.pid(), self.addresses.tls, self.key.clone());
        let host = ACCOUNTS.first().map_or("", |account| account.host);
        Front { pid, address, host, authority: trust.authority.clone(), key }
    }

    /// The way through it to one of its accounts.
    pub(super) fn lane(&self, account: &Account) -> Lane {
        let script = charge::by_merchant(account, &self.key, &self.token);
        let Addresses { plain, metrics, .. } = self.addresses;
        let (pid, script) = (self.program.pid(), Arc::new(script));
        Lane { pid, address: plain, metrics: Some(metrics), script }
    }
}

/// Keeps the card, and says by which token.
fn tokenize(address: SocketAddr, key: &str) -> anyhow::Result<String> {
    let body = format!(r#"{{"payload":"{}"}}"#, charge::NUMBER);
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /StringTokens HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let token = answer.split_once(r#""token":""#).and_then(|(_, after)| after.split('"').next());
    let status = answer.lines().next().unwrap_or_default();
    Ok(token.with_context(|| format!("the card was not tokenised: {status}"))?.to_owned())
}

// === impl Installation ===

impl Installation {
    /// The program, with the configuration and the token of this installation.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--conf").arg(self.folder.join("orchestra.yaml"));
        command.env(SOFTHSM_CONF, self.folder.join("softhsm2.conf"));
        command
    }

    /// Runs a command to its end, and answers what it printed.
    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command().args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "orchestra {}: {}", arguments.join(" "), said.trim());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Makes the files, the token and the vault.
    fn prepare(&self, configuration: &str) -> anyhow::Result<()> {
        let tokens = self.folder.join("tokens");
        fs::create_dir_all(&tokens)?;
        ensure!(Path::new(MODULE).exists(), "{MODULE} is missing: apt-get install softhsm2");
        let softhsm = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
        self.write("softhsm2.conf", &softhsm)?;
        self.write("orchestra.yaml", configuration)?;
        self.write("pin", "bench-user-pin")?;
        let so_pin = self.write("so-pin", "bench-so-pin")?;
        let so_pin = format!("file:{}", so_pin.display());
        self.run(&["vault", "init", "--create-token", "--so-pin", &so_pin])?;
        Ok(())
    }

    /// Makes the merchant, its accounts and its key, while the program runs.
    fn populate(&self) -> anyhow::Result<String> {
        self.run(&["merchants", "create", MERCHANT])?;
        ACCOUNTS.iter().try_for_each(|account| self.put(account))?;
        self.run(&["keys", "create", "--merchant", MERCHANT, "--name", "bench"])
    }

    fn put(&self, account: &Account) -> anyhow::Result<()> {
        let mut arguments: Vec<String> = ["accounts", "put", account.name, "--merchant", MERCHANT]
            .into_iter()
            .chain(["--gateway", account.provider])
            .map(str::to_owned)
            .collect();
        for (name, value) in account.credentials {
            let file = self.write(&format!("{}-{name}", account.name), value)?;
            arguments.push("--credential".to_owned());
            arguments.push(format!("{name}=file:{}", file.display()));
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        self.run(&arguments)?;
        Ok(())
    }

    /// Writes a file that only we can read.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}
