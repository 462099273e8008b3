#!/bin/sh
# A real SAML identity provider (SimpleSAMLphp on PHP's own web server) on 127.0.0.1, in the foreground.
# Users: alice with alicepw, bob with bobpw, mallory (an address of another domain) with mallorypw.
# usage: saml-idp.sh DIR PORT SP-ENTITY-ID ACS-URL
set -eu
dir=$1 port=$2 entity=$3 acs=$4
web=/usr/share/simplesamlphp/www
[ -d "$web" ] || web=/usr/share/simplesamlphp/public
mkdir -p "$dir/metadata" "$dir/cert" "$dir/log" "$dir/data" "$dir/tmp"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/cert/idp.key" -out "$dir/cert/idp.crt" -days 2 \
	-subj /CN=idp.test 2>"$dir/log/openssl.log"
cat >"$dir/config.php" <<EOF
<?php
\$config = [
 'baseurlpath' => 'http://127.0.0.1:$port/', 'certdir' => '$dir/cert/', 'loggingdir' => '$dir/log/',
 'datadir' => '$dir/data/', 'tempdir' => '$dir/tmp', 'metadatadir' => '$dir/metadata/',
 'secretsalt' => 'a salt for this test alone', 'auth.adminpassword' => 'unused-in-this-test', 'timezone' => 'UTC',
 'technicalcontact_email' => 'nobody@idp.test', 'enable.saml20-idp' => true, 'logging.handler' => 'file',
 'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true], 'store.type' => 'phpsession',
 'session.cookie.secure' => false, 'session.cookie.samesite' => null, 'session.phpsession.cookiename' => 'SSPSESS',
 'session.phpsession.savepath' => '$dir/tmp', 'session.authtoken.cookiename' => 'SSPAUTH', 'language.default' => 'en',
 'language.available' => ['en'], 'metadata.sources' => [['type' => 'flatfile', 'directory' => '$dir/metadata']],
];
EOF
cat >"$dir/authsources.php" <<'EOF'
<?php
$config = ['example-userpass' => ['exampleauth:UserPass',
 'alice:alicepw' => ['uid' => ['alice'], 'mail' => ['alice@example.test']],
 'bob:bobpw' => ['uid' => ['bob'], 'mail' => ['bob@example.test']],
 'mallory:mallorypw' => ['uid' => ['mallory'], 'mail' => ['alice@elsewhere.test']],
]];
EOF
cat >"$dir/metadata/saml20-idp-hosted.php" <<EOF
<?php
\$metadata['http://127.0.0.1:$port/idp'] = ['host' => '__DEFAULT__', 'privatekey' => 'idp.key',
 'certificate' => 'idp.crt', 'auth' => 'example-userpass',
 'signature.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
 'NameIDFormat' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress',
 'authproc' => [3 => ['class' => 'saml:AttributeNameID', 'attribute' => 'mail',
  'Format' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress']]];
EOF
cat >"$dir/metadata/saml20-sp-remote.php" <<EOF
<?php
\$metadata['$entity'] = ['AssertionConsumerService' => '$acs', 'saml20.sign.assertion' => true,
 'saml20.sign.response' => true];
EOF
SIMPLESAMLPHP_CONFIG_DIR=$dir exec php -d display_errors=stderr -S "127.0.0.1:$port" -t "$web"
