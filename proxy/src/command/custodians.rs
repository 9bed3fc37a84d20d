//! `orchestra custodians`

use super::{Output, ask, load, terminal};
use crate::admin::{AddCustodian, Custodian, Request};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use conf::Source;
use std::path::Path;

const ADD_EXAMPLES: &str = "\
Examples:
  orchestra custodians add alice
  orchestra custodians add bob --secret file:/media/bob/secret --accept

The secret is typed at the terminal, or is where --secret says. It has 12 to 256 bytes, belongs to
one person, and is kept only as a slow keyed hash. Who adds custodians is in the audit log.";

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

// === impl Command ===

impl Command {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let config = load(conf)?;
        let (request, output) = match self {
            Self::Add(add) => add.request()?,
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
        let secret = match secret {
            Some(source) => source.read().context("--secret")?,
            None => terminal::ask_secret(&format!("The secret of {name}"))?,
        };
        Ok((Request::AddCustodian(AddCustodian { name, secret }), output))
    }
}
