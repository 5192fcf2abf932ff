//! The CA's key at rest: PKCS#8, PEM, encrypted where there is a passphrase for it (PBES2 with scrypt
//! and AES-256-CBC), which `openssl pkey` reads as well. What is decrypted is in memory only.

use super::passphrase::{self, Passphrase};
use super::{PkiError, files};
use crate::limits::SCRYPT;
use pkcs8::der::Document;
use pkcs8::der::pem::PemLabel as _;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoOwned, LineEnding, PrivateKeyInfoRef};
use rcgen::KeyPair;
use std::path::Path;

/// The key as it is on the disk.
pub struct Kept {
    pub key: KeyPair,
    is_encrypted: bool,
}

/// The key in this file, `None` where there is no such file.
pub fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<Option<Kept>, PkiError> {
    let text = files::read(path).map_err(|reason| PkiError::File { path: path.to_owned(), reason })?;
    let Some(text) = text else { return Ok(None) };
    let is_encrypted = text.contains(EncryptedPrivateKeyInfoOwned::PEM_LABEL);
    let key = match (is_encrypted, passphrase) {
        (false, _) => KeyPair::from_pem(&text).map_err(|e| e.to_string()),
        (true, Some(passphrase)) => decrypt(&text, passphrase),
        (true, None) => Err(format!(
            "it is encrypted: give its passphrase by [pki] passphrase_file in the configuration, \
             by {} or by {}",
            passphrase::FILE_VARIABLE,
            passphrase::VARIABLE
        )),
    };
    let key = key.map_err(|reason| PkiError::damaged(path, reason))?;
    Ok(Some(Kept { key, is_encrypted }))
}

/// A key for a new CA, in this file.
pub fn make(path: &Path, passphrase: Option<&Passphrase>) -> Result<Kept, PkiError> {
    let key = KeyPair::generate()?;
    write(path, &key, passphrase)?;
    Ok(Kept { key, is_encrypted: passphrase.is_some() })
}

/// Encrypts what is plain on the disk, in one step, where there is a passphrase.
pub fn settle(path: &Path, kept: &Kept, passphrase: Option<&Passphrase>) -> Result<(), PkiError> {
    if passphrase.is_some() && !kept.is_encrypted {
        write(path, &kept.key, passphrase)?;
        tracing::info!(file = %path.display(), "the CA's key was plain and is encrypted now");
    }
    Ok(())
}

fn write(path: &Path, key: &KeyPair, passphrase: Option<&Passphrase>) -> Result<(), PkiError> {
    let pem = match passphrase {
        None => key.serialize_pem(),
        Some(passphrase) => encrypt(key, passphrase).map_err(|reason| PkiError::damaged(path, reason))?,
    };
    files::write(path, pem.as_bytes(), 0o600)
        .map_err(|reason| PkiError::File { path: path.to_owned(), reason })
}

fn encrypt(key: &KeyPair, passphrase: &Passphrase) -> Result<String, String> {
    let [mut salt, mut iv] = [[0; 16]; 2];
    for bytes in [&mut salt, &mut iv] {
        getrandom::fill(bytes).map_err(|e| e.to_string())?;
    }
    let (log_n, r, p) = SCRYPT;
    let scrypt = scrypt::Params::new(log_n, r, p).map_err(|e| e.to_string())?;
    let how = pbes2::Parameters::generate_scrypt_aes256cbc(scrypt, &salt, iv).map_err(|e| e.to_string())?;
    let der = key.serialize_der();
    let info = PrivateKeyInfoRef::try_from(der.as_slice()).map_err(|e| e.to_string())?;
    let encrypted = info.encrypt_with_params(how, passphrase).map_err(|e| e.to_string())?;
    let pem = encrypted.to_pem(EncryptedPrivateKeyInfoOwned::PEM_LABEL, LineEnding::LF);
    Ok(pem.map_err(|e| e.to_string())?.to_string())
}

fn decrypt(text: &str, passphrase: &Passphrase) -> Result<KeyPair, String> {
    let damaged = |e: &dyn std::fmt::Display| format!("it looks encrypted, and cannot be read: {e}");
    let (_, document) = Document::from_pem(text).map_err(|e| damaged(&e))?;
    let encrypted: EncryptedPrivateKeyInfoOwned = document.decode_msg().map_err(|e| damaged(&e))?;
    let wrong = "the passphrase is not the one that it was encrypted with, or the file is damaged";
    let plain = encrypted.decrypt(passphrase).map_err(|_| wrong.to_owned())?;
    KeyPair::try_from(plain.as_bytes()).map_err(|_| wrong.to_owned())
}
