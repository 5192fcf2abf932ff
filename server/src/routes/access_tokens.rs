//! Access tokens: what a user gives to programs, in the place of his password.

use super::body::{Path, Typed};
use super::users::{NAME, check_name, find, limit, shown};
use crate::app::App;
use crate::clock;
use crate::limits::{ACCESS_TOKEN_TTL_SECONDS, MAX_NAME_BYTES, MAX_TOKENS_PER_USER};
use crate::openapi::schema::{formed, gathered, number, optional_target, or_null};
use crate::people::note::Note;
use crate::people::{AccessToken, Role, TOKEN_PREFIX, Used, hash, secret};
use crate::problem::Problem;
use crate::unbroken::to_the_end;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// A new access token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAccessToken, examples(json!({"name": "ci", "role": "readonly", "ttl": 86400})))]
pub struct NewToken {
    #[schema(schema_with = name)]
    name: String,
    /// At most the user's; his where it is absent.
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    #[schema(schema_with = limit_of_token)]
    target: Option<String>,
    #[serde(default)]
    #[schema(schema_with = ttl)]
    ttl: Option<u64>,
}

fn name() -> RefOr<Schema> {
    gathered(formed(NAME, MAX_NAME_BYTES, "What it is called; the user has no other of this name."))
}

fn limit_of_token() -> RefOr<Schema> {
    optional_target("An expression: the hosts that it is limited to, beside what the user is.")
}

fn ttl() -> RefOr<Schema> {
    let what = "Seconds that it is good for; for ever where it is absent.";
    gathered(or_null(number(&ACCESS_TOKEN_TTL_SECONDS, what)))
}

/// As it is shown, now and later; `token` is shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessToken)]
pub struct View {
    /// What it is called.
    name: String,
    /// What a program shows. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// What it may at most: where its user's role is less, that one counts.
    role: Role,
    /// An expression: the hosts that it is limited to; `null`: those of its user.
    target: Option<String>,
    /// From when on it is refused; `null`: never.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// To the minute.
    #[schema(format = DateTime)]
    last_used: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
}

/// A user's, by name.
#[derive(Serialize, ToSchema)]
#[schema(as = AccessTokenList)]
pub struct List {
    tokens: Vec<View>,
    /// How many.
    count: usize,
}

/// Lists a user's access tokens, without their secrets.
#[utoipa::path(get, path = "/users/{name}/tokens", tag = "people", operation_id = "tokens",
    params(("name" = String, Path, description = "The user's.")),
    responses((status = 200, description = "All of them.", body = List)))]
pub async fn list(State(app): State<Arc<App>>, Path(name): Path) -> Result<Json<List>, Problem> {
    find(&app, &name)?;
    let tokens: Vec<_> = app.people.roster.tokens_of(&name).iter().map(|token| view(token, None)).collect();
    Ok(Json(List { count: tokens.len(), tokens }))
}

/// Makes a new access token, which is shown this once.
#[utoipa::path(post, path = "/users/{name}/tokens", tag = "people", operation_id = "create_token",
    params(("name" = String, Path, description = "The user's.")), request_body = NewToken,
    responses((status = 201, description = "The token, shown this once.", body = View),
              (status = 409, description = "There is one of this name, or as many as may be.")))]
pub async fn create(
    State(app): State<Arc<App>>,
    Path(owner): Path,
    note: Note,
    Typed(new): Typed<NewToken>,
) -> Result<(StatusCode, Json<View>), Problem> {
    check_name("name", &new.name)?;
    let limit = new.target.as_deref().map(limit).transpose()?;
    if let Some(ttl) = new.ttl.filter(|ttl| !ACCESS_TOKEN_TTL_SECONDS.contains(ttl)) {
        let (least, most) = (ACCESS_TOKEN_TTL_SECONDS.start(), ACCESS_TOKEN_TTL_SECONDS.end());
        return Err(Problem::field("ttl", format!("ttl: must be {least} to {most} seconds, got {ttl}")));
    }
    to_the_end(async move {
        let _alone = app.people.changing.lock().await;
        let user = find(&app, &owner)?;
        let role = new.role.unwrap_or(user.role);
        if role > user.role {
            let reason = format!("role: must be at most the user's, which is {}", user.role.name());
            return Err(Problem::field("role", reason));
        }
        let others = app.people.roster.tokens_of(&owner);
        let conflict = |reason: String| Err(Problem::new(StatusCode::CONFLICT, reason));
        if others.iter().any(|token| *token.name == *new.name) {
            return conflict(format!("the user {owner} has an access token {} already", new.name));
        }
        if others.len() >= MAX_TOKENS_PER_USER {
            return conflict(format!(
                "the user {owner} has {MAX_TOKENS_PER_USER} access tokens, as many as may be"
            ));
        }
        note.what(format!(
            "access token {} of {owner}: role {}{}",
            new.name,
            role.name(),
            shown(limit.as_ref())
        ));
        let (secret, created) = (secret(TOKEN_PREFIX), clock::now());
        let token = AccessToken {
            owner: user.name.clone(),
            name: new.name.into(),
            hash: hash(&secret),
            role,
            limit,
            expires: new.ttl.map(|ttl| created + clock::ms(Duration::from_secs(ttl))),
            used: Used::kept(None),
            created,
        };
        app.store.insert_access_token(&token).await?;
        let token = app.people.roster.put_token(token);
        Ok((StatusCode::CREATED, Json(view(&token, Some(secret)))))
    })
    .await
}

/// Makes an access token useless at once.
#[utoipa::path(delete, path = "/users/{name}/tokens/{token}", tag = "people", operation_id = "remove_token",
    params(("name" = String, Path, description = "The user's."),
           ("token" = String, Path, description = "The token's name.")),
    responses((status = 204, description = "It is gone.")))]
pub async fn remove(
    State(app): State<Arc<App>>,
    Path((owner, name)): Path<(String, String)>,
    note: Note,
) -> Result<StatusCode, Problem> {
    note.what(format!("access token {name} of {owner}: removed"));
    to_the_end(async move {
        let _alone = app.people.changing.lock().await;
        find(&app, &owner)?;
        let tokens = app.people.roster.tokens_of(&owner);
        let token = tokens.iter().find(|token| *token.name == *name);
        let token = token
            .ok_or_else(|| Problem::not_found(format!("the user {owner} has no access token {name}")))?;
        app.store.delete_access_token(&token.hash).await?;
        app.people.roster.remove_token(&token.hash);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn view(token: &AccessToken, secret: Option<String>) -> View {
    View {
        name: token.name.to_string(),
        token: secret,
        role: token.role,
        target: token.limit.as_ref().map(|limit| limit.text().to_owned()),
        expires: token.expires.map(clock::rfc3339),
        last_used: token.used.at().map(clock::rfc3339),
        created: clock::rfc3339(token.created),
    }
}
