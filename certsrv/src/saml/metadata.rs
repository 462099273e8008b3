//! The pinned identity provider: its metadata file (SAML metadata section 2), read once at the start. samael skips the
//! verification of signatures when the metadata has no signing certificate, so nothing is made of such metadata here.

use super::settings::SamlConfig;
use openssl::pkey::Id;
use openssl::x509::X509;
use samael::crypto::AllowedSignatureAlgorithm;
use samael::metadata::{EntityDescriptor, HTTP_REDIRECT_BINDING, IdpSsoDescriptor};
use samael::service_provider::ServiceProvider;
use std::path::PathBuf;
use twinseal_proto::time::UnixTime;

/// Longest metadata file in octets.
const MAX_METADATA: usize = 1024 * 1024;

/// The metadata cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("saml.idp_metadata: {path}: {why}")]
pub(crate) struct BadMetadata {
    path: PathBuf,
    why: String,
}

/// The identity provider that is believed.
pub(super) struct Idp {
    /// Its entity id.
    pub(super) entity_id: String,
    /// When the metadata is no longer believed.
    valid_until: Option<UnixTime>,
    /// Where browsers are sent to log in (HTTP-Redirect binding).
    pub(super) sso: String,
    /// samael, set up for it with the strictest choices that it has.
    pub(super) provider: ServiceProvider,
}

impl Idp {
    /// Reads the file that `config` names.
    pub(super) fn load(config: &SamlConfig, now: UnixTime) -> Result<Self, BadMetadata> {
        let path = &config.idp_metadata;
        let bad = |why: String| BadMetadata { path: path.clone(), why };
        let text = std::fs::read_to_string(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
        Self::new(&text, config, now).map_err(bad)
    }

    /// The identity provider that `text` describes, or why there is none.
    pub(super) fn new(text: &str, config: &SamlConfig, now: UnixTime) -> Result<Self, String> {
        if text.len() > MAX_METADATA || text.contains("<!DOCTYPE") {
            return Err("longer than 1 MiB, or with a document type declaration".into());
        }
        let entity: EntityDescriptor = text.parse().map_err(|error| format!("not an EntityDescriptor: {error}"))?;
        let entity_id = entity.entity_id.clone().filter(|id| !id.is_empty()).ok_or("no entityID")?;
        let [role] = entity.idp_sso_descriptors.as_deref().unwrap_or_default() else {
            return Err("exactly one EntityDescriptor with one IDPSSODescriptor is wanted".into());
        };
        let ends = [entity.valid_until, role.valid_until].into_iter().flatten();
        let valid_until = ends.map(|until| UnixTime(u64::try_from(until.timestamp()).unwrap_or_default())).min();
        if valid_until.is_some_and(|until| until <= now) {
            return Err("its validUntil has passed; fetch it again and compare the certificates".into());
        }
        if role.want_authn_requests_signed == Some(true) {
            return Err("WantAuthnRequestsSigned is true, and our requests are not signed; turn it off there".into());
        }
        let sso = sso(role)?;
        let provider = provider(config, entity);
        let keys = provider.idp_signing_certs().map_err(|_| "a signing certificate cannot be read")?;
        let keys = keys.filter(|keys| !keys.is_empty()).ok_or("no signing certificate (KeyDescriptor)")?;
        for key in keys {
            certificate(key.der_data())?;
        }
        Ok(Self { entity_id, valid_until, sso, provider })
    }
}

impl Idp {
    /// Whether the metadata may still be believed (SAML metadata section 2.3.2).
    pub(super) fn valid(&self, now: UnixTime) -> bool {
        self.valid_until.is_none_or(|until| now < until)
    }
}

fn sso(role: &IdpSsoDescriptor) -> Result<String, String> {
    let mut found = role.single_sign_on_services.iter().filter(|service| service.binding == HTTP_REDIRECT_BINDING);
    let location = found.next().ok_or("no SingleSignOnService with the HTTP-Redirect binding")?.location.clone();
    // In the clear only on the same host, for tests and evaluation.
    let safe = ["https://", "http://127.0.0.1:", "http://localhost:"].iter().any(|start| location.starts_with(start));
    if safe && !location.contains(|c: char| !c.is_ascii_graphic() || c == '#') {
        Ok(location)
    } else {
        Err(format!("its single sign-on location is not a URL with https: {location:?}"))
    }
}

fn certificate(der: &[u8]) -> Result<(), String> {
    let strong = X509::from_der(der).and_then(|certificate| certificate.public_key()).is_ok_and(|key| match key.id() {
        Id::RSA => key.bits() >= 2048,
        Id::EC => key.bits() >= 256,
        _ => false,
    });
    if strong { Ok(()) } else { Err("a signing key is neither RSA from 2048 bits nor on a curve from 256 bits".into()) }
}

fn provider(config: &SamlConfig, idp_metadata: EntityDescriptor) -> ServiceProvider {
    use AllowedSignatureAlgorithm as Allowed;
    let defaults = ServiceProvider::default();
    ServiceProvider {
        entity_id: Some(config.entity_id.clone()),
        metadata_url: None,
        acs_url: Some(config.acs()),
        slo_url: None,
        idp_metadata,
        allow_idp_initiated: false,
        // A third of 180 s. Our own judgement of times is as strict, and takes the time as an argument.
        max_clock_skew: defaults.max_clock_skew / 3,
        allowed_signature_algorithms: Some(vec![
            Allowed::RsaSha256,
            Allowed::RsaSha384,
            Allowed::RsaSha512,
            Allowed::EcdsaSha256,
            Allowed::EcdsaSha384,
            Allowed::EcdsaSha512,
        ]),
        ..defaults
    }
}
