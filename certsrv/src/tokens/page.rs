//! The page on which a mailbox confirms: static text and one form, no script. It shows nothing that came with the request
//! but a token of the right form, and looking at it changes nothing.

use axum::extract::RawQuery;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use twinseal_proto::api::tokens::{Confirm, Confirmed};
use twinseal_proto::api::{Endpoint, Problem};

/// Where the mail leads to.
pub(super) const PATH: &str = "/confirm";
/// Characters of a token: 32 octets in base64url.
const TOKEN: usize = 43;

/// `GET /confirm`.
pub(super) async fn show(RawQuery(query): RawQuery) -> Response {
    let token = query.as_deref().and_then(token).unwrap_or_default();
    let form = format!(
        "<p>If you want what the mail asks you to confirm, press the button. The token is in the mail.</p>\n\
         <form method=\"post\" action=\"{}\">\n<p><label>Token <input name=\"token\" size=\"{TOKEN}\" \
         maxlength=\"{TOKEN}\" autocomplete=\"off\" required value=\"{token}\"></label></p>\n\
         <p><button type=\"submit\">Confirm</button></p>\n</form>\n",
        Confirm::PATH
    );
    page(StatusCode::OK, &form)
}

/// What came of it.
pub(super) fn answer(done: Result<Confirmed, Problem>) -> Response {
    match done {
        Ok(Confirmed { done: true, .. }) => page(StatusCode::OK, "<p>Confirmed. It is done.</p>\n"),
        Ok(Confirmed { done: false, .. }) => {
            page(StatusCode::OK, "<p>Confirmed. Now an owner of the list has to approve it.</p>\n")
        }
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let text = if status.is_server_error() {
                "<p>This did not work. Please try it again later.</p>\n"
            } else {
                "<p>This was not confirmed: the token is unknown, used or out of time, or what it is for cannot be done any \
                 more. Nothing has changed.</p>\n"
            };
            page(status, text)
        }
    }
}

/// The token in a form or a query, if it has a token's form: nothing else is ever written into the page.
pub(super) fn token(fields: &str) -> Option<&str> {
    let value = fields.split('&').find_map(|field| field.strip_prefix("token="))?;
    let form = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (value.len() == TOKEN && value.bytes().all(form)).then_some(value)
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Confirm</title>\n</head>\n<body>\n\
         <h1>Confirm</h1>\n{body}</body>\n</html>\n"
    );
    let fields = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The address of the page may have the token in it.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, fields, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_is_taken_from_a_query() {
        let good = "A".repeat(43);
        assert_eq!(token(&format!("token={good}")), Some(good.as_str()));
        assert_eq!(token(&format!("a=b&token={good}")), Some(good.as_str()));
        for bad in ["", "token=", "msg=hello", &format!("token={good}A"), &format!("token={}\"", "A".repeat(42))] {
            assert_eq!(token(bad), None, "{bad}");
        }
    }
}
