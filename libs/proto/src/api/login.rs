//! certsrv: the end of a log-in through a browser. The browser brought the client a code that works once, for a minute;
//! the client shows the verifier behind the challenge that it began with (RFC 7636 section 4) and gets a session.

use super::Endpoint;
use crate::ids::MailAddress;
use crate::time::UnixTime;
use serde::{Deserialize, Serialize};

/// Path at which a browser begins a log-in, with the query `port` (of the client's listener on 127.0.0.1, from 1024) and
/// `challenge` (base64url SHA-256 of the verifier, RFC 7636 section 4.2).
pub const SAML_LOGIN: &str = "/saml/login";

/// `POST /v1/login/code`.
pub struct LoginCode;

impl Endpoint for LoginCode {
    const PATH: &'static str = "/v1/login/code";
    const MAX_BODY: usize = 4 * 1024;
    type Request = LoginCodeRequest;
    type Response = LoginSession;
}

/// A code to redeem. Both members are secrets.
///
/// ```
/// # use twinseal_proto::api::login::LoginCodeRequest;
/// let json = r#"{"code":"hWMY9IFbdr1","verifier":"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}"#;
/// assert_eq!(serde_json::from_str::<LoginCodeRequest>(json).unwrap().code, "hWMY9IFbdr1");
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginCodeRequest {
    /// The code from the query of the redirection.
    pub code: String,
    /// The verifier: 43 to 128 characters (RFC 7636 section 4.1).
    pub verifier: String,
}

/// A session.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginSession {
    /// Bearer token (RFC 6750), a secret: it stands for the account in enrolment.
    pub token: String,
    /// The account's address.
    pub address: MailAddress,
    /// When the session ends.
    pub expires: UnixTime,
}
