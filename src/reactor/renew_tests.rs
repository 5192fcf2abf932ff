use super::*;
use crate::reactor::tls::identity::{certificate_end, common_name};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const HOST: &str = "edd6c192-52cb-4133-a17a-e7d8aec03de7";
const DAY: Duration = Duration::from_hours(24);

/// A CA, and a host of it.
struct Fleet {
    ca: Issuer<'static, KeyPair>,
    dir: TempDir,
}

fn named(name: &str, ends: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = ends.into();
    params
}

impl Fleet {
    fn new() -> Fleet {
        let key = KeyPair::generate().unwrap();
        let mut params = named("CA", wall_clock() + 100 * DAY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let ca_pem = params.self_signed(&key).unwrap().pem();
        let fleet = Fleet { ca: Issuer::new(params, key), dir: tempfile::tempdir().unwrap() };
        let key = KeyPair::generate().unwrap();
        let cert = fleet.sign(&key, HOST, 1);
        for (name, content) in [("ca.pem", ca_pem), (CERT, cert), (KEY, key.serialize_pem())] {
            write(fleet.dir.path(), name, &content).unwrap();
        }
        fleet
    }

    fn sign(&self, key: &impl rcgen::PublicKeyData, name: &str, days: u32) -> String {
        let mut params = named(name, wall_clock() + DAY * days);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(key, &self.ca).unwrap().pem()
    }

    /// Has a key made.
    fn new_key(&self) -> KeyPair {
        let csr = new_key(&self.dir()).unwrap();
        assert!(csr.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{csr}");
        KeyPair::from_pem(&self.read(NEW_KEY).unwrap()).unwrap()
    }

    /// What the server makes of it.
    fn new_certificate(&self, key: &KeyPair, days: u32) -> NewCertificate {
        let cert = self.sign(key, HOST, days);
        NewCertificate { dir: self.dir(), cert, host: HOST.into() }
    }

    fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(name)).ok()
    }

    /// The host can show a certificate with its key, whatever was cut short.
    fn is_usable(&self) -> bool {
        fits(self.dir.path(), CERT) || fits(self.dir.path(), NEW_CERT)
    }
}

#[test]
fn a_certificate_says_when_it_ends() {
    let fleet = Fleet::new();
    let left = certificate_end(&fleet.dir().join(CERT)).unwrap().duration_since(wall_clock()).unwrap();
    assert!(left <= DAY && left > DAY / 2, "{left:?}");
    assert_eq!(certificate_end(&fleet.dir().join(KEY)), None);
}

#[test]
fn a_new_pair_takes_the_place_of_the_old_one() {
    let fleet = Fleet::new();
    let old = [KEY, CERT].map(|name| fleet.read(name).unwrap());
    let key = fleet.new_key();
    assert_eq!([KEY, CERT].map(|name| fleet.read(name).unwrap()), old, "until it is signed");
    let ends = take(&fleet.new_certificate(&key, 30)).unwrap();
    assert_eq!(ends, rfc3339(wall_clock() + 30 * DAY).to_string());
    assert!(fits(&fleet.dir(), CERT));
    for (name, old) in [KEY, CERT].iter().zip(old) {
        assert_ne!(fleet.read(name).unwrap(), old);
        let mode = fs::metadata(fleet.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(fleet.dir()).unwrap().count(), 3, "nothing is left over");
}

#[test]
fn whatever_moment_it_is_killed_at_there_is_a_usable_pair_and_the_change_can_be_finished() {
    for killed_after in 0..=STEPS.len() {
        let fleet = Fleet::new();
        let key = fleet.new_key();
        let new = fleet.new_certificate(&key, 30);
        for step in &STEPS[..killed_after] {
            perform(&new.dir, *step, &new.cert).unwrap();
            assert!(fleet.is_usable(), "after {step:?}");
        }
        finish(&new.dir).unwrap();
        assert!(fits(&new.dir, CERT), "{killed_after} steps, and it is finished");
        let is_new = fleet.read(CERT).unwrap() == new.cert;
        assert_eq!(is_new, killed_after >= 2, "{killed_after} steps: from its key's change on");
        assert_eq!(common_name(&new.dir.join(CERT)).unwrap(), HOST);
        // The next one is not in the way of what is left over.
        let key = fleet.new_key();
        let next = fleet.new_certificate(&key, 60);
        take(&next).unwrap();
        assert_eq!(fleet.read(CERT).unwrap(), next.cert);
        assert!(fits(&new.dir, CERT));
    }
}

#[test]
fn a_write_that_was_cut_short_leaves_the_old_pair_in_use() {
    let fleet = Fleet::new();
    let key = fleet.new_key();
    let new = fleet.new_certificate(&key, 30);
    for half in ["", &new.cert[..new.cert.len() / 2]] {
        write(&new.dir, NEW_CERT, half).unwrap();
        write(&new.dir, NEW_KEY, "-----BEGIN").unwrap();
        assert!(fits(&new.dir, CERT));
        finish(&new.dir).unwrap();
        assert!(fits(&new.dir, CERT) && fleet.is_usable());
    }
    let key = fleet.new_key();
    take(&fleet.new_certificate(&key, 30)).unwrap();
    assert!(fits(&new.dir, CERT));
}

/// A next change must not write over the half of this one that is still needed.
#[test]
fn a_change_that_was_cut_short_is_finished_before_the_next_begins() {
    let fleet = Fleet::new();
    let key = fleet.new_key();
    let new = fleet.new_certificate(&key, 30);
    for step in &STEPS[..2] {
        perform(&new.dir, *step, &new.cert).unwrap();
    }
    assert!(!fits(&new.dir, CERT) && fits(&new.dir, NEW_CERT));
    new_key(&new.dir).unwrap();
    assert_eq!(fleet.read(CERT).unwrap(), new.cert);
    assert!(fits(&new.dir, CERT));
}

#[test]
fn what_is_not_this_hosts_does_not_take_the_place_of_what_is() {
    let (fleet, stranger) = (Fleet::new(), Fleet::new());
    let old = [KEY, CERT].map(|name| fleet.read(name).unwrap());
    let key = fleet.new_key();
    let other_key = KeyPair::generate().unwrap();
    let mut server = named(HOST, wall_clock() + DAY);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (cert, reason) in [
        (fleet.sign(&key, "other", 30), "it is \"other\"'s"),
        (fleet.sign(&other_key, HOST, 30), "keys may not be consistent"),
        (stranger.sign(&key, HOST, 30), "not this host's"),
        (server.signed_by(&key, &fleet.ca).unwrap().pem(), "not this host's"),
        ("nonsense".into(), "not this host's"),
        (fleet.sign(&key, HOST, 0), "ended on"),
    ] {
        let error = take(&NewCertificate { dir: fleet.dir(), cert, host: HOST.into() }).unwrap_err();
        assert!(error.contains(reason), "{error} should say {reason}");
        assert_eq!([KEY, CERT].map(|name| fleet.read(name).unwrap()), old);
    }
}

#[test]
fn where_nothing_can_be_written_that_is_said() {
    let missing = Path::new("/nowhere/pki");
    let error = new_key(missing).unwrap_err();
    assert!(error.starts_with("/nowhere/pki/key.pem.new: "), "{error}");
}
