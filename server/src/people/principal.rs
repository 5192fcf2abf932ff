//! Whoever calls.

use super::{Limit, Methods, Policy, Role, Scope, User};
use crate::clock::EpochMs;
use std::sync::Arc;

/// The name of whoever shows the administrator's token: no user has it.
pub const ADMIN_TOKEN: &str = "admin.token";

/// Whoever calls, as every call finds it among its extensions.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The user's.
    pub name: Arc<str>,
    /// When the user was made: what was asked under his name before was asked by somebody else.
    pub since: EpochMs,
    pub role: Role,
    pub via: Via,
    /// The hosts that he sees and reaches.
    pub scope: Scope,
    /// What he may send to them.
    pub methods: Methods,
}

/// How he was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// By the token in the data folder.
    AdminToken,
    Password,
    /// By the cookie that a password gave, whose hash this is.
    Session([u8; 32]),
    /// By an access token of this name.
    Token(Arc<str>),
}

/// What was sent to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Bearer`.
    Bearer(String),
    /// `Authorization: Basic`: the password, or a token in its place.
    Basic { name: String, password: String },
    /// The cookie.
    Session(String),
}

impl Principal {
    /// Whoever shows the administrator's token.
    pub fn admin_token() -> Principal {
        Principal {
            name: ADMIN_TOKEN.into(),
            since: 0,
            role: Role::Admin,
            via: Via::AdminToken,
            scope: Scope::default(),
            methods: Methods::default(),
        }
    }

    /// The user, by an access token that has a role and a limit of its own where `token` is some. What is
    /// asked of the user's own role is asked of his tokens, too: none is a way around it.
    pub(super) fn user(
        user: &User,
        token: Option<(Role, Option<Limit>)>,
        via: Via,
        policy: &Policy,
    ) -> Principal {
        let role = user.role;
        let (lowered, further) = token.unwrap_or((role, None));
        let acting = role.min(lowered);
        let of_acting = if acting == role { None } else { policy.limit(acting) };
        Principal {
            name: user.name.clone(),
            since: user.created,
            role: acting,
            via,
            scope: Scope::of([user.limit.clone(), further, policy.limit(role), of_acting]),
            methods: policy.methods(acting),
        }
    }

    /// The access token's name, where there is one.
    pub fn token(&self) -> Option<&str> {
        if let Via::Token(name) = &self.via { Some(name) } else { None }
    }

    /// Whether what this one asked for then was asked by him.
    pub fn is_own(&self, who: Option<&str>, created: EpochMs) -> bool {
        who == Some(&*self.name) && created >= self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_has_more_than_its_user() {
        let policy: Policy = toml::from_str(
            "[operator]\ntarget = 'region == \"cn-1\"'\nmethods = ['sync.bash']\n\
             [readonly]\ntarget = 'tags.svc == \"a\"'\n",
        )
        .unwrap();
        let of = |role, token| {
            let token = Some((token, Some(Limit::parse("name ~ \"w*\"").unwrap())));
            let (name, password, limit) = ("a".into(), None, None);
            let user = User { name, role, password, limit, disabled: false, created: 0, modified: 0 };
            Principal::user(&user, token, Via::Token("t".into()), &policy)
        };
        let shown = |who: &Principal| (who.role, who.scope.texts().map(str::to_owned).collect::<Vec<_>>());
        let (own, cn, svc) = ("name ~ \"w*\"", "region == \"cn-1\"", "tags.svc == \"a\"");
        for (role, token, acting, limits) in [
            (Role::Admin, Role::Admin, Role::Admin, &[own][..]),
            (Role::Admin, Role::Operator, Role::Operator, &[own, cn]),
            (Role::Operator, Role::Admin, Role::Operator, &[own, cn]),
            (Role::Operator, Role::Readonly, Role::Readonly, &[own, cn, svc]),
            (Role::Readonly, Role::Admin, Role::Readonly, &[own, svc]),
        ] {
            let who = of(role, token);
            assert_eq!(shown(&who), (acting, limits.iter().map(|&text| text.to_owned()).collect()));
            assert_eq!(who.methods.allow("cron.set"), acting != Role::Operator);
        }
    }
}
