//! What every answer tells a browser.

use crate::limits::HSTS_SECONDS;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue};

/// Adds them; what a route has said itself stays.
pub fn add(headers: &mut HeaderMap, tls: bool) {
    let own = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // An interface for programs shows nothing, loads nothing and is part of no page.
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (REFERRER_POLICY, "no-referrer"),
        // Answers hold what is for the caller alone.
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in own {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if tls {
        let value = HeaderValue::try_from(format!("max-age={HSTS_SECONDS}")).expect("digits are sound");
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(value);
    }
}
