//! A signing key that is carried on a medium: PKCS #8 encrypted under a passphrase (RFC 8018 section 6.2, PBES2 with
//! PBKDF2, HMAC-SHA-256 and AES-256-CBC), in PEM, so that any OpenSSL reads it too. Written here, since OpenSSL's own
//! writer takes 2,048 rounds of PBKDF2, and such a medium may be tried for years.

use super::{SigningError, SoftwareSigner};
use crate::durable;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, encrypt};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use twinseal_proto::cms::der::{self, Oid, Tag};
use twinseal_proto::cms::labels::AES256_CBC;
use zeroize::Zeroizing;

/// Rounds of PBKDF2: what OWASP's password storage guide asks for with HMAC-SHA-256. The DER INTEGER's octets.
const ROUNDS: (usize, [u8; 3]) = (600_000, [0x09, 0x27, 0xc0]);
/// Octets of the salt.
const SALT: usize = 16;
/// Shortest passphrase in characters.
const SHORTEST: usize = 12;

/// id-PBES2 (RFC 8018 appendix C).
const PBES2: Oid<'static> = Oid::new(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d");
/// id-PBKDF2.
const PBKDF2: Oid<'static> = Oid::new(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c");
/// id-hmacWithSHA256.
const HMAC_SHA256: Oid<'static> = Oid::new(b"\x2a\x86\x48\x86\xf7\x0d\x02\x09");

/// A passphrase; no `Debug`, zeroized.
pub struct Passphrase(Zeroizing<String>);

/// The key or its passphrase cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// A file.
    #[error("{0}: cannot be read or written")]
    File(PathBuf, #[source] io::Error),
    /// Nobody to ask.
    #[error("no terminal to ask for the passphrase\ntry: --passphrase-file FILE")]
    Terminal(#[source] io::Error),
    /// Too short, or not text.
    #[error("the passphrase must be text of {SHORTEST} characters or more")]
    Weak,
    /// Not the same twice.
    #[error("the two passphrases are not the same")]
    Differ,
    /// It does not open.
    #[error("{0}: no private key in PEM, or another passphrase")]
    Wrong(PathBuf),
    /// OpenSSL failed.
    #[error("OpenSSL")]
    Ssl(#[from] ErrorStack),
    /// A key that does not sign here.
    #[error("{0}")]
    Kind(PathBuf, #[source] SigningError),
}

impl Passphrase {
    /// Takes the first line of `file`, which only its owner may read, or else asks on the terminal with `question`, with
    /// echo off; twice, when it is a `new` one.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn get(file: Option<&Path>, question: &str, new: bool) -> Result<Self, PassphraseError> {
        let text = match file {
            Some(path) => {
                let octets = durable::read_secret(path).map_err(|e| PassphraseError::File(path.to_owned(), e))?;
                let line = octets.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
                Zeroizing::new(std::str::from_utf8(line).map_err(|_| PassphraseError::Weak)?.to_owned())
            }
            None => {
                let first = ask(question).map_err(PassphraseError::Terminal)?;
                if new && *first != *ask("Again: ").map_err(PassphraseError::Terminal)? {
                    return Err(PassphraseError::Differ);
                }
                first
            }
        };
        if new && text.chars().count() < SHORTEST {
            return Err(PassphraseError::Weak);
        }
        Ok(Self(text))
    }
}

/// Asks on the controlling terminal; what is typed is not shown.
fn ask(question: &str) -> io::Result<Zeroizing<String>> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    terminal.write_all(question.as_bytes())?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let mut text = Zeroizing::new(String::with_capacity(1024));
    let read = BufReader::new(&terminal).read_line(&mut text);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    read?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Writes `key` to `path`, a new file of mode 0600, encrypted; durable when this returns.
///
/// # Errors
/// [`PassphraseError`]; a file that exists is left as it is.
pub fn write(path: &Path, key: &SoftwareSigner, passphrase: &Passphrase) -> Result<(), PassphraseError> {
    let file = |e| PassphraseError::File(path.to_owned(), e);
    if path.try_exists().map_err(file)? {
        return Err(file(io::Error::new(io::ErrorKind::AlreadyExists, "it exists already, and is not overwritten")));
    }
    durable::replace(&std::path::absolute(path).map_err(file)?, encrypted(key, passphrase)?.as_bytes()).map_err(file)
}

/// PEM of the EncryptedPrivateKeyInfo (RFC 5958 section 3).
fn encrypted(key: &SoftwareSigner, passphrase: &Passphrase) -> Result<String, ErrorStack> {
    let (mut salt, mut iv, mut secret) = ([0; SALT], [0; 16], Zeroizing::new([0; 32]));
    rand_bytes(&mut salt)?;
    rand_bytes(&mut iv)?;
    pbkdf2_hmac(passphrase.0.as_bytes(), &salt, ROUNDS.0, MessageDigest::sha256(), secret.as_mut_slice())?;
    let plain = Zeroizing::new(key.key().private_key_to_pkcs8()?);
    let ciphertext = encrypt(Cipher::aes_256_cbc(), secret.as_slice(), Some(&iv), &plain)?;
    let prf = der::sequence(&[&der::object_id(HMAC_SHA256), der::NULL]);
    let derivation = der::sequence(&[&der::octet_string(&salt), &der::tlv(Tag::INTEGER, &[&ROUNDS.1]), &prf]);
    let scheme = der::sequence(&[
        &der::sequence(&[&der::object_id(PBKDF2), &derivation]),
        &der::sequence(&[&der::object_id(AES256_CBC), &der::octet_string(&iv)]),
    ]);
    let algorithm = der::sequence(&[&der::object_id(PBES2), &scheme]);
    let info = der::sequence(&[&algorithm, &der::octet_string(&ciphertext)]);
    let base64 = openssl::base64::encode_block(&info);
    let mut pem = String::from("-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
    for (at, letter) in base64.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END ENCRYPTED PRIVATE KEY-----\n");
    Ok(pem)
}

/// Reads a key in PEM from `path`, a file that only its owner may read; asks `passphrase` for the passphrase.
///
/// # Errors
/// [`PassphraseError`].
pub fn read(path: &Path, passphrase: &Passphrase) -> Result<SoftwareSigner, PassphraseError> {
    let pem = durable::read_secret(path).map_err(|e| PassphraseError::File(path.to_owned(), e))?;
    let key = PKey::private_key_from_pem_passphrase(&pem, passphrase.0.as_bytes())
        .map_err(|_| PassphraseError::Wrong(path.to_owned()))?;
    SoftwareSigner::new(key).map_err(|e| PassphraseError::Kind(path.to_owned(), e))
}

#[cfg(test)]
mod tests;
