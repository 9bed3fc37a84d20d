//! Everything that a run needs, on loopback ports and in one temporary folder: the sandbox, a
//! pass-through for each provider, and Orchestra with a vault, a merchant, a key and accounts.

mod orchestra;
mod trust;

use crate::charge::{self, ACCOUNTS, Account};
use crate::contest::{Contest, Lane};
use crate::disk::{self, Disk};
use crate::process::{self, Program};
use anyhow::Context;
use orchestra::Orchestra;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use trust::Trust;

/// How long a program may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What a run may choose about it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many threads each program under test has.
    pub threads: u32,
    /// On which processors these programs are kept, a list as `taskset` takes it.
    pub pin: Option<String>,
    /// A pass-through that writes twice is measured in the place of Orchestra.
    pub floor: bool,
    /// This other build of Orchestra is measured in the place of the pass-through.
    pub before: Option<PathBuf>,
}

/// Where Orchestra listens with TLS, and what a client needs there.
#[derive(Clone, Debug)]
pub struct Front {
    /// The process.
    pub pid: u32,
    pub address: SocketAddr,
    /// The name in the certificate.
    pub host: &'static str,
    /// PEM file of the authority that vouches for it.
    pub authority: PathBuf,
    /// An API key.
    pub key: String,
}

/// The running programs. They end with this value, and the folder goes with them.
#[derive(Debug)]
pub struct Scene {
    contests: Vec<Contest>,
    front: Front,
    _programs: Vec<Program>,
    orchestra: Orchestra,
    /// What [`Settings::before`] puts in the place of the pass-through.
    before: Option<Orchestra>,
    folder: Folder,
}

/// What is said of [`Settings::floor`] and [`Settings::before`].
const FLOOR: &str = "through a pass-through that writes twice (no orchestra)";
const BEFORE: &str = "through another orchestra and this one (no pass-through)";

/// A folder that only we can read, and that is removed in the end.
#[derive(Debug)]
struct Folder(PathBuf);

/// A loopback port that was free a moment ago.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// What a charge is, for the head of a table.
fn describe(requests: usize, bytes: usize) -> String {
    let exchanges = if requests == 1 { "exchange" } else { "exchanges" };
    format!("{requests} {exchanges} with the provider a charge ({bytes} bytes)")
}

// === impl Scene ===

impl Scene {
    /// Starts everything.
    ///
    /// # Errors
    /// A program is not built, or does not start; the text says what to do.
    pub fn start(settings: &Settings) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let trust = Trust::new(&folder.0)?;
        let (sandbox, provider) = sandbox(&folder.0, &trust)?;
        let start = |binary, name| {
            Orchestra::start(binary, folder.0.join(name), &trust, provider, settings)
        };
        let orchestra = start(process::beside("orchestra")?, "orchestra")?;
        let before = settings.before.clone().map(|binary| start(binary, "before")).transpose()?;
        let mut scene = Self {
            contests: Vec::new(),
            front: orchestra.front(&trust),
            _programs: vec![sandbox],
            orchestra,
            before,
            folder,
        };
        ACCOUNTS.iter().try_for_each(|account| scene.add(account, &trust, provider, settings))?;
        Ok(scene)
    }

    /// What can be measured, the main figure first.
    pub fn contests(&self) -> Vec<Contest> {
        self.contests.clone()
    }

    /// What the disk under the vault takes by itself.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn disk(&self) -> std::io::Result<Disk> {
        disk::measure(&self.folder.0)
    }

    /// Where Orchestra listens with TLS.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Adds what is compared for a provider, and starts the pass-throughs that it takes.
    fn add(
        &mut self,
        account: &Account,
        trust: &Trust,
        provider: SocketAddr,
        settings: &Settings,
    ) -> anyhow::Result<()> {
        let script = charge::by_provider(account)?;
        let bytes = script.shots.iter().map(|shot| shot.bytes()).sum();
        let what = describe(script.shots.len(), bytes);
        let script = Arc::new(script);
        let mut pass_through = |journal| -> anyhow::Result<Lane> {
            let folder = &self.folder.0;
            let (program, address) =
                pass_through(folder, account, trust, provider, settings, journal)?;
            let pid = program.pid();
            self._programs.push(program);
            Ok(Lane { pid, address, metrics: None, script: Arc::clone(&script) })
        };
        let (floor, name) = (settings.floor, account.provider.to_owned());
        let orchestra = match floor {
            true => pass_through(Some(format!("journal-{name}")))?,
            false => self.orchestra.lane(account),
        };
        let (pass_through, what) = match &self.before {
            Some(before) => (before.lane(account), format!("{what}, {BEFORE}")),
            None if floor => (pass_through(None)?, format!("{what}, {FLOOR}")),
            None => (pass_through(None)?, what),
        };
        let contest = Contest { name, what, pass_through, orchestra };
        self.contests.push(contest);
        Ok(())
    }
}

/// Starts the sandbox, and says where it listens.
fn sandbox(folder: &Path, trust: &Trust) -> anyhow::Result<(Program, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(process::beside("sandbox")?);
    command.args(["--listen", &address.to_string(), "--certificate"]).arg(&trust.certificate);
    command.arg("--key").arg(&trust.key);
    let mut program = Program::start(command, &folder.join("sandbox.log"))?;
    program.listens(address, START_TIMEOUT)?;
    Ok((program, address))
}

/// Starts the pass-through for one provider, and says where it listens.
fn pass_through(
    folder: &Path,
    account: &Account,
    trust: &Trust,
    provider: SocketAddr,
    settings: &Settings,
    journal: Option<String>,
) -> anyhow::Result<(Program, SocketAddr)> {
    let address = free_address()?;
    let mut command = Command::new(process::beside("passthrough")?);
    command.args(["--listen", &address.to_string(), "--upstream", &provider.to_string()]);
    command.args(["--host", account.host, "--threads", &settings.threads.to_string(), "--ca"]);
    command.arg(&trust.authority);
    let name = journal.as_deref().unwrap_or(account.provider);
    let log = folder.join(format!("passthrough-{name}.log"));
    if let Some(journal) = &journal {
        command.arg("--journal").arg(folder.join(journal));
    }
    let mut program = Program::start(command, &log)?;
    program.listens(address, START_TIMEOUT)?;
    if let Some(cpus) = &settings.pin {
        process::pin(program.pid(), cpus)?;
    }
    Ok((program, address))
}

// === impl Folder ===

impl Folder {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("orchestra-bench-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left for the system's own cleaning of temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}
