//! The program `vault_bench`: what the vault costs, without the proxy around it.
//!
//! It makes a SoftHSM2 token and a vault in a temporary folder and runs itself once for each act, so
//! that each begins with an empty memory: durable writes, the filling, reading with many tokens, and
//! exchanging the key of all of them.

use anyhow::{Context, ensure};
use benches::process;
use clap::Parser;
use model::{Action, Amount, Authorization, Capture};
use model::{
    CardRef, CardToken, Currency, Expiry, Means, MerchantId, NumberSource, Operation, Secret,
};
use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use vault::audit::{self, AuditError, Who};
use vault::{CardError, CvvLoan, Settings, SweepCursor, Tender, Vault, VaultError};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// The environment variable by which SoftHSM finds its configuration.
const SOFTHSM_CONF: &str = "SOFTHSM2_CONF";
const LABEL: &str = "bench";
const PIN: &str = "bench-pin-1234";
const CARD: &str = "4111111111111111";
const NOW_MS: u64 = 1_800_000_000_000;
const NOW_S: u64 = 1_800_000_000;
/// How many tasks fill the vault.
const FILLERS: u64 = 256;
/// Every so many tokens one is remembered, to be read.
const SAMPLE_EVERY: u64 = 10;
const READS: usize = 200_000;
/// How many threads read while keys are exchanged, and how long each rests after a read.
const READERS: usize = 2;
const READER_PAUSE: Duration = Duration::from_micros(500);
/// How often is looked how far a rotation is.
const LOOK: Duration = Duration::from_millis(1);
/// How long a reader lets the audit log catch up.
const CATCH_UP: Duration = Duration::from_millis(1);

/// Measures the vault: durable tokenisation, reading for a charge, opening, memory, bytes, the check
/// of everything, a backup and a rotation.
#[derive(Debug, Parser)]
#[command(after_help = "Example: vault_bench --seconds 5 --tokens 1000000")]
struct Options {
    /// How long each number of clients is measured; each twice, in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many tokens there are when reading is measured
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    tokens: u64,
    /// How much memory the store may use for pages, in MiB
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(8..=65_536))]
    cache_mib: u64,
    /// What the program tells itself: which act, in which folder
    #[arg(long, hide = true, num_args = 2, value_names = ["ACT", "FOLDER"])]
    act: Option<Vec<String>>,
}

/// A vault in a folder, as one act has it.
struct Stage {
    folder: PathBuf,
    settings: Settings,
    merchant: MerchantId,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match options.act.as_deref() {
        Some([act, folder]) => Stage::new(Path::new(folder), &options)?.play(act, &options),
        _ => direct(&options),
    }
}

/// Runs the acts, each in a process of its own.
fn direct(options: &Options) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("orchestra-vault-bench-{}", std::process::id()));
    fs::create_dir_all(folder.join("tokens"))?;
    let conf = folder.join("softhsm2.conf");
    let tokens = folder.join("tokens");
    fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display()))?;
    let played = ["write", "fill", "read", "read", "rotate"].into_iter().try_for_each(|act| {
        let status = Command::new(std::env::current_exe()?)
            .args(["--seconds", &options.seconds.to_string()])
            .args(["--tokens", &options.tokens.to_string()])
            .args(["--cache-mib", &options.cache_mib.to_string()])
            .args(["--act", act])
            .arg(&folder)
            .env(SOFTHSM_CONF, &conf)
            .status()?;
        ensure!(status.success(), "the act `{act}` failed");
        Ok(())
    });
    fs::remove_dir_all(&folder)?;
    played
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// The value that so many thousandths of all are at or below.
fn quantile(sorted: &[u64], permille: usize) -> u64 {
    let at = sorted.len().saturating_mul(permille) / 1_000;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How many there are of something in a second.
fn per_s(count: u64, time: Duration) -> u64 {
    count.saturating_mul(1_000_000).checked_div(micros(time)).unwrap_or_default()
}

fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let sizes = fs::read_dir(folder)?.map(|entry| anyhow::Ok(entry?.metadata()?.len()));
    sizes.sum()
}

/// Says the median and the slowest hundredth.
fn say_times(what: &str, mut times: Vec<u64>) -> anyhow::Result<()> {
    times.sort_unstable();
    let [p50, p99] = [500, 990].map(|permille| quantile(&times, permille));
    say(&format!("{what}: {} of a token for a charge, p50 {p50} ns, p99 {p99} ns", times.len()))
}

/// Walks over all tokens, as the program does when it has started, to remove those that are over.
fn walk(vault: &Vault) -> anyhow::Result<()> {
    let mut cursor = SweepCursor::default();
    while !vault::wait(vault.sweep_tokens(&mut cursor, NOW_MS))?.1 {}
    Ok(())
}

/// A charge on the card behind a token.
fn charge(token: &CardToken) -> anyhow::Result<Operation<CardRef>> {
    let expiry = Expiry::new(12, 2030).ok().context("an expiry")?;
    let number = NumberSource::Token(token.clone());
    let card = CardRef { number, cvv: None, holder: Secret::new("A Holder"), expiry };
    let currency = Currency::parse("USD").ok().context("a currency")?;
    let authorization = Authorization {
        amount: Amount::new(1_099, currency).ok().context("an amount")?,
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
    Ok(Operation {
        key: "0123456789abcdef0123456789abcdef".into(),
        merchant_reference: None,
        action: Action::Authorize(Box::new(authorization)),
    })
}

// === impl Stage ===

impl Stage {
    fn new(folder: &Path, options: &Options) -> anyhow::Result<Self> {
        let settings = Settings {
            directory: folder.join("vault"),
            cache_bytes: options.cache_mib << 20,
            module: MODULE.into(),
            token_label: LABEL.into(),
            pin: Secret::new(PIN),
            audit: audit::Settings::default(),
            keys: vault::KeySettings {
                // As fast as it can.
                rotation_records_per_s: u32::MAX,
                ..vault::KeySettings::default()
            },
        };
        let merchant = MerchantId::parse("bench").ok().context("a merchant")?;
        Ok(Self { folder: folder.to_owned(), settings, merchant })
    }

    fn play(&self, act: &str, options: &Options) -> anyhow::Result<()> {
        match act {
            "write" => self.write(options),
            "fill" => self.fill(options),
            "rotate" => self.rotate(),
            _ => self.read(options),
        }
    }

    fn make(&self) -> anyhow::Result<Vault> {
        let so_pin = Secret::new("bench-so-pin-1234");
        Vault::init_token(&self.settings.module, LABEL, &so_pin, &self.settings.pin)?;
        Vault::init(&self.settings)?;
        let vault = Vault::open(&self.settings)?;
        vault::wait(vault.create_merchant(&self.merchant, NOW_S))?;
        Ok(vault)
    }

    /// How many tokens are acknowledged, and how long each takes, by the number of clients.
    fn write(&self, options: &Options) -> anyhow::Result<()> {
        let vault = Arc::new(self.make()?);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let window = Duration::from_secs(options.seconds);
        for clients in [1_u64, 16, 128, 1, 16, 128] {
            let flushes = vault.figures().flushes;
            let mut waits = runtime.block_on(self.load(&vault, clients, window))?;
            waits.sort_unstable();
            let acks = u64::try_from(waits.len())?;
            let flushes = vault.figures().flushes.saturating_sub(flushes);
            let shared = acks.checked_div(flushes).unwrap_or_default();
            say(&format!(
                "tokenise, {clients} clients: {} acks/s, p50 {} us, p99 {} us, {shared} a flush",
                per_s(acks, window),
                quantile(&waits, 500),
                quantile(&waits, 990)
            ))?;
        }
        Ok(())
    }

    async fn load(
        &self,
        vault: &Arc<Vault>,
        clients: u64,
        window: Duration,
    ) -> anyhow::Result<Vec<u64>> {
        let until = Instant::now().checked_add(window).context("the window is too long")?;
        let client = |_| {
            let (vault, merchant) = (vault.clone(), self.merchant.clone());
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while Instant::now() < until {
                    let began = Instant::now();
                    vault.keep(&merchant, Secret::new(CARD), NOW_MS).await?;
                    waits.push(micros(began.elapsed()));
                }
                anyhow::Ok(waits)
            })
        };
        let tasks: Vec<_> = (0..clients).map(client).collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await??);
        }
        Ok(all)
    }

    /// Fills the vault, and remembers some of the tokens.
    fn fill(&self, options: &Options) -> anyhow::Result<()> {
        let vault = Arc::new(Vault::open(&self.settings)?);
        let before = vault.verify(|_| ())?.rows.iter().map(|(_, rows)| rows).sum::<u64>();
        // Some at least, to be read.
        let missing = options.tokens.saturating_sub(before).max(1_000);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
        let began = Instant::now();
        let sample = runtime.block_on(self.keep_many(&vault, missing))?;
        say(&format!("filling: {missing} tokens, {} a second", per_s(missing, began.elapsed())))?;
        let lines: String = sample.iter().map(|token| format!("{token}\n")).collect();
        Ok(fs::write(self.folder.join("sample"), lines)?)
    }

    async fn keep_many(&self, vault: &Arc<Vault>, many: u64) -> anyhow::Result<Vec<CardToken>> {
        let next = Arc::new(AtomicU64::new(0));
        let filler = |_| {
            let (vault, merchant, next) = (vault.clone(), self.merchant.clone(), next.clone());
            tokio::spawn(async move {
                let mut sample = Vec::new();
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= many {
                        return anyhow::Ok(sample);
                    }
                    let kept = vault.keep(&merchant, Secret::new(CARD), NOW_MS).await?;
                    if nth % SAMPLE_EVERY == 0 {
                        sample.push(kept.token);
                    }
                }
            })
        };
        let tasks: Vec<_> = (0..FILLERS).map(filler).collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await??);
        }
        Ok(all)
    }

    /// How long opening takes, what it keeps in memory, and how long the read for a charge takes.
    fn read(&self, options: &Options) -> anyhow::Result<()> {
        let began = Instant::now();
        let vault = Vault::open(&self.settings)?;
        let opened = millis(began.elapsed());
        let after_open = process::resident_kib(std::process::id())?;
        say(&format!("opening: {opened} ms, {} MiB resident", after_open / 1_024))?;
        let tokens = self.sample()?;
        self.time_reads(&vault, &tokens, "the first reads after opening", READS / 20)?;
        let began = Instant::now();
        walk(&vault)?;
        say(&format!("a walk over all tokens: {} ms", millis(began.elapsed())))?;
        self.time_reads(&vault, &tokens, "reads after that", READS)?;
        let resident = process::resident_kib(std::process::id())?;
        let bytes = bytes_in(&self.settings.directory)?;
        say(&format!(
            "memory: {} MiB resident after the reads; disk: {} bytes a token",
            resident / 1_024,
            bytes.checked_div(options.tokens).unwrap_or_default()
        ))?;
        self.read_all(&vault)
    }

    /// The tokens that were remembered when the vault was filled.
    fn sample(&self) -> anyhow::Result<Vec<CardToken>> {
        let text = fs::read_to_string(self.folder.join("sample"))?;
        let tokens: Vec<CardToken> =
            text.lines().filter_map(|line| CardToken::parse(line).ok()).collect();
        ensure!(!tokens.is_empty(), "no token was remembered");
        Ok(tokens)
    }

    /// Opens the card of a token for a charge, and says how many nanoseconds that took.
    fn read_one(&self, vault: &Vault, token: &CardToken) -> anyhow::Result<u64> {
        let who = Who::system();
        let purpose = vault::Use { who: &who, gateway: "Adyen", account: None, now: NOW_MS };
        loop {
            let operation = charge(token)?;
            let began = Instant::now();
            match vault.open_card(&self.merchant, operation, purpose, &mut CvvLoan::default()) {
                // Nobody charges so fast: the log has each line before the card is handed out.
                Err(CardError::Vault(VaultError::Audit(AuditError::Busy))) => {
                    thread::park_timeout(CATCH_UP);
                }
                opened => {
                    let took = u64::try_from(began.elapsed().as_nanos())?;
                    black_box(opened?);
                    return Ok(took);
                }
            }
        }
    }

    fn time_reads(
        &self,
        vault: &Vault,
        tokens: &[CardToken],
        what: &str,
        many: usize,
    ) -> anyhow::Result<()> {
        // A prime number of steps, so that each read is of another page than the one before.
        let some = tokens.iter().cycle().step_by(7_919).take(many);
        let times = some.map(|token| self.read_one(vault, token)).collect::<Result<Vec<_>, _>>()?;
        say_times(what, times)
    }

    /// How fast the key of all tokens is exchanged, alone and beside readers.
    fn rotate(&self) -> anyhow::Result<()> {
        let vault = Arc::new(Vault::open(&self.settings)?);
        let tokens = self.sample()?;
        walk(&vault)?;
        let _tender = Tender::start(&vault)?;
        self.rotate_once(&vault, "alone")?;
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = |nth: usize| {
                let (vault, tokens, over) = (&*vault, &*tokens, &over);
                scope.spawn(move || self.read_until(vault, tokens, nth, over))
            };
            let readers: Vec<_> = (0..READERS).map(reader).collect();
            let rotated = self.rotate_once(&vault, "beside readers");
            over.store(true, Ordering::SeqCst);
            let mut times = Vec::new();
            for reader in readers {
                times.extend(reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??);
            }
            say_times("reads meanwhile", times)?;
            rotated
        })
    }

    fn rotate_once(&self, vault: &Vault, what: &str) -> anyhow::Result<()> {
        let ended = vault.progress().ended;
        let began = Instant::now();
        vault::wait(vault.rotate(Some(self.merchant.clone()), &Who::system(), NOW_S))?;
        // From the first record on: it rests for up to a second before it begins.
        let (mut first, mut last, mut records) = (began, began, 0);
        while vault.progress().ended == ended {
            let now = vault.progress().records;
            if records == 0 {
                first = Instant::now();
            }
            if now > records {
                (last, records) = (Instant::now(), now);
            }
            thread::park_timeout(LOOK);
        }
        let (sealing, all) = (last.duration_since(first), first.elapsed());
        say(&format!(
            "rotation {what}: {records} records, {} a second sealed anew, {} a second with the second \
             look",
            per_s(records, sealing),
            per_s(records, all)
        ))
    }

    fn read_until(
        &self,
        vault: &Vault,
        tokens: &[CardToken],
        nth: usize,
        over: &AtomicBool,
    ) -> anyhow::Result<Vec<u64>> {
        let mut times = Vec::new();
        for token in tokens.iter().cycle().skip(nth).step_by(7_919) {
            if over.load(Ordering::SeqCst) {
                break;
            }
            times.push(self.read_one(vault, token)?);
            thread::park_timeout(READER_PAUSE);
        }
        Ok(times)
    }

    /// The check of everything, and a backup.
    fn read_all(&self, vault: &Vault) -> anyhow::Result<()> {
        let began = Instant::now();
        let report = vault.verify(|_| ())?;
        ensure!(report.is_whole(), "the vault is not whole: {report:?}");
        let rows = report.rows.iter().map(|(_, rows)| rows).sum();
        say(&format!(
            "check of everything: {rows} rows, {} a second",
            per_s(rows, began.elapsed())
        ))?;
        let began = Instant::now();
        let file = fs::File::create(self.folder.join("backup"))?;
        let report = vault.backup(std::io::BufWriter::new(file), NOW_MS, |_| ())?;
        let rate = per_s(report.rows, began.elapsed());
        say(&format!("backup: {} rows, {rate} a second, {} bytes", report.rows, report.bytes))
    }
}
