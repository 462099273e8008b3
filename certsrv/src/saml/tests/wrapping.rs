//! Signature wrapping: a sound signature over what the identity provider said of Ann, moved to where a reader might take
//! it for one over what is said of Eve (Somorovsky et al., "On Breaking SAML", 2012: XSW 1 to 8), and its later kin.

use super::super::refused::Refused;
use super::idp::{Answer, TestIdp};
use super::{saml, verify};

/// The parts that wrapped responses are made of.
struct Parts {
    answer: Answer,
    /// Signed: Ann's.
    assertion: String,
    /// Its signature.
    signature: String,
    /// It without its signature.
    bare: String,
    /// Eve's, with another ID, with `{}` where a signature belongs.
    evil: String,
}

fn parts() -> Parts {
    let answer = Answer::default();
    let assertion = TestIdp::trusted().signed_assertion(&answer);
    let (signature, bare) = cut(&assertion);
    let eve = Answer {
        id: "_evil".into(),
        name_id: "subject-eve".into(),
        mail: "eve@members.test".into(),
        ..Answer::default()
    };
    Parts { answer, assertion, signature, bare, evil: eve.assertion("{}") }
}

/// The first signature of `text`, and `text` without it.
fn cut(text: &str) -> (String, String) {
    let end = "</ds:Signature>";
    let (from, to) = (text.find("<ds:Signature ").unwrap(), text.find(end).unwrap() + end.len());
    (text[from..to].to_owned(), format!("{}{}", &text[..from], &text[to..]))
}

/// `signature` with `inside` before its end.
fn around(signature: &str, inside: &str) -> String {
    signature.replace("</ds:Signature>", &format!("{inside}</ds:Signature>"))
}

#[test]
fn wrapped_responses_are_refused() {
    let idp = TestIdp::trusted();
    let saml = saml(idp);
    let Parts { answer, assertion, signature, bare, evil } = parts();
    let plain = evil.replace("{}", "");
    let own = |inside: &str| answer.response("", inside);
    // For 1 and 2 the response is what is signed.
    let signed = idp.response_signed(&answer);
    let (response_signature, original) = cut(&signed);
    let forged = original.replace("_response", "_forged").replace("subject-7", "subject-eve");
    let place = |text: &str, inside: &str| text.replacen("<samlp:Status>", &format!("{inside}<samlp:Status>"), 1);
    let object = |inside: &str| format!("<ds:Object>{inside}</ds:Object>");
    let extensions = |inside: &str| place(&own(&assertion), &format!("<samlp:Extensions>{inside}</samlp:Extensions>"));
    let table = [
        ("XSW 1", place(&forged, &around(&response_signature, &original))),
        ("XSW 2", place(&forged, &format!("{original}{response_signature}"))),
        ("XSW 3", own(&format!("{plain}{assertion}"))),
        ("XSW 3, behind", own(&format!("{assertion}{plain}"))),
        ("XSW 4", own(&plain.replace("</saml:Assertion>", &format!("{assertion}</saml:Assertion>")))),
        ("XSW 5", own(&format!("{}{bare}", evil.replace("{}", &signature)))),
        ("XSW 6", own(&evil.replace("{}", &around(&signature, &bare)))),
        ("XSW 7", extensions(&plain)),
        ("XSW 7, same ID", extensions(&plain.replace("_evil", "_assertion"))),
        ("XSW 8", own(&evil.replace("{}", &around(&signature, &object(&bare))))),
        ("in KeyInfo", own(&evil.replace("{}", &signature.replace("</ds:KeyInfo>", &format!("{bare}</ds:KeyInfo>"))))),
    ];
    for (name, response) in table {
        let refused = verify(&saml, &response).unwrap_err();
        assert!(matches!(refused, Refused::Assertions | Refused::Structure), "{name}: {refused:?}");
        // Were the reader before it not there, samael would still not take Eve's for signed.
        let taken = saml.idp.provider.parse_xml_response(&response, Some(&[super::idp::REQUEST]));
        let name_id = taken.ok().and_then(|assertion| assertion.subject?.name_id);
        assert!(name_id.is_none_or(|name_id| name_id.value == "subject-7"), "{name}");
    }
}

#[test]
fn signatures_elsewhere_than_in_what_they_sign_are_refused() {
    let idp = TestIdp::trusted();
    let saml = saml(idp);
    let Parts { answer, assertion, signature, evil, .. } = parts();
    let plain = evil.replace("{}", "");
    // The identity provider signed a failure; the decoy is its signature once more over an assertion of Eve's own.
    let failed = idp.response_signed(&Answer { status: "Responder".into(), ..Answer::default() });
    let (error_signature, _) = cut(&failed);
    let table = [
        ("sound signature, forged ID", answer.response("", &evil.replace("{}", &signature)), Refused::Reference),
        ("on the response", answer.response(&signature, &plain), Refused::Reference),
        (
            "decoy on a signed failure",
            answer.response(&error_signature, &evil.replace("{}", &error_signature)),
            Refused::Reference,
        ),
        ("two on a response", failed.replacen(&error_signature, &error_signature.repeat(2), 1), Refused::Structure),
        (
            "two on an assertion",
            answer.response("", &assertion.replacen(&signature, &signature.repeat(2), 1)),
            Refused::Structure,
        ),
        (
            "a second reference",
            {
                let from = assertion.find("<ds:Reference").unwrap();
                let to = assertion.find("</ds:SignedInfo>").unwrap();
                answer.response("", &assertion.replace(&assertion[from..to], &assertion[from..to].repeat(2)))
            },
            Refused::Structure,
        ),
        (
            "in the status",
            answer.response("", &assertion).replace("</samlp:Status>", &format!("{signature}</samlp:Status>")),
            Refused::Structure,
        ),
        (
            "in a statement",
            answer
                .response("", &assertion)
                .replace("</saml:AuthnContext>", &format!("</saml:AuthnContext>{signature}")),
            Refused::Structure,
        ),
        (
            "same ID for another",
            {
                answer.response(
                    "",
                    &plain.replace("_evil", "_assertion").replacen(
                        "<saml:Subject>",
                        &format!("{signature}<saml:Subject>"),
                        1,
                    ),
                )
            },
            Refused::Signature,
        ),
    ];
    for (name, response, wanted) in table {
        assert_eq!(verify(&saml, &response), Err(wanted), "{name}");
    }
}
