//! The file, field for field, and what it means.

use crate::bounds::{self, Number};
use crate::error::Error;
use crate::{
    Breaker, CertificateFiles, Config, Keys, Limits, Listen, Log, Payments, Quota, Source, Tls,
    Upstream, Vault, Wrap,
};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How many certificates the listener may have.
const CERTIFICATES_MAX: usize = 256;
/// How many providers may be named.
const PROVIDERS_MAX: usize = 256;
/// How long the name of a provider may be, in bytes.
const PROVIDER_BYTES_MAX: usize = 32;
/// How long the path of a Unix socket may be, in bytes (`sun_path` less room for a suffix).
const SOCKET_BYTES_MAX: usize = 100;
/// How long the label of a token may be, in bytes (PKCS#11, `CK_TOKEN_INFO`).
const LABEL_BYTES_MAX: usize = 32;

/// What some editors write before a text, where it cannot be seen.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where metrics and health are, if nothing is said.
const METRICS: &str = "127.0.0.1:9464";
/// Where the running program is reached by the command line, if nothing is said.
const ADMIN: &str = "/run/orchestra/admin.sock";
/// Where the data are, if nothing is said.
const DIRECTORY: &str = "/var/lib/orchestra/vault";
/// The PKCS#11 library, if nothing is said: where Debian has SoftHSM.
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The token that holds the key, if nothing is said.
const TOKEN_LABEL: &str = "orchestra";

const ADDRESS: &str = "expected an address with a port, such as 127.0.0.1:8443";
const REFERENCE: &str = "expected env:NAME or file:PATH; a secret itself is not written here";

/// Every word that may stand in the file, so that an error can name it without quoting the input.
pub(crate) const WORDS: &[&str] = &[
    "access",
    "address",
    "admin",
    "answer_bytes_max",
    "body_bytes_max",
    "body_timeout_ms",
    "breaker_faults",
    "breaker_open_s",
    "breaker_window_s",
    "ca",
    "cache_bytes",
    "certificates",
    "chain",
    "connect",
    "connect_timeout_ms",
    "connections_max",
    "connections_per_address_max",
    "dek_period_days",
    "directory",
    "exchange_timeout_ms",
    "failover_timeout_ms",
    "flood_per_address_per_s",
    "grace_s",
    "head_timeout_ms",
    "hsm_outage_max_s",
    "hsm_sessions",
    "idempotency_keep_h",
    "idempotency_required",
    "idle_timeout_ms",
    "kek_period_days",
    "key",
    "keys",
    "limits",
    "listen",
    "log",
    "metrics",
    "module",
    "payments",
    "pin",
    "plain",
    "providers",
    "quota",
    "requests",
    "resolve_alarm_s",
    "reveals",
    "rotation_records_per_s",
    "seals_max",
    "shred_days",
    "threads",
    "tls",
    "token_label",
    "vault",
    "window_s",
    "wrap",
    "write_timeout_ms",
];

/// The file as written. Unknown fields are errors, so that a typo cannot pass for a default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    listen: ListenFile,
    limits: LimitsFile,
    payments: PaymentsFile,
    vault: VaultFile,
    providers: UpstreamsFile,
    threads: Option<u64>,
    grace_s: Option<u64>,
    log: LogFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListenFile {
    tls: Option<TlsFile>,
    plain: Option<String>,
    metrics: Option<String>,
    admin: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsFile {
    address: Option<String>,
    certificates: Vec<CertificateFile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CertificateFile {
    chain: Option<String>,
    key: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsFile {
    connections_max: Option<u64>,
    connections_per_address_max: Option<u64>,
    head_timeout_ms: Option<u64>,
    body_timeout_ms: Option<u64>,
    body_bytes_max: Option<u64>,
    idle_timeout_ms: Option<u64>,
    write_timeout_ms: Option<u64>,
    flood_per_address_per_s: Option<u64>,
    quota: QuotaFile,
    reveals: QuotaFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PaymentsFile {
    breaker_faults: Option<u64>,
    breaker_window_s: Option<u64>,
    breaker_open_s: Option<u64>,
    failover_timeout_ms: Option<u64>,
    idempotency_keep_h: Option<u64>,
    idempotency_required: Option<bool>,
    resolve_alarm_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QuotaFile {
    requests: Option<u64>,
    window_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct VaultFile {
    directory: Option<String>,
    cache_bytes: Option<u64>,
    module: Option<String>,
    token_label: Option<String>,
    pin: Option<String>,
    keys: KeysFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeysFile {
    wrap: Option<String>,
    hsm_outage_max_s: Option<u64>,
    hsm_sessions: Option<u64>,
    dek_period_days: Option<u64>,
    kek_period_days: Option<u64>,
    shred_days: Option<u64>,
    seals_max: Option<u64>,
    rotation_records_per_s: Option<u64>,
}

/// By name. A map of the standard library would let a second one with the same name win.
#[derive(Debug, Default)]
struct UpstreamsFile(BTreeMap<String, UpstreamFile>);

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct UpstreamFile {
    connect: Option<String>,
    ca: Option<String>,
    connect_timeout_ms: Option<u64>,
    exchange_timeout_ms: Option<u64>,
    idle_timeout_ms: Option<u64>,
    answer_bytes_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogFile {
    access: Option<String>,
}

/// Whether `word` could be the name of a provider: small letters and `_`.
pub(crate) fn is_provider(word: &str) -> bool {
    matches!(word.len(), 1..=PROVIDER_BYTES_MAX)
        && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

// === impl File ===

impl File {
    /// Reads what was written. An empty text is a file in which nothing was written.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        if text.starts_with(BYTE_ORDER_MARK) {
            return Err(Error::on(1, "begins with a byte order mark: keep the file without one"));
        }
        // A text of comments only is `null`, which is no mapping.
        serde_yaml_ng::from_str::<Option<Self>>(text)
            .map(Option::unwrap_or_default)
            .map_err(|error| Error::shape(&error, text))
    }

    /// What was meant by it. `text` is what it was read from, to find the lines of errors.
    pub(crate) fn meant(self, text: &str, base: &Path) -> Result<Config, Error> {
        self.config(base).map_err(|error| error.located(text))
    }

    fn config(self, base: &Path) -> Result<Config, Error> {
        Ok(Config {
            listen: self.listen.meant(base)?,
            limits: self.limits.meant()?,
            payments: self.payments.meant()?,
            vault: self.vault.meant(base)?,
            providers: self.providers.meant(base)?,
            threads: count(bounds::THREADS.meant(self.threads.or_else(cores))?),
            grace: Duration::from_secs(bounds::GRACE_S.meant(self.grace_s)?),
            log: Log { access: path_if("log.access", self.log.access, base)? },
        })
    }
}

// === impl ListenFile ===

impl ListenFile {
    fn meant(self, base: &Path) -> Result<Listen, Error> {
        let listen = Listen {
            tls: self.tls.map(|tls| tls.meant(base)).transpose()?,
            plain: self.plain.as_deref().map(|text| loopback("listen.plain", text)).transpose()?,
            metrics: address("listen.metrics", self.metrics.as_deref().unwrap_or(METRICS))?,
            admin: socket("listen.admin", self.admin, base)?,
        };
        if listen.tls.is_none() && listen.plain.is_none() {
            return Err(Error::wrong("listen", "expected tls, or plain, or both"));
        }
        distinct(&listen)?;
        Ok(listen)
    }
}

// === impl TlsFile ===

impl TlsFile {
    fn meant(self, base: &Path) -> Result<Tls, Error> {
        let field = "listen.tls.certificates";
        if !matches!(self.certificates.len(), 1..=CERTIFICATES_MAX) {
            return Err(Error::wrong(field, "expected 1 to 256 certificates"));
        }
        let certificates = self.certificates.into_iter().enumerate();
        Ok(Tls {
            address: address("listen.tls.address", self.address.as_deref().unwrap_or_default())?,
            certificates: certificates
                .map(|(nth, files)| files.meant(&format!("{field}[{nth}]"), base))
                .collect::<Result<_, _>>()?,
        })
    }
}

// === impl CertificateFile ===

impl CertificateFile {
    fn meant(self, field: &str, base: &Path) -> Result<CertificateFiles, Error> {
        Ok(CertificateFiles {
            chain: path(&format!("{field}.chain"), self.chain, base)?,
            key: path(&format!("{field}.key"), self.key, base)?,
        })
    }
}

// === impl LimitsFile ===

impl LimitsFile {
    fn meant(self) -> Result<Limits, Error> {
        let quota = Quota {
            requests: count_u32(bounds::QUOTA_REQUESTS.meant(self.quota.requests)?),
            window: Duration::from_secs(bounds::QUOTA_WINDOW_S.meant(self.quota.window_s)?),
        };
        let reveals = Quota {
            requests: count_u32(bounds::REVEALS_REQUESTS.meant(self.reveals.requests)?),
            window: Duration::from_secs(bounds::REVEALS_WINDOW_S.meant(self.reveals.window_s)?),
        };
        Ok(Limits {
            connections_max: count(bounds::CONNECTIONS_MAX.meant(self.connections_max)?),
            connections_per_address_max: count_u32(
                bounds::CONNECTIONS_PER_ADDRESS_MAX.meant(self.connections_per_address_max)?,
            ),
            head_timeout: millis(bounds::HEAD_TIMEOUT_MS.meant(self.head_timeout_ms)?),
            body_timeout: millis(bounds::BODY_TIMEOUT_MS.meant(self.body_timeout_ms)?),
            body_bytes_max: count(bounds::BODY_BYTES_MAX.meant(self.body_bytes_max)?),
            idle_timeout: millis(bounds::IDLE_TIMEOUT_MS.meant(self.idle_timeout_ms)?),
            write_timeout: millis(bounds::WRITE_TIMEOUT_MS.meant(self.write_timeout_ms)?),
            flood_per_address_per_s: count_u32(
                bounds::FLOOD_PER_ADDRESS_PER_S.meant(self.flood_per_address_per_s)?,
            ),
            quota,
            reveals,
        })
    }
}

// === impl PaymentsFile ===

impl PaymentsFile {
    fn meant(self) -> Result<Payments, Error> {
        let keep_h = bounds::IDEMPOTENCY_KEEP_H.meant(self.idempotency_keep_h)?;
        let alarm_s = bounds::RESOLVE_ALARM_S.meant(self.resolve_alarm_s)?;
        let window_s = bounds::BREAKER_WINDOW_S.meant(self.breaker_window_s)?;
        let open_s = bounds::BREAKER_OPEN_S.meant(self.breaker_open_s)?;
        Ok(Payments {
            breaker: Breaker {
                faults: count_u32(bounds::BREAKER_FAULTS.meant(self.breaker_faults)?),
                window: Duration::from_secs(window_s),
                open: Duration::from_secs(open_s),
            },
            failover_timeout: millis(bounds::FAILOVER_TIMEOUT_MS.meant(self.failover_timeout_ms)?),
            idempotency_keep: Duration::from_secs(keep_h.saturating_mul(3_600)),
            idempotency_required: self.idempotency_required.unwrap_or_default(),
            resolve_alarm: Duration::from_secs(alarm_s),
        })
    }
}

// === impl KeysFile ===

impl KeysFile {
    fn meant(self) -> Result<Keys, Error> {
        let wrong = || Error::wrong("vault.keys.wrap", "expected aes-gcm or aes-kwp");
        let wrap = self.wrap.as_deref().unwrap_or(Wrap::AesGcm.word());
        Ok(Keys {
            wrap: Wrap::by_word(wrap).ok_or_else(wrong)?,
            hsm_outage_max: Duration::from_secs(
                bounds::HSM_OUTAGE_MAX_S.meant(self.hsm_outage_max_s)?,
            ),
            hsm_sessions: count(bounds::HSM_SESSIONS.meant(self.hsm_sessions)?),
            dek_period: days(bounds::DEK_PERIOD_DAYS.meant(self.dek_period_days)?),
            kek_period: days(bounds::KEK_PERIOD_DAYS.meant(self.kek_period_days)?),
            shred_after: days(bounds::SHRED_DAYS.meant(self.shred_days)?),
            seals_max: bounds::SEALS_MAX.meant(self.seals_max)?,
            rotation_records_per_s: count_u32(
                bounds::ROTATION_RECORDS_PER_S.meant(self.rotation_records_per_s)?,
            ),
        })
    }
}

// === impl VaultFile ===

impl VaultFile {
    fn meant(self, base: &Path) -> Result<Vault, Error> {
        Ok(Vault {
            directory: path_or("vault.directory", self.directory, DIRECTORY, base)?,
            cache_bytes: bounds::CACHE_BYTES.meant(self.cache_bytes)?,
            module: path_or("vault.module", self.module, MODULE, base)?,
            token_label: label(self.token_label.unwrap_or_else(|| TOKEN_LABEL.into()))?,
            pin: Source::parse(&self.pin.unwrap_or_default(), base)
                .ok_or_else(|| Error::wrong("vault.pin", REFERENCE))?,
            keys: self.keys.meant()?,
        })
    }
}

// === impl UpstreamsFile ===

impl UpstreamsFile {
    fn meant(self, base: &Path) -> Result<BTreeMap<String, Upstream>, Error> {
        if self.0.len() > PROVIDERS_MAX {
            return Err(Error::wrong("providers", "expected at most 256 providers"));
        }
        if !self.0.keys().all(|name| is_provider(name)) {
            return Err(Error::wrong("providers", "a provider's name is up to 32 of a to z and _"));
        }
        self.0
            .into_iter()
            .map(|(name, upstream)| upstream.meant(&name, base).map(|meant| (name, meant)))
            .collect()
    }
}

impl<'de> Deserialize<'de> for UpstreamsFile {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_map(Upstreams)
    }
}

/// Reads the providers, each name once.
struct Upstreams;

impl<'de> Visitor<'de> for Upstreams {
    type Value = UpstreamsFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("providers by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UpstreamsFile, A::Error> {
        let mut upstreams = BTreeMap::new();
        while let Some((name, upstream)) = map.next_entry::<String, UpstreamFile>()? {
            if upstreams.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            upstreams.insert(name, upstream);
        }
        Ok(UpstreamsFile(upstreams))
    }
}

// === impl UpstreamFile ===

impl UpstreamFile {
    fn meant(self, name: &str, base: &Path) -> Result<Upstream, Error> {
        let field = |last: &str| format!("providers.{name}.{last}");
        let connect = self.connect.as_deref();
        let upstream = Upstream {
            connect: connect.map(|text| address(&field("connect"), text)).transpose()?,
            ca: path_if(&field("ca"), self.ca, base)?,
            connect_timeout: millis(
                bounds::CONNECT_TIMEOUT_MS.meant_for(name, self.connect_timeout_ms)?,
            ),
            exchange_timeout: millis(
                bounds::EXCHANGE_TIMEOUT_MS.meant_for(name, self.exchange_timeout_ms)?,
            ),
            idle_timeout: millis(
                bounds::UPSTREAM_IDLE_TIMEOUT_MS.meant_for(name, self.idle_timeout_ms)?,
            ),
            answer_bytes_max: count(
                bounds::ANSWER_BYTES_MAX.meant_for(name, self.answer_bytes_max)?,
            ),
        };
        Ok(upstream)
    }
}

// === impl Upstream ===

impl Default for Upstream {
    fn default() -> Self {
        let default = |number: &Number| number.default.unwrap_or(number.min);
        Self {
            connect: None,
            ca: None,
            connect_timeout: millis(default(&bounds::CONNECT_TIMEOUT_MS)),
            exchange_timeout: millis(default(&bounds::EXCHANGE_TIMEOUT_MS)),
            idle_timeout: millis(default(&bounds::UPSTREAM_IDLE_TIMEOUT_MS)),
            answer_bytes_max: count(default(&bounds::ANSWER_BYTES_MAX)),
        }
    }
}

/// Every address is listened to once.
fn distinct(listen: &Listen) -> Result<(), Error> {
    let tls = listen.tls.as_ref().map(|tls| tls.address);
    let twice = "is already listened to";
    if listen.plain.is_some() && listen.plain == tls {
        return Err(Error::wrong("listen.plain", twice));
    }
    if [tls, listen.plain].contains(&Some(listen.metrics)) {
        return Err(Error::wrong("listen.metrics", twice));
    }
    Ok(())
}

fn address(field: &str, text: &str) -> Result<SocketAddr, Error> {
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    address.ok_or_else(|| Error::wrong(field, ADDRESS))
}

/// Without TLS a key is readable on the way, so only this machine may be the way.
fn loopback(field: &str, text: &str) -> Result<SocketAddr, Error> {
    let address = address(field, text)?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(Error::wrong(field, "expected a loopback address, because it is without TLS"))
    }
}

fn path(field: &str, written: Option<String>, base: &Path) -> Result<PathBuf, Error> {
    path_if(field, written, base)?.ok_or_else(|| Error::wrong(field, "expected a path"))
}

fn path_or(
    field: &str,
    written: Option<String>,
    default: &str,
    base: &Path,
) -> Result<PathBuf, Error> {
    path(field, Some(written.unwrap_or_else(|| default.to_owned())), base)
}

fn path_if(field: &str, written: Option<String>, base: &Path) -> Result<Option<PathBuf>, Error> {
    match written {
        Some(text) if text.is_empty() || text.contains('\0') => {
            Err(Error::wrong(field, "expected a path"))
        }
        written => Ok(written.map(|text| base.join(text))),
    }
}

fn socket(field: &str, written: Option<String>, base: &Path) -> Result<PathBuf, Error> {
    let path = path_or(field, written, ADMIN, base)?;
    if path.as_os_str().len() > SOCKET_BYTES_MAX {
        return Err(Error::wrong(field, "expected a path of at most 100 bytes, as sockets have"));
    }
    Ok(path)
}

fn label(text: String) -> Result<String, Error> {
    let fits = matches!(text.len(), 1..=LABEL_BYTES_MAX)
        && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && text.trim_end() == text;
    fits.then_some(text)
        .ok_or_else(|| Error::wrong("vault.token_label", "expected 1 to 32 printable characters"))
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn days(number: u64) -> Duration {
    Duration::from_secs(number.saturating_mul(86_400))
}

/// The number as the type that counts things in memory. The ranges are below every maximum.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn count_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// How many threads this machine can run at a time.
fn cores() -> Option<u64> {
    let cores = thread::available_parallelism().ok()?;
    u64::try_from(cores.get()).ok().map(|cores| cores.min(bounds::THREADS.max))
}
