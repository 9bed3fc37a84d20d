//! What the store does when the disk, or the build, lets it down.
//!
//! A fault holds for a whole process, so each has a process of its own: this test program again,
//! told by the environment which part to play.

use super::scratch::Scratch;
use super::sync::fault;
use super::{Collection, OpenError, Pending, SledStore, Store, StoreError, Write, wait};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::{env, fs, io};

const CACHE: u64 = 8 << 20;
const PART: &str = "ORCHESTRA_TEST_STORE_PART";
const DIRECTORY: &str = "ORCHESTRA_TEST_STORE_DIRECTORY";
const SIGABRT: i32 = 6;

/// Runs the test of this name, in a process of its own, as `part`.
fn play(test: &str, part: &str, directory: &Path) -> Output {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("store::faults::{test}"), "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env(DIRECTORY, directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Where to play which part; `None` in the process that directs.
#[expect(clippy::disallowed_methods, reason = "a test tells its own child what to do")]
fn part() -> Option<(String, PathBuf)> {
    Some((env::var(PART).ok()?, env::var_os(DIRECTORY)?.into()))
}

fn acknowledge(key: &str) {
    // One write, so that threads do not mix, and a line of its own beside those of the harness.
    io::stdout().write_all(format!("\nack {key}\n").as_bytes()).unwrap();
}

fn acknowledged(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.strip_prefix("ack ")).map(str::to_owned).collect()
}

fn put(store: &SledStore, key: &str) -> Result<bool, StoreError> {
    wait(store.put_if_absent(Collection::Tokens, key.into(), b"value".to_vec()))
}

fn write_as(part: &str, store: &SledStore, key: &str) -> Result<bool, StoreError> {
    let (collection, key) = (Collection::Tokens, key.as_bytes().to_vec());
    match part {
        "put" => wait(store.put_if_absent(collection, key, b"value".to_vec())),
        // The key is there: what loses must not be told before what won is durable.
        "lose" => {
            let key = b"before".to_vec();
            wait(store.compare_and_swap(Collection::Tokens, key.clone(), None, Some(key)))
        }
        "long" => wait(store.put_if_absent(collection, key, vec![7; 20_000])),
        _ => {
            let value = b"value".to_vec();
            wait(store.batch(vec![Write::Put { collection, key, value }])).map(|()| true)
        }
    }
}

/// Writes well, then on a disk that fails, and says what was acknowledged.
fn write_until_the_disk_fails(part: &str, directory: &Path) {
    let store = SledStore::create(directory, CACHE).unwrap();
    assert_eq!(put(&store, "before"), Ok(true));
    acknowledge("before");
    fault::SYNCS_LEFT.store(0, SeqCst);
    thread::scope(|scope| {
        for nth in 0..8 {
            let store = &store;
            scope.spawn(move || {
                let key = format!("after {nth}");
                if write_as(part, store, &key).is_ok() {
                    acknowledge(&key);
                }
            });
        }
    });
}

#[test]
fn a_failed_sync_ends_the_process_and_loses_nothing() {
    const TEST: &str = "a_failed_sync_ends_the_process_and_loses_nothing";
    if let Some((part, directory)) = part() {
        return write_until_the_disk_fails(&part, &directory);
    }
    for part in ["put", "batch", "long"] {
        let scratch = Scratch::new();
        let output = play(TEST, part, scratch.path());
        assert_eq!(output.status.signal(), Some(SIGABRT), "{part}: {output:?}");
        assert_eq!(acknowledged(&output), ["before"], "{part}");
        let store = SledStore::open(scratch.path(), CACHE).unwrap();
        let before = store.get(Collection::Tokens, b"before").unwrap();
        assert_eq!(before.as_deref(), Some(&b"value"[..]), "{part}");
        assert_eq!(put(&store, "again"), Ok(true), "{part}");
    }
}

#[test]
fn a_flush_that_does_not_reach_our_sync_refuses_to_open() {
    const TEST: &str = "a_flush_that_does_not_reach_our_sync_refuses_to_open";
    if let Some((part, directory)) = part() {
        fault::UNCOUNTED.store(true, SeqCst);
        let opened = match part.as_str() {
            "create" => SledStore::create(&directory, CACHE),
            _ => SledStore::open(&directory, CACHE),
        };
        assert!(matches!(opened, Err(OpenError::NotDurable)), "{opened:?}");
        return acknowledge("refused");
    }
    let [new, old] = [Scratch::new(), Scratch::new()];
    drop(SledStore::create(old.path(), CACHE).unwrap());
    for (part, scratch) in [("create", &new), ("open", &old)] {
        let output = play(TEST, part, scratch.path());
        assert!(output.status.success(), "{part}: {output:?}");
        assert_eq!(acknowledged(&output), ["refused"], "{part}");
    }
    // A creation that was refused is not taken for a store later.
    let opened = SledStore::open(new.path(), CACHE);
    assert!(matches!(opened, Err(OpenError::Unfinished(_))), "{opened:?}");
    drop(SledStore::open(old.path(), CACHE).unwrap());
}

#[test]
fn a_full_disk_stops_writing_and_not_reading() {
    let scratch = Scratch::new();
    let store = SledStore::create(scratch.path(), CACHE).unwrap();
    assert_eq!(put(&store, "before"), Ok(true));
    assert!(store.healthy());
    store.space().pretend_least(u64::MAX);
    assert!(!store.healthy());
    for part in ["put", "batch", "long", "lose"] {
        assert_eq!(write_as(part, &store, "during"), Err(StoreError::Full), "{part}");
    }
    assert_eq!(store.get(Collection::Tokens, b"during"), Ok(None));
    assert!(store.get(Collection::Tokens, b"before").unwrap().is_some());
    assert_eq!(wait(store.durable()), Ok(()));
    assert_eq!(store.figures().refused_full, 4);
    store.space().pretend_least(0);
    assert!(store.healthy());
    assert_eq!(put(&store, "after"), Ok(true));
}

#[test]
fn parts_of_long_values_go_with_their_values() {
    let scratch = Scratch::new();
    let store = SledStore::create(scratch.path(), CACHE).unwrap();
    let (collection, key) = (Collection::Accounts, b"key".to_vec());
    let long = vec![1; 10_000];
    let longer = vec![2; 20_000];
    let swap = |old: Option<&Vec<u8>>, new: Option<&Vec<u8>>| {
        wait(store.compare_and_swap(collection, key.clone(), old.cloned(), new.cloned()))
    };
    let put = |value: Vec<u8>| Write::Put { collection, key: key.clone(), value };
    let batch = |writes: Vec<Write>| wait(store.batch(writes)).map(|()| true);
    let check = |done: Result<bool, StoreError>, expected: bool, parts: usize| {
        assert_eq!((done, store.parts_len()), (Ok(expected), parts));
    };
    check(swap(None, Some(&long)), true, 3);
    check(swap(None, Some(&longer)), false, 3);
    check(swap(Some(&longer), None), false, 3);
    check(swap(Some(&long), Some(&longer)), true, 5);
    check(swap(Some(&longer), None), true, 0);
    check(batch(vec![put(longer), put(long)]), true, 3);
    check(batch(vec![put(b"short".to_vec())]), true, 0);
}

/// Has all of them queued, in this order, before it waits for any.
fn wait_all(mut writes: Vec<Pending<'_, bool>>) -> Vec<Result<bool, StoreError>> {
    let mut cx = Context::from_waker(Waker::noop());
    let early: Vec<_> = writes.iter_mut().map(|write| write.as_mut().poll(&mut cx)).collect();
    let results = writes.into_iter().zip(early).map(|(write, early)| match early {
        Poll::Ready(result) => result,
        Poll::Pending => wait(write),
    });
    results.collect()
}

#[test]
fn a_lost_part_is_damage_and_not_absence() {
    let scratch = Scratch::new();
    let store = SledStore::create(scratch.path(), CACHE).unwrap();
    let (collection, key) = (Collection::Accounts, b"key".to_vec());
    let long = vec![1; 10_000];
    assert_eq!(wait(store.put_if_absent(collection, key.clone(), long.clone())), Ok(true));
    drop(store);
    let store = SledStore::open(scratch.path(), CACHE).unwrap();
    store.lose_a_part();
    assert_eq!(store.get(collection, &key), Err(StoreError::Corrupt));
    assert_eq!(store.page(collection, None, b"", 10), Err(StoreError::Corrupt));
    let swapped = wait(store.compare_and_swap(collection, key.clone(), Some(long), None));
    assert_eq!(swapped, Err(StoreError::Corrupt));
    // Nor does it touch what is changed together with it.
    let beside = |key: &str| store.put_if_absent(collection, key.into(), vec![3; 5_000]);
    let swap = store.compare_and_swap(collection, key.clone(), Some(vec![1; 10_000]), None);
    let results = wait_all(vec![beside("a"), swap, beside("b")]);
    assert_eq!(results, [Ok(true), Err(StoreError::Corrupt), Ok(true)]);
    // What is damaged can still be deleted.
    assert_eq!(wait(store.batch(vec![Write::Delete { collection, key: key.clone() }])), Ok(()));
    assert_eq!(store.get(collection, &key), Ok(None));
    assert_eq!(fs::read_dir(scratch.path().join("blobs")).unwrap().count(), 0);
}
