//! Who gets past: each call is let through with its [`Principal`] among its
//! extensions, or refused.

use crate::app::App;
use crate::people::{self, Credentials, Role};
use crate::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// The middleware before everything that is not for everybody.
pub async fn authenticate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let Some(credentials) = credentials(request.headers()) else {
        let wanted = "send the token of admin.token as Authorization: Bearer TOKEN";
        return Problem::unauthorized(wanted).into_response();
    };
    let Some(principal) = people::authenticate(&app, &credentials) else {
        return Problem::unauthorized("the token is not the one in admin.token").into_response();
    };
    let least = least_role(request.method());
    if principal.role < least {
        let reason = format!("this is for the role {}; yours is {}", least.name(), principal.role.name());
        return Problem::new(StatusCode::FORBIDDEN, reason).into_response();
    }
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// To look is for everybody, to change is for operators.
fn least_role(method: &Method) -> Role {
    if method.is_safe() { Role::Readonly } else { Role::Operator }
}

/// What the header `Authorization` says; `None` without one that is understood.
fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let (scheme, value) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
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
