#!/usr/bin/env bash
# Makes the well-formed vectors with `openssl cms`, and the keys for them where they are missing. The malformed ones are
# written by hand. Keys and messages are random: run it only to add a form, and keep the files that exist.
set -euo pipefail
cd "$(dirname "$0")"
export LC_ALL=C
mkdir -p keys wellformed

certificate() { # name, then the arguments of genpkey
  local name=$1
  shift
  [ -e "keys/$name.pem" ] && return
  openssl genpkey -quiet "$@" -out "keys/$name.key.pem"
  openssl req -x509 -new -key "keys/$name.key.pem" -days 36500 -subj "/O=Vectors/CN=$name" \
    -addext "subjectAltName=email:$name@vectors.test" -addext 'basicConstraints=critical,CA:FALSE' \
    -out "keys/$name.pem"
}
certificate rsa2048 -algorithm RSA -pkeyopt rsa_keygen_bits:2048
certificate rsa3072 -algorithm RSA -pkeyopt rsa_keygen_bits:3072
certificate p256 -algorithm EC -pkeyopt ec_paramgen_curve:P-256
certificate p384 -algorithm EC -pkeyopt ec_paramgen_curve:P-384

# The content: some lines of text.
[ -e plain.txt ] || for line in $(seq 40); do
  printf 'Line %02d of the content that every well-formed vector carries.\r\n' "$line"
done > plain.txt

message() { # name, content encryption, key, recipient form, rid form, then the arguments of openssl cms
  local name=$1 content=$2 key=$3 form=$4 rid=$5 file="wellformed/$1.txt"
  shift 5
  [ -e "$file" ] && return
  {
    echo "# openssl cms -encrypt ${*//keys\//}"
    printf 'of: message\nexpect: opened\nencoding: base64\ncontent: %s\nkey: %s\nrecipient: %s\nrid: %s\n\n' \
      "$content" "$key" "$form" "$rid"
    openssl cms -encrypt -binary -in plain.txt -outform DER "$@" | openssl base64
  } > "$file"
}
oaep() { printf -- '-keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:%s -keyopt rsa_mgf1_md:%s' "$1" "$2"; }

ias=issuer-and-serial ski=subject-key-id
for bits in 128 192 256; do
  message "rsa-v15-cbc$bits" "aes-$bits-cbc" rsa2048 pkcs1v15 $ias "-aes-$bits-cbc" -recip keys/rsa2048.pem
  message "rsa-v15-gcm$bits" "aes-$bits-gcm" rsa2048 pkcs1v15 $ias "-aes-$bits-gcm" -recip keys/rsa2048.pem
  message "p256-cbc$bits" "aes-$bits-cbc" p256 ecdh-sha1 $ias "-aes-$bits-cbc" -recip keys/p256.pem
done
message rsa-v15-des3 des-ede3-cbc rsa2048 pkcs1v15 $ias -des3 -recip keys/rsa2048.pem
message rsa3072-v15-ski aes-256-cbc rsa3072 pkcs1v15 $ski -aes-256-cbc -keyid -recip keys/rsa3072.pem
message rsa-v15-stream-cbc aes-256-cbc rsa2048 pkcs1v15 $ias -aes-256-cbc -stream -recip keys/rsa2048.pem
message rsa-v15-stream-gcm aes-256-gcm rsa2048 pkcs1v15 $ias -aes-256-gcm -stream -recip keys/rsa2048.pem
message rsa-v15-ski-stream aes-128-cbc rsa2048 pkcs1v15 $ski -aes-128-cbc -stream -keyid -recip keys/rsa2048.pem
for hash in sha1 sha256 sha384 sha512; do
  message "rsa-oaep-$hash" aes-256-cbc rsa2048 "oaep-$hash-$hash" $ias \
    -aes-256-cbc -recip keys/rsa2048.pem $(oaep $hash $hash)
  message "p256-$hash" aes-256-cbc p256 "ecdh-$hash" $ias \
    -aes-256-cbc -recip keys/p256.pem -keyopt ecdh_kdf_md:$hash
  message "p384-$hash-ski-stream" aes-256-gcm p384 "ecdh-$hash" $ski \
    -aes-256-gcm -stream -keyid -recip keys/p384.pem -keyopt ecdh_kdf_md:$hash
done
message rsa-oaep-sha256-sha1-ski aes-256-gcm rsa3072 oaep-sha256-sha1 $ski \
  -aes-256-gcm -stream -keyid -recip keys/rsa3072.pem $(oaep sha256 sha1)
message p256-cofactor aes-128-cbc p256 ecdh-sha256-cofactor $ias \
  -aes-128-cbc -recip keys/p256.pem -keyopt ecdh_kdf_md:sha256 -keyopt ecdh_cofactor_mode:1
message three-recipients aes-256-cbc p256 ecdh-sha256 $ias \
  -aes-256-cbc -stream -recip keys/rsa2048.pem -recip keys/rsa3072.pem $(oaep sha1 sha1) \
  -recip keys/p256.pem -keyopt ecdh_kdf_md:sha256
message kek-and-password aes-256-cbc rsa2048 pkcs1v15 $ias -aes-256-cbc -recip keys/rsa2048.pem \
  -secretkey 000102030405060708090a0b0c0d0e0f -secretkeyid 6b656b -pwri_password vectors
