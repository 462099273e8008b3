//! What a response must look like before samael sees it (SAML core, SAML profiles section 4.1.4.2): one response with one
//! assertion, every element in its place, every signature over just the element it stands in and of a kind that we
//! trust. Signature wrapping needs a second of something or a place to hide it; here is neither. Pure.

use super::refused::Refused;
use super::xml::{self, Element, Vocabulary};
use Vocabulary::{Assertion, Canonicalization, Protocol, Signature};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use twinseal_proto::time::UnixTime;

/// How far clocks may be apart, in seconds.
pub(super) const SKEW: u64 = 60;
/// How old a response or an assertion may be, in seconds.
pub(super) const ISSUE_DELAY: u64 = 90;

const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// RFC 6931: RSA and ECDSA with SHA-256 and longer.
const SIGNATURE_METHODS: [&str; 6] = [
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
];
const DIGEST_METHODS: [&str; 3] = [
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
];

/// What a response must answer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    /// URL of our assertion consumer service.
    pub(super) acs: &'a str,
    /// Entity id of the pinned identity provider.
    pub(super) idp: &'a str,
    /// ID of the one request that this browser waits with.
    pub(super) request: &'a str,
}

/// What was read on the way, to be compared with what samael finds signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// ID of the assertion.
    pub(super) assertion: String,
    /// Text of the subject's NameID.
    pub(super) name_id: String,
}

/// Checks everything that can be checked without a key. `text` is at most as long as a request body may be.
pub(super) fn check(text: &str, expected: &Expected<'_>, now: UnixTime) -> Result<Shape, Refused> {
    let response = xml::read(text)?;
    if !response.is(Protocol, "Response") {
        return Err(Refused::Structure);
    }
    nothing_encrypted_and_one_assertion(&response)?;
    children(
        &response,
        &[(Assertion, "Issuer"), (Signature, "Signature"), (Protocol, "Status")],
        &[(Assertion, "Assertion")],
    )?;
    let assertion = response.one(Assertion, "Assertion").ok_or(Refused::Assertions)?;
    identifiers(&response, assertion)?;
    let shape = shape_of(assertion)?;
    let mut signed = 0;
    for parent in [&response, assertion] {
        signed += parent.all(Signature, "Signature").map(|own| signature(own, parent)).sum::<Result<usize, _>>()?;
    }
    let mut signatures = 0;
    response.walk(&mut |element| signatures += usize::from(element.name == "Signature"));
    if signatures != signed {
        return Err(Refused::Structure);
    }
    if signed == 0 {
        return Err(Refused::Unsigned);
    }
    head(&response, expected, now)?;
    Ok(shape)
}

/// The response's own attributes. It may be unsigned; the assertion says it all once more.
fn head(response: &Element, expected: &Expected<'_>, now: UnixTime) -> Result<(), Refused> {
    let is = |name: &str, wanted: &str| response.attribute(name) == Some(wanted);
    let status = response.one(Protocol, "Status").and_then(|status| status.one(Protocol, "StatusCode"));
    if status.and_then(|code| code.attribute("Value")) != Some(SUCCESS) {
        return Err(Refused::Status);
    }
    if !is("Version", "2.0") {
        return Err(Refused::Structure);
    }
    if !is("Destination", expected.acs) {
        return Err(Refused::Destination);
    }
    if !is("InResponseTo", expected.request) {
        return Err(Refused::InResponseTo);
    }
    if response.all(Assertion, "Issuer").any(|issuer| issuer.text != expected.idp) {
        return Err(Refused::Issuer);
    }
    let issued = response.attribute("IssueInstant").and_then(instant).ok_or(Refused::IssueInstant)?;
    if fresh(issued, now) { Ok(()) } else { Err(Refused::IssueInstant) }
}

/// Whether something that was made at `issued` may be used at `now`.
pub(super) fn fresh(issued: UnixTime, now: UnixTime) -> bool {
    now <= issued.plus(ISSUE_DELAY) && issued <= now.plus(SKEW)
}

/// An xs:dateTime with a time zone (SAML core section 1.3.3); fractions of seconds are cut off.
fn instant(text: &str) -> Option<UnixTime> {
    let seconds = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp();
    u64::try_from(seconds).ok().map(UnixTime)
}

fn nothing_encrypted_and_one_assertion(response: &Element) -> Result<(), Refused> {
    let (mut encrypted, mut assertions) = (false, 0_usize);
    // By name, whatever the vocabulary: samael does not ask for it everywhere.
    response.walk(&mut |element| {
        encrypted |= element.name.starts_with("Encrypted");
        assertions += usize::from(element.name == "Assertion");
    });
    match (encrypted, assertions) {
        (true, _) => Err(Refused::Encrypted),
        (false, 1) => Ok(()),
        (false, _) => Err(Refused::Assertions),
    }
}

/// Response and assertion have an ID each, and nothing else has one.
fn identifiers(response: &Element, assertion: &Element) -> Result<(), Refused> {
    let mut all = 0_usize;
    response.walk(&mut |element| all += usize::from(element.attribute("ID").is_some()));
    let ids = (response.attribute("ID"), assertion.attribute("ID"));
    match ids {
        (Some(one), Some(other)) if all == 2 && one != other && ncname(one) && ncname(other) => Ok(()),
        _ => Err(Refused::Identifiers),
    }
}

fn ncname(id: &str) -> bool {
    (1..=256).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// `parent` has no children but those of `at_most_one`, `one` and, behind them in the list, the repeated ones.
fn children(parent: &Element, at_most_one: &[(Vocabulary, &str)], more: &[(Vocabulary, &str)]) -> Result<(), Refused> {
    let known = |child: &Element| at_most_one.iter().chain(more).any(|(v, name)| child.is(*v, name));
    let once = |(v, name): &(Vocabulary, &str)| parent.all(*v, name).count() <= 1;
    if parent.children.iter().all(known) && at_most_one.iter().all(once) { Ok(()) } else { Err(Refused::Structure) }
}

fn leaf(element: &Element) -> Result<(), Refused> {
    if element.children.is_empty() { Ok(()) } else { Err(Refused::Structure) }
}

fn shape_of(assertion: &Element) -> Result<Shape, Refused> {
    let once = [(Assertion, "Issuer"), (Signature, "Signature"), (Assertion, "Subject"), (Assertion, "Conditions")];
    children(assertion, &once, &[(Assertion, "AuthnStatement"), (Assertion, "AttributeStatement")])?;
    assertion.one(Assertion, "Issuer").ok_or(Refused::Issuer).and_then(leaf)?;
    let subject = assertion.one(Assertion, "Subject").ok_or(Refused::NameId)?;
    children(subject, &[(Assertion, "NameID"), (Assertion, "SubjectConfirmation")], &[])?;
    let name_id = subject.one(Assertion, "NameID").ok_or(Refused::NameId)?;
    leaf(name_id)?;
    let confirmation = subject.one(Assertion, "SubjectConfirmation").ok_or(Refused::Confirmation)?;
    children(confirmation, &[(Assertion, "SubjectConfirmationData")], &[])?;
    for data in &confirmation.children {
        leaf(data)?;
    }
    let conditions = assertion.one(Assertion, "Conditions").ok_or(Refused::Audience)?;
    children(
        conditions,
        &[(Assertion, "OneTimeUse"), (Assertion, "ProxyRestriction")],
        &[(Assertion, "AudienceRestriction")],
    )?;
    for restriction in conditions.all(Assertion, "AudienceRestriction") {
        children(restriction, &[], &[(Assertion, "Audience")])?;
        restriction.children.iter().try_for_each(leaf)?;
    }
    for statement in assertion.all(Assertion, "AttributeStatement") {
        children(statement, &[], &[(Assertion, "Attribute")])?;
        for attribute in &statement.children {
            children(attribute, &[], &[(Assertion, "AttributeValue")])?;
            attribute.children.iter().try_for_each(leaf)?;
        }
    }
    let assertion = assertion.attribute("ID").ok_or(Refused::Identifiers)?;
    Ok(Shape { assertion: assertion.to_owned(), name_id: name_id.text.clone() })
}

/// One signature (XML Signature section 4): over `parent` and nothing else. Gives 1, to be counted.
fn signature(signature: &Element, parent: &Element) -> Result<usize, Refused> {
    let id = parent.attribute("ID").ok_or(Refused::Identifiers)?;
    children(signature, &[(Signature, "SignedInfo"), (Signature, "SignatureValue"), (Signature, "KeyInfo")], &[])?;
    let info = signature.one(Signature, "SignedInfo").ok_or(Refused::Structure)?;
    signature.one(Signature, "SignatureValue").ok_or(Refused::Structure).and_then(leaf)?;
    // What it says of keys is not read: the keys are those of the pinned metadata. It must hide nothing else.
    let mut strange = false;
    for key_info in signature.all(Signature, "KeyInfo") {
        key_info.walk(&mut |element| {
            strange |= element.vocabulary != Signature || matches!(element.name.as_str(), "RetrievalMethod" | "Object");
        });
    }
    if strange {
        return Err(Refused::Structure);
    }
    let wanted = [(Signature, "CanonicalizationMethod"), (Signature, "SignatureMethod"), (Signature, "Reference")];
    children(info, &wanted, &[])?;
    canonical(info.one(Signature, "CanonicalizationMethod").ok_or(Refused::Algorithm)?, EXCLUSIVE)?;
    listed(info.one(Signature, "SignatureMethod"), &SIGNATURE_METHODS)?;
    let reference = info.one(Signature, "Reference").ok_or(Refused::Reference)?;
    let wanted = [(Signature, "Transforms"), (Signature, "DigestMethod"), (Signature, "DigestValue")];
    children(reference, &wanted, &[])?;
    if reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')) != Some(id) {
        return Err(Refused::Reference);
    }
    listed(reference.one(Signature, "DigestMethod"), &DIGEST_METHODS)?;
    transforms(reference.one(Signature, "Transforms").ok_or(Refused::Algorithm)?)?;
    Ok(1)
}

/// The enveloped signature taken out, then exclusive canonicalisation without comments: exactly these, in this order.
fn transforms(transforms: &Element) -> Result<(), Refused> {
    children(transforms, &[], &[(Signature, "Transform")])?;
    match transforms.children.as_slice() {
        [first, second] => canonical(first, ENVELOPED).and_then(|()| canonical(second, EXCLUSIVE)),
        _ => Err(Refused::Algorithm),
    }
}

/// `method` is this algorithm, with nothing to it but the prefixes that are kept.
fn canonical(method: &Element, algorithm: &str) -> Result<(), Refused> {
    if method.attribute("Algorithm") != Some(algorithm) {
        return Err(Refused::Algorithm);
    }
    children(method, &[(Canonicalization, "InclusiveNamespaces")], &[])?;
    method.children.iter().try_for_each(leaf)
}

/// `method` is one of these, without parameters.
fn listed(method: Option<&Element>, list: &[&str]) -> Result<(), Refused> {
    let method = method.filter(|method| method.children.is_empty()).ok_or(Refused::Algorithm)?;
    match method.attribute("Algorithm") {
        Some(named) if list.contains(&named) => Ok(()),
        _ => Err(Refused::Algorithm),
    }
}
