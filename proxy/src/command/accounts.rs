//! `orchestra accounts`

use super::{Output, ask, load, merchants, terminal};
use crate::admin::{self, Account, Answer, Merchant, OneAccount, PutAccount, Request};
use anyhow::{Context, Result, anyhow};
use clap::builder::{StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command as Clap, Subcommand, error};
use conf::Source;
use model::{AccountName, Credentials, MerchantId, Secret};
use providers::Validity;
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

const SHOW_EXAMPLES: &str = "\
Example:
  orchestra accounts show stripe-primary --merchant acme

What is secret is masked. What is staged is shown with its state, its share, and how often both
credentials were used and refused since the program started.";

const VALIDATE_EXAMPLES: &str = "\
Examples:
  orchestra accounts validate stripe-primary --merchant acme
  orchestra accounts validate stripe-primary --merchant acme --staged

The gateway is asked once, and no money moves. The result is one of: Valid, AccountUnknown,
CredentialsRefused, NotUnderstood, PermissionMissing, ProviderUnavailable.";

const STAGE_EXAMPLES: &str = "\
Examples:
  orchestra accounts stage stripe-primary --merchant acme < new.credentials
  orchestra accounts stage stripe-primary --merchant acme --credential SecretKey=file:/run/secrets/new

Credentials are given as for `accounts put`, for the same account at the gateway. They get no payments
before `accounts switch`.";

const SWITCH_EXAMPLES: &str = "\
Examples:
  orchestra accounts switch stripe-primary 10 --merchant acme
  orchestra accounts switch stripe-primary 100 --merchant acme

What is staged must have been validated, unless --force is given. When the gateway refuses it for 3
payments within 60 seconds, no payments use it any more.";

const RETIRE_EXAMPLES: &str = "\
Example:
  orchestra accounts retire stripe-primary --merchant acme

What is staged becomes all that there is; the old credentials are destroyed. It must get all payments.";

const UNSTAGE_EXAMPLES: &str = "\
Example:
  orchestra accounts unstage stripe-primary --merchant acme

All payments use the credentials in use again, and what was staged is gone.";

const LIST_EXAMPLES: &str = "\
Examples:
  orchestra accounts list --merchant acme
  orchestra accounts list --merchant acme --json";

const DELETE_EXAMPLES: &str = "\
Example:
  orchestra accounts delete stripe-primary --merchant acme

It cannot be brought back. Payments that name it are refused from then on.";

const DISABLE_EXAMPLES: &str = "\
Example:
  orchestra accounts disable stripe-primary --merchant acme

A payment that names it is refused, and one that would fall back to it leaves it out. What was made
there can still be captured, refunded, voided and asked about.";

const ENABLE_EXAMPLES: &str = "\
Example:
  orchestra accounts enable stripe-primary --merchant acme";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add an account, or replace one.
    Put(Put),
    /// List the accounts of a merchant, without their credentials.
    List(List),
    /// Delete an account and its credentials.
    Delete(Delete),
    /// Send no new payments to an account.
    #[command(after_help = DISABLE_EXAMPLES)]
    Disable(Named),
    /// Send new payments to an account again.
    #[command(after_help = ENABLE_EXAMPLES)]
    Enable(Named),
    /// Show an account, its secrets masked, and what is staged.
    #[command(after_help = SHOW_EXAMPLES)]
    Show(Named),
    /// Ask the gateway whether the credentials are good.
    Validate(Validate),
    /// Put new credentials beside those in use.
    Stage(Stage),
    /// Give what is staged a share of the payments.
    Switch(Switch),
    /// Make what is staged the only credentials, and destroy the old ones.
    #[command(after_help = RETIRE_EXAMPLES)]
    Retire(Named),
    /// Drop what is staged.
    #[command(after_help = UNSTAGE_EXAMPLES)]
    Unstage(Named),
}

/// An account, by its name and its merchant.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// Its name.
    #[arg(value_name = "NAME", value_parser = parse)]
    name: AccountName,
    /// Whose account it is.
    #[arg(long, value_name = "MERCHANT", value_parser = merchants::parse)]
    merchant: MerchantId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = VALIDATE_EXAMPLES)]
pub(super) struct Validate {
    #[command(flatten)]
    named: Named,
    /// Ask about what is staged, and not about what is in use.
    #[arg(long)]
    staged: bool,
}

#[derive(Debug, Args)]
#[command(after_help = STAGE_EXAMPLES)]
pub(super) struct Stage {
    #[command(flatten)]
    named: Named,
    /// A credential, and where it is: Name=file:PATH or Name=env:VARIABLE. May be repeated.
    #[arg(long = "credential", value_name = "NAME=REFERENCE", value_parser = Unquoted)]
    credentials: Vec<Reference>,
}

#[derive(Debug, Args)]
#[command(after_help = SWITCH_EXAMPLES)]
pub(super) struct Switch {
    #[command(flatten)]
    named: Named,
    /// Of how many payments in a hundred: 0 to 100.
    #[arg(value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    /// Switch although what is staged was not found to be good.
    #[arg(long)]
    force: bool,
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
    #[arg(long, value_name = "GATEWAY",
        help = format!("The gateway, in any case: one of {}", admin::gateways()))]
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

/// Reads the name of an account.
pub(super) fn parse(text: &str) -> Result<AccountName, &'static str> {
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
            Self::Disable(named) => named.into_request(OneAccount::Disable),
            Self::Enable(named) => named.into_request(OneAccount::Enable),
            Self::Show(named) => named.into_request(OneAccount::Show),
            Self::Validate(Validate { named: Named { name, merchant, output }, staged }) => {
                let one = OneAccount::Validate(admin::Validate { merchant, name, staged });
                (Request::OneAccount(one), output)
            }
            Self::Stage(stage) => stage.request()?,
            Self::Switch(Switch { named: Named { name, merchant, output }, percent, force }) => {
                let one = OneAccount::Switch(admin::Switch { merchant, name, percent, force });
                (Request::OneAccount(one), output)
            }
            Self::Retire(named) => named.into_request(OneAccount::Retire),
            Self::Unstage(named) => named.into_request(OneAccount::Unstage),
        };
        let answer = ask(&config, request)?;
        terminal::show(&answer, output.json)?;
        // For scripts: what is not good ends with another status.
        if let Answer::Validity(line) = answer
            && line.result != Validity::Valid.word()
        {
            return Err(anyhow!("the gateway does not take the credentials, or was not reached"));
        }
        Ok(())
    }
}

// === impl Named ===

impl Named {
    fn into_request(self, one: impl FnOnce(Account) -> OneAccount) -> (Request, Output) {
        let Self { name, merchant, output } = self;
        (Request::OneAccount(one(Account { merchant, name })), output)
    }
}

// === impl Stage ===

impl Stage {
    fn request(self) -> Result<(Request, Output)> {
        let pairs = given(&self.credentials)?;
        let credentials = admin::credentials(pairs).map_err(|problem| anyhow!(problem))?;
        let Named { name, merchant, output } = self.named;
        let one = OneAccount::Stage(admin::Stage { merchant, name, credentials });
        Ok((Request::OneAccount(one), output))
    }
}

/// Credentials from where the arguments say, or else from the standard input.
fn given(references: &[Reference]) -> Result<Vec<(Box<str>, Secret)>> {
    if references.is_empty() {
        read_input()
    } else {
        references.iter().map(Reference::read).collect()
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
        } else {
            given(&self.credentials)?
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
