//! The octets of a response as a small tree, before samael sees them: bounded, namespaces resolved, and without whatever
//! two XML readers may understand differently (document types, comments, processing instructions, CDATA sections,
//! elements of other vocabularies). Pure.

use super::refused::Refused;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, QName, ResolveResult};
use quick_xml::reader::NsReader;

/// Deepest nesting.
const DEPTH: usize = 24;
/// Most elements.
const ELEMENTS: usize = 2_000;
/// Most attributes of an element, namespace declarations included.
const ATTRIBUTES: usize = 24;

/// The vocabularies that a response is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// SAML 2.0 protocol (SAML core section 3).
    Protocol,
    /// SAML 2.0 assertions (SAML core section 2).
    Assertion,
    /// XML Signature.
    Signature,
    /// Exclusive canonicalisation: its list of inclusive prefixes.
    Canonicalization,
}

impl Vocabulary {
    fn of(namespace: &ResolveResult<'_>) -> Option<Self> {
        let ResolveResult::Bound(Namespace(name)) = namespace else { return None };
        match *name {
            b"urn:oasis:names:tc:SAML:2.0:protocol" => Some(Self::Protocol),
            b"urn:oasis:names:tc:SAML:2.0:assertion" => Some(Self::Assertion),
            b"http://www.w3.org/2000/09/xmldsig#" => Some(Self::Signature),
            b"http://www.w3.org/2001/10/xml-exc-c14n#" => Some(Self::Canonicalization),
            _ => None,
        }
    }
}

/// An element with all that is in it.
#[derive(Debug)]
pub(super) struct Element {
    /// Its vocabulary.
    pub(super) vocabulary: Vocabulary,
    /// Its local name.
    pub(super) name: String,
    /// Attributes without a prefix; of the others only that they are harmless is known.
    attributes: Vec<(String, String)>,
    /// The elements in it.
    pub(super) children: Vec<Self>,
    /// Its text; only space where there are children.
    pub(super) text: String,
}

impl Element {
    /// Whether it is this element.
    pub(super) fn is(&self, vocabulary: Vocabulary, name: &str) -> bool {
        self.vocabulary == vocabulary && self.name == name
    }

    /// The attribute without a prefix that has this name.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The children that are this element.
    pub(super) fn all(&self, vocabulary: Vocabulary, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.is(vocabulary, name))
    }

    /// The one child that is this element; `None` when there is none or a second.
    pub(super) fn one(&self, vocabulary: Vocabulary, name: &str) -> Option<&Self> {
        let mut found = self.all(vocabulary, name);
        found.next().filter(|_| found.next().is_none())
    }

    /// This element and all below it.
    pub(super) fn walk<'a>(&'a self, see: &mut dyn FnMut(&'a Self)) {
        see(self);
        for child in &self.children {
            child.walk(see);
        }
    }
}

/// Reads a document.
pub(super) fn read(text: &str) -> Result<Element, Refused> {
    if !text.starts_with('<') || !text.chars().all(allowed) {
        return Err(Refused::NotXml);
    }
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0_usize;
    let mut first = true;
    loop {
        let event = reader.read_event().map_err(|_| Refused::NotXml)?;
        match event {
            Event::Start(start) => {
                elements += 1;
                if open.len() >= DEPTH || elements > ELEMENTS || root.is_some() {
                    return Err(Refused::NotXml);
                }
                open.push(element(&start, reader.resolver())?);
            }
            Event::End(_) => {
                let done = open.pop().ok_or(Refused::NotXml)?;
                if !done.children.is_empty() && !done.text.trim().is_empty() {
                    return Err(Refused::Structure);
                }
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            Event::Text(piece) => {
                let piece = piece.xml10_content().map_err(|_| Refused::NotXml)?;
                match open.last_mut() {
                    Some(_) if piece.contains("]]>") => return Err(Refused::NotXml),
                    Some(element) => element.text.push_str(&piece),
                    None if piece.trim().is_empty() => {}
                    None => return Err(Refused::NotXml),
                }
            }
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref().map_err(|_| Refused::NotXml)? {
                    Some(character) => character,
                    None => predefined(&reference).ok_or(Refused::NotXml)?,
                };
                if !allowed(character) {
                    return Err(Refused::NotXml);
                }
                open.last_mut().ok_or(Refused::NotXml)?.text.push(character);
            }
            Event::Decl(declaration) if first => {
                let utf8 = declaration
                    .encoding()
                    .is_none_or(|named| named.is_ok_and(|named| named.eq_ignore_ascii_case(b"utf-8")));
                if !utf8 || declaration.version().map_err(|_| Refused::NotXml)?.as_ref() != b"1.0" {
                    return Err(Refused::NotXml);
                }
            }
            // Empty elements come as start and end.
            Event::Decl(_) | Event::Empty(_) => return Err(Refused::NotXml),
            Event::DocType(_) => return Err(Refused::Doctype),
            Event::Comment(_) | Event::PI(_) | Event::CData(_) => return Err(Refused::Comment),
            Event::Eof => break,
        }
        first = false;
    }
    root.filter(|_| open.is_empty()).ok_or(Refused::NotXml)
}

/// A character that XML 1.0 section 2.2 allows.
const fn allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// XML 1.0 section 4.6; there are no other entities without a document type.
fn predefined(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => None,
    }
}

fn element(start: &BytesStart<'_>, resolver: &NamespaceResolver) -> Result<Element, Refused> {
    let (namespace, local) = resolver.resolve_element(start.name());
    let vocabulary = Vocabulary::of(&namespace).ok_or(Refused::Structure)?;
    // Counted before they are compared with each other.
    if start.attributes().with_checks(false).count() > ATTRIBUTES {
        return Err(Refused::NotXml);
    }
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| Refused::NotXml)?;
        if attribute.value.contains(&b'<') {
            return Err(Refused::NotXml);
        }
        let (namespace, own) = resolver.resolve_attribute(attribute.key);
        let own = name(own.as_ref())?;
        let value =
            attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).map_err(|_| Refused::NotXml)?.into_owned();
        if !value.chars().all(allowed) {
            return Err(Refused::NotXml);
        }
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let unprefixed = attribute.key.prefix().is_none();
        // XML Signature looks for targets by attributes of such names, xml:id among them; ours is the SAML one alone.
        if own.eq_ignore_ascii_case("id") && !(unprefixed && own == "ID") {
            return Err(Refused::Identifiers);
        }
        match namespace {
            ResolveResult::Unbound if unprefixed => attributes.push((own, value)),
            // Such as xsi:type.
            ResolveResult::Bound(Namespace(space)) if space != b"http://www.w3.org/XML/1998/namespace" => {}
            _ => return Err(Refused::Structure),
        }
    }
    name(prefix(start.name()))?;
    Ok(Element { vocabulary, name: name(local.as_ref())?, attributes, children: Vec::new(), text: String::new() })
}

fn prefix<'a>(whole: QName<'a>) -> &'a [u8] {
    whole.prefix().map_or(b"none", |prefix| prefix.into_inner())
}

/// Names in ASCII and without further colons: more than any response uses.
fn name(octets: &[u8]) -> Result<String, Refused> {
    let first = octets.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    let rest = octets.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    let text = std::str::from_utf8(octets).ok().filter(|_| first && rest).ok_or(Refused::NotXml)?;
    Ok(text.to_owned())
}
