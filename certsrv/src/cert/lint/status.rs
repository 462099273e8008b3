//! Where the certificate says that its status is found, read back octet by octet: clients compare these URIs byte for
//! byte, and a wrong one cannot be called back.

use super::{Extension, value};
use crate::cert::labels;
use crate::cert::profile::{Access, Pointers, StatusSource};
use twinseal_proto::cms::der::{DerError, Fault, NULL, Reader, Tag};

/// Whether the extensions say exactly what the profile does, and nothing when it does not.
pub(super) fn told(extensions: &[Extension<'_>], wanted: &StatusSource) -> bool {
    let points = value(extensions, labels::CRL_DISTRIBUTION_POINTS).map(distribution_point).transpose();
    let ways = value(extensions, labels::AUTHORITY_INFO_ACCESS).map(access).transpose();
    let (Ok(crl), Ok(access)) = (points, ways) else { return false };
    let no_check = value(extensions, labels::OCSP_NO_CHECK);
    match wanted {
        StatusSource::Untold => (crl, access, no_check) == (None, None, None),
        StatusSource::NotChecked => (crl, access, no_check) == (None, None, Some(NULL)),
        StatusSource::Told(pointers) => {
            let found = crl.map(|crl| Pointers { crl, access });
            found.as_ref() == Some(pointers) && no_check.is_none() && absolute(pointers)
        }
    }
}

fn absolute(pointers: &Pointers) -> bool {
    let access = pointers.access.iter().flat_map(|access| [&access.ocsp, &access.issuer]);
    // Plain HTTP: to fetch the status over TLS its certificate's status would be needed first (RFC 5280 section 8).
    std::iter::once(&pointers.crl).chain(access).all(|uri| uri.starts_with("http://"))
}

/// The one URI of the one distribution point.
fn distribution_point(octets: &[u8]) -> Result<String, DerError> {
    Reader::all(octets, "CRLDistributionPoints", |outer| {
        let mut points = outer.enter(Tag::SEQUENCE, "CRLDistributionPoints")?;
        let mut point = points.enter(Tag::SEQUENCE, "DistributionPoint")?;
        points.finish()?;
        let mut name = point.enter(Tag::context_constructed(0), "DistributionPointName")?;
        point.finish()?;
        let mut names = name.enter(Tag::context_constructed(0), "GeneralNames")?;
        name.finish()?;
        let found = uri(&mut names)?;
        names.finish()?;
        Ok(found)
    })
}

/// The OCSP responder and the issuer's certificate, in this order.
fn access(octets: &[u8]) -> Result<Access, DerError> {
    Reader::all(octets, "AuthorityInfoAccess", |outer| {
        let mut list = outer.enter(Tag::SEQUENCE, "AuthorityInfoAccess")?;
        let mut way = |method| {
            let mut one = list.enter(Tag::SEQUENCE, "AccessDescription")?;
            if one.oid()? != method {
                return Err(one.fault(Fault::Value));
            }
            let found = uri(&mut one)?;
            one.finish()?;
            Ok(found)
        };
        let found = Access { ocsp: way(labels::ACCESS_OCSP)?, issuer: way(labels::ACCESS_CA_ISSUERS)? };
        list.finish()?;
        Ok(found)
    })
}

fn uri(reader: &mut Reader<'_>) -> Result<String, DerError> {
    let octets = reader.element(Tag::context(6))?.value;
    let text = std::str::from_utf8(octets).ok().filter(|text| text.bytes().all(|octet| octet.is_ascii_graphic()));
    text.map(str::to_owned).ok_or_else(|| reader.fault(Fault::Value))
}
