//! Where a test of the vault plays: a process of its own, with a token directory of its own.
//!
//! PKCS#11 is initialised once in a process and SoftHSM finds its tokens by an environment
//! variable, so each test runs its own program again, as a child with that variable, once for each
//! of its acts. An act is a process: what the next one finds has survived a restart.

use model::{Action, Amount, Authorization, Capture, Card, CardRef, CardToken, Currency, Cvv};
use model::{
    CvvSource, Expiry, KeyId, Means, MerchantId, NumberSource, Operation, Pan, Scope, Secret,
};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use vault::audit::{Actor, Who};
use vault::store::SledStore;
use vault::{
    Approval, CardError, CvvLoan, Deed, IssuedKey, KeySettings, KeySpec, OpenError, Settings, Use,
    Vault, VaultError, wait,
};

/// The user PIN of every token here. A canary too: it must be nowhere.
pub(crate) const PIN: &str = "canary-pin-58291";
pub(crate) const SO_PIN: &str = "canary-so-pin-77310";
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const NOW_MS: u64 = NOW * 1_000;
pub(crate) const LABEL: &str = "orchestra test";
const CACHE_BYTES: u64 = 16 << 20;
const DIRECTORY: &str = "ORCHESTRA_VAULT_STAGE";
const ACT: &str = "ORCHESTRA_VAULT_ACT";
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
];

/// Declares a test that runs in processes of its own, one for each act.
macro_rules! on_stage {
    ($(#[$attribute:meta])* $acts:literal $name:ident($stage:ident) $body:block) => {
        #[test]
        $(#[$attribute])*
        fn $name() {
            let name = concat!(module_path!(), "::", stringify!($name));
            crate::stage::play(name, $acts, |$stage: &crate::stage::Stage| $body);
        }
    };
}
pub(crate) use on_stage;

/// One act of a test.
pub(crate) struct Stage {
    directory: PathBuf,
    pub(crate) act: u32,
}

/// In the test's own process, starts the acts; in such an act, plays it.
pub(crate) fn play(name: &str, acts: u32, body: impl FnOnce(&Stage)) {
    match (variable(DIRECTORY), variable(ACT)) {
        (Some(directory), Some(act)) => {
            body(&Stage { directory: directory.into(), act: act.parse().unwrap() });
        }
        _ => direct(name, acts),
    }
}

fn direct(name: &str, acts: u32) {
    let directory = scratch();
    let conf = directory.join("softhsm2.conf");
    let tokens = directory.join("tokens");
    fs::create_dir(&tokens).unwrap();
    let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
    fs::write(&conf, text).unwrap();
    for act in 1..=acts {
        let output = child(name, act, &directory, &conf);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        // A name that matches no test would pass as well, so that one was run is looked for.
        let passed = output.status.success() && said.contains("test result: ok. 1 passed");
        assert!(passed, "act {act} of {name}:\n{said}\n{errors}");
        print!("{said}");
    }
    fs::remove_dir_all(directory).unwrap();
}

fn child(name: &str, act: u32, directory: &Path, conf: &Path) -> Output {
    let (_, test) = name.split_once("::").unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--include-ignored", "--test-threads=1"])
        .env("SOFTHSM2_CONF", conf)
        .env(DIRECTORY, directory)
        .env(ACT, act.to_string())
        .output()
        .unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the child learns so that it is one")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn scratch() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("orchestra-vault-{}-{next}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        match fs::create_dir(&directory) {
            Ok(()) => return directory,
            // Left behind by a process that had this number before, and was killed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The PKCS#11 module that the tests use.
pub(crate) fn module() -> PathBuf {
    let found = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("SoftHSM is not installed: run `apt-get install softhsm2`")
}

pub(crate) fn merchant(name: &str) -> MerchantId {
    MerchantId::parse(name).unwrap()
}

/// A token that no vault made.
pub(crate) fn strange_token() -> CardToken {
    CardToken::parse("nQGywsQE9gbURtrXEjTZwtWqeMdK9nsO").unwrap()
}

pub(crate) fn number(token: &CardToken) -> NumberSource {
    NumberSource::Token(token.clone())
}

pub(crate) fn cvv(token: &CardToken) -> Option<CvvSource> {
    Some(CvvSource::Token(token.clone()))
}

/// A charge on a card.
pub(crate) fn charge(number: NumberSource, cvv: Option<CvvSource>) -> Operation<CardRef> {
    let expiry = Expiry::new(12, 2030).unwrap();
    let card = CardRef { number, cvv, holder: Secret::new("CANARY HOLDER"), expiry };
    let authorization = Authorization {
        amount: Amount::new(1_099, Currency::parse("USD").unwrap()).unwrap(),
        capture: Capture::Now,
        description: None,
        digital: None,
        generate_token: false,
        means: Means::Card(card),
        network_token: None,
        payer: None,
        stored: None,
        three_ds: None,
    };
    Operation {
        key: "0123456789abcdef0123456789abcdef".into(),
        merchant_reference: None,
        action: Action::Authorize(Box::new(authorization)),
    }
}

/// Who asks in these tests.
pub(crate) fn who() -> Who {
    Who { actor: Actor::Key(KeyId::parse("abcdefghijkl").unwrap()), origin: None }
}

/// For a payment at Stripe that brings its credentials along.
pub(crate) fn at_stripe(who: &Who) -> Use<'_> {
    Use { who, gateway: "Stripe", account: None, now: NOW_MS }
}

/// Opens a card for a payment that asks one account.
pub(crate) fn open_card(
    vault: &Vault,
    merchant: &MerchantId,
    operation: Operation,
    purpose: Use<'_>,
) -> Result<Operation<Card>, CardError> {
    vault.open_card(merchant, operation, purpose, &mut CvvLoan::default())
}

/// The number and the verification value that the vault put into a charge.
pub(crate) fn opened(
    vault: &Vault,
    merchant: &MerchantId,
    number: NumberSource,
    cvv: Option<CvvSource>,
) -> Result<(String, Option<String>), CardError> {
    let operation = open_card(vault, merchant, charge(number, cvv), at_stripe(&who()))?;
    let Action::Authorize(authorization) = operation.action else { panic!("not a charge") };
    let Means::Card(Card { pan, cvv, .. }) = authorization.means else { panic!("no card") };
    // Exposed to be compared with what was kept.
    Ok((pan.expose().to_owned(), cvv.map(|cvv: Cvv| cvv.expose().to_owned())))
}

pub(crate) fn clear(pan: &str) -> NumberSource {
    NumberSource::Clear(Pan::parse(pan).unwrap())
}

/// The text behind a token.
pub(crate) fn revealed(vault: &Vault, merchant: &MerchantId, token: &CardToken) -> Option<String> {
    let (payload, meta) = vault.token(merchant, token, NOW_MS).unwrap()?;
    assert_eq!(meta.token, *token);
    // Exposed to be compared with what was kept.
    Some(payload.expose().to_owned())
}

pub(crate) fn kept(vault: &Vault, merchant: &MerchantId, text: &str) -> CardToken {
    wait(vault.keep(merchant, Secret::new(text), NOW_MS)).unwrap().token
}

pub(crate) fn issued(vault: &Vault, merchant: &MerchantId, name: &str) -> IssuedKey {
    let spec =
        KeySpec { name: name.into(), sandbox: false, scopes: Scope::ALL.to_vec(), expires: None };
    wait(vault.create_key(merchant, spec, NOW)).unwrap()
}

/// Has something done on the words of alice and bob, who become custodians if they are none.
pub(crate) fn agreed(vault: &Vault, deed: &Deed) -> Result<Approval, VaultError> {
    let secret = Secret::new("a secret of their own");
    let mut approval = Err(VaultError::NoCustodians);
    for name in ["alice", "bob"] {
        match wait(vault.add_custodian(name, &secret, &Who::system(), NOW)) {
            Ok(()) | Err(VaultError::CustodianExists) => {}
            Err(error) => panic!("{error}"),
        }
        approval = wait(vault.approve(deed, (name, &secret), &Who::system(), NOW));
    }
    approval
}

// === impl Stage ===

impl Stage {
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("vault")
    }

    /// Everything that this test leaves on disk, the token's own files included.
    pub(crate) fn everything(&self) -> &Path {
        &self.directory
    }

    /// Takes the token's files away, or brings them back. The module is left to notice.
    pub(crate) fn token_is_there(&self, there: bool) {
        let (tokens, away) = (self.directory.join("tokens"), self.directory.join("away"));
        if there {
            fs::remove_dir(&tokens).unwrap();
            fs::rename(&away, &tokens).unwrap();
        } else {
            fs::rename(&tokens, &away).unwrap();
            fs::create_dir(&tokens).unwrap();
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            directory: self.data(),
            cache_bytes: CACHE_BYTES,
            module: module(),
            token_label: LABEL.into(),
            pin: Secret::new(PIN),
            audit: vault::audit::Settings::default(),
            keys: KeySettings::default(),
        }
    }

    pub(crate) fn make_token(&self, label: &str) -> Result<(), OpenError> {
        Vault::init_token(&module(), label, &Secret::new(SO_PIN), &Secret::new(PIN))
    }

    /// Makes a token and a vault, and opens it.
    pub(crate) fn make(&self) -> Vault {
        self.make_token(LABEL).unwrap();
        Vault::init(&self.settings()).unwrap();
        self.open()
    }

    /// As [`Self::make`], with two merchants.
    pub(crate) fn make_with_merchants(&self) -> (Vault, MerchantId, MerchantId) {
        let (vault, shop, other) = (self.make(), merchant("shop"), merchant("other"));
        for merchant in [&shop, &other] {
            wait(vault.create_merchant(merchant, NOW)).unwrap();
        }
        (vault, shop, other)
    }

    pub(crate) fn open(&self) -> Vault {
        Vault::open(&self.settings()).unwrap()
    }

    /// What the audit log has of one action: whose, about what, and how it ended.
    pub(crate) fn audited(&self, action: &str) -> Vec<[String; 3]> {
        let files =
            fs::read_dir(self.data().join("audit")).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.collect();
        files.sort();
        let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let lines =
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of = lines.filter(|line| line["action"] == action);
        of.map(|line| {
            ["/actor/type", "/object", "/outcome"]
                .map(|field| line.pointer(field).unwrap().as_str().unwrap().to_owned())
        })
        .collect()
    }

    /// Does something while the audit log cannot be opened.
    pub(crate) fn without_audit<T>(&self, act: impl FnOnce() -> T) -> T {
        let (log, aside) = (self.data().join("audit"), self.directory.join("audit"));
        fs::rename(&log, &aside).unwrap();
        fs::write(&log, "no directory").unwrap();
        let done = act();
        fs::remove_file(&log).unwrap();
        fs::rename(&aside, &log).unwrap();
        done
    }

    /// The store of a vault that is not open, as someone has it who can write to the disk.
    pub(crate) fn store(&self) -> SledStore {
        SledStore::open(&self.data(), CACHE_BYTES).unwrap()
    }
}
