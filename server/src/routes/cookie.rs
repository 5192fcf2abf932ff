//! The cookie of a session.

use crate::limits::SESSION_LIFE;
use axum::http::{HeaderMap, HeaderValue, header};

const NAME: &str = "polaris_session";
/// Where it is secure: a browser takes one of this name over TLS alone, and from nobody but this host.
const SECURE_NAME: &str = "__Host-polaris_session";

fn name(secure: bool) -> &'static str {
    if secure { SECURE_NAME } else { NAME }
}

/// The one that was sent.
pub fn find(headers: &HeaderMap, secure: bool) -> Option<String> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = sent.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(sent, _)| *sent == name(secure)).map(|(_, value)| value.to_owned())
}

/// Sets it. No script sees it, no other site makes a browser send it, and where browsers speak TLS with
/// us, or with a proxy before us (`secure`), it does not go over anything else.
pub fn set(secret: &str, secure: bool) -> HeaderValue {
    text(secret, SESSION_LIFE.as_secs(), secure)
}

/// Takes it away.
pub fn clear(secure: bool) -> HeaderValue {
    text("", 0, secure)
}

fn text(value: &str, seconds: u64, secure: bool) -> HeaderValue {
    let (name, secure) = (name(secure), if secure { "; Secure" } else { "" });
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).expect("base64url and what stands here are fit for a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_tls_it_stays_within() {
        for (secure, cookie) in [(true, set("s", true)), (false, clear(false))] {
            let text = cookie.to_str().unwrap().to_owned();
            assert!(text.contains("; Path=/;") && text.contains("; HttpOnly; SameSite=Strict"), "{text}");
            assert_eq!(text.ends_with("; Secure"), secure, "{text}");
            assert_eq!(text.starts_with("__Host-"), secure, "{text}");
            let sent: HeaderMap = [(header::COOKIE, cookie)].into_iter().collect();
            assert_eq!((find(&sent, secure).is_some(), find(&sent, !secure)), (true, None));
        }
    }
}
