//! Every object identifier of the certificates that we write, and nothing else.

use twinseal_proto::cms::der::Oid;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $octets:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Oid<'static> = Oid::new($octets);)*
    };
}

// Names and extensions: X.520, RFC 5280 section 4.2.1.
oids! {
    /// id-at-commonName.
    COMMON_NAME = b"\x55\x04\x03";
    /// id-ce-subjectKeyIdentifier.
    SUBJECT_KEY_ID = b"\x55\x1d\x0e";
    /// id-ce-keyUsage.
    KEY_USAGE = b"\x55\x1d\x0f";
    /// id-ce-subjectAltName.
    SUBJECT_ALT_NAME = b"\x55\x1d\x11";
    /// id-ce-basicConstraints.
    BASIC_CONSTRAINTS = b"\x55\x1d\x13";
    /// id-ce-cRLDistributionPoints.
    CRL_DISTRIBUTION_POINTS = b"\x55\x1d\x1f";
    /// id-ce-authorityKeyIdentifier.
    AUTHORITY_KEY_ID = b"\x55\x1d\x23";
    /// id-ce-extKeyUsage.
    EXTENDED_KEY_USAGE = b"\x55\x1d\x25";
    /// id-ce-noRevAvail (RFC 9608 section 2).
    NO_REV_AVAIL = b"\x55\x1d\x38";
    /// id-pe-authorityInfoAccess.
    AUTHORITY_INFO_ACCESS = b"\x2b\x06\x01\x05\x05\x07\x01\x01";
}

// Access methods: RFC 5280 section 4.2.2.1.
oids! {
    /// id-ad-ocsp.
    ACCESS_OCSP = b"\x2b\x06\x01\x05\x05\x07\x30\x01";
    /// id-ad-caIssuers.
    ACCESS_CA_ISSUERS = b"\x2b\x06\x01\x05\x05\x07\x30\x02";
}

// Extensions of revocation lists and of their entries: RFC 5280 sections 5.2.3 and 5.3.1.
oids! {
    /// id-ce-cRLNumber.
    CRL_NUMBER = b"\x55\x1d\x14";
    /// id-ce-cRLReasons.
    CRL_REASON = b"\x55\x1d\x15";
}

// OCSP: RFC 6960 sections 4.2.1 and 4.2.2.2.1.
oids! {
    /// id-pkix-ocsp-basic.
    OCSP_BASIC = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
    /// id-pkix-ocsp-nocheck.
    OCSP_NO_CHECK = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x05";
}

// Key purposes: RFC 5280 section 4.2.1.12.
oids! {
    /// id-kp-serverAuth.
    SERVER_AUTH = b"\x2b\x06\x01\x05\x05\x07\x03\x01";
    /// id-kp-clientAuth.
    CLIENT_AUTH = b"\x2b\x06\x01\x05\x05\x07\x03\x02";
    /// id-kp-emailProtection.
    EMAIL_PROTECTION = b"\x2b\x06\x01\x05\x05\x07\x03\x04";
    /// Belonging to a list: our own, under the arc of UUIDs (X.667): 2.25.236544227621039558186145019427840407289.
    LIST_MEMBERSHIP = b"\x69\x82\xe3\xf4\xe1\xb6\x8d\xa3\xf2\xbd\xbb\x9c\xb8\x85\x9c\xaa\xc2\xf4\xed\x79";
    /// id-kp-OCSPSigning.
    OCSP_SIGNING = b"\x2b\x06\x01\x05\x05\x07\x03\x09";
}

// Signatures: RFC 5758 section 3.2, RFC 8017 appendix A.2.4.
oids! {
    /// ecdsa-with-SHA256.
    ECDSA_SHA256 = b"\x2a\x86\x48\xce\x3d\x04\x03\x02";
    /// sha256WithRSAEncryption.
    RSA_SHA256 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b";
}

oids! {
    /// pkcs-9-at-extensionRequest (RFC 2985 section 5.4.2).
    EXTENSION_REQUEST = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e";
    /// id-aa-decryptKeyID (RFC 7030 section 4.4.1.1).
    DECRYPT_KEY_ID = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x25";
    /// id-aa-asymmDecryptKeyID (RFC 7030 section 4.4.1.2).
    ASYMM_DECRYPT_KEY_ID = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x36";
    /// id-aa-certificationRequestInfoTemplate (RFC 9908 section 3.4).
    REQUEST_TEMPLATE = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x3d";
    /// id-aa-extensionReqTemplate (RFC 9908 section 3.4).
    EXTENSION_TEMPLATE = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x3e";
}
