//! Who gets past: each call is let through with its [`Principal`] among its extensions, or
//! refused; and what changes something goes with a [`Note`] for the audit log.

use super::cookie;
use crate::agents::Caller;
use crate::agents::listener::NOT_KNOWN;
use crate::app::App;
use crate::people::note::Note;
use crate::people::{Credentials, Least, Principal, Role, admit, least};
use crate::problem::Problem;
use crate::web::Peer;
use axum::Extension;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What a page sends with what it changes by the cookie.
const CSRF: &str = "x-csrf-token";

/// The middleware before everything that is not for everybody.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let peer = peer(&parts);
    if parts.method.is_safe() {
        return match admitted(&app, &mut parts, peer).await {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(problem) => {
                if parts.headers.contains_key(header::AUTHORIZATION) {
                    refused(&app, &parts, peer, &problem);
                }
                refusal(&parts, problem)
            }
        };
    }
    let note = match app.audit.place() {
        Ok(place) => Note::new(place, peer, parts.method.as_str(), parts.uri.path()),
        Err(problem) => return problem.into_response(),
    };
    let admitted = admitted(&app, &mut parts, peer).await;
    if let Some(who) = parts.extensions.get::<Principal>() {
        note.by(who);
    } else if admitted.is_err() {
        claims(&note, &parts.headers);
    }
    let response = match admitted {
        Ok(()) => {
            parts.extensions.insert(note.clone());
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => refusal(&parts, problem),
    };
    if response.status().is_success() || note.is_known() {
        note.end(response.status().as_u16());
    } else {
        of_nobody(&app, &note, response.status());
    }
    response
}

/// With whoever it is of, where that is known: the log says it.
fn refusal(parts: &Parts, problem: Problem) -> Response {
    let mut response = problem.into_response();
    if let Some(who) = parts.extensions.get::<Principal>() {
        response.extensions_mut().insert(who.clone());
    }
    response
}

/// The middleware before everything of the agents' port: a host that was revoked gets nothing, whatever
/// else it shows. Now, and not when its connection was made.
pub async fn known_host(Extension(caller): Extension<Caller>, request: Request, next: Next) -> Response {
    if caller.is_nobody() {
        return Problem::new(StatusCode::FORBIDDEN, NOT_KNOWN).into_response();
    }
    next.run(request).await
}

/// Records that somebody was not let in, who said who he was.
fn refused(app: &App, parts: &Parts, peer: IpAddr, problem: &Problem) {
    // To look changes nothing: it may be refused without a record.
    let Ok(place) = app.audit.place() else { return };
    let note = Note::new(place, peer, parts.method.as_str(), parts.uri.path());
    claims(&note, &parts.headers);
    match parts.extensions.get::<Principal>() {
        Some(_) => note.withdraw(),
        None => of_nobody(app, &note, problem.status()),
    }
}

/// Who he says that he is, where he says it.
fn claims(note: &Note, headers: &HeaderMap) {
    if let Some(Credentials::Basic { name, .. }) = credentials(headers, false) {
        note.claims(&name);
    }
}

/// As many of them are recorded as there is room for.
pub(super) fn of_nobody(app: &App, note: &Note, status: StatusCode) {
    match app.audit.takes_refusal() {
        Some(passed_over) => {
            note.passed_over(passed_over);
            note.end(status.as_u16());
        }
        None => note.withdraw(),
    }
}

/// Whether the call is let through. Whoever calls is among its extensions, if that is known.
async fn admitted(app: &Arc<App>, parts: &mut Parts, peer: IpAddr) -> Result<(), Problem> {
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let least = least(&parts.method, path.as_ref().map(MatchedPath::as_str));
    if least == Least::Anybody {
        return Ok(());
    }
    let wanted = "send a token as Authorization: Bearer TOKEN: an access token, or that of admin.token";
    let credentials = credentials(&parts.headers, app.config.web.secure_cookies);
    let credentials = credentials.ok_or_else(|| Problem::unauthorized(wanted))?;
    let who = admit::authenticate(app, &credentials, peer).await?;
    parts.extensions.insert(who.clone());
    if let Credentials::Session(cookie) = &credentials {
        check_csrf(&parts.method, &parts.headers, cookie)?;
    }
    let name = match least {
        Least::Own => named(parts).await,
        _ => None,
    };
    check(&who, least, name.as_deref())
}

/// 403 unless the page that sends the cookie knows what belongs to it.
fn check_csrf(method: &Method, headers: &HeaderMap, cookie: &str) -> Result<(), Problem> {
    let sent = headers.get(CSRF).map(axum::http::HeaderValue::as_bytes);
    if method.is_safe() || sent.is_some_and(|sent| admit::is_csrf(cookie, sent)) {
        return Ok(());
    }
    let reason = format!("{CSRF}: must be the csrf that came with the session: see POST /api/v1/login");
    Err(Problem::forbidden(reason))
}

/// The user whom the path names.
async fn named(parts: &mut Parts) -> Option<String> {
    let variables = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    variables.iter().find(|(key, _)| *key == "name").map(|(_, value)| value.to_owned())
}

/// 403 with the reason, for whoever may not make the call.
fn check(who: &Principal, least: Least, name: Option<&str>) -> Result<(), Problem> {
    let refused = |reason: String| Err(Problem::forbidden(reason));
    let (role, whole) = match least {
        Least::Anybody => return Ok(()),
        Least::Role(role) => (role, false),
        Least::Whole(role) => (role, true),
        Least::Own if name == Some(&*who.name) && who.token().is_none() => return Ok(()),
        Least::Own if name == Some(&*who.name) && who.role < Role::Admin => {
            return refused("an access token does not manage its user: come with his password".to_owned());
        }
        Least::Own => (Role::Admin, true),
    };
    if who.role < role {
        return refused(format!("this is for the role {}; yours is {}", role.name(), who.role.name()));
    }
    if whole && !who.scope.is_whole() {
        let texts: Vec<_> = who.scope.texts().collect();
        let reason = "this is about more than single hosts, and you are limited to those of";
        return refused(format!("{reason} {}", texts.join(", and of ")));
    }
    Ok(())
}

/// 403 unless his role sends this method to hosts.
pub(super) fn may_send(who: &Principal, method: &str) -> Result<(), Problem> {
    if who.methods.allow(method) {
        return Ok(());
    }
    let reason = format!("the role {} sends {} to hosts, and not {method}", who.role.name(), who.methods);
    Err(Problem::forbidden(reason))
}

fn peer(parts: &Parts) -> IpAddr {
    let known = parts.extensions.get::<Peer>();
    known.map_or(Ipv4Addr::UNSPECIFIED.into(), |Peer(address)| address.ip().to_canonical())
}

/// What the header `Authorization` says, or else the cookie; `None` without one that is understood.
fn credentials(headers: &HeaderMap, secure: bool) -> Option<Credentials> {
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        return cookie::find(headers, secure).map(Credentials::Session);
    };
    let (scheme, value) = header.to_str().ok()?.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(value.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    // RFC 7617: base64 of NAME:PASSWORD.
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Credentials::Basic { name: name.to_owned(), password: password.to_owned() })
}

/// The handlers' way to it.
impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        extension(parts)
    }
}

/// The handlers' way to it, where something changes.
impl<S: Send + Sync> FromRequestParts<S> for Note {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        extension(parts)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        extension(parts)
    }
}

fn extension<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Problem> {
    parts.extensions.get::<T>().cloned().ok_or_else(|| {
        tracing::error!(path = parts.uri.path(), "a call was served that nobody looked at before");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of polaris; its log says more")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::{Limit, Methods, Scope, Via};

    fn who(role: Role, via: Via, target: Option<&str>) -> Principal {
        let limit = target.map(|text| Limit::parse(text).unwrap());
        Principal {
            name: "ann".into(),
            since: 0,
            role,
            via,
            scope: Scope::of([limit]),
            methods: Methods::default(),
        }
    }

    #[test]
    fn what_is_ones_own_is_not_for_ones_tokens() {
        let token = || Via::Token("ci".into());
        let limited = Some("region == \"cn-1\"");
        for (who, name, allowed) in [
            (who(Role::Readonly, Via::Password, None), "ann", true),
            (who(Role::Readonly, Via::Password, limited), "ann", true),
            (who(Role::Operator, Via::Password, None), "bob", false),
            (who(Role::Operator, token(), None), "ann", false),
            (who(Role::Admin, token(), None), "ann", true),
            (who(Role::Admin, token(), limited), "ann", false),
            (who(Role::Admin, Via::Password, None), "bob", true),
            (who(Role::Admin, Via::Password, limited), "bob", false),
        ] {
            assert_eq!(check(&who, Least::Own, Some(name)).is_ok(), allowed, "{who:?} {name}");
        }
    }

    #[test]
    fn credentials_are_read_as_the_rfcs_say() {
        let of = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            credentials(&headers, false)
        };
        let basic = Credentials::Basic { name: "ann".into(), password: "a:b".into() };
        assert_eq!(of("authorization", "basic YW5uOmE6Yg=="), Some(basic));
        assert_eq!(of("authorization", "BEARER x"), Some(Credentials::Bearer("x".into())));
        assert_eq!(of("authorization", "Digest x"), None);
        assert_eq!(of("authorization", "Basic !"), None);
        let session = Some(Credentials::Session("s".into()));
        assert_eq!(of("cookie", "a=b; polaris_session=s; c=d"), session);
        assert_eq!(of("cookie", "polaris_sessions=s"), None);
    }
}
