//! Whom a download trusts: the system's CAs, or that of the link's own server.

use aspire_wire::session::ALPN_HTTP;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, StreamOwned,
};
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    pub fn new(identity: Option<&Path>) -> Result<Tls, String> {
        let provider = Arc::new(ring::default_provider());
        let config = match identity {
            Some(folder) => of_the_link(provider, folder)?,
            None => of_the_world(provider, rustls_native_certs::load_native_certs().certs)?,
        };
        Ok(Tls::with(config))
    }

    fn with(mut config: ClientConfig) -> Tls {
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
        Tls(Arc::new(config))
    }

    pub fn handshake(&self, host: &str, tcp: TcpStream) -> io::Result<TlsStream> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

fn of_the_world(
    provider: Arc<CryptoProvider>,
    cas: Vec<CertificateDer<'static>>,
) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(cas);
    if roots.is_empty() {
        return Err("this host trusts no CA: install its ca-certificates".into());
    }
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn of_the_link(provider: Arc<CryptoProvider>, folder: &Path) -> Result<ClientConfig, String> {
    let trouble = |file: &str, reason: &dyn std::fmt::Display| {
        format!("identity: {}: {reason}; was this host enrolled?", folder.join(file).display())
    };
    let certificates = |file: &str| {
        let found = CertificateDer::pem_file_iter(folder.join(file)).map_err(|e| trouble(file, &e))?;
        found.collect::<Result<Vec<_>, _>>().map_err(|e| trouble(file, &e))
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca.pem")? {
        roots.add(certificate).map_err(|e| trouble("ca.pem", &e))?;
    }
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).map_err(|e| trouble("key.pem", &e))?;
    let verifier = OwnServer { roots, algorithms: provider.signature_verification_algorithms };
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(certificates("cert.pem")?, key)
        .map_err(|e| trouble("cert.pem", &e))
}

/// As the link does: the CA is private and lets Polaris alone be a server, and
/// redirects name bare addresses, so that the certificate's names do not matter.
#[derive(Debug)]
struct OwnServer {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OwnServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
