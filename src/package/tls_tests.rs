//! A server whose CA the system trusts.

#![allow(clippy::disallowed_methods, reason = "a server of the test's own is a thread")]

use super::{Tls, of_the_world};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, SupportedProtocolVersion};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// What is read from a server named `files.example` when it is asked as `host`.
fn answered(host: &str, version: &'static SupportedProtocolVersion, trusted: bool) -> Result<String, String> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap().der().clone();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["files.example".into()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, tcp);
        // A client that trusts nobody ends this.
        let _ = stream.write_all(b"hello").and_then(|()| stream.flush());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let others = KeyPair::generate().unwrap();
    let other = CertificateParams::new(vec!["other".into()]).unwrap().self_signed(&others).unwrap();
    let cas: Vec<CertificateDer<'static>> = vec![if trusted { ca } else { other.der().clone() }];
    let tls = Tls::with(of_the_world(Arc::new(ring::default_provider()), cas).unwrap());
    let shaken = tls.handshake(host, TcpStream::connect(address).unwrap());
    let read = shaken.map_err(|error| error.to_string()).map(|mut stream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    server.join().unwrap();
    read
}

#[test]
fn a_server_is_believed_whose_name_a_trusted_ca_signed() {
    for version in [&TLS12, &TLS13] {
        assert_eq!(answered("files.example", version, true).as_deref(), Ok("hello"));
    }
}

#[test]
fn another_name_or_ca_is_not() {
    for version in [&TLS12, &TLS13] {
        let error = answered("other.example", version, true).unwrap_err();
        assert!(error.contains("not valid for name"), "{error}");
        let error = answered("127.0.0.1", version, true).unwrap_err();
        assert!(error.contains("not valid for name"), "{error}");
        let error = answered("files.example", version, false).unwrap_err();
        // Both CAs have the same name here, so that the signature is what is wrong.
        assert!(error.contains("BadSignature"), "{error}");
    }
}

#[test]
fn without_a_ca_nobody_is_believed() {
    let error = of_the_world(Arc::new(ring::default_provider()), Vec::new()).unwrap_err();
    assert!(error.contains("ca-certificates"), "{error}");
}
