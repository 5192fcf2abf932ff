//! A new key and a new certificate in the place of the old ones. Both halves run as tasks.
//!
//! Two files do not change at once. So the new ones are whole and on the disk before either takes its
//! place, the key first: whoever then finds a key without its certificate, because what ran here was
//! killed, has it in `cert.pem.new`, and can finish the change.

use super::tls::identity::{CERT, KEY, NEW_CERT, fits, identity_fits, rfc3339, signed_until};
use super::wall_clock;
use crate::machine::NewCertificate;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const NEW_KEY: &str = "key.pem.new";

/// One change of the folder.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The certificate is written beside the old one.
    Write,
    Rename(&'static str, &'static str),
}

/// In this order there is a key with its certificate after each.
const STEPS: [Step; 3] = [Step::Write, Step::Rename(NEW_KEY, KEY), Step::Rename(NEW_CERT, CERT)];

/// Makes a key, beside the one in use. Answers its signing request, PEM.
///
/// # Errors
/// The file and the reason. The identity is as it was.
pub(super) fn new_key(dir: &Path) -> Result<String, String> {
    finish(dir)?;
    let key = rcgen::KeyPair::generate().map_err(|e| e.to_string())?;
    let request = rcgen::CertificateParams::default().serialize_request(&key).and_then(|csr| csr.pem());
    write(dir, NEW_KEY, &key.serialize_pem())?;
    request.map_err(|e| e.to_string())
}

/// Puts the new key and this certificate of it into their places. Answers when it ends.
///
/// # Errors
/// What is wrong with the certificate, or the file and the reason.
pub(super) fn take(new: &NewCertificate) -> Result<String, String> {
    let NewCertificate { dir, cert, host } = new;
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let wrong = |reason: String| format!("the server sent a certificate that is not this host's: {reason}");
    identity_fits(cert, &read(NEW_KEY)?, host).map_err(wrong)?;
    let ends = signed_until(cert, &read("ca.pem")?).map_err(wrong)?;
    if ends <= wall_clock() {
        return Err(format!("the server sent a certificate that ended on {}", rfc3339(ends)));
    }
    STEPS.iter().try_for_each(|step| perform(dir, *step, cert))?;
    Ok(rfc3339(ends).to_string())
}

/// Brings a change to its end that was cut short.
///
/// # Errors
/// The file and the reason.
pub fn finish(dir: &Path) -> Result<(), String> {
    if !fits(dir, CERT) && fits(dir, NEW_CERT) {
        perform(dir, Step::Rename(NEW_CERT, CERT), "")?;
    }
    Ok(())
}

fn perform(dir: &Path, step: Step, cert: &str) -> Result<(), String> {
    match step {
        Step::Write => write(dir, NEW_CERT, cert),
        Step::Rename(from, to) => {
            let done = fs::rename(dir.join(from), dir.join(to)).and_then(|()| sync(dir));
            done.map_err(|e| format!("{}: {e}", dir.join(to).display()))
        }
    }
}

/// A whole file for us alone, on the disk.
fn write(dir: &Path, name: &str, content: &str) -> Result<(), String> {
    let path = dir.join(name);
    let written = || {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        sync(dir)
    };
    written().map_err(|e| format!("{}: {e}", path.display()))
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
#[path = "renew_tests.rs"]
mod tests;
