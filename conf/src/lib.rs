//! Configuration in two steps: `File` is what was written, [`Config`] is what was meant.
//!
//! What belongs here: the shape of `orchestra.yaml`, its defaults and ranges, and the way to the
//! secrets that it refers to. Nothing outside this crate sees a `File` or reads the environment,
//! and nothing in a `Config` can be wrong. What does not belong here: what the parts do with it,
//! and which providers there are.

mod bounds;
mod change;
mod error;
mod file;
mod show;
mod source;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use source::{Source, SourceError};

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{self, Path, PathBuf};
use std::time::Duration;

/// How large a configuration file may be, in bytes.
const FILE_BYTES_MAX: u64 = 65_536;

/// What the file meant, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub listen: Listen,
    pub limits: Limits,
    pub payments: Payments,
    pub vault: Vault,
    /// By the provider's name; [`Config::upstream`] also answers for those not named here.
    pub providers: BTreeMap<String, Upstream>,
    pub threads: usize,
    /// How long requests that are under way may take to end after a SIGTERM.
    pub grace: Duration,
    pub log: Log,
}

/// Where to listen. There is always at least one listener for merchants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub tls: Option<Tls>,
    /// Without TLS, so on a loopback address only.
    pub plain: Option<SocketAddr>,
    pub metrics: SocketAddr,
    /// The Unix socket by which the command line reaches the running program.
    pub admin: PathBuf,
}

/// The listener that merchants use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    pub address: SocketAddr,
    /// Never empty. The first one answers clients that send no server name, or an unknown one.
    pub certificates: Vec<CertificateFiles>,
}

/// A certificate with its chain, and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// The maxima of what clients may ask of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections_max: usize,
    pub connections_per_address_max: u32,
    /// For the whole request head.
    pub head_timeout: Duration,
    /// For the whole request body.
    pub body_timeout: Duration,
    pub body_bytes_max: usize,
    pub idle_timeout: Duration,
    pub write_timeout: Duration,
    pub flood_per_address_per_s: u32,
    pub quota: Quota,
    /// How often an API key may have the text behind a token shown.
    pub reveals: Quota,
}

/// How payments are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payments {
    /// When an account is left alone for a while.
    pub breaker: Breaker,
    /// How long after its beginning a payment may still go on to another account.
    pub failover_timeout: Duration,
    /// How long an idempotency key gets the same answer.
    pub idempotency_keep: Duration,
    /// Whether a request that moves money must have an idempotency key.
    pub idempotency_required: bool,
    /// How long an outcome may be unknown before that is an alarm.
    pub resolve_alarm: Duration,
}

/// When an account whose provider fails is left alone, where there is another one to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// How many payments in the window the provider must fail, if they are half of all.
    pub faults: u32,
    pub window: Duration,
    /// How long until one payment tries again.
    pub open: Duration,
}

/// How many requests an API key has in a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub requests: u32,
    pub window: Duration,
}

/// Where the data are, and the token with the key that opens them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    pub directory: PathBuf,
    pub cache_bytes: u64,
    /// The PKCS#11 library.
    pub module: PathBuf,
    pub token_label: String,
    pub pin: Source,
    pub keys: Keys,
}

/// How the vault treats its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// How the next key in the token wraps.
    pub wrap: Wrap,
    /// For how long data keys stay in memory while the token is away.
    pub hsm_outage_max: Duration,
    /// How many sessions with the token wrap and unwrap keys, beside the one that changes it.
    pub hsm_sessions: usize,
    /// How old a data key may become.
    pub dek_period: Duration,
    /// How old the key in the token may become before its exchange is asked for.
    pub kek_period: Duration,
    /// How long after a deletion the key of what was deleted is exchanged and destroyed.
    pub shred_after: Duration,
    /// How many records a data key seals at most.
    pub seals_max: u64,
    pub rotation_records_per_s: u32,
}

/// How the key in the token wraps data keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    /// AES-GCM, with whose key it is authenticated beside it.
    AesGcm,
    /// RFC 5649.
    AesKwp,
}

/// How a provider is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Instead of resolving the provider's own name. Its certificate must still bear that name.
    pub connect: Option<SocketAddr>,
    /// PEM roots to trust instead of the system's.
    pub ca: Option<PathBuf>,
    pub connect_timeout: Duration,
    /// For one exchange, from the first byte of the request to the last of the answer.
    pub exchange_timeout: Duration,
    pub idle_timeout: Duration,
    pub answer_bytes_max: usize,
}

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The file for the access log; without one it goes to the standard output.
    pub access: Option<PathBuf>,
}

// === impl Wrap ===

impl Wrap {
    /// The word for it in the file.
    pub fn word(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::AesKwp => "aes-kwp",
        }
    }

    fn by_word(word: &str) -> Option<Self> {
        [Self::AesGcm, Self::AesKwp].into_iter().find(|wrap| wrap.word() == word)
    }
}

// === impl Config ===

impl Config {
    /// Reads the file at `path`, which may speak of these `providers`. Relative paths in it start
    /// from its own directory.
    ///
    /// # Errors
    /// What cannot be meant, by file, line and field. No value is quoted but numbers.
    pub fn load(path: &Path, providers: &[&str]) -> Result<Self, Error> {
        Self::read(path, providers).map_err(|error| error.in_file(path))
    }

    fn read(path: &Path, providers: &[&str]) -> Result<Self, Error> {
        let text = read(path)?;
        let whole = path::absolute(path).map_err(|error| Error::unreadable(&error))?;
        let config = Self::parse(&text, whole.parent().unwrap_or(Path::new("/")))?;
        config.knows(providers).map_err(|error| error.located(&text))?;
        Ok(config)
    }

    /// Whether it speaks of these providers only.
    fn knows(&self, providers: &[&str]) -> Result<(), Error> {
        let strange = self.providers.keys().find(|name| !providers.contains(&name.as_str()));
        strange.map_or(Ok(()), |name| Err(Error::no_provider(name, providers)))
    }

    /// Reads `text`. Relative paths in it start from `base`.
    ///
    /// # Errors
    /// What cannot be meant, by line and field. No value is quoted but numbers.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Error> {
        file::File::parse(text)?.meant(text, base)
    }

    /// How the provider called `name` is reached, whether or not the file speaks of it.
    pub fn upstream(&self, name: &str) -> Upstream {
        self.providers.get(name).cloned().unwrap_or_default()
    }
}

/// Where the field `field` stands: the file, and the line of as much of its path as is there.
pub fn place(path: &Path, field: &str) -> String {
    let line = read(path).ok().and_then(|text| error::line_of(&text, field));
    line.map_or(path.display().to_string(), |line| format!("{}:{line}", path.display()))
}

/// The text of the file, if it is a text and not too long.
fn read(path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| Error::unreadable(&error))?;
    file.take(FILE_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Error::unreadable(&error))?;
    match u64::try_from(bytes.len()) {
        Ok(0..=FILE_BYTES_MAX) => text(bytes),
        _ => Err(Error::too_large(FILE_BYTES_MAX)),
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Error> {
    // The error of the library holds the bytes.
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::not_text(error.as_bytes(), at)
    })
}
