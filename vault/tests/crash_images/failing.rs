//! A disk that fails a sync, and one that is full: what the store does as seen from outside.
//!
//! Both end the process, so each is a process of its own.

use crate::scratch::Scratch;
use crate::tape::{Engine, FREE, ROOM, SYNCS_LEFT, Tape, die_after};
use crate::{CACHE, disk::Disk};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::{env, io, thread};
use vault::store::{Collection, SledStore, Store, StoreError, Tuning, wait};

const DIRECTORY: &str = "ORCHESTRA_TEST_FAILING_DIRECTORY";
const PART: &str = "ORCHESTRA_TEST_FAILING_PART";
const PATIENCE_SECONDS: u32 = 120;
const SIGABRT: i32 = 6;
const MIB: u64 = 1 << 20;

const WRITERS: usize = 4;
const WRITES: usize = 80;
/// Files of the write-ahead log that are soon full, so that syncs of sled's log fail as well.
const LOG_BYTES: u64 = 32 * 1024;

/// After how many syncs one fails: in the midst of making the store, and of using it.
const FAILING: [i64; 17] = [0, 1, 2, 4, 7, 10, 13, 17, 21, 26, 32, 41, 55, 67, 71, 80, 90];

/// Plays a part, if this process is there for that.
#[expect(clippy::disallowed_methods, reason = "a test tells its own child what to do")]
pub(crate) fn play() -> bool {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else { return false };
    die_after(PATIENCE_SECONDS);
    let tape = Tape::start(&directory, &Disk::default(), Engine::Ours);
    match env::var(PART).unwrap().as_str() {
        "full" => fill(&directory),
        syncs => fail(&directory, syncs.parse().unwrap()),
    }
    tape.stop();
    true
}

fn run(directory: &Path, part: &str) -> Output {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "what_was_acknowledged_survives_power_cuts", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(PART, part)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn say(line: &str) {
    // One write, so that threads do not mix, and a line of its own beside those of the harness.
    io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

fn said<'a>(output: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    output.lines().filter_map(move |line| line.strip_prefix(word)).map(str::trim)
}

fn value(key: &str) -> Vec<u8> {
    // Some of them take several records.
    let bytes = if key.ends_with('3') { 9_000 } else { 500 };
    key.bytes().cycle().take(bytes).collect()
}

fn put(store: &SledStore, key: &str) -> Result<bool, StoreError> {
    wait(store.put_if_absent(Collection::Tokens, key.into(), value(key)))
}

fn fail(directory: &Path, syncs: i64) {
    SYNCS_LEFT.store(syncs, SeqCst);
    let tuning = Tuning { log_bytes: LOG_BYTES, ..CACHE.into() };
    let Ok(store) = SledStore::create(directory, tuning) else { return say("not made") };
    say("made");
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for nth in 0..WRITES {
                    let key = format!("{writer}/{nth}");
                    put(store, &key).unwrap();
                    say(&format!("ack {key}"));
                }
            });
        }
    });
}

/// Whether everything is there that the part said it acknowledged.
fn kept(directory: &Path, output: &str) -> usize {
    let store = SledStore::open(directory, CACHE).unwrap();
    let acknowledged: Vec<_> = said(output, "ack ").collect();
    for key in &acknowledged {
        let found = store.get(Collection::Tokens, key.as_bytes()).unwrap();
        assert!(found == Some(value(key)), "{key} was acknowledged");
    }
    assert_eq!(put(&store, "again"), Ok(true));
    acknowledged.len()
}

/// As Linux does it: what was not on the disk yet is gone, and the next sync succeeds.
#[test]
fn a_sync_that_fails_once_ends_the_process_and_loses_nothing() {
    let (mut in_use, mut acknowledged) = (0, 0);
    for syncs in FAILING {
        let scratch = Scratch::new();
        let output = run(scratch.path(), &syncs.to_string());
        let text = String::from_utf8_lossy(&output.stdout);
        if said(&text, "made").next().is_none() {
            assert!(said(&text, "not made").next().is_some(), "{syncs}: {output:?}");
            assert_eq!(said(&text, "ack ").count(), 0, "{syncs}");
            continue;
        }
        assert_eq!(output.status.signal(), Some(SIGABRT), "{syncs}: {output:?}");
        acknowledged += kept(scratch.path(), &text);
        in_use += 1;
    }
    println!("{in_use} failures in use, {acknowledged} acknowledged before them, all there");
    assert!(in_use >= 6 && acknowledged > 0, "{in_use}, {acknowledged}");
}

/// Fills the disk, reads, makes room, and has somebody else take all of it at once.
fn fill(directory: &Path) {
    FREE.store(80 * MIB, SeqCst);
    let store = SledStore::create(directory, CACHE).unwrap();
    let long = |nth: usize| vec![u8::try_from(nth % 251).unwrap(); 30_000];
    let put = |nth: usize| {
        wait(store.put_if_absent(Collection::Accounts, nth.to_be_bytes().to_vec(), long(nth)))
    };
    let full = (0..).find(|nth| put(*nth) == Err(StoreError::Full)).unwrap();
    assert!(full > 100 && FREE.load(SeqCst) > 32 * MIB, "{full}");
    // It reads, refuses, and loses nothing.
    for nth in 0..full {
        let found = store.get(Collection::Accounts, &nth.to_be_bytes()).unwrap();
        assert!(found == Some(long(nth)), "{nth}");
    }
    assert_eq!(put(full), Err(StoreError::Full));
    assert_eq!(wait(store.durable()), Ok(()));
    assert!(!store.healthy() && store.figures().refused_full >= 2);
    // Room: it goes on by itself.
    FREE.store(200 * MIB, SeqCst);
    for nth in 0..50 {
        let key = format!("after/{nth}");
        assert_eq!(crate::failing::put(&store, &key), Ok(true));
        assert!(store.healthy());
        say(&format!("ack {key}"));
    }
    // There seems to be room and is none, as with a quota: the engine's own write fails.
    ROOM.store(0, SeqCst);
    for nth in 0.. {
        let key = format!("late/{nth}");
        if crate::failing::put(&store, &key) == Ok(true) {
            say(&format!("ack {key}"));
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_reads_and_recovers_by_itself() {
    let scratch = Scratch::new();
    let output = run(scratch.path(), "full");
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let acknowledged = kept(scratch.path(), &text);
    assert!(acknowledged >= 50, "{text}");
}
