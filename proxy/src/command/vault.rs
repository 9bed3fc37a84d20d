//! `orchestra vault`

use super::backup::{Backup, Restore, VerifyBackup};
use super::custodians::secret_of;
use super::rotate::{Destroy, Rotate, Shred};
use super::{Output, ask, load, settings, terminal};
use crate::admin::{Answer, Request};
use crate::clock;
use anyhow::{Context, Result, ensure};
use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command as Clap, Subcommand, error};
use conf::{Config, Source};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::Path;
use vault::{Approval, Vault};

const INIT_EXAMPLES: &str = "\
Examples:
  orchestra vault init
  orchestra vault init --create-token --so-pin file:/etc/orchestra/so-pin

It makes a key inside the token that vault.token_label names, which never leaves it, and an empty
store in vault.directory. What is there is never overwritten. With --create-token it first makes the
token, in a free slot of vault.module, with the security officer's PIN that --so-pin names and the
user PIN that vault.pin names. Back up both: the store is worth nothing without the token.";

const STATUS_EXAMPLES: &str = "\
Examples:
  orchestra vault status
  orchestra vault status --json";

const KEYS_EXAMPLES: &str = "\
Examples:
  orchestra vault keys
  orchestra vault keys --json

Every key that there is or was: its state, when it was made and on whose word, and how many records
it sealed (rounded up after a crash). No key is shown.";

const ACCEPT_EXAMPLES: &str = "\
Examples:
  orchestra vault accept-restored --custodian alice
  orchestra vault accept-restored --custodian bob --secret file:/media/bob/secret --yes

The token remembers how new the list of keys is, so that nobody puts an older copy of the store in
its place. Do this once after you put such a copy of the files back, with `serve` not running; `vault
restore` does it itself. It takes two custodians of the vault that was put back: the first one's word
is good for 24 hours, and the second one's does it. A vault that has no custodians takes nobody's.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  orchestra vault verify
  orchestra vault verify --json

It opens every record and drops what is in it, unwraps every key, and compares all rows with the
ledger of the vault: a row that was changed, put back to an older form, taken away or brought back
is found. It works while the program serves. The status is 1 when something is not as it was written.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Open a vault whose files you put back, and let the token believe it.
    AcceptRestored(Accept),
    /// Write a backup while the program serves.
    Backup(Backup),
    /// Destroy a key in the token that wraps nothing any more.
    DestroyKek(Destroy),
    /// Make a vault: a key in the hardware security module, and an empty store.
    Init(Init),
    /// List all keys with their states. Shows no key.
    Keys(Keys),
    /// Exchange keys while everything goes on.
    Rotate(Rotate),
    /// Destroy the keys of a merchant, so that nothing of it can be opened.
    Shred(Shred),
    /// Say whether the vault works, and what is in it. Shows no secret.
    Status(Status),
    /// Make a vault of a backup, in an empty place.
    Restore(Restore),
    /// Read and check everything.
    Verify(Verify),
    /// Check that a backup is whole and genuine.
    VerifyBackup(VerifyBackup),
}

#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(super) struct Verify {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = INIT_EXAMPLES)]
pub(super) struct Init {
    /// Make the token as well.
    #[arg(long, requires = "so_pin")]
    create_token: bool,
    /// Where the security officer's PIN for the new token is: file:PATH or env:VARIABLE.
    #[arg(long, value_name = "REFERENCE", requires = "create_token", value_parser = Unquoted)]
    so_pin: Option<Source>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(super) struct Status {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = KEYS_EXAMPLES)]
pub(super) struct Keys {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = ACCEPT_EXAMPLES)]
pub(super) struct Accept {
    /// Which custodian says so.
    #[arg(long, value_name = "NAME")]
    custodian: Option<Box<str>>,
    /// Where the custodian's secret is, file:PATH or env:VARIABLE, instead of typing it.
    #[arg(long, value_name = "REFERENCE", requires = "custodian", value_parser = Unquoted)]
    secret: Option<Source>,
    /// Do it without asking, for scripts.
    #[arg(long)]
    yes: bool,
}

/// What `vault init` made.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    directory: &'a Path,
    key_id: &'a str,
    token_label: &'a str,
    token_serial: &'a str,
}

/// Reads a reference. Its error does not repeat the argument, which may be a PIN.
#[derive(Clone, Debug)]
pub(super) struct Unquoted;

// === impl Command ===

impl Command {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        match self {
            Self::AcceptRestored(accept) => accept.run(&load(conf)?),
            Self::DestroyKek(destroy) => destroy.run(conf),
            Self::Keys(Keys { output }) => {
                terminal::show(&ask(&load(conf)?, Request::VaultKeys)?, output.json)
            }
            Self::Rotate(rotate) => rotate.run(conf),
            Self::Shred(shred) => shred.run(conf),
            Self::Backup(backup) => backup.run(&load(conf)?),
            Self::Init(init) => init.run(&load(conf)?),
            Self::Restore(restore) => restore.run(&load(conf)?),
            Self::Status(Status { output }) => {
                terminal::show(&ask(&load(conf)?, Request::Status)?, output.json)
            }
            Self::Verify(Verify { output }) => verify(&load(conf)?, &output),
            Self::VerifyBackup(check) => check.run(conf),
        }
    }
}

// === impl Accept ===

impl Accept {
    fn run(self, config: &Config) -> Result<()> {
        let Self { custodian, secret, yes } = self;
        if !yes {
            let answer = terminal::ask("Type `restored` if you put this copy here yourself")?;
            ensure!(answer == "restored", "nothing was done");
        }
        let word = custodian.map(|name| Ok::<_, anyhow::Error>((secret_of(&name, secret)?, name)));
        let word = word.transpose()?;
        let word = word.as_ref().map(|(secret, name)| (&**name, secret));
        match Vault::accept_restored(&settings(config)?, word, clock::now_seconds())? {
            Approval::Waits { until } => {
                let until = clock::timestamp(until.saturating_mul(1_000));
                terminal::say(&format!("Another custodian must say the same by {until}."))
            }
            Approval::Done { .. } => terminal::say("The token now believes this vault, as it is."),
        }
    }
}

/// Shows what a check of everything found, and fails when that is something.
fn verify(config: &Config, output: &Output) -> Result<()> {
    let answer = ask(config, Request::Verify)?;
    terminal::show(&answer, output.json)?;
    let is_whole = matches!(&answer, Answer::Verified(verified) if verified.is_whole);
    ensure!(is_whole, "the vault is not as it was written: see `docs/operating/backup.md`");
    Ok(())
}

// === impl Init ===

impl Init {
    fn run(self, config: &Config) -> Result<()> {
        let settings = settings(config)?;
        if let Some(so_pin) = &self.so_pin {
            let so_pin = so_pin.read().context("--so-pin")?;
            Vault::init_token(&settings.module, &settings.token_label, &so_pin, &settings.pin)?;
        }
        let report = Vault::init(&settings)?;
        Made {
            directory: &settings.directory,
            key_id: &report.kek,
            token_label: &report.token_label,
            token_serial: &report.token_serial,
        }
        .show(&self.output)
    }
}

// === impl Made ===

impl Made<'_> {
    fn show(&self, output: &Output) -> Result<()> {
        if output.json {
            return terminal::say(&terminal::json(self)?);
        }
        let Self { directory, key_id, token_label, token_serial } = self;
        terminal::say(&format!(
            "The vault in {} is made. Its key {key_id} is in the token {token_label} (serial \
             {token_serial}).\nBack up the token and the directory together.",
            directory.display()
        ))
    }
}

// === impl Unquoted ===

impl TypedValueParser for Unquoted {
    type Value = Source;

    fn parse_ref(
        &self,
        command: &Clap,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Source, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, argument, value)?;
        Source::parse(&text, Path::new("")).ok_or_else(|| {
            let name = argument.and_then(Arg::get_long).unwrap_or_default();
            let problem = format!("--{name} takes file:PATH or env:VARIABLE\n");
            clap::Error::raw(error::ErrorKind::ValueValidation, problem).with_cmd(command)
        })
    }
}
