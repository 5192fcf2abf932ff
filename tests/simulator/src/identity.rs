//! What makes a host a host of the server: a certificate, by enrolment as an
//! agent does it.

use aspire_wire::enroll::{ENROLL_PATH, EnrollReply, EnrollRequest, Token};
use aspire_wire::session::{ALPN_HTTP, ALPN_LINK};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};
use sha2::{Digest as _, Sha256};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};
use tokio_rustls::{TlsConnector, rustls::Error as TlsError};

/// Hosts that enrol at once: far less than the server has room for.
const ENROLLING: usize = 64;

/// What a host has after enrolment.
#[derive(Clone)]
pub struct Identity {
    pub id: String,
    pub config: Arc<ClientConfig>,
    /// The server's.
    pub ca: CertificateDer<'static>,
    pub cert: CertificateDer<'static>,
    /// PKCS#8, DER.
    pub key: Vec<u8>,
}

impl Identity {
    /// The same claim with a certificate of a CA that the server does not know.
    #[must_use]
    pub fn forged(&self) -> Identity {
        let made = || {
            let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate()?);
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, &self.id);
            let key = KeyPair::generate()?;
            Ok::<_, rcgen::Error>((params.signed_by(&key, &issuer)?.der().clone(), key.serialize_der()))
        };
        let (cert, key) = made().expect("a key and a certificate can be made");
        let config = config(&self.ca, &cert, &key);
        Identity { id: self.id.clone(), config, ca: self.ca.clone(), cert, key }
    }
}

/// Enrols hosts of these names, many at once; answers in their order.
pub async fn enroll_all(
    agents: SocketAddr,
    token: &str,
    names: impl IntoIterator<Item = String>,
) -> io::Result<Vec<Identity>> {
    let enrolling = stream::iter(names).map(|name| {
        let token = token.to_owned();
        // Tasks of their own, so that all processors make keys.
        let task = tokio::spawn(async move { (enroll(agents, &token, &name).await, name) });
        async move {
            let (enrolled, name) = task.await.map_err(io::Error::other)?;
            enrolled?.map_err(|(status, body)| io::Error::other(format!("{name}: {status} {body}")))
        }
    });
    enrolling.buffered(ENROLLING).try_collect().await
}

/// Enrols as an agent does: it trusts the fingerprint in the token and nothing else. Where the
/// server refuses: status and problem document.
pub async fn enroll(
    agents: SocketAddr,
    token: &str,
    name: &str,
) -> io::Result<Result<Identity, (u16, serde_json::Value)>> {
    let token: Token = token.parse().map_err(io::Error::other)?;
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let csr = CertificateParams::default().serialize_request(&key).and_then(|csr| csr.pem());
    let csr = csr.map_err(io::Error::other)?;
    let request = EnrollRequest { token: token.secret_text(), csr, name: name.to_owned() };
    let body = serde_json::to_value(request)?;
    let (status, reply) = exchange(agents, token.fingerprint, ENROLL_PATH, &body).await?;
    if status != 200 {
        return Ok(Err((status, reply)));
    }
    let EnrollReply { hostname: id, ca, cert } = serde_json::from_value(reply)?;
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other);
    let (ca, cert) = (der(&ca)?, der(&cert)?);
    if Sha256::digest(&ca)[..] != token.fingerprint {
        return Err(io::Error::other("the CA is not the pinned one"));
    }
    let key = key.serialize_der();
    Ok(Ok(Identity { id, config: config(&ca, &cert, &key), ca, cert, key }))
}

/// One short exchange with the agents' port; an error where its CA is not the pinned one.
pub async fn exchange(
    agents: SocketAddr,
    fingerprint: [u8; 32],
    path: &str,
    body: &serde_json::Value,
) -> io::Result<(u16, serde_json::Value)> {
    let pinned = Pinned { fingerprint, provider: provider() };
    let mut config =
        builder().dangerous().with_custom_certificate_verifier(Arc::new(pinned)).with_no_client_auth();
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    let stream = connect(agents, Arc::new(config)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path).header("host", "polaris").header("content-type", "application/json");
    let request = request.body(Full::<Bytes>::from(body.to_string())).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok((status, serde_json::from_slice(&bytes)?))
}

/// TLS to the server under the name that every one has.
pub async fn connect(agents: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(agents).await?;
    secure(tcp, config).await
}

/// As [`connect`], where the connection is there.
pub async fn secure(tcp: TcpStream, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("config.cargo.com").expect("a DNS name");
    TlsConnector::from(config).connect(name, tcp).await
}

/// Trusts the CA, shows the certificate, and wants a link.
pub fn config(ca: &CertificateDer<'_>, cert: &CertificateDer<'static>, key: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone().into_owned()).expect("a CA's certificate");
    let key = PrivateKeyDer::try_from(key.to_vec()).expect("a key that was just made");
    let chain = vec![cert.clone()];
    let mut config = builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("a certificate and its key");
    config.alpn_protocols = vec![ALPN_LINK.to_vec()];
    // The server gives no tickets, and room for them would be most of what a host costs.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// TLS 1.3 alone, as agents speak it.
pub fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("ring knows TLS 1.3")
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}

/// Trusts a chain that ends in the CA of this fingerprint.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let pinned = intermediates.iter().find(|ca| Sha256::digest(ca)[..] == self.fingerprint);
        let ca = pinned.ok_or_else(|| TlsError::General("not the pinned CA".into()))?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| TlsError::General(e.to_string()))?;
        verifier.verify_server_cert(leaf, &[], name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.3 alone".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
