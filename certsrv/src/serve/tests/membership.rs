//! Membership certificates (L7, L8), and key pairs that the server makes.

use super::harness::{Running, basic, call, certificates, config, groupsrv_changes, key_and_csr, key_digest, serial};
use crate::tests::{address, csr, ec_key, rsa_key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509KeyUsage, X509StoreContext};
use twinseal_proto::api::ProblemCode;
use twinseal_proto::api::admin::certsrv::{
    JoinPolicy, MembersRequest, RemoveMembers, RevocationReason, Revoke, RevokeRequest,
};
use twinseal_proto::api::enrol::{membership_label, path};
use twinseal_proto::api::groups::{Join, ListRequest};
use twinseal_proto::ids::GroupId;
use twinseal_svc::client::Client;
use twinseal_svc::tls::Identity;

const LIST: &str = "team@lists.test";

struct Ann {
    certsrv: Running,
    group: GroupId,
    key: PKey<Private>,
    certificate: X509,
}

impl Ann {
    async fn new(dir: &tempfile::TempDir) -> Self {
        let certsrv = Running::new(dir).await;
        certsrv.account("owner", None).await;
        let key = ec_key();
        let certificate = certsrv.account("ann", Some(&key)).await.unwrap();
        let group = certsrv.group(LIST, "owner", JoinPolicy::Open).await.group;
        certsrv.put_in(LIST, &["ann"]).await;
        Self { certsrv, group, key, certificate }
    }

    async fn ask(&self, pseudonym: bool, csr: &[u8]) -> Result<X509, twinseal_proto::api::Problem> {
        let at = path(&membership_label(&self.group, pseudonym), "simpleenroll");
        self.certsrv.post_as(Some((&self.key, &self.certificate)), &at, csr).await
    }

    /// The serial numbers of which groupsrv was told that they are revoked.
    fn revoked(&self) -> Vec<Vec<u8>> {
        let told = groupsrv_changes(&self.certsrv).into_iter().filter(|(_, kind, _)| kind == "membership-revoked");
        told.flat_map(|(_, _, body)| {
            let all = body["certificates"].as_array().unwrap().clone();
            all.into_iter().map(|one| STANDARD.decode(one["serial"].as_str().unwrap()).unwrap())
        })
        .collect()
    }
}

fn number(certificate: &X509) -> Vec<u8> {
    certificate.serial_number().to_bn().unwrap().to_vec()
}

fn common_name(certificate: &X509) -> String {
    certificate.subject_name().entries().next().unwrap().data().to_string().unwrap()
}

fn uri(certificate: &X509) -> String {
    certificate.subject_alt_names().unwrap().iter().next().unwrap().uri().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_get_certificates_that_name_no_address_and_end_with_the_membership() {
    let dir = tempfile::tempdir().unwrap();
    let ann = Ann::new(&dir).await;
    let certsrv = &ann.certsrv;
    let (rsa, ec) = (rsa_key(2048), ec_key());
    let own = ann.ask(false, &csr(&rsa, &[])).await.unwrap();
    let hidden = ann.ask(true, &csr(&ec, &[])).await.unwrap();
    let member = certsrv.members(LIST).await.into_iter().find(|m| m.address == address("ann")).unwrap();
    let joined = certsrv.app.registry.view().member(&ann.group, &member.address).unwrap().unwrap().joined;
    assert_eq!(common_name(&own), member.handle.to_string());
    assert_eq!(uri(&own), format!("urn:twinseal:member:{}:member:{joined}", ann.group));
    assert_eq!((common_name(&hidden).len(), common_name(&hidden) == common_name(&own)), (32, false));
    assert!(uri(&hidden).starts_with(&format!("urn:twinseal:member:{}:member:", ann.group)));
    let signs = X509KeyUsage::DIGITAL_SIGNATURE;
    assert_eq!(own.key_usage(), Some(signs | X509KeyUsage::KEY_ENCIPHERMENT));
    assert_eq!(hidden.key_usage(), Some(signs | X509KeyUsage::KEY_AGREEMENT));
    for certificate in [&own, &hidden] {
        let text = String::from_utf8(certificate.to_text().unwrap()).unwrap();
        assert!(!text.contains("members.test") && !text.contains("CRL Distribution"), "{text}");
        assert!(text.contains("No Revocation Available") || text.contains("2.5.29.56"), "{text}");
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(certsrv.app.root.clone()).unwrap();
        store.set_purpose(openssl::x509::X509PurposeId::SSL_CLIENT).unwrap();
        let mut chain = Stack::new().unwrap();
        chain.push(certsrv.app.memberships_ca.certificate().clone()).unwrap();
        let mut context = X509StoreContext::new().unwrap();
        let good = context.init(&store.build(), certificate, &chain, |c| c.verify_cert()).unwrap();
        assert!(good, "under the memberships' CA, for TLS clients");
        let life = certificate.not_before().diff(certificate.not_after()).unwrap();
        assert_eq!(life.days, 3);
    }
    // It is nothing at certsrv.
    let join = ListRequest { list: LIST.parse().unwrap() };
    let chain = vec![own.clone(), certsrv.app.memberships_ca.certificate().clone()];
    let identity = Identity::new(rsa.clone(), chain, certsrv.app.root.clone());
    let client = Client::pinned(&certsrv.url, &certsrv.app.root, certsrv.app.pin, Some(&identity)).unwrap();
    assert_eq!(call::<Join>(&client, &join).await.unwrap_err().code, ProblemCode::NotAuthenticated);

    // What is not taken.
    for (what, request) in [
        ("a name", csr(&ec_key(), &["email:ann@members.test"])),
        ("its mail key", csr(&ann.key, &[])),
        ("the same key again", csr(&rsa, &[])),
        ("rubbish", b"rubbish".to_vec()),
    ] {
        assert!(ann.ask(false, &request).await.is_err(), "{what}");
    }
    let label = membership_label(&ann.group, false);
    let (status, ..) = certsrv.est("POST", &format!("{label}/simpleenroll"), &basic("ann"), &csr(&ec_key(), &[])).await;
    assert_eq!(status, 403, "a password is not enough");
    let (status, ..) =
        certsrv.est("POST", &format!("{label}/simplereenroll"), &basic("ann"), &csr(&ec_key(), &[])).await;
    assert_eq!(status, 404);
    assert_eq!(certsrv.plain("GET", &path(&label, "csrattrs"), "", "").await.0, 204);
    let (status, _, body) = certsrv.plain("GET", &path(&label, "cacerts"), "", "").await;
    assert_eq!((status, certificates(&body).len()), (200, 2));

    // One that its member reports as lost, then the rest with the membership.
    let reason = RevocationReason::KeyCompromise;
    certsrv.admin::<Revoke>(&RevokeRequest { serial: serial(&own), reason }).await.unwrap();
    assert_eq!(ann.revoked(), [number(&own)]);
    let third = ann.ask(false, &csr(&ec_key(), &[])).await.unwrap();
    let remove = MembersRequest { list: LIST.parse().unwrap(), addresses: vec![address("ann")] };
    certsrv.admin::<RemoveMembers>(&remove).await.unwrap();
    let mut revoked = ann.revoked().split_off(1);
    let mut wanted = vec![number(&hidden), number(&third)];
    revoked.sort();
    wanted.sort();
    assert_eq!(revoked, wanted);
    assert_eq!(ann.ask(false, &csr(&ec_key(), &[])).await.unwrap_err().code, ProblemCode::NotAuthorised);

    // What groupsrv is told is about no address.
    let told = groupsrv_changes(certsrv).iter().map(|(_, _, body)| body.to_string()).collect::<String>();
    assert!(!told.contains("members.test"), "{told}");
    ann.certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_has_sixteen_certificates_and_loses_them_with_its_live_key() {
    let dir = tempfile::tempdir().unwrap();
    let ann = Ann::new(&dir).await;
    for _ in 0..16 {
        ann.ask(true, &csr(&ec_key(), &[])).await.unwrap();
    }
    let refused = ann.ask(true, &csr(&ec_key(), &[])).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::RateLimited);
    assert!(refused.retry_after.is_some_and(|after| (200_000..=259_200).contains(&after)), "{refused:?}");
    let reason = RevocationReason::PrivilegeWithdrawn;
    ann.certsrv.admin::<Revoke>(&RevokeRequest { serial: serial(&ann.certificate), reason }).await.unwrap();
    assert_eq!(ann.revoked().len(), 16);
    ann.certsrv.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_pair_is_made_where_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let certsrv = Running::new(&dir).await;
    certsrv.account("ann", None).await;
    let (_, request) = key_and_csr("ann");
    let at = "smime/serverkeygen";
    assert_eq!(certsrv.est("POST", at, &basic("ann"), &request).await.0, 404);
    certsrv.stop().await;

    let mut settings = config(&dir);
    settings.server_keygen = true;
    let certsrv = Running::start_with(&dir, settings).await;
    let token = format!("Bearer {}", certsrv.enrol_token("ann").await);
    assert_eq!(certsrv.est("POST", at, &token, &request).await.0, 403, "whoever reads the mail is not sent a key");
    let strange = csr(&ec_key(), &["email:eve@members.test"]);
    assert_eq!(certsrv.est("POST", at, &basic("ann"), &strange).await.0, 403);
    let (status, head, body) = certsrv.est("POST", at, &basic("ann"), &request).await;
    assert_eq!(status, 200, "{body}");
    let (key, certificate) = made(&head, &body);
    assert!(certificate.public_key().unwrap().public_eq(&key));
    assert_eq!(certsrv.current("ann").unwrap().key, key_digest(&key));
    assert_eq!(key.id(), openssl::pkey::Id::EC, "of the sort that the request shows");

    // Over a live key: its holder alone.
    assert_eq!(certsrv.est("POST", at, &basic("ann"), &request).await.0, 409);
    assert!(certsrv.app.registry.view().requests_of(&address("ann")).unwrap().is_empty());
    let own = Some((&key, &certificate));
    // For a membership too (L7), where there is one.
    certsrv.account("owner", None).await;
    let group = certsrv.group(LIST, "owner", JoinPolicy::Open).await.group;
    let at = path(&membership_label(&group, false), "serverkeygen");
    let bare = STANDARD.encode(csr(&ec_key(), &[]));
    assert_eq!(certsrv.plain_as(own, "POST", &at, "", &bare).await.0, 403, "no member");
    certsrv.put_in(LIST, &["ann"]).await;
    let named = STANDARD.encode(&request);
    assert_eq!(certsrv.plain_as(own, "POST", &at, "", &named).await.0, 400);
    let (status, head, body) = certsrv.plain_as(own, "POST", &at, "", &bare).await;
    assert_eq!(status, 200, "{body}");
    let (membership_key, membership) = made(&head, &body);
    assert!(membership.public_key().unwrap().public_eq(&membership_key));
    assert!(uri(&membership).starts_with("urn:twinseal:member:"));
    let rsa = STANDARD.encode(csr(&rsa_key(1024), &["email:ann@members.test"]));
    let at = path("smime", "serverkeygen");
    let (status, head, body) = certsrv.plain_as(own, "POST", &at, "", &rsa).await;
    assert_eq!(status, 200, "{body}");
    let (key, _) = made(&head, &body);
    assert_eq!((key.id(), key.bits()), (openssl::pkey::Id::RSA, 3072), "the key in the request means nothing");
    certsrv.stop().await;
    let audit: String = std::fs::read_dir(config(&dir).state.join("audit"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert_eq!(audit.matches("making-key").count(), 4, "before anything is made, also for the one who was no member");
}

/// The key and the certificate of an answer (RFC 7030 section 4.4.2).
fn made(head: &str, body: &str) -> (PKey<Private>, X509) {
    let (_, boundary) = head.split_once("multipart/mixed; boundary=").unwrap();
    let boundary = boundary.lines().next().unwrap();
    let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
    assert_eq!((parts.len(), parts[0], parts[3].trim()), (4, "", "--"));
    let content = |part: &str, media: &str| {
        let (fields, text) = part.split_once("\r\n\r\n").unwrap();
        assert!(fields.contains(media), "{fields}");
        text.to_owned()
    };
    let pkcs8: String = content(parts[1], "application/pkcs8").split_whitespace().collect();
    let key = PKey::private_key_from_pkcs8(&STANDARD.decode(pkcs8).unwrap()).unwrap();
    let mut found = certificates(&content(parts[2], "application/pkcs7-mime; smime-type=certs-only"));
    (key, found.remove(0))
}
