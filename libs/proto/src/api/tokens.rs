//! certsrv: what is done with tokens that came by mail, and the tokens with which members' mail programs post.

use super::Endpoint;
use super::admin::Nothing;
use crate::encoding::Digest;
use crate::ids::{ListAddress, MailAddress};
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

/// `POST /v1/login/mail`: a one-time token for enrolment goes to the address, if it can log in here. Anybody may ask; the
/// answer is always the same.
pub struct LogInByMail;

impl Endpoint for LogInByMail {
    const PATH: &'static str = "/v1/login/mail";
    const MAX_BODY: usize = 4096;
    type Request = LogInByMailRequest;
    type Response = Asked;
}

/// Whose mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogInByMailRequest {
    /// The mailbox.
    pub address: MailAddress,
}

/// What was asked for was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What comes next, for people.
    pub detail: String,
}

/// `POST /v1/confirm`: the mailbox confirms what was asked for in its name. The token is the right to call.
pub struct Confirm;

impl Endpoint for Confirm {
    const PATH: &'static str = "/v1/confirm";
    const MAX_BODY: usize = 4096;
    type Request = ConfirmRequest;
    type Response = Confirmed;
}

/// The token of a mail that asks for a confirmation.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRequest {
    /// As it stands in the mail.
    pub token: String,
}

/// A request was confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmed {
    /// The list that it is about, where it is about one.
    pub list: Option<ListAddress>,
    /// What was asked for is done; else it waits for an owner.
    pub done: bool,
}

/// `POST /v1/posting-tokens/make`: a token for SMTP submission, authenticated by the member's own certificate.
pub struct MakePostingToken;

impl Endpoint for MakePostingToken {
    const PATH: &'static str = "/v1/posting-tokens/make";
    const MAX_BODY: usize = 4096;
    type Request = MakePostingTokenRequest;
    type Response = MadePostingToken;
}

/// The token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakePostingTokenRequest {
    /// What tells it from the account's others: at most 64 characters, none of them a control character.
    #[serde(default)]
    pub label: String,
}

/// A posting token, shown this once.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadePostingToken {
    /// The password for submission; the user name is the account's address.
    pub token: String,
    /// What it is revoked by.
    pub id: Digest,
    /// Until when it is good.
    pub expires: UnixTime,
}

/// `POST /v1/posting-tokens/list`: the caller's own.
pub struct ListPostingTokens;

impl Endpoint for ListPostingTokens {
    const PATH: &'static str = "/v1/posting-tokens/list";
    const MAX_BODY: usize = 4096;
    type Request = Nothing;
    type Response = Vec<PostingToken>;
}

/// A posting token, without itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostingToken {
    /// Its digest.
    pub id: Digest,
    /// What tells it from the account's others.
    pub label: String,
    /// When it was made.
    pub made: UnixTime,
    /// Until when it is good.
    pub expires: UnixTime,
}

/// `POST /v1/posting-tokens/revoke`: one of the caller's own.
pub struct RevokePostingToken;

impl Endpoint for RevokePostingToken {
    const PATH: &'static str = "/v1/posting-tokens/revoke";
    const MAX_BODY: usize = 4096;
    type Request = RevokePostingTokenRequest;
    type Response = Nothing;
}

/// The token to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokePostingTokenRequest {
    /// Its digest.
    pub id: Digest,
}
