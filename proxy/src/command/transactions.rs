//! `orchestra transactions`

use super::{Output, accounts, ask, load, merchants, terminal};
use crate::admin::{
    ListTransactions, Request, Resolve as Wanted, Statement, Transaction, Transactions, Verdict,
};
use anyhow::Result;
use clap::{Args, Subcommand};
use model::{AccountName, MerchantId, State, TransactionId};
use std::path::Path;

const LIST_EXAMPLES: &str = "\
Examples:
  orchestra transactions list --in-doubt
  orchestra transactions list --merchant acme --state Unknown
  orchestra transactions list --merchant acme --account stripe-primary --json

At most 100 lines; the last line says how to go on.";

const SHOW_EXAMPLES: &str = "\
Example:
  orchestra transactions show 019f8c2a7b3d4e5f60718293a4b5c6d7

It shows what each account was asked and said, what was done to the payment afterwards, and, where
something is in doubt, how often its provider was asked, why that is no answer, and when it is asked again.";

const RESOLVE_EXAMPLES: &str = "\
Examples:
  orchestra transactions resolve 019f8c2a7b3d4e5f60718293a4b5c6d7
  orchestra transactions resolve 019f8c2a7b3d4e5f60718293a4b5c6d7 --as not-executed \\
      --by ada --reason 'Adyen support, case 4711: never received'
  orchestra transactions resolve 019f8c2a7b3d4e5f60718293a4b5c6d7 --as succeeded \\
      --reference 8835511210681234 --by ada --reason 'seen in the Customer Area'

The provider is asked first, and its answer counts. Only where it has none does what you say count. It
sends nothing that moves money, and what it says is in the audit log with your name. What contradicts what
the provider has said is refused, and so is not-executed while the provider may still carry it out.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List payments, or what is in doubt.
    List(List),
    /// Show a payment, what was done to it, and what is in doubt.
    Show(Show),
    /// Ask now what became of something in doubt, or say so.
    Resolve(Resolve),
}

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct List {
    /// Whose payments. Needed without --in-doubt.
    #[arg(long, value_name = "MERCHANT", value_parser = merchants::parse)]
    merchant: Option<MerchantId>,
    /// Only what this account was asked for.
    #[arg(long, value_name = "NAME", value_parser = accounts::parse)]
    account: Option<AccountName>,
    /// Only in this state, such as Unknown or Authorized.
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    state: Option<State>,
    /// Only what is in doubt, of all merchants unless one is named.
    #[arg(long)]
    in_doubt: bool,
    /// Only what comes after this one.
    #[arg(long, value_name = "ID", value_parser = parse)]
    after: Option<TransactionId>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(super) struct Show {
    /// Its name.
    #[arg(value_name = "ID", value_parser = parse)]
    id: TransactionId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = RESOLVE_EXAMPLES)]
pub(super) struct Resolve {
    /// The name of what is in doubt: of a payment, or of a change of one.
    #[arg(value_name = "ID", value_parser = parse)]
    id: TransactionId,
    /// What became of it, where its provider does not say: declined, not-executed or succeeded.
    #[arg(long = "as", value_name = "OUTCOME", value_parser = parse_verdict, requires_all = ["by", "reason"])]
    verdict: Option<Verdict>,
    /// Who says so.
    #[arg(long, value_name = "NAME", requires = "verdict")]
    by: Option<Box<str>>,
    /// How you know. No card numbers.
    #[arg(long, value_name = "TEXT", requires = "verdict")]
    reason: Option<Box<str>>,
    /// The provider's name for it, which captures, refunds and voids need.
    #[arg(long, value_name = "REFERENCE", requires = "verdict")]
    reference: Option<Box<str>>,
    #[command(flatten)]
    output: Output,
}

fn parse(text: &str) -> Result<TransactionId, &'static str> {
    TransactionId::parse(text).map_err(|_| "expected 32 of 0 to 9 and a to f")
}

fn parse_state(text: &str) -> Result<State, String> {
    let found = State::ALL.into_iter().find(|state| state.word().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("expected one of {}", State::ALL.map(State::word).join(", ")))
}

fn parse_verdict(text: &str) -> Result<Verdict, String> {
    let found = Verdict::ALL.into_iter().find(|verdict| verdict.word() == text);
    found.ok_or_else(|| format!("expected one of {}", Verdict::ALL.map(Verdict::word).join(", ")))
}

// === impl Command ===

impl Command {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let (asked, output) = match self {
            Self::List(List { merchant, account, state, in_doubt, after, output }) => {
                let list = ListTransactions { merchant, account, state, in_doubt, after };
                (Transactions::List(list), output)
            }
            Self::Show(Show { id, output }) => (Transactions::Show(Transaction { id }), output),
            Self::Resolve(resolve) => resolve.request(),
        };
        let answer = ask(&load(conf)?, Request::Transactions(asked))?;
        terminal::show(&answer, output.json)
    }
}

// === impl Resolve ===

impl Resolve {
    fn request(self) -> (Transactions, Output) {
        let Self { id, verdict, by, reason, reference, output } = self;
        let statement = verdict.map(|verdict| Statement {
            verdict,
            reason: reason.unwrap_or_default(),
            by: by.unwrap_or_default(),
            reference,
        });
        (Transactions::Resolve(Wanted { id, statement }), output)
    }
}
