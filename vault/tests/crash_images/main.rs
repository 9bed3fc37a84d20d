//! Power cuts: what was acknowledged is there on any disk that a cut may leave behind.
//!
//! Every call by which the store changes its files is recorded, in one order with what it
//! acknowledges (`tape.rs`). The record is cut at many places, and from each a disk is made as it
//! might be found afterwards: what no sync vouches for is lost, re-ordered or torn (`disk.rs`). The
//! store is opened on each of these and compared with all that was acknowledged before the cut
//! (`workload.rs`); a third of the openings are recorded and cut as well.
//!
//! The same is done to sled without our sync, and there it must be seen to fail.
//!
//! `ORCHESTRA_CRASH_SEED` chooses other places and deeds. Where the threads stand at each moment is
//! up to the machine, so the disk on which a check fails is kept, and named.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on says where"
)]

#[path = "../store/clerk.rs"]
mod clerk;
mod disk;
mod failing;
#[path = "../store/scratch.rs"]
mod scratch;
mod stock;
mod tape;
mod workload;

use clerk::{Clerk, apart};
use disk::{Disk, Fate};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use scratch::Scratch;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::{env, fs, thread};
use tape::{Engine, Event, Tape};
use vault::store::{OpenError, SEGMENT_BYTES, SledStore, Store, Tuning, wait};
use workload::{Content, Load, Promised, Values, content};

/// The smallest cache, so that pages are read back from the disk.
const CACHE: u64 = 8 << 20;

/// How many records are made of each set-up, and how many cuts of each record.
const RECORDS: u64 = 3;
const CUTS: usize = 60;

/// Every so many cuts the opening is recorded and cut too.
const TWICE_EVERY: usize = 3;

/// One in so many cuts is in the time before the store was made.
const EARLY_ONE_IN: u32 = 20;

/// Segments so short that they are soon used again, which takes what the engine believes to be
/// stable at its word.
const SHORT_SEGMENT_BYTES: usize = 32 * 1024;

/// Files of the write-ahead log that are soon full, so that many cuts fall into the time in which
/// rows are put into sled.
const LONG_LOG_BYTES: u64 = 128 * 1024;
const SHORT_LOG_BYTES: u64 = 8 * 1024;

/// What many cuts came to.
#[derive(Debug, Default)]
struct Tally {
    cuts: usize,
    twice: usize,
    acknowledged: usize,
    pages: usize,
    by_fate: BTreeMap<Fate, usize>,
    failures: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "whoever repeats a failure names its seed")]
fn seed() -> u64 {
    env::var("ORCHESTRA_CRASH_SEED").map_or(1, |seed| seed.parse().unwrap())
}

fn loads(seed: u64) -> [Load; 2] {
    let writers = 16;
    let values = Values::AlsoLong;
    let (segment_bytes, log_bytes) = (SEGMENT_BYTES, LONG_LOG_BYTES);
    let long = Load { seed, writers, deeds: 50, segment_bytes, log_bytes, values };
    let (segment_bytes, log_bytes) = (SHORT_SEGMENT_BYTES, SHORT_LOG_BYTES);
    let values = Values::Short;
    [long, Load { writers: 32, deeds: 80, segment_bytes, log_bytes, values, ..long }]
}

// === impl Load ===

impl Load {
    fn tuning(&self) -> Tuning {
        Tuning { segment_bytes: self.segment_bytes, log_bytes: self.log_bytes, ..CACHE.into() }
    }

    /// Makes a store, loads it, closes it, and returns all that happened.
    fn record(&self, engine: Engine) -> Vec<Event> {
        let scratch = Scratch::new();
        let tape = Tape::start(scratch.path(), &Disk::default(), engine);
        let store = SledStore::create(scratch.path(), self.tuning()).unwrap();
        store.begin_ledger(Arc::new(Clerk(1)), 0).unwrap();
        tape.note(Event::Made);
        self.carry_out(&store, &tape);
        drop(store);
        tape.stop()
    }
}

/// One image: which cut of which record it is, and the place where it lies.
struct Image<'a> {
    load: &'a Load,
    events: &'a [Event],
    rng: StdRng,
    place: PathBuf,
}

/// The disk of a cut, and what had been promised by then.
struct Cut {
    disk: Disk,
    fate: Fate,
    at: usize,
    promised: Promised,
    made: bool,
    pages: usize,
}

// === impl Image ===

impl Image<'_> {
    fn cut(&mut self) -> Cut {
        let made = self.events.iter().position(|event| matches!(event, Event::Made)).unwrap();
        let early = self.rng.random_ratio(1, EARLY_ONE_IN);
        let range = if early { 1..=made } else { made + 1..=self.events.len() };
        // Most cuts come after a write, when something is on its way.
        let late = self.rng.random_ratio(3, 4);
        let at = next_write(self.events, self.rng.random_range(range), late && !early);
        let fate = Fate::ALL[self.rng.random_range(0..Fate::ALL.len())];
        let events = &self.events[..at];
        let (disk, pages) = Disk::default().after(events, fate, &mut self.rng);
        Cut { disk, fate, at, promised: Promised::by(events), made: !early, pages }
    }

    /// Opens the disk of a cut, and says what is wrong.
    fn check(&mut self, cut: &Cut) -> Result<(), String> {
        cut.disk.lay_out(&self.place);
        self.opened(cut, &self.place).map(|_| ())
    }

    /// The same, and once more after a cut in the opening.
    fn check_twice(&mut self, cut: &Cut) -> Result<(), String> {
        cut.disk.lay_out(&self.place);
        let tape = Tape::start(&self.place, &cut.disk, Engine::Ours);
        let first = self.opened(cut, &self.place).inspect(|_| tape.note(Event::Settled));
        let events = tape.stop();
        let first = first?;
        let at = self.rng.random_range(0..=events.len());
        let fate = Fate::ALL[self.rng.random_range(0..Fate::ALL.len())];
        let (disk, _) = cut.disk.after(&events[..at], fate, &mut self.rng);
        fs::remove_dir_all(&self.place).unwrap();
        disk.lay_out(&self.place);
        let second = self.opened(cut, &self.place);
        let second = second.map_err(|what| format!("cut again at {at}, {fate:?}: {what}"))?;
        let settled = events[..at].iter().any(|event| matches!(event, Event::Settled));
        match settled && first != second {
            true => Err(format!("cut again at {at}: what was settled has changed")),
            false => Ok(()),
        }
    }

    /// What is in the store, if all that was promised is.
    fn opened(&self, cut: &Cut, directory: &Path) -> Result<Content, String> {
        let store = match SledStore::open(directory, self.load.tuning()) {
            Ok(store) => store,
            // Nothing was promised, and it says so.
            Err(OpenError::Missing(_) | OpenError::Unfinished(_)) if !cut.made => {
                return Ok(Content::new());
            }
            Err(error) => return Err(format!("does not open: {error}")),
        };
        let content = content(&store)?;
        self.load.check(&cut.promised, &content)?;
        match store.resume_ledger(Arc::new(Clerk(1))) {
            Ok(()) if apart(&store).is_empty() => {}
            Err(_) if !cut.made => return Ok(content),
            resumed => return Err(format!("its ledger is wrong: {resumed:?}")),
        }
        wait(store.durable()).map_err(|error| error.to_string())?;
        Ok(content)
    }
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, cut: &Cut, twice: bool, result: Result<(), String>, image: &Image<'_>) {
        self.cuts += 1;
        self.twice += usize::from(twice);
        self.acknowledged += cut.promised.count();
        self.pages += cut.pages;
        *self.by_fate.entry(cut.fate).or_default() += 1;
        if let Err(what) = result {
            let Load { seed, segment_bytes, .. } = image.load;
            let kept =
                env::temp_dir().join(format!("crash-image-{seed}-{segment_bytes}-{}", cut.at));
            fs::remove_dir_all(&kept).ok();
            cut.disk.lay_out(&kept);
            self.failures.push(format!(
                "seed {seed}, segments of {segment_bytes}, cut at {} of {}, {:?}: {what}; \
                 the disk is kept in {}",
                cut.at,
                image.events.len(),
                cut.fate,
                kept.display()
            ));
        }
    }
}

/// Checks `CUTS` cuts of a record, on several threads.
fn check_cuts(load: &Load, events: &[Event], tally: &Mutex<Tally>) {
    let scratch = Scratch::new();
    let next = AtomicUsize::new(0);
    // They wait most of the time.
    let threads = 2 * thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, SeqCst);
                    if nth >= CUTS {
                        break;
                    }
                    let rng = StdRng::seed_from_u64(load.seed << 16 | u64::try_from(nth).unwrap());
                    let place = scratch.path().join(nth.to_string());
                    let mut image = Image { load, events, rng, place };
                    let cut = image.cut();
                    let twice = nth.is_multiple_of(TWICE_EVERY);
                    let result = if twice { image.check_twice(&cut) } else { image.check(&cut) };
                    tally.lock().unwrap().count(&cut, twice, result, &image);
                    fs::remove_dir_all(&image.place).unwrap();
                }
            });
        }
    });
}

/// The place after the next write that is not before `at`, if it is `wanted`.
fn next_write(events: &[Event], at: usize, wanted: bool) -> usize {
    let mut rest = (at..events.len()).filter(|at| matches!(events[*at], Event::Write { .. }));
    rest.next().filter(|_| wanted).map_or(at, |write| write + 1)
}

/// How often a segment of a log was begun where another one had been.
fn reuses(events: &[Event], log: &str, segment_bytes: usize) -> usize {
    let log = events.iter().find_map(|event| match event {
        Event::Create { name, file } if name == log => Some(*file),
        _ => None,
    });
    let mut begun = BTreeMap::<usize, usize>::new();
    for event in events {
        if let Event::Write { file, at, .. } = event
            && Some(*file) == log
            && at.is_multiple_of(segment_bytes)
        {
            *begun.entry(*at).or_default() += 1;
        }
    }
    begun.values().map(|count| count - 1).sum()
}

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    if stock::play() || failing::play() {
        return;
    }
    let tally = Mutex::new(Tally::default());
    let (mut reused, mut turned) = (0, 0);
    for round in 0..RECORDS {
        for load in loads(seed() + round) {
            let events = load.record(Engine::Ours);
            if load.segment_bytes == SHORT_SEGMENT_BYTES {
                reused += reuses(&events, "db", load.segment_bytes);
            }
            turned +=
                ["wal.0", "wal.1"].map(|name| reuses(&events, name, 1 << 40)).iter().sum::<usize>();
            check_cuts(&load, &events, &tally);
        }
    }
    let tally = tally.into_inner().unwrap();
    println!(
        "{} images, {} of them cut twice, {} deeds acknowledged before the cuts, {} pages under \
         way, {reused} segments of sled and {turned} files of the log used again, {:?}: {} failures",
        tally.cuts,
        tally.twice,
        tally.acknowledged,
        tally.pages,
        tally.by_fate,
        tally.failures.len()
    );
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    // That there was something to lose.
    assert!(tally.cuts >= 300 && tally.twice >= 100, "{tally:?}");
    assert!(reused >= 20 && turned >= 100, "{reused}, {turned}");
    assert!(tally.pages >= tally.cuts && tally.acknowledged >= 100 * tally.cuts, "{tally:?}");
}

/// Makes or opens a store, and says which files are other or missing if the power is cut then and
/// nothing is there but what a sync vouches for. The logs and the mark are written all the time, and
/// have tests of their own.
fn not_durable(place: &Path, start: impl FnOnce(&Path) -> SledStore) -> Vec<String> {
    let before = if place.exists() { Disk::of(place) } else { Disk::default() };
    let tape = Tape::start(place, &before, Engine::Ours);
    let store = start(place);
    tape.note(Event::Made);
    let now = Disk::of(place);
    drop(store);
    let events = tape.stop();
    let made = events.iter().position(|event| matches!(event, Event::Made)).unwrap();
    let (left, _) = before.after(&events[..made], Fate::Nothing, &mut StdRng::seed_from_u64(0));
    let of_its_own = ["db", "wal.0", "wal.1", "mark"];
    let names = of_its_own.iter().all(|name| left.names.contains_key(*name));
    assert!(names && left.folders.is_superset(&now.folders), "{:?}", left.names);
    let others = now.names.keys().filter(|name| *name != "lock" && !of_its_own.contains(&&***name));
    others.filter(|name| left.content(name) != now.content(name)).cloned().collect()
}

#[test]
fn what_the_engine_never_syncs_is_durable_when_a_store_is_open() {
    let scratch = Scratch::new();
    let place = scratch.path().join("store");
    let nothing: [String; 0] = [];
    assert_eq!(not_durable(&place, |place| SledStore::create(place, CACHE).unwrap()), nothing);
    // What the engine writes anew when it opens: its settings, and its snapshot.
    fs::remove_file(place.join("conf")).unwrap();
    assert_eq!(not_durable(&place, |place| SledStore::open(place, CACHE).unwrap()), nothing);
    let names = Disk::of(&place).names;
    assert!(names.contains_key("conf") && names.keys().any(|name| name.starts_with("snap.")));
}
