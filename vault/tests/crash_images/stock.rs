//! The same with sled as it comes, which fails: so the images show what they are for.
//!
//! Such a store may do anything when it is opened, so each is opened in a process of its own.

use crate::disk::Disk;
use crate::tape::{Engine, die_after};
use crate::workload::{Content, content};
use crate::{CACHE, Image, SHORT_SEGMENT_BYTES, loads, seed};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};
use vault::store::{SledStore, Tuning};

const DIRECTORY: &str = "ORCHESTRA_TEST_CRASH_DIRECTORY";
const SEGMENT: &str = "ORCHESTRA_TEST_CRASH_SEGMENT";
/// Where the part puts what it found.
const FOUND: &str = "found";
const PATIENCE_SECONDS: u32 = 60;

const CUTS: u64 = 30;

/// Opens a store and writes down what is in it, if this process is there for that.
#[expect(clippy::disallowed_methods, reason = "a test tells its own child what to do")]
pub(crate) fn play() -> bool {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else { return false };
    die_after(PATIENCE_SECONDS);
    let segment_bytes = env::var(SEGMENT).unwrap().parse().unwrap();
    let tuning = Tuning { segment_bytes, ..CACHE.into() };
    let store = SledStore::open(&directory, tuning).unwrap();
    let mut text = String::new();
    for ((collection, key), value) in content(&store).unwrap() {
        let [key, value] = [key, value].map(|bytes| String::from_utf8(bytes).unwrap());
        writeln!(text, "{collection} {key} {value}").unwrap();
    }
    fs::write(directory.join(FOUND), text).unwrap();
    true
}

/// What a process of its own finds in the store.
fn found(directory: &Path, segment_bytes: usize) -> Option<Content> {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "what_was_acknowledged_survives_power_cuts"])
        .env(DIRECTORY, directory)
        .env(SEGMENT, segment_bytes.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let text = status.success().then(|| fs::read_to_string(directory.join(FOUND)).unwrap())?;
    let entry = |line: &str| {
        let [collection, key, value] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let bytes = |text: &str| text.as_bytes().to_vec();
        ((collection.parse().unwrap(), bytes(key)), bytes(value))
    };
    Some(text.lines().map(entry).collect())
}

#[test]
fn sled_without_our_sync_loses_what_it_acknowledged() {
    let scratch = crate::Scratch::new();
    for load in loads(seed()) {
        let events = load.record(Engine::Stock);
        let (mut cuts, mut unopened, mut lost) = (0, 0, 0);
        for nth in 0..CUTS {
            let place = scratch.path().join(format!("{} {nth}", load.segment_bytes));
            let rng = StdRng::seed_from_u64(load.seed << 16 | nth);
            let mut image = Image { load: &load, events: &events, rng, place };
            let cut = image.cut();
            if !cut.made {
                continue;
            }
            cuts += 1;
            cut.disk.lay_out(&image.place);
            match found(&image.place, load.segment_bytes) {
                None => unopened += 1,
                Some(found) => lost += usize::from(load.check(&cut.promised, &found).is_err()),
            }
        }
        let segments = if load.segment_bytes == SHORT_SEGMENT_BYTES { "short" } else { "usual" };
        println!(
            "sled as it comes, {segments} segments, {cuts} images: {unopened} cannot be opened or \
             read, {lost} have lost what was acknowledged"
        );
        // How many depends on how busy the machine is. Of the store's own there is none.
        assert!(unopened + lost > 0, "of {cuts}");
    }
}

/// Nothing is left of a disk on which nothing was synced.
#[test]
fn a_disk_holds_what_was_synced_and_no_more() {
    use crate::disk::Fate;
    use crate::tape::Event;
    let write = |at, fill| Event::Write { file: 0, at, bytes: vec![fill; 5_000] };
    let events = [
        Event::Create { name: "db".into(), file: 0 },
        write(0, 1),
        Event::SyncBegins { file: 0, names: true },
        write(5_000, 2),
        Event::SyncEnds { begun: 2 },
        write(2_000, 3),
    ];
    let mut rng = StdRng::seed_from_u64(1);
    let (disk, pages) = Disk::default().after(&events, Fate::Nothing, &mut rng);
    assert_eq!((disk.files[&0].clone(), pages), (vec![1; 5_000], 4));
    assert!(disk.names.contains_key("db"));
    let (disk, _) = Disk::default().after(&events[..4], Fate::Nothing, &mut rng);
    assert!(disk.files.is_empty() && disk.names.is_empty());
    for _ in 0..200 {
        for fate in [Fate::Mixed, Fate::Newest, Fate::Prefix] {
            let (disk, _) = Disk::default().after(&events, fate, &mut rng);
            let content = &disk.files[&0];
            // What was synced is there or was written over, and what was not is whole sectors.
            assert!(content[..2_000].iter().all(|byte| *byte == 1));
            assert!(content[2_000..5_000].iter().all(|byte| [1, 3].contains(byte)));
            let changes = (2_560..5_000).filter(|at| content[*at] != content[at - 1]);
            assert!(changes.into_iter().all(|at| at % 512 == 0));
        }
    }
}
