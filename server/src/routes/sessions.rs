//! Sessions of people, who give their password once, and who one is.

use super::body::Typed;
use super::cookie;
use crate::app::App;
use crate::clock;
use crate::limits::{MAX_SESSIONS_PER_USER, SESSION_LIFE};
use crate::people::note::Note;
use crate::people::{Hash, Principal, Role, Session, Used, Via, admit, hash, secret};
use crate::problem::Problem;
use crate::requests::hex;
use crate::unbroken::to_the_end;
use crate::web::Peer;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Who wants to be let in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The user's.
    name: String,
    /// The user's.
    password: String,
}

/// A session, as whoever began it sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionBegun)]
pub struct Begun {
    /// The user's.
    name: String,
    role: Role,
    /// To be sent as `x-csrf-token` with all that changes something.
    csrf: String,
    /// It ends then, however much it is used.
    #[schema(format = DateTime)]
    expires: String,
}

/// Whoever calls, as polaris sees him.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// The user's; `admin.token` for whoever shows the token in the data folder.
    name: String,
    role: Role,
    /// How he was let in: `admin.token`, `password`, `session` or `token`.
    #[schema(value_type = String)]
    via: &'static str,
    /// The access token's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Expressions: he sees and reaches the hosts alone that all of these select.
    targets: Vec<String>,
    /// Patterns of the methods that he may send to hosts, with commas between; `none`: nothing.
    methods: String,
    /// Of a session: what goes as `x-csrf-token` with all that changes something.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf: Option<String>,
}

/// Begins a session: the answer sets its cookie.
///
/// The cookie `polaris_session`, or `__Host-polaris_session` over TLS, is sent along with every further
/// call, and what changes something also sends `csrf` as the header `X-CSRF-Token`.
#[utoipa::path(post, path = "/login", tag = "people", security(()), request_body = Login,
    responses((status = 200, description = "A session begins.", body = Begun,
               headers(("set-cookie" = String, description = "The session's."))),
              (status = 401, description = "The name or the password is wrong.")))]
pub async fn login(
    State(app): State<Arc<App>>,
    Peer(from): Peer,
    note: Note,
    Typed(login): Typed<Login>,
) -> Result<Response, Problem> {
    note.what("login");
    note.claims(&login.name);
    let user = admit::by_password(&app, &login.name, &login.password, from.ip()).await?;
    let (cookie, now) = (secret(""), clock::now());
    let session = Session {
        owner: user.name.clone(),
        hash: hash(&cookie),
        expires: now + clock::ms(SESSION_LIFE),
        used: Used::kept(Some(now)),
        created: now,
    };
    let begun = Begun {
        name: user.name.to_string(),
        role: user.role,
        csrf: admit::csrf(&cookie),
        expires: clock::rfc3339(session.expires),
    };
    note.by(&admit::principal(&app, &user, Via::Session(session.hash)));
    let secure = app.config.web.secure_cookies;
    to_the_end(async move {
        let _alone = app.people.changing.lock().await;
        // Asked again: he may have been removed since.
        let still = app.people.roster.user(&session.owner).filter(|user| !user.disabled);
        if still.is_none_or(|still| still.password != user.password) {
            return Err(Problem::unauthorized("the name or the password is wrong"));
        }
        let mut others = app.people.roster.sessions_of(&session.owner);
        let kept = (MAX_SESSIONS_PER_USER - 1).min(others.len());
        let ended: Vec<Hash> = others.drain(kept..).map(|session| session.hash).collect();
        app.store.insert_session(&session, &ended).await?;
        app.people.roster.remove_sessions(&ended);
        app.people.roster.put_session(session);
        Ok(())
    })
    .await?;
    Ok(([(header::SET_COOKIE, cookie::set(&cookie, secure))], Json(begun)).into_response())
}

/// Ends the session whose cookie comes along.
#[utoipa::path(post, path = "/logout", tag = "people",
    responses((status = 204, description = "It has ended.",
               headers(("set-cookie" = String, description = "None any more."))),
              (status = 409, description = "The call has no cookie.")))]
pub async fn logout(State(app): State<Arc<App>>, who: Principal, note: Note) -> Result<Response, Problem> {
    note.what("logout");
    let Via::Session(hash) = who.via else {
        return Err(Problem::new(StatusCode::CONFLICT, "there is no session to end: the call has no cookie"));
    };
    let secure = app.config.web.secure_cookies;
    to_the_end(async move {
        let _alone = app.people.changing.lock().await;
        app.store.delete_sessions(&[hex(&hash)]).await?;
        app.people.roster.remove_sessions(&[hash]);
        Ok::<_, Problem>(())
    })
    .await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::clear(secure))]).into_response())
}

/// Who one is, and what one may do.
#[utoipa::path(get, path = "/me", tag = "people",
    responses((status = 200, description = "Whoever calls.", body = Me)))]
pub async fn me(State(app): State<Arc<App>>, headers: HeaderMap, who: Principal) -> Json<Me> {
    let sent = || cookie::find(&headers, app.config.web.secure_cookies);
    let csrf = matches!(who.via, Via::Session(_)).then(sent).flatten();
    Json(Me {
        name: who.name.to_string(),
        role: who.role,
        via: match who.via {
            Via::AdminToken => "admin.token",
            Via::Password => "password",
            Via::Session(_) => "session",
            Via::Token(_) => "token",
        },
        token: who.token().map(str::to_owned),
        targets: who.scope.texts().map(str::to_owned).collect(),
        methods: if who.role == Role::Readonly { "none".into() } else { who.methods.to_string() },
        csrf: csrf.map(|cookie| admit::csrf(&cookie)),
    })
}
