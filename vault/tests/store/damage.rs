//! A store that was damaged, or of which a part is missing: what can be had again from what is
//! intact is put right, and the rest is refused by name. Nothing ever vanishes in silence.

use crate::scratch::Scratch;
use crate::{CACHE, create, open};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use vault::store::{
    Accepted, Collection, OpenError, PAGE_ENTRIES_MAX, SledStore, Store, Write, wait,
};

/// The files in which rows are.
const FILES: [&str; 3] = ["db", "wal.0", "wal.1"];

const COLLECTIONS: [Collection; 2] = [Collection::Tokens, Collection::Accounts];

/// How many places are damaged, one after another.
const HARMS: u64 = 160;

type Content = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

/// What became of a damaged store.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Everything is there.
    Whole,
    Refused(&'static str),
    /// It opens, and says so when what is damaged is read.
    Unreadable,
    /// It opens, says that something is missing, and something is.
    Gap,
    /// Something is gone, and nobody says so.
    Vanished,
}

fn fill(store: &SledStore, round: u8) {
    for nth in 0..600_u32 {
        let put = |collection, bytes| Write::Put {
            collection,
            key: (nth * 7 % 900).to_be_bytes().to_vec(),
            value: vec![round.wrapping_add(nth.to_le_bytes()[0]); bytes],
        };
        // Some of them take several records.
        let long = if nth.is_multiple_of(40) { 9_000 } else { 700 };
        let writes = COLLECTIONS.map(|collection| put(collection, long));
        wait(store.batch(writes.into())).unwrap();
    }
}

/// A store that was closed in order, in the state of a snapshot and a good deal of log after it.
fn closed() -> (Scratch, Content) {
    let scratch = Scratch::new();
    fill(&create(&scratch), 1);
    let store = open(scratch.path());
    fill(&store, 100);
    let content = content(&store).unwrap();
    (scratch, content)
}

fn content(store: &SledStore) -> Option<Content> {
    let mut content = Content::new();
    for (number, collection) in COLLECTIONS.into_iter().enumerate() {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.page(collection, after.as_deref(), b"", PAGE_ENTRIES_MAX).ok()?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            content.extend(page.into_iter().map(|(key, value)| ((number, key), value)));
        }
    }
    Some(content)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("blobs")).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn name(error: &OpenError) -> &'static str {
    match error {
        OpenError::Lost { .. } => "lost",
        OpenError::Damaged { .. } => "damaged",
        OpenError::Corrupt { .. } => "corrupt",
        OpenError::NoMark(_) => "no mark",
        OpenError::Foreign(_) => "foreign",
        OpenError::Missing(_) => "missing",
        OpenError::Unfinished(_) => "unfinished",
        OpenError::Exists(_)
        | OpenError::Locked(_)
        | OpenError::Format { .. }
        | OpenError::Full { .. }
        | OpenError::Blobs(_)
        | OpenError::NotDurable
        | OpenError::Io { .. } => "something else",
    }
}

fn found(directory: &Path, expected: &Content) -> Found {
    let store = match SledStore::open(directory, CACHE) {
        Ok(store) => store,
        Err(error) => return Found::Refused(name(&error)),
    };
    match content(&store) {
        None => Found::Unreadable,
        Some(content) if is_whole(&content, expected) => Found::Whole,
        Some(_) if store.figures().log_gaps > 0 => Found::Gap,
        Some(_) => Found::Vanished,
    }
}

/// What is written after the mark, which nobody promises.
const LATER: &[u8] = b"later";

/// Whether all that was marked as durable is there, and nothing else but what came after.
fn is_whole(content: &Content, expected: &Content) -> bool {
    let is_later = |value: &Vec<u8>| value == LATER;
    expected.iter().all(|(key, value)| content.get(key) == Some(value) || is_later(value))
        && content.iter().all(|(key, value)| expected.contains_key(key) || is_later(value))
}

/// What becomes of copies of a store that are harmed in so many ways, counted.
fn harm(
    from: &Path,
    expected: &Content,
    harm: impl Fn(&Path, &mut StdRng) + Sync,
) -> BTreeMap<String, u64> {
    let scratch = Scratch::new();
    let next = AtomicU64::new(0);
    let counts = Mutex::new(BTreeMap::<String, u64>::new());
    let harms = || {
        loop {
            let nth = next.fetch_add(1, Ordering::SeqCst);
            if nth >= HARMS {
                break;
            }
            let place = scratch.path().join(nth.to_string());
            copy(from, &place);
            harm(&place, &mut StdRng::seed_from_u64(nth));
            let files = || FILES.map(|name| fs::read(place.join(name)).unwrap());
            let before = files();
            let found = found(&place, expected);
            if matches!(found, Found::Refused("lost" | "damaged")) {
                assert!(files() == before, "{nth} was written to");
            }
            assert_ne!(found, Found::Vanished, "harm {nth}");
            *counts.lock().unwrap().entry(format!("{found:?}")).or_default() += 1;
            fs::remove_dir_all(&place).unwrap();
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(harms))));
    counts.into_inner().unwrap()
}

/// Flips a bit of one of the files in which rows are.
fn flip(directory: &Path, rng: &mut StdRng) {
    let mut at = rng.random_range(0..FILES.map(|name| length(directory, name)).iter().sum());
    let holds = |name: &&str| {
        let length = length(directory, name);
        let holds = at < length;
        at -= if holds { 0 } else { length };
        holds
    };
    let name = FILES.into_iter().find(holds).unwrap();
    let file = File::options().read(true).write(true).open(directory.join(name)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << rng.random_range(0..8)], at).unwrap();
}

fn length(directory: &Path, name: &str) -> u64 {
    fs::metadata(directory.join(name)).unwrap().len()
}

/// Cuts the file of this name short somewhere.
fn cut(directory: &Path, name: &str, rng: &mut StdRng) {
    let file = File::options().write(true).open(directory.join(name)).unwrap();
    file.set_len(rng.random_range(0..length(directory, name))).unwrap();
}

#[test]
fn a_flipped_bit_in_the_data_file_never_makes_anything_vanish() {
    let (store, content) = closed();
    let counts = harm(store.path(), &content, flip);
    println!("closed: {counts:?}");
    // Where a flip lies decides by which name it is refused.
    assert!(counts.keys().any(|found| found.starts_with("Refused")), "{counts:?}");
}

#[test]
fn a_data_file_that_was_cut_short_is_refused_by_name() {
    let (store, content) = closed();
    let counts = harm(store.path(), &content, |place, rng| cut(place, "db", rng));
    println!("cut short: {counts:?}");
    // Where the log has come round to segments at the front, what is cut off is one in its midst:
    // the layout decides by which name it is refused.
    let refused = |found: &String| found.starts_with("Refused");
    assert!(counts.keys().any(refused), "{counts:?}");
    assert!(counts.keys().all(|found| refused(found) || found == "Whole"), "{counts:?}");
}

/// A copy of a store that is open, as after a kill: the mark is not that of the end.
#[test]
fn nor_does_it_in_a_store_that_was_not_closed() {
    let scratch = Scratch::new();
    // Its log takes all: nothing else writes while it is copied.
    let store = SledStore::create(scratch.path(), CACHE).unwrap();
    fill(&store, 1);
    let mark = || fs::read(scratch.path().join("mark")).unwrap();
    let before = mark();
    // Until what was filled in is marked as durable, at most a second.
    for nth in 0_u64.. {
        let (key, value) = (nth.to_be_bytes().to_vec(), LATER.to_vec());
        wait(store.put_if_absent(Collection::Tokens, key, value)).unwrap();
        if mark() != before {
            break;
        }
    }
    let content = content(&store).unwrap();
    let copied = Scratch::new();
    copy(scratch.path(), copied.path());
    let counts = harm(copied.path(), &content, flip);
    println!("not closed: {counts:?}");
    let refused = |name| counts.contains_key(&format!("{:?}", Found::Refused(name)));
    assert!(refused("damaged"), "{counts:?}");
    let counts = harm(copied.path(), &content, |place, rng| cut(place, "wal.0", rng));
    println!("not closed and cut short: {counts:?}");
    assert!(counts.keys().all(|found| found.contains("lost") || found == "Whole"), "{counts:?}");
}

#[test]
fn what_is_intact_puts_right_what_is_not() {
    let (store, content) = closed();
    let snapshot = |place: &Path| {
        let mut names = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
        names.find(|path| path.to_string_lossy().contains("snap.")).unwrap()
    };
    let truncate = |path: &Path, bytes: u64| {
        File::options().write(true).open(path).unwrap().set_len(bytes).unwrap();
    };
    let spoil = |path: &Path, at: u64| {
        File::options().write(true).open(path).unwrap().write_all_at(b"\xa5\x5a", at).unwrap();
    };
    type Harm<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>, Found);
    let harms: [Harm<'_>; 19] = [
        ("no settings", Box::new(|p| fs::remove_file(p.join("conf")).unwrap()), Found::Whole),
        ("empty settings", Box::new(|p| truncate(&p.join("conf"), 0)), Found::Whole),
        ("settings of 5 bytes", Box::new(|p| truncate(&p.join("conf"), 5)), Found::Whole),
        ("half settings", Box::new(|p| truncate(&p.join("conf"), 30)), Found::Whole),
        ("spoilt settings", Box::new(|p| spoil(&p.join("conf"), 14)), Found::Whole),
        ("no snapshot", Box::new(|p| fs::remove_file(snapshot(p)).unwrap()), Found::Whole),
        ("empty snapshot", Box::new(|p| truncate(&snapshot(p), 0)), Found::Whole),
        ("half a snapshot", Box::new(|p| truncate(&snapshot(p), 99)), Found::Whole),
        ("spoilt snapshot", Box::new(|p| spoil(&snapshot(p), 50)), Found::Whole),
        (
            "a snapshot of nonsense",
            Box::new(|p| fs::write(snapshot(p), [0xa5; 777]).unwrap()),
            Found::Whole,
        ),
        (
            "half of a newer snapshot",
            Box::new(|p| fs::write(p.join("snap.7FFFFFFFFFFFFFFF.generating"), "half").unwrap()),
            Found::Whole,
        ),
        (
            "a file of somebody",
            Box::new(|p| fs::write(p.join("letter"), "dear").unwrap()),
            Found::Whole,
        ),
        (
            "a file that sled would read",
            Box::new(|p| fs::write(p.join("snap.backup"), "dear").unwrap()),
            Found::Refused("foreign"),
        ),
        ("one copy of the mark", Box::new(|p| spoil(&p.join("mark"), 10)), Found::Whole),
        ("the other copy", Box::new(|p| spoil(&p.join("mark"), 4_096 + 10)), Found::Whole),
        ("half the mark", Box::new(|p| truncate(&p.join("mark"), 9)), Found::Refused("no mark")),
        (
            "no mark",
            Box::new(|p| fs::remove_file(p.join("mark")).unwrap()),
            Found::Refused("no mark"),
        ),
        ("no data", Box::new(|p| fs::remove_file(p.join("db")).unwrap()), Found::Refused("lost")),
        ("empty data", Box::new(|p| truncate(&p.join("db"), 0)), Found::Refused("lost")),
    ];
    let scratch = Scratch::new();
    for (what, harm, expected) in harms {
        let place = scratch.path().join(what);
        copy(store.path(), &place);
        harm(&place);
        assert_eq!(found(&place, &content), expected, "{what}");
        // What was put right stays so.
        if expected == Found::Whole {
            assert_eq!(found(&place, &content), Found::Whole, "{what}, again");
        }
    }
}

#[test]
fn a_refusal_says_what_to_do_and_what_is_left_can_be_had() {
    // A log that is within its first segment: any prefix of it is a store.
    let scratch = Scratch::new();
    let store = SledStore::create(scratch.path(), CACHE).unwrap();
    let put = |store: &SledStore, nth: u8| {
        let put = store.put_if_absent(Collection::Tokens, vec![nth], vec![nth; 900]);
        assert_eq!(wait(put), Ok(true));
    };
    (0..60).for_each(|nth| put(&store, nth));
    let content = content(&store).unwrap();
    drop(store);
    let place = scratch.path();
    let db = File::options().write(true).open(place.join("db")).unwrap();
    db.set_len(length(place, "db") * 2 / 3).unwrap();
    for _ in 0..2 {
        let error = SledStore::open(place, CACHE).unwrap_err().to_string();
        let step = format!("touch {}/accept-loss", place.display());
        assert!(error.contains("restore a backup") && error.contains(&step), "{error}");
    }
    fs::write(place.join("accept-loss"), "").unwrap();
    let uid = fs::metadata(place).unwrap().uid();
    let store = SledStore::open(place, CACHE).unwrap();
    let loss = Some("the end of the log is lost");
    assert_eq!(store.accepted(), Some(Accepted { uid, loss }));
    let left = self::content(&store).unwrap();
    assert!(!left.is_empty() && left != content);
    drop(store);
    // It is accepted until somebody has written that down, and what is left is what there is.
    let store = SledStore::open(place, CACHE).unwrap();
    assert_eq!(store.accepted(), Some(Accepted { uid, loss: None }));
    store.end_acceptance().unwrap();
    assert!(!place.join("accept-loss").exists());
    drop(store);
    let store = SledStore::open(place, CACHE).unwrap();
    assert_eq!((store.accepted(), self::content(&store).unwrap()), (None, left));
    put(&store, 200);
    drop(store);
    drop(SledStore::open(place, CACHE).unwrap());
}
