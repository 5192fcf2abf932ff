//! The host's identity: what its files say, and whether they belong together.

use crate::machine::ConnectionEnd;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(in crate::reactor) const CERT: &str = "cert.pem";
pub(in crate::reactor) const KEY: &str = "key.pem";
/// The certificate of a key that is in its place already, until it is in its own: see
/// [`crate::reactor::renew`].
pub(in crate::reactor) const NEW_CERT: &str = "cert.pem.new";

/// The year 10000, before which every certificate ends.
const AFTER_ALL: Duration = Duration::from_secs(253_402_300_800);

/// The common name of the first certificate in a PEM file: the host id.
///
/// # Errors
/// A sentence with the file's name.
pub fn common_name(cert_pem: &Path) -> Result<String, String> {
    let shown = cert_pem.display();
    let cert = CertificateDer::from_pem_file(cert_pem).map_err(|e| format!("{shown}: {e}"))?;
    subjects_name(&cert).map_err(|e| format!("{shown}: {e}"))
}

/// When the first certificate in a PEM file ends; `None` where it is none.
pub fn certificate_end(cert_pem: &Path) -> Option<SystemTime> {
    let cert = CertificateDer::from_pem_file(cert_pem).ok()?;
    end(&cert).map(|end| UNIX_EPOCH + end)
}

/// Whether a PEM certificate is this host's and of this PEM key, so that one
/// which would never work does not take the place of one that does.
///
/// # Errors
/// What is wrong with it.
pub fn identity_fits(cert_pem: &str, key_pem: &str, host_id: &str) -> Result<(), String> {
    let cert = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|e| e.to_string())?;
    let name = subjects_name(&cert)?;
    if name != host_id {
        return Err(format!("it is {name:?}'s"));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|e| e.to_string())?;
    CertifiedKey::from_der(vec![cert], key, &ring::default_provider()).map_err(|e| e.to_string())?;
    Ok(())
}

/// The SHA-256 of a PEM certificate's DER; `None` where it is none.
pub fn fingerprint(cert_pem: &str) -> Option<[u8; 32]> {
    let cert = CertificateDer::from_pem_slice(cert_pem.as_bytes()).ok()?;
    Some(super::sha256(&cert))
}

/// When a PEM certificate ends, if the CA whose PEM certificate this is has signed it for a host.
///
/// # Errors
/// What is wrong with it.
pub(in crate::reactor) fn signed_until(cert_pem: &str, ca_pem: &str) -> Result<SystemTime, String> {
    let cert = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|e| e.to_string())?;
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|e| format!("ca.pem: {e}"))?;
    let anchor = webpki::anchor_from_trusted_cert(&ca).map_err(|e| format!("ca.pem: {e}"))?;
    let ends = end(&cert).ok_or("it does not say when it ends")?;
    let cert = webpki::EndEntityCert::try_from(&cert).map_err(|e| e.to_string())?;
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    // At its end: the server's clock is the one that counts, and ours may be far behind it.
    let (at, usage) = (UnixTime::since_unix_epoch(ends), webpki::KeyUsage::client_auth());
    cert.verify_for_usage(algorithms, &[anchor], &[], at, usage, None, None).map_err(|e| e.to_string())?;
    Ok(UNIX_EPOCH + ends)
}

/// What the server means that takes the host's certificate for expired.
pub(super) fn expired(dir: &Path, now: SystemTime) -> ConnectionEnd {
    let path = dir.join(CERT);
    let ends = CertificateDer::from_pem_file(&path).ok().and_then(|cert| end(&cert));
    let said = match ends.map(|ends| UNIX_EPOCH + ends) {
        Some(ends) if ends <= now => {
            format!("certificate expired on {}: enrol anew (gearman --enroll)", rfc3339(ends))
        }
        Some(ends) => format!(
            "the server does not take it for valid now, though it ends on {}: \
             compare both clocks, or enrol anew",
            rfc3339(ends)
        ),
        None => "the server says that the certificate expired: enrol anew (gearman --enroll)".into(),
    };
    ConnectionEnd::Identity(format!("{}: {said}", path.display()))
}

pub(in crate::reactor) fn rfc3339(time: SystemTime) -> impl Display {
    humantime::format_rfc3339_seconds(time)
}

/// The CA that is trusted.
pub(super) fn roots(dir: &Path) -> Result<RootCertStore, ConnectionEnd> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(dir, "ca.pem")? {
        roots.add(certificate).map_err(|e| trouble(dir, "ca.pem", &e))?;
    }
    Ok(roots)
}

/// The host's certificate with its key.
pub(super) fn own(provider: &CryptoProvider, dir: &Path) -> Result<CertifiedKey, ConnectionEnd> {
    let load = || {
        certified(provider, dir, CERT)
            // The change of both was cut short.
            .or_else(|reason| certified(provider, dir, NEW_CERT).map_err(|_| reason))
    };
    // A change may go on between one file and the other.
    load().or_else(|_| load())
}

/// Whether the certificate in this file is of the key in `key.pem`.
pub(in crate::reactor) fn fits(dir: &Path, cert: &str) -> bool {
    certified(&ring::default_provider(), dir, cert).is_ok()
}

fn certified(provider: &CryptoProvider, dir: &Path, cert: &str) -> Result<CertifiedKey, ConnectionEnd> {
    let path = dir.join(KEY);
    let mode = fs::metadata(&path).map_err(|e| trouble(dir, KEY, &e))?.permissions().mode();
    if mode & 0o077 != 0 {
        let reason = format!("others may read it (mode {:04o}): chmod 600 it", mode & 0o7777);
        return Err(ConnectionEnd::Identity(format!("{}: {reason}", path.display())));
    }
    let key = PrivateKeyDer::from_pem_file(path).map_err(|e| trouble(dir, KEY, &e))?;
    let chain = certificates(dir, cert)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|e| trouble(dir, cert, &e))
}

fn certificates(dir: &Path, file: &str) -> Result<Vec<CertificateDer<'static>>, ConnectionEnd> {
    CertificateDer::pem_file_iter(dir.join(file))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| trouble(dir, file, &e))
}

fn trouble(dir: &Path, file: &str, reason: &dyn Display) -> ConnectionEnd {
    ConnectionEnd::Identity(format!("{}: {reason}; was this host enrolled?", dir.join(file).display()))
}

fn subjects_name(cert: &CertificateDer<'_>) -> Result<String, String> {
    /// The type of the attribute: object identifier 2.5.4.3 in DER (RFC 5280, appendix A.1).
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    let cert = webpki::EndEntityCert::try_from(cert).map_err(|e| e.to_string())?;
    let subject = cert.subject();
    let after = |i: usize| &subject[i + COMMON_NAME.len()..];
    let name = subject.windows(COMMON_NAME.len()).position(|w| w == COMMON_NAME).and_then(|i| {
        let (&[_string_type, length], rest) = after(i).split_first_chunk::<2>()?;
        std::str::from_utf8(rest.get(..usize::from(length))?).ok()
    });
    name.map(str::to_owned).ok_or_else(|| "the certificate has no common name".into())
}

/// The certificate's end, since 1970. Whoever verifies it later than that is told.
fn end(cert: &CertificateDer<'_>) -> Option<Duration> {
    let cert = webpki::EndEntityCert::try_from(cert).ok()?;
    let (at, usage) = (UnixTime::since_unix_epoch(AFTER_ALL), webpki::KeyUsage::client_auth());
    match cert.verify_for_usage(&[], &[], &[], at, usage, None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Some(Duration::from_secs(not_after.as_secs())),
        _ => None,
    }
}
