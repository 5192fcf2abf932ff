//! From what was sent to whoever sent it, or a refusal that says the same whether there is such a
//! user or not, and takes as long.

use super::{Credentials, Key, Principal, Session, TOKEN_PREFIX, User, Via, hash};
use crate::app::App;
use crate::clock;
use crate::limits::PASSWORD_BYTES;
use crate::problem::Problem;
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;

/// Whose they are, or why nobody is let in with them: 401, 429 or 503.
pub async fn authenticate(app: &App, credentials: &Credentials, from: IpAddr) -> Result<Principal, Problem> {
    match credentials {
        Credentials::Bearer(secret) if app.is_admin(secret) => Ok(Principal::admin_token()),
        Credentials::Bearer(secret) => by_token(app, secret, None).ok_or_else(|| {
            Problem::unauthorized("the token is unknown, or it has expired, or its user is disabled")
        }),
        Credentials::Basic { password, .. } if app.is_admin(password) => Ok(Principal::admin_token()),
        Credentials::Basic { name, password } => {
            let token = password.starts_with(TOKEN_PREFIX).then(|| by_token(app, password, Some(name)));
            if let Some(principal) = token.flatten() {
                return Ok(principal);
            }
            let user = by_password(app, name, password, from).await?;
            Ok(principal(app, &user, Via::Password))
        }
        Credentials::Session(secret) => by_session(app, secret)
            .ok_or_else(|| Problem::unauthorized("the session has ended; log in again")),
    }
}

/// The user whose name and password these are.
pub async fn by_password(app: &App, name: &str, password: &str, from: IpAddr) -> Result<Arc<User>, Problem> {
    let people = &app.people;
    let user = people.roster.user(name).filter(|user| !user.disabled);
    let kept = user.as_ref().and_then(|user| user.password.as_deref());
    if kept.is_some_and(|kept| people.passwords.is_known(kept, password)) {
        return user.ok_or_else(wrong);
    }
    let (by_name, by_address) = (Key::Name(Sha256::digest(name).into()), Key::address(from));
    let now = Instant::now();
    // In this order: one address alone cannot keep everybody out.
    people.by_address.take(by_address, now).map_err(too_often)?;
    people.by_name.take(by_name, now).map_err(too_often)?;
    // No password is as long; a hash of it would take that much longer.
    let asked = if password.len() > *PASSWORD_BYTES.end() { "" } else { password };
    let fits = people.passwords.fits(kept, asked).await;
    if !matches!(fits, Ok(false)) {
        people.by_name.give_back(by_name);
        people.by_address.give_back(by_address);
    }
    match (fits, user) {
        (Ok(true), Some(user)) => Ok(user),
        (Ok(_), _) => Err(wrong()),
        (Err(busy), _) => Err(Problem::unavailable(busy.to_string())),
    }
}

/// What the cookie's owner has to send along to change something: other pages can make a browser
/// send the cookie, but not this.
pub fn csrf(cookie: &str) -> String {
    crate::requests::hex(&Sha256::new_with_prefix("csrf\0").chain_update(cookie).finalize())
}

/// Whether this is what belongs to the cookie; takes as long whatever it is.
pub fn is_csrf(cookie: &str, sent: &[u8]) -> bool {
    csrf(cookie).as_bytes().ct_eq(sent).into()
}

/// The user as he is by now.
pub fn principal(app: &App, user: &User, via: Via) -> Principal {
    Principal::user(user.name.clone(), (user.role, user.limit.clone()), None, via, &app.people.policy)
}

/// `name` is of the user whose the token has to be.
fn by_token(app: &App, secret: &str, name: Option<&str>) -> Option<Principal> {
    let now = clock::now();
    let (token, user) = app.people.roster.token(&hash(secret), now)?;
    if name.is_some_and(|name| name != &*user.name) {
        return None;
    }
    token.used.now(now);
    let (own, of_token) = ((user.role, user.limit.clone()), (token.role, token.limit.clone()));
    let via = Via::Token(token.name.clone());
    Some(Principal::user(user.name.clone(), own, Some(of_token), via, &app.people.policy))
}

fn by_session(app: &App, secret: &str) -> Option<Principal> {
    let now = clock::now();
    let (session, user): (Arc<Session>, _) = app.people.roster.session(&hash(secret), now)?;
    session.used.now(now);
    Some(principal(app, &user, Via::Session(session.hash)))
}

fn wrong() -> Problem {
    Problem::unauthorized("the name or the password is wrong")
}

fn too_often(wait: Duration) -> Problem {
    Problem::too_many("too many wrong passwords of this name or from this address; try again later", wait)
}
