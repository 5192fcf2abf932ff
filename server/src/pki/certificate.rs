//! What a host's certificate says.

use crate::clock::EpochMs;
use uuid::Uuid;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate of a host, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    pub expires: EpochMs,
    /// Its number in hexadecimal, as `openssl x509 -serial` writes it.
    pub serial: String,
}

/// A certificate of a host that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Whose it is: the common name.
    pub host: Uuid,
    pub certificate: Certificate,
    /// From when on it is to be renewed: a third of its life is left.
    pub renewed_from: EpochMs,
}

impl Parsed {
    /// Reads what is known to be signed by us; `None` where it is no host's.
    pub fn of(der: &[u8]) -> Option<Parsed> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
        let validity = parsed.validity();
        let [begins, expires] = [validity.not_before, validity.not_after].map(|time| time.timestamp() * 1000);
        let serial = parsed.raw_serial_as_string().replace(':', "").to_uppercase();
        Some(Parsed {
            host: Uuid::parse_str(name).ok()?,
            certificate: Certificate { expires, serial },
            renewed_from: expires - (expires - begins) / 3,
        })
    }
}
