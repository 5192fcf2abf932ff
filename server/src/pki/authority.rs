//! The CA: its key, its certificate, and what it signs.

use super::passphrase::Passphrase;
use super::{Parsed, PkiError, ca_key, files};
use crate::clock;
use crate::limits::{CA_DAYS, LEAF_DAYS};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber,
};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Peers' clocks may be behind ours.
const BACKDATED: Duration = Duration::from_hours(24);
const DAY: Duration = Duration::from_hours(24);
/// Lengths in bytes of the public keys that a host may have: Ed25519, P-256, P-384.
const KEY_LENGTHS: [(&rcgen::SignatureAlgorithm, usize); 3] =
    [(&rcgen::PKCS_ED25519, 32), (&rcgen::PKCS_ECDSA_P256_SHA256, 65), (&rcgen::PKCS_ECDSA_P384_SHA384, 97)];

/// A certificate that was just made for a host.
#[derive(Debug)]
pub struct Signed {
    pub pem: String,
    pub parsed: Parsed,
}

/// Signs for the fleet.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// Reads `ca.key` and `ca.pem` in `dir`; makes them where neither is there. The key is never
    /// replaced: hosts that trust it trust any certificate of it. With a passphrase it is encrypted
    /// from now on.
    pub fn open(dir: &Path, passphrase: Option<&Passphrase>) -> Result<Authority, PkiError> {
        let (key_path, cert_path) = (dir.join("ca.key"), dir.join("ca.pem"));
        let file_error = |reason| PkiError::File { path: cert_path.clone(), reason };
        let damaged = |reason: String| PkiError::damaged(&cert_path, reason);
        let pem = files::read(&cert_path).map_err(file_error)?;
        let kept = match (ca_key::read(&key_path, passphrase)?, &pem) {
            (Some(kept), _) => kept,
            (None, Some(_)) => {
                let reason = "the CA's key is missing; restore it from a backup";
                return Err(PkiError::damaged(&key_path, reason));
            }
            (None, None) => ca_key::make(&key_path, passphrase)?,
        };
        // Missing where the first start was cut short, or where it was lost.
        let pem = if let Some(pem) = pem {
            pem
        } else {
            let pem = ca_params().self_signed(&kept.key)?.pem();
            files::write(&cert_path, pem.as_bytes(), 0o644).map_err(file_error)?;
            pem
        };
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| damaged(e.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| damaged(e.to_string()))?;
        if parsed.public_key().subject_public_key.data != kept.key.der_bytes() {
            return Err(damaged("it does not belong to ca.key; restore both from one backup".into()));
        }
        // Not before it is known to be the right one.
        ca_key::settle(&key_path, &kept, passphrase)?;
        let issuer = Issuer::from_ca_cert_der(&der, kept.key).map_err(|e| damaged(e.to_string()))?;
        Ok(Authority { issuer, der, pem })
    }

    /// The CA's certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The CA's certificate, DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// SHA-256 of the DER, which enrolment tokens pin.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// A certificate for a server of these names and addresses.
    pub fn sign_server(&self, names: Vec<SanType>, key: &KeyPair) -> Result<Certificate, PkiError> {
        let mut params = leaf_params("polaris", ExtendedKeyUsagePurpose::ServerAuth, LEAF_DAYS);
        params.subject_alt_names = names;
        Ok(params.signed_by(key, &self.issuer)?)
    }

    /// The identity of a host for so many days. Nothing of the request but its key counts;
    /// that whoever sent it has the key is proved by its signature.
    pub fn sign_host(&self, id: Uuid, csr: &str, days: u32) -> Result<Signed, PkiError> {
        let bad = |reason: String| PkiError::BadRequest(reason);
        let request = CertificateSigningRequestParams::from_pem(csr)
            .map_err(|e| bad(format!("not a certificate signing request that can be read: {e}")))?;
        let key = request.public_key;
        if !KEY_LENGTHS.contains(&(key.algorithm(), key.der_bytes().len())) {
            return Err(bad("the key must be ECDSA P-256, ECDSA P-384 or Ed25519".into()));
        }
        let params = leaf_params(&id.to_string(), ExtendedKeyUsagePurpose::ClientAuth, days);
        let signed = params.signed_by(&key, &self.issuer)?;
        let parsed = Parsed::of(signed.der()).expect("what was just signed can be read");
        Ok(Signed { pem: signed.pem(), parsed })
    }
}

fn ca_params() -> CertificateParams {
    let mut params = params("Polaris CA", CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, purpose: ExtendedKeyUsagePurpose, days: u32) -> CertificateParams {
    let mut params = params(name, days);
    params.serial_number = Some(serial());
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A number that no other certificate has: positive, as all are, and of no fewer bytes than it seems.
fn serial() -> SerialNumber {
    let mut number = [0; 16];
    getrandom::fill(&mut number).expect("the kernel has random numbers");
    number[0] = number[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&number)
}

fn params(common_name: &str, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    let now = clock::system();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * days).into();
    params
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn a_certificate_that_was_lost_is_made_anew_for_the_key_that_is_there() {
        let dir = TempDir::new().unwrap();
        let before = Authority::open(dir.path(), None).unwrap();
        let key = fs::read(dir.path().join("ca.key")).unwrap();
        fs::remove_file(dir.path().join("ca.pem")).unwrap();
        let after = Authority::open(dir.path(), None).unwrap();
        assert_eq!(fs::read(dir.path().join("ca.key")).unwrap(), key, "the fleet trusts this key");
        assert_eq!(fs::read_to_string(dir.path().join("ca.pem")).unwrap(), after.pem());
        let parsed = [&before, &after].map(|ca| X509Certificate::from_der(ca.der()).unwrap().1);
        assert_eq!(parsed[0].public_key(), parsed[1].public_key());
        assert_eq!(parsed[0].subject(), parsed[1].subject());
    }
}
