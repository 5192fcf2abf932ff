//! From what was sent to whoever sent it, or a refusal that says the same whether there is such a
//! user or not, and takes as long.

use super::passwords::Busy;
use super::{Attempt, Credentials, People, Principal, Session, TOKEN_PREFIX, User, Via, hash};
use crate::app::App;
use crate::clock;
use crate::limits::PASSWORD_BYTES;
use crate::problem::Problem;
use crate::unbroken::to_the_end;
use sha2::{Digest as _, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq as _;

/// Whose they are, or why nobody is let in with them: 401, 429 or 503.
pub async fn authenticate(
    app: &Arc<App>,
    credentials: &Credentials,
    from: IpAddr,
) -> Result<Principal, Problem> {
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
pub async fn by_password(
    app: &Arc<App>,
    name: &str,
    password: &str,
    from: IpAddr,
) -> Result<Arc<User>, Problem> {
    let attempt = Attempt::of(name, from);
    if let Some(user) = known(app, &attempt, name, password)? {
        return Ok(user);
    }
    let (app, name, password) = (app.clone(), name.to_owned(), password.to_owned());
    // To its end: what was wrong counts whether somebody waits for the answer or not, and nothing else does.
    to_the_end(async move { looked_at(&app, &attempt, &name, &password).await }).await
}

/// The user, where this was found to be his password a moment ago. Asked of nobody who has to wait: he
/// could go on guessing.
fn known(app: &App, attempt: &Attempt, name: &str, password: &str) -> Result<Option<Arc<User>>, Problem> {
    let People { attempts, roster, passwords, .. } = &app.people;
    attempts.may_try(attempt, Instant::now()).map_err(too_often)?;
    let user = roster.user(name).filter(|user| !user.disabled);
    Ok(user.filter(|user| {
        user.password.as_deref().is_some_and(|kept| passwords.is_known(kept, password, attempt))
    }))
}

async fn looked_at(app: &App, attempt: &Attempt, name: &str, password: &str) -> Result<Arc<User>, Problem> {
    let People { attempts, roster, passwords, .. } = &app.people;
    let busy = |busy: Busy| Problem::unavailable(busy.to_string());
    let _turn = attempts.turn(attempt).await.map_err(busy)?;
    // Asked again: those before may have shown what is right, or been wrong too often.
    if let Some(user) = known(app, attempt, name, password)? {
        return Ok(user);
    }
    attempts.may_be_tried(attempt, Instant::now()).map_err(too_often)?;
    let user = roster.user(name).filter(|user| !user.disabled);
    let kept = user.as_ref().and_then(|user| user.password.as_deref());
    // No password is as long; a hash of it would take that much longer.
    let asked = if password.len() > *PASSWORD_BYTES.end() { "" } else { password };
    if passwords.fits(kept, asked, attempt).await.map_err(busy)? {
        return user.ok_or_else(wrong);
    }
    attempts.failed(attempt, Instant::now());
    Err(wrong())
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
    Principal::user(user, None, via, &app.people.policy)
}

/// `name` is of the user whose the token has to be.
fn by_token(app: &App, secret: &str, name: Option<&str>) -> Option<Principal> {
    let now = clock::now();
    let (token, user) = app.people.roster.token(&hash(secret), now)?;
    if name.is_some_and(|name| name != &*user.name) {
        return None;
    }
    token.used.now(now);
    let of_token = (token.role, token.limit.clone());
    Some(Principal::user(&user, Some(of_token), Via::Token(token.name.clone()), &app.people.policy))
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
