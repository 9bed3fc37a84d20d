//! The hardware security module: the one key that wraps all others, and the threads that speak
//! to it.
//!
//! A call into a PKCS#11 library cannot be cut short, and a session must stay on one thread. So a few
//! threads own a session each and take calls from a bounded queue, and callers wait no longer than
//! [`CALL_DEADLINE`]: one call that hangs holds up one session. What changes something in the token
//! has a queue and a session of its own, since a change that hangs and comes late must not undo one
//! that was asked for after it. The module is asked at start and when a key is made, never for a
//! charge: when it is away, payments go on, for as long as the operator allows.
//!
//! What the wrapped keys are for is the business of `keyring`.

mod token;

pub(crate) use token::{Kek, check_access, init_token, serial};

use crate::{HsmError, OpenError, Settings};
use cryptoki::types::AuthPin;
use std::fmt;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use token::{Connection, Fault, Using};
use zeroize::Zeroizing;

/// How long a caller waits for the module.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// How long opening waits for the module, login included.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);
/// How long closing waits for the module.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// How many calls may wait in each queue.
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
    /// To the one session that changes something.
    changes: Arc<Link>,
    /// To those that wrap, unwrap and read.
    calls: Arc<Link>,
    state: Arc<State>,
}

/// A queue to some threads. When it is closed, or the last link goes, they are told to end, and awaited:
/// a module that is still at work while the process ends can crash it.
struct Link {
    calls: RwLock<Option<SyncSender<Call>>>,
    /// Closes when the threads are about to end.
    ended: Mutex<Receiver<()>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How many sessions there are beside the one that changes something, and for how long data keys
/// outlive an outage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) sessions: usize,
    pub(crate) outage_max: Duration,
}

/// Where the token is and how it is entered.
#[derive(Clone)]
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
    /// The PIN was refused once. Trying it again could lock the token.
    pin_refused: AtomicBool,
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

/// What a thread has.
struct Actor {
    access: Access,
    connection: Option<Connection>,
    probe_period: Duration,
    state: Arc<State>,
}

/// Where threads that share a queue take their calls from.
type Inbox = Arc<Mutex<Receiver<Call>>>;

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
    /// Logs in, finds the keys, of which the first is the one in use, and starts the threads.
    pub(crate) fn open(access: Access, keks: Vec<Kek>, manner: Manner) -> Result<Self, OpenError> {
        let probed = *keks.first().ok_or(OpenError::Damaged { what: "list of keys" })?;
        Self::start(access, probed, manner, move |connection| {
            keks.iter().try_for_each(|kek| connection.check(kek))
        })
    }

    /// Logs in, makes a key, and starts the threads.
    pub(crate) fn found(access: Access, kek: Kek, manner: Manner) -> Result<Self, OpenError> {
        let hsm = Self::start(access, kek, manner, |_| Ok(()))?;
        hsm.make(kek)?;
        Ok(hsm)
    }

    fn start(
        access: Access,
        probed: Kek,
        Manner { sessions, outage_max }: Manner,
        check: impl Fn(&mut Connection) -> Result<(), OpenError> + Send + 'static,
    ) -> Result<Self, OpenError> {
        let probe_period =
            PROBE_PERIOD.min(outage_max.checked_div(PROBES_PER_OUTAGE).unwrap_or(outage_max));
        let state = Arc::new(State::new(probed));
        let actor = || Actor {
            access: access.clone(),
            connection: None,
            probe_period,
            state: state.clone(),
        };
        let (opened, outcome) = mpsc::sync_channel(1);
        let first = actor();
        let changes = Link::start(vec![Box::new(move |inbox| {
            first.open(&check, &opened, inbox);
        })])?;
        outcome.recv_timeout(OPEN_DEADLINE).map_err(|_| OpenError::Hsm(HsmError::Deadline))??;
        // These log in when they are first needed.
        let others = (0..sessions.max(1)).map(|_| actor());
        let run = |actor: Actor| -> Body { Box::new(move |inbox| actor.run(inbox)) };
        let calls = Link::start(others.map(run).collect())?;
        Ok(Self { changes: Arc::new(changes), calls: Arc::new(calls), state })
    }

    /// Wraps a key, bound to `aad` where the mechanism can. Blocks no longer than
    /// [`CALL_DEADLINE`], as all that follows.
    pub(crate) fn wrap(&self, kek: Kek, aad: Vec<u8>, key: &[u8; 32]) -> Result<Vec<u8>, HsmError> {
        let key = Zeroizing::new(key.to_vec());
        let wrapped = self.call(move |connection| {
            connection.wrap(&kek, &aad, &key).map(|wrapped| Some(Zeroizing::new(wrapped)))
        })?;
        wrapped.map(|mut wrapped| mem::take(&mut *wrapped)).ok_or(HsmError::Refused)
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
        self.change(move |connection| connection.make(&kek).map(|()| None)).map(drop)
    }

    /// Destroys a key in the token, if it is there.
    pub(crate) fn destroy(&self, kek: Kek) -> Result<(), HsmError> {
        self.change(move |connection| connection.destroy(&kek).map(|()| None)).map(drop)
    }

    /// What the token remembers of the vault `id`.
    pub(crate) fn anchor(&self, id: Vec<u8>) -> Result<Option<Vec<u8>>, HsmError> {
        let told = self.call(move |c| c.anchor(&id).map(|value| value.map(Zeroizing::new)))?;
        Ok(told.map(|mut value| mem::take(&mut *value)))
    }

    /// Lets the token remember `value` of the vault `id`.
    pub(crate) fn set_anchor(&self, id: Vec<u8>, value: Vec<u8>) -> Result<(), HsmError> {
        self.change(move |connection| connection.set_anchor(&id, &value).map(|()| None)).map(drop)
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

    /// Ends the threads and awaits them, also while somebody waits for one on a thread of [`Self::aside`].
    pub(crate) fn close(&self) {
        self.changes.close();
        self.calls.close();
    }

    fn call(
        &self,
        work: impl Fn(&mut Connection) -> Result<Done, Fault> + Send + 'static,
    ) -> Result<Done, HsmError> {
        self.calls.call_within(Box::new(work), CALL_DEADLINE)
    }

    /// Has something changed, after all changes that were asked for before.
    fn change(
        &self,
        work: impl Fn(&mut Connection) -> Result<Done, Fault> + Send + 'static,
    ) -> Result<Done, HsmError> {
        self.changes.call_within(Box::new(work), CALL_DEADLINE)
    }
}

impl fmt::Debug for Hsm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hsm").field(&self.state).finish()
    }
}

// === impl Link ===

/// What a thread does with its queue.
type Body = Box<dyn FnOnce(&Inbox) + Send>;

impl Link {
    /// Starts a thread for each of `bodies`, with one queue for all of them.
    fn start(bodies: Vec<Body>) -> Result<Self, OpenError> {
        let (calls, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let (ending, ended) = mpsc::sync_channel(1);
        let inbox = Arc::new(Mutex::new(inbox));
        let mut threads = Vec::new();
        for body in bodies {
            let (inbox, ending) = (inbox.clone(), ending.clone());
            let run = move || {
                body(&inbox);
                drop(ending);
            };
            let thread = thread::Builder::new().name("hsm".into()).spawn(run);
            threads.push(thread.map_err(|_| OpenError::NoThread)?);
        }
        let (ended, threads) = (Mutex::new(ended), Mutex::new(threads));
        Ok(Self { calls: RwLock::new(Some(calls)), ended, threads })
    }

    fn call_within(&self, work: Work, deadline: Duration) -> Result<Done, HsmError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let calls = self.calls.read().unwrap_or_else(PoisonError::into_inner).clone();
        calls.ok_or(HsmError::Away)?.try_send(Call { work, reply }).map_err(
            |error| match error {
                TrySendError::Full(_) => HsmError::Busy,
                TrySendError::Disconnected(_) => HsmError::Away,
            },
        )?;
        answer.recv_timeout(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => HsmError::Deadline,
            RecvTimeoutError::Disconnected => HsmError::Away,
        })?
    }

    fn close(&self) {
        let calls = self.calls.write().unwrap_or_else(PoisonError::into_inner).take();
        // It is waited for once.
        let Some(calls) = calls else { return };
        drop(calls);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(CLOSE_DEADLINE) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the hardware security module is still busy and is left behind");
            return;
        }
        // What the module has by thread is freed when the thread has ended, and not before.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.drain(..).any(|thread| thread.join().is_err()) {
            log::error!("a thread of the hardware security module panicked");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
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
            pin_refused: AtomicBool::new(false),
            probed: Mutex::new(probed),
        }
    }

    /// Notes that the module answered, which it also does when it refuses a call.
    fn contact(&self) {
        self.contact_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Actor ===

impl Actor {
    /// Makes the first connection, says whether it is as it must be, and goes on with it.
    fn open(
        mut self,
        check: &impl Fn(&mut Connection) -> Result<(), OpenError>,
        opened: &SyncSender<Result<(), OpenError>>,
        inbox: &Inbox,
    ) {
        let module = token::using();
        let opening = Connection::open(&self.access, &module).and_then(|mut connection| {
            check(&mut connection)?;
            Ok(connection)
        });
        drop(module);
        match opening {
            Ok(connection) => {
                self.state.works.store(true, Ordering::Relaxed);
                self.state.contact();
                self.connection = Some(connection);
                if opened.send(Ok(())).is_ok() {
                    self.run(inbox);
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        }
    }

    /// Takes calls until nobody is left to make one.
    fn run(mut self, inbox: &Inbox) {
        loop {
            // Whoever waits holds the queue; the others wait for it, and take it in turn.
            let next = {
                let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
                inbox.recv_timeout(self.probe_period)
            };
            match next {
                Ok(call) => self.answer(&call),
                Err(RecvTimeoutError::Timeout) => self.probe(),
                Err(RecvTimeoutError::Disconnected) => return self.leave(),
            }
        }
    }

    /// Closes the session, unless the module was begun anew since.
    fn leave(mut self) {
        let module = token::using();
        self.drop_stale(&module);
        drop(self.connection.take());
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
            let begun = self.state.now_ms();
            if self.connection.is_none() {
                // Nobody unparks this thread, and if somebody did, the wait would only be shorter.
                // Meanwhile others may end the module.
                thread::park_timeout(pause);
            }
            let module = token::using();
            self.drop_stale(&module);
            if self.connection.is_none() && !self.reconnect(&module)? {
                drop(module);
                self.end_module(begun);
                continue;
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

    /// Forgets a session of a module that was ended since: its number may be another's by now.
    fn drop_stale(&mut self, module: &Using) {
        if self.connection.as_ref().is_some_and(|connection| !connection.is_of(module)) {
            mem::forget(self.connection.take());
        }
    }

    /// Makes a new connection, if it can, and says whether it did. Fails only when it is pointless to
    /// go on trying.
    fn reconnect(&mut self, module: &Using) -> Result<bool, HsmError> {
        if self.state.pin_refused.load(Ordering::Relaxed) {
            return Err(HsmError::Pin);
        }
        match Connection::open(&self.access, module) {
            Ok(connection) => self.connection = Some(connection),
            Err(error @ (OpenError::Pin { .. } | OpenError::PinLocked { .. })) => {
                log::error!("{error}");
                self.state.pin_refused.store(true, Ordering::Relaxed);
                return Err(HsmError::Pin);
            }
            Err(error) => {
                log::warn!("the connection to the token is lost: {error}");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends the module, unless it has answered another session since `begun`: then it is not the
    /// module that has a fault.
    fn end_module(&self, begun: u64) {
        if self.state.contact_ms.load(Ordering::Relaxed) <= begun {
            token::end_module(&self.access);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Call, Hsm, Inbox, Kek, Link, QUEUE_MAX, State};
    use crate::{HsmError, WrapMechanism};
    use std::sync::mpsc::{self, Sender};
    use std::sync::{Arc, Mutex, RwLock};
    use std::time::Duration;

    fn outcome(link: &Link, patience: Duration) -> Result<(), HsmError> {
        link.call_within(Box::new(|_| Ok(None)), patience).map(drop)
    }

    #[test]
    fn a_module_that_hangs_holds_nobody_for_ever() {
        let (calls, inbox) = mpsc::sync_channel(QUEUE_MAX);
        let (ending, ended) = mpsc::sync_channel(1);
        drop(ending);
        let (calls, ended) = (RwLock::new(Some(calls)), Mutex::new(ended));
        let link = Link { calls, ended, threads: Mutex::default() };
        let patience = Duration::from_millis(1);
        for _ in 0..QUEUE_MAX {
            assert_eq!(outcome(&link, patience), Err(HsmError::Deadline));
        }
        assert_eq!(outcome(&link, patience), Err(HsmError::Busy), "and no more wait than may");
        drop(inbox);
        assert_eq!(outcome(&link, patience), Err(HsmError::Away));
    }

    /// A session that answers calls until it is told to hang.
    fn session(hangs: bool, until: mpsc::Receiver<()>, taken: Sender<()>) -> Body {
        Box::new(move |inbox: &Inbox| {
            loop {
                let next = inbox.lock().unwrap().recv();
                let Ok(Call { reply, .. }) = next else { return };
                taken.send(()).unwrap();
                if hangs {
                    until.recv().ok();
                }
                reply.send(Ok(None)).ok();
            }
        })
    }

    #[test]
    fn a_call_that_hangs_holds_up_its_own_session_and_no_other() {
        let (taken, takes) = mpsc::channel();
        let (end_one, one) = mpsc::channel();
        let (end_two, two) = mpsc::channel();
        let sessions = vec![session(true, one, taken.clone()), session(false, two, taken)];
        let calls = Link::start(sessions).unwrap();
        let patience = Duration::from_secs(60);
        // Until the one that hangs has a call, both may take it.
        let hung = loop {
            match outcome(&calls, Duration::from_millis(50)) {
                Err(error) => break error,
                Ok(()) => takes.recv().unwrap(),
            }
        };
        assert_eq!(hung, HsmError::Deadline);
        for _ in 0..10 {
            assert_eq!(outcome(&calls, patience), Ok(()));
        }
        // Changes have a session of their own, in the same way.
        let (_end, until) = mpsc::channel();
        let (taken, _takes) = mpsc::channel();
        let changes = Link::start(vec![session(false, until, taken)]).unwrap();
        let state = Arc::new(State::new(Kek::new(WrapMechanism::AesGcm)));
        let hsm = Hsm { changes: Arc::new(changes), calls: Arc::new(calls), state };
        assert_eq!(hsm.change(|_| Ok(None)).map(drop), Ok(()));
        drop((end_one, end_two));
    }
}
