//! Log-in through a SAML 2.0 identity provider (web browser SSO profile, SAML profiles section 4.1), for clients that
//! open a browser and listen on 127.0.0.1 for its end (RFC 8252):
//!
//! 1. `login.rs`: the browser comes with the client's port and challenge; `request.rs` sends it to the identity provider
//!    that `metadata.rs` pinned at the start, with a cookie and a RelayState to be known by.
//! 2. `acs.rs`: the browser brings the response. It answers a request that waits, from that browser, once.
//! 3. `verify.rs`: `xml.rs` and `structure.rs` refuse whatever is not exactly one plain signed response (pure), samael
//!    verifies the signature, `judge.rs` judges what was signed (pure); `replay.rs` lets each assertion pass once.
//! 4. `account.rs`: the address's account is bound to the subject at its first log-in.
//! 5. `code.rs`: the browser brings the client a code, which the client trades for a session (`session.rs`).
//!
//! Every refusal is one page; the reason (`refused.rs`) goes to the log and the metrics. Only this directory names samael.
//! `describe.rs` is our own metadata.

mod account;
mod acs;
mod code;
mod describe;
mod form;
mod judge;
mod login;
mod metadata;
mod page;
mod refused;
mod replay;
mod request;
pub(crate) mod settings;
mod structure;
#[cfg(test)]
mod tests;
mod verify;
mod xml;

use crate::app::App;
use crate::authn::Class;
use crate::config::Config;
use crate::expiring::Expiring;
use crate::random;
pub(crate) use account::unbind;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
pub(crate) use code::redeem;
use data_encoding::HEXLOWER;
use metadata::{BadMetadata, Idp};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use refused::Refused;
use settings::{LoginClass, SamlConfig};
use std::sync::Arc;
use tokio::sync::Semaphore;
use twinseal_proto::api::login::SAML_LOGIN;
use twinseal_proto::time::UnixTime;

/// Responses that are verified at once: xmlsec gains nothing from more, and each takes a thread.
const VERIFYING: usize = 2;
/// Responses that are read, wait or are verified at once, each of up to 256 KiB; whoever comes after them is refused.
const ARRIVING: usize = 64;
/// Path of the assertion consumer service.
const ACS: &str = "/saml/acs";
/// Path of our own metadata.
const METADATA: &str = "/saml/metadata";

/// Log-in through one identity provider.
pub(crate) struct Saml {
    config: SamlConfig,
    idp: Idp,
    /// URL of the assertion consumer service.
    acs: String,
    pending: Expiring<login::Pending>,
    replay: replay::Replay,
    codes: Expiring<code::Grant>,
    /// Guards [`ARRIVING`].
    arriving: Semaphore,
    /// Guards [`VERIFYING`].
    verifying: Arc<Semaphore>,
}

impl Saml {
    /// Reads the metadata that `config` names; `None` without a table `[saml]`.
    pub(crate) fn load(config: &Config, now: UnixTime) -> Result<Option<Arc<Self>>, BadMetadata> {
        let Some(config) = config.saml.clone() else { return Ok(None) };
        let idp = Idp::load(&config, now)?;
        Ok(Some(Arc::new(Self::new(config, idp))))
    }

    fn new(config: SamlConfig, idp: Idp) -> Self {
        Self {
            acs: config.acs(),
            config,
            idp,
            pending: Expiring::new(login::PATIENCE, login::MOST),
            replay: replay::Replay::default(),
            codes: Expiring::new(code::LIFE, code::MOST),
            arriving: Semaphore::new(ARRIVING),
            verifying: Arc::new(Semaphore::new(VERIFYING)),
        }
    }

    fn class(&self) -> Class {
        match self.config.class {
            LoginClass::Standard => Class::Password,
            LoginClass::High => Class::High,
        }
    }
}

/// Counts log-ins.
pub(crate) struct LoginMetrics {
    done: IntCounter,
    refused: IntCounterVec,
}

impl LoginMetrics {
    /// Registers the counters.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let done = IntCounter::new("certsrv_saml_logins_total", "SAML log-ins that gave a code")?;
        let opts = Opts::new("certsrv_saml_logins_refused_total", "SAML log-ins that were refused, by reason");
        let refused = IntCounterVec::new(opts, &["reason"])?;
        registry.register(Box::new(done.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { done, refused })
    }
}

/// Adds the places that browsers come to, and our own metadata.
pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route(SAML_LOGIN, get(begin)).route(ACS, post(consume)).route(METADATA, get(metadata))
}

async fn begin(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(saml) = &app.saml else { return absent() };
    match login::begin(saml, request.uri().query().unwrap_or_default(), UnixTime::now()) {
        Ok(response) => response,
        Err(refused) => refuse(&app, StatusCode::BAD_REQUEST, refused),
    }
}

async fn consume(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(saml) = &app.saml else { return absent() };
    match acs::consume(&app, saml, request).await {
        Ok(response) => {
            app.logins.done.inc();
            response
        }
        Err(refused) => refuse(&app, StatusCode::FORBIDDEN, refused),
    }
}

async fn metadata(State(app): State<Arc<App>>) -> Response {
    let Some(saml) = &app.saml else { return absent() };
    ([(header::CONTENT_TYPE, "application/samlmetadata+xml")], describe::describe(saml)).into_response()
}

/// No table `[saml]`: as if there were no such path.
fn absent() -> Response {
    page::refused(StatusCode::NOT_FOUND, "none")
}

fn refuse(app: &App, status: StatusCode, refused: Refused) -> Response {
    let reason = refused.to_string();
    let event = random::octets().map(|octets| HEXLOWER.encode(&octets)).unwrap_or_default();
    app.logins.refused.with_label_values(&[reason.as_str()]).inc();
    tracing::info!(event, reason, "SAML log-in refused");
    page::refused(status, &event)
}
