//! The audit log: who did what, when, from where, and how it ended.
//!
//! It is a log of its own in files that are only ever appended to, one JSON line for each event,
//! each line with the hash of the one before it. One thread formats, chains, writes and syncs.
//! Callers hand it a small structure, in one of two ways:
//!
//! - [`Audit::record`] returns when the line is on the disk. For acts of operators, for reveals, for
//!   everything that is rare: record first, answer then.
//! - [`Audit::note`] returns at once, and wakes nobody. The line is written within some
//!   [`POLL`](writer::POLL). For charges.
//!
//! Both fail when the log cannot take the line, and then what it was to say must not be done. Room
//! on the disk is reserved before a line is accepted, so that a full disk is known in time.
//!
//! What does not belong here: what the access log has, and anything secret.

mod action;
mod failures;
mod head;
mod line;
mod segment;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use action::Action;
pub use failures::Source;
pub use head::{Head, PublicKey, parse_key};
pub use verify::{Expected, Flaw, Problem, Verified, verify};

pub use line::digest;

pub(crate) use line::hex;
pub(crate) use segment::Tail;
pub(crate) use writer::Remember;

use crate::seal::Deks;
use crate::{OpenError, UnixMillis};
use failures::Failures;
use head::Signatory;
use model::{CardToken, KeyId, MerchantId};
use segment::SEGMENT_BYTES_MAX;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use writer::{Beginning, Entry, QUEUE_LINES_MAX, Waiting, Writer};

/// Something that happened. No field may hold a secret, or a card number beyond its mask.
#[derive(Clone, Debug)]
pub struct Event {
    pub action: Action,
    pub actor: Actor,
    /// Whose data it was about.
    pub merchant: Option<MerchantId>,
    /// What it was done to: the beginning of a token, the name of an account, the id of a key.
    pub object: Box<str>,
    pub outcome: Outcome,
    pub origin: Option<Origin>,
}

/// Who acts, and from where: what an event says of its cause.
#[derive(Clone, Debug)]
pub struct Who {
    pub actor: Actor,
    pub origin: Option<Origin>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A merchant's API key.
    Key(KeyId),
    /// Somebody who did not prove to be anyone.
    Nobody,
    /// A user of this machine, as the kernel knows it, and a name where one was told.
    Operator { uid: u32, name: Option<Box<str>> },
    /// The program by itself.
    System,
}

/// Where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub address: Option<IpAddr>,
    /// The id of the request, as in the access log.
    pub request: Option<Box<str>>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is about to be done; a line with its end follows.
    Attempted,
    /// It was not done, and why in a few words of ours.
    Failure(&'static str),
    Success,
}

/// Why the log did not take a line. What the line was to say must not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The disk failed in a way that a program cannot know the extent of.
    #[error("the audit log failed and takes no lines before a restart")]
    Broken,
    /// More lines wait than may.
    #[error("the audit log has too much to write")]
    Busy,
    /// The log is closed, as at the end of the program.
    #[error("the audit log is closed")]
    Closed,
    /// No room can be reserved. It goes on by itself when there is room.
    #[error("the disk of the audit log is full")]
    Full,
}

/// How the log is to be kept.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Version of the program, for the line at the start of the log.
    pub program: Box<str>,
    /// Hash of the configuration, likewise.
    pub configuration: Box<str>,
    /// From how many bytes on a file of the log is not added to; by default 64 MiB.
    pub segment_bytes_max: Option<u64>,
}

/// What the log did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Lines that were written.
    pub lines: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Lines that wait to be written.
    pub waiting: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Syncs, each shared by all lines that waited.
    pub syncs: u64,
    /// When the newest signed head was made; 0 when there is none since the start.
    pub head_time: UnixMillis,
}

/// An open log. It is shared by reference; dropping it closes it.
#[derive(Debug)]
pub struct Audit {
    queue: SyncSender<Entry>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    clock: fn() -> UnixMillis,
    keys: Box<[PublicKey]>,
}

/// The last line of an act, as long as the act has not written one.
struct Ending<'a> {
    audit: &'a Audit,
    event: Option<Event>,
}

/// What the vault gives to its log: the keys of heads, and a memory outside of the log's files.
pub(crate) struct Memory<'a> {
    pub(crate) keys: &'a Deks,
    /// The last line of the newest head, as it was remembered.
    pub(crate) remembered: Option<Tail>,
    pub(crate) remember: Remember,
}

/// What callers and the writer both see.
#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    /// Whether the log takes no more because it is being closed.
    closing: AtomicBool,
    /// Whether the writer rests for long, and is to be woken for a line.
    idle: AtomicBool,
    accepted: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
    lines: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    head_time: AtomicU64,
    failures: Failures,
    #[cfg(test)]
    faults: std::sync::OnceLock<Arc<segment::Faults>>,
    /// The writer's thread, once it runs.
    writer: std::sync::OnceLock<std::thread::Thread>,
}

/// Whether lines are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Broken,
    Full,
}

const OPEN: u8 = 0;
const FULL: u8 = 1;
const BROKEN: u8 = 2;

/// The name of the log's directory within the vault's.
const DIRECTORY: &str = "audit";

/// How many characters of a token its name in the log has: enough to be one of its kind, too few to
/// be used.
const TOKEN_CHARS: usize = 12;

/// What an event calls a token.
pub fn object_of(token: &CardToken) -> Box<str> {
    token.as_str().get(..TOKEN_CHARS).unwrap_or_default().into()
}

/// The directory of the log of the vault in `directory`.
pub fn directory_in(directory: &Path) -> PathBuf {
    directory.join(DIRECTORY)
}

/// Milliseconds since 1970. The log keeps time itself, so that no caller can say when it was.
fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(UnixMillis::MAX)
}

// === impl Audit ===

impl Audit {
    /// Opens the log in the vault's `directory`, or begins it, and says so in it.
    pub(crate) fn open(
        directory: &Path,
        settings: &Settings,
        memory: Memory<'_>,
    ) -> Result<Self, OpenError> {
        let Memory { keys, remembered, remember } = memory;
        let (queue, inbox) = mpsc::sync_channel(QUEUE_LINES_MAX);
        let shared = Arc::new(Shared::default());
        let signatory = Signatory::new(keys);
        let keys = signatory.trusted().into();
        let segment_bytes_max = settings.segment_bytes_max.unwrap_or(SEGMENT_BYTES_MAX);
        let beginning = Beginning { signatory, remember, remembered, segment_bytes_max };
        let directory = directory_in(directory);
        let writer = Writer::open(&directory, inbox, shared.clone(), beginning)?;
        let thread = std::thread::Builder::new().name("audit".into());
        let thread = thread.spawn(move || writer.run()).map_err(|_| OpenError::NoThread)?;
        let _first = shared.writer.set(thread.thread().clone());
        let audit = Self { queue, shared, thread: Mutex::new(Some(thread)), clock: now, keys };
        audit.start(settings)?;
        Ok(audit)
    }

    fn start(&self, settings: &Settings) -> Result<(), OpenError> {
        let Settings { program, configuration, .. } = settings;
        let object = format!("program {program}, configuration {configuration}");
        let event = Who::system().event(Action::LogStart, None, object);
        crate::wait(self.record(event)).map_err(OpenError::Audit)
    }

    /// Writes an event, and returns when it is on the disk.
    ///
    /// # Errors
    /// The line is not there, or nobody knows: do not do what it says.
    pub async fn record(&self, event: Event) -> Result<(), AuditError> {
        let (waiting, on_disk) = oneshot::channel();
        self.send(event, Waiting::ForLine(waiting))?;
        self.shared.wake();
        on_disk.await.unwrap_or(Err(AuditError::Closed))
    }

    /// Takes an event, which is written within a few milliseconds. It does not block.
    ///
    /// A process that is killed in these milliseconds takes the line with it.
    ///
    /// # Errors
    /// The line was not taken: do not do what it says.
    pub fn note(&self, event: Event) -> Result<(), AuditError> {
        self.send(event, Waiting::Nobody)?;
        // Between the line and the look at whether the writer rests, which does both the other way
        // round: one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.shared.idle.load(Ordering::SeqCst) {
            self.shared.wake();
        }
        Ok(())
    }

    /// Counts an attempt that failed, such as to come in. The first of a kind and source in a
    /// minute is a line at once, and the others are a number in a line when the minute is over.
    pub fn refused(&self, why: &'static str, source: Source) {
        let first = self.shared.failures.add(why, source, (self.clock)());
        if first.is_some_and(|event| self.note(event).is_err()) {
            log::warn!("a failed attempt is not in the audit log");
        }
    }

    /// Writes an event, and returns a signed head of the log up to and with it.
    ///
    /// # Errors
    /// As of [`Self::record`].
    pub async fn signed_head(&self, event: Event) -> Result<Head, AuditError> {
        let (waiting, signed) = oneshot::channel();
        self.send(event, Waiting::ForHead(waiting))?;
        self.shared.wake();
        signed.await.unwrap_or(Err(AuditError::Closed))
    }

    /// The public keys of which heads are good, the one that signs now first.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Does `act` between two lines: that it is attempted, and how it ended. Without the first
    /// line it is not begun; without the second it is not answered. Where nobody waits for it any
    /// more, the second says that too.
    ///
    /// # Errors
    /// Those of `act`, and of the log.
    pub async fn act<T, E: From<AuditError>>(
        &self,
        event: Event,
        act: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut ending = Ending { audit: self, event: Some(event.clone()) };
        let begun = self.record(Event { outcome: Outcome::Attempted, ..event.clone() }).await;
        if begun.is_err() {
            ending.event = None;
        }
        begun?;
        let done = act.await;
        ending.event = None;
        let failed = Outcome::Failure("see the program's log or answer");
        let outcome = if done.is_ok() { Outcome::Success } else { failed };
        self.record(Event { outcome, ..event }).await?;
        done
    }

    /// Whether lines are taken, as of the last attempt to write.
    pub fn works(&self) -> bool {
        self.shared.state() == State::Open
    }

    /// What the log did since it was opened.
    pub fn figures(&self) -> Figures {
        let Shared { accepted, taken, refused, lines, bytes, syncs, head_time, .. } = &*self.shared;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            lines: of(lines),
            refused: of(refused),
            waiting: of(accepted).saturating_sub(of(taken)),
            bytes: of(bytes),
            syncs: of(syncs),
            head_time: of(head_time),
        }
    }

    /// Writes what waits and the last line, and takes no more.
    pub(crate) fn close(&self) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let event = Who::system().event(Action::LogStop, None, "the log is closed");
        if crate::wait(self.record(event)).is_err() {
            log::error!("the audit log could not say that it is closed");
        }
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.wake();
        if thread.join().is_err() {
            log::error!("the thread of the audit log panicked");
        }
    }

    fn send(&self, event: Event, waiting: Waiting) -> Result<(), AuditError> {
        let sent = self.shared.may_take().and_then(|()| {
            self.queue.try_send(Entry { time: (self.clock)(), event, waiting }).map_err(|error| {
                match error {
                    TrySendError::Disconnected(_) => AuditError::Closed,
                    TrySendError::Full(_) => AuditError::Busy,
                }
            })
        });
        let count = if sent.is_ok() { &self.shared.accepted } else { &self.shared.refused };
        count.fetch_add(1, Ordering::Relaxed);
        // Once more: a line that was sent while the log closed may have come too late.
        fence(Ordering::SeqCst);
        sent.and_then(|()| self.shared.may_take())
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Ending ===

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let Some(event) = self.event.take() else { return };
        let outcome = Outcome::Failure("it was cut short: how far it came is not known");
        if self.audit.note(Event { outcome, ..event }).is_err() {
            log::warn!("the end of an act that was cut short is not in the audit log");
        }
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> State {
        match self.state.load(Ordering::SeqCst) {
            OPEN => State::Open,
            FULL => State::Full,
            _ => State::Broken,
        }
    }

    fn become_state(&self, state: State) {
        let word = match state {
            State::Open => OPEN,
            State::Full => FULL,
            State::Broken => BROKEN,
        };
        self.state.store(word, Ordering::SeqCst);
    }

    fn may_take(&self) -> Result<(), AuditError> {
        match self.state() {
            _ if self.closing.load(Ordering::SeqCst) => Err(AuditError::Closed),
            State::Open => Ok(()),
            State::Broken => Err(AuditError::Broken),
            State::Full => Err(AuditError::Full),
        }
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

// === impl Who ===

impl Who {
    /// The program by itself.
    pub fn system() -> Self {
        Self { actor: Actor::System, origin: None }
    }

    /// The user as whom this process runs.
    pub fn this_user() -> Self {
        Self::operator(rustix::process::getuid().as_raw())
    }

    /// A user of this machine.
    pub fn operator(uid: u32) -> Self {
        Self { actor: Actor::Operator { uid, name: None }, origin: None }
    }

    /// An event that went well, by this actor.
    pub fn event(
        &self,
        action: Action,
        merchant: Option<&MerchantId>,
        object: impl Into<Box<str>>,
    ) -> Event {
        Event {
            action,
            actor: self.actor.clone(),
            merchant: merchant.cloned(),
            object: object.into(),
            outcome: Outcome::Success,
            origin: self.origin.clone(),
        }
    }
}

// === impl Event ===

impl Event {
    /// The same, but it went wrong.
    #[must_use]
    pub fn failed(self, why: &'static str) -> Self {
        Self { outcome: Outcome::Failure(why), ..self }
    }
}
