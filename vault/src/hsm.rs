//! The hardware security module: the one key that wraps all others, and the thread that speaks
//! to it.
//!
//! A call into a PKCS#11 library cannot be cut short, and a session must stay on one thread. So one
//! thread owns the session and takes calls from a bounded queue, and callers wait for it no longer
//! than [`CALL_DEADLINE`]. The module is asked at start and when a key is made, never for a
//! charge: when it is away, payments go on.
//!
//! What the wrapped keys are for is the business of `keyring`.

mod token;

pub(crate) use token::{Kek, check_access, create_kek, init_token};

use crate::{HsmError, OpenError, Settings};
use cryptoki::types::AuthPin;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use token::{Connection, Fault};
use zeroize::Zeroizing;

/// How long a caller waits for the module.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// How long opening waits for the module, login included.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// How long closing waits for the module.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// How many calls may wait.
const QUEUE_MAX: usize = 64;
/// How often a quiet module is looked at.
const PROBE_PERIOD: Duration = Duration::from_secs(15);
/// How long the thread waits before each new connection; there are no more tries than this.
const BACK_OFF: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800)];
/// How many bytes an initialisation vector has.
pub(crate) const IV_BYTES: usize = 12;

/// A key as the module wrapped it.
#[derive(Debug)]
pub(crate) struct Wrapped {
    pub(crate) iv: [u8; IV_BYTES],
    pub(crate) bytes: Vec<u8>,
}

/// The way to the module. It is cheap to clone.
#[derive(Clone)]
pub(crate) struct Hsm {
    link: Arc<Link>,
    state: Arc<State>,
}

/// The end of the thread's line. When the last one goes, the thread is told to end, and awaited: a
/// module that is still at work while the process ends can crash it.
struct Link {
    calls: Option<SyncSender<Call>>,
    /// Closes when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// Where the token is and how it is entered.
pub(crate) struct Access {
    pub(crate) module: PathBuf,
    pub(crate) label: Box<str>,
    pub(crate) pin: AuthPin,
}

#[derive(Debug, Default)]
struct State {
    works: AtomicBool,
    calls: AtomicU64,
    errors: AtomicU64,
}

enum Work {
    Wrap { aad: Vec<u8>, key: Zeroizing<Vec<u8>> },
    Unwrap { aad: Vec<u8>, wrapped: Wrapped },
}

enum Done {
    Wrapped(Wrapped),
    Unwrapped(Zeroizing<Vec<u8>>),
}

struct Call {
    work: Work,
    reply: SyncSender<Result<Done, HsmError>>,
}

/// What the thread has.
struct Actor {
    access: Access,
    kek: Kek,
    connection: Option<Connection>,
    /// The PIN was refused once. Trying it again could lock the token.
    pin_refused: bool,
    state: Arc<State>,
}

// === impl Access ===

impl Access {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            module: settings.module.clone(),
            label: settings.token_label.as_str().into(),
            // The PIN goes to the token, and is kept for when the connection must be made again.
            pin: AuthPin::from(settings.pin.expose()),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("label", &self.label).finish_non_exhaustive()
    }
}

// === impl Hsm ===

impl Hsm {
    /// Logs in, finds the key, and starts the thread.
    pub(crate) fn open(access: Access, kek: Kek) -> Result<Self, OpenError> {
        let (calls, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let (opened, outcome) = mpsc::sync_channel(1);
        let state = Arc::new(State::default());
        let shared = state.clone();
        let (ending, ended) = mpsc::sync_channel(1);
        let body = move || {
            Actor::start(access, kek, shared, &opened, &inbox);
            drop(ending);
        };
        thread::Builder::new().name("hsm".into()).spawn(body).map_err(|_| OpenError::NoThread)?;
        outcome.recv_timeout(OPEN_DEADLINE).map_err(|_| OpenError::Hsm(HsmError::Deadline))??;
        Ok(Self { link: Arc::new(Link { calls: Some(calls), ended: Mutex::new(ended) }), state })
    }

    /// Wraps a key, bound to `aad`. Blocks no longer than [`CALL_DEADLINE`].
    pub(crate) fn wrap(&self, aad: Vec<u8>, key: &[u8; 32]) -> Result<Wrapped, HsmError> {
        let key = Zeroizing::new(key.to_vec());
        match self.call(Work::Wrap { aad, key }, CALL_DEADLINE)? {
            Done::Wrapped(wrapped) => Ok(wrapped),
            Done::Unwrapped(_) => Err(HsmError::Refused),
        }
    }

    /// Unwraps a key that was wrapped with the same `aad`. Blocks no longer than
    /// [`CALL_DEADLINE`].
    pub(crate) fn unwrap(
        &self,
        aad: Vec<u8>,
        wrapped: Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        match self.call(Work::Unwrap { aad, wrapped }, CALL_DEADLINE)? {
            Done::Unwrapped(key) => Ok(key),
            Done::Wrapped(_) => Err(HsmError::Refused),
        }
    }

    /// Does `work`, which blocks on this module, on a thread of its own.
    ///
    /// It needs no runtime, and what it costs is nothing beside how rarely a key is made.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, HsmError> + Send + 'static,
    ) -> Result<T, HsmError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let hsm = self.clone();
        thread::Builder::new()
            .name("hsm-caller".into())
            .spawn(move || reply.send(work(&hsm)).is_ok())
            .map_err(|_| HsmError::Busy)?;
        answer.await.map_err(|_| HsmError::Away)?
    }

    /// Whether the module worked when it was last looked at.
    pub(crate) fn works(&self) -> bool {
        self.state.works.load(Ordering::Relaxed)
    }

    /// How many calls were made, and how many of them failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.state.calls.load(Ordering::Relaxed), self.state.errors.load(Ordering::Relaxed))
    }

    fn call(&self, work: Work, deadline: Duration) -> Result<Done, HsmError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let calls = self.link.calls.as_ref().ok_or(HsmError::Away)?;
        calls.try_send(Call { work, reply }).map_err(|error| match error {
            TrySendError::Full(_) => HsmError::Busy,
            TrySendError::Disconnected(_) => HsmError::Away,
        })?;
        answer.recv_timeout(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => HsmError::Deadline,
            RecvTimeoutError::Disconnected => HsmError::Away,
        })?
    }
}

impl fmt::Debug for Hsm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hsm").field(&self.state).finish()
    }
}

// === impl Link ===

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.calls.take());
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(CLOSE_DEADLINE) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the hardware security module is still busy and is left behind");
        }
    }
}

// === impl Actor ===

impl Actor {
    fn start(
        access: Access,
        kek: Kek,
        state: Arc<State>,
        opened: &SyncSender<Result<(), OpenError>>,
        inbox: &Receiver<Call>,
    ) {
        match Connection::open(&access, &kek) {
            Ok(connection) => {
                state.works.store(true, Ordering::Relaxed);
                let actor =
                    Self { access, kek, connection: Some(connection), pin_refused: false, state };
                if opened.send(Ok(())).is_ok() {
                    actor.run(inbox);
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        }
    }

    /// Takes calls until nobody is left to make one.
    fn run(mut self, inbox: &Receiver<Call>) {
        loop {
            match inbox.recv_timeout(PROBE_PERIOD) {
                Ok(call) => self.answer(call),
                Err(RecvTimeoutError::Timeout) => drop(self.attempt(Connection::probe)),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn answer(&mut self, Call { work, reply }: Call) {
        let done = match &work {
            Work::Wrap { aad, key } => self.attempt(|c| c.wrap(aad, key)).map(Done::Wrapped),
            Work::Unwrap { aad, wrapped } => {
                self.attempt(|c| c.unwrap(aad, wrapped)).map(Done::Unwrapped)
            }
        };
        // The caller may have stopped waiting.
        drop(reply.send(done));
    }

    /// Does `work`, on a new connection if the one at hand turns out to be lost.
    fn attempt<T>(
        &mut self,
        work: impl Fn(&Connection) -> Result<T, Fault>,
    ) -> Result<T, HsmError> {
        self.state.calls.fetch_add(1, Ordering::Relaxed);
        let done = self.attempt_uncounted(work);
        let refused = matches!(done, Err(HsmError::Refused));
        self.state.works.store(done.is_ok() || refused, Ordering::Relaxed);
        self.state.errors.fetch_add(u64::from(done.is_err()), Ordering::Relaxed);
        done
    }

    fn attempt_uncounted<T>(
        &mut self,
        work: impl Fn(&Connection) -> Result<T, Fault>,
    ) -> Result<T, HsmError> {
        for pause in [Duration::ZERO].into_iter().chain(BACK_OFF) {
            if self.connection.is_none() {
                self.reconnect(pause)?;
            }
            match self.connection.as_ref().map(&work) {
                Some(Ok(done)) => return Ok(done),
                Some(Err(Fault::Refused)) => return Err(HsmError::Refused),
                Some(Err(Fault::Lost)) => self.connection = None,
                None => {}
            }
        }
        Err(HsmError::Away)
    }

    /// Makes a new connection, if it can. Fails only when it is pointless to go on trying.
    fn reconnect(&mut self, pause: Duration) -> Result<(), HsmError> {
        if self.pin_refused {
            return Err(HsmError::Pin);
        }
        // Nobody unparks this thread, and if somebody did, the wait would only be shorter.
        thread::park_timeout(pause);
        match Connection::open(&self.access, &self.kek) {
            Ok(connection) => self.connection = Some(connection),
            Err(error @ (OpenError::Pin { .. } | OpenError::PinLocked { .. })) => {
                log::error!("{error}");
                self.pin_refused = true;
                return Err(HsmError::Pin);
            }
            Err(error) => log::warn!("the connection to the token is lost: {error}"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Done, Hsm, Link, QUEUE_MAX, State, Work, Wrapped};
    use crate::HsmError;
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    fn work() -> Work {
        Work::Unwrap { aad: vec![], wrapped: Wrapped { iv: [0; 12], bytes: vec![] } }
    }

    fn outcome(hsm: &Hsm) -> Result<(), HsmError> {
        hsm.call(work(), Duration::from_millis(1)).map(|done| match done {
            Done::Wrapped(_) | Done::Unwrapped(_) => {}
        })
    }

    #[test]
    fn a_module_that_hangs_holds_nobody_for_ever() {
        let (calls, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let (ending, ended) = mpsc::sync_channel(1);
        drop(ending);
        let link = Link { calls: Some(calls), ended: Mutex::new(ended) };
        let hsm = Hsm { link: Arc::new(link), state: Arc::new(State::default()) };
        for _ in 0..QUEUE_MAX {
            assert_eq!(outcome(&hsm), Err(HsmError::Deadline));
        }
        assert_eq!(outcome(&hsm), Err(HsmError::Busy), "and no more wait than may");
        drop(inbox);
        assert_eq!(outcome(&hsm), Err(HsmError::Away));
    }
}
