//! A certificate authority, members' homes and the two programs, `twinseal` and `openssl`, for the tests.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslMethod};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use twinseal::home::{Home, Settings, Submission, SubmissionTls};
use twinseal::identity::{Identity, KeyType};

/// A root, a sub-CA under it, and a directory.
pub struct Ca {
    pub dir: TempDir,
    pub root: X509,
    pub sub: X509,
    sub_key: PKey<Private>,
}

/// How a certificate is made.
pub struct Wish<'a> {
    pub address: &'a str,
    pub key: PKey<Private>,
    /// Days from now; negative ones are past.
    pub days: (i64, i64),
    pub serial: Option<u32>,
    pub host: bool,
}

impl<'a> Wish<'a> {
    pub fn new(address: &'a str, key_type: KeyType) -> Self {
        Self { address, key: key_type.generate().unwrap(), days: (-10, 30), serial: None, host: false }
    }
}

fn day(offset: i64) -> Asn1Time {
    let now = twinseal_proto::time::UnixTime::now().0 as i64;
    Asn1Time::from_unix(now + offset * 86_400).unwrap()
}

fn builder(name: &str, key: &PKey<Private>, days: (i64, i64), serial: Option<u32>) -> X509Builder {
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let mut number = BigNum::new().unwrap();
    number.rand(63, MsbOption::ONE, false).unwrap();
    if let Some(serial) = serial {
        number = BigNum::from_u32(serial).unwrap();
    }
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&number.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject.build()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&day(days.0)).unwrap();
    builder.set_not_after(&day(days.1)).unwrap();
    builder
}

fn authority(name: &str, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>) -> X509 {
    let mut builder = builder(name, key, (-100, 100), None);
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap()).unwrap();
    let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(id).unwrap();
    match issuer {
        Some((issuer, issuer_key)) => {
            builder.set_issuer_name(issuer.subject_name()).unwrap();
            builder.sign(issuer_key, MessageDigest::sha256()).unwrap();
        }
        None => {
            let mut subject = X509Name::builder().unwrap();
            subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
            builder.set_issuer_name(&subject.build()).unwrap();
            builder.sign(key, MessageDigest::sha256()).unwrap();
        }
    }
    builder.build()
}

impl Ca {
    pub fn new() -> Self {
        let (root_key, sub_key) = (KeyType::P256.generate().unwrap(), KeyType::P256.generate().unwrap());
        let root = authority("Test Root", &root_key, None);
        let sub = authority("Test Members", &sub_key, Some((&root, &root_key)));
        Self { dir: tempfile::tempdir().unwrap(), root, sub, sub_key }
    }

    pub fn sub_key(&self) -> &PKey<Private> {
        &self.sub_key
    }

    /// The server's side of TLS for 127.0.0.1, with a certificate of this CA.
    pub fn acceptor(&self) -> SslAcceptorBuilder {
        let mut wish = Wish::new("server", KeyType::P256);
        wish.host = true;
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        builder.set_certificate(&self.issue(&wish)).unwrap();
        builder.set_private_key(&wish.key).unwrap();
        builder.add_extra_chain_cert(self.sub.clone()).unwrap();
        builder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn issue(&self, wish: &Wish<'_>) -> X509 {
        let mut builder = builder(wish.address, &wish.key, wish.days, wish.serial);
        builder.set_issuer_name(self.sub.subject_name()).unwrap();
        let context = builder.x509v3_context(Some(&self.sub), None);
        let mut usage = KeyUsage::new();
        usage.critical().digital_signature();
        if wish.key.id() == Id::RSA {
            usage.key_encipherment()
        } else {
            usage.key_agreement()
        };
        let (mut name, mut purpose) = (SubjectAlternativeName::new(), ExtendedKeyUsage::new());
        if wish.host {
            name.ip("127.0.0.1");
            purpose.server_auth();
        } else {
            name.email(wish.address);
            purpose.email_protection();
        }
        let extensions = [
            BasicConstraints::new().build().unwrap(),
            usage.build().unwrap(),
            purpose.build().unwrap(),
            SubjectKeyIdentifier::new().build(&context).unwrap(),
            AuthorityKeyIdentifier::new().keyid(true).build(&context).unwrap(),
            name.build(&context).unwrap(),
        ];
        for extension in extensions {
            builder.append_extension(extension).unwrap();
        }
        builder.sign(&self.sub_key, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub fn files(&self, name: &str, certificate: &X509, key: &PKey<Private>) -> (String, String) {
        let (pem, secret) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&pem, certificate.to_pem().unwrap()).unwrap();
        std::fs::write(&secret, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        (pem.display().to_string(), secret.display().to_string())
    }

    pub fn root_file(&self) -> String {
        let path = self.path("root.pem");
        std::fs::write(&path, self.root.to_pem().unwrap()).unwrap();
        path.display().to_string()
    }

    /// A home with key, certificate and settings.
    pub fn home(&self, wish: Wish<'_>) -> (Home, PathBuf) {
        let dir = self.path(wish.address.split('@').next().unwrap());
        let home = Home::at(dir.clone());
        let settings = Settings {
            address: wish.address.parse().unwrap(),
            certsrv: "https://127.0.0.1:9".to_owned(),
            submission: Some(Submission { server: "127.0.0.1:9".to_owned(), tls: SubmissionTls::None }),
        };
        home.save_settings(&settings).unwrap();
        twinseal::home::write(&home.key(), &wish.key.private_key_to_pem_pkcs8().unwrap(), 0o600).unwrap();
        std::fs::write(home.root(), self.root.to_pem().unwrap()).unwrap();
        let certificate = self.issue(&wish);
        Identity { key: wish.key, certificate, chain: vec![self.sub.clone()] }.save_certificate(&home).unwrap();
        (home, dir)
    }

    /// Puts a list's certificates where `join` would.
    pub fn learn(&self, home: &Home, list: &str, certificates: &[&X509]) {
        twinseal::home::make_dir(&home.lists()).unwrap();
        let mut pem = Vec::new();
        for certificate in certificates.iter().copied().chain([&self.sub, &self.root]) {
            pem.extend(certificate.to_pem().unwrap());
        }
        std::fs::write(home.lists().join(format!("{list}.pem")), pem).unwrap();
    }
}

/// Runs a program with octets on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

pub fn twinseal(home: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinseal"));
    run(command.args(arguments).env("TWINSEAL_HOME", home), input)
}

/// `openssl`, which must succeed.
pub fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let output = run(Command::new("openssl").args(arguments), input);
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
