//! The one thread that formats, chains, writes and syncs.

use super::line::{self, LINE_BYTES_MAX};
use super::segment::{SEGMENT_BYTES_MAX, Segment, Tail};
use super::{Action, AuditError, Event, Shared, State, Who};
use crate::{OpenError, UnixMillis};
use std::io;
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How many lines may wait.
pub(super) const QUEUE_LINES_MAX: usize = 8_192;
/// How long a line that nobody waits for may wait to be written.
pub(super) const POLL: Duration = Duration::from_millis(10);
/// How long a line that nobody waits for may wait to be synced.
const SYNC_PERIOD: Duration = Duration::from_millis(100);
/// After how many polls without a line the thread rests until it is woken.
const IDLE_POLLS: u32 = 100;
/// How long it rests at most.
const REST: Duration = Duration::from_secs(1);
/// How many lines are written at once.
const BATCH_LINES_MAX: usize = 4_096;
/// What must be reserved for lines to be taken: all that may wait, all that is written at once, and
/// as much again for what is taken before the thread sees that there is no more.
const RESERVE_BYTES_MIN: u64 =
    (2 * QUEUE_LINES_MAX + BATCH_LINES_MAX) as u64 * LINE_BYTES_MAX as u64;

/// An event on its way to the disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) time: UnixMillis,
    pub(super) event: Event,
    /// Who waits until it is there.
    pub(super) written: Option<oneshot::Sender<Result<(), AuditError>>>,
}

/// What the thread has.
#[derive(Debug)]
pub(super) struct Writer {
    inbox: Receiver<Entry>,
    shared: Arc<Shared>,
    segment: Segment,
    tail: Tail,
    /// Lines that are formatted and not yet in the file, which `tail` counts already.
    buffer: Vec<u8>,
    buffered: u64,
    waiting: Vec<oneshot::Sender<Result<(), AuditError>>>,
    /// When the first line was written that is not synced.
    unsynced: Option<Instant>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn open(
        directory: &Path,
        inbox: Receiver<Entry>,
        shared: Arc<Shared>,
    ) -> Result<Self, OpenError> {
        let failed = |source| OpenError::AuditFiles { directory: directory.into(), source };
        let (segment, tail, cut) = Segment::open(directory, SEGMENT_BYTES_MAX).map_err(failed)?;
        let mut writer = Self {
            inbox,
            shared,
            segment,
            tail,
            buffer: Vec::new(),
            buffered: 0,
            waiting: Vec::new(),
            unsynced: None,
        };
        writer.segment.reserve(RESERVE_BYTES_MIN).map_err(failed)?;
        if let Some(cut) = cut {
            log::warn!("the audit log ended in {} bytes that are no line", cut.bytes);
            let object = format!("{} bytes that are no line, now in {}", cut.bytes, cut.kept);
            let event = Who::system().event(Action::LogRepair, None, object);
            writer.format(super::now(), &event);
        }
        Ok(writer)
    }

    /// Writes until the log is closed and nothing waits.
    pub(super) fn run(mut self) {
        let mut quiet = 0_u32;
        loop {
            let closing = self.shared.closing.load(Ordering::SeqCst);
            let taken = self.take();
            if self.shared.state() == State::Broken {
                self.answer(Err(AuditError::Broken));
            } else {
                self.write();
                self.sync(closing);
            }
            if closing && taken == 0 {
                return;
            }
            quiet = if taken == 0 { quiet.saturating_add(1) } else { 0 };
            if taken < BATCH_LINES_MAX && !closing {
                self.rest(quiet);
            }
        }
    }

    /// Formats what waits, up to the maximum of a batch, and says how many lines that was.
    fn take(&mut self) -> usize {
        let mut taken = 0;
        // What could not be written comes first, and grows no more.
        let room = if self.buffer.is_empty() { BATCH_LINES_MAX } else { 0 };
        while taken < room {
            match self.inbox.try_recv() {
                Ok(Entry { time, event, written }) => {
                    self.format(time, &event);
                    self.waiting.extend(written);
                    taken = taken.saturating_add(1);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.shared.taken.fetch_add(u64::try_from(taken).unwrap_or_default(), Ordering::Relaxed);
        taken
    }

    fn format(&mut self, time: UnixMillis, event: &Event) {
        let sequence = self.tail.sequence.saturating_add(1);
        let hash = line::write(&mut self.buffer, sequence, time, event, &self.tail.hash);
        self.tail = Tail { sequence, hash };
        self.buffered = self.buffered.saturating_add(1);
    }

    /// Writes what is formatted. What fails is tried again at the next poll, and until then no
    /// further lines are taken.
    fn write(&mut self) {
        let written = self.try_write();
        if let Err(error) = &written {
            self.fail(error);
        } else if self.shared.state() == State::Full {
            log::warn!("the audit log has room again");
            self.shared.become_state(State::Open);
        }
    }

    fn try_write(&mut self) -> io::Result<()> {
        let mut rotated = Ok(());
        if !self.buffer.is_empty() {
            let next = self.tail.sequence.saturating_add(1).saturating_sub(self.buffered);
            // Where there can be no new file, what was taken still goes into the old one.
            rotated = self.segment.rotate(next, RESERVE_BYTES_MIN);
            self.segment.append(&self.buffer)?;
            let bytes = u64::try_from(self.buffer.len()).unwrap_or_default();
            self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.shared.lines.fetch_add(mem::take(&mut self.buffered), Ordering::Relaxed);
            self.buffer.clear();
            self.unsynced.get_or_insert_with(Instant::now);
        }
        rotated.and(self.segment.reserve(RESERVE_BYTES_MIN))
    }

    fn fail(&mut self, error: &io::Error) {
        if self.shared.state() == State::Open {
            let kind = error.kind();
            log::error!("the audit log cannot be written ({kind}); what needs a line is refused");
            self.shared.become_state(State::Full);
        }
        if !self.buffer.is_empty() {
            self.answer(Err(AuditError::Full));
        }
    }

    /// Syncs when somebody waits for it, or when it is time.
    fn sync(&mut self, closing: bool) {
        let due = closing || self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_PERIOD);
        if self.unsynced.is_none() || (!due && self.waiting.is_empty()) {
            return;
        }
        match self.segment.sync() {
            Ok(()) => {
                self.unsynced = None;
                self.shared.syncs.fetch_add(1, Ordering::Relaxed);
                self.answer(Ok(()));
            }
            Err(error) => {
                // What the kernel has dropped it says only once: nothing can be known from now on.
                log::error!("the audit log cannot be synced ({}); it is broken", error.kind());
                self.shared.become_state(State::Broken);
                self.answer(Err(AuditError::Broken));
            }
        }
    }

    fn answer(&mut self, result: Result<(), AuditError>) {
        for waiting in self.waiting.drain(..) {
            // Who waited may be gone.
            waiting.send(result).ok();
        }
    }

    fn rest(&self, quiet: u32) {
        if quiet < IDLE_POLLS {
            thread::park_timeout(POLL);
            return;
        }
        self.shared.idle.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // A line that came before the flag was seen is found by the count.
        let taken = self.shared.taken.load(Ordering::SeqCst);
        if self.shared.accepted.load(Ordering::SeqCst) <= taken {
            thread::park_timeout(REST);
        }
        self.shared.idle.store(false, Ordering::SeqCst);
    }
}
