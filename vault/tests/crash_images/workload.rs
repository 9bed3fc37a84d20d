//! What the writers do, and what must be there of it after a cut.

use crate::tape::{Event, Tape};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use vault::store::{Collection, PAGE_ENTRIES_MAX, SledStore, Store, Write, wait};

/// Where the writers write.
pub(crate) const COLLECTIONS: [Collection; 3] =
    [Collection::Tokens, Collection::Accounts, Collection::Merchants];

/// How many keys each writer has in each collection: few, so that most deeds overwrite.
const KEYS: usize = 6;

/// All that is in a store, by the number of the collection.
pub(crate) type Content = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

/// How much is done, and of what kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    pub(crate) writers: usize,
    pub(crate) deeds: usize,
    pub(crate) segment_bytes: usize,
    pub(crate) log_bytes: u64,
    pub(crate) values: Values,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Short,
    /// Some of them take several records.
    AlsoLong,
}

/// One thing that a writer does to keys of its own.
#[derive(Clone, Debug)]
struct Deed {
    how: How,
    puts: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    PutIfAbsent,
    Swap,
    Batch,
    /// Reads what another one wrote, and makes sure of it.
    Observe,
}

/// What was promised by the time of a cut.
#[derive(Debug, Default)]
pub(crate) struct Promised {
    /// How many deeds of each writer are acknowledged.
    pub(crate) acknowledged: Vec<usize>,
    /// How many deeds of each writer have been seen by somebody, durably.
    seen: Vec<usize>,
}

// === impl Load ===

impl Load {
    /// The `nth` deed of `writer`: the same in each run.
    fn deed(&self, writer: usize, nth: usize) -> Deed {
        let seed = self.seed.wrapping_mul(31).wrapping_add(u64::try_from(writer).unwrap());
        let mut rng = StdRng::seed_from_u64(seed << 20 | u64::try_from(nth).unwrap());
        let how = [How::PutIfAbsent, How::Swap, How::Swap, How::Swap, How::Batch, How::Observe];
        let how = *how.choose(&mut rng).unwrap();
        let count = match how {
            How::Batch if rng.random_ratio(1, 5) => rng.random_range(10..=18),
            How::Batch => rng.random_range(2..=5),
            How::PutIfAbsent | How::Swap | How::Observe => 1,
        };
        // A put that finds nothing is the more likely, the fewer there are.
        let deletes = how != How::PutIfAbsent;
        let put = |_| {
            let key = format!("{writer}/{}", rng.random_range(0..KEYS)).into_bytes();
            let bytes = self.value_bytes(&mut rng);
            let mark = format!("{writer}/{nth}/").into_bytes();
            let value = mark.into_iter().cycle().take(bytes).collect();
            let put = !deletes || rng.random_ratio(3, 4);
            (rng.random_range(0..COLLECTIONS.len()), key, put.then_some(value))
        };
        Deed { how, puts: (0..count).map(put).collect() }
    }

    fn value_bytes(&self, rng: &mut StdRng) -> usize {
        match self.values {
            Values::AlsoLong if rng.random_ratio(1, 8) => rng.random_range(4_000..14_000),
            Values::AlsoLong | Values::Short => rng.random_range(40..320),
        }
    }

    /// Has all writers do all deeds, and every acknowledgement noted on `tape`.
    pub(crate) fn carry_out(&self, store: &SledStore, tape: &Tape) {
        thread::scope(|scope| {
            for writer in 0..self.writers {
                scope.spawn(move || {
                    let mut own = Content::new();
                    for nth in 0..self.deeds {
                        self.deed(writer, nth).carry_out(self, store, tape, &own);
                        tape.note(Event::Acknowledged { writer, nth });
                        self.deed(writer, nth).upon(&mut own);
                    }
                });
            }
        });
    }

    /// Compares what is there with what was promised.
    ///
    /// Each writer's content is as after its acknowledged deeds, or also after the next one, which
    /// was under way; that one too if somebody was shown it.
    pub(crate) fn check(&self, promised: &Promised, found: &Content) -> Result<(), String> {
        let mut left: BTreeSet<_> = found.keys().collect();
        for writer in 0..self.writers {
            let prefix = format!("{writer}/").into_bytes();
            let own = || found.iter().filter(|((_, key), _)| key.starts_with(&prefix));
            own().for_each(|(key, _)| {
                left.remove(key);
            });
            let own = own().map(|(key, value)| (key.clone(), value.clone())).collect();
            self.check_writer(writer, promised, &own)?;
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{} keys of nobody", left.len())) }
    }

    fn check_writer(
        &self,
        writer: usize,
        promised: &Promised,
        own: &Content,
    ) -> Result<(), String> {
        let acknowledged = promised.acknowledged.get(writer).copied().unwrap_or(0);
        let seen = promised.seen.get(writer).copied().unwrap_or(0);
        let mut content = Content::new();
        (0..acknowledged).for_each(|nth| self.deed(writer, nth).upon(&mut content));
        if *own == content && seen <= acknowledged {
            return Ok(());
        }
        let before = content.clone();
        if acknowledged < self.deeds {
            self.deed(writer, acknowledged).upon(&mut content);
        }
        if *own == content {
            return Ok(());
        }
        let wrong = |expected: &Content| {
            let keys: BTreeSet<_> = expected.keys().chain(own.keys()).collect();
            keys.iter().filter(|key| expected.get(*key) != own.get(*key)).count()
        };
        Err(format!(
            "writer {writer}: {} of {} keys are not as after {acknowledged} acknowledged deeds, \
             {} not as after the next one ({seen} seen)",
            wrong(&before),
            before.len(),
            wrong(&content),
        ))
    }
}

// === impl Deed ===

impl Deed {
    fn carry_out(&self, load: &Load, store: &SledStore, tape: &Tape, own: &Content) {
        let [(collection, key, value), ..] = &self.puts[..] else { return };
        let name = (*collection, key.clone());
        let (into, key, value) = (COLLECTIONS[*collection], key.clone(), value.clone());
        match self.how {
            How::PutIfAbsent => {
                let put = wait(store.put_if_absent(into, key, value.unwrap_or_default()));
                assert_eq!(put, Ok(!own.contains_key(&name)));
            }
            How::Swap => {
                let swap = store.compare_and_swap(into, key, own.get(&name).cloned(), value);
                assert_eq!(wait(swap), Ok(true));
            }
            How::Batch => wait(store.batch(self.writes())).unwrap(),
            How::Observe => observe(load, store, tape, *collection, &key),
        }
    }

    fn writes(&self) -> Vec<Write> {
        let write = |(collection, key, value): &(usize, Vec<u8>, Option<Vec<u8>>)| {
            let (collection, key) = (COLLECTIONS[*collection], key.clone());
            match value.clone() {
                Some(value) => Write::Put { collection, key, value },
                None => Write::Delete { collection, key },
            }
        };
        self.puts.iter().map(write).collect()
    }

    fn upon(&self, content: &mut Content) {
        for (collection, key, value) in &self.puts {
            let name = (*collection, key.clone());
            match (self.how, value) {
                (How::Observe, _) => {}
                (How::PutIfAbsent, Some(value)) => {
                    content.entry(name).or_insert_with(|| value.clone());
                }
                (How::Swap | How::Batch, Some(value)) => {
                    content.insert(name, value.clone());
                }
                (_, None) => drop(content.remove(&name)),
            }
        }
    }
}

/// Reads what is under the key of the neighbour of the writer of `key`, and waits until it is
/// durable: whoever is told of it may rely on it.
fn observe(load: &Load, store: &SledStore, tape: &Tape, collection: usize, key: &[u8]) {
    let key = String::from_utf8_lossy(key);
    let (writer, nth) = key.split_once('/').unwrap();
    let writer = (writer.parse::<usize>().unwrap() + 1) % load.writers;
    let key = format!("{writer}/{nth}");
    let found = store.get(COLLECTIONS[collection], key.as_bytes()).unwrap();
    wait(store.durable()).unwrap();
    if let Some(value) = found {
        let value = String::from_utf8_lossy(&value);
        let nth = value.split('/').nth(1).unwrap().parse().unwrap();
        tape.note(Event::Seen { writer, nth });
    }
}

// === impl Promised ===

impl Promised {
    pub(crate) fn by(events: &[Event]) -> Self {
        let mut promised = Self::default();
        let raise = |counts: &mut Vec<usize>, writer: usize, to: usize| {
            if counts.len() <= writer {
                counts.resize(writer + 1, 0);
            }
            counts[writer] = counts[writer].max(to);
        };
        for event in events {
            match event {
                Event::Acknowledged { writer, nth } => {
                    raise(&mut promised.acknowledged, *writer, nth + 1);
                }
                Event::Seen { writer, nth } => raise(&mut promised.seen, *writer, nth + 1),
                _ => {}
            }
        }
        promised
    }

    pub(crate) fn count(&self) -> usize {
        self.acknowledged.iter().sum()
    }
}

/// Everything that is in the collections of the writers.
pub(crate) fn content(store: &SledStore) -> Result<Content, String> {
    let mut content = Content::new();
    for (number, collection) in COLLECTIONS.into_iter().enumerate() {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.page(collection, after.as_deref(), b"", PAGE_ENTRIES_MAX);
            let page = page.map_err(|error| format!("{collection:?} cannot be read: {error}"))?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            content.extend(page.into_iter().map(|(key, value)| ((number, key), value)));
        }
    }
    Ok(content)
}
