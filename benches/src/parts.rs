//! Where a charge spends its time inside Orchestra: by thread on the processors, by phase on the clock.
//!
//! The threads' time is the kernel's (`/proc/<pid>/task/*/schedstat`, in nanoseconds); the phases' is
//! what the program itself says on its metrics port. Both are read at the two ends of a window.

use anyhow::Context;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the metrics port may take.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most that the metrics port may say.
const SCRAPE_BYTES_MAX: u64 = 4 << 20;

/// The histograms whose sums are times of a charge, and the label that tells them apart.
const PHASES: [(&str, &str); 2] =
    [("orchestra_phase_seconds_sum", "phase"), ("orchestra_exchange_seconds_sum", "provider")];

/// Everything up to now, or within some windows, by name and in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    threads: BTreeMap<String, u64>,
    phases: BTreeMap<String, u64>,
}

/// What one part took of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    pub name: String,
    pub ns_per_charge: u64,
}

/// What the parts took of a charge, the greatest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PerCharge {
    /// On the processors.
    pub threads: Vec<Part>,
    /// On the clock, waiting included.
    pub phases: Vec<Part>,
}

/// The time that each thread of a process has had, summed over threads of one name.
fn threads(pid: u32) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::<String, u64>::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let read = |file: &str| fs::read_to_string(task.join(file));
        // One that ends meanwhile has nothing more to say.
        let (Ok(name), Ok(times)) = (read("comm"), read("schedstat")) else { continue };
        let ns = times.split(' ').next().and_then(|ns| ns.parse().ok());
        let ns: u64 = ns.context("/proc/pid/task/tid/schedstat is not as proc(5) says")?;
        let sum = all.entry(kind_of(name.trim()).to_owned()).or_default();
        *sum = sum.saturating_add(ns);
    }
    Ok(all)
}

/// The name of a thread without its number.
fn kind_of(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((kind, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => kind,
        Some(_) | None => name,
    }
}

/// The answer of the metrics port.
fn scrape(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SCRAPE_TIMEOUT))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.take(SCRAPE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The sums of the [`PHASES`] in what a metrics port says.
fn phases(text: &str) -> BTreeMap<String, u64> {
    text.lines().filter_map(phase).collect()
}

/// The name and the nanoseconds of a line, if it is one of the [`PHASES`].
fn phase(line: &str) -> Option<(String, u64)> {
    let (series, seconds) = line.rsplit_once(' ')?;
    PHASES.iter().find_map(|(metric, label)| {
        let labels = series.strip_prefix(metric)?.strip_prefix('{')?.strip_suffix('}')?;
        let value = labels.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"')?;
        Some((value.to_owned(), ns_of(seconds)?))
    })
}

/// Nanoseconds of a decimal number of seconds.
fn ns_of(seconds: &str) -> Option<u64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(fraction.parse().ok()?)
}

/// `of`, each by `charges`, the greatest first; without those that took nothing.
fn per_charge(of: &BTreeMap<String, u64>, charges: u64) -> Vec<Part> {
    let mut parts: Vec<_> = of
        .iter()
        .map(|(name, ns)| (name.clone(), ns.checked_div(charges).unwrap_or(0)))
        .filter(|(_, ns_per_charge)| *ns_per_charge > 0)
        .map(|(name, ns_per_charge)| Part { name, ns_per_charge })
        .collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.ns_per_charge));
    parts
}

// === impl Parts ===

impl Parts {
    /// What the process has taken up to now.
    ///
    /// # Errors
    /// It is gone, or its metrics port does not answer.
    pub fn read(pid: u32, metrics: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { threads: threads(pid)?, phases: phases(&scrape(metrics)?) })
    }

    /// What was taken between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let [threads, phases] =
            [(&self.threads, &earlier.threads), (&self.phases, &earlier.phases)].map(
                |(now, then)| {
                    let before = |name: &String| then.get(name).copied().unwrap_or_default();
                    let since = |(name, ns): (&String, &u64)| {
                        (name.clone(), ns.saturating_sub(before(name)))
                    };
                    now.iter().map(since).collect()
                },
            );
        Self { threads, phases }
    }

    /// Adds what another window took.
    pub fn add(&mut self, other: &Self) {
        for (sums, more) in [(&mut self.threads, &other.threads), (&mut self.phases, &other.phases)]
        {
            for (name, ns) in more {
                let sum = sums.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*ns);
            }
        }
    }

    /// What each took of one of so many charges.
    pub fn per_charge(&self, charges: u64) -> PerCharge {
        let of = |parts| per_charge(parts, charges);
        PerCharge { threads: of(&self.threads), phases: of(&self.phases) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, Parts, kind_of, ns_of, phases, threads};
    use std::collections::BTreeMap;

    fn map(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|(name, ns)| ((*name).to_owned(), *ns)).collect()
    }

    #[test]
    fn sums_of_phases_and_of_exchanges_are_found_among_the_metrics() {
        let text = "# TYPE orchestra_phase_seconds histogram\n\
             orchestra_phase_seconds_bucket{phase=\"journal\",le=\"0.1\"} 7\n\
             orchestra_phase_seconds_sum{phase=\"journal\"} 12.25\n\
             orchestra_phase_seconds_count{phase=\"journal\"} 7\n\
             orchestra_exchange_seconds_sum{provider=\"adyen\"} 0.000001\n\
             orchestra_request_seconds_sum{route=\"charge\"} 99\n";
        assert_eq!(phases(text), map(&[("adyen", 1_000), ("journal", 12_250_000_000)]));
    }

    #[test]
    fn seconds_are_read_without_a_float() {
        let table = [
            ("0", Some(0)),
            ("1.5", Some(1_500_000_000)),
            ("0.0000000019", Some(1)),
            ("1e9", None),
            ("", None),
        ];
        for (text, ns) in table {
            assert_eq!(ns_of(text), ns, "{text}");
        }
    }

    #[test]
    fn threads_of_one_kind_are_one_part() {
        assert_eq!(
            ["sled-io-3", "access-log", "merchants"].map(kind_of),
            ["sled-io", "access-log", "merchants"]
        );
        let own = threads(std::process::id()).unwrap();
        assert!(own.values().any(|ns| *ns > 0), "{own:?}");
    }

    #[test]
    fn what_windows_took_is_added_and_divided() {
        let parts = |ns: [u64; 2]| Parts {
            threads: map(&[("committer", ns[0]), ("merchants", ns[1])]),
            phases: map(&[("journal", ns[1])]),
        };
        let mut sum = parts([30, 40]).since(&parts([10, 30]));
        sum.add(&parts([0, 90]).since(&Parts::default()));
        let per_charge = sum.per_charge(10);
        let part = |name: &str, ns_per_charge| Part { name: name.to_owned(), ns_per_charge };
        assert_eq!(per_charge.threads, [part("merchants", 10), part("committer", 2)]);
        assert_eq!(per_charge.phases, [part("journal", 10)]);
    }
}
