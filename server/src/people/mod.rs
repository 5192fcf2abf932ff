//! Who calls, and what they may do: from what was sent to be let in to a [`Principal`], which
//! has a [`Role`], a [`Scope`] of hosts, and the methods that it may send to them.

pub mod admit;
mod attempts;
pub mod audit;
pub mod keep;
mod limiter;
pub mod note;
pub mod passwords;
mod policy;
mod principal;
mod role;
mod roster;
mod scope;
mod sparing;

pub use attempts::Attempt;
pub use limiter::{Key, Limiter};
pub use policy::{Methods, Policy};
pub use principal::{ADMIN_TOKEN, Credentials, Principal, Via};
pub use role::{Least, Role, least};
pub use roster::{AccessToken, Hash, Roster, Session, Used, User, Uses};
pub use scope::{Limit, Scope};
pub use sparing::Sparing;

use crate::app::random_secret;
use crate::store::{Store, StoreError};
use attempts::Attempts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passwords::Passwords;
use sha2::{Digest as _, Sha256};

/// What an access token begins with, so that one that lies about is known for what it is.
pub const TOKEN_PREFIX: &str = "polaris_";

/// Everybody who may be let in, and what is asked of them.
pub struct People {
    pub roster: Roster,
    pub policy: Policy,
    pub passwords: Passwords,
    /// Held by whoever changes something of them, from reading it to having written it.
    pub changing: tokio::sync::Mutex<()>,
    attempts: Attempts,
}

impl People {
    /// As the database has them.
    pub async fn load(store: &Store, policy: Policy) -> Result<People, StoreError> {
        let roster = Roster::new(
            store.load_users().await?,
            store.load_access_tokens().await?,
            store.load_sessions().await?,
        );
        Ok(People {
            roster,
            policy,
            passwords: Passwords::new(random_secret),
            changing: tokio::sync::Mutex::default(),
            attempts: Attempts::new(random_secret()),
        })
    }
}

/// What is kept of a secret.
pub fn hash(secret: &str) -> Hash {
    Sha256::digest(secret).into()
}

/// A secret nobody can guess.
pub fn secret(prefix: &str) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random_secret()))
}
