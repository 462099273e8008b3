//! certsrv's administration of accounts: passwords, locks, removal.

use super::Nothing;
use super::certsrv::Changed;
use crate::api::Endpoint;
use crate::ids::MailAddress;
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

macro_rules! call {
    ($(#[$doc:meta])* $name:ident, $path:literal, $request:ty, $response:ty) => {
        $(#[$doc])*
        pub struct $name;
        impl Endpoint for $name {
            const PATH: &'static str = $path;
            const MAX_BODY: usize = 4096;
            type Request = $request;
            type Response = $response;
        }
    };
}

call!(
    /// Gives an account a password, or takes it away.
    SetPassword, "/v1/admin/accounts/password", SetPasswordRequest, Changed
);
call!(
    /// Lets nobody log in to an account any more, by whatever way. Its memberships and its mail stay as they are.
    LockAccount, "/v1/admin/accounts/lock", Whose, Changed
);
call!(
    /// Lets a locked account's holder log in again.
    UnlockAccount, "/v1/admin/accounts/unlock", AccountRequest, Changed
);
call!(
    /// Ends an account: its memberships end and its certificates are revoked.
    RemoveAccount, "/v1/admin/accounts/remove", AccountRequest, Changed
);
call!(
    /// Every account, by address.
    ListAccounts, "/v1/admin/accounts/list", Nothing, Vec<Account>
);
call!(
    /// One account with its certificates.
    ShowAccount, "/v1/admin/accounts/show", AccountRequest, ShownAccount
);

/// The account that is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// Its address.
    pub address: MailAddress,
}

/// The account that is meant, by its address or by one of its certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// Its address.
    Address(MailAddress),
    /// The serial number (hexadecimal) of a certificate of its.
    Serial(String),
}

/// A password for an account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPasswordRequest {
    /// The account.
    pub address: MailAddress,
    /// The new password, kept as an Argon2id hash only; `None`: the account has none any more.
    pub password: Option<String>,
}

/// An account in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its address.
    pub address: MailAddress,
    /// Nobody may log in to it.
    pub locked: bool,
    /// It has a password.
    pub password: bool,
    /// Serial number of the live certificate that messages are encrypted to: with one, the account is served securely.
    pub encryption: Option<String>,
    /// Serial number of the live certificate that it signs with, where that is another one.
    pub signing: Option<String>,
}

/// An account with its certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownAccount {
    /// In short.
    pub account: Account,
    /// Every certificate that it ever had.
    pub certificates: Vec<AccountCertificate>,
}

/// A certificate of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountCertificate {
    /// Its serial number, or the name of one that was brought from elsewhere.
    pub serial: String,
    /// `both`, `sign` or `encrypt`.
    pub purpose: String,
    /// The end of its validity.
    pub until: UnixTime,
    /// It is neither revoked nor out of time.
    pub live: bool,
    /// Another CA issued it.
    pub foreign: bool,
}
