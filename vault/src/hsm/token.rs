//! One token: finding it, entering it, and the key inside it.

use super::{Access, IV_BYTES, Wrapped};
use crate::OpenError;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::{AuthPin, Ulong};
use model::Secret;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// What the wrapping key is called in the token. Together with its id it is found again.
const KEK_LABEL: &str = "orchestra-kek";
const KEK_ID_BYTES: usize = 8;
const KEK_BYTES: u64 = 32;
const TAG_BITS: u64 = 128;
const LABEL_BYTES_MAX: usize = 32;

/// The name of the key inside the token that wraps all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kek(pub(crate) [u8; KEK_ID_BYTES]);

/// A session that is logged in, and where the key is.
#[derive(Debug)]
pub(super) struct Connection {
    session: Session,
    kek: ObjectHandle,
}

/// Why a call came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The session, the token or the handle is gone: worth a new connection.
    Lost,
    /// The module looked at the call and said no.
    Refused,
}

/// The library, once in a process: loading or initialising it twice is undefined in PKCS#11, and
/// crashes SoftHSM.
static LIBRARY: Mutex<Option<(PathBuf, Pkcs11)>> = Mutex::new(None);

/// Whether the token is there and takes the PIN.
pub(crate) fn check_access(access: &Access) -> Result<(), OpenError> {
    let library = library(&access.module)?;
    let slot = slot_of(&library, &access.label)?;
    login(&library.open_ro_session(slot).map_err(failed)?, access)
}

/// Makes the key that wraps all others. It never leaves the token.
///
/// Returns its name and the serial number of the token.
pub(crate) fn create_kek(access: &Access) -> Result<(Kek, Box<str>), OpenError> {
    let library = library(&access.module)?;
    let slot = slot_of(&library, &access.label)?;
    let session = library.open_rw_session(slot).map_err(failed)?;
    login(&session, access)?;
    let kek = Kek(crate::random::bytes());
    session.generate_key(&Mechanism::AesKeyGen, &kek.template()).map_err(failed)?;
    let token = library.get_token_info(slot).map_err(failed)?;
    Ok((kek, token.serial_number().trim_end().into()))
}

/// Makes a token in the first free slot, and the PIN of its user.
pub(crate) fn init_token(
    module: &Path,
    label: &str,
    so_pin: &Secret,
    pin: &Secret,
) -> Result<(), OpenError> {
    check_label(label)?;
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

// === impl Kek ===

impl Kek {
    fn template(&self) -> [Attribute; 13] {
        [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(Ulong::from(KEK_BYTES)),
            Attribute::Label(KEK_LABEL.into()),
            Attribute::Id(self.0.to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Sign(false),
            Attribute::Verify(false),
        ]
    }

    fn find(&self, session: &Session, label: &str) -> Result<ObjectHandle, OpenError> {
        let named = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::Label(KEK_LABEL.into()),
            Attribute::Id(self.0.to_vec()),
        ];
        match session.find_objects(&named).map_err(failed)?.as_slice() {
            [kek] => Ok(*kek),
            _ => Err(OpenError::NoKek { label: label.into(), kek: self.to_string().into() }),
        }
    }

    /// Refuses a key that the token would give away.
    fn check(&self, session: &Session, kek: ObjectHandle, label: &str) -> Result<(), OpenError> {
        let asked = [
            AttributeType::Sensitive,
            AttributeType::AlwaysSensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
        ];
        let told = session.get_attributes(kek, &asked).map_err(failed)?;
        let good = told.contains(&Attribute::Sensitive(true))
            && told.contains(&Attribute::AlwaysSensitive(true))
            && told.contains(&Attribute::Extractable(false))
            && told.contains(&Attribute::NeverExtractable(true));
        let weak = || OpenError::WeakKek { label: label.into(), kek: self.to_string().into() };
        good.then_some(()).ok_or_else(weak)
    }
}

impl fmt::Display for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

// === impl Connection ===

impl Connection {
    /// Finds the token by its label, logs in, and finds the key by its label and id: handles and
    /// slot numbers do not outlive a session.
    pub(super) fn open(access: &Access, kek: &Kek) -> Result<Self, OpenError> {
        let library = library(&access.module)?;
        // The module may have been finalised under us; when it was not, this does nothing.
        initialize(&library).map_err(failed)?;
        let slot = slot_of(&library, &access.label)?;
        let session = library.open_ro_session(slot).map_err(failed)?;
        login(&session, access)?;
        let handle = kek.find(&session, &access.label)?;
        kek.check(&session, handle, &access.label)?;
        Ok(Self { session, kek: handle })
    }

    /// Encrypts `key` with AES-GCM under the key in the token.
    pub(super) fn wrap(&self, aad: &[u8], key: &[u8]) -> Result<Wrapped, Fault> {
        let mut iv = crate::random::bytes::<IV_BYTES>();
        let gcm = GcmParams::new(&mut iv, aad, Ulong::from(TAG_BITS)).map_err(|e| fault(&e))?;
        let wrapped = self.session.encrypt(&Mechanism::AesGcm(gcm), self.kek, key);
        // Some modules choose the vector themselves and write it here, so it is read afterwards.
        wrapped.map(|bytes| Wrapped { iv, bytes }).map_err(|error| said(&error))
    }

    /// Decrypts what [`Self::wrap`] made with the same `aad`.
    pub(super) fn unwrap(
        &self,
        aad: &[u8],
        wrapped: &Wrapped,
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        // SoftHSM tells a wrong tag as a general error, others as a failed function: both could
        // also mean that the module is broken. It is believed of a module that does other work.
        self.decrypt(aad, wrapped).or_else(|_| self.probe().and(Err(Fault::Refused)))
    }

    /// Whether the key still wraps and unwraps.
    pub(super) fn probe(&self) -> Result<(), Fault> {
        let (aad, text) = (b"orchestra/1 probe", [0; 16]);
        let opened = self.wrap(aad, &text).and_then(|wrapped| self.decrypt(aad, &wrapped));
        match opened {
            Ok(opened) if *opened == text => Ok(()),
            Ok(_) | Err(_) => Err(Fault::Lost),
        }
    }

    fn decrypt(&self, aad: &[u8], wrapped: &Wrapped) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let mut iv = wrapped.iv;
        let gcm = GcmParams::new(&mut iv, aad, Ulong::from(TAG_BITS)).map_err(|e| fault(&e))?;
        self.session
            .decrypt(&Mechanism::AesGcm(gcm), self.kek, &wrapped.bytes)
            .map(Zeroizing::new)
            .map_err(|error| said(&error))
    }
}

fn said(error: &Error) -> Fault {
    log::warn!("the token: {}", told(error));
    fault(error)
}
