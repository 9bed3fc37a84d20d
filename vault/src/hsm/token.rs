//! One token: finding it, entering it, and the key inside it.

use super::Access;
use crate::{OpenError, WrapMechanism};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::{AuthPin, Ulong};
use model::Secret;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

/// What the wrapping key is called in the token. Together with its id it is found again.
const KEK_LABEL: &str = "orchestra-kek";
const KEK_ID_BYTES: usize = 8;
const KEK_BYTES: u64 = 32;
const IV_BYTES: usize = 12;
const TAG_BITS: u64 = 128;
/// How long a data key is when RFC 5649 has wrapped it.
const KWP_BYTES: usize = 40;
/// What the anchor of a key table is called in the token. Together with its id it is found again.
const ANCHOR_LABEL: &str = "orchestra-key-table";
const LABEL_BYTES_MAX: usize = 32;

/// A key inside the token that wraps others: its name, and the one way in which it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kek {
    pub(crate) id: [u8; KEK_ID_BYTES],
    pub(crate) wrap: WrapMechanism,
}

/// A session that is logged in, and where the keys are that it used.
#[derive(Debug)]
pub(super) struct Connection {
    session: Session,
    /// Of which beginning of the module it is.
    beginning: u64,
    label: Box<str>,
    keks: HashMap<Kek, ObjectHandle>,
}

/// Why a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The session, the token or the handle is gone: worth a new connection.
    Lost,
    /// The module looked at the call and said no.
    Refused,
    /// The token works and does not hold the key.
    NoKey,
}

/// The library, once in a process: loading or initialising it twice is undefined in PKCS#11, and
/// crashes SoftHSM.
static LIBRARY: Mutex<Option<(PathBuf, Pkcs11)>> = Mutex::new(None);

/// How often the module was ended. Who calls into it holds this to read, since a module that is ended
/// during a call may do anything.
static ENDINGS: RwLock<u64> = RwLock::new(0);

/// The right to call into the module.
pub(super) struct Using(RwLockReadGuard<'static, u64>);

/// Keeps the module from being ended.
pub(super) fn using() -> Using {
    Using(ENDINGS.read().unwrap_or_else(PoisonError::into_inner))
}

/// Ends every session with the module, which is begun anew with the next connection. A module may
/// look for tokens at its beginning only, and then one that went away never comes back to it. While
/// somebody is in a call, nothing is ended.
pub(super) fn end_module(access: &Access) {
    let Ok(mut endings) = ENDINGS.try_write() else { return };
    *endings = endings.saturating_add(1);
    let loaded = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    let used = loaded.as_ref().filter(|(path, _)| *path == access.module);
    match used.map(|(_, library)| library.clone().finalize()) {
        None | Some(Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _))) => {}
        Some(Err(error)) => log::warn!("the module cannot be ended: {}", told(&error)),
    }
}

/// Whether the token is there and takes the PIN.
pub(crate) fn check_access(access: &Access) -> Result<(), OpenError> {
    let _module = using();
    let library = library(&access.module)?;
    let slot = slot_of(&library, &access.label)?;
    login(&library.open_ro_session(slot).map_err(failed)?, access)
}

/// The serial number of the token.
pub(crate) fn serial(access: &Access) -> Result<Box<str>, OpenError> {
    let _module = using();
    let library = library(&access.module)?;
    let token = library.get_token_info(slot_of(&library, &access.label)?).map_err(failed)?;
    Ok(token.serial_number().trim_end().into())
}

/// Makes a token in the first free slot, and the PIN of its user.
pub(crate) fn init_token(
    module: &Path,
    label: &str,
    so_pin: &Secret,
    pin: &Secret,
) -> Result<(), OpenError> {
    check_label(label)?;
    let _module = using();
    let library = library(module)?;
    if !slots_of(&library, label)?.is_empty() {
        return Err(OpenError::TokenExists { label: label.into() });
    }
    let slot = free_slot(&library)?;
    // Before anything is made: a token whose user has no PIN is of no use, and in the way.
    let token = library.get_token_info(slot).map_err(failed)?;
    let (min, max) = (token.min_pin_length(), token.max_pin_length());
    if [so_pin, pin].iter().any(|pin| !(min..=max).contains(&pin.len())) {
        return Err(OpenError::PinLength { min, max });
    }
    // The PINs go to the token.
    let (so_pin, pin) = (AuthPin::from(so_pin.expose()), AuthPin::from(pin.expose()));
    library.init_token(slot, &so_pin, label).map_err(failed)?;
    // The numbers of slots change when a token is made, so it is looked for by its label.
    let session = library.open_rw_session(slot_of(&library, label)?).map_err(failed)?;
    session.login(UserType::So, Some(&so_pin)).map_err(failed)?;
    session.init_pin(&pin).map_err(failed)
}

/// A label is padded with spaces, so one that ends in a space is not found again.
fn check_label(label: &str) -> Result<(), OpenError> {
    let well_formed = matches!(label.len(), 1..=LABEL_BYTES_MAX)
        && label.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && label.trim_end() == label;
    well_formed.then_some(()).ok_or(OpenError::Label)
}

fn library(path: &Path) -> Result<Pkcs11, OpenError> {
    let problem = |problem: &str| OpenError::Module { path: path.into(), problem: problem.into() };
    let mut loaded = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    match &*loaded {
        Some((used, library)) if used == path => Ok(library.clone()),
        Some(_) => Err(problem("this process uses another module already")),
        None => {
            let library = Pkcs11::new(path).map_err(|error| problem(&error.to_string()))?;
            initialize(&library).map_err(|error| problem(&error.to_string()))?;
            *loaded = Some((path.into(), library.clone()));
            Ok(library)
        }
    }
}

/// Begins the module if it was ended; else this does nothing. One at a time: two beginnings at once
/// crash SoftHSM.
fn begin_module(library: &Pkcs11) -> Result<(), OpenError> {
    let _one_at_a_time = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    initialize(library).map_err(failed)
}

fn initialize(library: &Pkcs11) -> Result<(), Error> {
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        done => done,
    }
}

/// The slots whose token has the label. Slots have no lasting numbers.
fn slots_of(library: &Pkcs11, label: &str) -> Result<Vec<Slot>, OpenError> {
    let mut found = Vec::new();
    for slot in library.get_slots_with_initialized_token().map_err(failed)? {
        if library.get_token_info(slot).map_err(failed)?.label().trim_end() == label {
            found.push(slot);
        }
    }
    Ok(found)
}

fn slot_of(library: &Pkcs11, label: &str) -> Result<Slot, OpenError> {
    match slots_of(library, label)?.as_slice() {
        [] => Err(OpenError::NoToken { label: label.into() }),
        [slot] => Ok(*slot),
        several => Err(OpenError::TokenAmbiguous { label: label.into(), found: several.len() }),
    }
}

fn free_slot(library: &Pkcs11) -> Result<Slot, OpenError> {
    for slot in library.get_slots_with_token().map_err(failed)? {
        if !library.get_token_info(slot).map_err(failed)?.token_initialized() {
            return Ok(slot);
        }
    }
    Err(OpenError::NoFreeSlot)
}

/// Logs in once. A login that stands already, of another session, is as good.
fn login(session: &Session, access: &Access) -> Result<(), OpenError> {
    let label = access.label.clone();
    match session.login(UserType::User, Some(&access.pin)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
            _,
        )) => Err(OpenError::Pin { label }),
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(OpenError::PinLocked { label }),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: Error) -> OpenError {
    OpenError::Token { problem: told(&error) }
}

/// The function and the code, without the lecture that the library adds. Never data.
fn told(error: &Error) -> Box<str> {
    if let Error::Pkcs11(code, function) = error {
        return format!("{function:?} says {code:?}").into();
    }
    error.to_string().into()
}

fn fault(error: &Error) -> Fault {
    let lost = matches!(
        error,
        Error::Pkcs11(
            RvError::CryptokiNotInitialized
                | RvError::DeviceError
                | RvError::DeviceMemory
                | RvError::DeviceRemoved
                | RvError::FunctionFailed
                | RvError::HostMemory
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid
                | RvError::OperationActive
                | RvError::SessionClosed
                | RvError::SessionHandleInvalid
                | RvError::SlotIdInvalid
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::UserNotLoggedIn,
            _
        )
    );
    if lost { Fault::Lost } else { Fault::Refused }
}

/// What the token is to hold of a key that it is to keep for this session only.
fn session_key(key: &[u8]) -> [Attribute; 6] {
    [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::Value(key.to_vec()),
    ]
}

// === impl Kek ===

impl Kek {
    /// A key that is not made yet.
    pub(crate) fn new(wrap: WrapMechanism) -> Self {
        Self { id: crate::random::bytes(), wrap }
    }

    /// A key does what its way of wrapping takes and nothing else.
    fn template(&self) -> [Attribute; 15] {
        let gcm = self.wrap == WrapMechanism::AesGcm;
        [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(Ulong::from(KEK_BYTES)),
            Attribute::Label(KEK_LABEL.into()),
            Attribute::Id(self.id.to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(gcm),
            Attribute::Decrypt(gcm),
            Attribute::Wrap(!gcm),
            Attribute::Unwrap(!gcm),
            Attribute::Sign(false),
            Attribute::Verify(false),
        ]
    }

    fn find(&self, session: &Session) -> Result<Option<ObjectHandle>, Error> {
        let named = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(KEK_LABEL.into()),
            Attribute::Id(self.id.to_vec()),
        ];
        match session.find_objects(&named)?.as_slice() {
            [kek] => Ok(Some(*kek)),
            // Two of one name cannot be told apart, so neither is the one.
            _ => Ok(None),
        }
    }

    /// Whether the token keeps the key to itself.
    fn is_kept(session: &Session, kek: ObjectHandle) -> Result<bool, Error> {
        let asked = [
            AttributeType::Sensitive,
            AttributeType::AlwaysSensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
        ];
        let told = session.get_attributes(kek, &asked)?;
        Ok(told.contains(&Attribute::Sensitive(true))
            && told.contains(&Attribute::AlwaysSensitive(true))
            && told.contains(&Attribute::Extractable(false))
            && told.contains(&Attribute::NeverExtractable(true)))
    }
}

impl fmt::Display for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.id))
    }
}

// === impl Connection ===

impl Connection {
    /// Finds the token by its label and logs in. Handles and slot numbers do not outlive a session,
    /// so keys are looked for anew.
    pub(super) fn open(access: &Access, module: &Using) -> Result<Self, OpenError> {
        let library = library(&access.module)?;
        begin_module(&library)?;
        let slot = slot_of(&library, &access.label)?;
        let session = library.open_rw_session(slot).map_err(failed)?;
        login(&session, access)?;
        let (label, beginning) = (access.label.clone(), *module.0);
        Ok(Self { session, beginning, label, keks: HashMap::new() })
    }

    /// Whether the module was not ended since this was made.
    pub(super) fn is_of(&self, module: &Using) -> bool {
        self.beginning == *module.0
    }

    /// Refuses a key that is not there, or that the token would give away.
    pub(super) fn check(&mut self, kek: &Kek) -> Result<(), OpenError> {
        let (label, name) = (self.label.clone(), kek.to_string().into());
        let Some(handle) = kek.find(&self.session).map_err(failed)? else {
            return Err(OpenError::NoKek { label, kek: name });
        };
        if !Kek::is_kept(&self.session, handle).map_err(failed)? {
            return Err(OpenError::WeakKek { label, kek: name });
        }
        self.keks.insert(*kek, handle);
        Ok(())
    }

    /// Where the key is, which was looked at before.
    fn handle(&mut self, kek: &Kek) -> Result<ObjectHandle, Fault> {
        if let Some(handle) = self.keks.get(kek) {
            return Ok(*handle);
        }
        let found = kek.find(&self.session).map_err(|error| said(&error))?;
        let handle = found.ok_or(Fault::NoKey)?;
        match Kek::is_kept(&self.session, handle) {
            Ok(true) => {}
            Ok(false) => return Err(Fault::Refused),
            Err(error) => return Err(said(&error)),
        }
        self.keks.insert(*kek, handle);
        Ok(handle)
    }

    /// Wraps `key`. AES-GCM authenticates `aad` beside it; RFC 5649 has no place for it.
    pub(super) fn wrap(&mut self, kek: &Kek, aad: &[u8], key: &[u8]) -> Result<Vec<u8>, Fault> {
        let handle = self.handle(kek)?;
        match kek.wrap {
            WrapMechanism::AesGcm => self.encrypt(handle, aad, key),
            WrapMechanism::AesKwp => self.wrap_object(handle, key),
        }
    }

    /// Unwraps what [`Self::wrap`] made of the same `aad`.
    pub(super) fn unwrap(
        &mut self,
        kek: &Kek,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        // SoftHSM tells a wrong tag as a general error, others as a failed function: both could
        // also mean that the module is broken. It is believed of a module that does other work.
        self.unwrap_once(kek, aad, wrapped).or_else(|fault| match fault {
            Fault::NoKey => Err(fault),
            Fault::Lost | Fault::Refused => self.probe(kek).and(Err(Fault::Refused)),
        })
    }

    /// Whether the key still wraps and unwraps.
    pub(super) fn probe(&mut self, kek: &Kek) -> Result<(), Fault> {
        let (aad, text) = (b"orchestra/1 probe", [0; 32]);
        let wrapped = self.wrap(kek, aad, &text);
        match wrapped.and_then(|wrapped| self.unwrap_once(kek, aad, &wrapped)) {
            Ok(opened) if *opened == text => Ok(()),
            Ok(_) | Err(_) => Err(Fault::Lost),
        }
    }

    /// Makes the key, unless it is there.
    pub(super) fn make(&mut self, kek: &Kek) -> Result<(), Fault> {
        if kek.find(&self.session).map_err(|error| said(&error))?.is_none() {
            let made = self.session.generate_key(&Mechanism::AesKeyGen, &kek.template());
            made.map_err(|error| said(&error))?;
        }
        self.probe(kek)
    }

    /// Destroys the key for good. A key that is not there counts as destroyed.
    pub(super) fn destroy(&mut self, kek: &Kek) -> Result<(), Fault> {
        self.keks.remove(kek);
        if let Some(handle) = kek.find(&self.session).map_err(|error| said(&error))? {
            self.session.destroy_object(handle).map_err(|error| said(&error))?;
        }
        Ok(())
    }

    /// What the token remembers of the vault `id`: the last of what it was told.
    pub(super) fn anchor(&self, id: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let mut last: Option<Vec<u8>> = None;
        for object in self.anchors(id)? {
            let told = self.session.get_attributes(object, &[AttributeType::Value]);
            match told.map_err(|error| said(&error))?.pop() {
                // What is later is greater: the version of the table stands first.
                Some(Attribute::Value(value)) => last = last.max(Some(value)),
                _ => return Err(Fault::Refused),
            }
        }
        Ok(last)
    }

    /// Lets the token remember `value` of the vault `id`.
    pub(super) fn set_anchor(&self, id: &[u8], value: &[u8]) -> Result<(), Fault> {
        let before = self.anchors(id)?;
        // SoftHSM changes no value, so another object takes the place of the one before; they are
        // both there for a moment, and after a crash.
        let object = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Label(ANCHOR_LABEL.into()),
            Attribute::Application(id.to_vec()),
            Attribute::Value(value.to_vec()),
        ];
        self.session.create_object(&object).map_err(|error| said(&error))?;
        for object in before {
            self.session.destroy_object(object).map_err(|error| said(&error))?;
        }
        Ok(())
    }

    fn anchors(&self, id: &[u8]) -> Result<Vec<ObjectHandle>, Fault> {
        let named = [
            Attribute::Class(ObjectClass::DATA),
            Attribute::Label(ANCHOR_LABEL.into()),
            Attribute::Application(id.to_vec()),
        ];
        self.session.find_objects(&named).map_err(|error| said(&error))
    }

    fn unwrap_once(
        &mut self,
        kek: &Kek,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let handle = self.handle(kek)?;
        match kek.wrap {
            WrapMechanism::AesGcm => self.decrypt(handle, aad, wrapped),
            WrapMechanism::AesKwp => self.unwrap_object(handle, wrapped),
        }
    }

    fn encrypt(&self, kek: ObjectHandle, aad: &[u8], key: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut iv = crate::random::bytes::<IV_BYTES>();
        let gcm = GcmParams::new(&mut iv, aad, Ulong::from(TAG_BITS)).map_err(|e| fault(&e))?;
        let wrapped = self.session.encrypt(&Mechanism::AesGcm(gcm), kek, key);
        // Some modules choose the vector themselves and write it here, so it is read afterwards.
        wrapped.map(|bytes| [&iv[..], &bytes].concat()).map_err(|error| said(&error))
    }

    fn decrypt(
        &self,
        kek: ObjectHandle,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (iv, bytes) = wrapped.split_first_chunk::<IV_BYTES>().ok_or(Fault::Refused)?;
        let mut iv = *iv;
        let gcm = GcmParams::new(&mut iv, aad, Ulong::from(TAG_BITS)).map_err(|e| fault(&e))?;
        self.session
            .decrypt(&Mechanism::AesGcm(gcm), kek, bytes)
            .map(Zeroizing::new)
            .map_err(|error| said(&error))
    }

    /// RFC 5649. SoftHSM2, and what this binding can ask for, give it the number 0x210A; a module
    /// that understands another padding by that number makes another length, and is refused.
    fn wrap_object(&self, kek: ObjectHandle, key: &[u8]) -> Result<Vec<u8>, Fault> {
        let wrapped = self.wrap_any(kek, key).map_err(|error| said(&error))?;
        (wrapped.len() == KWP_BYTES).then_some(wrapped).ok_or(Fault::Refused)
    }

    /// RFC 5649 of a key of any length.
    fn wrap_any(&self, kek: ObjectHandle, key: &[u8]) -> Result<Vec<u8>, Error> {
        let object = self.session.create_object(&session_key(key))?;
        let wrapped = self.session.wrap_key(&Mechanism::AesKeyWrapPad, kek, object);
        // It would go with the session, but the session is long.
        self.session.destroy_object(object)?;
        wrapped
    }

    fn unwrap_object(
        &self,
        kek: ObjectHandle,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        self.unwrap_any(kek, wrapped).map_err(|error| said(&error))?.ok_or(Fault::Refused)
    }

    /// What RFC 5649 wrapped, of any length.
    fn unwrap_any(
        &self,
        kek: ObjectHandle,
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let [class, kind, token, sensitive, extractable, _] = session_key(&[]);
        let template = [class, kind, token, sensitive, extractable];
        let object = self.session.unwrap_key(&Mechanism::AesKeyWrapPad, kek, wrapped, &template)?;
        let told = self.session.get_attributes(object, &[AttributeType::Value]);
        self.session.destroy_object(object)?;
        Ok(match told?.pop() {
            Some(Attribute::Value(key)) => Some(Zeroizing::new(key)),
            _ => None,
        })
    }
}

fn said(error: &Error) -> Fault {
    log::warn!("the token: {}", told(error));
    fault(error)
}

#[cfg(test)]
#[path = "../../tests/vectors/token.rs"]
mod vectors;
