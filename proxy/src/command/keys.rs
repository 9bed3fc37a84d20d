//! `orchestra keys`

use super::{Output, ask, load, merchants, terminal};
use crate::admin::{self, CreateKey, EXPIRES_DAYS_MAX, Key, Merchant, Request};
use anyhow::Result;
use clap::{Args, Subcommand};
use model::{KeyId, MerchantId, Scope};
use std::path::Path;

const CREATE_EXAMPLES: &str = "\
Examples:
  orchestra keys create --merchant acme --name till
  orchestra keys create --merchant acme --name backoffice --scopes accounts,tokens,reveal
  orchestra keys create --merchant acme --name trial --expires-days 30 --test > api-key

The key is the only thing on the standard output. It is not shown again: only a keyed hash is kept.
A merchant may have several keys at once, so that one can be exchanged without a pause. Scopes:
  payments   charge, authorize, capture, void, refund, status
  tokens     make, describe and delete tokens
  accounts   read and write gateway accounts; credentials are answered masked
  reveal     read the text behind a token, which puts its holder into the scope of PCI DSS";

const LIST_EXAMPLES: &str = "\
Examples:
  orchestra keys list --merchant acme
  orchestra keys list --merchant acme --json";

const REVOKE_EXAMPLES: &str = "\
Example:
  orchestra keys revoke 8jZq0TxWb3Lm

The id is what `keys list` shows, and the part of a key between its second and third `_`. It takes
effect with the next request.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key, and print it this one time.
    Create(Create),
    /// List the keys of a merchant.
    List(List),
    /// Take a key out of use, at once and for good.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct Create {
    /// Whose key it is.
    #[arg(long, value_name = "MERCHANT", value_parser = merchants::parse)]
    merchant: MerchantId,
    /// What to call it: 1 to 64 characters, shown in lists and answered as `userName`.
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Box<str>,
    /// What it may be used for: any of payments, tokens, accounts, reveal.
    #[arg(
        long,
        value_name = "SCOPE,..",
        value_delimiter = ',',
        value_parser = scope,
        default_value = "payments,tokens"
    )]
    scopes: Vec<Scope>,
    /// After how many days it is no longer good, up to 3650. Without this it is good until revoked.
    #[arg(long, value_name = "DAYS",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(EXPIRES_DAYS_MAX)))]
    expires_days: Option<u32>,
    /// Make a key that begins with `ork_test_` and says of itself that it is for a sandbox.
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct List {
    /// Whose keys.
    #[arg(long, value_name = "MERCHANT", value_parser = merchants::parse)]
    merchant: MerchantId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub(super) struct Revoke {
    /// The 12 characters by which the key is listed.
    #[arg(value_name = "ID", value_parser = id)]
    id: KeyId,
    #[command(flatten)]
    output: Output,
}

fn name(text: &str) -> Result<Box<str>, &'static str> {
    let well_formed = admin::is_key_name(text);
    well_formed.then(|| text.into()).ok_or("expected 1 to 64 printable characters")
}

fn scope(word: &str) -> Result<Scope, &'static str> {
    Scope::by_word(word).ok_or("expected payments, tokens, accounts or reveal")
}

fn id(text: &str) -> Result<KeyId, &'static str> {
    KeyId::parse(text).map_err(|_| "expected the 12 characters that `keys list` shows")
}

// === impl Command ===

impl Command {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let (request, output) = match self {
            Self::Create(create) => create.request(),
            Self::List(List { merchant, output }) => {
                (Request::ListKeys(Merchant { merchant }), output)
            }
            Self::Revoke(Revoke { id, output }) => (Request::RevokeKey(Key { id }), output),
        };
        terminal::show(&ask(&load(conf)?, request)?, output.json)
    }
}

// === impl Create ===

impl Create {
    fn request(self) -> (Request, Output) {
        let Self { merchant, name, mut scopes, expires_days, test, output } = self;
        scopes.sort_unstable();
        scopes.dedup();
        let key = CreateKey { merchant, name, is_sandbox: test, scopes, expires_days };
        (Request::CreateKey(key), output)
    }
}
