//! What a disk holds after a power cut, of what was on its way to it.
//!
//! All that a completed sync of a file vouches for is there. Of the rest of its data any part may
//! be: page by page in whatever version was last written back, torn between sectors, the newest
//! only, an orderly prefix, or none. Names, and lengths cut short, are the work of an ordered
//! journal, as that of ext4: some prefix of them, which reaches at least as far as the last
//! completed `fsync` of anything.

use crate::tape::Event;
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

pub(crate) type File = usize;

const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;
const SECTORS: u32 = 8;
/// Every sector of a page.
const WHOLE: u8 = u8::MAX;

/// A directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<File, Vec<u8>>,
    pub(crate) names: BTreeMap<String, File>,
    pub(crate) folders: BTreeSet<String>,
}

/// What becomes of the data that no sync vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Nothing,
    /// Each page in any version, some of them torn.
    Mixed,
    /// The pages of the last writes, and not those of the writes before them.
    Newest,
    /// In order, the last write torn.
    Prefix,
}

/// Which sectors of a page a write reaches; by event and number of the page.
type Reached = BTreeMap<(usize, usize), u8>;

/// The data that no sync vouches for: event, file, and pages.
#[derive(Debug)]
struct Unsynced {
    event: usize,
    file: File,
    pages: std::ops::RangeInclusive<usize>,
}

// === impl Fate ===

impl Fate {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Mixed, Self::Newest, Self::Prefix];

    fn reach(self, unsynced: &[Unsynced], rng: &mut StdRng) -> Reached {
        match self {
            Self::Nothing => Reached::new(),
            Self::Mixed => mixed(unsynced, rng),
            Self::Newest => newest(unsynced, rng),
            Self::Prefix => prefix(unsynced, rng),
        }
    }

    /// How much of the journal is there, between what is vouched for and the cut.
    fn journal(self, floor: usize, cut: usize, rng: &mut StdRng) -> usize {
        match self {
            Self::Nothing => floor,
            Self::Newest => cut,
            Self::Mixed | Self::Prefix => rng.random_range(floor..=cut),
        }
    }
}

fn mixed(unsynced: &[Unsynced], rng: &mut StdRng) -> Reached {
    let mut versions: BTreeMap<(File, usize), Vec<usize>> = BTreeMap::new();
    for write in unsynced {
        for page in write.pages.clone() {
            versions.entry((write.file, page)).or_default().push(write.event);
        }
    }
    let mut reached = Reached::new();
    for ((_, page), events) in versions {
        let version = rng.random_range(0..=events.len());
        let (there, lost) = events.split_at(version);
        reached.extend(there.iter().map(|event| ((*event, page), WHOLE)));
        if let Some(torn) = lost.first().filter(|_| rng.random_ratio(1, 4)) {
            reached.insert((*torn, page), rng.random());
        }
    }
    reached
}

fn newest(unsynced: &[Unsynced], rng: &mut StdRng) -> Reached {
    let kept = rng.random_range(1..=3).min(unsynced.len());
    let (_, last) = unsynced.split_at(unsynced.len() - kept);
    let pages: BTreeSet<_> = last
        .iter()
        .flat_map(|write| write.pages.clone().map(move |page| (write.file, page)))
        .collect();
    // A page that is written back has all that was ever written to it.
    let all = unsynced
        .iter()
        .flat_map(|write| write.pages.clone().map(move |page| (write.event, write.file, page)));
    all.filter(|(_, file, page)| pages.contains(&(*file, *page)))
        .map(|(event, _, page)| ((event, page), WHOLE))
        .collect()
}

fn prefix(unsynced: &[Unsynced], rng: &mut StdRng) -> Reached {
    let whole = rng.random_range(0..=unsynced.len());
    let mut reached = Reached::new();
    let (there, lost) = unsynced.split_at(whole);
    for write in there {
        reached.extend(write.pages.clone().map(|page| ((write.event, page), WHOLE)));
    }
    if let Some(torn) = lost.first() {
        let last = rng.random_range(torn.pages.clone());
        reached.extend((*torn.pages.start()..last).map(|page| ((torn.event, page), WHOLE)));
        let sectors = rng.random_range(0..SECTORS);
        reached.insert((torn.event, last), !(WHOLE << sectors));
    }
    reached
}

/// Up to which event the data of each file, and the journal, is vouched for at the cut.
fn vouched(events: &[Event]) -> (BTreeMap<File, usize>, usize) {
    let (mut data, mut journal) = (BTreeMap::new(), 0);
    for event in events {
        if let Event::SyncEnds { begun } = event
            && let Some(Event::SyncBegins { file, names }) = events.get(*begun)
        {
            let upto = data.entry(*file).or_insert(0);
            *upto = (*begun).max(*upto);
            if *names {
                journal = journal.max(*begun);
            }
        }
    }
    (data, journal)
}

fn unsynced(events: &[Event], data: &BTreeMap<File, usize>) -> Vec<Unsynced> {
    let of = |(event, what): (usize, &Event)| match what {
        Event::Write { file, at, bytes } if !bytes.is_empty() => {
            let pages = at / PAGE_BYTES..=(at + bytes.len() - 1) / PAGE_BYTES;
            Some(Unsynced { event, file: *file, pages })
        }
        _ => None,
    };
    let all = events.iter().enumerate().filter_map(of);
    all.filter(|write| data.get(&write.file).is_none_or(|upto| write.event > *upto)).collect()
}

// === impl Disk ===

impl Disk {
    /// What is in `directory` now.
    pub(crate) fn of(directory: &Path) -> Self {
        let mut disk = Self::default();
        for (file, entry) in fs::read_dir(directory).unwrap().enumerate() {
            let (entry, name) = entry.map(|e| (e.path(), e.file_name())).unwrap();
            let name = name.into_string().unwrap();
            if entry.is_dir() {
                disk.folders.insert(name);
            } else {
                disk.files.insert(file, fs::read(entry).unwrap());
                disk.names.insert(name, file);
            }
        }
        disk
    }

    /// What is in the file of this name.
    pub(crate) fn content(&self, name: &str) -> Option<&[u8]> {
        self.files.get(self.names.get(name)?).map(Vec::as_slice)
    }

    /// The disk after `events` were cut off, and how many pages of data were on their way.
    pub(crate) fn after(&self, events: &[Event], fate: Fate, rng: &mut StdRng) -> (Self, usize) {
        let (data, journal) = vouched(events);
        let unsynced = unsynced(events, &data);
        let reached = fate.reach(&unsynced, rng);
        let journal = fate.journal(journal, events.len(), rng);
        let mut disk = self.clone();
        for (at, event) in events.iter().enumerate() {
            let synced = |file: &File| data.get(file).is_some_and(|upto| at <= *upto);
            match event {
                Event::Write { file, at: place, bytes } if synced(file) => {
                    disk.write(*file, *place, bytes);
                }
                Event::Write { file, at: place, bytes } => {
                    disk.write_reached(*file, *place, bytes, |page| {
                        reached.get(&(at, page)).copied().unwrap_or(0)
                    });
                }
                Event::Resize { file, bytes } if synced(file) || at < journal => {
                    disk.files.entry(*file).or_default().resize(*bytes, 0);
                }
                journaled if at < journal => disk.journal(journaled),
                _ => {}
            }
        }
        let pages = unsynced.iter().map(|write| write.pages.clone().count()).sum();
        (disk, pages)
    }

    fn journal(&mut self, event: &Event) {
        match event {
            Event::Create { name, file } => drop(self.names.insert(name.clone(), *file)),
            Event::Folder { name } => drop(self.folders.insert(name.clone())),
            Event::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Event::Unlink { name } => drop(self.names.remove(name)),
            _ => {}
        }
    }

    fn write(&mut self, file: File, at: usize, bytes: &[u8]) {
        let content = self.files.entry(file).or_default();
        let end = at + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[at..end].copy_from_slice(bytes);
    }

    /// Writes those sectors that `sectors` says of each page.
    fn write_reached(
        &mut self,
        file: File,
        at: usize,
        bytes: &[u8],
        sectors: impl Fn(usize) -> u8,
    ) {
        let (mut from, end) = (at, at + bytes.len());
        while from < end {
            let next = (from / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let to = next.min(end);
            let sector = from / SECTOR_BYTES % (PAGE_BYTES / SECTOR_BYTES);
            if sectors(from / PAGE_BYTES) >> sector & 1 == 1 {
                self.write(file, from, &bytes[from - at..to - at]);
            }
            from = to;
        }
    }

    /// Puts what it holds into `directory`, which is missing.
    pub(crate) fn lay_out(&self, directory: &Path) {
        fs::create_dir(directory).unwrap();
        for folder in &self.folders {
            fs::create_dir_all(directory.join(folder)).unwrap();
        }
        for (name, file) in &self.names {
            let content = self.files.get(file).map_or(&[][..], Vec::as_slice);
            fs::write(directory.join(name), content).unwrap();
        }
    }
}
