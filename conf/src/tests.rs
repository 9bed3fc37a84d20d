//! The whole file, from text to meaning and back.

use crate::error::Error;
use crate::file::WORDS;
use crate::{Config, Source};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// The least that can be meant.
const LEAST: &str = "\
listen: {plain: 127.0.0.1:8080}
vault:
  pin: env:PIN
  token_label: orchestra
";

/// All that can be written.
const MOST: &str = r#"
listen:
  tls:
    address: "[::]:8443"
    certificates:
      - {chain: a.pem, key: a.key}
      - {chain: /b.pem, key: "b \"quoted\" \\ \u0007.key"}
  plain: 127.0.0.1:8080
  metrics: 127.0.0.1:9000
  admin: run/admin.sock
limits:
  connections_max: 7
  connections_per_address_max: 6
  head_timeout_ms: 101
  body_timeout_ms: 102
  body_bytes_max: 2048
  idle_timeout_ms: 1001
  write_timeout_ms: 103
  flood_per_address_per_s: 5
  quota: {requests: 4, window_s: 3}
  reveals: {requests: 6, window_s: 7}
payments: {breaker_faults: 2, breaker_window_s: 3, breaker_open_s: 4, failover_timeout_ms: 101, idempotency_keep_h: 25, idempotency_required: true, resolve_alarm_s: 61}
vault:
  directory: data
  cache_bytes: 8388609
  module: module.so
  token_label: my token
  pin: file:pins/user
  keys:
    wrap: aes-kwp
    hsm_outage_max_s: 61
    hsm_sessions: 3
    dek_period_days: 31
    kek_period_days: 32
    shred_days: 33
    seals_max: 65537
    rotation_records_per_s: 8
providers:
  adyen: {}
  stripe:
    connect: 127.0.0.1:9500
    ca: ca.pem
    connect_timeout_ms: 104
    exchange_timeout_ms: 105
    idle_timeout_ms: 1002
    answer_bytes_max: 4097
threads: 3
grace_s: 2
log: {access: access.log}
"#;

fn parse(text: &str) -> Result<Config, Error> {
    Config::parse(text, Path::new("/etc/orchestra"))
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = parse(LEAST).unwrap();
    assert!(config.threads >= 1);
    assert_eq!(config.grace, Duration::from_secs(35));
    assert_eq!(config.limits.body_bytes_max, 65_536);
    assert_eq!(config.limits.quota.requests, 6_000);
    assert_eq!(config.vault.pin, Source::Env("PIN".into()));
    assert_eq!(config.upstream("stripe").exchange_timeout, Duration::from_secs(30));
    assert_eq!((config.listen.tls, config.log.access), (None, None));
}

#[test]
fn relative_paths_start_from_the_directory_of_the_file() {
    let config = parse(MOST).unwrap();
    let certificates = config.listen.tls.unwrap().certificates;
    assert_eq!(certificates[0].chain, Path::new("/etc/orchestra/a.pem"));
    assert_eq!(certificates[1].chain, Path::new("/b.pem"));
    assert_eq!(config.vault.pin, Source::File("/etc/orchestra/pins/user".into()));
    assert_eq!(config.log.access.unwrap(), Path::new("/etc/orchestra/access.log"));
}

#[test]
fn a_configuration_prints_as_a_file_that_means_the_same() {
    for text in [LEAST, MOST] {
        let config = parse(text).unwrap();
        let printed = config.to_string();
        assert_eq!(Config::parse(&printed, Path::new("/elsewhere")).unwrap(), config, "{printed}");
    }
}

#[test]
fn what_has_changed_is_named_and_not_shown() {
    let (least, most) = (parse(LEAST).unwrap(), parse(MOST).unwrap());
    assert_eq!(least.changed(&least), Vec::<String>::new());
    // Every field that can be written stands in the longer one, with another value.
    let last = |path: &String| path.rsplit('.').next().unwrap_or_default().to_owned();
    let named: BTreeSet<_> = least.changed(&most).iter().map(last).collect();
    let sections = ["keys", "limits", "listen", "payments", "providers", "quota", "reveals", "tls"];
    let sections: Vec<_> = sections.into_iter().chain(["chain", "key", "log", "vault"]).collect();
    // These are the same in both, or may be.
    let same = ["plain", "threads"];
    let fields = WORDS.iter().filter(|word| !sections.contains(word) && !same.contains(word));
    for field in fields {
        assert!(named.contains(*field), "{field} is not among {named:?}");
    }
    for (more, expected) in [
        ("providers: {stripe: {}}", &[][..]),
        ("grace_s: 35", &[][..]),
        ("grace_s: 36", &["grace_s"][..]),
        ("limits: {quota: {window_s: 59}}", &["limits.quota.window_s"][..]),
        ("providers: {stripe: {ca: canary}}", &["providers.stripe.ca"][..]),
        ("log: {access: canary}", &["log.access"][..]),
    ] {
        let other = parse(&format!("{LEAST}{more}")).unwrap();
        assert_eq!(least.changed(&other), expected, "{more}");
        assert_eq!(other.changed(&least), expected, "{more}");
    }
}

#[test]
fn a_field_is_found_in_its_file() {
    let path = std::env::temp_dir().join(format!("orchestra-conf-place-{}", std::process::id()));
    std::fs::write(&path, MOST).unwrap();
    let file = path.display();
    for (field, line) in [
        ("providers.stripe.ca", 42),
        ("listen.tls.certificates[1].chain", 7),
        ("providers.stripe.nothing", 41),
    ] {
        assert_eq!(crate::place(&path, field), format!("{file}:{line}"), "{field}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(crate::place(&path, "threads"), path.display().to_string());
}

#[test]
fn the_sample_is_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("orchestra.yaml");
    let sample = Config::load(&path, &["stripe"]).unwrap();
    let least = parse(LEAST).unwrap();
    assert_eq!(sample.limits, least.limits);
    assert_eq!(sample.payments, least.payments);
    assert_eq!(sample.upstream("stripe"), least.upstream("stripe"));
    assert_eq!((sample.grace, sample.threads), (least.grace, least.threads));
    assert_eq!(sample.listen.metrics, least.listen.metrics);
    assert_eq!(sample.listen.admin, least.listen.admin);
    assert_eq!(sample.vault.cache_bytes, least.vault.cache_bytes);
    assert_eq!(sample.vault.directory, least.vault.directory);
    assert_eq!(sample.vault.module, least.vault.module);
    assert_eq!(sample.vault.token_label, least.vault.token_label);
    assert_eq!(sample.vault.keys, least.vault.keys);
}

#[test]
fn the_unit_for_systemd_fits_the_defaults() {
    let unit = include_str!("../orchestra.service");
    let value = |name: &str| {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        lines.next().unwrap_or_else(|| panic!("{name} is not in the unit"))
    };
    let config = parse(LEAST).unwrap();
    // Pingora and the last answers have a moment beside the payments.
    let stop = Duration::from_secs(value("TimeoutStopSec").parse().unwrap());
    assert!(stop >= config.grace + Duration::from_secs(10), "{stop:?}");
    let files: usize = value("LimitNOFILE").parse().unwrap();
    assert!(files > config.limits.connections_max + 1_000);
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    for (path, parent, name) in [
        (&config.listen.admin, "/run", "RuntimeDirectory"),
        (&config.vault.directory, "/var/lib", "StateDirectory"),
    ] {
        assert!(path.starts_with(Path::new(parent).join(value(name))), "{}", path.display());
    }
}

#[test]
fn the_sample_speaks_of_every_field_and_the_documentation_too() {
    let sample = include_str!("../orchestra.yaml");
    let documentation = include_str!("../../docs/reference/configuration.md");
    for word in WORDS {
        assert!(sample.contains(&format!("{word}:")), "{word} is not in the sample");
        assert!(documentation.contains(word), "{word} is not in the documentation");
    }
}

#[test]
fn the_words_are_those_of_the_file() {
    let most: serde_yaml_ng::Value = serde_yaml_ng::from_str(MOST).unwrap();
    let mut words = BTreeSet::new();
    collect(&most, &mut words);
    words.retain(|word| !["adyen", "stripe"].contains(&word.as_str()));
    assert_eq!(words, WORDS.iter().map(|&word| word.to_owned()).collect());
}

fn collect(value: &serde_yaml_ng::Value, words: &mut BTreeSet<String>) {
    for (key, value) in value.as_mapping().into_iter().flatten() {
        words.insert(key.as_str().unwrap().to_owned());
        collect(value, words);
    }
    for value in value.as_sequence().into_iter().flatten() {
        collect(value, words);
    }
}

/// Every row is [`LEAST`] with more lines at its end, and what is said about it.
const NOT_MEANT: &[(&str, &str)] = &[
    // Numbers.
    ("threads: 0", "line 5: threads: 0 is not in 1..=1024"),
    ("grace_s: 601", "line 5: grace_s: 601 is not in 1..=600"),
    (
        "limits:\n  head_timeout_ms: 5000\n  body_bytes_max: 1",
        "line 7: limits.body_bytes_max: 1 is not in 1024..=1048576",
    ),
    ("limits: {quota: {window_s: 0}}", "line 5: limits.quota.window_s: 0 is not in 1..=86400"),
    (
        "providers:\n  adyen:\n    connect_timeout_ms: 1",
        "line 7: providers.adyen.connect_timeout_ms: 1 is not in 100..=60000",
    ),
    ("threads: -1", "line 5: threads: is not of the right type"),
    ("threads: 1.5", "line 5: threads: is not of the right type"),
    ("threads: canary", "line 5: threads: is not of the right type"),
    ("threads: '2'", "line 5: threads: is not of the right type"),
    ("threads: 99999999999999999999", "line 5: threads: is not of the right type"),
    // Shapes.
    ("limits: [canary]", "line 5: limits: is not of the right type"),
    ("canary: 1", "line 5: there is no such field"),
    ("limits:\n  canary: 1", "line 6: limits: there is no such field"),
    ("providers: {stripe: {canary: 1}}", "line 5: providers.stripe: there is no such field"),
    ("grace_s: 1\ngrace_s: 2", "line 5: grace_s: is written twice"),
    ("vault: {pin: env:B}", "line 3: vault: is written twice"),
    ("limits: {quota: {}, quota: {}}", "line 5: limits.quota: is written twice"),
    ("providers: {stripe: {}, stripe: {ca: a}}", "line 5: providers.stripe: is written twice"),
    ("providers: {stripe: {ca: a, ca: b}}", "line 5: providers.stripe.ca: is written twice"),
    ("a: b: canary", "line 5: there is no such field"),
    ("threads: [canary", "line 5: threads: is not of the right type"),
    ("threads: \"canary", "line 6: not the shape of a configuration"),
    ("x: &canary [*canary]", "line 5: there is no such field"),
    // Providers.
    ("providers: {sk_live_51canary: {}}", "line 5: providers: "),
    ("providers: {stripe: {connect: localhost}}", "line 5: providers.stripe.connect: expected an"),
    ("providers: {stripe: {ca: ''}}", "line 5: providers.stripe.ca: expected a path"),
    // Log.
    ("log: {access: ''}", "line 5: log.access: expected a path"),
];

#[test]
fn what_cannot_be_meant_is_refused_by_line_and_field() {
    for (more, expected) in NOT_MEANT {
        refused(&format!("{LEAST}{more}\n"), expected);
    }
}

/// Whole files: what is said about them.
const NOT_MEANT_ALONE: &[(&str, &str)] = &[
    ("", "line 1: listen: expected tls, or plain, or both"),
    ("\u{feff}listen: {plain: canary}", "line 1: begins with a byte order mark"),
    ("threads: 1\n---\nthreads: canary\n", "line 3: a second document begins"),
    ("threads: 1\n---\n", "line 3: a second document begins"),
    ("threads: 1\n---\n# nothing\n---\ncanary\n", "line 4: a second document begins"),
    ("threads: *canary", "line 1: not the shape of a configuration"),
    ("# nothing\n", "line 2: listen: expected tls, or plain, or both"),
    ("canary", "line 1: is not of the right type"),
    ("listen: {}\nthreads: 1", "line 1: listen: expected tls"),
    ("listen: {plain: 192.0.2.1:80}", "line 1: listen.plain: expected a loopback address"),
    ("listen: {plain: 0.0.0.0:80}", "line 1: listen.plain: expected a loopback address"),
    ("listen: {plain: 127.0.0.1:0}", "line 1: listen.plain: expected an address with a port"),
    ("listen: {plain: canary}", "line 1: listen.plain: expected an address with a port"),
    ("listen:\n  tls: {}", "line 2: listen.tls.certificates: expected 1 to 256 certificates"),
    (
        "listen:\n  tls:\n    address: 0.0.0.0:1\n    certificates:\n      - chain: a",
        "line 5: listen.tls.certificates[0].key: expected a path",
    ),
    (
        "listen:\n  tls:\n    certificates:\n      - {chain: a, key: b}",
        "line 3: listen.tls.address: expected an address with a port",
    ),
    ("listen: {plain: 127.0.0.1:9464}", "line 1: listen.metrics: is already listened to"),
    (
        "listen:\n  tls: {address: '127.0.0.1:80', certificates: [{chain: a, key: b}]}\n  plain: 127.0.0.1:80",
        "line 3: listen.plain: is already listened to",
    ),
    ("listen: {plain: '[::1]:80'}", "line 1: vault.pin: expected env:NAME or file:PATH"),
    ("listen: {plain: '[::1]:80'}\nvault: {module: ''}", "line 2: vault.module: expected a path"),
    (
        "listen: {plain: '[::1]:80'}\nvault: {module: a}",
        "line 2: vault.pin: expected env:NAME or file:PATH",
    ),
    (
        "listen: {plain: '[::1]:80'}\nvault:\n  module: a\n  pin: canary",
        "line 4: vault.pin: expected env:NAME or file:PATH",
    ),
    (
        "listen: {plain: '[::1]:80'}\nvault:\n  module: a\n  pin: 123456",
        "line 4: vault.pin: expected env:NAME or file:PATH",
    ),
    (
        "listen: {plain: '[::1]:80'}\nvault: {module: a, pin: env:A, token_label: ''}",
        "line 2: vault.token_label: expected 1 to 32",
    ),
    (
        "listen: {plain: '[::1]:80', admin: /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}",
        "line 1: listen.admin: expected a path of at most 100 bytes",
    ),
];

#[test]
fn a_file_that_cannot_be_meant_is_refused_by_line_and_field() {
    for (text, expected) in NOT_MEANT_ALONE {
        refused(text, expected);
    }
}

#[test]
fn errors_name_the_file() {
    let error = Config::load(Path::new("/nowhere/orchestra.yaml"), &[]).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/orchestra.yaml: entity not found");
    let error = parse("threads: 0").unwrap_err().in_file(Path::new("a.yaml"));
    assert_eq!(error.to_string(), "a.yaml:1: listen: expected tls, or plain, or both");
    let error = parse(&format!("{LEAST}threads: 0")).unwrap_err().in_file(Path::new("a.yaml"));
    assert_eq!(error.to_string(), "a.yaml:5: threads: 0 is not in 1..=1024");
}

/// What is told of a file of these bytes.
fn refused_file(name: &str, bytes: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("orchestra-conf-{name}-{}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let error = Config::load(&path, &["adyen", "stripe"]).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let said = error.to_string();
    said.strip_prefix(&path.display().to_string()).unwrap().to_owned()
}

#[test]
fn what_is_wrong_with_a_file_is_told_by_its_line_too() {
    let with = |more: &[u8]| [LEAST.as_bytes(), more].concat();
    for (name, bytes, expected) in [
        ("bytes", with(b"log:\n  access: canary\xff"), ":6: is not UTF-8"),
        ("utf16", b"\xff\xfec\0a\0n\0".to_vec(), ":1: is not UTF-8"),
        (
            "provider",
            with(b"providers:\n  stripe: {}\n  strype:\n    ca: canary\n"),
            ":8: providers.strype: there is no such provider; there are adyen, stripe",
        ),
        ("large", vec![0xff; 65_537], ": is larger than 65536 bytes"),
    ] {
        assert_eq!(refused_file(name, &bytes), expected, "{name}");
    }
}

fn refused(text: &str, expected: &str) {
    let error = parse(text).unwrap_err();
    let (display, debug) = (error.to_string(), format!("{error:?}"));
    assert!(display.starts_with(expected), "{text}\n  said: {display}\n  not:  {expected}");
    assert!(!display.contains("123456"), "{text}\n{debug}");
    assert!(!display.contains("canary") && !debug.contains("canary"), "{text}\n{debug}");
}
