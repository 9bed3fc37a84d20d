//! `orchestra merchants`

use super::{Output, ask, load, terminal};
use crate::admin::{Merchant, Request};
use anyhow::Result;
use clap::{Args, Subcommand};
use model::MerchantId;
use std::path::Path;

const CREATE_EXAMPLES: &str = "\
Example:
  orchestra merchants create acme

A merchant has keys, accounts and tokens of its own, encrypted with keys of its own. To create one
that is there changes nothing.";

const LIST_EXAMPLES: &str = "\
Examples:
  orchestra merchants list
  orchestra merchants list --json";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a merchant.
    Create(Create),
    /// List all merchants.
    List(List),
}

#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct Create {
    /// Its name: 3 to 64 of a to z, 0 to 9 and `-`.
    #[arg(value_name = "MERCHANT", value_parser = parse)]
    merchant: MerchantId,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

/// Reads the name of a merchant.
pub(super) fn parse(text: &str) -> Result<MerchantId, &'static str> {
    MerchantId::parse(text).map_err(|_| "expected 3 to 64 of a to z, 0 to 9 and -")
}

// === impl Command ===

impl Command {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let (request, output) = match self {
            Self::Create(Create { merchant, output }) => {
                (Request::CreateMerchant(Merchant { merchant }), output)
            }
            Self::List(List { output }) => (Request::ListMerchants, output),
        };
        terminal::show(&ask(&load(conf)?, request)?, output.json)
    }
}
