//! The program `idle_bench`: what connections that rest cost in memory.

use anyhow::{Context, ensure};
use benches::process;
use benches::scene::{Front, Scene, Settings};
use clap::Parser;
use pingora::tls::ssl::{SslConnector, SslMethod, SslStream};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Opens connections to Orchestra over TLS, sends one request with an API key on each, leaves them
/// open, and says how much memory the program has then.
///
/// Each connection takes a file handle here and one there: see `ulimit -n`.
#[derive(Debug, Parser)]
#[command(after_help = "Example: idle_bench --connections 10000")]
struct Options {
    /// How many connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    connections: u64,
}

/// How many connections are opened before the first measurement, so that what is made at first use is
/// not counted.
const FIRST: u64 = 100;
/// How often progress is told.
const TELL_EVERY: u64 = 1_000;
/// How long the program may take to come to rest.
const REST: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for the answer.
const ANSWER_BYTES_MAX: usize = 16 << 10;

type Client = SslStream<TcpStream>;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut out = std::io::stdout();
    writeln!(out, "starting orchestra ...")?;
    let scene = Scene::start(&Settings { threads: 1, pin: None, floor: false, before: None })?;
    let front = scene.front();
    let connector = connector(front)?;
    let mut clients = open(front, &connector, FIRST)?;
    let before = at_rest(front)?;
    clients.extend(open(front, &connector, options.connections)?);
    let after = at_rest(front)?;
    // Those that were hung up on would cost nothing.
    for (nth, client) in clients.iter_mut().enumerate() {
        ask(front, client).with_context(|| format!("connection {nth} was not kept"))?;
    }
    let each = after.saturating_sub(before).checked_div(options.connections).unwrap_or_default();
    writeln!(out, "with {FIRST} connections: {} MiB", before >> 10)?;
    writeln!(out, "with {} more:  {} MiB", options.connections, after >> 10)?;
    writeln!(out, "each: {each} KiB; all of them still answer")?;
    Ok(())
}

fn connector(front: &Front) -> anyhow::Result<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls())?;
    builder.set_ca_file(&front.authority)?;
    Ok(builder.build())
}

fn open(front: &Front, connector: &SslConnector, many: u64) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for nth in 1..=many {
        let stream = TcpStream::connect(front.address).context("see ulimit -n")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut client = connector.connect(front.host, stream)?;
        ask(front, &mut client)?;
        clients.push(client);
        if nth % TELL_EVERY == 0 {
            writeln!(std::io::stdout(), "{nth} of {many}")?;
        }
    }
    Ok(clients)
}

/// Sends a request and reads all of its answer.
fn ask(front: &Front, client: &mut Client) -> anyhow::Result<()> {
    let (host, key) = (front.host, &front.key);
    let request = format!("GET /Utils/apiKey HTTP/1.1\r\nhost: {host}\r\nx-api-key: {key}\r\n\r\n");
    client.write_all(request.as_bytes())?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES_MAX);
    while !is_whole(&answer) {
        ensure!(answer.len() < ANSWER_BYTES_MAX, "an answer does not end");
        let mut part = [0; 1024];
        let read = client.read(&mut part)?;
        ensure!(read > 0, "a connection was closed");
        answer.extend_from_slice(part.get(..read).unwrap_or_default());
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "an answer is not 200");
    Ok(())
}

/// Whether the head and the body that it announces are there.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    length.is_some_and(|length: usize| body.len() >= length)
}

/// How many KiB are resident once the program has come to rest.
fn at_rest(front: &Front) -> anyhow::Result<u64> {
    thread::park_timeout(REST);
    process::resident_kib(front.pid)
}
