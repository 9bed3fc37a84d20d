//! The program's own log: what went wrong and what changed, on standard error.
//!
//! Our own messages are written to hold no input. Those of libraries are not ours to trust: they
//! are shown from warnings upward, cut, and with everything masked that could be a card or a key.

use crate::clock;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::Write;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Writes records to standard error, one line each.
struct ProgramLog;

/// The crates whose messages are written as they are.
const OURS: [&str; 6] = ["conf", "filters", "orchestra", "providers", "proxy", "vault"];
/// How much of a library's message is shown, in characters.
const FOREIGN_CHARS_MAX: usize = 300;
/// A run of letters and digits this long could be a secret.
const RUN_CHARS_MAX: usize = 19;
/// A run of digits this long could be a card number.
const DIGITS_MAX: usize = 8;

/// Sends the program's log to standard error. A second call changes nothing.
pub(crate) fn start() {
    if log::set_logger(&ProgramLog).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// Counts the lines of libraries in the present second: a client can cause some of them, such as
/// one for each failed handshake, and must not be able to fill a disk with them.
struct Allowance {
    second: AtomicU64,
    lines: AtomicU32,
}

static FOREIGN: Allowance = Allowance { second: AtomicU64::new(0), lines: AtomicU32::new(0) };

/// How many lines of libraries are shown in a second.
const FOREIGN_LINES_PER_S_MAX: u32 = 10;

// === impl Allowance ===

impl Allowance {
    fn admits(&self, second: u64) -> bool {
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < FOREIGN_LINES_PER_S_MAX
    }
}

// === impl ProgramLog ===

impl Log for ProgramLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= if is_ours(metadata.target()) { Level::Info } else { Level::Warn }
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !is_ours(record.target()) && !FOREIGN.admits(clock::now_seconds()) {
            return;
        }
        let message = record.args().to_string();
        let message = if is_ours(record.target()) { one_line(&message) } else { masked(&message) };
        let time = clock::timestamp(clock::now_millis());
        let line = format!("{time} {:5} {}: {message}\n", record.level(), record.target());
        // There is nowhere else to say that standard error is gone.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}

fn is_ours(target: &str) -> bool {
    OURS.contains(&target.split("::").next().unwrap_or_default())
}

fn one_line(message: &str) -> String {
    message.replace(['\n', '\r'], " ")
}

/// The message with every run blotted out that could be a card number or a key.
fn masked(message: &str) -> String {
    let shown: String = message.chars().take(FOREIGN_CHARS_MAX).collect();
    let mut out = String::with_capacity(shown.len());
    let mut run = String::new();
    for char in shown.chars().chain([' ']) {
        if char.is_alphanumeric() || char == '_' {
            run.push(char);
            continue;
        }
        out.push_str(if is_suspicious(&run) { "***" } else { &run });
        run.clear();
        out.push(if char.is_control() { ' ' } else { char });
    }
    out.truncate(out.trim_end().len());
    out
}

fn is_suspicious(run: &str) -> bool {
    let digits = run.chars().filter(char::is_ascii_digit).count();
    run.chars().count() > RUN_CHARS_MAX && digits > 0 || digits > DIGITS_MAX
}

#[cfg(test)]
mod tests {
    use super::{Allowance, FOREIGN_LINES_PER_S_MAX, masked};
    use std::sync::atomic::{AtomicU32, AtomicU64};

    #[test]
    fn a_second_has_its_allowance_of_foreign_lines() {
        let allowance = Allowance { second: AtomicU64::new(0), lines: AtomicU32::new(0) };
        let admitted = |second| (0..100).filter(|_| allowance.admits(second)).count();
        assert_eq!(admitted(1), usize::try_from(FOREIGN_LINES_PER_S_MAX).unwrap());
        assert_eq!(admitted(2), usize::try_from(FOREIGN_LINES_PER_S_MAX).unwrap());
    }

    #[test]
    fn what_could_be_a_secret_is_blotted_out() {
        for (message, expected) in [
            ("bind() failed on 127.0.0.1:8443", "bind() failed on 127.0.0.1:8443"),
            ("invalid header 4111111111111111", "invalid header ***"),
            ("x-api-key: ork_live_0123456789ab_0123456789", "x-api-key: ***"),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(masked(message), expected);
        }
    }
}
