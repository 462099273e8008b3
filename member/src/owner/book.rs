//! What an owner knows of a list: kept in `rosters/ADDRESS.json`, brought up to date from certsrv, never set back by it.

use super::OwnerError;
use crate::exit::Failure;
use crate::home::{self, Home, HomeError};
use crate::http::Client;
use crate::identity::Identity;
use crate::lists;
use openssl::pkey::{PKey, Private};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use twinseal_proto::api::owners::{
    GetRoster, GetStatements, RosterMember, RosterRequest, StatementsRequest, Submission, Submit, SubmitRequest,
};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::ids::{GroupId, Handle, ListAddress, MailAddress};
use twinseal_proto::roster::{Head, OwnerRoster, RosterError, Statement, address_digest};
use twinseal_proto::time::UnixTime;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    first: Digest,
    roster: OwnerRoster,
}

/// A list as one of its owners knows it.
pub struct Book {
    /// The list.
    pub list: ListAddress,
    /// What its owners said.
    pub roster: OwnerRoster,
    /// Its members, as certsrv shows them.
    pub members: Vec<RosterMember>,
    /// The first owner's key, when it was believed for the first time just now and is not the own one.
    pub new_first: Option<Digest>,
    first: Digest,
    path: PathBuf,
    dir: PathBuf,
    client: Client,
    key: PKey<Private>,
    drafts: Vec<Submission>,
}

impl Book {
    /// Reads what is kept of `list`, and follows what was said since.
    ///
    /// # Errors
    /// [`Failure`], [`OwnerError::Dishonest`] among them.
    pub fn open(home: &Home, list: &ListAddress) -> Result<Self, Failure> {
        let identity = Identity::load(home)?;
        let client = lists::client(home, Some(&identity))?;
        let (group, told_first, sequence, members) = fetch(&client, list)?;
        let own = Digest::of(&identity.key.public_key_to_der().map_err(OwnerError::from)?);
        // The grammar of list names leaves no way out of the directory.
        let dir = home.rosters();
        let path = dir.join(format!("{list}.json"));
        let dishonest = |reason: String| OwnerError::Dishonest { list: list.clone(), reason };
        let kept = match home::read(&path) {
            Ok(json) => {
                let name = path.display().to_string();
                Some(serde_json::from_slice::<Kept>(&json).map_err(|_| OwnerError::File(name))?)
            }
            Err(HomeError::Missing(_)) => None,
            Err(other) => return Err(other.into()),
        };
        let (first, roster, new_first) = match kept {
            Some(Kept { first, roster }) => {
                if roster.state.group != group {
                    return Err(dishonest("there is another group behind it".to_owned()).into());
                }
                if told_first.is_some_and(|told| told != first) {
                    return Err(dishonest("it names another first owner".to_owned()).into());
                }
                (first, roster, None)
            }
            None => {
                let first = told_first.unwrap_or(own);
                (first, OwnerRoster::pin(group, first), Some(first).filter(|first| *first != own))
            }
        };
        if sequence < roster.state.high {
            return Err(dishonest(format!("it ends at {sequence}, and {} was said", roster.state.high)).into());
        }
        let (list, drafts) = (list.clone(), Vec::new());
        let mut book = Self { list, roster, members, new_first, first, path, dir, client, key: identity.key, drafts };
        book.follow()?;
        book.compare()?;
        if !book.roster.state.owners.contains(&own) {
            return Err(OwnerError::NotAnOwner(own).into());
        }
        book.save()?;
        Ok(book)
    }

    fn dishonest(&self, reason: impl Into<String>) -> OwnerError {
        OwnerError::Dishonest { list: self.list.clone(), reason: reason.into() }
    }

    /// Takes the statements that are new.
    fn follow(&mut self) -> Result<(), Failure> {
        loop {
            let after = self.roster.state.high;
            let request = StatementsRequest { list: self.list.clone(), after };
            let page = self.client.call::<GetStatements>(&request)?;
            for statement in &page.statements {
                match self.roster.accept(statement) {
                    // Whom certsrv took out, and when, no statement says, so a head of the past need not fit here. The
                    // consumers saw it at its time, and the next one is over what is known here.
                    Ok(_) => {}
                    Err(RosterError::OtherRoster) => {
                        let number = statement.read().map_err(|error| self.dishonest(error.to_string()))?.sequence();
                        self.roster.state.high = self.roster.state.high.max(number);
                    }
                    Err(error) => return Err(self.dishonest(error.to_string()).into()),
                }
            }
            if !page.more || self.roster.state.high <= after {
                return Ok(());
            }
        }
    }

    /// Whom certsrv does not show any more is out: that only protects.
    fn take_out(&mut self) {
        let shown: std::collections::HashSet<Handle> =
            self.members.iter().filter(|member| member.entry.is_some()).map(|member| member.handle).collect();
        self.roster.live.retain(|handle, _| shown.contains(handle));
    }

    /// What certsrv shows of members must be what was signed.
    fn compare(&mut self) -> Result<(), OwnerError> {
        self.take_out();
        for member in &self.members {
            let Some(shown) = member.entry else { continue };
            let address = &member.address;
            let Some(entry) = self.roster.live.get(&member.handle) else {
                return Err(self.dishonest(format!("no owner put {address} in, or one took it out")));
            };
            let salt = member.salt.clone().unwrap_or_default();
            if entry.digest != shown || address_digest(salt.as_ref(), address) != entry.address {
                return Err(self.dishonest(format!("{address} is not what was signed for that member")));
            }
        }
        Ok(())
    }

    /// The member with this address.
    ///
    /// # Errors
    /// [`OwnerError::NoMember`].
    pub fn member(&self, address: &MailAddress) -> Result<&RosterMember, OwnerError> {
        let found = self.members.iter().find(|member| member.address == *address);
        found.ok_or_else(|| OwnerError::NoMember(address.to_string()))
    }

    /// The number of the next statement.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.roster.state.high.saturating_add(1)
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.roster.state.group
    }

    /// Signs a statement; it is handed in with [`Self::submit`].
    ///
    /// # Errors
    /// [`OwnerError`].
    pub fn say(&mut self, statement: &Statement, salt: Option<B64>) -> Result<(), OwnerError> {
        let statement = statement.sign(&self.key)?;
        self.roster.accept(&statement)?;
        self.drafts.push(Submission { statement, salt });
        Ok(())
    }

    /// Signs the head, hands all of it in and keeps it.
    ///
    /// # Errors
    /// [`Failure`]; then nothing was said.
    pub fn submit(mut self, now: UnixTime) -> Result<u64, Failure> {
        let (group, sequence, digest) = (self.group(), self.next(), self.roster.digest());
        self.say(&Statement::Head(Head { group, sequence, digest, issued: now }), None)?;
        let request = SubmitRequest { list: self.list.clone(), statements: std::mem::take(&mut self.drafts) };
        let done = self.client.call::<Submit>(&request)?;
        self.save()?;
        Ok(done.feed)
    }

    fn save(&self) -> Result<(), Failure> {
        home::make_dir(&self.dir)?;
        let kept = Kept { first: self.first, roster: self.roster.clone() };
        let json = serde_json::to_vec(&kept).map_err(|error| home::failed(&self.path, error.into()))?;
        Ok(home::write(&self.path, &json, 0o600)?)
    }
}

/// Everything that certsrv shows of the members.
fn fetch(client: &Client, list: &ListAddress) -> Result<(GroupId, Option<Digest>, u64, Vec<RosterMember>), Failure> {
    let mut members: Vec<RosterMember> = Vec::new();
    loop {
        let after = members.last().map(|member| member.address.clone());
        let page = client.call::<GetRoster>(&RosterRequest { list: list.clone(), after })?;
        let none = page.members.is_empty();
        members.extend(page.members);
        if !page.more || none {
            return Ok((page.group, page.first, page.sequence, members));
        }
    }
}
