//! One HTTP answer: status, header fields, content in any framing (RFC 9112 section 6).

use std::io::{self, BufRead, Read as _};
use twinseal_proto::api::{Problem, ProblemCode};

/// Longest answer that is read, in octets.
const MAX_BODY: usize = 1024 * 1024;
/// Longest line of a head.
const MAX_LINE: u64 = 8 * 1024;
/// Most lines of a head.
const MAX_LINES: usize = 100;

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header field; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The refusal in this answer: as certsrv wrote it, else made of the status and the text.
    #[must_use]
    pub fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| {
            let code = match self.status {
                401 => ProblemCode::NotAuthenticated,
                403 => ProblemCode::NotAuthorised,
                404 => ProblemCode::NotFound,
                409 => ProblemCode::Conflict,
                429 => ProblemCode::RateLimited,
                500 | 502 | 504 => ProblemCode::Internal,
                503 => ProblemCode::Unavailable,
                _ => ProblemCode::BadRequest,
            };
            let text = String::from_utf8_lossy(&self.body);
            let line: String =
                text.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).take(200).collect();
            Problem::new(code, format!("HTTP {} {line}", self.status).trim_end())
        })
    }
}

/// Reads one answer. `InvalidData` means that it is not HTTP/1.1 or too large.
pub(super) fn read_response(reader: &mut impl BufRead) -> io::Result<Response> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let first = read_line(reader)?;
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    let status: u16 = status.ok_or_else(wrong)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        headers.push((name.to_lowercase(), value.trim().to_owned()));
        if headers.len() > MAX_LINES {
            return Err(wrong());
        }
    }
    let mut response = Response { status, headers, body: Vec::new() };
    if status < 200 || status == 204 {
        return Ok(response);
    }
    if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = read_line(reader)?;
            let size = size.split(';').next().unwrap_or("").trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| wrong())?;
            read_exactly(reader, size, &mut response.body)?;
            if size == 0 {
                return Ok(response);
            }
            if !read_line(reader)?.is_empty() {
                return Err(wrong());
            }
        }
    }
    match response.header("content-length") {
        Some(length) => {
            let length = length.parse().map_err(|_| wrong())?;
            read_exactly(reader, length, &mut response.body)?;
        }
        None => {
            reader.take(MAX_BODY as u64 + 1).read_to_end(&mut response.body)?;
            if response.body.len() > MAX_BODY {
                return Err(wrong());
            }
        }
    }
    Ok(response)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        let short = line.len() < MAX_LINE as usize - 1;
        return Err(if short { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData }.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn read_exactly(reader: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if body.len().saturating_add(length) > MAX_BODY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let got = reader.take(length as u64).read_to_end(body)?;
    if got < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_are_read_in_all_framings_and_nothing_else_is() {
        let read = |text: &str| read_response(&mut text.as_bytes());
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\nX-Y: z\n\nabc",
        ] {
            assert_eq!(read(text).unwrap().body, b"abc", "{text}");
        }
        for text in [
            "",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 2é OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
