//! What a signed assertion must say before somebody is let in (SAML profiles section 4.1.4.3). samael checks much of it
//! too, against its own clock and more leniently; here every rule stands once more, with the time as an argument. Pure.

use super::refused::Refused;
use super::structure::{Expected, ISSUE_DELAY, SKEW, Shape, fresh};
use samael::schema::{Assertion, Conditions, SubjectConfirmationData, SubjectNameID};
use twinseal_proto::encoding::Digest;
use twinseal_proto::ids::MailAddress;
use twinseal_proto::time::UnixTime;

const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
/// Kinds of names that stay the same for a person (SAML core section 8.3).
const NAME_FORMATS: [&str; 2] =
    ["urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"];
/// Longest name (SAML core section 8.3.7).
const MAX_NAME: usize = 256;

/// Who we are and whom we believe what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    /// What the response must answer to.
    pub(super) expected: Expected<'a>,
    /// Our own entity id: the audience.
    pub(super) audience: &'a str,
    /// Name of the attribute that carries the address.
    pub(super) mail_attribute: &'a str,
    /// Domains, in lower case, that the identity provider may speak for.
    pub(super) mail_domains: &'a [String],
}

/// Somebody who logged in at the identity provider.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    /// ID of the assertion, which is good once.
    pub(super) assertion: String,
    /// From when on the assertion is refused for its age: until then its ID is remembered.
    pub(super) until: UnixTime,
    /// SHA-256 of identity provider, kind of name and name: what an account is bound to.
    pub(super) subject: Digest,
    /// The address that the identity provider vouches for.
    pub(super) mail: MailAddress,
}

/// Judges an assertion whose signature was verified. `shape` is what was seen before samael read it.
pub(super) fn judge(
    assertion: &Assertion,
    shape: &Shape,
    rules: &Rules<'_>,
    now: UnixTime,
) -> Result<Verified, Refused> {
    if assertion.id != shape.assertion || assertion.version != "2.0" {
        return Err(Refused::Structure);
    }
    if assertion.issuer.value.as_deref() != Some(rules.expected.idp) {
        return Err(Refused::Issuer);
    }
    let issued = time(assertion.issue_instant.timestamp());
    if !fresh(issued, now) {
        return Err(Refused::IssueInstant);
    }
    let subject = assertion.subject.as_ref().ok_or(Refused::NameId)?;
    let conditions_end = conditions(assertion.conditions.as_ref().ok_or(Refused::Audience)?, rules.audience, now)?;
    let confirmations = subject.subject_confirmations.as_deref().unwrap_or_default();
    let [confirmation] = confirmations else { return Err(Refused::Confirmation) };
    let data = confirmation
        .subject_confirmation_data
        .as_ref()
        .filter(|_| confirmation.method.as_deref() == Some(BEARER))
        .ok_or(Refused::Confirmation)?;
    let end = confirmed(data, &rules.expected, now)?;
    logged_in(assertion, now)?;
    let name = name(subject.name_id.as_ref().ok_or(Refused::NameId)?, shape)?;
    Ok(Verified {
        assertion: assertion.id.clone(),
        until: conditions_end.map_or(end, |other| end.min(other)).plus(SKEW).min(issued.plus(ISSUE_DELAY + 1)),
        // XML has no NUL, so the joints are unambiguous.
        subject: Digest::of_parts(&[
            b"twinseal saml subject\0",
            rules.expected.idp.as_bytes(),
            b"\0",
            name.0.as_bytes(),
            b"\0",
            name.1.as_bytes(),
        ]),
        mail: mail(assertion, rules)?,
    })
}

fn time(seconds: i64) -> UnixTime {
    UnixTime(u64::try_from(seconds).unwrap_or_default())
}

/// Whether `now` is before `start` or at or behind `end`, clocks being as far apart as they may.
fn out_of_time(start: Option<UnixTime>, end: Option<UnixTime>, now: UnixTime) -> bool {
    start.is_some_and(|start| now.plus(SKEW) < start) || end.is_some_and(|end| now >= end.plus(SKEW))
}

/// SAML core section 2.5.1: each restriction must be met. Gives the end.
fn conditions(conditions: &Conditions, audience: &str, now: UnixTime) -> Result<Option<UnixTime>, Refused> {
    let restrictions = conditions.audience_restrictions.as_deref().unwrap_or_default();
    let met = restrictions.iter().all(|one| one.audience.iter().any(|named| named == audience));
    if restrictions.is_empty() || !met {
        return Err(Refused::Audience);
    }
    let start = conditions.not_before.map(|at| time(at.timestamp()));
    let end = conditions.not_on_or_after.map(|at| time(at.timestamp()));
    if out_of_time(start, end, now) { Err(Refused::Time) } else { Ok(end) }
}

/// SAML profiles section 4.1.4.2. Gives the end, which is a must.
fn confirmed(data: &SubjectConfirmationData, expected: &Expected<'_>, now: UnixTime) -> Result<UnixTime, Refused> {
    let end = data.not_on_or_after.map(|at| time(at.timestamp())).ok_or(Refused::Confirmation)?;
    if data.recipient.as_deref() != Some(expected.acs) {
        return Err(Refused::Destination);
    }
    if data.in_response_to.as_deref() != Some(expected.request) {
        return Err(Refused::InResponseTo);
    }
    let start = data.not_before.map(|at| time(at.timestamp()));
    if out_of_time(start, Some(end), now) { Err(Refused::Time) } else { Ok(end) }
}

fn logged_in(assertion: &Assertion, now: UnixTime) -> Result<(), Refused> {
    let statements = assertion.authn_statements.as_deref().unwrap_or_default();
    if statements.is_empty() || statements.iter().any(|one| one.authn_context.is_none()) {
        return Err(Refused::AuthnStatement);
    }
    let over = |at: i64| out_of_time(None, Some(time(at)), now);
    if statements.iter().any(|one| one.session_not_on_or_after.is_some_and(|end| over(end.timestamp()))) {
        return Err(Refused::Time);
    }
    Ok(())
}

/// Kind and name; the name as both readers saw it.
fn name<'a>(name_id: &'a SubjectNameID, shape: &Shape) -> Result<(&'a str, &'a str), Refused> {
    let format = name_id.format.as_deref().filter(|format| NAME_FORMATS.contains(format)).ok_or(Refused::NameId)?;
    let name = name_id.value.as_str();
    let sound = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    if sound && name == shape.name_id { Ok((format, name)) } else { Err(Refused::NameId) }
}

fn mail(assertion: &Assertion, rules: &Rules<'_>) -> Result<MailAddress, Refused> {
    let mut found = assertion
        .attribute_statements
        .iter()
        .flatten()
        .flat_map(|statement| &statement.attributes)
        .filter(|attribute| attribute.name.as_deref() == Some(rules.mail_attribute));
    let only = found.next().filter(|_| found.next().is_none()).ok_or(Refused::MailAttribute)?;
    let [value] = only.values.as_slice() else { return Err(Refused::MailAttribute) };
    let address: MailAddress =
        value.value.as_deref().and_then(|text| text.parse().ok()).ok_or(Refused::MailAttribute)?;
    if !rules.mail_domains.iter().any(|domain| domain == address.domain()) {
        return Err(Refused::MailDomain);
    }
    Ok(address)
}
