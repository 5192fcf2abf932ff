//! How each listener speaks TLS: 1.3 and ring alone.

use super::{Authority, PkiError, ServerCertificate};
use aspire_wire::session::{ALPN_HTTP, ALPN_LINK};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{self, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};

/// The agents' port: a client certificate is asked for but not needed, for
/// whoever enrols has none.
pub fn agents(
    authority: &Authority,
    certificate: Arc<ServerCertificate>,
) -> Result<Arc<ServerConfig>, PkiError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).map_err(|e| PkiError::Tls(e.to_string()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| PkiError::Tls(e.to_string()))?;
    let mut config = builder()?.with_client_cert_verifier(verifier).with_cert_resolver(certificate);
    config.alpn_protocols = vec![ALPN_LINK.to_vec(), ALPN_HTTP.to_vec()];
    // A full handshake costs 0.3 ms; a store of sessions would cost memory with each link.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The web listener, with the operator's own certificate.
pub fn web(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, PkiError> {
    let unreadable = |path: &Path, reason: String| PkiError::damaged(path, reason);
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable(cert, e.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, e.to_string()))?;
    let mut config = builder()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|e| unreadable(cert, e.to_string()))?;
    config.alpn_protocols = vec![ALPN_HTTP.to_vec()];
    Ok(Arc::new(config))
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, PkiError> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e: rustls::Error| PkiError::Tls(e.to_string()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
