use crate::server::{Answer, Duplex, Server, answer, whole};
use crate::{Here, body, fetched, reason};
use aspire_package::Fetch;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A private CA, as Polaris has one.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Ca {
    fn new() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Ca { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn certificate(&self, usage: ExtendedKeyUsagePurpose) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["polaris.invalid".into()]).unwrap();
        params.extended_key_usages = vec![usage];
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// The files of a host that was enrolled.
    fn identity(&self, folder: &Path) -> PathBuf {
        let (certificate, key) = self.certificate(ExtendedKeyUsagePurpose::ClientAuth);
        let folder = folder.join("identity");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), &self.pem).unwrap();
        std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        folder
    }

    /// A server that asks for a certificate of this CA, and for http/1.1.
    fn serve(&self, usage: ExtendedKeyUsagePurpose, answers: Vec<Answer>) -> Server {
        let (certificate, key) = self.certificate(usage);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        Server::serve(answers, move |mut tcp| {
            let mut connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
            while connection.is_handshaking() {
                connection.complete_io(&mut tcp)?;
            }
            assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
            Ok(Box::new(StreamOwned::new(connection, tcp)) as Box<dyn Duplex>)
        })
    }
}

fn fetch(here: &Here, server: &Server, identity: Option<PathBuf>, body: &[u8]) -> Fetch {
    Fetch { identity, ..here.fetch(&format!("https://127.0.0.1:{}/x", server.port), body) }
}

#[test]
fn the_link_s_own_server_needs_no_checksum_and_no_name() {
    let (here, ca, body) = (Here::new(), Ca::new(), body(100_000));
    let server = ca.serve(ExtendedKeyUsagePurpose::ServerAuth, vec![whole("a", &body)]);
    let identity = ca.identity(here.folder.path());
    let fetch = Fetch { checksum: None, ..fetch(&here, &server, Some(identity), &body) };
    assert_eq!(fetched(&fetch), Ok((100_000, 0)));
    assert_eq!(here.file(), Some(body));
}

#[test]
fn a_server_of_another_ca_is_not_trusted() {
    let (here, ca) = (Here::new(), Ca::new());
    let identity = ca.identity(here.folder.path());
    let server = Ca::new().serve(ExtendedKeyUsagePurpose::ServerAuth, vec![whole("a", b"malice")]);
    let error = reason(&fetch(&here, &server, Some(identity), b""));
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[test]
fn another_host_s_certificate_makes_no_server() {
    let (here, ca) = (Here::new(), Ca::new());
    let identity = ca.identity(here.folder.path());
    let server = ca.serve(ExtendedKeyUsagePurpose::ClientAuth, vec![whole("a", b"malice")]);
    let error = reason(&fetch(&here, &server, Some(identity), b""));
    assert!(error.contains("certificate"), "{error}");
}

#[test]
fn without_an_identity_the_system_s_cas_are_trusted_alone() {
    let (here, ca) = (Here::new(), Ca::new());
    let server = ca.serve(ExtendedKeyUsagePurpose::ServerAuth, vec![whole("a", b"x")]);
    let error = reason(&fetch(&here, &server, None, b"x"));
    // A host without any CA of its own trusts nobody, either.
    assert!(error.contains("UnknownIssuer") || error.contains("trusts no CA"), "{error}");
}

#[test]
fn no_redirect_leads_from_https_to_http() {
    let (here, ca) = (Here::new(), Ca::new());
    let plain = Server::http(Vec::new());
    let away = format!("HTTP/1.1 302 Found\nContent-Length: 0\nLocation: {}", plain.url("/y"));
    let server = ca.serve(ExtendedKeyUsagePurpose::ServerAuth, vec![answer(&away, b"")]);
    let identity = ca.identity(here.folder.path());
    let error = reason(&fetch(&here, &server, Some(identity), b""));
    assert!(error.ends_with("the server redirects from https to http"), "{error}");
}

#[test]
fn an_identity_that_is_not_there_is_named() {
    let here = Here::new();
    let server = Server::http(vec![Answer::Bytes(Vec::new())]);
    let error = reason(&fetch(&here, &server, Some("/nonexistent/identity".into()), b""));
    assert!(error.contains("/nonexistent/identity/ca.pem") && error.contains("enrolled"), "{error}");
}

#[test]
fn a_connection_that_is_cut_is_no_end_of_the_file() {
    let (here, ca, body) = (Here::new(), Ca::new(), body(100));
    // No length is told, and TLS is not ended as it should be: somebody in between may have cut it.
    let server = ca.serve(ExtendedKeyUsagePurpose::ServerAuth, vec![answer("HTTP/1.1 200 OK", &body)]);
    let identity = ca.identity(here.folder.path());
    let fetch = Fetch { checksum: None, ..fetch(&here, &server, Some(identity), &body) };
    reason(&fetch);
    assert_eq!(here.file(), None);
}
