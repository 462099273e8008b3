//! Every object identifier, derivation label and size of the CMS part, and nothing else.

use super::der::Oid;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $octets:literal;)*) => {
        $($(#[$doc])* pub const $name: Oid<'static> = Oid::new($octets);)*
    };
}

// Content types: RFC 5652 section 14, RFC 3274, RFC 5083.
oids! {
    /// id-data.
    DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
    /// id-signedData.
    SIGNED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
    /// id-envelopedData.
    ENVELOPED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03";
    /// id-digestedData.
    DIGESTED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x05";
    /// id-encryptedData.
    ENCRYPTED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06";
    /// id-ct-authData.
    AUTHENTICATED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x02";
    /// id-ct-compressedData.
    COMPRESSED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09";
    /// id-ct-authEnvelopedData.
    AUTH_ENVELOPED_DATA = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17";
}

// Content encryption: RFC 3565, RFC 5084, RFC 3370, RFC 8103.
oids! {
    /// aes128-CBC.
    AES128_CBC = b"\x60\x86\x48\x01\x65\x03\x04\x01\x02";
    /// aes192-CBC.
    AES192_CBC = b"\x60\x86\x48\x01\x65\x03\x04\x01\x16";
    /// aes256-CBC.
    AES256_CBC = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
    /// aes128-GCM.
    AES128_GCM = b"\x60\x86\x48\x01\x65\x03\x04\x01\x06";
    /// aes192-GCM.
    AES192_GCM = b"\x60\x86\x48\x01\x65\x03\x04\x01\x1a";
    /// aes256-GCM.
    AES256_GCM = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2e";
    /// aes128-CCM.
    AES128_CCM = b"\x60\x86\x48\x01\x65\x03\x04\x01\x07";
    /// aes192-CCM.
    AES192_CCM = b"\x60\x86\x48\x01\x65\x03\x04\x01\x1b";
    /// aes256-CCM.
    AES256_CCM = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2f";
    /// id-alg-AEADChaCha20Poly1305.
    CHACHA20_POLY1305 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x12";
    /// des-ede3-cbc.
    DES_EDE3_CBC = b"\x2a\x86\x48\x86\xf7\x0d\x03\x07";
}

// Key transport and its hashes: RFC 8017 appendix A.2, RFC 4055, RFC 3560.
oids! {
    /// rsaEncryption.
    RSA_ENCRYPTION = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    /// id-RSAES-OAEP.
    RSAES_OAEP = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07";
    /// id-mgf1.
    MGF1 = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08";
    /// id-pSpecified.
    P_SPECIFIED = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x09";
    /// id-sha1.
    SHA1 = b"\x2b\x0e\x03\x02\x1a";
    /// id-sha224.
    SHA224 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x04";
    /// id-sha256.
    SHA256 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
    /// id-sha384.
    SHA384 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
    /// id-sha512.
    SHA512 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";
}

// Key agreement: RFC 5480, RFC 5753 section 7.1.4.
oids! {
    /// id-ecPublicKey.
    EC_PUBLIC_KEY = b"\x2a\x86\x48\xce\x3d\x02\x01";
    /// secp256r1, P-256.
    SECP256R1 = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
    /// secp384r1, P-384.
    SECP384R1 = b"\x2b\x81\x04\x00\x22";
    /// dhSinglePass-stdDH-sha1kdf-scheme.
    STD_DH_SHA1 = b"\x2b\x81\x05\x10\x86\x48\x3f\x00\x02";
    /// dhSinglePass-cofactorDH-sha1kdf-scheme.
    COFACTOR_DH_SHA1 = b"\x2b\x81\x05\x10\x86\x48\x3f\x00\x03";
    /// dhSinglePass-stdDH-sha224kdf-scheme.
    STD_DH_SHA224 = b"\x2b\x81\x04\x01\x0b\x00";
    /// dhSinglePass-stdDH-sha256kdf-scheme.
    STD_DH_SHA256 = b"\x2b\x81\x04\x01\x0b\x01";
    /// dhSinglePass-stdDH-sha384kdf-scheme.
    STD_DH_SHA384 = b"\x2b\x81\x04\x01\x0b\x02";
    /// dhSinglePass-stdDH-sha512kdf-scheme.
    STD_DH_SHA512 = b"\x2b\x81\x04\x01\x0b\x03";
    /// dhSinglePass-cofactorDH-sha224kdf-scheme.
    COFACTOR_DH_SHA224 = b"\x2b\x81\x04\x01\x0e\x00";
    /// dhSinglePass-cofactorDH-sha256kdf-scheme.
    COFACTOR_DH_SHA256 = b"\x2b\x81\x04\x01\x0e\x01";
    /// dhSinglePass-cofactorDH-sha384kdf-scheme.
    COFACTOR_DH_SHA384 = b"\x2b\x81\x04\x01\x0e\x02";
    /// dhSinglePass-cofactorDH-sha512kdf-scheme.
    COFACTOR_DH_SHA512 = b"\x2b\x81\x04\x01\x0e\x03";
}

// Key wrap: RFC 3394 as used by RFC 3565 section 2.3.2.
oids! {
    /// id-aes128-wrap.
    AES128_WRAP = b"\x60\x86\x48\x01\x65\x03\x04\x01\x05";
    /// id-aes192-wrap.
    AES192_WRAP = b"\x60\x86\x48\x01\x65\x03\x04\x01\x19";
    /// id-aes256-wrap.
    AES256_WRAP = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2d";
}

// Extensions that recipient ids are read from: RFC 5280.
oids! {
    /// id-ce-subjectKeyIdentifier.
    SUBJECT_KEY_IDENTIFIER = b"\x55\x1d\x0e";
}

/// Look-up value of a key-transport RecipientInfo, over encryptedKey (DESIGN 3.2).
pub const LOOKUP_KEY_TRANSPORT: &[u8] = b"twinseal lookup ktri encryptedKey\0";
/// Look-up value of a key-agreement RecipientInfo, over encryptedKey (DESIGN 3.2).
pub const LOOKUP_KEY_AGREEMENT: &[u8] = b"twinseal lookup kari encryptedKey\0";
/// Look-up value of a key-agreement RecipientInfo, over the ephemeral point's x (DESIGN 3.2).
pub const LOOKUP_EPHEMERAL: &[u8] = b"twinseal lookup kari ephemeral x\0";
/// Derives a software key's rejection secret from its private key.
pub const REJECTION_SECRET: &[u8] = b"twinseal rejection secret\0";
/// First step of the substitute key of implicit rejection: a key for one ciphertext.
pub const REJECTION_EXTRACT: &[u8] = b"twinseal rejection extract\0";
/// Second step of the substitute key of implicit rejection: the key's octets.
pub const REJECTION_EXPAND: &[u8] = b"twinseal rejection expand\0";

/// Deepest nesting of constructed values that is followed. Certificates in an originatorInfo reach 11.
pub const MAX_DEPTH: usize = 16;
/// Most octets of the RecipientInfos of one message. 1000 recipients with RSA-3072 keys need about 600 kB.
pub const MAX_RECIPIENT_SET: usize = 1024 * 1024;
/// Most RecipientInfos of one message. A sender needs two: the list's and his own; reply-to-all to a large circle more.
pub const MAX_RECIPIENTS: usize = 1024;
/// Most octets of the one RecipientInfo that goes to groupsrv. RSA-8192 with a long issuer needs about 2 kB.
pub const MAX_RECIPIENT_INFO: usize = 4096;
/// Most octets of an AlgorithmIdentifier. AES-GCM needs 34, RC2 with parameters 30.
pub const MAX_ALGORITHM: usize = 512;
/// Least bits of a member's RSA modulus (DESIGN 2).
pub const MIN_RSA_BITS: usize = 2048;
/// Most bits of a member's RSA modulus: a public operation on more would cost milliseconds a copy.
pub const MAX_RSA_BITS: usize = 8192;
/// Most bits of a public exponent, for the same reason; OpenSSL has the same bound for large moduli.
pub const MAX_RSA_EXPONENT_BITS: usize = 64;
/// Octets of an AES block, and so of a CBC initialisation vector.
pub const AES_BLOCK: usize = 16;
/// Octets of a DES block.
pub const DES_BLOCK: usize = 8;
/// Octets of an AES-GCM nonce (RFC 5084 section 3.2 recommends 12; nothing else is taken).
pub const GCM_NONCE: usize = 12;
/// Octets of an AES-GCM tag. RFC 5084 allows 12 to 16 and defaults to 12; short tags can be forged.
pub const GCM_TAG: usize = 16;
/// Octets that AES key wrap adds (RFC 3394 section 2.2.1).
pub const KEY_WRAP_OVERHEAD: usize = 8;
