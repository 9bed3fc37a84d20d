//! The hardware security module: the one key that wraps all others, and the thread that speaks
//! to it.
//!
//! A call into a PKCS#11 library cannot be cut short, and a session must stay on one thread. So one
//! thread owns the session and takes calls from a bounded queue, and callers wait for it no longer
//! than [`CALL_DEADLINE`]. The module is asked at start and when a key is made, never for a
//! charge: when it is away, payments go on, for as long as the operator allows.
//!
//! What the wrapped keys are for is the business of `keyring`.

mod token;

pub(crate) use token::{Kek, check_access, init_token, serial};

use crate::{HsmError, OpenError, Settings};
use cryptoki::types::AuthPin;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
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
/// A quiet module is looked at so often that an outage of the longest allowed length is seen this
/// many times.
const PROBES_PER_OUTAGE: u32 = 4;

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

#[derive(Debug)]
struct State {
    works: AtomicBool,
    calls: AtomicU64,
    errors: AtomicU64,
    since: Instant,
    /// When the module last did what it was asked, in milliseconds after `since`.
    contact_ms: AtomicU64,
    /// The key that a quiet module is tried with.
    probed: Mutex<Kek>,
}

/// What the thread is to do with its connection. It may be done twice, on two connections.
type Work = Box<dyn Fn(&mut Connection) -> Result<Done, Fault> + Send>;
/// What came of it, where something does.
type Done = Option<Zeroizing<Vec<u8>>>;

struct Call {
    work: Work,
    reply: SyncSender<Result<Done, HsmError>>,
}

/// What the thread has.
struct Actor {
    access: Access,
    connection: Option<Connection>,
    /// The PIN was refused once. Trying it again could lock the token.
    pin_refused: bool,
    probe_period: Duration,
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
    /// Logs in, finds the keys, of which the first is the one in use, and starts the thread.
    pub(crate) fn open(
        access: Access,
        keks: Vec<Kek>,
        outage_max: Duration,
    ) -> Result<Self, OpenError> {
        let probed = *keks.first().ok_or(OpenError::Damaged { what: "list of keys" })?;
        Self::start(access, probed, outage_max, move |connection| {
            keks.iter().try_for_each(|kek| connection.check(kek))
        })
    }

    /// Logs in, makes a key, and starts the thread.
    pub(crate) fn found(access: Access, kek: Kek, outage_max: Duration) -> Result<Self, OpenError> {
        let hsm = Self::start(access, kek, outage_max, |_| Ok(()))?;
        hsm.make(kek)?;
        Ok(hsm)
    }

    fn start(
        access: Access,
        probed: Kek,
        outage_max: Duration,
        check: impl Fn(&mut Connection) -> Result<(), OpenError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (calls, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let (opened, outcome) = mpsc::sync_channel(1);
        let state = Arc::new(State::new(probed));
        let shared = state.clone();
        let (ending, ended) = mpsc::sync_channel(1);
        let probe_period =
            PROBE_PERIOD.min(outage_max.checked_div(PROBES_PER_OUTAGE).unwrap_or(outage_max));
        let body = move || {
            let opening = Connection::open(&access).and_then(|mut connection| {
                check(&mut connection)?;
                Ok(connection)
            });
            Actor::start(access, opening, probe_period, shared, &opened, &inbox);
            drop(ending);
        };
        thread::Builder::new().name("hsm".into()).spawn(body).map_err(|_| OpenError::NoThread)?;
        outcome.recv_timeout(OPEN_DEADLINE).map_err(|_| OpenError::Hsm(HsmError::Deadline))??;
        Ok(Self { link: Arc::new(Link { calls: Some(calls), ended: Mutex::new(ended) }), state })
    }

    /// Wraps a key, bound to `aad` where the mechanism can. Blocks no longer than
    /// [`CALL_DEADLINE`], as all that follows.
    pub(crate) fn wrap(&self, kek: Kek, aad: Vec<u8>, key: &[u8; 32]) -> Result<Vec<u8>, HsmError> {
        let key = Zeroizing::new(key.to_vec());
        let wrapped = self.call(move |connection| {
            connection.wrap(&kek, &aad, &key).map(|wrapped| Some(Zeroizing::new(wrapped)))
        })?;
        wrapped.map(|mut wrapped| std::mem::take(&mut *wrapped)).ok_or(HsmError::Refused)
    }

    /// Unwraps a key that was wrapped with the same `aad`.
    pub(crate) fn unwrap(
        &self,
        kek: Kek,
        aad: Vec<u8>,
        wrapped: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, HsmError> {
        let key = self.call(move |c| c.unwrap(&kek, &aad, &wrapped).map(Some))?;
        key.ok_or(HsmError::Refused)
    }

    /// Makes a key in the token, unless it is there, and tries it.
    pub(crate) fn make(&self, kek: Kek) -> Result<(), HsmError> {
        self.call(move |connection| connection.make(&kek).map(|()| None)).map(drop)
    }

    /// Destroys a key in the token, if it is there.
    pub(crate) fn destroy(&self, kek: Kek) -> Result<(), HsmError> {
        self.call(move |connection| connection.destroy(&kek).map(|()| None)).map(drop)
    }

    /// What the token remembers of the vault `id`.
    pub(crate) fn anchor(&self, id: Vec<u8>) -> Result<Option<Vec<u8>>, HsmError> {
        let told = self.call(move |c| c.anchor(&id).map(|value| value.map(Zeroizing::new)))?;
        Ok(told.map(|mut value| std::mem::take(&mut *value)))
    }

    /// Lets the token remember `value` of the vault `id`.
    pub(crate) fn set_anchor(&self, id: Vec<u8>, value: Vec<u8>) -> Result<(), HsmError> {
        self.call(move |connection| connection.set_anchor(&id, &value).map(|()| None)).map(drop)
    }

    /// Says with which key a quiet module is tried from now on.
    pub(crate) fn probe_with(&self, kek: Kek) {
        *self.state.probed.lock().unwrap_or_else(PoisonError::into_inner) = kek;
    }

    /// How long ago the module last did what it was asked.
    pub(crate) fn silent_for(&self) -> Duration {
        let contact = Duration::from_millis(self.state.contact_ms.load(Ordering::Relaxed));
        self.state.since.elapsed().saturating_sub(contact)
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

    fn call(
        &self,
        work: impl Fn(&mut Connection) -> Result<Done, Fault> + Send + 'static,
    ) -> Result<Done, HsmError> {
        self.call_within(Box::new(work), CALL_DEADLINE)
    }

    fn call_within(&self, work: Work, deadline: Duration) -> Result<Done, HsmError> {
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

// === impl State ===

impl State {
    fn new(probed: Kek) -> Self {
        Self {
            works: AtomicBool::new(false),
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            since: Instant::now(),
            contact_ms: AtomicU64::new(0),
            probed: Mutex::new(probed),
        }
    }

    /// Notes that the module answered, which it also does when it refuses a call.
    fn contact(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.contact_ms.store(now, Ordering::Relaxed);
    }
}

// === impl Actor ===

impl Actor {
    fn start(
        access: Access,
        opening: Result<Connection, OpenError>,
        probe_period: Duration,
        state: Arc<State>,
        opened: &SyncSender<Result<(), OpenError>>,
        inbox: &Receiver<Call>,
    ) {
        match opening {
            Ok(connection) => {
                state.works.store(true, Ordering::Relaxed);
                state.contact();
                let connection = Some(connection);
                let actor = Self { access, connection, pin_refused: false, probe_period, state };
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
            match inbox.recv_timeout(self.probe_period) {
                Ok(call) => self.answer(&call),
                Err(RecvTimeoutError::Timeout) => self.probe(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn probe(&mut self) {
        let kek = *self.state.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.attempt(&move |connection: &mut Connection| connection.probe(&kek))
        {
            log::warn!("the hardware security module does not answer as it should: {error}");
        }
    }

    fn answer(&mut self, Call { work, reply }: &Call) {
        let done = self.attempt(work);
        // The caller may have stopped waiting.
        drop(reply.send(done));
    }

    /// Does `work`, on a new connection if the one at hand turns out to be lost.
    fn attempt<T>(
        &mut self,
        work: &impl Fn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, HsmError> {
        self.state.calls.fetch_add(1, Ordering::Relaxed);
        let done = self.attempt_uncounted(work);
        let refused = matches!(done, Err(HsmError::Refused));
        let works = done.is_ok() || refused;
        self.state.works.store(works, Ordering::Relaxed);
        if works {
            self.state.contact();
        }
        self.state.errors.fetch_add(u64::from(done.is_err()), Ordering::Relaxed);
        done
    }

    fn attempt_uncounted<T>(
        &mut self,
        work: &impl Fn(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, HsmError> {
        for pause in [Duration::ZERO].into_iter().chain(BACK_OFF) {
            if self.connection.is_none() {
                self.reconnect(pause)?;
            }
            match self.connection.as_mut().map(work) {
                Some(Ok(done)) => return Ok(done),
                Some(Err(Fault::Refused)) => return Err(HsmError::Refused),
                // Another token may have taken the place of ours, so it is looked for again.
                Some(Err(Fault::Lost | Fault::NoKey)) => self.connection = None,
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
        match Connection::open(&self.access) {
            Ok(connection) => self.connection = Some(connection),
            Err(error @ (OpenError::Pin { .. } | OpenError::PinLocked { .. })) => {
                log::error!("{error}");
                self.pin_refused = true;
                return Err(HsmError::Pin);
            }
            Err(error) => {
                log::warn!("the connection to the token is lost: {error}");
                token::end_module(&self.access);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Hsm, Kek, Link, QUEUE_MAX, State};
    use crate::{HsmError, WrapMechanism};
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    fn outcome(hsm: &Hsm) -> Result<(), HsmError> {
        hsm.call_within(Box::new(|_| Ok(None)), Duration::from_millis(1)).map(drop)
    }

    #[test]
    fn a_module_that_hangs_holds_nobody_for_ever() {
        let (calls, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let (ending, ended) = mpsc::sync_channel(1);
        drop(ending);
        let link = Link { calls: Some(calls), ended: Mutex::new(ended) };
        let state = State::new(Kek::new(WrapMechanism::AesGcm));
        let hsm = Hsm { link: Arc::new(link), state: Arc::new(state) };
        for _ in 0..QUEUE_MAX {
            assert_eq!(outcome(&hsm), Err(HsmError::Deadline));
        }
        assert_eq!(outcome(&hsm), Err(HsmError::Busy), "and no more wait than may");
        drop(inbox);
        assert_eq!(outcome(&hsm), Err(HsmError::Away));
    }
}
