//! `twinseal read`: from a message to what may be shown of it. Nothing is written before all checks are done.

use crate::exit::{Exit, Explain, Failure};
use crate::home::Home;
use crate::identity::Identity;
use crate::lists;
use crate::open::{self, OpenError, Opened};
use crate::sealed::Sealed;
use crate::show;
use crate::signed::{self, Checked, Verdict};
use crate::trust::{self, Anchors};
use serde_json::json;
use twinseal_proto::time::UnixTime;
use zeroize::Zeroizing;

/// A message that may be shown.
pub struct Reading {
    /// What the mail around it says.
    pub sealed: Sealed,
    /// The decrypted MIME entity, octet for octet.
    pub entity: Zeroizing<Vec<u8>>,
    /// What was signed in it; all of it if nothing was.
    pub content: Zeroizing<Vec<u8>>,
    /// Whose signature it bears.
    pub verdict: Verdict,
}

/// The message opened, and may not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no signature, and the cipher does not show changes.
    #[error("not signed, and the cipher (CBC) does not show changes: anybody on the way may have altered the text")]
    Unsigned,
    /// There is one, and it is not good.
    #[error("SIGNATURE DOES NOT VERIFY: {0}")]
    BadSignature(String),
}

impl Explain for ReadError {
    fn exit(&self) -> Exit {
        Exit::Unsigned
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unsigned => {
                "ask the sender to sign; or twinseal read --accept-unsigned, and doubt what you read".to_owned()
            }
            Self::BadSignature(_) => {
                "ask the sender to send it again; or twinseal read --accept-unsigned, and doubt what you read"
                    .to_owned()
            }
        })
    }
}

/// Reads a message.
///
/// # Errors
/// [`Failure`], with nothing of the content in it.
pub fn read(home: &Home, mail: &[u8], accept_unsigned: bool, now: UnixTime) -> Result<Reading, Failure> {
    let identity = Identity::load(home)?;
    let anchors = Anchors::load(home)?;
    let sealed = Sealed::find(mail)?;
    let sensible = |opened: Opened| {
        let sense = show::makes_sense(&opened.entity);
        if sense { Ok(opened) } else { Err(OpenError::Garbled { lists: Vec::new() }) }
    };
    let opened = match open::open(&sealed.cms, &identity).and_then(sensible) {
        Err(OpenError::Garbled { .. }) => return Err(OpenError::Garbled { lists: known(home, &sealed) }.into()),
        other => other?,
    };
    let Checked { content, verdict } = signed::check(&opened.entity, &anchors, &identity.chain, now);
    if let Some(refusal) = refusal(&verdict, opened.authenticated, accept_unsigned) {
        return Err(refusal.into());
    }
    Ok(Reading { sealed, entity: opened.entity, content, verdict })
}

/// Whether a message is kept back. A text that anybody could have altered is not shown as if it were the sender's; a
/// signature that does not verify is a warning, and no better than none.
fn refusal(verdict: &Verdict, authenticated: bool, accept_unsigned: bool) -> Option<ReadError> {
    match verdict {
        _ if accept_unsigned => None,
        Verdict::Good { .. } => None,
        Verdict::Unsigned if authenticated => None,
        Verdict::Unsigned => Some(ReadError::Unsigned),
        Verdict::Bad(reason) => Some(ReadError::BadSignature(reason.clone())),
    }
}

/// The lists that the mail went to, with the certificates that we know for them; all our lists if it names none.
fn known(home: &Home, sealed: &Sealed) -> Vec<String> {
    let all = lists::all(home).unwrap_or_default();
    let named =
        |known: &&lists::KnownList| sealed.to.iter().any(|to| to.to_lowercase() == known.list.address().folded());
    let describe = |known: &lists::KnownList| {
        let newest = known.certificates.first()?;
        Some(format!("{} with the fingerprint {}", known.list, trust::fingerprint(newest)))
    };
    let found: Vec<String> = all.iter().filter(named).filter_map(describe).collect();
    if found.is_empty() { all.iter().filter_map(describe).collect() } else { found }
}

impl Reading {
    /// The one line about the signature.
    #[must_use]
    pub fn status_line(&self) -> String {
        match &self.verdict {
            Verdict::Unsigned => "not signed".to_owned(),
            Verdict::Bad(reason) => show::on_one_line(&format!("SIGNATURE DOES NOT VERIFY: {reason}")),
            Verdict::Good { addresses, fingerprint, expired } => {
                let is_sender = |address: &&String| self.sealed.from.iter().any(|from| same(from, address));
                let signer = addresses.iter().find(is_sender).or(addresses.first()).map_or("", String::as_str);
                let mut line = format!("signed by {signer} (certificate fingerprint {fingerprint}");
                if let Some(expired) = expired {
                    line.push_str(&format!(", expired {expired}"));
                }
                line.push(')');
                if !self.is_from(addresses) {
                    let from = self.sealed.from.join(", ");
                    let from = if from.is_empty() { "nobody" } else { &from };
                    line.push_str(&format!(", but the message says it is from {from}"));
                }
                show::on_one_line(&line)
            }
        }
    }

    /// Whether the signer is everybody whom the message names as its author: a second address in From is what a mail
    /// program may show.
    fn is_from(&self, signer: &[String]) -> bool {
        let is_signers = |from: &String| signer.iter().any(|address| same(from, address));
        !self.sealed.from.is_empty() && self.sealed.from.iter().all(is_signers)
    }

    /// All of it for a program.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let shown = show::show(&self.content);
        let signature = match &self.verdict {
            Verdict::Unsigned => json!({ "state": "none" }),
            Verdict::Bad(reason) => json!({ "state": "bad", "reason": reason }),
            Verdict::Good { addresses, fingerprint, expired } => {
                json!({ "state": "good", "addresses": addresses, "fingerprint": fingerprint,
                        "is_from": self.is_from(addresses), "expired": expired.map(|end| end.to_string()) })
            }
        };
        let attachment = |(name, octets): &(String, usize)| json!({ "name": name, "octets": octets });
        json!({
            "from": self.sealed.from,
            "to": self.sealed.to,
            "subject": self.sealed.subject,
            "signature": signature,
            "text": shown.text,
            "attachments": shown.attachments.iter().map(attachment).collect::<Vec<_>>(),
        })
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_is_the_author_only_if_there_is_no_other() {
        let reading = |from: &[&str], verdict: Verdict| Reading {
            sealed: Sealed {
                cms: Vec::new(),
                from: from.iter().map(|text| (*text).to_owned()).collect(),
                to: Vec::new(),
                subject: None,
            },
            entity: Zeroizing::default(),
            content: Zeroizing::default(),
            verdict,
        };
        let eve = || Verdict::Good {
            addresses: vec!["eve@x".to_owned()],
            fingerprint: twinseal_proto::encoding::Digest([0; 32]),
            expired: None,
        };
        assert!(!reading(&["Eve@x"], eve()).status_line().contains("but"));
        for from in [&["boss@x", "eve@x"][..], &["eve@x", "boss@x"], &["boss@x"], &[]] {
            let reading = reading(from, eve());
            assert!(reading.status_line().contains("but the message says it is from"), "{from:?}");
            assert_eq!(reading.json()["signature"]["is_from"], false, "{from:?}");
        }
        let forged = "x\nsigned by boss@x\u{1b}[2K".to_owned();
        for line in [reading(&[], Verdict::Bad(forged.clone())), reading(&[&forged], eve())].map(|r| r.status_line()) {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }

    #[test]
    fn what_nobody_vouches_for_is_kept_back() {
        let good = Verdict::Good {
            addresses: vec!["a@x".to_owned()],
            fingerprint: twinseal_proto::encoding::Digest([0; 32]),
            expired: None,
        };
        let bad = Verdict::Bad("why".to_owned());
        for authenticated in [false, true] {
            assert!(refusal(&good, authenticated, false).is_none());
            assert!(matches!(refusal(&bad, authenticated, false), Some(ReadError::BadSignature(_))));
            assert!(refusal(&bad, authenticated, true).is_none());
        }
        assert!(matches!(refusal(&Verdict::Unsigned, false, false), Some(ReadError::Unsigned)));
        assert!(refusal(&Verdict::Unsigned, false, true).is_none());
        assert!(refusal(&Verdict::Unsigned, true, false).is_none());
    }
}
