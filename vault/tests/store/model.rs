//! Any sequence of calls does to the store what it does to a map, also across reopening.
//!
//! It holds for each engine: [`Engine`] is all that another one has to bring. The second one here
//! lives in memory, and shows that nothing is asked that only sled can do; with a flaw in it, it
//! shows that the model finds flaws.

use crate::clerk::apart;
use crate::memory::{Flaw, Memory};
use crate::scratch::Scratch;
use crate::{create, open};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use vault::store::{
    BATCH_WRITES_MAX, Collection, KEY_BYTES_MAX, SledStore, Store, StoreError, Swap,
    VALUE_BYTES_MAX, Write, wait,
};

/// A place in which one store can be made, and opened again when it is closed.
trait Engine {
    type Store: Store;

    fn create(&self) -> Self::Store;
    fn open(&self) -> Self::Store;

    /// Whether the store finds itself as it left itself.
    fn is_sound(store: &Self::Store) -> bool;
}

impl Engine for Scratch {
    type Store = SledStore;

    fn create(&self) -> SledStore {
        create(self)
    }

    fn open(&self) -> SledStore {
        open(self.path())
    }

    fn is_sound(store: &SledStore) -> bool {
        apart(store).is_empty()
    }
}

impl Engine for Memory {
    type Store = Self;

    fn create(&self) -> Self {
        self.clone()
    }

    fn open(&self) -> Self {
        self.again()
    }

    fn is_sound(_: &Self) -> bool {
        true
    }
}

type Model = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

const COLLECTIONS: [Collection; 2] = [Collection::Tokens, Collection::Accounts];

#[derive(Clone, Debug)]
enum Step {
    PutIfAbsent(Collection, Vec<u8>, Value),
    /// From what is there.
    Swap(Collection, Vec<u8>, Option<Value>),
    /// From what is probably not there.
    SwapFrom(Collection, Vec<u8>, Option<Value>, Option<Value>),
    /// Several at once, of which the last may be from what is probably not there.
    SwapAll(Vec<(Collection, Vec<u8>, Option<Value>)>, Option<Value>),
    Batch(Vec<(Collection, Vec<u8>, Option<Value>)>),
    /// What no store takes, as the last of these writes.
    Refused(Vec<(Collection, Vec<u8>, Option<Value>)>, Excess),
    Page(Collection, Option<Vec<u8>>, Vec<u8>, usize),
    Durable,
    Reopen,
}

/// What is over its maximum.
#[derive(Clone, Copy, Debug)]
enum Excess {
    Key,
    Value,
    Writes,
    Bytes,
}

/// A value that prints short.
#[derive(Clone, Debug)]
struct Value {
    fill: u8,
    bytes: usize,
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        vec![self.fill; self.bytes]
    }
}

fn collection() -> impl Strategy<Value = Collection> {
    prop::sample::select(&COLLECTIONS)
}

/// Few keys, so that they meet; among them the shortest, the longest and neighbours.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(Vec::new()),
        1 => Just(vec![0xff; KEY_BYTES_MAX]),
        2 => Just(vec![0xff]),
        8 => prop::collection::vec(prop::sample::select(&[0u8, b'a', b'b']), 1..4),
    ]
}

/// Around each size at which something changes.
fn value() -> impl Strategy<Value = Value> {
    let bytes = prop_oneof![
        4 => 0usize..300,
        2 => prop::sample::select(&[4_095usize, 4_096, 4_097, 8_192, 8_193]),
        1 => prop::sample::select(&[16_384usize, VALUE_BYTES_MAX]),
    ];
    (any::<u8>(), bytes).prop_map(|(fill, bytes)| Value { fill, bytes })
}

fn excess() -> impl Strategy<Value = Excess> {
    prop::sample::select(&[Excess::Key, Excess::Value, Excess::Writes, Excess::Bytes])
}

fn step() -> impl Strategy<Value = Step> {
    let writes = || prop::collection::vec((collection(), key(), prop::option::of(value())), 0..6);
    prop_oneof![
        4 => (collection(), key(), value()).prop_map(|(c, k, v)| Step::PutIfAbsent(c, k, v)),
        6 => (collection(), key(), prop::option::of(value()))
            .prop_map(|(c, k, new)| Step::Swap(c, k, new)),
        3 => (collection(), key(), prop::option::of(value()), prop::option::of(value()))
            .prop_map(|(c, k, old, new)| Step::SwapFrom(c, k, old, new)),
        4 => (writes(), prop::option::of(value())).prop_map(|(w, stale)| Step::SwapAll(w, stale)),
        4 => writes().prop_map(Step::Batch),
        1 => (writes(), excess()).prop_map(|(writes, excess)| Step::Refused(writes, excess)),
        1 => Just(Step::Durable),
        3 => (collection(), prop::option::of(key()), key(), 0usize..12)
            .prop_map(|(c, after, prefix, limit)| Step::Page(c, after, prefix, limit)),
        1 => Just(Step::Reopen),
    ]
}

fn put(model: &mut Model, collection: Collection, key: Vec<u8>, value: Option<Vec<u8>>) {
    match value {
        Some(value) => drop(model.insert((collection.name(), key), value)),
        None => drop(model.remove(&(collection.name(), key))),
    }
}

fn swap(
    store: &impl Store,
    model: &mut Model,
    (collection, key): (Collection, Vec<u8>),
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
) {
    let same = model.get(&(collection.name(), key.clone())) == old.as_ref();
    if same {
        put(model, collection, key.clone(), new.clone());
    }
    assert_eq!(wait(store.compare_and_swap(collection, key, old, new)), Ok(same));
}

fn swap_all(
    store: &impl Store,
    model: &mut Model,
    writes: Vec<(Collection, Vec<u8>, Option<Value>)>,
    stale: Option<Value>,
) {
    let mut swaps = BTreeMap::new();
    for (collection, key, value) in writes {
        let old = model.get(&(collection.name(), key.clone())).cloned();
        let new = value.map(|value| value.bytes());
        let swap = Swap { collection, key: key.clone(), old, new };
        swaps.insert((collection.name(), key), swap);
    }
    let mut swaps: Vec<_> = swaps.into_values().collect();
    if let (Some(last), Some(stale)) = (swaps.last_mut(), stale) {
        last.old = Some(stale.bytes());
    }
    let found =
        |one: &Swap| model.get(&(one.collection.name(), one.key.clone())) == one.old.as_ref();
    let all = swaps.iter().all(found);
    for Swap { collection, key, new, .. } in swaps.iter().filter(|_| all).cloned() {
        put(model, collection, key, new);
    }
    assert_eq!(wait(store.swap_all(swaps)), Ok(all));
}

fn write((collection, key, value): (Collection, Vec<u8>, Option<Value>)) -> Write {
    match value {
        Some(value) => Write::Put { collection, key, value: value.bytes() },
        None => Write::Delete { collection, key },
    }
}

fn batch(store: &impl Store, model: &mut Model, writes: Vec<(Collection, Vec<u8>, Option<Value>)>) {
    for (collection, key, value) in writes.clone() {
        put(model, collection, key, value.map(|value| value.bytes()));
    }
    assert_eq!(wait(store.batch(writes.into_iter().map(write).collect())), Ok(()));
}

/// What is refused changes nothing, whatever stands beside it.
fn refuse(store: &impl Store, writes: Vec<(Collection, Vec<u8>, Option<Value>)>, excess: Excess) {
    let collection = Collection::Tokens;
    let put = |key: usize, bytes: usize| Write::Put {
        collection,
        key: vec![b'x'; key],
        value: vec![b'x'; bytes],
    };
    let over = match excess {
        Excess::Key => vec![put(KEY_BYTES_MAX.saturating_add(1), 1)],
        Excess::Value => vec![put(1, VALUE_BYTES_MAX.saturating_add(1))],
        Excess::Writes => vec![put(1, 1); BATCH_WRITES_MAX.saturating_add(1)],
        Excess::Bytes => vec![put(1, VALUE_BYTES_MAX); 9],
    };
    let writes = writes.into_iter().map(write).chain(over).collect();
    assert_eq!(wait(store.batch(writes)), Err(StoreError::TooLarge));
}

fn page(
    model: &Model,
    collection: Collection,
    after: Option<&[u8]>,
    prefix: &[u8],
    limit: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = model.iter().filter(|((name, key), _)| {
        *name == collection.name()
            && key.starts_with(prefix)
            && after.is_none_or(|after| key.as_slice() > after)
    });
    entries.map(|((_, key), value)| (key.clone(), value.clone())).take(limit).collect()
}

fn take<E: Engine>(engine: &E, mut store: E::Store, model: &mut Model, step: Step) -> E::Store {
    match step {
        Step::PutIfAbsent(collection, key, value) => {
            let absent = !model.contains_key(&(collection.name(), key.clone()));
            if absent {
                put(model, collection, key.clone(), Some(value.bytes()));
            }
            assert_eq!(wait(store.put_if_absent(collection, key, value.bytes())), Ok(absent));
        }
        Step::Swap(collection, key, new) => {
            let old = model.get(&(collection.name(), key.clone())).cloned();
            swap(&store, model, (collection, key), old, new.map(|new| new.bytes()));
        }
        Step::SwapFrom(collection, key, old, new) => {
            let [old, new] = [old, new].map(|value| value.map(|value| value.bytes()));
            swap(&store, model, (collection, key), old, new);
        }
        Step::SwapAll(writes, stale) => swap_all(&store, model, writes, stale),
        Step::Batch(writes) => batch(&store, model, writes),
        Step::Refused(writes, excess) => refuse(&store, writes, excess),
        Step::Page(collection, after, prefix, limit) => {
            let found = store.page(collection, after.as_deref(), &prefix, limit);
            assert_eq!(found, Ok(page(model, collection, after.as_deref(), &prefix, limit)));
        }
        Step::Durable => assert_eq!(wait(store.durable()), Ok(())),
        Step::Reopen => {
            drop(store);
            store = engine.open();
        }
    }
    store
}

fn compare<E: Engine>(store: &E::Store, model: &Model) {
    for collection in COLLECTIONS {
        let all = page(model, collection, None, b"", usize::MAX);
        assert_eq!(store.page(collection, None, b"", usize::MAX), Ok(all.clone()));
        for (key, value) in all {
            assert_eq!(store.get(collection, &key), Ok(Some(value)));
        }
    }
    assert_eq!(store.get(Collection::Tokens, b"never"), Ok(None));
    assert!(E::is_sound(store));
}

/// What any engine must pass.
fn is_a_map<E: Engine>(engine: &E, steps: Vec<Step>) {
    let mut store = engine.create();
    let mut model = Model::new();
    for step in steps {
        store = take(engine, store, &mut model, step);
    }
    compare::<E>(&store, &model);
    drop(store);
    compare::<E>(&engine.open(), &model);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_store_is_a_map(steps in steps()) {
        is_a_map(&Scratch::new(), steps);
    }

    #[test]
    fn so_is_another_engine(steps in steps()) {
        is_a_map(&Memory::new(None), steps);
    }
}

#[test]
fn an_engine_with_a_flaw_is_found_out() {
    for flaw in Flaw::ALL {
        let config = ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() };
        let mut runner = TestRunner::new(ProptestConfig { max_shrink_iters: 0, ..config });
        let run = runner.run(&steps(), |steps| {
            let run = AssertUnwindSafe(|| is_a_map(&Memory::new(Some(flaw)), steps));
            catch_unwind(run).map_err(|_| TestCaseError::fail("found out"))
        });
        assert!(run.is_err(), "{flaw:?}");
    }
}

#[test]
fn what_is_too_large_is_refused_whole() {
    let scratch = Scratch::new();
    is_refused_whole(&create(&scratch));
    is_refused_whole(&Memory::new(None));
}

fn is_refused_whole(store: &impl Store) {
    let collection = Collection::Tokens;
    let put = |key: usize, value: usize| Write::Put {
        collection,
        key: vec![b'k'; key],
        value: vec![b'v'; value],
    };
    let over = VALUE_BYTES_MAX.saturating_add(1);
    for writes in [
        vec![put(1, 1), put(KEY_BYTES_MAX.saturating_add(1), 1)],
        vec![put(1, 1), put(2, over)],
        vec![put(1, VALUE_BYTES_MAX); 9],
        vec![put(1, 1); 257],
    ] {
        assert_eq!(wait(store.batch(writes)), Err(StoreError::TooLarge));
    }
    let long = wait(store.put_if_absent(collection, b"k".to_vec(), vec![0; over]));
    assert_eq!(long, Err(StoreError::TooLarge));
    assert_eq!(store.page(collection, None, b"", 10), Ok(vec![]));
}
