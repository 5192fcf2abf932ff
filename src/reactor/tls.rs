//! TLS 1.3 over a connection's socket, and the only importer of rustls.

use crate::machine::{ConnectionEnd, Security};
use crate::wire::session::{ALPN_HTTP, ALPN_LINK};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore};
use rustls::{Error as TlsError, SignatureScheme};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// The client's side of one TLS connection.
#[derive(Debug)]
pub(super) struct Session(ClientConnection);

/// What came of reading.
pub(super) enum Received {
    Bytes(usize),
    /// The handshake is done; bytes may be there too.
    Handshaken,
    WouldBlock,
    Ended,
}

impl Session {
    /// A session that has said nothing yet. The host's files are read anew for
    /// each, so that renewed ones are used at once and nothing of them is kept.
    pub fn new(security: &Security, to: std::net::IpAddr) -> Result<Self, ConnectionEnd> {
        let provider = Arc::new(ring::default_provider());
        let config = match security {
            Security::Mutual { dir } => mutual(&provider, dir)?,
            Security::Pinned { fingerprint } => pinned(&provider, *fingerprint)?,
        };
        ClientConnection::new(Arc::new(config), ServerName::IpAddress(to.into()))
            .map(Session)
            .map_err(tls_end)
    }

    /// Decrypted bytes, first those that are here already.
    pub fn receive(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> Result<Received, ConnectionEnd> {
        loop {
            let handshaking = self.0.is_handshaking();
            match self.0.reader().read(buffer) {
                Ok(0) => return Ok(Received::Ended),
                Ok(length) => return Ok(Received::Bytes(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Ok(Received::Ended),
            }
            match self.0.read_tls(socket) {
                // The reader says at its next turn whether that was an orderly end.
                Ok(0) if handshaking => return Ok(Received::Ended),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::WouldBlock),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ConnectionEnd::Io(error.to_string())),
            }
            if let Err(error) = self.0.process_new_packets() {
                // The alert that tells the peer why; the connection ends in any case.
                let _ = self.0.write_tls(socket);
                return Err(tls_end(error));
            }
            if handshaking && !self.0.is_handshaking() {
                return Ok(Received::Handshaken);
            }
        }
    }

    /// Encrypts as much of `plain` as the session takes, and returns its length.
    pub fn encrypt(&mut self, plain: &[u8]) -> usize {
        self.0.writer().write(plain).unwrap_or(0)
    }

    pub fn wants_write(&self) -> bool {
        self.0.wants_write()
    }

    /// Writes encrypted bytes to the socket, once.
    pub fn write_to(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        self.0.write_tls(socket)
    }

    /// Queues the orderly end.
    pub fn close(&mut self) {
        self.0.send_close_notify();
    }
}

/// The common name of the first certificate in a PEM file: the host id.
///
/// # Errors
/// A sentence with the file's name.
pub fn common_name(cert_pem: &Path) -> Result<String, String> {
    let shown = cert_pem.display();
    let cert = CertificateDer::from_pem_file(cert_pem).map_err(|e| format!("{shown}: {e}"))?;
    subjects_name(&cert).map_err(|e| format!("{shown}: {e}"))
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
    Some(sha256(&cert))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn mutual(provider: &Arc<CryptoProvider>, dir: &Path) -> Result<ClientConfig, ConnectionEnd> {
    let trouble = |file: &str, reason: &dyn std::fmt::Display| {
        ConnectionEnd::Identity(format!("{}: {reason}; was this host enrolled?", dir.join(file).display()))
    };
    let certificates = |file: &str| {
        let iterator = CertificateDer::pem_file_iter(dir.join(file)).map_err(|e| trouble(file, &e))?;
        iterator.collect::<Result<Vec<_>, _>>().map_err(|e| trouble(file, &e))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        roots.add(certificate).map_err(|e| trouble("ca.pem", &e))?;
    }
    let mode = fs::metadata(dir.join("key.pem")).map_err(|e| trouble("key.pem", &e))?.permissions().mode();
    if mode & 0o077 != 0 {
        let reason = format!("others may read it (mode {:04o}): chmod 600 it", mode & 0o7777);
        return Err(ConnectionEnd::Identity(format!("{}: {reason}", dir.join("key.pem").display())));
    }
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).map_err(|e| trouble("key.pem", &e))?;
    let chain = certificates("cert.pem")?;
    let mut config = builder(provider, Trust::Ca(roots))?
        .with_client_auth_cert(chain, key)
        .map_err(|e| trouble("cert.pem", &e))?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_LINK.to_vec()];
    Ok(config)
}

fn pinned(provider: &Arc<CryptoProvider>, fingerprint: [u8; 32]) -> Result<ClientConfig, ConnectionEnd> {
    let mut config = builder(provider, Trust::Fingerprint(fingerprint))?.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    Ok(config)
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder(provider: &Arc<CryptoProvider>, trust: Trust) -> Result<Builder, ConnectionEnd> {
    let verifier = PolarisVerifier { trust, algorithms: provider.signature_verification_algorithms };
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_end)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

fn tls_end(error: TlsError) -> ConnectionEnd {
    match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => ConnectionEnd::OtherCa,
        error => ConnectionEnd::Tls(error.to_string()),
    }
}

/// Asks "is this a Polaris of our CA?" and not "is this the address that I
/// dialled?": the CA is private and gives the server's role (the extended key
/// usage serverAuth) to Polaris alone, and redirects name bare addresses.
#[derive(Debug)]
struct PolarisVerifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    Ca(RootCertStore),
    /// The chain must hold the CA's certificate with this SHA-256.
    Fingerprint([u8; 32]),
}

impl ServerCertVerifier for PolarisVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let mut pinned = RootCertStore::empty();
        let roots = match &self.trust {
            Trust::Ca(roots) => roots,
            Trust::Fingerprint(fingerprint) => {
                let ca = intermediates.iter().find(|cert| sha256(cert) == *fingerprint);
                let ca = ca.ok_or(TlsError::InvalidCertificate(CertificateError::UnknownIssuer))?;
                pinned.add(ca.clone().into_owned())?;
                &pinned
            }
        };
        let cert = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&cert, roots, intermediates, now, self.algorithms.all)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
