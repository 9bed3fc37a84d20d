//! The sandbox providers as a program.

use anyhow::Context as _;
use clap::Parser;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use tests::sandbox::{Provider, Sandbox, Settings, Tls};

/// Payment providers in miniature, for trying an integration without any.
///
/// Send what you would send to `api.stripe.com`, `checkout-test.adyen.com` or another provider to this
/// address: the provider is chosen by the `Host` header, or by a path that begins with its name, such
/// as `/stripe/`. Only published test cards are approved. Declines are triggered as the providers
/// document it, by card number (Stripe) or by holder name (Adyen, Worldpay). What was executed is shown at
/// `GET /_sandbox/ledger`; faults are ordered at `POST /_sandbox/faults` or by amount
/// (`GET /_sandbox/faults` lists them); `POST /_sandbox/reset` starts over.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// Print every provider with its host names, and end.
    #[arg(long)]
    list: bool,
    /// Where to listen, such as 127.0.0.1:9500; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", required_unless_present = "list")]
    listen: Option<SocketAddr>,
    /// The certificate chain, PEM.
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    certificate: Option<PathBuf>,
    /// The private key, PEM.
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    key: Option<PathBuf>,
    /// How many threads serve.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (Some(listen), Some(certificate), Some(key)) =
        (arguments.listen, arguments.certificate, arguments.key)
    else {
        return list();
    };
    if arguments.list {
        return list();
    }
    let read = |path: &PathBuf| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let sandbox = Sandbox::start(&Settings {
        listen,
        certificate: read(&certificate)?,
        key: read(&key)?,
        tls: Tls::Modern,
        threads: arguments.threads,
    })?;
    writeln!(std::io::stdout(), "sandbox ready on https://{}", sandbox.address())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::signal::ctrl_c())?;
    Ok(())
}

fn list() -> anyhow::Result<()> {
    for provider in Provider::ALL {
        writeln!(std::io::stdout(), "{} {}", provider.word(), provider.hosts().join(" "))?;
    }
    Ok(())
}
