//! What is left of cards in the memory of the real program, and on its disk.

use super::order::Order;
use serde_json::json;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;
use tests::net::client::Http;
use tests::net::{NO_FLOOD, Net, Options};

/// A card and a verification value that nothing else uses.
const PAN: &str = "371449635398431";
const PAYMENTS: usize = 1_000;
/// How long the program is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);
const READ_BYTES: usize = 1 << 20;

fn count(bytes: &[u8], pattern: &[u8]) -> usize {
    bytes.windows(pattern.len()).filter(|window| window == &pattern).count()
}

/// How often each pattern is in the memory of a process that can be written. `None`: this user may
/// not read it.
fn in_memory(process: u32, patterns: &[&[u8]]) -> Option<Vec<usize>> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).ok()?;
    let memory = File::open(format!("/proc/{process}/mem")).ok()?;
    let mut found = vec![0; patterns.len()];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (range, _) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap_or_default());
        let mut bytes = vec![0; READ_BYTES];
        let mut at = from;
        while at < to {
            let wanted = usize::try_from(to - at).ok()?.min(READ_BYTES);
            // Some pages of a process cannot be read by anybody.
            let read = memory.read_at(&mut bytes[..wanted], at).unwrap_or_default();
            for (found, pattern) in found.iter_mut().zip(patterns) {
                *found += count(&bytes[..read], pattern);
            }
            at += u64::try_from(wanted).ok()?;
        }
    }
    Some(found)
}

fn on_disk(directory: &Path, pattern: &[u8]) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => on_disk(&path, pattern),
            false => fs::read(path).map_or(0, |bytes| count(&bytes, pattern)),
        })
        .sum()
}

/// Pays over the listener without TLS, and leaves the connection open.
fn charge_in_the_clear(net: &Net, cvv: &str) -> TcpStream {
    let body = Order::new("adyen-backup", "10.00", "USD").number(PAN).cvv(cvv).body();
    let (key, length) = (&net.key, body.len());
    let request = format!(
        "POST /PaymentGateway/charge HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(net.plain()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_thousand_payments_no_verification_value_is_left_in_memory() {
    let limits = format!("{NO_FLOOD}  quota:\n    requests: 1000000\n    window_s: 60\n");
    let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let client = net.client(Http::One);
    let mut link = client.connect().await.unwrap();
    for nth in 0..PAYMENTS {
        let body = json!({ "payload": PAN });
        let kept = link.send("POST", "/StringTokens", Some(&body)).await.unwrap();
        assert_eq!(kept.status, 201);
        let account = ["stripe-primary", "adyen-backup"][nth % 2];
        let order = Order::new(account, "10.00", "USD").number(PAN).cvv("9174");
        let body: serde_json::Value = serde_json::from_str(&order.body()).unwrap();
        let paid = link.send("POST", "/PaymentGateway/charge", Some(&body)).await.unwrap();
        assert!(matches!(paid.status, 200 | 409), "{}", paid.text());
    }
    // Both stay open while the memory is read.
    let rests = charge_in_the_clear(&net, "9174");
    tokio::time::sleep(IDLE).await;
    // As the bodies of merchants, of Stripe and of Adyen have it; four digits alone are anything.
    let values: [&[u8]; 3] = [b"\"cvv\":\"9174\"", b"cvc%5D=9174", b"\"cvc\":\"9174\""];
    let others: [&[u8]; 2] = [b"[cvc]=9174", PAN.as_bytes()];
    let patterns = [values.as_slice(), others.as_slice()].concat();
    let Some(found) = in_memory(net.process().unwrap(), &patterns) else {
        println!("skipped: this user may not read the memory of the program");
        return;
    };
    println!("found in memory: {found:?}");
    drop((link, rests));
    assert_eq!(on_disk(net.directory(), PAN.as_bytes()), 0);
    assert_eq!(found[..4], [0, 0, 0, 0]);
}

/// The most memory that a process has had, in KiB.
fn peak(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_body_that_has_not_come_has_little_memory() {
    let limits = format!("{NO_FLOOD}  body_bytes_max: 1048576\n  body_timeout_ms: 2000\n");
    let net = Net::with(Options { limits, ..Options::default() }).await.unwrap();
    let before = peak(net.process().unwrap());
    // It takes no key, and nobody says how much there will be.
    let begin = "POST /Webhooks/nobody/no-account HTTP/1.1\r\nhost: localhost\r\n\
                 transfer-encoding: chunked\r\n\r\n1\r\nx\r\n";
    let mut streams: Vec<TcpStream> =
        (0..400).map(|_| TcpStream::connect(net.plain()).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(begin.as_bytes()).unwrap();
    }
    for stream in &mut streams {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
    let more = peak(net.process().unwrap()) - before;
    assert!(more < 40 << 10, "{more} KiB for 400 bodies of a byte");
}
