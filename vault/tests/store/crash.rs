//! `kill -9` under load, again and again: what was acknowledged is there, as it was written last.
//!
//! The writers are this test program in a process of its own. Each of them has keys of its own and
//! a fixed list of things to do; it says which of them are acknowledged. At most the one that was
//! not yet may, or may not, have happened when the process died.

use crate::clerk::apart;
use crate::scratch::Scratch;
use crate::{CACHE, create, open};
use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use vault::store::{Collection, OpenError, SledStore, Store, Write, wait};

const ROUNDS: u64 = 24;
const WRITERS: u64 = 8;
const KEYS: u64 = 7;
const DIRECTORY: &str = "ORCHESTRA_TEST_STORE_CRASH";
const ROUND: &str = "ORCHESTRA_TEST_STORE_ROUND";

/// What one writer does to one of its keys; `None` deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Deed {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// One record, by compare-and-swap.
    Alone,
    /// In two collections at once.
    InBoth,
}

/// What the collections `Tokens` and `Accounts` hold under a key.
type Pair = (Option<Vec<u8>>, Option<Vec<u8>>);

impl Deed {
    /// The `nth` thing that `writer` does in `round`.
    fn new(round: u64, writer: u64, nth: u64) -> Self {
        let key = format!("{writer}/{}", (nth * 5) % KEYS).into_bytes();
        let mark = format!("{round}/{writer}/{nth}/").into_bytes();
        // Now and then a value that takes several records.
        let bytes = if nth % 9 == 4 { 9_000 } else { 300 };
        let value = (nth % 6 != 5).then(|| mark.iter().copied().cycle().take(bytes).collect());
        let how = if (writer + nth).is_multiple_of(3) { How::InBoth } else { How::Alone };
        Self { key, value, how }
    }

    fn carry_out(self, store: &SledStore) {
        match self.how {
            How::Alone => {
                let old = store.get(Collection::Tokens, &self.key).unwrap();
                let swap = store.compare_and_swap(Collection::Tokens, self.key, old, self.value);
                // Nobody else writes this key.
                assert_eq!(wait(swap), Ok(true));
            }
            How::InBoth => {
                let both = [Collection::Tokens, Collection::Accounts];
                wait(store.batch(both.map(|collection| self.write(collection)).into())).unwrap();
            }
        }
    }

    fn write(&self, collection: Collection) -> Write {
        let key = self.key.clone();
        match self.value.clone() {
            Some(value) => Write::Put { collection, key, value },
            None => Write::Delete { collection, key },
        }
    }

    fn upon(&self, before: &Pair) -> Pair {
        match self.how {
            How::Alone => (self.value.clone(), before.1.clone()),
            How::InBoth => (self.value.clone(), self.value.clone()),
        }
    }
}

/// The part of the process that is killed.
fn write_until_killed(round: u64, directory: &Path) {
    let store = open(directory);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for nth in 0.. {
                    Deed::new(round, writer, nth).carry_out(store);
                    let line = format!("\nack {writer} {nth}\n");
                    io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "a test tells its own child what to do")]
fn part() -> Option<(u64, PathBuf)> {
    Some((env::var(ROUND).ok()?.parse().ok()?, env::var_os(DIRECTORY)?.into()))
}

fn start(round: u64, directory: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::what_was_acknowledged_survives_kill_9", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How many deeds of each writer are acknowledged when the process is killed after `patience`.
fn kill_after(patience: usize, round: u64, directory: &Path) -> BTreeMap<u64, u64> {
    let mut child = start(round, directory);
    let mut acknowledged = BTreeMap::new();
    let (mut seen, mut killed) = (0, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((writer, nth)) = line.strip_prefix("ack ").and_then(|ack| ack.split_once(' '))
        else {
            continue;
        };
        let (writer, nth): (u64, u64) = (writer.parse().unwrap(), nth.parse().unwrap());
        assert_eq!(acknowledged.insert(writer, nth + 1).unwrap_or(0), nth);
        seen += 1;
        if seen == patience {
            let locked = SledStore::open(directory, CACHE).unwrap_err();
            assert!(matches!(locked, OpenError::Locked(_)), "{locked:?}");
            child.kill().unwrap();
            killed = true;
        }
    }
    assert!(killed, "the writers ended by themselves: {:?}", child.wait());
    child.wait().unwrap();
    acknowledged
}

fn pair(store: &SledStore, key: &[u8]) -> Pair {
    let value = |collection| store.get(collection, key).unwrap();
    (value(Collection::Tokens), value(Collection::Accounts))
}

/// Compares what a writer was promised with what is there, and takes over what is there.
fn check(
    store: &SledStore,
    model: &mut BTreeMap<Vec<u8>, Pair>,
    (round, writer): (u64, u64),
    acknowledged: u64,
) {
    for deed in (0..acknowledged).map(|nth| Deed::new(round, writer, nth)) {
        let pair = model.entry(deed.key.clone()).or_default();
        *pair = deed.upon(pair);
    }
    let in_flight = Deed::new(round, writer, acknowledged);
    for nth in 0..KEYS {
        let key = format!("{writer}/{nth}").into_bytes();
        let found = pair(store, &key);
        let promised = model.entry(key.clone()).or_default();
        let allowed = key == in_flight.key && found == in_flight.upon(promised);
        assert!(
            found == *promised || allowed,
            "round {round}, writer {writer}, key {nth}, {acknowledged} acknowledged"
        );
        *promised = found;
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some((round, directory)) = part() {
        return write_until_killed(round, &directory);
    }
    let scratch = Scratch::new();
    drop(create(&scratch));
    let mut model = BTreeMap::new();
    for round in 0..ROUNDS {
        let patience = 1 + usize::try_from(round * 37 % 150).unwrap();
        let acknowledged = kill_after(patience, round, scratch.path());
        let store = open(scratch.path());
        assert!(apart(&store).is_empty(), "round {round}: the ledger cries wolf");
        for writer in 0..WRITERS {
            let acknowledged = acknowledged.get(&writer).copied().unwrap_or(0);
            check(&store, &mut model, (round, writer), acknowledged);
        }
    }
}
