//! `orchestra audit`

use super::{Output, ask, load, terminal};
use crate::admin::{Answer, AuditHead, Request};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use vault::audit::{self, Expected, Head, PublicKey, Verified};

const HEAD_EXAMPLES: &str = "\
Examples:
  orchestra audit head > elsewhere/head-2026-11-22.json

It signs how far the log goes, and prints that as JSON. Keep it where nobody who can write to this
machine can: with it, `orchestra audit verify --head` finds every change of what was there before.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  orchestra audit verify
  orchestra audit verify --head elsewhere/head-2026-11-22.json
  orchestra audit verify --directory copy/audit --key 7d0c.. --head head.json

It reads the whole log and says the first place that is not as it was written. Without --directory
it asks the vault for its newest head and its keys, which is itself a line in the log. With it, it
reads a copy, and needs neither the vault nor the security module.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a signed head of the log, to be kept elsewhere.
    Head(HeadCommand),
    /// Say whether the log is as it was written.
    Verify(Verify),
}

#[derive(Debug, Args)]
#[command(after_help = HEAD_EXAMPLES)]
pub(super) struct HeadCommand {}

#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(super) struct Verify {
    /// A head that was kept elsewhere. May be given several times.
    #[arg(long, value_name = "FILE")]
    head: Vec<PathBuf>,
    /// Read the log in this directory, without the vault.
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// A public key of the vault, in hexadecimal digits, when it is not asked.
    #[arg(long, value_name = "KEY", requires = "directory", value_parser = key)]
    key: Vec<PublicKey>,
    /// The oldest files of the log are kept elsewhere.
    #[arg(long)]
    begins_later: bool,
    #[command(flatten)]
    output: Output,
}

/// What is printed of a log that is whole.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    segments: usize,
    lines: u64,
    bytes: u64,
    heads: u64,
    first: u64,
    last: u64,
    unsigned: u64,
}

fn key(text: &str) -> Result<PublicKey, &'static str> {
    audit::parse_key(text).ok_or("expected the 64 hexadecimal digits that `audit head` prints")
}

// === impl Command ===

impl Command {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        match self {
            Self::Head(HeadCommand {}) => {
                let AuditHead { head, .. } = newest(conf)?;
                terminal::say(&terminal::json(&head)?)
            }
            Self::Verify(verify) => verify.run(conf),
        }
    }
}

fn newest(conf: &Path) -> Result<AuditHead> {
    let Answer::AuditHead(head) = ask(&load(conf)?, Request::AuditHead)? else {
        bail!("the running program is of another version");
    };
    Ok(head)
}

// === impl Verify ===

impl Verify {
    fn run(self, conf: &Path) -> Result<()> {
        let Self { head, directory, key, begins_later, output } = self;
        let in_use = directory.is_none();
        let mut expected = Expected { heads: Vec::new(), keys: key, begins_later, in_use };
        for path in &head {
            expected.heads.push(read_head(path)?);
        }
        let directory = match directory {
            Some(directory) => directory,
            None => {
                let AuditHead { head, keys } = newest(conf)?;
                expected.heads.push(head);
                expected.keys = keys.iter().filter_map(|key| audit::parse_key(key)).collect();
                audit::directory_in(&load(conf)?.vault.directory)
            }
        };
        let verified = audit::verify(&directory, &expected)
            .with_context(|| format!("the log in {} cannot be read", directory.display()))?;
        match verified {
            Ok(verified) => Said::of(verified).show(&output),
            Err(flaw) => Err(anyhow!("the audit log is not as it was written: {flaw}")),
        }
    }
}

fn read_head(path: &Path) -> Result<Head> {
    let text = fs::read(path).with_context(|| format!("--head {}", path.display()))?;
    serde_json::from_slice(&text)
        .map_err(|_| anyhow!("--head {}: it is not what `audit head` prints", path.display()))
}

// === impl Said ===

impl Said {
    fn of(verified: Verified) -> Self {
        let Verified { segments, lines, bytes, heads, first, last, unsigned } = verified;
        Self { segments, lines, bytes, heads, first, last, unsigned }
    }

    fn show(&self, output: &Output) -> Result<()> {
        if output.json {
            return terminal::say(&terminal::json(self)?);
        }
        let Self { segments, lines, bytes, heads, first, last, unsigned } = self;
        terminal::say(&format!(
            "The audit log is as it was written: {lines} lines ({first} to {last}) in {segments} \
             files of {bytes} bytes, {heads} signed heads; {unsigned} lines are younger than the \
             last."
        ))
    }
}
