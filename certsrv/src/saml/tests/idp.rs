//! An identity provider of our own: what it says, and its signatures, made by samael with xmlsec.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use samael::crypto::{Crypto, CryptoProvider as _};
use std::sync::OnceLock;
use twinseal_proto::time::UnixTime;

pub(super) const REQUEST: &str = "_request";
pub(super) const ENTITY: &str = "https://idp.test/entity";
pub(super) const PERSISTENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
pub(super) const EMAIL: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
pub(super) const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
pub(super) const ECDSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";
pub(super) const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
pub(super) const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";

/// What a response says; times in seconds from now.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) request: String,
    pub(super) confirmed_request: String,
    pub(super) destination: String,
    pub(super) recipient: String,
    pub(super) audience: String,
    pub(super) issuer: String,
    pub(super) response_issuer: String,
    pub(super) status: String,
    pub(super) response_issued: i64,
    pub(super) issued: i64,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) confirmed_until: i64,
    pub(super) id: String,
    pub(super) format: String,
    pub(super) name_id: String,
    pub(super) attribute: String,
    pub(super) mail: String,
    pub(super) method: String,
    pub(super) digest: String,
    pub(super) transforms: Vec<String>,
    pub(super) uri: String,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            request: REQUEST.into(),
            confirmed_request: REQUEST.into(),
            destination: "https://certsrv.test/saml/acs".into(),
            recipient: "https://certsrv.test/saml/acs".into(),
            audience: "https://certsrv.test/sp".into(),
            issuer: ENTITY.into(),
            response_issuer: ENTITY.into(),
            status: "Success".into(),
            response_issued: 0,
            issued: 0,
            start: -5,
            end: 300,
            confirmed_until: 300,
            id: "_assertion".into(),
            format: PERSISTENT.into(),
            name_id: "subject-7".into(),
            attribute: "mail".into(),
            mail: "ann@members.test".into(),
            method: RSA_SHA256.into(),
            digest: SHA256.into(),
            transforms: vec![ENVELOPED.into(), EXCLUSIVE.into()],
            uri: String::new(),
        }
    }
}

fn at(seconds: i64) -> String {
    UnixTime(UnixTime::now().0.checked_add_signed(seconds).unwrap()).to_string()
}

impl Answer {
    /// A signature over `id` that is still to be made.
    pub(super) fn template(&self, id: &str) -> String {
        let uri = if self.uri.is_empty() { format!("#{id}") } else { self.uri.clone() };
        let transforms: String =
            self.transforms.iter().map(|one| format!("<ds:Transform Algorithm=\"{one}\"/>")).collect();
        format!(
            "<ds:Signature xmlns:ds=\"{DSIG}\"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm=\"{EXCLUSIVE}\"/>\
             <ds:SignatureMethod Algorithm=\"{}\"/><ds:Reference URI=\"{uri}\"><ds:Transforms>{transforms}\
             </ds:Transforms><ds:DigestMethod Algorithm=\"{}\"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>\
             <ds:SignatureValue/><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data>\
             </ds:KeyInfo></ds:Signature>",
            self.method,
            self.digest,
            TestIdp::stranger().certificate(),
        )
    }

    /// The assertion with `signature` in its place.
    pub(super) fn assertion(&self, signature: &str) -> String {
        format!(
            "<saml:Assertion xmlns:saml=\"{ASSERTION}\" ID=\"{}\" Version=\"2.0\" IssueInstant=\"{}\">\
             <saml:Issuer>{}</saml:Issuer>{signature}<saml:Subject><saml:NameID Format=\"{}\">{}</saml:NameID>\
             <saml:SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\">\
             <saml:SubjectConfirmationData NotOnOrAfter=\"{}\" Recipient=\"{}\" InResponseTo=\"{}\"/>\
             </saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore=\"{}\" NotOnOrAfter=\"{}\">\
             <saml:AudienceRestriction><saml:Audience>{}</saml:Audience></saml:AudienceRestriction></saml:Conditions>\
             <saml:AuthnStatement AuthnInstant=\"{}\"><saml:AuthnContext><saml:AuthnContextClassRef>\
             urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext>\
             </saml:AuthnStatement><saml:AttributeStatement><saml:Attribute Name=\"{}\"><saml:AttributeValue \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xs=\"http://www.w3.org/2001/XMLSchema\" \
             xsi:type=\"xs:string\">{}</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion>",
            self.id,
            at(self.issued),
            self.issuer,
            self.format,
            self.name_id,
            at(self.confirmed_until),
            self.recipient,
            self.confirmed_request,
            at(self.start),
            at(self.end),
            self.audience,
            at(self.issued),
            self.attribute,
            self.mail,
        )
    }

    /// The response around `inside`, with `signature` in its place.
    pub(super) fn response(&self, signature: &str, inside: &str) -> String {
        format!(
            "<samlp:Response xmlns:samlp=\"{PROTOCOL}\" xmlns:saml=\"{ASSERTION}\" ID=\"_response\" Version=\"2.0\" \
             IssueInstant=\"{}\" Destination=\"{}\" InResponseTo=\"{}\"><saml:Issuer>{}</saml:Issuer>{signature}\
             <samlp:Status><samlp:StatusCode Value=\"urn:oasis:names:tc:SAML:2.0:status:{}\"/></samlp:Status>\
             {inside}</samlp:Response>",
            at(self.response_issued),
            self.destination,
            self.request,
            self.response_issuer,
            self.status,
        )
    }
}

/// A key with its certificate.
pub(super) struct TestIdp {
    key: PKey<Private>,
    certificate: X509,
}

impl TestIdp {
    fn new(key: PKey<Private>) -> Self {
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { key, certificate: builder.build() }
    }

    /// The one that is pinned.
    pub(super) fn trusted() -> &'static Self {
        static IDP: OnceLock<TestIdp> = OnceLock::new();
        IDP.get_or_init(|| Self::new(crate::tests::rsa_key(2048)))
    }

    /// Another one. Every signature here comes with its certificate, as if it were to be believed.
    pub(super) fn stranger() -> &'static Self {
        static IDP: OnceLock<TestIdp> = OnceLock::new();
        IDP.get_or_init(|| Self::new(crate::tests::rsa_key(2048)))
    }

    pub(super) fn on_a_curve() -> Self {
        Self::new(crate::tests::ec_key())
    }

    pub(super) fn short() -> Self {
        Self::new(crate::tests::rsa_key(1024))
    }

    pub(super) fn certificate(&self) -> String {
        STANDARD.encode(self.certificate.to_der().unwrap())
    }

    pub(super) fn metadata(&self) -> String {
        format!(
            "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" xmlns:ds=\"{DSIG}\" \
             entityID=\"{ENTITY}\"><md:IDPSSODescriptor protocolSupportEnumeration=\"{PROTOCOL}\">\
             <md:KeyDescriptor use=\"signing\"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate>\
             </ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService \
             Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"https://idp.test/sso?a=b\"/>\
             </md:IDPSSODescriptor></md:EntityDescriptor>",
            self.certificate()
        )
    }

    /// Makes the first signature in `text`.
    pub(super) fn sign(&self, text: &str) -> String {
        let der = match self.key.rsa() {
            Ok(rsa) => rsa.private_key_to_der().unwrap(),
            Err(_) => self.key.ec_key().unwrap().private_key_to_der().unwrap(),
        };
        let signed = Crypto::sign_xml(text, &der).unwrap();
        signed[signed.find("?>").unwrap() + 2..].trim().to_owned()
    }

    /// The assertion alone, signed.
    pub(super) fn signed_assertion(&self, answer: &Answer) -> String {
        self.sign(&answer.assertion(&answer.template(&answer.id)))
    }

    pub(super) fn assertion_signed(&self, answer: &Answer) -> String {
        answer.response("", &self.signed_assertion(answer))
    }

    pub(super) fn response_signed(&self, answer: &Answer) -> String {
        self.sign(&answer.response(&answer.template("_response"), &answer.assertion("")))
    }

    pub(super) fn both_signed(&self, answer: &Answer) -> String {
        self.sign(&answer.response(&answer.template("_response"), &self.signed_assertion(answer)))
    }
}
