//! `orchestra custodians`

use super::{Output, ask, load, terminal};
use crate::admin::{AddCustodian, ApproveCustodian, Custodian, Request};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use conf::Source;
use model::Secret;
use std::path::Path;

const ADD_EXAMPLES: &str = "\
Examples:
  orchestra custodians add alice
  orchestra custodians add bob --secret file:/media/bob/secret --accept

The secret is typed at the terminal, twice, or is where --secret says. It has 12 to 256 bytes, belongs to
one person, and is kept only as a slow keyed hash. Who adds custodians is in the audit log.";

const APPROVE_EXAMPLES: &str = "\
Examples:
  orchestra custodians approve carol --custodian alice
  orchestra custodians approve carol --custodian alice --secret file:/media/alice/secret

The secret is that of the custodian who approves. The word of the new one counts 72 hours after they
were added, instead of 30 days. Both are in the audit log.";

const LIST_EXAMPLES: &str = "\
Examples:
  orchestra custodians list
  orchestra custodians list --json";

const REMOVE_EXAMPLES: &str = "\
Example:
  orchestra custodians remove alice";

/// What a custodian accepts (PCI DSS 3.7.8).
const RESPONSIBILITY: &str = "\
As a key custodian you keep your secret to yourself, approve the exchange of the key in the hardware
security module only when you know that it is due, and report at once when the secret may be known
to anybody else.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make somebody a key custodian.
    Add(Add),
    /// Approve a new custodian, as one whose word counts.
    Approve(Approve),
    /// List the custodians.
    List(List),
    /// Take somebody out of the custodians.
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
pub(super) struct Add {
    /// Who: 1 to 32 small letters, digits and `-`.
    #[arg(value_name = "NAME")]
    name: Box<str>,
    /// Where the secret is, file:PATH or env:VARIABLE, instead of typing it.
    #[arg(long, value_name = "REFERENCE", value_parser = super::vault::Unquoted)]
    secret: Option<Source>,
    /// Accept the responsibility of a custodian, which is asked for otherwise.
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = APPROVE_EXAMPLES)]
pub(super) struct Approve {
    /// The new custodian.
    #[arg(value_name = "NAME")]
    name: Box<str>,
    /// Which custodian approves.
    #[arg(long, value_name = "NAME")]
    custodian: Box<str>,
    /// Where that custodian's secret is, file:PATH or env:VARIABLE, instead of typing it.
    #[arg(long, value_name = "REFERENCE", value_parser = super::vault::Unquoted)]
    secret: Option<Source>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = REMOVE_EXAMPLES)]
pub(super) struct Remove {
    /// Who.
    #[arg(value_name = "NAME")]
    name: Box<str>,
    #[command(flatten)]
    output: Output,
}

/// The secret of a custodian: from where it is, or typed at the terminal.
pub(super) fn secret_of(name: &str, source: Option<Source>) -> Result<Secret> {
    secret(name, source, terminal::ask_secret)
}

fn secret(
    name: &str,
    source: Option<Source>,
    ask: impl FnOnce(&str) -> Result<Secret>,
) -> Result<Secret> {
    match source {
        Some(source) => source.read().context("--secret"),
        None => ask(&format!("The secret of {name}")),
    }
}

// === impl Command ===

impl Command {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let config = load(conf)?;
        let (request, output) = match self {
            Self::Add(add) => add.request()?,
            Self::Approve(approve) => approve.request()?,
            Self::List(List { output }) => (Request::ListCustodians, output),
            Self::Remove(Remove { name, output }) => {
                (Request::RemoveCustodian(Custodian { name }), output)
            }
        };
        terminal::show(&ask(&config, request)?, output.json)
    }
}

// === impl Add ===

impl Add {
    fn request(self) -> Result<(Request, Output)> {
        let Self { name, secret, accept, output } = self;
        if !accept {
            terminal::complain(RESPONSIBILITY);
            let answer = terminal::ask("Type `I accept` to accept this")?;
            ensure!(answer == "I accept", "nobody was made a custodian");
        }
        let secret = self::secret(&name, secret, terminal::ask_new_secret)?;
        Ok((Request::AddCustodian(AddCustodian { name, secret }), output))
    }
}

// === impl Approve ===

impl Approve {
    fn request(self) -> Result<(Request, Output)> {
        let Self { name, custodian: by, secret, output } = self;
        let secret = secret_of(&by, secret)?;
        Ok((Request::ApproveCustodian(ApproveCustodian { name, by, secret }), output))
    }
}
