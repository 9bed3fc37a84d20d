//! What takes long: a check of everything in the vault, and a backup of it.
//!
//! Both read the whole store, in a thread that may block, while the program serves. A backup goes
//! over the socket as it is written: one line that says that it follows, and then its bytes, which
//! end with the connection. The command line writes the file, as the user who asked.

use super::{Answer, Refusal, Request, socket};
use crate::causes::causes;
use crate::clock;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::io::{BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use vault::audit::{Action, Actor, Event, Outcome};
use vault::{Vault, VerifyReport};

/// How long a check of everything may take.
pub(super) const VERIFY_TIMEOUT: Duration = Duration::from_secs(3_600);
/// How long the reader of a backup may take no bytes.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the line before a backup may be.
const LINE_BYTES_MAX: usize = 4_096;
const BUFFER_BYTES: usize = 1 << 20;

/// What a check of everything found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    pub is_whole: bool,
    /// How often the ledger was written.
    pub counter: u64,
    pub rows: Vec<Rows>,
    /// Collections in which a row was changed, put back, taken away or brought back.
    pub apart: Vec<Box<str>>,
    /// How many rows do not open, and the first of them.
    pub refused: u64,
    pub findings: Vec<Found>,
}

/// How many rows a collection has.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rows {
    pub collection: Box<str>,
    pub rows: u64,
}

/// A row that does not open.
#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    pub collection: Box<str>,
    pub row: Box<str>,
}

/// Checks everything. Blocks for as long as it takes.
///
/// # Errors
/// The vault failed, or the act could not be recorded.
pub(super) fn verify(vault: &Vault, actor: Actor) -> Result<Answer, Refusal> {
    record(vault, Action::VaultVerify, actor.clone(), Outcome::Attempted)?;
    let checked = vault.verify(|_| ());
    let outcome = match &checked {
        Ok(report) if report.is_whole() => Outcome::Success,
        Ok(report) => {
            log::error!(
                "a check of the vault found {} rows that do not open, and {} collections with rows \
                 that were changed outside of the vault: {}",
                report.refused,
                report.apart.len(),
                report.apart.join(", ")
            );
            Outcome::Failure("the vault is not as it was written")
        }
        Err(_) => Outcome::Failure("it was not ended: nothing is known"),
    };
    record(vault, Action::VaultVerify, actor, outcome)?;
    Ok(Answer::Verified(checked?.into()))
}

/// Writes a backup of the vault to who asked for it. Blocks for as long as it takes.
pub(super) fn send_backup(vault: &Vault, stream: UnixStream, actor: Actor) {
    let begun = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_write_timeout(Some(STALL_TIMEOUT)))
        .is_ok();
    if begun && let Err(error) = try_send(vault, &stream, actor.clone()) {
        log::error!("a backup was cut short: {}", causes(&error));
        let failed = Outcome::Failure("it was cut short");
        drop(record(vault, Action::VaultBackup, actor, failed));
    }
}

fn try_send(vault: &Vault, mut stream: &UnixStream, actor: Actor) -> Result<()> {
    let recorded = record(vault, Action::VaultBackup, actor.clone(), Outcome::Attempted);
    let refused = recorded.is_err();
    let line: Result<Answer, Refusal> = recorded.map(|()| Answer::Follows);
    serde_json::to_writer(stream, &line)?;
    stream.write_all(b"\n")?;
    if refused {
        return Ok(());
    }
    backup(vault, stream, actor, |_| ()).map(drop)
}

/// Writes a backup, and records it.
///
/// # Errors
/// What was written up to then is refused as a backup.
pub(crate) fn backup(
    vault: &Vault,
    to: impl Write,
    actor: Actor,
    progress: impl FnMut(&vault::BackupReport),
) -> Result<vault::BackupReport> {
    let to = BufWriter::with_capacity(BUFFER_BYTES, to);
    let report = vault.backup(to, clock::now_millis(), progress)?;
    record(vault, Action::VaultBackup, actor, Outcome::Success)?;
    log::info!("a backup was written: {} rows, {} bytes", report.rows, report.bytes);
    Ok(report)
}

fn record(vault: &Vault, action: Action, actor: Actor, outcome: Outcome) -> Result<(), Refusal> {
    let event =
        Event { action, actor, merchant: None, object: "vault".into(), outcome, origin: None };
    vault::wait(vault.audit().record(event)).map_err(|error| Refusal::told(&error))
}

/// Asks the program that listens at `path`, if there is one, for a backup: its bytes follow.
///
/// # Errors
/// There is a program, and it gives none.
pub(crate) async fn ask_for_backup(path: &Path, owner: u32) -> Result<Option<UnixStream>> {
    let Some(stream) = socket::connect(path, owner).await? else { return Ok(None) };
    let mut stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STALL_TIMEOUT))?;
    let mut line = serde_json::to_vec(&Request::Backup)?;
    line.push(b'\n');
    stream.write_all(&line).context("the running program ended the conversation")?;
    let told = read_line(&mut stream)?;
    // The parser's own words are dropped, because they quote what they read.
    let told: Option<Result<Answer, Refusal>> = serde_json::from_slice(&told).ok();
    let told = told.context("the running program is of another version")?;
    ensure!(matches!(told?, Answer::Follows), "the running program is of another version");
    Ok(Some(stream))
}

/// The bytes before the first newline, and none after it.
#[expect(clippy::unbuffered_bytes, reason = "what follows the line must stay in the socket")]
fn read_line(from: &mut UnixStream) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    for byte in from.bytes().take(LINE_BYTES_MAX) {
        match byte.context("the running program ended the conversation")? {
            b'\n' => return Ok(line),
            byte => line.push(byte),
        }
    }
    anyhow::bail!("the running program ended the conversation")
}

/// Has `vault` checked in a thread that may block.
pub(super) async fn verify_aside(vault: Arc<Vault>, actor: Actor) -> Result<Answer, Refusal> {
    let checked = tokio::task::spawn_blocking(move || verify(&vault, actor)).await;
    checked.unwrap_or_else(|_| Err(Refusal::new("the check of the vault failed")))
}

// === impl Verified ===

impl From<VerifyReport> for Verified {
    fn from(report: VerifyReport) -> Self {
        let is_whole = report.is_whole();
        let VerifyReport { counter, rows, apart, refused, findings } = report;
        let row = |(collection, rows): (&str, u64)| Rows { collection: collection.into(), rows };
        let found =
            |found: vault::Finding| Found { collection: found.collection.into(), row: found.row };
        Self {
            is_whole,
            counter,
            rows: rows.into_iter().map(row).collect(),
            apart: apart.into_iter().map(Box::from).collect(),
            refused,
            findings: findings.into_iter().map(found).collect(),
        }
    }
}
