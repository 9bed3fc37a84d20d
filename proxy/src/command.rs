//! The command line.
//!
//! What belongs here: reading arguments, and showing answers and errors to people and to scripts.
//! What is asked of the vault, and how it is answered, is in [`crate::admin`].

mod accounts;
mod audit;
mod backup;
mod check;
mod custodians;
mod keys;
mod merchants;
mod rotate;
mod serve;
mod terminal;
mod transactions;
mod vault;

use crate::admin::{self, Answer, Request};
use crate::configuration::{Field, load, told};
use crate::serve as server;
use ::vault::audit::Who;
use ::vault::{OpenError, Settings, Vault, store};
use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use conf::Config;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
A new installation, from nothing to the first charge:
  orchestra check
  orchestra vault init --create-token --so-pin file:/etc/orchestra/so-pin
  orchestra serve
  orchestra merchants create acme
  orchestra keys create --merchant acme --name till
  orchestra accounts put stripe-primary --merchant acme --gateway Stripe

All commands but `vault init`, `vault restore` and `vault accept-restored`, which are for a vault that
nothing serves, work while `serve` runs, and take effect at once.
Secrets are never arguments, because everyone on a machine can read those.";

/// A payment proxy with a vault: one API in front of many payment providers.
#[derive(Debug, Parser)]
#[command(name = "orchestra", version, after_help = EXAMPLES)]
struct Orchestra {
    /// The configuration file.
    #[arg(long, value_name = "FILE", global = true, default_value = "conf/orchestra.yaml")]
    conf: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve merchants until a signal says to end.
    Serve(serve::Serve),
    /// Print what the configuration means, and say what is missing.
    Check(check::Check),
    /// Make a vault, or look at one.
    #[command(subcommand)]
    Vault(vault::Command),
    /// Make, approve, list and remove key custodians, two of whom exchange the key in the token.
    #[command(subcommand)]
    Custodians(custodians::Command),
    /// Make and list merchants.
    #[command(subcommand)]
    Merchants(merchants::Command),
    /// Make, list and revoke the API keys of merchants.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Look at the audit log, and check it.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Put, list, validate, rotate and delete the accounts of merchants at payment gateways.
    #[command(subcommand)]
    Accounts(accounts::Command),
    /// List and show payments, and settle what nobody knows the outcome of.
    #[command(subcommand)]
    Transactions(transactions::Command),
}

/// How an answer is shown.
#[derive(Debug, Args)]
struct Output {
    /// Print JSON, for scripts.
    #[arg(long)]
    json: bool,
}

/// Reads the arguments and does what they say. Usage errors end the process with status 2.
pub fn main() -> ExitCode {
    // Before anything else, because no secret may be read by a process that can be dumped.
    let hardening = ::vault::harden_process();
    let Orchestra { conf, command } = Orchestra::parse();
    let done = match command {
        Command::Serve(command) => command.run(&conf, hardening),
        Command::Check(command) => command.run(&conf),
        Command::Vault(command) => command.run(&conf),
        Command::Custodians(command) => command.run(&conf),
        Command::Merchants(command) => command.run(&conf),
        Command::Keys(command) => command.run(&conf),
        Command::Accounts(command) => command.run(&conf),
        Command::Audit(command) => command.run(&conf),
        Command::Transactions(command) => command.run(&conf),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(&format!("orchestra: {}", told(&conf, &error)));
            ExitCode::FAILURE
        }
    }
}

/// What it takes to open the vault, the PIN among it.
fn settings(config: &Config) -> Result<Settings> {
    let vault = &config.vault;
    Ok(Settings {
        directory: vault.directory.clone(),
        cache_bytes: vault.cache_bytes,
        module: vault.module.clone(),
        token_label: vault.token_label.clone(),
        pin: vault.pin.read().context(Field::named("vault.pin"))?,
        audit: ::vault::audit::Settings {
            program: env!("CARGO_PKG_VERSION").into(),
            configuration: ::vault::audit::digest(config.to_string().as_bytes()),
            ..::vault::audit::Settings::default()
        },
        keys: key_settings(&vault.keys),
    })
}

fn key_settings(keys: &conf::Keys) -> ::vault::KeySettings {
    let conf::Keys {
        wrap,
        hsm_outage_max,
        hsm_sessions,
        dek_period,
        kek_period,
        shred_after,
        seals_max,
        rotation_records_per_s,
    } = *keys;
    let wrap = match wrap {
        conf::Wrap::AesGcm => ::vault::WrapMechanism::AesGcm,
        conf::Wrap::AesKwp => ::vault::WrapMechanism::AesKwp,
    };
    ::vault::KeySettings {
        wrap,
        hsm_outage_max,
        hsm_sessions,
        dek_period,
        kek_period,
        shred_after,
        seals_max,
        rotation_records_per_s,
    }
}

/// Asks the running program, or else the vault itself.
fn ask(config: &Config, request: Request) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(answer) = ask_running(config, &request).await? {
            return Ok(answer);
        }
        let vault = open(config)?;
        Ok(server::counter_alone(config, vault)?.answer(&myself()?, request).await?)
    })
}

/// Who runs this command.
fn myself() -> Result<Who> {
    let uid = fs::metadata("/proc/self").context("the system does not tell who you are")?.uid();
    Ok(Who::operator(uid))
}

/// The answer of the running program, if there is one.
async fn ask_running(config: &Config, request: &Request) -> Result<Option<Answer>> {
    // Whoever owns the vault may see the request. Where there is no vault, nothing serves it.
    let Ok(directory) = fs::metadata(&config.vault.directory) else { return Ok(None) };
    let answered = admin::socket::ask(&config.listen.admin, directory.uid(), request).await?;
    Ok(answered.transpose()?)
}

/// Opens the vault for a command that nobody answered at the admin socket.
fn open(config: &Config) -> Result<Vault> {
    Vault::open(&settings(config)?).map_err(|error| {
        let admin = config.listen.admin.display();
        if matches!(error, OpenError::Store(store::OpenError::Locked(_))) {
            anyhow!("{error}; nothing answers at the admin socket {admin}")
        } else {
            error.into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Orchestra;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_sound_and_every_command_has_help() {
        let mut root = Orchestra::command();
        root.build();
        root.clone().debug_assert();
        let mut commands = vec![root];
        while let Some(command) = commands.pop() {
            let name = command.get_name().to_owned();
            assert!(command.get_about().is_some(), "{name} has no help");
            let leaf = command.get_subcommands().next().is_none();
            assert!(!leaf || command.get_after_help().is_some(), "{name} has no example");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name} {}", argument.get_id());
            }
            commands.extend(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
        }
    }

    #[test]
    fn usage_that_cannot_be_meant_is_refused() {
        for arguments in [
            "",
            "rotate",
            "merchants create",
            "merchants create A",
            "keys create --merchant acme",
            "keys create --merchant acme --name till --scopes all",
            "keys create --merchant acme --name till --scopes payments --expires-days 0",
            "keys create --merchant acme --name till --expires-days 3651",
            "keys revoke short",
            "accounts put stripe --merchant acme",
            "accounts put a/b --merchant acme --gateway Stripe",
            "accounts put stripe --merchant acme --gateway Stripe --credential SecretKey=sk_live",
            "accounts stage stripe --merchant acme --credential SecretKey=sk_live",
            "accounts switch stripe --merchant acme",
            "accounts switch stripe 101 --merchant acme",
            "accounts retire stripe",
            "transactions show 12",
            "transactions list --state Lost",
            "transactions resolve 019f8c2a7b3d4e5f60718293a4b5c6d7 --as succeeded --by ada",
            "transactions resolve 019f8c2a7b3d4e5f60718293a4b5c6d7 --as unknown --by ada --reason x",
            "transactions resolve 019f8c2a7b3d4e5f60718293a4b5c6d7 --reason x",
            "vault init --create-token",
            "vault init --so-pin file:pin",
            "vault init --create-token --so-pin 1234",
            "vault rotate",
            "vault rotate --kek",
            "vault rotate --kek --dek --custodian alice",
            "vault rotate --kek --custodian alice --secret hunter2hunter2",
            "vault rotate --kek --custodian alice --merchant acme",
            "vault rotate --merchant acme",
            "vault shred",
            "vault shred --merchant acme",
            "vault shred --merchant acme --custodian alice --secret hunter2hunter2",
            "vault destroy-kek",
            "vault destroy-kek 4f1d09aa63b2c7de",
            "vault destroy-kek --custodian alice",
            "vault accept-restored --secret file:secret",
            "custodians add",
            "custodians approve carol",
            "custodians approve --custodian alice",
        ] {
            let words = ["orchestra"].into_iter().chain(arguments.split_whitespace());
            let error = Orchestra::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{arguments}");
        }
    }

    #[test]
    fn a_secret_that_is_given_as_an_argument_is_not_repeated() {
        for arguments in [
            "accounts put stripe --merchant acme --gateway Stripe --credential SecretKey=canary",
            "vault init --create-token --so-pin canary",
            "vault rotate --kek --custodian alice --secret canary",
            "custodians add alice --secret canary",
            "custodians approve carol --custodian alice --secret canary",
        ] {
            let words = ["orchestra"].into_iter().chain(arguments.split_whitespace());
            let error = Orchestra::try_parse_from(words).unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
