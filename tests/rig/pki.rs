//! A certificate authority and what it signs.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The id of every host of these tests.
pub const HOST_ID: &str = "edd6c192-52cb-4133-a17a-e7d8aec03de7";

pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// What the extended key usage of a certificate allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Server,
    Host,
}

/// A certificate with its key, PEM.
pub struct Identity {
    pub cert: String,
    pub key: String,
}

impl Ca {
    pub fn new() -> Ca {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = named("Aspire test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Ca { issuer: Issuer::new(params, key), pem }
    }

    pub fn issue(&self, role: Role, name: &str) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let cert = usable(role, name).signed_by(&key, &self.issuer).unwrap().pem();
        Identity { cert, key: key.serialize_pem() }
    }

    /// A host's certificate for the key that a PEM request carries.
    pub fn sign(&self, csr: &str, name: &str) -> String {
        let key = RequestedKey::of(csr);
        usable(Role::Host, name).signed_by(&key, &self.issuer).unwrap().pem()
    }

    /// Enrols a host by hand: ca.pem, cert.pem and key.pem in `folder`.
    pub fn enrol(&self, folder: &Path) {
        let identity = self.issue(Role::Host, HOST_ID);
        fs::create_dir_all(folder).unwrap();
        for (name, content) in
            [("ca.pem", &self.pem), ("cert.pem", &identity.cert), ("key.pem", &identity.key)]
        {
            fs::write(folder.join(name), content).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()
    }
}

impl Identity {
    pub fn cert_der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    pub fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn usable(role: Role, name: &str) -> CertificateParams {
    let mut params = named(name);
    params.extended_key_usages = vec![match role {
        Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
        Role::Host => ExtendedKeyUsagePurpose::ClientAuth,
    }];
    params
}

/// The public key of a certificate request: a point on P-256.
struct RequestedKey(Vec<u8>);

impl RequestedKey {
    fn of(csr: &str) -> RequestedKey {
        /// What comes before the point in the request's DER: the algorithm (RFC 5480,
        /// section 2) and the head of a bit string of 66 bytes.
        const BEFORE: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let der = rustls::pki_types::CertificateSigningRequestDer::from_pem_slice(csr.as_bytes()).unwrap();
        let at = der.windows(BEFORE.len()).position(|window| window == BEFORE).expect("a key on P-256");
        RequestedKey(der[at + BEFORE.len()..][..65].to_vec())
    }
}

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
