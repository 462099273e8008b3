//! What a browser is shown: redirections, and one page for every refusal. Nothing that came in is shown again.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// The one page for every refusal: that the log-in failed, and the name of the event in the log.
pub(super) fn refused(status: StatusCode, event: &str) -> Response {
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Not logged in</title></head>\n\
         <body><h1>Not logged in</h1><p>The log-in failed. Begin again from your program. If it fails again, give your \
         administrator this event: {event}</p></body></html>\n"
    );
    guarded((status, Html(page)).into_response())
}

/// Sends the browser elsewhere with a GET (RFC 9110 section 15.4.4).
pub(super) fn see_other(location: &str, cookie: Option<&str>) -> Option<Response> {
    let mut fields = HeaderMap::new();
    fields.insert(header::LOCATION, HeaderValue::from_str(location).ok()?);
    if let Some(cookie) = cookie {
        fields.insert(header::SET_COOKIE, HeaderValue::from_str(cookie).ok()?);
    }
    Some(guarded((StatusCode::SEE_OTHER, fields).into_response()))
}

fn guarded(mut response: Response) -> Response {
    let fields = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fields {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
