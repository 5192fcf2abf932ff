//! What somebody may do, and what each call asks for: the one table of it.

use axum::http::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What somebody may do: each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything but people and secrets, and changes nothing.
    Readonly,
    /// Gives orders to hosts.
    Operator,
    /// Decides who may.
    Admin,
}

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// Nobody has to say who he is.
    Anybody,
    /// Whoever has this role or a higher one. Where his hosts are limited, the call is about these alone.
    Role(Role),
    /// As `Role`, but nobody whose hosts are limited: it is about more than hosts can tell.
    Whole(Role),
    /// The user of the path's `{name}`, unless he came by an access token; and admins, as of `Whole`.
    Own,
}

/// What is not as [`least`] says by itself: method (`*`: any), path, who.
const RULES: &[(&str, &str, Least)] = &[
    ("POST", "/api/v1/login", Least::Anybody),
    ("POST", "/api/v1/logout", Least::Role(Role::Readonly)),
    // Each looks at the hosts itself, so that whoever is limited to some may call it.
    ("POST", "/api/v1/requests", Least::Role(Role::Operator)),
    ("DELETE", "/api/v1/requests/{id}", Least::Role(Role::Operator)),
    ("POST", "/api/v1/boot/jobs", Least::Role(Role::Operator)),
    ("DELETE", "/api/v1/boot/jobs/{id}", Least::Role(Role::Operator)),
    ("DELETE", "/api/v1/hosts/{id}", Least::Role(Role::Operator)),
    // Enrolment tokens: whoever runs the fleet takes hosts into it.
    ("*", "/api/v1/tokens", Least::Whole(Role::Operator)),
    ("*", "/api/v1/tokens/{id}", Least::Whole(Role::Operator)),
    // People.
    ("*", "/api/v1/users", Least::Whole(Role::Admin)),
    ("GET", "/api/v1/users/{name}", Least::Own),
    ("*", "/api/v1/users/{name}", Least::Whole(Role::Admin)),
    ("*", "/api/v1/users/{name}/password", Least::Own),
    ("*", "/api/v1/users/{name}/tokens", Least::Own),
    ("*", "/api/v1/users/{name}/tokens/{token}", Least::Own),
    ("*", "/api/v1/audit", Least::Whole(Role::Admin)),
];

/// Who may make this call. What the table does not know may be seen by everybody who is known, and
/// changed by operators whose hosts are not limited. `path` is the route's, `None` where there is none.
pub fn least(method: &Method, path: Option<&str>) -> Least {
    let name = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let rule = RULES.iter().find(|(of, at, _)| path == Some(at) && (*of == "*" || *of == name));
    match rule {
        Some((_, _, least)) => *least,
        None if method.is_safe() => Least::Role(Role::Readonly),
        None => Least::Whole(Role::Operator),
    }
}

impl Role {
    /// From the least to the most.
    pub const ALL: [Role; 3] = [Role::Readonly, Role::Operator, Role::Admin];

    /// As the interface and the database have it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Readonly => "readonly",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn named(text: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_thought_of_is_not_for_those_who_are_limited() {
        let unknown = Some("/api/v1/rollouts/{id}");
        assert_eq!(least(&Method::GET, unknown), Least::Role(Role::Readonly));
        assert_eq!(least(&Method::POST, unknown), Least::Whole(Role::Operator));
        assert_eq!(least(&Method::PATCH, Some("/api/v1/hosts/{id}")), Least::Whole(Role::Operator));
        assert_eq!(least(&Method::DELETE, None), Least::Whole(Role::Operator));
    }

    #[test]
    fn a_head_is_as_its_get() {
        for path in ["/api/v1/audit", "/api/v1/users/{name}", "/api/v1/hosts"] {
            assert_eq!(least(&Method::HEAD, Some(path)), least(&Method::GET, Some(path)), "{path}");
        }
        assert_eq!(least(&Method::HEAD, Some("/api/v1/audit")), Least::Whole(Role::Admin));
    }

    #[test]
    fn names_are_found_again() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert_eq!(Role::named("root"), None);
    }
}
