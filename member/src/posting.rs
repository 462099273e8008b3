//! `twinseal posting-token`: the passwords with which mail programs post. They are good at the submission server alone.

use crate::exit::Failure;
use crate::home::Home;
use crate::identity::Identity;
use crate::lists;
use twinseal_proto::api::admin::Nothing;
use twinseal_proto::api::tokens::{
    ListPostingTokens, MadePostingToken, MakePostingToken, MakePostingTokenRequest, PostingToken, RevokePostingToken,
    RevokePostingTokenRequest,
};
use twinseal_proto::encoding::Digest;

/// Makes a posting token; it is shown this once.
///
/// # Errors
/// [`Failure`].
pub fn make(home: &Home, label: String) -> Result<MadePostingToken, Failure> {
    let identity = Identity::load(home)?;
    Ok(lists::client(home, Some(&identity))?.call::<MakePostingToken>(&MakePostingTokenRequest { label })?)
}

/// The member's posting tokens, without themselves.
///
/// # Errors
/// [`Failure`].
pub fn list(home: &Home) -> Result<Vec<PostingToken>, Failure> {
    let identity = Identity::load(home)?;
    Ok(lists::client(home, Some(&identity))?.call::<ListPostingTokens>(&Nothing {})?)
}

/// Revokes one of the member's posting tokens.
///
/// # Errors
/// [`Failure`].
pub fn revoke(home: &Home, id: Digest) -> Result<(), Failure> {
    let identity = Identity::load(home)?;
    lists::client(home, Some(&identity))?.call::<RevokePostingToken>(&RevokePostingTokenRequest { id })?;
    Ok(())
}
