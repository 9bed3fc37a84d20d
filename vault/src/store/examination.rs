//! What a directory is asked before sled opens it, and after.
//!
//! sled repairs on its own whatever it finds, and in doing so writes over it. So what a crash may
//! have left behind is told here from what only damage explains, before anything is changed. What
//! can be had again from what is intact is put right: settings, which are always the same, and
//! snapshots, which only save reading the log. What cannot is refused, by name and with the next
//! step.

use super::mark::{self, Mark};
use super::opening::FORMAT;
use super::rows::Rows;
use super::survey::{self, Survey};
use super::wal::{self, FrameNumber, Recovered};
use super::{OpenError, Position};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Made by an operator who takes what is left of a damaged store. It holds until it is written down
/// that it was done.
const ACCEPT: &str = "accept-loss";

/// What is put before the name of a snapshot that is damaged.
const DAMAGED: &str = "damaged.";

const SNAPSHOT: &str = "snap.";
const SNAPSHOT_DIGITS: usize = 16;
const HALF: &str = "generating";

/// The end of a snapshot: its length, which nobody needs, and its checksum.
const SNAPSHOT_LENGTH_BYTES: usize = 8;

/// What was found out.
#[derive(Debug)]
pub(super) struct Examined {
    /// Up to where sled's log is known to have been durable.
    pub(super) promised: Position,
    /// Where sled must say that its log ends, or later.
    wanted: Position,
    /// Whether something before its end cannot be read.
    pub(super) gap: bool,
    /// The rows of our log that may not be in sled, and its last frame.
    pub(super) recovered: Rows,
    pub(super) last: FrameNumber,
    /// That whatever is lost is accepted.
    pub(super) accepted: Option<Accepted>,
}

/// That an operator takes what is left of a store, whatever is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The user of the machine who made the file that says so.
    pub uid: u32,
    /// What was passed over. Nothing, when an opening before this one did, and was cut short.
    pub loss: Option<&'static str>,
}

/// Examines the directory, puts right what can be, and refuses what cannot.
pub(super) fn before(directory: &Path, segment_bytes: usize) -> Result<Examined, OpenError> {
    if mark::is_of_format_1(directory) {
        let directory = directory.to_owned();
        return Err(OpenError::Format { directory, found: "1".to_owned(), expected: FORMAT });
    }
    let accepted = acceptance(directory)?;
    remove_half_snapshots(directory)?;
    repair_settings(directory)?;
    let from = newest_snapshot(directory)?;
    let mark = mark::read(directory).map_err(failed("read", &directory.join(mark::NAME)))?;
    let path = directory.join("db");
    let survey = File::open(&path).and_then(|db| survey::survey(&db, segment_bytes, from));
    let survey = survey.map_err(failed("read", &path))?;
    let accepted = accept(judge(directory, mark, survey), accepted)?;
    let recovered = wal::recover(directory, mark.map(|mark| mark.applied));
    let recovered = recovered.map_err(failed("read the log in", directory))?;
    let mark = mark.unwrap_or_default();
    let accepted = accept(judge_wal(directory, mark, &recovered), accepted)?;
    let (promised, gap) = (mark.durable, survey.damage.is_some());
    let last = recovered.highest.max(mark.logged);
    // A cap that nothing follows is a part of the log to us, and to the mark, and not to sled.
    let wanted = if survey.end < promised { promised } else { promised.min(survey.last_message) };
    Ok(Examined { promised, wanted, gap, recovered: recovered.rows, last, accepted })
}

/// Whether the file is there by which losses are accepted, and whose it is.
fn acceptance(directory: &Path) -> Result<Option<Accepted>, OpenError> {
    let path = directory.join(ACCEPT);
    match fs::symlink_metadata(&path) {
        Ok(file) => Ok(Some(Accepted { uid: file.uid(), loss: None })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("look at", &path)(error)),
    }
}

/// Ends the acceptance of losses.
pub(super) fn end_acceptance(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(ACCEPT);
    fs::remove_file(&path).map_err(failed("remove", &path))?;
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(failed("sync", directory))
}

/// Whether the directory of a store without its data file was more than an attempt to make one.
pub(super) fn lost_its_data(directory: &Path) -> Option<OpenError> {
    let (directory, mark) = (directory.to_owned(), mark::read(directory).ok()??);
    Some(match mark.durable {
        // The mark is made first.
        0 => OpenError::Unfinished(directory),
        promised => OpenError::Lost { directory, found: 0, promised },
    })
}

/// What the mark and the log say together.
fn judge(directory: &Path, mark: Option<Mark>, survey: Survey) -> Result<(), OpenError> {
    let directory = directory.to_owned();
    let Some(Mark { durable: promised, closed, .. }) = mark else {
        return Err(OpenError::NoMark(directory));
    };
    if survey.end < promised {
        return Err(OpenError::Lost { directory, found: survey.end, promised });
    }
    match survey.damage {
        // After a power cut this may be the place that was just being used again.
        Some(at) if !closed => {
            log::warn!("store: the data file cannot be read at byte {at}; it was not closed");
            Ok(())
        }
        Some(at) => Err(OpenError::Damaged { directory, file: "db", at }),
        None => Ok(()),
    }
}

/// What the mark and our log say together.
fn judge_wal(directory: &Path, mark: Mark, log: &Recovered) -> Result<(), OpenError> {
    let directory = directory.to_owned();
    if let Some((file, at)) = log.damage {
        return Err(OpenError::Damaged { directory, file, at });
    }
    let (found, promised) = (log.end, mark.logged);
    if found < promised { Err(OpenError::Lost { directory, found, promised }) } else { Ok(()) }
}

/// Lets a loss pass that an operator has accepted, and says which.
fn accept(
    judged: Result<(), OpenError>,
    accepted: Option<Accepted>,
) -> Result<Option<Accepted>, OpenError> {
    match (judged, accepted) {
        (Err(error), Some(accepted)) => {
            log::error!("store: opened as the file {ACCEPT} says, although {error}");
            let loss = if matches!(error, OpenError::Damaged { .. }) {
                "a file is damaged"
            } else if matches!(error, OpenError::NoMark(_)) {
                "the mark is missing"
            } else {
                "the end of the log is lost"
            };
            Ok(Some(Accepted { loss: Some(loss), ..accepted }))
        }
        (judged, accepted) => judged.map(|()| accepted),
    }
}

// === impl Examined ===

impl Examined {
    /// Compares what sled has recovered with what was promised.
    pub(super) fn after(self, directory: &Path) -> Result<Self, OpenError> {
        let recovered = snapshots(directory)?.iter().filter_map(|path| position(path)).max();
        let judged = match recovered {
            Some(found) if found < self.wanted => {
                let (directory, promised) = (directory.to_owned(), self.promised);
                Err(OpenError::Lost { directory, found, promised })
            }
            _ => Ok(()),
        };
        Ok(Self { accepted: accept(judged, self.accepted)?, ..self })
    }
}

/// Removes snapshots that were being written when the machine stopped.
///
/// sled would take one for its newest and not open. The previous snapshot is still there, and the
/// log is read from it on.
fn remove_half_snapshots(directory: &Path) -> Result<(), OpenError> {
    for path in snapshots(directory)? {
        if path.extension() == Some(OsStr::new(HALF)) {
            log::warn!("store: removing {}, which a crash left half-written", path.display());
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        } else if position(&path).is_none() {
            return Err(OpenError::Foreign(path));
        }
    }
    Ok(())
}

/// Where the log goes on after the newest snapshot that is whole. Those that are not are put
/// aside: the log is then read from an older one on, or from its beginning.
fn newest_snapshot(directory: &Path) -> Result<Position, OpenError> {
    let mut paths = snapshots(directory)?;
    paths.sort();
    while let Some(path) = paths.pop() {
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        if is_whole(&bytes) {
            return Ok(position(&path).unwrap_or(0));
        }
        let mut name = std::ffi::OsString::from(DAMAGED);
        name.push(path.file_name().unwrap_or_default());
        let aside = directory.join(name);
        log::warn!(
            "store: {} is damaged; it is put aside, and the log read instead",
            path.display()
        );
        fs::rename(&path, aside).map_err(failed("rename", &path))?;
    }
    Ok(0)
}

fn is_whole(snapshot: &[u8]) -> bool {
    let Some((rest, checksum)) = snapshot.split_last_chunk() else { return false };
    let Some((body, _)) = rest.split_last_chunk::<SNAPSHOT_LENGTH_BYTES>() else { return false };
    !body.is_empty() && crc32fast::hash(body) == u32::from_le_bytes(*checksum)
}

/// Removes settings that are damaged: sled writes them again, and they are always the same.
fn repair_settings(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join("conf");
    let settings = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            log::warn!("store: {} is missing and is written again", path.display());
            return Ok(());
        }
        read => read.map_err(failed("read", &path))?,
    };
    let whole = settings.split_last_chunk().is_some_and(|(body, checksum)| {
        crc32fast::hash(body) == u32::from_le_bytes(*checksum) && !body.is_empty()
    });
    if whole {
        return Ok(());
    }
    log::warn!("store: {} is damaged and is written again", path.display());
    fs::remove_file(&path).map_err(failed("remove", &path))
}

/// Everything that sled would take for a snapshot.
pub(super) fn snapshots(directory: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        let named = |entry: &fs::DirEntry| {
            entry.file_name().as_encoded_bytes().starts_with(SNAPSHOT.as_bytes())
        };
        Ok(entries.iter().filter(|entry| named(entry)).map(fs::DirEntry::path).collect())
    };
    list().map_err(failed("read", directory))
}

/// Where the log goes on after the snapshot of this name.
fn position(path: &Path) -> Option<Position> {
    let digits = path.file_name()?.to_str()?.strip_prefix(SNAPSHOT)?;
    let named = digits.len() == SNAPSHOT_DIGITS;
    named.then(|| Position::from_str_radix(digits, 16).ok()).flatten()
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mark::MarkFile;
    use crate::store::scratch::Scratch;
    use crate::store::survey::{SEGMENT_HEAD_BYTES, SegmentHead, survey};
    use crate::store::{Collection, SledStore, Store, Tuning, wait};
    use std::os::unix::fs::FileExt;

    const CACHE: u64 = 8 << 20;
    const CAP: u8 = 2;

    /// What fills the rest of a segment, of which this number is one byte.
    fn cap(segment: u8, room: usize) -> Vec<u8> {
        // What comes before: a checksum, the kind, a length of four bytes, the segment and a page.
        let body = vec![0; room.saturating_sub(11)];
        let [one, two, three, ..] = body.len().to_le_bytes();
        let head = [CAP, 250, one, two, three, segment, 0];
        let checksum = !crc32fast::hash(&[&body[..], &head].concat());
        [&checksum.to_le_bytes()[..], &head, &body].concat()
    }

    #[test]
    fn a_log_whose_last_segment_is_full_has_lost_nothing() {
        let scratch = Scratch::new();
        let store = SledStore::create(scratch.path(), CACHE).unwrap();
        let put = store.put_if_absent(Collection::Tokens, b"key".to_vec(), b"value".to_vec());
        assert_eq!(wait(put), Ok(true));
        drop(store);
        let file = File::options().read(true).write(true).open(scratch.path().join("db")).unwrap();
        let length = Tuning::from(CACHE).segment_bytes;
        let before = survey(&file, length, 0).unwrap();
        let bytes = u64::try_from(length).unwrap();
        let begin = before.end - before.end % bytes;
        let is_it = |at: &u64| {
            let mut head = [0; SEGMENT_HEAD_BYTES];
            file.read_exact_at(&mut head, *at).unwrap();
            SegmentHead::read(&head).is_some_and(|head| head.begin == begin)
        };
        let at = (0..).map(|nth| nth * bytes).find(is_it).unwrap();
        // Whoever had no room for a message filled the segment, and was killed before the next.
        let filled = cap(
            (begin / bytes).try_into().unwrap(),
            length - usize::try_from(before.end - begin).unwrap(),
        );
        file.write_all_at(&filled, at + before.end - begin).unwrap();
        let mut mark = MarkFile::open(scratch.path()).unwrap();
        let durable = begin + bytes;
        mark.write(Mark { durable, closed: false, ..mark.last() }).unwrap();
        let after = survey(&file, length, 0).unwrap();
        assert_eq!((after.end, after.last_message), (durable, before.end));
        for _ in 0..2 {
            let store = SledStore::open(scratch.path(), CACHE).unwrap();
            assert!(store.get(Collection::Tokens, b"key").unwrap().is_some());
        }
    }
}
