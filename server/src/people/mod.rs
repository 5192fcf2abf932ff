//! Who calls, and what they may do.

use crate::app::App;
use std::sync::Arc;

/// What somebody may do: each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees everything but people and secrets, and changes nothing.
    Readonly,
    /// Gives orders to hosts.
    Operator,
    /// Decides who may.
    Admin,
}

/// Whoever calls, as every call finds it among its extensions.
#[derive(Debug, Clone)]
pub struct Principal {
    pub name: Arc<str>,
    pub role: Role,
}

/// What was sent to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Bearer`.
    Bearer(String),
    /// `Authorization: Basic`: the password, or a token in its place.
    Basic { name: String, password: String },
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Readonly => "readonly",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// Whose they are, if anybody's.
pub fn authenticate(app: &App, credentials: &Credentials) -> Option<Principal> {
    let (Credentials::Bearer(secret) | Credentials::Basic { password: secret, .. }) = credentials;
    app.is_admin(secret).then(|| Principal { name: "admin.token".into(), role: Role::Admin })
}
