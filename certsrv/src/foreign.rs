//! Certificates that other CAs issued and that members bring (P2): the path is checked, possession of the key is proven,
//! and the rules for keys are the same as for our own. From then on `foreign/watch.rs` asks their issuers about them.

#[cfg(test)]
pub(crate) mod elsewhere;
mod fetch;
mod path;
mod proof;
mod status;
pub(crate) mod watch;

use crate::app::App;
use crate::audit::{Actor, Record};
use crate::authn::{Credentials, authenticate};
use crate::cert::ca::CaError;
use crate::cert::serial::Serial;
use crate::change::Change;
use crate::decide;
use crate::enrol::{Enrolled, Wanted, ask, publish};
use crate::est::answer::{WAIT, refusal};
use crate::failure::{Failure, refuse};
use crate::key_change::{self, Way, way};
use crate::rows::{Foreign, Holder};
use crate::store::Tx;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use openssl::x509::X509;
use path::Path;
use std::sync::Arc;
use twinseal_proto::api::enrol::{IMPORT, ImportRequest, ImportResponse, MAX_IMPORT};
use twinseal_proto::api::{Problem, ProblemCode};
use twinseal_proto::encoding::{B64, Digest};
use twinseal_proto::time::UnixTime;
use twinseal_svc::failpoint::hit;
use twinseal_svc::http::read_body;
use zeroize::Zeroizing;

/// Most certificates of a chain.
const MOST: usize = 8;

/// What imports need: root certificates, and the key of the challenges.
pub(crate) struct Imports {
    roots: Vec<X509>,
    key: Zeroizing<[u8; 32]>,
}

impl Imports {
    /// Reads the PEM file of the root certificates; without a file, nothing is imported.
    pub(crate) fn load(roots: Option<&std::path::Path>) -> Result<Self, CaError> {
        let mut key = Zeroizing::new([0; 32]);
        openssl::rand::rand_bytes(key.as_mut_slice())?;
        let Some(path) = roots else { return Ok(Self { roots: Vec::new(), key }) };
        let pem = std::fs::read(path).map_err(|source| CaError::File { path: path.to_owned(), source })?;
        Ok(Self { roots: X509::stack_from_pem(&pem)?, key })
    }

    /// The root certificates.
    pub(crate) fn roots(&self) -> &[X509] {
        &self.roots
    }
}

/// Adds the path of imports.
pub(crate) fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route(IMPORT, post(import))
}

async fn import(State(app): State<Arc<App>>, request: Request) -> Response {
    let Some(credentials) = Credentials::of(&request) else {
        let detail = "an Authorization field is wanted (Bearer with a one-time token, or Basic with address and \
                      password), or a live certificate of the account in TLS";
        return refusal(Problem::new(ProblemCode::NotAuthenticated, detail));
    };
    let body = match read_body(request.into_body(), MAX_IMPORT).await {
        Ok(body) => body,
        Err(refused) => return refused.into_response(),
    };
    let asked: ImportRequest = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return refusal(Problem::new(ProblemCode::BadRequest, error.to_string())),
    };
    let answer = import_one(&app, credentials, asked).await.and_then(|answer| {
        let waiting = matches!(answer, ImportResponse::Waiting { .. });
        let json = serde_json::to_vec(&answer).map_err(|e| refuse(ProblemCode::Internal, e.to_string()))?;
        let status = if waiting { StatusCode::ACCEPTED } else { StatusCode::OK };
        Ok((status, [(header::CONTENT_TYPE, "application/json")], json).into_response())
    });
    answer.unwrap_or_else(|failure| {
        let problem = failure.into_problem();
        app.metrics.enrolment_refused(&problem);
        refusal(problem)
    })
}

async fn import_one(app: &Arc<App>, credentials: Credentials, asked: ImportRequest) -> Result<ImportResponse, Failure> {
    let token = match &credentials {
        Credentials::Token(token) => Some(token.digest()),
        _ => None,
    };
    let principal = match (authenticate(app, credentials).await, token) {
        (Err(Failure::Refused(problem)), Some(token)) => {
            return again(app, &token, &asked).await?.ok_or_else(|| problem.into());
        }
        (other, _) => other?,
    };
    if app.imports.roots.is_empty() {
        let detail = "this server takes no certificates of other CAs (import_roots is not set): enrol a key instead";
        return Err(refuse(ProblemCode::NotFound, detail));
    }
    if !(1..=MOST).contains(&asked.chain.len()) {
        return Err(refuse(ProblemCode::BadRequest, format!("chain: 1 to {MOST} certificates are wanted")));
    }
    let (at, address, chain) = (Arc::clone(app), principal.account.address.clone(), asked.chain);
    let found = tokio::task::spawn_blocking(move || {
        let now = UnixTime::now();
        Path::check(&chain, at.imports.roots(), &address, now)
            .map_err(|e| refuse(ProblemCode::BadRequest, format!("chain: {e}")))
    });
    let found = Arc::new(found.await??);
    let wanted = Wanted::new(&principal, &found.key.spki, found.purpose);
    // Refused before the proof, and once more in the commit.
    let view = app.registry.view();
    let present = way(
        &view,
        &key_change::account(&view, &wanted.address)?,
        wanted.key,
        wanted.purpose,
        wanted.class,
        UnixTime::now(),
    )?;
    let address = wanted.address.clone();
    let subject = proof::Subject { address: &address, certificate: Digest::of(&found.certificate.to_der()?) };
    let Some(proof) = asked.proof else {
        let challenge = proof::challenge(&app.imports.key, &subject, &found, UnixTime::now())?;
        return Ok(ImportResponse::Challenge(challenge));
    };
    proof::check(&app.imports.key, &subject, &found, &proof, UnixTime::now())
        .map_err(|e| refuse(ProblemCode::NotAuthorised, format!("proof: {e}")))?;
    if let Some(who) = status::revoked_now(app, &found).await {
        return Err(refuse(ProblemCode::Conflict, format!("chain: {who} was revoked by its issuer")));
    }
    if present == Way::Approval {
        return match ask(app, wanted).await? {
            Enrolled::Waiting | Enrolled::Certificate(_) => Ok(ImportResponse::Waiting { retry_after: WAIT }),
        };
    }
    keep(app, wanted, &found, subject.certificate).await
}

/// The answer that was lost: the token was used for this very certificate, which is in force. Whoever has both learns
/// nothing but that.
async fn again(app: &App, token: &Digest, asked: &ImportRequest) -> Result<Option<ImportResponse>, Failure> {
    let now = UnixTime::now();
    let Some(first) = asked.chain.first() else { return Ok(None) };
    let (serial, view) = (Serial::of_foreign(&Digest::of(first.as_ref())), app.registry.view());
    let used = decide::used_token(view.token(token)?, now).filter(|used| used.serial == serial);
    let row = view.certificate(&serial)?.filter(|row| row.live(now));
    let (Some(_), Some(Holder::Member { address })) = (used, row.map(|row| row.holder)) else { return Ok(None) };
    app.registry.audit().record(&Record::again(now, &Actor::Account(address), &serial)).await?;
    Ok(Some(ImportResponse::Imported { name: serial.to_string() }))
}

async fn keep(app: &Arc<App>, wanted: Wanted, found: &Path, digest: Digest) -> Result<ImportResponse, Failure> {
    let serial = Serial::of_foreign(&digest);
    let issuers = found.issuers.iter().map(|issuer| issuer.to_der().map(B64)).collect::<Result<_, _>>()?;
    let foreign = Foreign { issuers, crls: found.crls(), ocsp: found.ocsp() };
    let change = Change::CertificateImported {
        serial,
        address: wanted.address.clone(),
        certificate: B64(found.certificate.to_der()?),
        until: found.until,
        token: wanted.token,
        purpose: wanted.purpose,
        foreign,
    };
    hit("certsrv.import.before-commit");
    let (by, at) = (Actor::Account(wanted.address.clone()), Arc::clone(app));
    let decide = move |tx: &mut Tx<'_>| match tx.certificate(&serial)? {
        Some(row) if row.revoked.is_some() => {
            Err(refuse(ProblemCode::Conflict, "this certificate was revoked; bring another one"))
        }
        // Brought already: an answer that was lost is given again.
        Some(row)
            if tx.account(&wanted.address)?.is_some_and(|a| [a.current, a.signing].contains(&Some(row.serial))) =>
        {
            Ok(())
        }
        _ => publish(&at, tx, &wanted, serial, change),
    };
    app.registry.commit(by, decide).await?;
    hit("certsrv.import.before-answer");
    Ok(ImportResponse::Imported { name: serial.to_string() })
}
