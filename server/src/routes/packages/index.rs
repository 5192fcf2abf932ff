//! What is in a folder, for people as a page and for programs as JSON.

use crate::clock;
use crate::openapi::schema::{gathered, one_of};
use crate::packages::{Entry, Kind, Listing, PackagePath};
use crate::problem::Problem;
use askama::Template;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

/// A folder of packages.
#[derive(Serialize, ToSchema)]
#[schema(as = PackageFolder)]
pub struct View {
    /// Below `/packages/`, with a slash at its end; empty for the folder itself.
    path: String,
    /// Folders first, each by name.
    entries: Vec<EntryView>,
}

/// A file or a folder.
#[derive(Serialize, ToSchema)]
#[schema(as = PackageEntry)]
struct EntryView {
    /// Without the folder's.
    name: String,
    #[schema(schema_with = kinds)]
    kind: Kind,
    /// Bytes of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// When it was changed last.
    #[schema(format = DateTime)]
    modified: String,
    /// A file's, in hexadecimal, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

fn kinds() -> RefOr<Schema> {
    gathered(one_of(&["file", "folder"], "What it is."))
}

#[derive(Template)]
#[template(path = "packages.html")]
struct Page<'a> {
    path: String,
    is_root: bool,
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    href: String,
    name: &'a str,
    is_folder: bool,
    /// Bytes; empty for a folder.
    size: String,
    modified: String,
}

/// The index as the caller wants it.
pub fn of(listing: &Listing, path: &PackagePath, headers: &HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut response = if accept.contains("application/json") {
        Json(view(listing, path)).into_response()
    } else {
        page(listing, path)?.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    );
    Ok(response)
}

fn view(listing: &Listing, path: &PackagePath) -> View {
    let entry = |entry: &Entry| EntryView {
        name: entry.name.clone(),
        kind: entry.kind,
        size: entry.size,
        modified: clock::rfc3339(entry.modified),
        sha256: entry.sum.map(|sum| sum.to_string()),
    };
    View { path: shown(path), entries: listing.0.iter().map(entry).collect() }
}

fn page(listing: &Listing, path: &PackagePath) -> Result<Html<String>, Problem> {
    let rows = listing.0.iter().map(|entry| Row {
        // Relative, and never read as a scheme: what comes before a colon would be one.
        href: format!("./{}", PackagePath::encoded(&entry.name)),
        name: &entry.name,
        is_folder: entry.kind == Kind::Folder,
        size: entry.size.map(|size| size.to_string()).unwrap_or_default(),
        modified: clock::local_minute(entry.modified),
    });
    let page = Page { path: shown(path), is_root: path.is_root(), rows: rows.collect() };
    page.render().map(Html).map_err(|error| {
        tracing::error!(%error, "an index was not rendered");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the index could not be made")
    })
}

fn shown(path: &PackagePath) -> String {
    if path.is_root() { String::new() } else { format!("{}/", path.relative()) }
}
