//! What is to be signed, in plain words, and the signing of it.

use super::OwnerError;
use super::book::Book;
use twinseal_proto::api::admin::certsrv::MemberRole;
use twinseal_proto::api::owners::RosterMember;
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::MailAddress;
use twinseal_proto::roster::{
    Entry, EntryStatus, HEAD_SECONDS, OwnersChange, Removal, Role, SALT_OCTETS, Statement, address_digest,
};
use twinseal_proto::time::UnixTime;

/// Seconds for which an entry is signed: 400 days, longer than a member's certificate lives.
const ENTRY_SECONDS: u64 = 400 * 86_400;
/// An entry is renewed when less than this is left of it.
const RENEW_SECONDS: u64 = 60 * 86_400;

/// Why a member waits for a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nobody signed for the member.
    New,
    /// The member has another key than the one that was signed.
    NewKey,
    /// The entry runs out.
    RunsOut,
}

impl Wait {
    /// Why `member` waits at `now`, if so.
    #[must_use]
    pub fn of(book: &Book, member: &RosterMember, now: UnixTime) -> Option<Self> {
        let key = member.key?;
        match book.roster.live.get(&member.handle) {
            None => Some(Self::New),
            Some(entry) if entry.key != key => Some(Self::NewKey),
            Some(entry) if entry.not_after < now.plus(RENEW_SECONDS) => Some(Self::RunsOut),
            Some(_) => None,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::New => "a new reader",
            Self::NewKey => "a reader with a NEW KEY",
            Self::RunsOut => "a reader whose entry runs out",
        }
    }
}

/// Who waits for a signature at `now`, and why.
#[must_use]
pub fn waiting(book: &Book, now: UnixTime) -> Vec<(RosterMember, Wait)> {
    let wait = |member: &RosterMember| Some((member.clone(), Wait::of(book, member, now)?));
    book.members.iter().filter_map(wait).collect()
}

/// What signing for a member means.
#[must_use]
pub fn entry_text(member: &RosterMember, wait: Wait, now: UnixTime) -> String {
    let digest = |digest: Option<Digest>| digest.map_or("none".to_owned(), |digest| digest.to_string());
    let role = if member.role == MemberRole::Owner { " (owner)" } else { "" };
    format!(
        "{}{role}: {}, until {}\n  key (SHA-256)         {}\n  certificate (SHA-256) {}\n  compare them with the member",
        member.address,
        wait.text(),
        now.plus(ENTRY_SECONDS),
        digest(member.key),
        digest(member.certificate),
    )
}

/// Signs for a member.
///
/// # Errors
/// [`OwnerError`].
pub fn sign_entry(book: &mut Book, member: &RosterMember, now: UnixTime) -> Result<(), OwnerError> {
    let key = member.key.ok_or_else(|| OwnerError::NoKey(member.address.clone()))?;
    // The exploder keeps the first salt, so a later entry has the same.
    let salt = match &member.salt {
        Some(salt) => salt.clone(),
        None => {
            let mut salt = vec![0; SALT_OCTETS];
            openssl::rand::rand_bytes(&mut salt)?;
            B64(salt)
        }
    };
    let entry = Entry {
        group: book.group(),
        handle: member.handle,
        sequence: book.next(),
        role: if member.role == MemberRole::Owner { Role::Owner } else { Role::Member },
        key,
        address: address_digest(salt.as_ref(), &member.address),
        status: EntryStatus::Active,
        not_before: now,
        not_after: now.plus(ENTRY_SECONDS),
    };
    book.say(&Statement::Entry(entry), Some(salt))
}

/// Signs that a member is out.
///
/// # Errors
/// [`OwnerError`].
pub fn sign_removal(book: &mut Book, address: &MailAddress) -> Result<(), OwnerError> {
    let handle = book.member(address)?.handle;
    let removal = Removal { group: book.group(), handle, sequence: book.next() };
    book.say(&Statement::Removal(removal), None)
}

/// Signs that there is another owner, or one less.
///
/// # Errors
/// [`OwnerError`].
pub fn sign_owner(book: &mut Book, owner: Digest, is_owner: bool) -> Result<(), OwnerError> {
    let (add, remove) = if is_owner { (vec![owner], vec![]) } else { (vec![], vec![owner]) };
    let (group, sequence, previous) = (book.group(), book.next(), book.roster.state.chain);
    book.say(&Statement::Owners(OwnersChange { group, sequence, previous, add, remove }), None)
}

/// What signing the head means.
#[must_use]
pub fn head_text(book: &Book, now: UnixTime) -> String {
    let readers: Vec<String> = book
        .members
        .iter()
        .filter(|member| book.roster.live.contains_key(&member.handle))
        .map(|member| format!("\n  {}", member.address))
        .collect();
    format!(
        "these {} and nobody else read {}, until {}:{}",
        readers.len(),
        book.list,
        now.plus(HEAD_SECONDS),
        readers.concat()
    )
}

/// How the list stands.
#[must_use]
pub fn state_text(book: &Book, now: UnixTime) -> String {
    let state = &book.roster.state;
    let head = match &state.head {
        Some(head) => format!("vouched for until {}", head.issued.plus(HEAD_SECONDS)),
        None => "not vouched for yet: nobody reads".to_owned(),
    };
    let unserved = state.fresh(now).err().map(|unserved| format!("\nwarning: {unserved}"));
    format!(
        "{}: {} readers, {} owners, {head}{}",
        book.list,
        book.roster.live.len(),
        state.owners.len(),
        unserved.unwrap_or_default()
    )
}
