/*
 * One wrap of a content-encryption key with the system's OpenSSL, through EVP. What does not depend on the reader is
 * made once; the reader's key is parsed once, as an exploder with a roster has it.
 */
#include "wrap.h"
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What follows the secret in X9.63: the counter 1 and ECC-CMS-SharedInfo for id-aes256-wrap (RFC 5753 section 7.2). */
static const unsigned char shared_info[] = {
	0, 0, 0, 1, 0x30, 0x15, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2d,
	0xa2, 0x06, 0x04, 0x04, 0, 0, 1, 0
};

static EVP_PKEY *reader;
static EVP_PKEY_CTX *maker;
static EVP_CIPHER *aes_wrap;
static EVP_CIPHER_CTX *aes;
static EVP_MD *sha256;
static unsigned char cek[CEK];

void wrap_for(const char *mode, const char *certificate)
{
	FILE *file = fopen(certificate, "r");
	MUST(file, certificate);
	X509 *x509 = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	MUST(x509 && (reader = X509_get0_pubkey(x509)), "no certificate");
	MUST(EVP_PKEY_is_a(reader, strcmp(mode, "rsa") ? "EC" : "RSA"), "another kind of key");
	MUST(RAND_bytes(cek, CEK) == 1, "RAND_bytes");
	if (EVP_PKEY_is_a(reader, "RSA"))
		return;
	MUST((maker = EVP_PKEY_CTX_new(reader, NULL)) && EVP_PKEY_keygen_init(maker) > 0, "keygen_init");
	MUST(sha256 = EVP_MD_fetch(NULL, "SHA256", NULL), "SHA256");
	MUST((aes_wrap = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL)) && (aes = EVP_CIPHER_CTX_new()), "AES-256-WRAP");
	EVP_CIPHER_CTX_set_flags(aes, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
}

/* PKCS #1 v1.5 (RFC 8017 section 7.2). */
static size_t wrap_rsa(unsigned char *out)
{
	size_t length = WRAPPED;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(reader, NULL);
	MUST(EVP_PKEY_encrypt_init(context) > 0, "encrypt_init");
	MUST(EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0, "set_rsa_padding");
	MUST(EVP_PKEY_encrypt(context, out, &length, cek, CEK) > 0, "encrypt");
	EVP_PKEY_CTX_free(context);
	return length;
}

/* A fresh key, ECDH, X9.63 with SHA-256, AES-256 key wrap (RFC 5753 section 3.1): the public point, then the wrapped
 * key. The reader's point was checked when its certificate was read, and is not checked again. */
static size_t wrap_p256(unsigned char *out)
{
	EVP_PKEY *fresh = NULL;
	size_t point = 0, secret = 32;
	MUST(EVP_PKEY_keygen(maker, &fresh) > 0, "keygen");
	MUST(EVP_PKEY_get_octet_string_param(fresh, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out, WRAPPED, &point), "point");

	unsigned char z[32 + sizeof shared_info], kek[32];
	EVP_PKEY_CTX *agreement = EVP_PKEY_CTX_new(fresh, NULL);
	MUST(EVP_PKEY_derive_init(agreement) > 0, "derive_init");
	MUST(EVP_PKEY_derive_set_peer_ex(agreement, reader, 0) > 0, "derive_set_peer_ex");
	MUST(EVP_PKEY_derive(agreement, z, &secret) > 0, "derive");
	EVP_PKEY_CTX_free(agreement);
	EVP_PKEY_free(fresh);

	memcpy(z + secret, shared_info, sizeof shared_info);
	MUST(EVP_Digest(z, secret + sizeof shared_info, kek, NULL, sha256, NULL), "digest");
	int wrapped = 0;
	MUST(EVP_EncryptInit_ex2(aes, aes_wrap, kek, NULL, NULL), "wrap_init");
	MUST(EVP_EncryptUpdate(aes, out + point, &wrapped, cek, CEK), "wrap");
	return point + wrapped;
}

size_t wrap(unsigned char *out)
{
	if (!reader) {
		memset(out, 'k', 256);
		return 256;
	}
	return maker ? wrap_p256(out) : wrap_rsa(out);
}
