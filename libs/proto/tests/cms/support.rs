//! What the tests share: the vectors' keys, and the `openssl` command as the reader of what we write.

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use twinseal_proto::cms::assemble::{CopyShape, Head, LineEncoder};
use twinseal_proto::cms::certificate::CertificateKey;
use twinseal_proto::cms::frame::Frame;
use twinseal_proto::cms::unwrap::SoftwareKey;
use twinseal_proto::cms::wrap::MemberKey;

pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// The folder of test data made by others, where there is one; says so aloud where not.
pub(crate) fn corpus(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TWINSEAL_CORPUS").map(PathBuf::from);
    if folder.is_none() {
        say(&format!("SKIPPED {test}: TWINSEAL_CORPUS does not name the folder of the corpus"));
    }
    folder
}

/// Writes a line past the test harness, which hides what passing tests print.
pub(crate) fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A certificate with its private key.
pub(crate) struct Identity {
    pub(crate) certificate: X509,
    pub(crate) private: PKey<Private>,
}

impl Identity {
    pub(crate) fn of_vectors(name: &str) -> Self {
        let read = |name: String| std::fs::read(vectors().join("keys").join(name)).unwrap();
        Self {
            certificate: X509::from_pem(&read(format!("{name}.pem"))).unwrap(),
            private: PKey::private_key_from_pem(&read(format!("{name}.key.pem"))).unwrap(),
        }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.certificate.to_der().unwrap()
    }

    pub(crate) fn software_key(&self) -> SoftwareKey {
        SoftwareKey::new(&self.private).unwrap()
    }

    pub(crate) fn member_key(&self) -> MemberKey {
        MemberKey::from_certificate(&self.der()).unwrap()
    }

    /// Whether `rid` names the certificate.
    pub(crate) fn is_named_by(&self, rid: &twinseal_proto::cms::recipient::RecipientId) -> bool {
        CertificateKey::read(&self.der()).unwrap().is_named_by(rid)
    }
}

/// A directory of its own, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("twinseal-cms-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, octets: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, octets).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Decrypts a DER message with the `openssl` command, by whichever RecipientInfo names the reader.
pub(crate) fn openssl_decrypts(message: &[u8], reader: &Identity) -> Option<Vec<u8>> {
    let scratch = Scratch::new();
    let output = Command::new("openssl")
        .args(["cms", "-decrypt", "-binary", "-inform", "DER", "-in"])
        .arg(scratch.write("message.der", message))
        .arg("-recip")
        .arg(scratch.write("reader.pem", &reader.certificate.to_pem().unwrap()))
        .arg("-inkey")
        .arg(scratch.write("reader.key.pem", &reader.private.private_key_to_pem_pkcs8().unwrap()))
        .output()
        .expect("the openssl command");
    output.status.success().then_some(output.stdout)
}

/// Undoes [`twinseal_proto::cms::assemble`]: base64 lines to octets, every line checked.
pub(crate) fn decode_lines(text: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.is_empty() || text.ends_with("\r\n"));
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert!(lines.iter().all(|line| !line.is_empty() && line.len() <= 76), "lines of 1 to 76");
    openssl::base64::decode_block(&lines.concat()).unwrap()
}

/// The copy of `message` with this RecipientInfo, by way of its text, as it goes over the wire.
pub(crate) fn copy_with(frame: &Frame, message: &[u8], recipient_info: &[u8]) -> Vec<u8> {
    let tail = &message[frame.ri_end as usize..frame.end as usize];
    let shape = CopyShape::of(frame);
    let Head { mut text, alignment } = shape.head(recipient_info, [tail[0], tail[1]]);
    let head_len = text.len();
    let mut lines = LineEncoder::new();
    lines.push(&tail[alignment.octets()..], &mut text);
    lines.finish(&mut text);
    assert_eq!((text.len() - head_len) as u64, shape.tail_text_len(alignment));
    decode_lines(&text)
}
