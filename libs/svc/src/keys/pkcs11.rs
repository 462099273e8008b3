//! Signing keys in a token, through its PKCS #11 module (OASIS PKCS #11 2.40 and 3.0): the only file that names cryptoki.
//!
//! The token signs; the key never leaves it. A key has a session for each processor, each under a lock, since a session
//! does one thing at a time. Sessions log in when they are opened; one that the token has forgotten (it was restarted,
//! taken out and put back, or somebody logged out) is given up for another, and the call is made again. A PIN that the token
//! refuses is not tried again: tokens lock after a few attempts.

use super::{SigningError, SigningKey, SigningKind};
use crate::durable;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Rsa;
use openssl::sha::sha256;
use openssl::sign::Verifier;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

/// DER DigestInfo of SHA-256 without the digest (RFC 8017 section 9.2, note 1): CKM_RSA_PKCS pads what it is given.
const DIGEST_INFO: [u8; 19] = *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
/// DER of the named curve P-256: CKA_EC_PARAMS.
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// Octets of r, and of s, on P-256.
const HALF: usize = 32;
/// Most sessions for a key.
const MOST_WORKERS: usize = 8;
/// How often a signature is tried, each time in another session.
const ATTEMPTS: usize = 3;

/// The token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module cannot be loaded.
    #[error("PKCS #11 module {0}: {1}\ntry: the path of the vendor's .so file")]
    Module(PathBuf, String),
    /// No such token.
    #[error(
        "PKCS #11 module {module}: no token labelled {label}, or more than one\ntry: pkcs11-tool --module {module} -L"
    )]
    NoToken {
        /// The module.
        module: String,
        /// The label that was looked for.
        label: String,
    },
    /// The PIN cannot be read.
    #[error("PIN file {0}: {1}")]
    PinFile(PathBuf, std::io::Error),
    /// The token does not take the PIN.
    #[error(
        "token {0}: PIN refused, and not tried again, for tokens lock\ntry: correct the PIN file, restart the service"
    )]
    Pin(String),
    /// No such key, or several.
    #[error("token {token}: {found} key objects labelled {key}, and one private and one public are wanted")]
    Key {
        /// The token.
        token: String,
        /// The label that was looked for.
        key: String,
        /// How many there are.
        found: usize,
    },
    /// The token failed.
    #[error("token {token}: {said}")]
    Call {
        /// The token.
        token: String,
        /// Function and return value.
        said: String,
    },
    /// What the token gave is no signature of this key.
    #[error("token {0}: its signature does not verify")]
    Signature(String),
}

/// A token that we log in to.
pub struct Token {
    module: Pkcs11,
    label: String,
    path: PathBuf,
    pin: AuthPin,
    refused: AtomicBool,
}

/// Modules are initialised once a process, whoever uses them (PKCS #11 section 5.4).
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

fn initialise(module: &Pkcs11) -> Result<(), Error> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        other => other,
    }
}

fn load(path: &Path) -> Result<Pkcs11, TokenError> {
    let failed = |e: Error| TokenError::Module(path.to_owned(), said(&e));
    let mut modules = lock(&MODULES);
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(failed)?;
    initialise(&module).map_err(failed)?;
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}

/// What the module said, in a few words: the crate's own texts are paragraphs of the standard.
fn said(error: &Error) -> String {
    match error {
        Error::Pkcs11(value, function) => format!("{function}: {value:?}"),
        other => other.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Token {
    /// Finds the token labelled `label` behind the module at `path`, and logs in with the PIN in the first line of
    /// `pin_file`, which only its owner may read.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn open(path: &Path, label: &str, pin_file: &Path) -> Result<Arc<Self>, SigningError> {
        let unreadable = |e| TokenError::PinFile(pin_file.to_owned(), e);
        let octets = durable::read_secret(pin_file).map_err(unreadable)?;
        let line = octets.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
        let no_text = |_| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, "not UTF-8"));
        let pin = AuthPin::from(std::str::from_utf8(line).map_err(no_text)?.to_owned());
        let module = load(path)?;
        let (label, path) = (label.to_owned(), path.to_owned());
        let token = Self { module, label, path, pin, refused: AtomicBool::new(false) };
        token.session(false)?.close().map_err(|e| token.failed(&e))?;
        Ok(Arc::new(token))
    }

    fn failed(&self, error: &Error) -> TokenError {
        TokenError::Call { token: self.label.clone(), said: said(error) }
    }

    /// The token's slot. It may be another one after the token was taken out and put back.
    fn slot(&self) -> Result<Slot, TokenError> {
        initialise(&self.module).map_err(|e| self.failed(&e))?;
        let mut found = Vec::new();
        for slot in self.module.get_slots_with_token().map_err(|e| self.failed(&e))? {
            let info = self.module.get_token_info(slot).map_err(|e| self.failed(&e))?;
            if info.label().trim_end() == self.label {
                found.push(slot);
            }
        }
        match found.as_slice() {
            [slot] => Ok(*slot),
            _ => Err(TokenError::NoToken { module: self.path.display().to_string(), label: self.label.clone() }),
        }
    }

    /// A session that is logged in. Logging in holds for all sessions of the process: mostly it is done already.
    fn session(&self, writing: bool) -> Result<Session, TokenError> {
        if self.refused.load(Ordering::Acquire) {
            return Err(TokenError::Pin(self.label.clone()));
        }
        let slot = self.slot()?;
        // Not closed when dropped: the number of a session that the token has forgotten may be another one's by now.
        let open = if writing { Pkcs11::open_rw_session_no_drop } else { Pkcs11::open_ro_session_no_drop };
        let session = open(&self.module, slot).map_err(|e| self.failed(&e))?;
        use RvError::{PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked, UserAlreadyLoggedIn};
        match session.login(UserType::User, Some(&self.pin)) {
            Ok(()) | Err(Error::Pkcs11(UserAlreadyLoggedIn, _)) => Ok(session),
            Err(Error::Pkcs11(PinExpired | PinIncorrect | PinInvalid | PinLenRange | PinLocked, _)) => {
                self.refused.store(true, Ordering::Release);
                Err(TokenError::Pin(self.label.clone()))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn find(&self, session: &Session, class: ObjectClass, key: &str) -> Result<Option<ObjectHandle>, TokenError> {
        let template = [Attribute::Class(class), Attribute::Label(key.as_bytes().to_vec())];
        let found = session.find_objects(&template).map_err(|e| self.failed(&e))?;
        match found.as_slice() {
            [] => Ok(None),
            [object] => Ok(Some(*object)),
            _ => Err(TokenError::Key { token: self.label.clone(), key: key.to_owned(), found: found.len() }),
        }
    }

    fn missing(&self, key: &str) -> TokenError {
        TokenError::Key { token: self.label.clone(), key: key.to_owned(), found: 0 }
    }

    /// The key pair labelled `key`; `None` if the token has none of this label.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn key(self: &Arc<Self>, key: &str) -> Result<Option<TokenKey>, SigningError> {
        let session = self.session(false)?;
        let found = self.read(&session, key);
        session.close().map_err(|e| self.failed(&e))?;
        let Some(public) = found? else { return Ok(None) };
        let (kind, spki) = (SigningKind::of(&public)?, public.public_key_to_der()?);
        let workers = available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
        Ok(Some(TokenKey {
            token: Arc::clone(self),
            label: key.to_owned(),
            public,
            spki,
            kind,
            workers: (0..workers).map(|_| Mutex::new(None)).collect(),
            next: AtomicUsize::new(0),
        }))
    }

    /// The public half of a pair.
    fn read(&self, session: &Session, key: &str) -> Result<Option<PKey<Public>>, SigningError> {
        let private = self.find(session, ObjectClass::PRIVATE_KEY, key)?;
        let public = self.find(session, ObjectClass::PUBLIC_KEY, key)?;
        let object = match (private, public) {
            (Some(_), Some(object)) => object,
            (None, None) => return Ok(None),
            _ => {
                let label = self.label.clone();
                return Err(TokenError::Key { token: label, key: key.to_owned(), found: 1 }.into());
            }
        };
        use AttributeType::{EcParams, EcPoint as Point, KeyType as Sort, Modulus, PublicExponent};
        let read = |wanted: &[AttributeType]| session.get_attributes(object, wanted).map_err(|e| self.failed(&e));
        let public = match read(&[Sort])?.as_slice() {
            [Attribute::KeyType(KeyType::RSA)] => match read(&[Modulus, PublicExponent])?.as_slice() {
                [Attribute::Modulus(n), Attribute::PublicExponent(e)] => rsa(n, e)?,
                _ => return Err(SigningError::Kind),
            },
            [Attribute::KeyType(KeyType::EC)] => match read(&[EcParams, Point])?.as_slice() {
                [Attribute::EcParams(curve), Attribute::EcPoint(point)] if curve == P256 => p256(point)?,
                _ => return Err(SigningError::Kind),
            },
            _ => return Err(SigningError::Kind),
        };
        Ok(Some(public))
    }

    /// Makes a key pair in the token, labelled `key`, whose private half never comes out of it.
    ///
    /// # Errors
    /// [`SigningError`].
    pub fn generate(self: &Arc<Self>, key: &str, kind: SigningKind) -> Result<TokenKey, SigningError> {
        let label = || [Attribute::Token(true), Attribute::Label(key.into()), Attribute::Id(key.into())];
        let mut public = vec![Attribute::Private(false), Attribute::Verify(true)];
        public.extend(label());
        let mut private = vec![Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false)];
        private.push(Attribute::Sign(true));
        private.extend(label());
        let mechanism = match kind {
            SigningKind::Rsa => {
                public.extend([Attribute::ModulusBits(3072.into()), Attribute::PublicExponent(vec![1, 0, 1])]);
                Mechanism::RsaPkcsKeyPairGen
            }
            SigningKind::P256 => {
                public.push(Attribute::EcParams(P256.to_vec()));
                Mechanism::EccKeyPairGen
            }
        };
        let session = self.session(true)?;
        let made = session.generate_key_pair(&mechanism, &public, &private).map_err(|e| self.failed(&e));
        session.close().map_err(|e| self.failed(&e))?;
        made?;
        self.key(key)?.ok_or_else(|| self.missing(key).into())
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<PKey<Public>, ErrorStack> {
    PKey::from_rsa(Rsa::from_public_components(BigNum::from_slice(modulus)?, BigNum::from_slice(exponent)?)?)
}

/// CKA_EC_POINT is an OCTET STRING around the point; some tokens leave that out.
fn p256(point: &[u8]) -> Result<PKey<Public>, ErrorStack> {
    let octets = point.strip_prefix(&[0x04, 0x41]).filter(|inner| inner.len() == 1 + 2 * HALF).unwrap_or(point);
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let mut context = BigNumContext::new()?;
    let key = EcKey::from_public_key(&group, &*EcPoint::from_bytes(&group, octets, &mut context)?)?;
    key.check_key()?;
    PKey::from_ec_key(key)
}

/// A key in a token.
pub struct TokenKey {
    token: Arc<Token>,
    label: String,
    public: PKey<Public>,
    spki: Vec<u8>,
    kind: SigningKind,
    workers: Vec<Mutex<Option<Worker>>>,
    next: AtomicUsize,
}

/// A session with the key found in it.
struct Worker {
    session: Session,
    key: ObjectHandle,
}

impl TokenKey {
    /// A worker that is free, or one to wait for.
    fn worker(&self) -> Option<MutexGuard<'_, Option<Worker>>> {
        let free = self.workers.iter().find_map(|worker| worker.try_lock().ok());
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1);
        free.or_else(|| self.workers.get(turn).map(lock))
    }

    fn hire(&self) -> Result<Worker, TokenError> {
        let session = self.token.session(false)?;
        match self.token.find(&session, ObjectClass::PRIVATE_KEY, &self.label) {
            Ok(Some(key)) => Ok(Worker { session, key }),
            Ok(None) => Err(self.token.missing(&self.label)),
            Err(error) => Err(error),
        }
    }

    /// The signature over `tbs` in the session of `worker`, verified.
    fn sign_in(&self, worker: &Worker, tbs: &[u8]) -> Result<Vec<u8>, SigningError> {
        let digest = sha256(tbs);
        let wrong = || TokenError::Signature(self.token.label.clone());
        let raw = |mechanism: &Mechanism<'_>, data: &[u8]| {
            worker.session.sign(mechanism, worker.key, data).map_err(|e| self.token.failed(&e))
        };
        let signature = match self.kind {
            SigningKind::Rsa => raw(&Mechanism::RsaPkcs, &[DIGEST_INFO.as_slice(), &digest].concat())?,
            SigningKind::P256 => {
                // CKM_ECDSA gives r ‖ s, certificates have the DER of both.
                let raw = raw(&Mechanism::Ecdsa, &digest)?;
                let (r, s) = raw.split_at_checked(HALF).filter(|(_, s)| s.len() == HALF).ok_or_else(wrong)?;
                EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?.to_der()?
            }
        };
        // A public-key operation is cheap beside the token; and a faulty signature gives away an RSA key.
        if !Verifier::new(MessageDigest::sha256(), &self.public)?.verify_oneshot(&signature, tbs)? {
            return Err(wrong().into());
        }
        Ok(signature)
    }
}

impl Drop for TokenKey {
    fn drop(&mut self) {
        for worker in &self.workers {
            if let Some(worker) = lock(worker).take() {
                let _ = worker.session.close();
            }
        }
    }
}

impl SigningKey for TokenKey {
    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn kind(&self) -> SigningKind {
        self.kind
    }

    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SigningError> {
        let mut place = self.worker().ok_or_else(|| self.token.missing(&self.label))?;
        let mut attempt = 1;
        loop {
            let worker = match place.take() {
                Some(worker) => worker,
                None => self.hire()?,
            };
            match self.sign_in(&worker, tbs) {
                Ok(signature) => {
                    *place = Some(worker);
                    return Ok(signature);
                }
                // Many return values say that the session is gone, and each vendor has favourites.
                Err(error) if attempt < ATTEMPTS => {
                    tracing::warn!(%error, "session with the token given up for another");
                    // Tokens have few sessions. One that is gone cannot be closed, which is no matter.
                    let _ = worker.session.close();
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
