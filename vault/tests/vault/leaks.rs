//! What is secret is found nowhere: not on disk, not in a log, not in a debug output.

use crate::stage::{
    NOW, NOW_MS, PIN, SO_PIN, Stage, at_stripe, charge, cvv, issued, kept, number, on_stage,
    open_card, who,
};
use log::{LevelFilter, Log, Metadata, Record};
use model::{AccountName, Credentials, Secret};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use vault::wait;

const PAN: &str = "4212345678901237";
const CREDENTIAL: &str = "sk_live_canaryCREDENTIAL0192837465";
const TEXT: &str = "canary text behind a token, of no special form";
/// Long enough for chance not to write it: three or four digits are everywhere.
const CVV_PAIR: [&str; 2] = ["8374", "9"];

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

impl Log for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LOGGED.lock().unwrap().push(format!("{} {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Base64 without padding. The ends that depend on neighbours are cut off.
fn base64(bytes: &[u8], offset: usize) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let shifted = [vec![0; offset], bytes.to_vec()].concat();
    let whole = shifted.len() / 3 * 3;
    let text: String = shifted[..whole]
        .chunks(3)
        .flat_map(|c| {
            let bits = u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
            [18, 12, 6, 0].map(|shift| char::from(digits[(bits >> shift & 63) as usize]))
        })
        .collect();
    text[if offset == 0 { 0 } else { 4 }..].to_owned()
}

/// The forms in which a secret could be written.
fn forms(secret: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let utf16: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    let mut forms = vec![
        ("text".to_owned(), bytes.to_vec()),
        ("UTF-16".to_owned(), utf16),
        ("reversed".to_owned(), reversed),
        ("hex".to_owned(), hex(bytes).into_bytes()),
        ("upper-case hex".to_owned(), hex(bytes).to_uppercase().into_bytes()),
    ];
    for offset in 0..3 {
        let text = base64(bytes, offset);
        forms
            .push((format!("base64url+{offset}"), text.replace('+', "-").replace('/', "_").into()));
        forms.push((format!("base64+{offset}"), text.into_bytes()));
    }
    forms
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Where secrets are found under a directory.
fn found(directory: &Path, secrets: &[&str]) -> Vec<String> {
    let forms: Vec<_> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    let files = files(directory);
    assert!(!files.is_empty(), "there is nothing to search in {}", directory.display());
    let mut found = Vec::new();
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let here = forms.iter().filter(|(_, needle)| contains(&bytes, needle));
        found.extend(here.map(|(form, _)| format!("{form} in {}", path.display())));
    }
    found
}

/// Uses everything in the vault, and says what must be nowhere.
fn use_everything(stage: &Stage) -> Vec<String> {
    let (vault, shop, _) = stage.make_with_merchants();
    let mut secrets = vec![PAN.into(), TEXT.into(), CREDENTIAL.into(), PIN.into(), SO_PIN.into()];
    let pan = kept(&vault, &shop, PAN);
    kept(&vault, &shop, TEXT);
    let key = issued(&vault, &shop, "till");
    let name = AccountName::parse("stripe").unwrap();
    let credentials = Credentials::new(vec![("secretKey".into(), Secret::new(CREDENTIAL))]);
    wait(vault.put_account(&shop, &name, "Stripe", credentials, NOW_MS)).unwrap();
    let code = kept(&vault, &shop, CVV_PAIR[0]);
    // Exposed to be presented, and to be looked for.
    let text = key.key.expose().to_owned();
    let principal = vault.authenticate(text.as_bytes(), NOW);
    let operation =
        open_card(&vault, &shop, charge(number(&pan), cvv(&code)), at_stripe(&who())).unwrap();
    let shown = format!(
        "{vault:?} {key:?} {principal:?} {operation:?} {:?} {:?} {:?} {:?}",
        vault.account(&shop, &name),
        vault.token(&shop, &pan, NOW_MS),
        vault.keys(&shop),
        stage.settings(),
    );
    let secret_part = text[22..65].to_owned();
    secrets.extend([text, secret_part]);
    for secret in &secrets {
        assert!(!shown.contains(&**secret), "{shown}");
    }
    assert!(!shown.contains("CANARY HOLDER") && !shown.contains(CVV_PAIR[0]), "{shown}");
    assert!(shown.contains("Pan(…1237)") && shown.contains("Cvv(…)"), "{shown}");
    vault.close();
    secrets
}

on_stage!(1 secrets_are_in_no_file_log_or_debug_output(stage) {
    log::set_logger(&Recorder).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let secrets = use_everything(stage);
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    assert_eq!(found(stage.everything(), &secrets), Vec::<String>::new());
    let logged = LOGGED.lock().unwrap().join("\n");
    for (form, needle) in secrets.iter().flat_map(|secret| forms(secret)) {
        assert!(!contains(logged.as_bytes(), &needle), "{form} in the log");
    }
    // The same search finds each secret in each form when there is one.
    for secret in &secrets {
        for (form, needle) in forms(secret) {
            let planted = stage.data().join("planted");
            fs::write(&planted, [b"some ", &*needle, b" bytes"].concat()).unwrap();
            let found = found(&stage.data(), &[secret]);
            assert!(found.iter().any(|line| line.starts_with(&form)), "{form}: {found:?}");
            fs::remove_file(planted).unwrap();
        }
    }
});

on_stage!(1 a_verification_value_changes_nothing_on_disk(stage) {
    let (vault, shop, _) = stage.make_with_merchants();
    vault.close();
    drop(vault);
    let sizes = || -> u64 {
        files(&stage.data()).iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    };
    let rows = |stage: &Stage| {
        use vault::store::{Collection, Store};
        stage.store().page(Collection::Tokens, None, b"", 10).unwrap().len()
    };
    assert_eq!(rows(stage), 0);
    let vault = stage.open();
    // The first seal of a key makes it durable that a block of them is spoken for.
    let first = kept(&vault, &shop, "text");
    assert_eq!(wait(vault.forget(&shop, &first, NOW_MS)), Ok(true));
    let (commits, size) = (vault.figures().commits, sizes());
    for n in 0..100 {
        kept(&vault, &shop, &format!("{n:03}"));
    }
    kept(&vault, &shop, CVV_PAIR[0]);
    assert_eq!(vault.figures().cvvs_in_memory, 101);
    assert_eq!((vault.figures().commits, sizes()), (commits, size));
    kept(&vault, &shop, CVV_PAIR[1]);
    assert_eq!(vault.figures().commits, commits + 1, "one digit is no verification value");
    vault.close();
    drop(vault);
    assert_eq!(rows(stage), 1);
});
