//! Nothing that is secret is to be found where it does not belong, in any shape.

use super::order::Order;
use boring::base64::encode_block;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tests::net::client::{Http, plain, raw};
use tests::net::{ADYEN_KEY, Net, STRIPE_KEY};
use tests::sandbox::fault::{Effect, Fault, Operation};

/// A card of American Express, because its verification value has four digits.
const PAN: &str = "371449635398431";
const CVV: &str = "9174";

/// A secret and the shapes in which it could come out.
struct Canary {
    name: &'static str,
    shapes: Vec<(&'static str, Vec<u8>)>,
}

// === impl Canary ===

impl Canary {
    fn new(name: &'static str, secret: &str) -> Self {
        let bytes = secret.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list: Vec<String> = bytes.iter().map(u8::to_string).collect();
        let mut shapes = vec![
            ("text", bytes.to_vec()),
            ("list", list.join(", ").into_bytes()),
            ("tight list", list.join(",").into_bytes()),
            ("upper hex", hex.to_uppercase().into_bytes()),
            ("hex", hex.into_bytes()),
        ];
        // The text may begin at any of three places of a group of base64.
        for (shift, shape) in ["base64", "base64 + 1", "base64 + 2"].into_iter().enumerate() {
            let inside = base64_inside(bytes, shift);
            if !inside.is_empty() {
                shapes.push((shape, inside));
            }
        }
        Self { name, shapes }
    }

    /// The first shape that `bytes` hold.
    fn found_in(&self, bytes: &[u8]) -> Option<&'static str> {
        self.shapes.iter().find(|(_, shape)| holds(bytes, shape)).map(|(name, _)| *name)
    }
}

/// Whether `bytes` hold `shape`: a short one by itself, since it may stand in any long random word.
fn holds(bytes: &[u8], shape: &[u8]) -> bool {
    let part_of_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.windows(shape.len()).enumerate().any(|(at, window)| {
        let alone = || {
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            !part_of_word(before) && !part_of_word(bytes.get(at + shape.len()))
        };
        window == shape && (shape.len() > CVV.len() || alone())
    })
}

/// What is the same of `bytes` in base64 whatever stands around it, after `shift` other bytes.
fn base64_inside(bytes: &[u8], shift: usize) -> Vec<u8> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(bytes);
    let whole = padded.len() / 3 * 3;
    let text = encode_block(&padded[..whole]).into_bytes();
    text[if shift == 0 { 0 } else { 4 }..].to_vec()
}

fn canaries(net: &Net) -> Vec<Canary> {
    let secret = net.key.get(net.key.len() - 49..).unwrap();
    vec![
        Canary::new("card number", PAN),
        Canary::new("verification value", CVV),
        Canary::new("API key", secret),
        Canary::new("Stripe key", STRIPE_KEY),
        Canary::new("Adyen key", ADYEN_KEY),
    ]
}

fn files_under(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_under(&path, all) } else { all.push(path) }
    }
}

/// The values that are texts, without the numbers: a duration may look like anything.
fn texts(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => {
            out.push_str(text);
            out.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(members) => members.iter().for_each(|(name, item)| {
            out.push_str(name);
            out.push('\n');
            if name != "time" {
                texts(item, out);
            }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Everything that the program left behind, under a name each.
async fn left_behind(net: &Net, answers: &[String]) -> Vec<(String, Vec<u8>)> {
    let mut log = String::new();
    for line in net.access_log().unwrap() {
        texts(&line, &mut log);
    }
    let metrics = net.metrics_text().await.unwrap();
    let names = metrics.lines().map(|line| line.rsplit_once(' ').map_or(line, |(name, _)| name));
    let mut found = vec![
        ("access log".to_owned(), log.into_bytes()),
        ("metrics".to_owned(), names.collect::<Vec<_>>().join("\n").into_bytes()),
    ];
    found.extend(answers.iter().map(|answer| ("answer".to_owned(), answer.clone().into_bytes())));
    let mut files = Vec::new();
    files_under(&net.directory().join("vault"), &mut files);
    files.push(net.directory().join("stdout.log"));
    files.push(net.directory().join("stderr.log"));
    assert!(files.len() > 3, "there is no vault to search");
    found.extend(
        files.into_iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())),
    );
    found
}

fn leaks(canaries: &[Canary], places: &[(String, Vec<u8>)]) -> Vec<String> {
    let leak = |(place, bytes): &(String, Vec<u8>)| {
        let found: Vec<String> = canaries
            .iter()
            .filter_map(|canary| {
                Some(format!("{} as {} in {place}", canary.name, canary.found_in(bytes)?))
            })
            .collect();
        found
    };
    places.iter().flat_map(leak).collect()
}

fn order(account: &str) -> String {
    Order::new(account, "10.50", "USD").number(PAN).body().replace("\"737\"", &format!("\"{CVV}\""))
}

/// Requests that carry the secrets where they belong.
async fn ordinary(net: &Net) -> Vec<String> {
    let mut answers = Vec::new();
    for http in [Http::One, Http::Two] {
        let client = net.client(http);
        for account in ["stripe-primary", "adyen-backup", "null-success", "null-failure"] {
            let body = order(account);
            answers.push(
                client.send_bytes("POST", "/PaymentGateway/charge", body).await.unwrap().text(),
            );
        }
        for (effect, operation) in [
            (Effect::Cut, Operation::Charge),
            (Effect::Html, Operation::Charge),
            (Effect::Status(500), Operation::PaymentMethod),
            (Effect::Half, Operation::Charge),
        ] {
            net.sandbox.fault(Fault::once(effect).on(operation)).unwrap();
            let body = order("stripe-primary");
            answers.push(
                client.send_bytes("POST", "/PaymentGateway/charge", body).await.unwrap().text(),
            );
        }
        for payload in [PAN, CVV] {
            let body = json!({ "payload": payload });
            answers.push(client.send("POST", "/StringTokens", Some(&body)).await.unwrap().text());
        }
        for path in
            ["/PaymentGatewayAccounts/stripe-primary", "/PaymentGatewayAccounts", "/Utils/apiKey"]
        {
            answers.push(client.send("GET", path, None).await.unwrap().text());
        }
    }
    answers
}

/// Requests that carry the secrets where they do not belong.
async fn misplaced(net: &Net) -> Vec<String> {
    let client = net.client(Http::Two);
    let good = order("stripe-primary");
    let number = format!("\"{PAN}\"");
    let bodies = [
        good.replace(&number, PAN),
        good.replace(&number, &format!("[{number}]")),
        good.replace(&number, &format!("\"{PAN}0\"")),
        good.replace("\"currency\"", &number),
        good.replace("10.50", PAN),
        good.replace("USD", PAN),
        good.replace("stripe-primary", PAN),
        good.replace("Ann Example", PAN),
        good.replace(&format!("\"{CVV}\""), CVV),
        good.replace('}', ""),
        format!("{PAN} {CVV}"),
        good.replacen('{', &format!("{{\"myRef\":\"{PAN}\","), 1),
    ];
    let mut answers = Vec::new();
    for body in bodies {
        answers
            .push(client.send_bytes("POST", "/PaymentGateway/charge", body).await.unwrap().text());
    }
    for path in [
        format!("/{PAN}"),
        format!("/PaymentGateway?card={PAN}&cvv={CVV}"),
        format!("/PaymentGatewayAccounts/{PAN}"),
        format!("/StringTokens/{PAN}"),
        format!("/{}", net.key),
    ] {
        answers.push(client.send("GET", &path, None).await.unwrap().text());
    }
    let header = client.clone().with_header("x-card", PAN).with_header("user-agent", &net.key);
    answers.push(header.send("GET", "/Utils/apiKey", None).await.unwrap().text());
    for key in [PAN.to_owned(), format!("{}x", net.key), STRIPE_KEY.to_owned()] {
        let client = client.clone().with_key(&key);
        answers.push(client.send("GET", "/Utils/apiKey", None).await.unwrap().text());
    }
    let until = std::time::Duration::from_secs(2);
    for text in [
        format!("{PAN} / HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{PAN}: {PAN}\r\n{PAN}\r\n\r\n"),
    ] {
        answers.push(raw(net.plain(), text.as_bytes(), until).await.unwrap());
    }
    answers.push(plain(net.metrics(), "GET", &format!("/{PAN}")).await.unwrap().text());
    answers
}

#[tokio::test]
async fn no_secret_is_found_in_any_shape_and_a_planted_one_is() {
    let mut net = Net::start().await.unwrap();
    let mut answers = ordinary(&net).await;
    answers.extend(misplaced(&net).await);
    let canaries = canaries(&net);
    assert!(net.sandbox.ledger().iter().any(|entry| entry.pan.as_deref() == Some(PAN)));
    let places = left_behind(&net, &answers).await;
    assert_eq!(leaks(&canaries, &places), Vec::<String>::new());
    // Also of what a restart writes.
    net.kill().unwrap();
    net.serve().await.unwrap();
    let mut places = left_behind(&net, &[]).await;
    assert_eq!(leaks(&canaries, &places), Vec::<String>::new());

    for canary in &canaries {
        for (name, shape) in &canary.shapes {
            let planted = [b"before ".as_slice(), shape, b" after"].concat();
            places.push((format!("planted {name}"), planted));
        }
    }
    let planted: usize = canaries.iter().map(|canary| canary.shapes.len()).sum();
    assert!(leaks(&canaries, &places).len() >= planted, "a planted leak was not found");
}
