//! The envelope sender of each copy: an authenticated token that names the message and the member and nobody's address
//! (DESIGN 3.3). A token lets its bearer speak about a member's mailbox, so the keys are credentials.
//!
//! `b+TOKEN@<list domain>`, TOKEN = base32(key id 1 ‖ post 6 ‖ member 4 ‖ day 2 ‖ HMAC-SHA-256 cut to 10), lower case,
//! without padding: 37 characters.

use data_encoding::{BASE32_NOPAD_NOCASE, HEXLOWER};
use openssl::sha::Sha256;
use std::io;
use std::path::Path;
use twinseal_proto::ids::{MemberNumber, PostId};
use twinseal_proto::time::UnixTime;
use twinseal_svc::durable;
use zeroize::Zeroizing;

/// The local part of every envelope sender begins with this.
pub const PREFIX: &str = "b+";
/// Characters of a token.
pub const TOKEN_LEN: usize = 37;
/// The file with the keys in the state directory.
const FILE: &str = "verp.keys";
/// Octets of what is authenticated, and of a token before base32.
const CLAIM: usize = 13;
const RAW: usize = CLAIM + MAC;
const MAC: usize = 10;
/// A key is replaced when the daemon starts after so many days; the one before stays good for verifying.
const KEY_DAYS: u64 = 90;
/// Separates these MACs from all others.
const CONTEXT: &[u8] = b"twinseal verp token\0";

/// What a verified token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The message.
    pub post: PostId,
    /// The member to whom the copy went.
    pub member: MemberNumber,
    /// The day on which it was sent: [`UnixTime::day`].
    pub day: u16,
}

/// The live keys, newest first: at most two.
pub struct VerpKeys {
    keys: Vec<Key>,
}

struct Key {
    id: u8,
    made: UnixTime,
    secret: Zeroizing<[u8; 32]>,
    inner: Sha256,
    outer: Sha256,
}

impl Key {
    /// HMAC's two pads are hashed once a key (RFC 2104 section 4), so that a token costs two short hashes.
    fn new(id: u8, made: UnixTime, secret: Zeroizing<[u8; 32]>) -> Self {
        let pad = |octet: u8| {
            let mut block = Zeroizing::new([octet; 64]);
            for (b, s) in block.iter_mut().zip(secret.iter()) {
                *b ^= s;
            }
            let mut hash = Sha256::new();
            hash.update(block.as_slice());
            hash
        };
        let (inner, outer) = (pad(0x36), pad(0x5c));
        Self { id, made, secret, inner, outer }
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut inner = self.inner.clone();
        for part in parts {
            inner.update(part);
        }
        let mut outer = self.outer.clone();
        outer.update(&inner.finish());
        outer.finish()
    }
}

impl VerpKeys {
    /// Reads the keys in `state`, or makes the first; replaces the newest when it is old.
    ///
    /// # Errors
    /// The I/O error of reading or writing the file; `InvalidData` when it is not what this function wrote.
    pub fn load(state: &Path, now: UnixTime) -> io::Result<Self> {
        let path = state.join(FILE);
        let mut keys = if path.exists() { parse(&durable::read_secret(&path)?)? } else { Vec::new() };
        if keys.first().is_none_or(|newest| now.since(newest.made) > KEY_DAYS * 86_400) {
            let mut secret = Zeroizing::new([0; 32]);
            openssl::rand::rand_bytes(secret.as_mut_slice()).map_err(io::Error::other)?;
            let id = keys.first().map_or(1, |newest| newest.id.wrapping_add(1));
            keys.insert(0, Key::new(id, now, secret));
            keys.truncate(2);
            durable::replace(&path, &written(&keys))?;
        }
        Ok(Self { keys })
    }

    /// Writes `b+TOKEN@domain` behind what `out` holds.
    pub fn write_sender(&self, claim: Claim, domain: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFIX.as_bytes());
        out.extend_from_slice(&self.token(claim));
        out.push(b'@');
        out.extend_from_slice(domain.as_bytes());
    }

    /// The token for a copy, made with the newest key.
    #[must_use]
    pub fn token(&self, claim: Claim) -> [u8; TOKEN_LEN] {
        let mut raw = [0; RAW];
        // There is always a key: `load` makes one.
        if let (Some(key), Some((head, tail))) = (self.keys.first(), raw.split_at_mut_checked(CLAIM)) {
            head.copy_from_slice(&encode(key.id, claim));
            tail.copy_from_slice(key.mac(&[CONTEXT, head]).first_chunk::<MAC>().unwrap_or(&[0; MAC]));
        }
        let mut token = [0; TOKEN_LEN];
        BASE32_NOPAD_NOCASE.encode_mut(&raw, &mut token);
        token.make_ascii_lowercase();
        token
    }

    /// Reads a token back. `None`: not ours, changed, made with a key that is gone, or older than `max_days`.
    #[must_use]
    pub fn verify(&self, token: &str, now: UnixTime, max_days: u16) -> Option<Claim> {
        if token.len() != TOKEN_LEN {
            return None;
        }
        let raw = BASE32_NOPAD_NOCASE.decode(token.as_bytes()).ok()?;
        let (claim, mac) = raw.split_first_chunk::<CLAIM>()?;
        let key = self.keys.iter().find(|key| Some(&key.id) == claim.first())?;
        let expected = key.mac(&[CONTEXT, claim]);
        if mac.len() != MAC || !openssl::memcmp::eq(mac, expected.first_chunk::<MAC>()?) {
            return None;
        }
        let claim = decode(claim)?;
        (now.day().wrapping_sub(claim.day) <= max_days).then_some(claim)
    }
}

fn encode(key: u8, claim: Claim) -> [u8; CLAIM] {
    let mut octets = [0; CLAIM];
    let post = claim.post.0.to_be_bytes();
    let fields = [key]
        .into_iter()
        .chain(post.into_iter().skip(2))
        .chain(claim.member.0.to_be_bytes())
        .chain(claim.day.to_be_bytes());
    for (to, from) in octets.iter_mut().zip(fields) {
        *to = from;
    }
    octets
}

fn decode(octets: &[u8; CLAIM]) -> Option<Claim> {
    let (_, rest) = octets.split_first_chunk::<1>()?;
    let (post, rest) = rest.split_first_chunk::<6>()?;
    let (member, day) = rest.split_first_chunk::<4>()?;
    let post = post.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
    Some(Claim {
        post: PostId(post),
        member: MemberNumber(u32::from_be_bytes(*member)),
        day: u16::from_be_bytes(*day.first_chunk()?),
    })
}

/// One line a key: id, time of making, secret in hexadecimal.
fn written(keys: &[Key]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(256));
    for key in keys {
        text.extend_from_slice(format!("{} {} ", key.id, key.made.0).as_bytes());
        let mut hex = Zeroizing::new([0; 64]);
        HEXLOWER.encode_mut(key.secret.as_slice(), hex.as_mut_slice());
        text.extend_from_slice(hex.as_slice());
        text.push(b'\n');
    }
    text
}

fn parse(text: &[u8]) -> io::Result<Vec<Key>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{FILE}: damaged; restore it or remove it"));
    let text = std::str::from_utf8(text).map_err(|_| damaged())?;
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let id = words.next().and_then(|w| w.parse().ok())?;
            let made = words.next().and_then(|w| w.parse().ok()).map(UnixTime)?;
            let mut secret = Zeroizing::new([0; 32]);
            let hex = words.next().filter(|hex| hex.len() == 64)?;
            HEXLOWER.decode_mut(hex.as_bytes(), secret.as_mut_slice()).ok()?;
            Some(Key::new(id, made, secret))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixTime = UnixTime(1_795_341_296);

    fn claim() -> Claim {
        Claim { post: PostId(0x1234_5678_9abc), member: MemberNumber(77), day: NOW.day() }
    }

    #[test]
    fn the_mac_is_rfc_4231s() {
        let mut secret = Zeroizing::new([0; 32]);
        secret[..4].copy_from_slice(b"Jefe");
        let mac = Key::new(1, NOW, secret).mac(&[b"what do ya want ", b"for nothing?"]);
        assert_eq!(HEXLOWER.encode(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn tokens_verify_in_any_case_and_for_their_time() {
        let dir = tempfile::tempdir().unwrap();
        let keys = VerpKeys::load(dir.path(), NOW).unwrap();
        let mut sender = Vec::new();
        keys.write_sender(claim(), "lists.test", &mut sender);
        let sender = String::from_utf8(sender).unwrap();
        let token = sender.strip_prefix("b+").unwrap().strip_suffix("@lists.test").unwrap();
        assert_eq!((token.len(), token.to_lowercase()), (TOKEN_LEN, token.to_owned()));
        assert_eq!(keys.verify(token, NOW, 12), Some(claim()));
        assert_eq!(keys.verify(&token.to_uppercase(), NOW.plus(12 * 86_400), 12), Some(claim()));
        assert_eq!(keys.verify(token, NOW.plus(13 * 86_400), 12), None);
    }

    #[test]
    fn a_replaced_key_still_verifies_and_the_one_before_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let first = VerpKeys::load(dir.path(), NOW).unwrap().token(claim());
        let first = std::str::from_utf8(&first).unwrap();
        let year = NOW.plus(91 * 86_400);
        assert_eq!(VerpKeys::load(dir.path(), year).unwrap().verify(first, NOW, 12), Some(claim()));
        assert_eq!(VerpKeys::load(dir.path(), year).unwrap().keys.len(), 2);
        assert_eq!(VerpKeys::load(dir.path(), year.plus(91 * 86_400)).unwrap().verify(first, NOW, 12), None);
    }

    proptest! {
        #[test]
        fn a_changed_token_is_refused(at in 0..TOKEN_LEN, with in "[a-z2-7]", text in "\\PC{0,60}") {
            let dir = tempfile::tempdir().unwrap();
            let keys = VerpKeys::load(dir.path(), NOW).unwrap();
            let token = String::from_utf8(keys.token(claim()).to_vec()).unwrap();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assert_eq!(keys.verify(&changed, NOW, 12), (changed == token).then(claim));
            prop_assert_eq!(keys.verify(&text, NOW, 12), None);
        }
    }
}
