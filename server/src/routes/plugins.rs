//! The catalogue of plugins: which file is which version, and for what it is.

use super::body::{Path, Query, Typed};
use crate::app::App;
use crate::clock;
use crate::limits::{
    MAX_PLUGIN_NAME_BYTES, MAX_PLUGIN_PLACE_BYTES, MAX_PLUGIN_VERSION_BYTES, MAX_PLUGINS, MAX_WORD_BYTES,
};
use crate::openapi::schema::{gathered, or, text};
use crate::packages::{PackageError, PackagePath, Stored, Sum};
use crate::people::note::Note;
use crate::problem::Problem;
use crate::store::plugins::{PluginFilter, PluginRefused, PluginRow};
use crate::unbroken::{aside, to_the_end};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use uuid::Uuid;

/// How a checksum begins, as the seed writes it.
const SHA256: &str = "SHA256:";

/// Which are wanted: those of which all that is said is so.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Of this name.
    #[serde(default)]
    name: Option<String>,
    /// For this architecture.
    #[serde(default)]
    arch: Option<String>,
    /// For this system.
    #[serde(default)]
    os: Option<String>,
}

/// A plugin to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(examples(json!({"name": "cpu", "version": "1.0", "arch": "x86_64", "file": "plugins/cpu.so"})))]
pub struct NewPlugin {
    #[schema(schema_with = name)]
    name: String,
    #[schema(schema_with = version)]
    version: String,
    #[serde(default)]
    #[schema(schema_with = arch)]
    arch: String,
    #[serde(default)]
    #[schema(schema_with = os)]
    os: String,
    #[schema(schema_with = file)]
    file: String,
    /// `SHA256:` and 64 hexadecimal digits, which the file's have to be; without it they are computed.
    #[serde(default)]
    #[schema(pattern = "^SHA256:[0-9A-Fa-f]{64}$")]
    checksum: Option<String>,
}

fn name() -> RefOr<Schema> {
    gathered(text(1..=MAX_PLUGIN_NAME_BYTES, "What it is called."))
}

fn version() -> RefOr<Schema> {
    gathered(text(1..=MAX_PLUGIN_VERSION_BYTES, "Which one of that name."))
}

fn arch() -> RefOr<Schema> {
    let what = "The architecture it is for, `x86_64` for example; empty for any.";
    gathered(or(text(0..=MAX_PLUGIN_PLACE_BYTES, what), ""))
}

fn os() -> RefOr<Schema> {
    gathered(or(
        text(0..=MAX_PLUGIN_PLACE_BYTES, "The system it is for, `debian` for example; empty for any."),
        "",
    ))
}

fn file() -> RefOr<Schema> {
    gathered(text(1..=MAX_WORD_BYTES, "Its file, which is there, below `/packages/`."))
}

/// A plugin of the catalogue.
#[derive(Serialize, ToSchema)]
#[schema(as = Plugin)]
pub struct View {
    /// A UUID.
    id: String,
    /// What it is called.
    name: String,
    /// Which one of that name.
    version: String,
    /// The architecture it is for; empty for any.
    arch: String,
    /// The system it is for; empty for any.
    os: String,
    /// Below `/packages/`.
    file: String,
    /// Where the file is, on either listener.
    url: String,
    /// `SHA256:` and 64 hexadecimal digits.
    checksum: String,
    /// When it was taken in.
    #[schema(format = DateTime)]
    created: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PluginList)]
pub struct List {
    plugins: Vec<View>,
    /// How many.
    count: usize,
}

/// The plugins, by name, the latest of each first.
#[utoipa::path(get, path = "/plugins", tag = "plugins", params(Filter),
    responses((status = 200, description = "All of them.", body = List)))]
pub async fn list(State(app): State<Arc<App>>, Query(filter): Query<Filter>) -> Result<Json<List>, Problem> {
    let Filter { name, arch, os } = &filter;
    let wanted = PluginFilter { name: name.as_deref(), arch: arch.as_deref(), os: os.as_deref() };
    let plugins: Vec<_> = app.store.list_plugins(&wanted).await?.into_iter().map(view).collect();
    Ok(Json(List { count: plugins.len(), plugins }))
}

/// One plugin.
#[utoipa::path(get, path = "/plugins/{id}", tag = "plugins",
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 200, description = "The plugin.", body = View)))]
pub async fn show(State(app): State<Arc<App>>, Path(id): Path) -> Result<Json<View>, Problem> {
    let row = app.store.find_plugin(&id).await?;
    row.map(|row| Json(view(row))).ok_or_else(|| no_such_plugin(&id))
}

/// Takes a plugin into the catalogue.
#[utoipa::path(post, path = "/plugins", tag = "plugins", request_body = NewPlugin,
    responses((status = 201, description = "It is in the catalogue.", body = View),
              (status = 409, description = "It is there already, the catalogue is full, or the file was \
                changed meanwhile.")))]
pub async fn create(
    State(app): State<Arc<App>>,
    note: Note,
    Typed(new): Typed<NewPlugin>,
) -> Result<(StatusCode, Json<View>), Problem> {
    note.what(format!("plugin {} {} of {}", new.name, new.version, new.file));
    for (field, value, least, most) in [
        ("name", &new.name, 1, MAX_PLUGIN_NAME_BYTES),
        ("version", &new.version, 1, MAX_PLUGIN_VERSION_BYTES),
        ("arch", &new.arch, 0, MAX_PLUGIN_PLACE_BYTES),
        ("os", &new.os, 0, MAX_PLUGIN_PLACE_BYTES),
        ("file", &new.file, 1, MAX_WORD_BYTES),
    ] {
        check(field, value, least, most)?;
    }
    let announced = new.checksum.as_deref().map(announced).transpose()?;
    let (file, sum) = app.packages.sums.of(file_of(&app, &new.file).await?).await?;
    if announced.is_some_and(|announced| announced != sum) {
        let reason = format!("checksum: is not that of {}, which is {SHA256}{sum}", new.file);
        return Err(Problem::field("checksum", reason));
    }
    let row = PluginRow {
        id: Uuid::new_v4().to_string(),
        name: new.name,
        version: new.version,
        arch: new.arch,
        os: new.os,
        file: new.file,
        checksum: sum.to_string(),
        created: clock::now(),
    };
    let row = to_the_end(async move { insert(&app, row, &file).await }).await?;
    Ok((StatusCode::CREATED, Json(view(row))))
}

/// The plugin in the catalogue, of this file, which is still there.
async fn insert(app: &App, row: PluginRow, file: &Stored) -> Result<PluginRow, Problem> {
    let conflict = |reason: String| Problem::new(StatusCode::CONFLICT, reason);
    let _alone = app.packages.catalogue.lock().await;
    if file_of(app, &row.file).await?.etag() != file.etag() {
        return Err(conflict(format!("{} was changed meanwhile: try again", row.file)));
    }
    app.store.insert_plugin(&row).await?.map_err(|refused| {
        conflict(match refused {
            PluginRefused::IsThere => format!("there is a plugin {row} already: remove it first"),
            PluginRefused::Full => format!("there are {MAX_PLUGINS} plugins: remove some first"),
        })
    })?;
    tracing::info!(plugin = %row, file = row.file, "plugin added");
    Ok(row)
}

/// Takes a plugin out of the catalogue; its file stays.
#[utoipa::path(delete, path = "/plugins/{id}", tag = "plugins",
    params(("id" = String, Path, description = "The plugin's id.")),
    responses((status = 204, description = "It is gone.")))]
pub async fn remove(State(app): State<Arc<App>>, Path(id): Path) -> Result<StatusCode, Problem> {
    if !app.store.delete_plugin(&id).await? {
        return Err(no_such_plugin(&id));
    }
    tracing::info!(plugin = id, "plugin removed");
    Ok(StatusCode::NO_CONTENT)
}

/// The file that is there.
async fn file_of(app: &App, file: &str) -> Result<Stored, Problem> {
    let blame = |reason: String| Problem::field("file", format!("file: {reason}"));
    let path = PackagePath::of_text(file).map_err(|error| blame(error.to_string()))?;
    let packages = app.packages.clone();
    aside(move || packages.file(&path)).await.map_err(|error| match error {
        PackageError::Denied(_) | PackageError::Io(_) => error.into(),
        error => blame(format!("{error}; put it under /packages/ first")),
    })
}

fn check(field: &str, value: &str, least: usize, most: usize) -> Result<(), Problem> {
    let bytes = value.len();
    if bytes < least || bytes > most {
        return Err(Problem::field(field, format!("{field}: must be {least} to {most} bytes, got {bytes}")));
    }
    if value.chars().any(char::is_control) {
        return Err(Problem::field(field, format!("{field}: must not contain control characters")));
    }
    Ok(())
}

fn announced(checksum: &str) -> Result<Sum, Problem> {
    let digits =
        checksum.strip_prefix(SHA256).ok_or_else(|| format!("must begin with {SHA256}, got {checksum:?}"));
    digits.and_then(str::parse).map_err(|reason| Problem::field("checksum", format!("checksum: {reason}")))
}

fn no_such_plugin(id: &str) -> Problem {
    Problem::not_found(format!("there is no plugin {id}"))
}

fn view(row: PluginRow) -> View {
    let url = PackagePath::of_text(&row.file).map(|path| path.url()).unwrap_or_default();
    View {
        id: row.id,
        name: row.name,
        version: row.version,
        arch: row.arch,
        os: row.os,
        url,
        file: row.file,
        checksum: format!("{SHA256}{}", row.checksum),
        created: clock::rfc3339(row.created),
    }
}
