use super::*;
use crate::agents::samples::host;
use std::net::SocketAddr;
use tempfile::TempDir;

const NOW: EpochMs = 1_795_000_000_000;

/// A link whose host's certificate is to be renewed from then on.
fn link(renewed_from: EpochMs) -> Arc<Link> {
    let host = host(3);
    let certificate = Certificate { expires: NOW + 1, serial: "1".into() };
    let shown = Parsed { host: host.id, certificate, renewed_from };
    Arc::new(Link::new(host, SocketAddr::from(([127, 0, 0, 1], 1))).with(Renewal::of(shown)))
}

fn said(link: &Link) -> Option<serde_json::Value> {
    link.pop().map(|frame| serde_json::from_slice(&frame).unwrap())
}

fn request() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap()
}

fn authority() -> (TempDir, Authority) {
    let dir = TempDir::new().unwrap();
    let authority = Authority::open(dir.path(), None).unwrap();
    (dir, authority)
}

#[test]
fn an_agent_is_asked_when_it_is_time_and_a_silent_one_once_a_day() {
    let link = link(NOW);
    let day = clock::ms(RENEWAL_UNANSWERED);
    for (at, asked) in [
        (NOW - 1, false),
        (NOW, true),
        (NOW + 1, false),
        (NOW + day - 1, false),
        (NOW + day, true),
        (NOW + day + 1, false),
    ] {
        assert_eq!(ask_if_due(&link, at), asked, "{}", at - NOW);
        assert_eq!(said(&link).is_some(), asked);
    }
}

#[test]
fn a_question_is_worth_one_signature() {
    let (_dir, authority) = authority();
    let link = link(NOW);
    let csr = request();
    sign(&authority, 30, &link, Ok(csr.clone()));
    assert_eq!(said(&link), None, "nobody has asked");
    assert!(ask_if_due(&link, NOW));
    assert_eq!(said(&link).unwrap(), serde_json::json!({"method": "renew"}));
    sign(&authority, 30, &link, Ok(csr.clone()));
    let answer = said(&link).unwrap();
    let cert = rustls_pem(answer["cert"].as_str().unwrap());
    let parsed = Parsed::of(&cert).unwrap();
    assert_eq!(parsed.host, link.host.id, "the link's, whatever the request says");
    let days = (parsed.certificate.expires - clock::now()) / 86_400_000;
    assert!((29..=30).contains(&days), "{days}");
    sign(&authority, 30, &link, Ok(csr));
    assert_eq!(said(&link), None, "asked once");
}

fn rustls_pem(text: &str) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
}

#[test]
fn what_cannot_be_signed_is_said_and_tried_again_in_an_hour() {
    let (_dir, authority) = authority();
    let rsa = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    for (csr, reason) in [
        (Err("disk \u{1b}full".to_owned()), "the agent said: disk \\u{1b}full"),
        (Ok("x".repeat(MAX_CSR_BYTES + 1)), "csr: must be at most 16384 bytes, got 16385"),
        (Ok("nonsense".into()), "csr: not a certificate signing request"),
        (Ok(rsa.into()), "csr: not a certificate signing request"),
    ] {
        let link = link(NOW);
        assert!(ask_if_due(&link, NOW));
        said(&link);
        sign(&authority, 30, &link, csr);
        let error = said(&link).unwrap()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with(reason), "{error} should be {reason}");
        let again = link.renewal().due - clock::now();
        assert!((1..=clock::ms(RENEWAL_RETRY)).contains(&again), "{again}");
    }
}

#[test]
fn nothing_is_signed_for_a_host_that_was_revoked() {
    let (_dir, authority) = authority();
    let link = link(NOW);
    assert!(ask_if_due(&link, NOW));
    said(&link);
    link.host.revoke();
    sign(&authority, 30, &link, Ok(request()));
    let answer = said(&link).unwrap();
    assert_eq!(answer, serde_json::json!({"method": "renewed", "error": "this host was revoked"}));
    assert!(link.renewal().signed.is_none());
}

#[test]
fn a_link_that_is_about_to_end_is_told_nothing_more() {
    let link = link(NOW);
    link.order(crate::agents::link::Order::Leave("away".into()));
    assert!(ask_if_due(&link, NOW));
    assert_eq!(said(&link), None);
}
