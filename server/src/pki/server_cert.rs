//! The certificate of the agents' port: made by the CA, made again in time,
//! and swapped under the running listener.

use super::{Authority, PkiError, files};
use crate::clock::{self, EpochMs};
use crate::limits;
use rcgen::{KeyPair, SanType};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Key and chain, in the file `server.pem` so that they change in one step.
#[derive(Debug)]
pub struct ServerCertificate {
    path: PathBuf,
    names: Vec<String>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl ServerCertificate {
    /// Reads `server.pem` in `dir`, or makes it anew where it is missing, names
    /// less than `names` (DNS names and addresses) or will end soon.
    pub fn open(dir: &Path, authority: &Authority, names: Vec<String>) -> Result<Self, PkiError> {
        let path = dir.join("server.pem");
        let text = files::read(&path).map_err(|reason| PkiError::File { path: path.clone(), reason })?;
        let kept = text
            .as_deref()
            .and_then(|text| read(text).ok())
            .filter(|key| serves(key, authority, &names, clock::now()));
        let current = match kept {
            Some(key) => key,
            None => issue(&path, authority, &names)?,
        };
        Ok(ServerCertificate { path, names, current: RwLock::new(Arc::new(current)) })
    }

    /// Makes the certificate anew if it will end soon.
    pub fn renew(&self, authority: &Authority, now: EpochMs) -> Result<(), PkiError> {
        if !serves(&self.key(), authority, &self.names, now) {
            let new = issue(&self.path, authority, &self.names)?;
            *self.current.write().expect("nothing panics while it holds the certificate") = Arc::new(new);
            tracing::info!("server certificate renewed");
        }
        Ok(())
    }

    fn key(&self) -> Arc<CertifiedKey> {
        self.current.read().expect("nothing panics while it holds the certificate").clone()
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

/// Looks at the certificate each day, for ever.
pub async fn keep_fresh(certificate: &ServerCertificate, authority: &Authority) {
    loop {
        tokio::time::sleep(limits::CERTIFICATE_CHECK).await;
        if let Err(error) = certificate.renew(authority, clock::now()) {
            tracing::error!(%error, "server certificate not renewed");
        }
    }
}

fn issue(path: &Path, authority: &Authority, names: &[String]) -> Result<CertifiedKey, PkiError> {
    let names = names.iter().map(|name| match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.as_str().try_into()?)),
    });
    let names = names.collect::<Result<Vec<_>, rcgen::Error>>()?;
    let key = KeyPair::generate()?;
    let leaf = authority.sign_server(names, &key)?;
    // The CA goes with it: an agent that enrols knows nothing but its fingerprint.
    let text = format!("{}{}{}", key.serialize_pem(), leaf.pem(), authority.pem());
    files::write(path, text.as_bytes(), 0o600)
        .map_err(|reason| PkiError::File { path: path.to_owned(), reason })?;
    read(&text).map_err(|reason| PkiError::damaged(path, reason))
}

fn read(text: &str) -> Result<CertifiedKey, String> {
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|e| e.to_string())?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let chain = chain.map_err(|e| e.to_string())?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|e| e.to_string())
}

/// Whether the chain is this CA's, has all the names, and has a third of its life before it.
fn serves(key: &CertifiedKey, authority: &Authority, names: &[String], now: EpochMs) -> bool {
    let [leaf, ca] = &key.cert[..] else { return false };
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return false };
    let validity = leaf.validity();
    let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let fresh = now / 1000 < end - (end - begin) / 3;
    let sans = leaf.subject_alternative_name().ok().flatten();
    let has = |name: &String| {
        let wanted = name.parse::<IpAddr>().ok().map(|address| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        sans.as_ref().is_some_and(|sans| {
            sans.value.general_names.iter().any(|san| match (san, &wanted) {
                (GeneralName::IPAddress(bytes), Some(wanted)) => bytes == wanted,
                (GeneralName::DNSName(dns), None) => dns.eq_ignore_ascii_case(name),
                _ => false,
            })
        })
    };
    ca == authority.der() && fresh && names.iter().all(has)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const DAY_MS: EpochMs = 24 * 3600 * 1000;

    fn opened(dir: &TempDir, names: &[&str]) -> (Authority, ServerCertificate) {
        let authority = Authority::open(dir.path(), None).unwrap();
        let names = names.iter().map(ToString::to_string).collect();
        let certificate = ServerCertificate::open(dir.path(), &authority, names).unwrap();
        (authority, certificate)
    }

    #[test]
    fn it_is_kept_while_it_serves_and_made_anew_for_another_name() {
        let dir = TempDir::new().unwrap();
        let first = opened(&dir, &["localhost", "::1"]).1.key().cert.clone();
        assert_eq!(opened(&dir, &["localhost"]).1.key().cert, first);
        let other = opened(&dir, &["localhost", "b.example"]).1.key().cert.clone();
        assert_ne!(other[0], first[0]);
        assert_eq!(other[1], first[1], "the CA is the same");
    }

    #[test]
    fn it_is_made_anew_when_a_third_of_its_life_is_left() {
        let dir = TempDir::new().unwrap();
        let (authority, certificate) = opened(&dir, &["localhost"]);
        let first = certificate.key().cert.clone();
        let now = clock::now();
        certificate.renew(&authority, now + 200 * DAY_MS).unwrap();
        assert_eq!(certificate.key().cert, first);
        certificate.renew(&authority, now + 300 * DAY_MS).unwrap();
        assert_ne!(certificate.key().cert, first);
    }

    #[test]
    fn a_damaged_one_is_replaced_and_a_damaged_ca_is_an_error() {
        let dir = TempDir::new().unwrap();
        opened(&dir, &["localhost"]);
        std::fs::write(dir.path().join("server.pem"), "x").unwrap();
        opened(&dir, &["localhost"]);
        let stranger = TempDir::new().unwrap();
        opened(&stranger, &["localhost"]);
        let ca = dir.path().join("ca.key");
        std::fs::copy(stranger.path().join("ca.key"), &ca).unwrap();
        let error = Authority::open(dir.path(), None).err().unwrap().to_string();
        assert!(error.contains("ca.pem: it does not belong to ca.key"), "{error}");
        std::fs::remove_file(&ca).unwrap();
        let error = Authority::open(dir.path(), None).err().unwrap().to_string();
        assert!(error.contains("ca.key: the CA's key is missing"), "{error}");
    }
}
