//! What the ledger notices, and what it must not: it is kept through every test of this program.

use crate::clerk::{Clerk, apart, walk};
use crate::scratch::Scratch;
use crate::{CACHE, create, open};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use vault::store::{Collection, Follow, LedgerError, SledStore, Store, Write, wait};

fn put(key: &str, value: &[u8]) -> Write {
    Write::Put { collection: Collection::Tokens, key: key.into(), value: value.to_vec() }
}

fn delete(key: &str) -> Write {
    Write::Delete { collection: Collection::Tokens, key: key.into() }
}

/// A change that somebody makes who can write to the disk.
fn behind_its_back(scratch: &Scratch, writes: Vec<Write>) {
    let store = SledStore::open(scratch.path(), CACHE).unwrap();
    wait(store.batch(writes)).unwrap();
}

#[test]
fn a_change_behind_the_back_of_the_store_is_found() {
    let long = vec![7; 9_000];
    for (what, change, back) in [
        ("put back", put("a", b"old"), put("a", b"new")),
        ("changed", put("b", b"x"), put("b", b"y")),
        ("taken away", delete("b"), put("b", b"y")),
        ("brought back", put("gone", b"z"), delete("gone")),
        ("made", put("strange", b"z"), delete("strange")),
    ] {
        let scratch = Scratch::new();
        let store = create(&scratch);
        wait(store.batch(vec![put("a", b"old"), put("b", b"y"), put("gone", b"z")])).unwrap();
        wait(store.batch(vec![put("a", b"new"), delete("gone"), put("long", &long)])).unwrap();
        assert!(apart(&store).is_empty(), "{what}");
        drop(store);
        behind_its_back(&scratch, vec![change]);
        let store = open(scratch.path());
        assert_eq!(apart(&store), ["tokens"], "{what}");
        // Neither writing nor time heals it; undoing it does.
        wait(store.put_if_absent(Collection::Tokens, b"later".to_vec(), vec![1])).unwrap();
        assert_eq!(apart(&store), ["tokens"], "{what}");
        drop(store);
        behind_its_back(&scratch, vec![back]);
        assert!(apart(&open(scratch.path())).is_empty(), "{what}");
    }
    // A long value is put back by its old parts: these count as well.
    let scratch = Scratch::new();
    let store = create(&scratch);
    wait(store.batch(vec![put("long", &long)])).unwrap();
    drop(store);
    behind_its_back(&scratch, vec![put("long", &long)]);
    assert_eq!(apart(&open(scratch.path())), ["tokens", "parts"]);
}

#[test]
fn the_last_write_that_was_acknowledged_is_not_in_doubt() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let put = store.put_if_absent(Collection::Tokens, b"last".to_vec(), b"value".to_vec());
    assert_eq!(wait(put), Ok(true));
    drop(store);
    behind_its_back(&scratch, vec![delete("last")]);
    assert_eq!(apart(&open(scratch.path())), ["tokens"]);
}

#[test]
fn a_ledger_of_another_and_none_are_refused() {
    let scratch = Scratch::new();
    drop(create(&scratch));
    let store = SledStore::open(scratch.path(), CACHE).unwrap();
    assert_eq!(store.resume_ledger(Arc::new(Clerk(9))), Err(LedgerError::Unreadable));
    drop(store);
    let scratch = Scratch::new();
    let store = SledStore::create(scratch.path(), CACHE).unwrap();
    assert_eq!(store.resume_ledger(Arc::new(Clerk(1))), Err(LedgerError::Missing));
}

/// Writes to a few keys until told to stop, and counts.
fn write_all_the_time(store: &SledStore, stop: &AtomicBool, written: &AtomicU64, writer: u64) {
    for nth in (0_u64..).take_while(|_| !stop.load(Ordering::SeqCst)) {
        let key = format!("{}/{writer}", nth * 7 % 900);
        match nth % 4 {
            0 => wait(store.batch(vec![put(&key, &vec![1; 5_000]), put("shared", &[2])])).unwrap(),
            1 => wait(store.batch(vec![delete(&key)])).unwrap(),
            _ => {
                let value = nth.to_be_bytes().to_vec();
                let key = key.into_bytes();
                let old = store.get(Collection::Tokens, &key).unwrap();
                wait(store.compare_and_swap(Collection::Tokens, key, old, Some(value))).unwrap();
            }
        }
        written.fetch_add(1, Ordering::SeqCst);
    }
}

/// Tells writers to stop, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_walk_under_load_ends_with_the_store_as_it_is_then() {
    let scratch = Scratch::new();
    let store = create(&scratch);
    let many = |nth: u32| put(&format!("{nth}/0"), &nth.to_be_bytes());
    (0..10).for_each(|n| wait(store.batch((n * 200..n * 200 + 200).map(many).collect())).unwrap());
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for writer in 0..4 {
            let (store, stop, written) = (&store, &stop, &written);
            scope.spawn(move || write_all_the_time(store, stop, written, writer));
        }
        let _stop = Stop(&stop);
        for _ in 0..5 {
            let before = written.load(Ordering::SeqCst);
            while written.load(Ordering::SeqCst) < before + 40 {
                thread::yield_now();
            }
            let (rows, end) = walk(&store, Follow::Changes);
            assert!(end.apart.is_empty(), "{end:?}");
            // What was told, the last of each row, makes a store with the same ledger.
            let told: BTreeMap<_, _> =
                rows.into_iter().map(|row| ((row.tree, row.key), row.record)).collect();
            let copy = Scratch::new();
            let mut restore = vault::store::Restore::begin(copy.path(), CACHE).unwrap();
            for ((tree, key), record) in told {
                restore.put(tree, &key, record.as_deref()).unwrap();
            }
            restore.finish(&end.ledger).unwrap();
            vault::store::Restore::end(copy.path()).unwrap();
            assert!(apart(&open(copy.path())).is_empty());
        }
    });
    assert!(apart(&store).is_empty());
}
