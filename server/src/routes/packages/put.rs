//! A file that comes: taken piece by piece, and kept whole or not at all.

use super::send::read;
use super::{Announced, Change, FilePath, blocking, path};
use crate::app::App;
use crate::limits::PACKAGE_CHUNK_BYTES;
use crate::openapi::shapes::FileBytes;
use crate::packages::{PackageError, Sum, Terms, Upload};
use crate::people::Principal;
use crate::problem::Problem;
use crate::web::TooSlow;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::{Extension, Json};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use headers::ContentLength;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

const CONTENT_DIGEST: &str = "content-digest";
const CHECKSUM: &str = "x-checksum-sha256";

/// A file that was stored.
#[derive(Serialize, ToSchema)]
#[schema(as = PackageSum)]
pub struct Stored {
    /// Below `/packages/`.
    path: String,
    /// Bytes.
    size: u64,
    /// Hexadecimal.
    sha256: String,
}

/// Stores a file; its folders are made where they are missing.
///
/// It is there whole, or not at all. Its checksum may be said beforehand, in either header.
#[utoipa::path(put, path = "/packages/{*path}", tag = "packages", params(FilePath, Change, Announced),
    request_body(content = FileBytes, content_type = "application/octet-stream", description = "The file."),
    security(("bearer" = []), ("basic" = [])),
    responses((status = 200, description = "It took the place of another.", body = Stored,
               headers(("etag" = String, description = "Of what is there now."))),
              (status = 201, description = "It is there.", body = Stored,
               headers(("etag" = String, description = "Of what is there now."))),
              (status = 400, description = "The path, a header or the file's end is not as it should be."),
              (status = 403, description = "A link or something special is in the way, or the role is \
                too small."),
              (status = 408, description = "Nothing came for too long."),
              (status = 409, description = "A folder is in the way, or the catalogue of plugins has \
                this file."),
              (status = 412, description = "What is there is not what the caller takes it for."),
              (status = 413, description = "It is larger than the configuration allows."),
              (status = 415, description = "It comes with a coding, which would have to be undone."),
              (status = 507, description = "The disk is full.")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Principal>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, [(header::HeaderName, String); 1], Json<Stored>), Problem> {
    let (path, terms) = (path(&uri)?, terms(&headers)?);
    whole(&headers)?;
    let most = app.packages.max_size;
    if read::<ContentLength>(&headers)?.is_some_and(|length| length.0 > most) {
        return Err(PackageError::TooLarge { most }.into());
    }
    let busy = |_| Problem::unavailable("so many files are being stored that no more can");
    let _room = app.packages.uploads.clone().try_acquire_owned().map_err(busy)?;
    let (wanted, allowed) = (path.clone(), terms.clone());
    let upload = blocking(&app.packages, move |packages| Upload::begin(packages, &wanted, &allowed)).await?;
    let upload = receive(&app, upload, body.into_data_stream()).await?;
    let sum = upload.sum();
    // What a plugin is, stands in the catalogue, which others change only once the file has its name.
    let alone = app.packages.catalogue.clone().lock_owned().await;
    let named = app.store.plugins_of_file(&path.to_string()).await?;
    if let Some(plugin) = named.iter().find(|plugin| plugin.checksum != sum.to_string()) {
        let reason =
            format!("the plugin {plugin} is in the file that is there: remove it from the catalogue first");
        return Err(Problem::new(StatusCode::CONFLICT, reason));
    }
    let place = path.clone();
    let stored = blocking(&app.packages, move |_| {
        let _alone = alone;
        upload.finish(&place, &terms)
    });
    let stored = stored.await?;
    let view = Stored { path: path.to_string(), size: stored.file.size(), sha256: stored.sum.to_string() };
    tracing::info!(
        path = view.path,
        size = view.size,
        sha256 = view.sha256,
        by = &*who.name,
        "package stored"
    );
    let status = if stored.replaced { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, [(header::ETAG, stored.file.etag())], Json(view)))
}

/// Under which terms a name changes, and what its content has to be.
pub fn terms(headers: &HeaderMap) -> Result<Terms, Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let mut sums = Vec::new();
    if let Some(field) = text(CONTENT_DIGEST) {
        let none = || Err("has no sha-256, the only digest that is verified here".to_owned());
        let sum = Sum::of_digest_field(field).unwrap_or_else(none);
        sums.push(
            sum.map_err(|reason| Problem::field(CONTENT_DIGEST, format!("{CONTENT_DIGEST}: {reason}")))?,
        );
    }
    if let Some(hex) = text(CHECKSUM) {
        let sum = hex.parse::<Sum>();
        sums.push(sum.map_err(|reason| Problem::field(CHECKSUM, format!("{CHECKSUM}: {reason}")))?);
    }
    Ok(Terms { if_match: read(headers)?, if_none_match: read(headers)?, sums })
}

/// What comes is the whole file, as it is to be kept.
fn whole(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_RANGE) {
        let reason = "a part of a file cannot be stored: send all of it, without Content-Range";
        return Err(Problem::new(StatusCode::BAD_REQUEST, reason));
    }
    let coding = headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let reason = "files are stored as they are: send it without Content-Encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    Ok(())
}

/// Writes what comes, in pieces worth a turn of the disk.
async fn receive(app: &App, mut upload: Upload, mut body: BodyDataStream) -> Result<Upload, Problem> {
    let mut gathered = BytesMut::new();
    loop {
        let piece = body.next().await.transpose().map_err(|error| broken_off(&error))?;
        let is_end = piece.is_none();
        gathered.extend_from_slice(&piece.unwrap_or_else(Bytes::new));
        if gathered.len() >= PACKAGE_CHUNK_BYTES || (is_end && !gathered.is_empty()) {
            let bytes = gathered.split().freeze();
            upload = blocking(&app.packages, move |_| upload.write(&bytes).map(|()| upload)).await?;
        }
        if is_end {
            return blocking(&app.packages, move |_| upload.sync().map(|()| upload)).await;
        }
    }
}

/// Nothing more comes, and it was not the end. Who is too slow is cut by the listener.
fn broken_off(error: &axum::Error) -> Problem {
    if TooSlow::caused(error) {
        return Problem::new(StatusCode::REQUEST_TIMEOUT, TooSlow.to_string());
    }
    Problem::new(StatusCode::BAD_REQUEST, format!("the file did not come whole: {error}"))
}
