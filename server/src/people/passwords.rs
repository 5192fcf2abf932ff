//! Passwords: hashed with argon2id, which takes its time and memory on purpose, so that only so many
//! are at once, and those that were right a moment ago are known again without it.

use super::Attempt;
use crate::limits::{
    KNOWN_PASSWORDS, MAX_PASSWORDS_WAITING, PASSWORD_BYTES, PASSWORD_KNOWN, PASSWORDS_AT_ONCE,
};
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// OWASP's second choice of parameters: KiB of memory, passes over it, and lanes.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Bytes.
const SALT: usize = 16;

/// Too many passwords are looked at already. Nobody's fault; it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are looked at already; try again in a moment, or use an access token")]
pub struct Busy;

/// Hashes, and holds against hashes.
#[derive(Debug)]
pub struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
    /// What is held against a password where there is no hash, so that it takes as long.
    nobodys: String,
    known: Known,
}

/// What was right a moment ago.
#[derive(Debug)]
struct Known {
    /// Of this process alone, so that what is kept says nothing to anybody else.
    secret: [u8; 32],
    /// Until when.
    digests: Mutex<HashMap<[u8; 32], Instant>>,
}

/// Whether a new password is one, or what it has to be.
pub fn check(password: &str) -> Result<(), String> {
    let (least, most) = (PASSWORD_BYTES.start(), PASSWORD_BYTES.end());
    if PASSWORD_BYTES.contains(&password.len()) {
        return Ok(());
    }
    Err(format!("a password has {least} to {most} bytes, this one {}", password.len()))
}

impl Passwords {
    /// `random` makes 256 bits.
    pub fn new(random: impl Fn() -> [u8; 32]) -> Passwords {
        Passwords {
            at_once: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
            waiting: Semaphore::new(MAX_PASSWORDS_WAITING),
            nobodys: hashed("", &random()),
            known: Known { secret: random(), digests: Mutex::default() },
        }
    }

    /// The hash to keep of a password, which [`check`] has found good.
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        self.apart(move || hashed(&password, &crate::app::random_secret())).await
    }

    /// Whether the password is the one of the hash; without a hash it takes as long and is not.
    /// One that is right is known again where it was tried.
    pub async fn fits(&self, hash: Option<&str>, password: &str, attempt: &Attempt) -> Result<bool, Busy> {
        let (kept, text) = (hash.unwrap_or(&self.nobodys).to_owned(), password.to_owned());
        let fits = self.apart(move || holds(&kept, &text)).await? && hash.is_some();
        if let Some(hash) = hash.filter(|_| fits) {
            self.known.add(hash, password, attempt);
        }
        Ok(fits)
    }

    /// Whether the password was found to be the hash's a moment ago, and from there.
    pub fn is_known(&self, hash: &str, password: &str, attempt: &Attempt) -> bool {
        self.known.has(hash, password, attempt)
    }

    /// On a thread that may take its time.
    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Busy)?;
        let turn = self.at_once.clone().acquire_owned().await.expect("nobody closes the semaphore");
        // The turn goes with the work, which goes on when whoever waits for it has left.
        let done = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        Ok(done.await.expect("hashing does not panic"))
    }
}

impl Known {
    fn add(&self, hash: &str, password: &str, attempt: &Attempt) {
        let (now, digest) = (Instant::now(), self.digest(hash, password, attempt));
        let mut digests = self.digests.lock().expect("nothing panics while it holds the digests");
        if digests.len() >= KNOWN_PASSWORDS {
            digests.retain(|_, until| *until > now);
        }
        if digests.len() >= KNOWN_PASSWORDS {
            digests.clear();
        }
        digests.insert(digest, now + PASSWORD_KNOWN);
    }

    fn has(&self, hash: &str, password: &str, attempt: &Attempt) -> bool {
        let digests = self.digests.lock().expect("nothing panics while it holds the digests");
        digests.get(&self.digest(hash, password, attempt)).is_some_and(|until| *until > Instant::now())
    }

    /// The hash is in it: whoever changes his password is not known by the old one. So is where it comes
    /// from: nobody is told elsewhere, sooner than by a hash, which password is right.
    fn digest(&self, hash: &str, password: &str, attempt: &Attempt) -> [u8; 32] {
        let length = u64::try_from(hash.len()).unwrap_or(u64::MAX).to_be_bytes();
        let digest = Sha256::new_with_prefix(self.secret).chain_update(length).chain_update(hash);
        digest.chain_update(attempt.here()).chain_update(password).finalize().into()
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are in range");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hashed(password: &str, random: &[u8; 32]) -> String {
    let salt = SaltString::encode_b64(&random[..SALT]).expect("it is as long as a salt may be");
    let hash = argon2().hash_password(password.as_bytes(), &salt);
    hash.expect("no password is too long for it").to_string()
}

fn holds(hash: &str, password: &str) -> bool {
    match PasswordHash::new(hash) {
        Ok(hash) => argon2().verify_password(password.as_bytes(), &hash).is_ok(),
        Err(error) => {
            tracing::error!(%error, "the database holds a password's hash that is none");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::random_secret;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_alone() {
        let passwords = Passwords::new(random_secret);
        let of = |from: &str| Attempt::of("ann", from.parse().unwrap());
        let (here, elsewhere) = (of("192.0.2.1"), of("192.0.2.2"));
        let hash = passwords.hash("correct horse battery".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(!passwords.is_known(&hash, "correct horse battery", &here));
        assert!(passwords.fits(Some(&hash), "correct horse battery", &here).await.unwrap());
        assert!(passwords.is_known(&hash, "correct horse battery", &here));
        assert!(!passwords.is_known(&hash, "correct horse battery", &elsewhere), "where it was proved alone");
        assert!(!passwords.fits(Some(&hash), "correct horse batterY", &here).await.unwrap());
        assert!(!passwords.is_known(&hash, "correct horse batterY", &here));
        assert!(!passwords.fits(None, "", &here).await.unwrap(), "nobody's fits nobody");
        assert!(!passwords.fits(Some("damaged"), "x", &here).await.unwrap());
        let other = passwords.hash("correct horse battery".into()).await.unwrap();
        assert_ne!(hash, other);
        assert!(!passwords.is_known(&other, "correct horse battery", &here));
    }

    #[test]
    fn only_so_many_are_known_again() {
        let known = Known { secret: random_secret(), digests: Mutex::default() };
        let here = Attempt::of("ann", [127, 0, 0, 1].into());
        for n in 0..=KNOWN_PASSWORDS {
            known.add("hash", &n.to_string(), &here);
            assert!(known.has("hash", &n.to_string(), &here));
        }
        assert!(known.digests.lock().unwrap().len() <= KNOWN_PASSWORDS);
    }

    #[test]
    fn the_length_is_what_is_asked_of_a_password() {
        for (length, good) in [(0, false), (11, false), (12, true), (1024, true), (1025, false)] {
            assert_eq!(check(&"x".repeat(length)).is_ok(), good, "{length}");
        }
        assert_eq!(check("short").unwrap_err(), "a password has 12 to 1024 bytes, this one 5");
    }
}
