//! Users: who may be let in.

use super::body::{Path, Typed};
use super::hosts::Setting;
use crate::app::App;
use crate::clock;
use crate::limits::{MAX_NAME_BYTES, MAX_TARGET_BYTES, MAX_USERS, PASSWORD_BYTES};
use crate::openapi::schema::{formed, gathered, optional_target, or_null, text};
use crate::people::note::Note;
use crate::people::{ADMIN_TOKEN, Hash, Limit, Principal, Role, User, Via, admit, passwords};
use crate::problem::Problem;
use crate::unbroken::to_the_end;
use crate::web::Peer;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// What a name looks like, see [`check_name`].
pub(super) const NAME: &str = "^[a-z0-9][a-z0-9._@-]*$";

/// A new user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"name": "ann", "role": "operator", "password": "correct horse battery"})))]
pub struct NewUser {
    #[schema(schema_with = name)]
    name: String,
    role: Role,
    #[serde(default)]
    #[schema(schema_with = first_password)]
    password: Option<String>,
    #[serde(default)]
    #[schema(schema_with = limit_of_user)]
    target: Option<String>,
}

fn name() -> RefOr<Schema> {
    gathered(formed(NAME, MAX_NAME_BYTES, "What the user is called."))
}

fn first_password() -> RefOr<Schema> {
    gathered(or_null(text(PASSWORD_BYTES, "Without one the user is let in by access tokens alone.")))
}

fn other_password() -> RefOr<Schema> {
    gathered(or_null(text(PASSWORD_BYTES, "A new one: all sessions of the user end.")))
}

fn next_password() -> RefOr<Schema> {
    gathered(text(PASSWORD_BYTES, "The one that is to come."))
}

fn limit_of_user() -> RefOr<Schema> {
    optional_target("An expression: the hosts that the user is limited to; all where it is `null`.")
}

/// What is to be changed; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub struct Change {
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    #[schema(schema_with = other_password)]
    password: Option<String>,
    #[serde(default)]
    #[schema(schema_with = limit_of_user)]
    target: Setting<String>,
    /// Whether the user is let in no more.
    #[serde(default)]
    disabled: Option<bool>,
}

/// One's own password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The one that is to go.
    old: String,
    #[schema(schema_with = next_password)]
    new: String,
}

/// One user.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct View {
    /// What the user is called.
    name: String,
    role: Role,
    /// An expression: the hosts that the user is limited to; `null`: all.
    target: Option<String>,
    /// Whether the user is let in no more.
    disabled: bool,
    /// Whether there is one.
    password: bool,
    /// How many access tokens there are.
    tokens: usize,
    /// How many sessions there are.
    sessions: usize,
    /// When the user was made.
    #[schema(format = DateTime)]
    created: String,
    /// When something of the user was changed last.
    #[schema(format = DateTime)]
    modified: String,
}

/// All of them, by name.
#[derive(Serialize, ToSchema)]
#[schema(as = UserList)]
pub struct List {
    users: Vec<View>,
    /// How many.
    count: usize,
}

/// Lists all users.
#[utoipa::path(get, path = "/users", tag = "people",
    responses((status = 200, description = "All of them.", body = List)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<List> {
    // Once for all: there may be a hundred tokens of each.
    let counts = app.people.roster.counts();
    let counted = |user: &Arc<User>| shown_with(user, counts.get(&user.name).copied().unwrap_or_default());
    let users: Vec<_> = app.people.roster.users().iter().map(counted).collect();
    Json(List { count: users.len(), users })
}

/// Makes a new user.
#[utoipa::path(post, path = "/users", tag = "people", request_body = NewUser,
    responses((status = 201, description = "The user is there.", body = View),
              (status = 409, description = "There is one of this name, or as many as may be.")))]
pub async fn create(
    State(app): State<Arc<App>>,
    note: Note,
    Typed(new): Typed<NewUser>,
) -> Result<(StatusCode, Json<View>), Problem> {
    check_name("name", &new.name)?;
    let limit = new.target.as_deref().map(limit).transpose()?;
    let password = match new.password {
        Some(password) => Some(hashed(&app, "password", password).await?),
        None => None,
    };
    let without = if password.is_none() { ", no password" } else { "" };
    note.what(format!("user {}: role {}{}{without}", new.name, new.role.name(), shown(limit.as_ref())));
    let now = clock::now();
    let name = new.name.into();
    let user = User { name, role: new.role, password, limit, disabled: false, created: now, modified: now };
    to_the_end(async move {
        let _alone = app.people.changing.lock().await;
        if app.people.roster.user(&user.name).is_some() {
            return Err(Problem::new(StatusCode::CONFLICT, format!("there is a user {} already", user.name)));
        }
        if app.people.roster.users().len() >= MAX_USERS {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                format!("there are {MAX_USERS} users, as many as may be"),
            ));
        }
        app.store.insert_user(&user).await?;
        let user = app.people.roster.put_user(user);
        Ok((StatusCode::CREATED, Json(view(&app, &user))))
    })
    .await
}

/// Shows one user.
#[utoipa::path(get, path = "/users/{name}", tag = "people",
    params(("name" = String, Path, description = "The user's.")),
    responses((status = 200, description = "The user.", body = View)))]
pub async fn show(State(app): State<Arc<App>>, Path(name): Path) -> Result<Json<View>, Problem> {
    Ok(Json(view(&app, &*find(&app, &name)?)))
}

/// Changes a user.
///
/// Whoever is disabled is let in no more, and his sessions end; so they do with a new password.
#[utoipa::path(patch, path = "/users/{name}", tag = "people", request_body = Change,
    params(("name" = String, Path, description = "The user's.")),
    responses((status = 200, description = "The user as he is now.", body = View)))]
pub async fn change(
    State(app): State<Arc<App>>,
    Path(name): Path,
    note: Note,
    Typed(change): Typed<Change>,
) -> Result<Json<View>, Problem> {
    find(&app, &name)?;
    let limit = match change.target {
        Setting::Keep => Setting::Keep,
        Setting::Clear => Setting::Clear,
        Setting::Set(text) => Setting::Set(limit(&text)?),
    };
    let password = match change.password {
        Some(password) => Some(hashed(&app, "password", password).await?),
        None => None,
    };
    let mut words = Vec::new();
    words.extend(change.role.map(|role| format!("role {}", role.name())));
    match &limit {
        Setting::Keep => {}
        Setting::Clear => words.push("target of all hosts".to_owned()),
        Setting::Set(limit) => words.push(target(limit)),
    }
    words.extend(password.as_ref().map(|_| "a new password".to_owned()));
    words.extend(change.disabled.map(|disabled| if disabled { "disabled" } else { "enabled" }.to_owned()));
    note.what(format!("user {name}: {}", words.join(", ")));
    to_the_end(async move {
        let _alone = app.people.changing.lock().await;
        let mut user = User::clone(&*find(&app, &name)?);
        user.role = change.role.unwrap_or(user.role);
        limit.apply(&mut user.limit);
        user.disabled = change.disabled.unwrap_or(user.disabled);
        let ended =
            if password.is_some() || user.disabled { sessions(&app, &name, None) } else { Vec::new() };
        user.password = password.or(user.password);
        Ok(Json(put(&app, user, &ended).await?))
    })
    .await
}

/// Removes a user with all that is his: access tokens and sessions end at once.
#[utoipa::path(delete, path = "/users/{name}", tag = "people",
    params(("name" = String, Path, description = "The user's.")),
    responses((status = 204, description = "He is gone.")))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Path(name): Path,
    note: Note,
) -> Result<StatusCode, Problem> {
    note.what(format!("user {name}: removed"));
    to_the_end(async move {
        let _alone = app.people.changing.lock().await;
        find(&app, &name)?;
        app.store.delete_user(&name).await?;
        app.people.roster.remove_user(&name);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Changes a password for whoever knows the old one. All other sessions of the user end.
#[utoipa::path(post, path = "/users/{name}/password", tag = "people", request_body = NewPassword,
    params(("name" = String, Path, description = "The user's.")),
    responses((status = 204, description = "It is changed.")))]
pub async fn password(
    State(app): State<Arc<App>>,
    Path(name): Path,
    who: Principal,
    Peer(from): Peer,
    note: Note,
    Typed(change): Typed<NewPassword>,
) -> Result<StatusCode, Problem> {
    note.what(format!("user {name}: a new password"));
    find(&app, &name)?;
    let wrong = || Problem::field("old", "old: it is not the password");
    let known = admit::by_password(&app, &name, &change.old, from.ip()).await;
    let known = known.map_err(|problem| match problem.status() {
        StatusCode::UNAUTHORIZED => wrong(),
        _ => problem,
    })?;
    let new = hashed(&app, "new", change.new).await?;
    to_the_end(async move {
        let _alone = app.people.changing.lock().await;
        let mut user = User::clone(&*find(&app, &name)?);
        // Asked again: it may have been changed since, and by somebody who wants to keep him out.
        if user.disabled || user.password != known.password {
            return Err(wrong());
        }
        user.password = Some(new);
        let own = if let Via::Session(hash) = who.via { Some(hash) } else { None };
        let ended = sessions(&app, &name, own);
        put(&app, user, &ended).await?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// The user whom the path names.
pub(super) fn find(app: &App, name: &str) -> Result<Arc<User>, Problem> {
    app.people.roster.user(name).ok_or_else(|| Problem::not_found(format!("there is no user {name}")))
}

/// The names of users and of their tokens: no two of them look alike but for their case.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), Problem> {
    let fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._@-".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let reason = match name {
        ADMIN_TOKEN => format!("{ADMIN_TOKEN} is the name of the token in the data folder"),
        name if begins && name.len() <= MAX_NAME_BYTES && name.bytes().all(fit) => return Ok(()),
        _ => format!(
            "must be 1 to {MAX_NAME_BYTES} of a-z, 0-9, '.', '_', '-' and '@', a letter or digit first"
        ),
    };
    Err(Problem::field(field, format!("{field}: {reason}")))
}

/// The expression in the field `target`.
pub(super) fn limit(text: &str) -> Result<Limit, Problem> {
    if text.len() > MAX_TARGET_BYTES {
        let reason = format!("target: must be at most {MAX_TARGET_BYTES} bytes, got {}", text.len());
        return Err(Problem::field("target", reason));
    }
    Limit::parse(text)
        .map_err(|misread| Problem::field("target", format!("target: {misread}")).at_column(misread.column))
}

/// How a limit is said in the audit log.
pub(super) fn shown(limit: Option<&Limit>) -> String {
    limit.map_or_else(String::new, |limit| format!(", {}", target(limit)))
}

fn target(limit: &Limit) -> String {
    format!("target {}", limit.text())
}

async fn hashed(app: &App, field: &str, password: String) -> Result<String, Problem> {
    passwords::check(&password).map_err(|reason| Problem::field(field, format!("{field}: {reason}")))?;
    app.people.passwords.hash(password).await.map_err(|busy| Problem::unavailable(busy.to_string()))
}

/// The user's sessions but for this one.
fn sessions(app: &App, name: &str, but: Option<Hash>) -> Vec<Hash> {
    let hashes = app.people.roster.sessions_of(name).into_iter().map(|session| session.hash);
    hashes.filter(|hash| Some(*hash) != but).collect()
}

async fn put(app: &App, mut user: User, ended: &[Hash]) -> Result<View, Problem> {
    user.modified = clock::now();
    app.store.update_user(&user, ended).await?;
    app.people.roster.remove_sessions(ended);
    let user = app.people.roster.put_user(user);
    Ok(view(app, &user))
}

fn view(app: &App, user: &User) -> View {
    let roster = &app.people.roster;
    shown_with(user, (roster.tokens_of(&user.name).len(), roster.sessions_of(&user.name).len()))
}

fn shown_with(user: &User, (tokens, sessions): (usize, usize)) -> View {
    View {
        name: user.name.to_string(),
        role: user.role,
        target: user.limit.as_ref().map(|limit| limit.text().to_owned()),
        disabled: user.disabled,
        password: user.password.is_some(),
        tokens,
        sessions,
        created: clock::rfc3339(user.created),
        modified: clock::rfc3339(user.modified),
    }
}
