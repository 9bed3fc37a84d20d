//! `orchestra vault rotate`, and what ends keys.

use super::custodians::secret_of;
use super::{Output, ask, ask_running, load, merchants, myself, open, terminal};
use crate::admin::{
    Answer, ApproveKek, DestroyKek, Request, RotateDeks, Rotation, Shred as ShredKeys, answer,
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use conf::{Config, Source};
use model::MerchantId;
use std::path::Path;
use std::time::Duration;
use vault::{Tended, Vault};

const ROTATE_EXAMPLES: &str = "\
Examples:
  orchestra vault rotate --dek
  orchestra vault rotate --dek --merchant acme
  orchestra vault rotate --kek --custodian alice
  orchestra vault rotate --kek --custodian bob --secret file:/media/bob/secret
  orchestra vault rotate --resume

It works while `serve` runs and goes on there; this command shows how far it is, and may be ended.
Without `serve` it works by itself, and what is cut off is gone on with by --resume, or by `serve`.
A new key in the token takes two custodians: the first one's word is good for 24 hours.";

const SHRED_EXAMPLES: &str = "\
Examples:
  orchestra vault shred --merchant acme --custodian alice
  orchestra vault shred --merchant acme --custodian bob --secret file:/media/bob/secret --yes

It destroys the keys of a merchant: nothing that is kept for it can be opened by anybody, its API
keys end at once, and its name is not given again. It cannot be undone, and takes two custodians:
the first one's word is good for 24 hours, and the second one's does it. Older copies of the wrapped
keys, as in backups, end when the key in the token is rotated and the old one destroyed.";

const DESTROY_EXAMPLES: &str = "\
Examples:
  orchestra vault destroy-kek 4f1d09aa63b2c7de --custodian alice
  orchestra vault destroy-kek 4f1d09aa63b2c7de --custodian bob --secret file:/media/bob/secret --yes

The id is what `vault keys` shows. No key may be wrapped with it any more. Backups from before the
rotation can then no longer be restored: make a new one first. It takes two custodians: the first
one's word is good for 24 hours, and the second one's does it.";

#[derive(Debug, Args)]
#[command(after_help = ROTATE_EXAMPLES)]
#[group(id = "which", required = true, multiple = false)]
pub(super) struct Rotate {
    /// Exchange the key in the token, and wrap all others anew. It takes two custodians.
    #[arg(long, group = "which", requires = "custodian")]
    kek: bool,
    /// Exchange data keys, and seal all records anew.
    #[arg(long, group = "which")]
    dek: bool,
    /// Show how far a rotation is that is under way, and go on with it.
    #[arg(long, group = "which")]
    resume: bool,
    /// Only the keys of this merchant.
    #[arg(long, value_name = "MERCHANT", requires = "dek", conflicts_with_all = ["kek", "resume"],
        value_parser = merchants::parse)]
    merchant: Option<MerchantId>,
    /// Which custodian approves.
    #[arg(long, value_name = "NAME", requires = "kek", conflicts_with_all = ["dek", "resume"])]
    custodian: Option<Box<str>>,
    /// Where the custodian's secret is, file:PATH or env:VARIABLE, instead of typing it.
    #[arg(long, value_name = "REFERENCE", requires = "custodian",
        value_parser = super::vault::Unquoted)]
    secret: Option<Source>,
    #[command(flatten)]
    output: Output,
}

/// Which custodian says so.
#[derive(Debug, Args)]
struct Word {
    /// Which custodian says so.
    #[arg(long = "custodian", value_name = "NAME")]
    name: Box<str>,
    /// Where the custodian's secret is, file:PATH or env:VARIABLE, instead of typing it.
    #[arg(long, value_name = "REFERENCE", value_parser = super::vault::Unquoted)]
    secret: Option<Source>,
}

#[derive(Debug, Args)]
#[command(after_help = SHRED_EXAMPLES)]
pub(super) struct Shred {
    /// Whose keys.
    #[arg(long, value_name = "MERCHANT", value_parser = merchants::parse)]
    merchant: MerchantId,
    #[command(flatten)]
    word: Word,
    /// Do it without asking twice, for scripts.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
#[command(after_help = DESTROY_EXAMPLES)]
pub(super) struct Destroy {
    /// Which key.
    #[arg(value_name = "ID")]
    id: Box<str>,
    #[command(flatten)]
    word: Word,
    /// Do it without asking twice, for scripts.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

/// How often is looked how far a rotation is.
const LOOK: Duration = Duration::from_millis(250);

// === impl Rotate ===

impl Rotate {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let config = load(conf)?;
        let json = self.output.json;
        let request = self.request()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let last = match runtime.block_on(ask_running(&config, &request))? {
            Some(first) => runtime.block_on(watch(&config, first))?,
            None => carry_out(&config, &runtime, request)?,
        };
        terminal::show(&last, json)
    }

    fn request(self) -> Result<Request> {
        let Self { kek, dek, merchant, custodian, secret, .. } = self;
        if dek {
            return Ok(Request::RotateDeks(RotateDeks { merchant: merchant.map(Into::into) }));
        }
        if !kek {
            return Ok(Request::Rotation);
        }
        let name = custodian.context("--custodian")?;
        let secret = secret_of(&name, secret)?;
        Ok(Request::ApproveKek(ApproveKek { name, secret }))
    }
}

/// Whether a rotation is under way, of which something may be shown.
fn under_way(answer: &Answer) -> Option<&Rotation> {
    let Answer::Rotation(rotation) = answer else { return None };
    rotation.what.is_some().then_some(rotation)
}

/// Shows how far the running program is, until it has ended.
async fn watch(config: &Config, first: Answer) -> Result<Answer> {
    let mut last = first;
    while let Some(rotation) = under_way(&last) {
        terminal::progress(rotation);
        tokio::time::sleep(LOOK).await;
        let next = ask_running(config, &Request::Rotation).await?;
        last = next.context("the running program has ended; it goes on when it runs again")?;
    }
    Ok(last)
}

/// Does the rotation here, where nothing serves.
fn carry_out(
    config: &Config,
    runtime: &tokio::runtime::Runtime,
    request: Request,
) -> Result<Answer> {
    let (vault, who) = (open(config)?, myself()?);
    let ask = |vault: &Vault, request| runtime.block_on(answer(vault, &who, request));
    let mut last = ask(&vault, request)?;
    while let Some(rotation) = under_way(&last) {
        terminal::progress(rotation);
        let since = std::time::Instant::now();
        while vault.progress().what.is_some() && since.elapsed() < LOOK {
            if let Tended::Worked(pause) = vault.tend(crate::clock::now_seconds()) {
                // Made within, since a timer belongs to the runtime that it is made in.
                runtime.block_on(async { tokio::time::sleep(pause).await });
            }
        }
        last = ask(&vault, Request::Rotation)?;
    }
    Ok(last)
}

// === impl Shred ===

impl Shred {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let Self { merchant, word: Word { name, secret }, yes, output } = self;
        if !yes {
            terminal::complain("Nothing of this merchant can be opened afterwards, by anybody.");
            confirm(&format!("Type the merchant's name, {merchant}"), merchant.as_str())?;
            confirm("Type `destroy` to destroy its keys", "destroy")?;
        }
        let secret = secret_of(&name, secret)?;
        let request = Request::Shred(ShredKeys { merchant, name, secret });
        terminal::show(&ask(&load(conf)?, request)?, output.json)
    }
}

// === impl Destroy ===

impl Destroy {
    pub(super) fn run(self, conf: &Path) -> Result<()> {
        let Self { id, word: Word { name, secret }, yes, output } = self;
        if !yes {
            terminal::complain("Backups from before the rotation cannot be restored afterwards.");
            confirm(&format!("Type the id of the key, {id}"), &id)?;
            confirm("Type `destroy` to destroy it", "destroy")?;
        }
        let secret = secret_of(&name, secret)?;
        let request = Request::DestroyKek(DestroyKek { id, name, secret });
        terminal::show(&ask(&load(conf)?, request)?, output.json)
    }
}

fn confirm(question: &str, expected: &str) -> Result<()> {
    ensure!(terminal::ask(question)? == expected, "nothing was done");
    Ok(())
}
