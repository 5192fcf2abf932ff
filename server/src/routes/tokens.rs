//! Enrolment tokens: what an operator hands to a new host.

use super::body::{Path, Typed};
use crate::app::{App, random_secret};
use crate::clock::{self, EpochMs};
use crate::hosts::{Settings, Tags, check_tags, check_word};
use crate::limits::{DEFAULT_TOKEN_TTL_SECONDS, TOKEN_TTL_SECONDS, TOKEN_USES};
use crate::openapi::schema::{optional, optional_tags, optional_word};
use crate::people::note::Note;
use crate::problem::Problem;
use crate::store::tokens::TokenRow;
use aspire_wire::enroll::Token;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use uuid::Uuid;

/// A token to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"ttl": 3600, "uses": 1, "region": "cn-1", "tags": {"svc": "ecs"}})))]
pub struct NewToken {
    /// Seconds.
    #[serde(default)]
    #[schema(schema_with = ttl)]
    ttl: Option<u64>,
    #[serde(default)]
    #[schema(schema_with = uses)]
    uses: Option<u64>,
    #[serde(default)]
    #[schema(schema_with = region)]
    region: Option<String>,
    #[serde(default)]
    #[schema(schema_with = tags)]
    tags: Option<Tags>,
}

fn ttl() -> RefOr<Schema> {
    optional(&TOKEN_TTL_SECONDS, DEFAULT_TOKEN_TTL_SECONDS, "Seconds until it expires.")
}

fn uses() -> RefOr<Schema> {
    optional(&TOKEN_USES, 1, "Hosts that may enrol with it.")
}

fn region() -> RefOr<Schema> {
    optional_word("The region of its hosts, whatever they say themselves.")
}

fn tags() -> RefOr<Schema> {
    optional_tags("Tags of its hosts, each in the place of the host's own of the same name.")
}

/// As it is shown, now and later; `token` is shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub struct View {
    /// What the token is called; it is no secret.
    id: String,
    /// What is handed to a host. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
    /// Enrolments that are left.
    uses: i64,
    /// The region of its hosts, whatever they say themselves.
    region: Option<String>,
    /// Tags of its hosts.
    #[schema(value_type = BTreeMap<String, String>)]
    tags: Tags,
    /// From when on it is refused.
    #[schema(format = DateTime)]
    expires: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = TokenList)]
pub struct List {
    tokens: Vec<View>,
    /// How many.
    count: usize,
}

/// All enrolment tokens, the newest first, spent ones included.
#[utoipa::path(get, path = "/tokens", tag = "tokens",
    responses((status = 200, description = "The tokens, without their secrets.", body = List)))]
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<List>, Problem> {
    let tokens: Vec<_> = app.store.list_tokens().await?.into_iter().map(|row| view(row, None)).collect();
    Ok(Json(List { count: tokens.len(), tokens }))
}

/// Makes an enrolment token.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, description = "The token, shown this once.", body = View)))]
pub async fn create(
    State(app): State<Arc<App>>,
    note: Note,
    Typed(new): Typed<NewToken>,
) -> Result<(StatusCode, Json<View>), Problem> {
    let ttl = ranged("ttl", new.ttl.unwrap_or(DEFAULT_TOKEN_TTL_SECONDS), &TOKEN_TTL_SECONDS)?;
    let uses = ranged("uses", new.uses.unwrap_or(1), &TOKEN_USES)?;
    let settings = Settings {
        region: new.region.filter(|region| !region.is_empty()),
        tags: new.tags.filter(|tags| !tags.is_empty()),
    };
    check_settings(&settings)?;
    let created: EpochMs = clock::now();
    let row = TokenRow {
        id: Uuid::new_v4().to_string(),
        uses: i64::try_from(uses).unwrap_or(i64::MAX),
        settings,
        expires: created + clock::ms(Duration::from_secs(ttl)),
        created,
    };
    note.what(format!("enrolment token {}: uses {uses}, ttl {ttl} s, {:?}", row.id, row.settings));
    let token = Token { secret: random_secret(), fingerprint: app.authority.fingerprint() };
    app.store.insert_token(&row, &secret_hash(&token.secret_text())).await?;
    tracing::info!(token = row.id, ttl, uses, "token created");
    Ok((StatusCode::CREATED, Json(view(row, Some(token.to_string())))))
}

/// Forgets an enrolment token: nobody enrols with it any more.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "The token's id.")),
    responses((status = 204, description = "It is gone.")))]
pub async fn remove(State(app): State<Arc<App>>, Path(id): Path) -> Result<StatusCode, Problem> {
    if !app.store.delete_token(&id).await? {
        return Err(Problem::not_found(format!("there is no token {id}")));
    }
    tracing::info!(token = id, "token deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// What of a secret is kept, in hex.
pub(super) fn secret_hash(secret: &str) -> String {
    crate::requests::hex(&Sha256::digest(secret))
}

/// 422 with the field, for a region or tags that cannot be kept.
pub(super) fn check_settings(settings: &Settings) -> Result<(), Problem> {
    let region = match settings.region.as_deref() {
        Some("") => Err("must not be empty".into()),
        region => check_word(region.unwrap_or_default()),
    };
    region.map_err(|reason| Problem::field("region", format!("region: {reason}")))?;
    let tags = settings.tags.as_ref();
    tags.map_or(Ok(()), check_tags).map_err(|reason| Problem::field("tags", format!("tags: {reason}")))
}

fn ranged(field: &str, value: u64, range: &RangeInclusive<u64>) -> Result<u64, Problem> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (range.start(), range.end());
    Err(Problem::field(field, format!("{field}: must be {least} to {most}, got {value}")))
}

fn view(row: TokenRow, token: Option<String>) -> View {
    View {
        id: row.id,
        token,
        uses: row.uses,
        region: row.settings.region,
        tags: row.settings.tags.unwrap_or_default(),
        expires: clock::rfc3339(row.expires),
        created: clock::rfc3339(row.created),
    }
}
