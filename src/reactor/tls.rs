//! TLS 1.3 over a connection's socket, and with what is below it the only importer of rustls.

pub(super) mod identity;

use super::wall_clock;
use crate::machine::{ConnectionEnd, Protocol, Security};
use crate::wire::session::{ALPN_HTTP, ALPN_LINK};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
};
use rustls::{Error as TlsError, SignatureScheme};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The client's side of one TLS connection.
#[derive(Debug)]
pub(super) struct Session {
    tls: ClientConnection,
    /// Of the identity that is shown, where one is.
    dir: Option<PathBuf>,
}

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
        let (config, dir) = match security {
            Security::Mutual { dir, protocol } => (mutual(&provider, dir, *protocol)?, Some(dir.clone())),
            Security::Pinned { fingerprint } => (pinned(&provider, *fingerprint)?, None),
        };
        ClientConnection::new(Arc::new(config), ServerName::IpAddress(to.into()))
            .map(|tls| Session { tls, dir })
            .map_err(tls_end)
    }

    /// Decrypted bytes, first those that are here already.
    pub fn receive(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> Result<Received, ConnectionEnd> {
        loop {
            let handshaking = self.tls.is_handshaking();
            match self.tls.reader().read(buffer) {
                Ok(0) => return Ok(Received::Ended),
                Ok(length) => return Ok(Received::Bytes(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Ok(Received::Ended),
            }
            match self.tls.read_tls(socket) {
                // The reader says at its next turn whether that was an orderly end.
                Ok(0) if handshaking => return Ok(Received::Ended),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::WouldBlock),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ConnectionEnd::Io(error.to_string())),
            }
            if let Err(error) = self.tls.process_new_packets() {
                // The alert that tells the peer why; the connection ends in any case.
                let _ = self.tls.write_tls(socket);
                return Err(self.end(error));
            }
            if handshaking && !self.tls.is_handshaking() {
                return Ok(Received::Handshaken);
            }
        }
    }

    /// Encrypts as much of `plain` as the session takes, and returns its length.
    pub fn encrypt(&mut self, plain: &[u8]) -> usize {
        self.tls.writer().write(plain).unwrap_or(0)
    }

    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Writes encrypted bytes to the socket, once.
    pub fn write_to(&mut self, socket: &mut impl Write) -> io::Result<usize> {
        self.tls.write_tls(socket)
    }

    /// Queues the orderly end.
    pub fn close(&mut self) {
        self.tls.send_close_notify();
    }

    fn end(&self, error: TlsError) -> ConnectionEnd {
        match (error, &self.dir) {
            (TlsError::AlertReceived(AlertDescription::CertificateExpired), Some(dir)) => {
                identity::expired(dir, wall_clock())
            }
            (error, _) => tls_end(error),
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn mutual(
    provider: &Arc<CryptoProvider>,
    dir: &Path,
    protocol: Protocol,
) -> Result<ClientConfig, ConnectionEnd> {
    let own = identity::own(provider, dir)?;
    let mut config = builder(provider, Trust::Ca(identity::roots(dir)?))?
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![match protocol {
        Protocol::Link => ALPN_LINK.to_vec(),
        Protocol::Http => ALPN_HTTP.to_vec(),
    }];
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
