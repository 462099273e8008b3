//! A mail of certsrv's own as it goes over the wire: fields (RFC 5322), what keeps programs from answering (RFC 3834),
//! and a body of ASCII text, or one signed with S/MIME (RFC 8551 section 3.5.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use twinseal_proto::ids::{ListAddress, MailAddress, NoticeId};
use twinseal_proto::time::UnixTime;

/// Everything that a mail says. All texts are ASCII without control characters, except for the body's line feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter<'a> {
    /// Its name: the same at each try, so that a mail that came twice can be told.
    pub(crate) id: NoticeId,
    /// When it is sent.
    pub(crate) at: UnixTime,
    /// The name before the address that it is from.
    pub(crate) name: &'a str,
    /// The address that it is from.
    pub(crate) from: &'a MailAddress,
    /// Where answers go, if not there.
    pub(crate) reply_to: Option<&'a MailAddress>,
    /// Its one recipient.
    pub(crate) to: &'a MailAddress,
    /// The list that it is about, for readers' filters.
    pub(crate) list: Option<&'a ListAddress>,
    /// The domain of its Message-ID.
    pub(crate) domain: &'a str,
    /// What it is about.
    pub(crate) subject: &'a str,
    /// Lines, each ended by a line feed.
    pub(crate) body: &'a str,
}

impl Letter<'_> {
    /// The whole message, unsigned.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let mut message = self.fields();
        message.push_str(&self.entity());
        message.into_bytes()
    }

    /// The MIME entity that is signed: canonical, 7-bit, lines ended by CRLF.
    pub(crate) fn entity(&self) -> String {
        format!(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{}",
            self.body.replace('\n', "\r\n")
        )
    }

    /// The whole message with `signature`, a DER SignedData over [`Self::entity`] by SHA-256.
    pub(crate) fn signed(&self, signature: &[u8]) -> Vec<u8> {
        // No line of our texts begins with dashes.
        let boundary = format!("--=_{}", self.id);
        let mut message = self.fields();
        let _ = write!(
            message,
            "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n micalg=sha-256; \
             boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n{}\r\n--{boundary}\r\nContent-Type: \
             application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=smime.p7s\r\n\r\n",
            self.entity()
        );
        let text = STANDARD.encode(signature);
        for line in text.as_bytes().chunks(76) {
            message.push_str(&String::from_utf8_lossy(line));
            message.push_str("\r\n");
        }
        let _ = write!(message, "--{boundary}--\r\n");
        message.into_bytes()
    }

    fn fields(&self) -> String {
        let mut fields = format!(
            "Date: {}\r\nFrom: \"{}\" <{}>\r\nTo: <{}>\r\nSubject: {}\r\nMessage-ID: <{}@{}>\r\nAuto-Submitted: \
             auto-generated\r\nMIME-Version: 1.0\r\n",
            self.at.rfc5322(),
            self.name,
            self.from,
            self.to,
            self.subject,
            self.id,
            self.domain
        );
        if let Some(address) = self.reply_to {
            let _ = write!(fields, "Reply-To: <{address}>\r\n");
        }
        if let Some(list) = self.list {
            let _ = write!(fields, "List-Id: <{}>\r\n", list.list_id());
        }
        fields
    }
}
