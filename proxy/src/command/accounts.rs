//! `orchestra accounts`

use super::{Output, ask, load, merchants, terminal};
use crate::admin::{self, Account, Merchant, PutAccount, Request};
use anyhow::{Context, Result, anyhow};
use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command as Clap, Subcommand, error};
use conf::Source;
use model::{AccountName, Credentials, MerchantId, Secret};
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// How much may come from the standard input: all credentials there can be, and their line ends.
const INPUT_BYTES_MAX: usize = 65_536;

const PUT_EXAMPLES: &str = "\
Examples:
  orchestra accounts put stripe-primary --merchant acme --gateway Stripe < stripe.credentials
  orchestra accounts put adyen-backup --merchant acme --gateway Adyen \\
      --credential ApiKey=file:/run/secrets/adyen --credential MerchantAccount=env:ADYEN_MERCHANT

Credentials come from the standard input, one `Name=Value` a line, or from files and variables that
--credential names. They are never arguments, because everyone on a machine can read those. Which
names a gateway has is what GET /PaymentGateway and docs/reference/providers.md say. An account that
is there is replaced as a whole.";

const LIST_EXAMPLES: &str = "\
Examples:
  orchestra accounts list --merchant acme
  orchestra accounts list --merchant acme --json";

const DELETE_EXAMPLES: &str = "\
Example:
  orchestra accounts delete stripe-primary --merchant acme

It cannot be brought back. Payments that name it are refused from then on.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add an account, or replace one.
    Put(Put),
    /// List the accounts of a merchant, without their credentials.
    List(List),
    /// Delete an account and its credentials.
    Delete(Delete),
}

#[derive(Debug, Args)]
#[command(after_help = PUT_EXAMPLES)]
pub(super) struct Put {
    /// What to call it: 3 to 64 letters, digits, `-` and `_`.
    #[arg(value_name = "NAME", value_parser = parse)]
    name: AccountName,
    /// Whose account it is.
    #[arg(long, value_name = "MERCHANT", value_parser = merchants::parse)]
    merchant: MerchantId,
    /// The gateway: Adyen, NULLFailure, NULLSuccess or Stripe, in any case.
    #[arg(long, value_name = "GATEWAY")]
    gateway: Box<str>,
    /// A credential, and where it is: Name=file:PATH or Name=env:VARIABLE. May be repeated.
    #[arg(long = "credential", value_name = "NAME=REFERENCE", value_parser = Unquoted)]
    credentials: Vec<Reference>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct List {
    /// Whose accounts.
    #[arg(long, value_name = "MERCHANT", value_parser = merchants::parse)]
    merchant: MerchantId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = DELETE_EXAMPLES)]
pub(super) struct Delete {
    /// Its name.
    #[arg(value_name = "NAME", value_parser = parse)]
    name: AccountName,
    /// Whose account it is.
    #[arg(long, value_name = "MERCHANT", value_parser = merchants::parse)]
    merchant: MerchantId,
    #[command(flatten)]
    output: Output,
}

/// The name of a credential, and where its value is.
#[derive(Clone, Debug)]
struct Reference {
    name: Box<str>,
    source: Source,
}

/// Reads a [`Reference`]. Its error does not repeat the argument, which may hold a secret.
#[derive(Clone, Debug)]
struct Unquoted;

fn parse(text: &str) -> Result<AccountName, &'static str> {
    AccountName::parse(text).map_err(|_| "expected 3 to 64 letters, digits, - and _")
}

/// Reads `Name=Value` lines.
fn pairs(input: &[u8]) -> Result<Vec<(Box<str>, Secret)>> {
    let text = std::str::from_utf8(input).map_err(|_| anyhow!("the credentials are not text"))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(nth, line)| {
            let pair = line.split_once('=').map(|(name, value)| (name.trim(), value));
            let (name, value) = pair.filter(|(name, _)| !name.is_empty()).with_context(|| {
                format!("line {} of the credentials is not Name=Value", nth.saturating_add(1))
            })?;
            Ok((name.into(), Secret::new(value)))
        })
        .collect()
}

fn read_input() -> Result<Vec<(Box<str>, Secret)>> {
    let input = io::stdin().lock();
    if input.is_terminal() {
        terminal::complain("Credentials, one Name=Value a line, then Ctrl-D (they are shown):");
    }
    // Room for all of it from the start: growing would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(INPUT_BYTES_MAX.saturating_add(64)));
    let limit = u64::try_from(INPUT_BYTES_MAX.saturating_add(1))?;
    input.take(limit).read_to_end(&mut text)?;
    if text.len() > INPUT_BYTES_MAX {
        return Err(anyhow!("the credentials are longer than {INPUT_BYTES_MAX} bytes"));
    }
    pairs(&text)
}

// === impl Command ===

impl Command {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let config = load(conf)?;
        let (request, output) = match self {
            Self::Put(put) => put.request()?,
            Self::List(List { merchant, output }) => {
                (Request::ListAccounts(Merchant { merchant }), output)
            }
            Self::Delete(Delete { name, merchant, output }) => {
                (Request::DeleteAccount(Account { merchant, name }), output)
            }
        };
        terminal::show(&ask(&config, request)?, output.json)
    }
}

// === impl Put ===

impl Put {
    fn request(self) -> Result<(Request, Output)> {
        let credentials = self.credentials()?;
        let Self { name, merchant, gateway, output, .. } = self;
        Ok((Request::PutAccount(PutAccount { merchant, name, gateway, credentials }), output))
    }

    fn credentials(&self) -> Result<Credentials> {
        let provider = providers::by_gateway(&self.gateway).with_context(|| {
            format!("there is no such gateway; there are {}", admin::gateways())
        })?;
        let pairs = if provider.gateway().credentials.is_empty() {
            Vec::new()
        } else if self.credentials.is_empty() {
            read_input()?
        } else {
            self.credentials.iter().map(Reference::read).collect::<Result<_>>()?
        };
        admin::credentials(pairs).map_err(|problem| anyhow!(problem))
    }
}

// === impl Reference ===

impl Reference {
    fn read(&self) -> Result<(Box<str>, Secret)> {
        let secret = self.source.read().with_context(|| self.name.clone())?;
        Ok((self.name.clone(), secret))
    }
}

// === impl Unquoted ===

impl TypedValueParser for Unquoted {
    type Value = Reference;

    fn parse_ref(
        &self,
        command: &Clap,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Reference, clap::Error> {
        let text = StringValueParser::new().parse_ref(command, argument, value)?;
        let (name, place) = text.split_once('=').unwrap_or_default();
        match Source::parse(place, Path::new("")) {
            Some(source) if !name.is_empty() => Ok(Reference { name: name.into(), source }),
            _ => {
                let problem = "--credential takes Name=file:PATH or Name=env:VARIABLE\n";
                let kind = error::ErrorKind::ValueValidation;
                Err(clap::Error::raw(kind, problem).with_cmd(command))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn lines_become_pairs() {
        let read = pairs(b"SecretKey=sk_test=1\r\n\n  MerchantAccount = Acme ECOM\n").unwrap();
        let text: Vec<_> = read
            .iter()
            // Exposed to compare it with what was written.
            .map(|(name, value)| (&**name, value.expose()))
            .collect();
        assert_eq!(text, [("SecretKey", "sk_test=1"), ("MerchantAccount", " Acme ECOM")]);
    }

    #[test]
    fn what_is_no_pair_is_named_by_its_line_and_not_shown() {
        for input in [&b"A=b\ncanary\n"[..], b"A=b\n=canary\n"] {
            let error = format!("{:#}", pairs(input).unwrap_err());
            assert_eq!(error, "line 2 of the credentials is not Name=Value");
        }
        assert!(!format!("{:?}", pairs(b"canary\xff").unwrap_err()).contains("canary"));
    }
}
