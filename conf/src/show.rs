//! A configuration as a file that means the same, with every default written out.

use crate::{Config, Limits, Listen, Log, Payments, Tls, Upstream, Vault};
use std::fmt::{Display, Formatter, Result, Write as _};
use std::path::Path;

const DAY_S: u64 = 86_400;

/// A text between quotation marks, as YAML and JSON write it.
struct Quoted<'a>(&'a str);

// === impl Quoted ===

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\U{:08x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

// === impl Config ===

impl Display for Config {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        listen(f, &self.listen)?;
        limits(f, &self.limits)?;
        payments(f, &self.payments)?;
        vault(f, &self.vault)?;
        if !self.providers.is_empty() {
            writeln!(f, "providers:")?;
        }
        for (name, provider) in &self.providers {
            upstream(f, name, provider)?;
        }
        writeln!(f, "threads: {}", self.threads)?;
        writeln!(f, "grace_s: {}", self.grace.as_secs())?;
        log(f, &self.log)
    }
}

fn listen(f: &mut Formatter<'_>, listen: &Listen) -> Result {
    writeln!(f, "listen:")?;
    if let Some(settings) = &listen.tls {
        tls(f, settings)?;
    }
    if let Some(plain) = listen.plain {
        writeln!(f, "  plain: \"{plain}\"")?;
    }
    writeln!(f, "  metrics: \"{}\"", listen.metrics)?;
    path(f, "  admin", &listen.admin)
}

fn tls(f: &mut Formatter<'_>, tls: &Tls) -> Result {
    writeln!(f, "  tls:\n    address: \"{}\"\n    certificates:", tls.address)?;
    for files in &tls.certificates {
        path(f, "      - chain", &files.chain)?;
        path(f, "        key", &files.key)?;
    }
    Ok(())
}

fn limits(f: &mut Formatter<'_>, limits: &Limits) -> Result {
    writeln!(f, "limits:")?;
    writeln!(f, "  connections_max: {}", limits.connections_max)?;
    writeln!(f, "  connections_per_address_max: {}", limits.connections_per_address_max)?;
    writeln!(f, "  head_timeout_ms: {}", limits.head_timeout.as_millis())?;
    writeln!(f, "  body_timeout_ms: {}", limits.body_timeout.as_millis())?;
    writeln!(f, "  body_bytes_max: {}", limits.body_bytes_max)?;
    writeln!(f, "  idle_timeout_ms: {}", limits.idle_timeout.as_millis())?;
    writeln!(f, "  write_timeout_ms: {}", limits.write_timeout.as_millis())?;
    writeln!(f, "  flood_per_address_per_s: {}", limits.flood_per_address_per_s)?;
    writeln!(f, "  quota:\n    requests: {}", limits.quota.requests)?;
    writeln!(f, "    window_s: {}", limits.quota.window.as_secs())?;
    writeln!(f, "  reveals:\n    requests: {}", limits.reveals.requests)?;
    writeln!(f, "    window_s: {}", limits.reveals.window.as_secs())
}

fn payments(f: &mut Formatter<'_>, payments: &Payments) -> Result {
    writeln!(f, "payments:")?;
    writeln!(f, "  breaker_faults: {}", payments.breaker.faults)?;
    writeln!(f, "  breaker_window_s: {}", payments.breaker.window.as_secs())?;
    writeln!(f, "  breaker_open_s: {}", payments.breaker.open.as_secs())?;
    writeln!(f, "  failover_timeout_ms: {}", payments.failover_timeout.as_millis())?;
    writeln!(f, "  idempotency_keep_h: {}", payments.idempotency_keep.as_secs() / 3_600)?;
    writeln!(f, "  idempotency_required: {}", payments.idempotency_required)?;
    writeln!(f, "  resolve_alarm_s: {}", payments.resolve_alarm.as_secs())
}

fn vault(f: &mut Formatter<'_>, vault: &Vault) -> Result {
    writeln!(f, "vault:")?;
    path(f, "  directory", &vault.directory)?;
    writeln!(f, "  cache_bytes: {}", vault.cache_bytes)?;
    path(f, "  module", &vault.module)?;
    writeln!(f, "  token_label: {}", Quoted(&vault.token_label))?;
    writeln!(f, "  pin: {}", Quoted(&vault.pin.to_string()))?;
    let keys = &vault.keys;
    writeln!(f, "  keys:\n    wrap: {}", keys.wrap.word())?;
    writeln!(f, "    hsm_outage_max_s: {}", keys.hsm_outage_max.as_secs())?;
    writeln!(f, "    hsm_sessions: {}", keys.hsm_sessions)?;
    writeln!(f, "    dek_period_days: {}", keys.dek_period.as_secs() / DAY_S)?;
    writeln!(f, "    kek_period_days: {}", keys.kek_period.as_secs() / DAY_S)?;
    writeln!(f, "    shred_days: {}", keys.shred_after.as_secs() / DAY_S)?;
    writeln!(f, "    seals_max: {}", keys.seals_max)?;
    writeln!(f, "    rotation_records_per_s: {}", keys.rotation_records_per_s)
}

fn upstream(f: &mut Formatter<'_>, name: &str, upstream: &Upstream) -> Result {
    writeln!(f, "  {name}:")?;
    if let Some(connect) = upstream.connect {
        writeln!(f, "    connect: \"{connect}\"")?;
    }
    if let Some(ca) = &upstream.ca {
        path(f, "    ca", ca)?;
    }
    writeln!(f, "    connect_timeout_ms: {}", upstream.connect_timeout.as_millis())?;
    writeln!(f, "    exchange_timeout_ms: {}", upstream.exchange_timeout.as_millis())?;
    writeln!(f, "    idle_timeout_ms: {}", upstream.idle_timeout.as_millis())?;
    writeln!(f, "    answer_bytes_max: {}", upstream.answer_bytes_max)
}

fn log(f: &mut Formatter<'_>, log: &Log) -> Result {
    match &log.access {
        Some(access) => {
            writeln!(f, "log:")?;
            path(f, "  access", access)
        }
        None => writeln!(f, "# log.access: the standard output"),
    }
}

fn path(f: &mut Formatter<'_>, field: &str, path: &Path) -> Result {
    writeln!(f, "{field}: {}", Quoted(&path.to_string_lossy()))
}
