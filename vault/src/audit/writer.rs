//! The one thread that formats, chains, signs, writes and syncs.

use super::head::{Head, Signatory};
use super::line::{self, LINE_BYTES_MAX, timestamp};
use super::segment::{Segment, Tail};
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
/// After how many lines, and how long after the first of them, there is a signed head.
const HEAD_LINES: u64 = 10_000;
const HEAD_PERIOD: Duration = Duration::from_secs(10);
/// What must be reserved for lines to be taken: all that may wait, all that is written at once, and
/// as much again for what is taken before the thread sees that there is no more.
const RESERVE_BYTES_MIN: u64 =
    (2 * QUEUE_LINES_MAX + BATCH_LINES_MAX) as u64 * LINE_BYTES_MAX as u64;

/// What remembers the last line of a head, outside of the log's files.
pub(crate) type Remember = Box<dyn FnMut(Tail) + Send>;

/// An event on its way to the disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) time: UnixMillis,
    pub(super) event: Event,
    pub(super) waiting: Waiting,
}

/// Who waits until a line is on the disk.
#[derive(Debug)]
pub(super) enum Waiting {
    Nobody,
    ForHead(oneshot::Sender<Result<Head, AuditError>>),
    ForLine(oneshot::Sender<Result<(), AuditError>>),
}

/// What the thread is told when it begins.
pub(super) struct Beginning {
    pub(super) signatory: Signatory,
    pub(super) remember: Remember,
    /// The last line of the newest head, as it was remembered.
    pub(super) remembered: Option<Tail>,
    pub(super) segment_bytes_max: u64,
}

/// What the thread has.
pub(super) struct Writer {
    inbox: Receiver<Entry>,
    shared: Arc<Shared>,
    signatory: Signatory,
    remember: Remember,
    segment: Segment,
    tail: Tail,
    /// Lines that are formatted and not yet in the file, which `tail` counts already.
    buffer: Vec<u8>,
    buffered: u64,
    waiting: Vec<oneshot::Sender<Result<(), AuditError>>>,
    waiting_for_head: Vec<oneshot::Sender<Result<Head, AuditError>>>,
    /// When the first line was written that is not synced.
    unsynced: Option<Instant>,
    /// How many lines no head is of, and when the first of them came.
    unsigned: Option<(u64, Instant)>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn open(
        directory: &Path,
        inbox: Receiver<Entry>,
        shared: Arc<Shared>,
        beginning: Beginning,
    ) -> Result<Self, OpenError> {
        let Beginning { signatory, remember, remembered, segment_bytes_max } = beginning;
        let failed = |source| OpenError::AuditFiles { directory: directory.into(), source };
        let (segment, tail, cut) = Segment::open(directory, segment_bytes_max).map_err(failed)?;
        let lost = match remembered {
            Some(remembered) if !segment.holds(&remembered).map_err(failed)? => Some(remembered),
            Some(_) | None => None,
        };
        #[cfg(test)]
        let _faults = shared.faults.set(segment.faults.clone());
        let mut writer = Self {
            inbox,
            shared,
            signatory,
            remember,
            segment,
            tail,
            buffer: Vec::new(),
            buffered: 0,
            waiting: Vec::new(),
            waiting_for_head: Vec::new(),
            unsynced: None,
            unsigned: None,
        };
        writer.segment.reserve(RESERVE_BYTES_MIN).map_err(failed)?;
        if let Some(lost) = lost {
            writer.tell_lost(&lost).map_err(failed)?;
        }
        if let Some(cut) = cut {
            log::warn!("the audit log ended in {} bytes that are no line", cut.bytes);
            let object = format!("{} bytes that are no line, now in {}", cut.bytes, cut.kept);
            writer.format(
                super::now(),
                &Who::system().event(Action::LogRepair, None, object),
                None,
            );
        }
        Ok(writer)
    }

    /// The log does not hold a line that it held once. It goes on, and says so: `verify` finds the
    /// place for ever, by the sequence that jumps.
    fn tell_lost(&mut self, lost: &Tail) -> io::Result<()> {
        log::error!(
            "the audit log ends at line {} and was at line {} before, or is not the one that was \
             there: somebody cut it or put back an older one",
            self.tail.sequence,
            lost.sequence
        );
        let object = format!("ended at {}, was at {}", self.tail.sequence, lost.sequence);
        self.tail.sequence = self.tail.sequence.max(lost.sequence);
        // A file of its own, in which the lines follow each other again.
        self.segment.begin_anew(self.tail.sequence.saturating_add(1), RESERVE_BYTES_MIN)?;
        let event = Who::system().event(Action::LogRepair, None, object);
        self.format(super::now(), &event.failed("lines that were there are gone"), None);
        Ok(())
    }

    /// Writes until the log is closed and nothing waits.
    pub(super) fn run(mut self) {
        let mut quiet = 0_u32;
        loop {
            let closing = self.shared.closing.load(Ordering::SeqCst);
            let taken = self.take();
            if self.shared.state() == State::Broken {
                self.refuse(AuditError::Broken);
            } else {
                self.write();
                self.sync(closing);
                self.sign(closing && taken == 0);
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
                Ok(Entry { time, event, waiting }) => {
                    self.format(time, &event, None);
                    match waiting {
                        Waiting::Nobody => {}
                        Waiting::ForHead(waiting) => self.waiting_for_head.push(waiting),
                        Waiting::ForLine(waiting) => self.waiting.push(waiting),
                    }
                    taken = taken.saturating_add(1);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        self.shared.taken.fetch_add(u64::try_from(taken).unwrap_or_default(), Ordering::Relaxed);
        if room > 0 {
            let now = super::now();
            for event in self.shared.failures.take(now) {
                self.format(now, &event, None);
            }
        }
        taken
    }

    fn format(&mut self, time: UnixMillis, event: &Event, head: Option<&Head>) {
        let sequence = self.tail.sequence.saturating_add(1);
        let hash = line::write(&mut self.buffer, sequence, time, event, head, &self.tail.hash);
        self.tail = Tail { sequence, hash };
        self.buffered = self.buffered.saturating_add(1);
        let (lines, since) = self.unsigned.unwrap_or_else(|| (0, Instant::now()));
        self.unsigned = Some((lines.saturating_add(1), since));
    }

    /// Writes what is formatted. What fails is tried again at the next poll, and until then no
    /// further lines are taken.
    fn write(&mut self) {
        let written = self.try_write();
        if let Err(error) = &written {
            self.fail(error);
        } else if self.shared.state() == State::Full {
            log::warn!("the audit log can be written again");
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
            self.refuse(AuditError::Full);
        }
    }

    /// Syncs when somebody waits for it, or when it is time.
    fn sync(&mut self, closing: bool) {
        let since = self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_PERIOD);
        let due = closing || since || !self.waiting.is_empty() || !self.waiting_for_head.is_empty();
        if self.unsynced.is_none() || !due {
            return;
        }
        match self.segment.sync() {
            Ok(()) => {
                self.unsynced = None;
                self.shared.syncs.fetch_add(1, Ordering::Relaxed);
                for waiting in self.waiting.drain(..) {
                    // Who waited may be gone.
                    waiting.send(Ok(())).ok();
                }
            }
            Err(error) => {
                // What the kernel has dropped it says only once: nothing can be known from now on.
                log::error!("the audit log cannot be synced ({}); it is broken", error.kind());
                self.shared.become_state(State::Broken);
                self.refuse(AuditError::Broken);
            }
        }
    }

    /// Signs how far the log goes, when it is time or somebody waits for it.
    fn sign(&mut self, closing: bool) {
        let due = self.unsigned.is_some_and(|(lines, since)| {
            closing || lines >= HEAD_LINES || since.elapsed() >= HEAD_PERIOD
        });
        let wanted = due || !self.waiting_for_head.is_empty();
        if !wanted || !self.buffer.is_empty() || self.shared.state() != State::Open {
            return;
        }
        let now = super::now();
        let head = self.signatory.sign(&self.tail, &timestamp(now));
        let event = Who::system().event(Action::LogHead, None, "signed head");
        self.format(now, &event, Some(&head));
        self.unsigned = None;
        self.write();
        self.sync(true);
        if self.unsynced.is_some() {
            return;
        }
        (self.remember)(self.tail);
        self.shared.head_time.store(now, Ordering::Relaxed);
        for waiting in self.waiting_for_head.drain(..) {
            waiting.send(Ok(head.clone())).ok();
        }
    }

    /// Tells all who wait that it failed.
    fn refuse(&mut self, error: AuditError) {
        for waiting in self.waiting.drain(..) {
            waiting.send(Err(error)).ok();
        }
        for waiting in self.waiting_for_head.drain(..) {
            waiting.send(Err(error)).ok();
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
