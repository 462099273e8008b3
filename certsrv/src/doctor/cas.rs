//! The CAs: each certificate under the root, each key its certificate's; and the own TLS certificate.

use super::{Findings, said};
use crate::ca_keys::{CaKeys, ROOT, key_path};
use crate::cert::ca::{Ca, load_certificate};
use crate::config::Config;
use crate::init::SUB_CAS;
use crate::layout::Layout;
use crate::offline_root;
use openssl::x509::{X509, X509VerifyResult};
use std::path::Path;
use twinseal_proto::cert::not_after;
use twinseal_proto::time::UnixTime;
use twinseal_svc::durable;
use twinseal_svc::keys::file;

/// What helps against a damaged file of a CA.
const RESTORE: &str = "restore it from the backup";

pub(super) fn look(config: &Config, keys: Option<&CaKeys>, now: UnixTime, findings: &mut Findings) {
    let dir = Layout::new(&config.state).ca();
    for (what, at, remedy) in offline_root::warnings(config, now) {
        findings.add(what, &at, &remedy);
    }
    let root = match load_certificate(&dir, ROOT) {
        Ok(root) => root,
        Err(error) => return findings.add(said(&error), &dir.join("root.pem"), RESTORE),
    };
    if !signed_by(&root, &root) {
        findings.add("the root certificate is not signed with its own key", &dir.join("root.pem"), RESTORE);
    }
    for name in SUB_CAS {
        let path = dir.join(format!("{name}.pem"));
        match load_certificate(&dir, name) {
            Ok(certificate) if signed_by(&root, &certificate) => {}
            Ok(_) => findings.add(format!("the certificate of the {name} CA is not the root's"), &path, RESTORE),
            Err(error) => {
                findings.add(said(&error), &path, RESTORE);
                continue;
            }
        }
        let Some(keys) = keys else { continue };
        let file = key_path(&dir, name);
        let held = matches!(keys, CaKeys::Files { .. });
        if file.exists() && !held {
            let remedy = "make sure that the token has it, then remove the file";
            findings.add(format!("the key of the {name} CA lies beside the token"), &file, remedy);
        } else if held && file::is_plain(&file).unwrap_or(false) {
            findings.add(
                format!("the key of the {name} CA is in plain PEM"),
                &file,
                "start the service: it seals the key",
            );
            continue;
        }
        if let Err(error) = Ca::load(&dir, name, keys) {
            findings.add(said(&error), &file, RESTORE);
        }
    }
    if let Err(what) = own(config, &dir, now) {
        let remedy = "restart the service: it certifies itself anew when a third of the life is left";
        findings.add(what, &Layout::new(&config.state).tls().join("chain.pem"), remedy);
    }
}

fn signed_by(issuer: &X509, certificate: &X509) -> bool {
    let key = issuer.public_key();
    issuer.issued(certificate) == X509VerifyResult::OK && key.is_ok_and(|key| certificate.verify(&key).unwrap_or(false))
}

/// What is wrong with the own TLS certificate.
fn own(config: &Config, ca: &Path, now: UnixTime) -> Result<(), String> {
    let tls = Layout::new(&config.state).tls();
    let pem =
        std::fs::read(tls.join("chain.pem")).map_err(|e| format!("the own TLS certificate cannot be read: {e}"))?;
    let chain = X509::stack_from_pem(&pem).map_err(|e| format!("the own TLS certificate cannot be read: {e}"))?;
    let own = chain.first().ok_or("there is no own TLS certificate")?;
    let key = durable::read_secret(&tls.join("key.pem")).map_err(|e| format!("the own TLS key cannot be read: {e}"))?;
    let key = openssl::pkey::PKey::private_key_from_pem(&key).map_err(|e| format!("the own TLS key: {e}"))?;
    if !own.public_key().is_ok_and(|public| public.public_eq(&key)) {
        return Err("the own TLS certificate is not for the own TLS key".to_owned());
    }
    if !load_certificate(ca, "services").is_ok_and(|services| signed_by(&services, own)) {
        return Err("the own TLS certificate is not the services CA's".to_owned());
    }
    let left = not_after(own).map_err(|e| e.to_string())?.since(now) / 86_400;
    if left < u64::from(config.service_days) / 3 {
        return Err(format!("the own TLS certificate ends in {left} days"));
    }
    Ok(())
}
