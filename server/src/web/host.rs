//! Against DNS rebinding: a page in an operator's browser that has its own name
//! mean 127.0.0.1 would reach a listener on loopback. It cannot help that the
//! browser says this name; so there calls are for the names that we know.

use crate::problem::Problem;
use axum::http::{HeaderMap, StatusCode, Uri, header, uri::Authority};
use std::net::IpAddr;

/// Refuses a call that is for another name than an address, localhost or one of `names`. Without
/// any it passes: no browser leaves it out.
pub fn check(uri: &Uri, headers: &HeaderMap, names: &[String]) -> Result<(), Problem> {
    let told = headers.get_all(header::HOST).iter().map(|value| value.to_str().unwrap_or_default());
    for host in uri.authority().map(Authority::as_str).into_iter().chain(told) {
        if !is_ours(host, names) {
            let reason = "this server has no such name; by plain HTTP it is an address, localhost, \
                          or one of [web] names in the configuration";
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, reason));
        }
    }
    Ok(())
}

fn is_ours(host: &str, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.');
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_ours_pass() {
        let names = ["polaris.example.com".to_owned()];
        for fine in [
            "127.0.0.1",
            "127.0.0.1:8180",
            "[::1]:8180",
            "[::1]",
            "192.0.2.7",
            "localhost:1",
            "LOCALHOST",
            "Polaris.example.com:443",
            "polaris.example.com.",
        ] {
            assert!(is_ours(fine, &names), "{fine}");
        }
        for not in ["evil.example.com", "", "127.0.0.1.evil.com:8180", "localhost.evil.com", "a b", "::1"] {
            assert!(!is_ours(not, &names), "{not}");
        }
    }
}
