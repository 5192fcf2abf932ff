//! `/packages/`: the document server. People and programs come by the web
//! listener, with a password or a token, hosts by the agents' port, with their
//! certificates.

mod index;
mod put;
mod send;

use super::guard;
use crate::agents::Caller;
use crate::app::App;
use crate::openapi::schema::{gathered, text};
use crate::openapi::shapes::{AnyJson, FileBytes};
use crate::packages::{Found, PackageError, PackagePath, Packages, Room};
use crate::people::Principal;
use crate::problem::Problem;
use crate::unbroken::aside;
use crate::web::call;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// A file's checksum.
#[derive(Serialize, ToSchema)]
#[schema(as = PackageSum)]
struct SumView {
    /// Below `/packages/`.
    path: String,
    /// Bytes.
    size: u64,
    /// Hexadecimal.
    sha256: String,
}

/// The path of a file or a folder.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes what is read from the URL")]
struct FilePath {
    /// Below `/packages/`, with a slash at its end for a folder. What is a link, or would lead elsewhere, is
    /// refused.
    path: String,
}

/// What may be asked of a file.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what is read from the URL")]
struct Asked {
    /// Without a value: the file's checksum in its place, as JSON.
    #[param(schema_with = nothing)]
    checksum: Option<String>,
}

/// Under which terms a file is sent.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what is read from the headers")]
struct Conditions {
    /// Which bytes are wanted.
    #[param(rename = "Range")]
    range: Option<String>,
    /// The ETag, or the date, for which the range is meant.
    #[param(rename = "If-Range")]
    if_range: Option<String>,
    /// Only where the file has this ETag.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// Only where the file has another ETag: 304 where it has not.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
    /// Only where it was changed since: 304 where it was not.
    #[param(rename = "If-Modified-Since")]
    if_modified_since: Option<String>,
    /// Only where it was not changed since.
    #[param(rename = "If-Unmodified-Since")]
    if_unmodified_since: Option<String>,
}

/// Under which terms a file is stored or taken away.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what is read from the headers")]
struct Change {
    /// Only where what is there has this ETag.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// Only where what is there has another ETag; `*`: only where nothing is there.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// What the file that comes has to be.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what is read from the headers")]
struct Announced {
    /// RFC 9530: `sha-256=:BASE64:`.
    #[param(rename = "Content-Digest")]
    content_digest: Option<String>,
    /// 64 hexadecimal digits.
    #[param(rename = "X-Checksum-Sha256")]
    x_checksum_sha256: Option<String>,
}

fn nothing() -> RefOr<Schema> {
    gathered(text(0..=0, "Empty."))
}

/// What people and programs may do.
pub fn web() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(show, put::put, remove))
        .routes(routes!(show_all))
        .routes(routes!(show_folder))
}

/// Who gets past.
pub fn guarded(app: &Arc<App>, router: Router<Arc<App>>) -> Router<Arc<App>> {
    router
        .method_not_allowed_fallback(super::no_such_method)
        .layer(from_fn_with_state(app.clone(), call::of_principal))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .layer(map_response(ask_for_password))
}

/// What hosts may do: to fetch, as [`show`] describes it.
pub fn agents() -> Router<Arc<App>> {
    Router::new()
        .route("/packages", get(show_host))
        .route("/packages/", get(show_host))
        .route("/packages/{*path}", get(show_host))
}

async fn ask_for_password(mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(problem) = response.extensions_mut().remove::<Problem>()
    {
        return problem.asking_for_a_password().into_response();
    }
    response
}

/// The index of the folder of all packages.
#[utoipa::path(get, path = "/packages/", tag = "packages", operation_id = "index",
    security(("bearer" = []), ("basic" = [])),
    responses((status = 200, description = "The index.",
               content((index::View = "application/json"), (String = "text/html")))))]
async fn show_all(state: State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    show(state, uri, headers).await
}

/// Leads to the folder of all packages.
#[utoipa::path(get, path = "/packages", tag = "packages", operation_id = "slash",
    security(("bearer" = []), ("basic" = [])),
    responses((status = 301, description = "It is at `/packages/`.",
               headers(("location" = String, description = "There.")))))]
async fn show_folder(state: State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    show(state, uri, headers).await
}

/// A file, whole or in part, or the index of a folder.
///
/// Hosts fetch the same from the agents' port, with their certificates.
#[utoipa::path(get, path = "/packages/{*path}", tag = "packages", params(FilePath, Asked, Conditions),
    security(("bearer" = []), ("basic" = [])),
    responses((status = 200, description = "The file; of a folder its index, as a page or, with `Accept: \
                                            application/json`, as a `PackageFolder`; with `?checksum` a \
                                            `PackageSum`.",
               content((FileBytes = "*/*"), (String = "text/html"), (AnyJson = "application/json"))),
              (status = 206, description = "A part of the file.", content((FileBytes = "*/*"))),
              (status = 301, description = "It is a folder, whose name ends with a slash.",
               headers(("location" = String, description = "There."))),
              (status = 304, description = "The caller has this file."),
              (status = 400, description = "The path or a header is not as it should be."),
              (status = 403, description = "It is a link or something special."),
              (status = 409, description = "A folder has no checksum, or too many entries."),
              (status = 412, description = "The file is not the one that the caller means."),
              (status = 416, description = "The file has none of the bytes of the range.")))]
async fn show(State(app): State<Arc<App>>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    answer(&app.packages, &uri, &headers, None).await
}

/// The same for a host that shows its certificate.
async fn show_host(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Some(host) = caller.host() else {
        let reason =
            "packages are for hosts that are enrolled here and were not revoked: show the certificate";
        return Err(Problem::new(StatusCode::FORBIDDEN, reason));
    };
    let room = app.packages.downloads.enter(host.id)?;
    caller.takes_its_time();
    answer(&app.packages, &uri, &headers, Some(room)).await
}

async fn answer(
    packages: &Arc<Packages>,
    uri: &Uri,
    headers: &HeaderMap,
    room: Option<Room>,
) -> Result<Response, Problem> {
    let path = path(uri)?;
    let sums = match uri.query() {
        None => false,
        Some("checksum") => true,
        Some(query) => {
            return Err(Problem::field(
                "query",
                format!("{query:?} is unknown; ?checksum asks for a file's sum"),
            ));
        }
    };
    let (found, path) = blocking(packages, move |packages| Ok((packages.find(&path)?, path))).await?;
    match found {
        Found::File(file) if sums => {
            let (file, sum) = packages.sums.of(file).await?;
            let view = SumView { path: path.to_string(), size: file.size(), sha256: sum.to_string() };
            Ok(([(header::ETAG, file.etag())], Json(view)).into_response())
        }
        Found::Folder(_) if sums => Err(PackageError::IsFolder(path.to_string()).into()),
        Found::File(file) => send::file(file, &path, headers, room),
        Found::Folder(_) if !uri.path().ends_with('/') => {
            let to = HeaderValue::try_from(format!("{}/", path.url().trim_end_matches('/')));
            let to = to.expect("what is encoded is ASCII");
            Ok((StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response())
        }
        Found::Folder(folder) => {
            let listed = blocking(packages, move |packages| {
                let listing = packages.list(&folder, &path)?;
                Ok((listing, path))
            });
            let (listing, path) = listed.await?;
            index::of(&listing, &path, headers)
        }
    }
}

/// Takes away a file, or a folder that is empty.
#[utoipa::path(delete, path = "/packages/{*path}", tag = "packages", params(FilePath, Change),
    security(("bearer" = []), ("basic" = [])),
    responses((status = 204, description = "It is gone."),
              (status = 400, description = "The path or a header is not as it should be."),
              (status = 403, description = "It is a link or something special, or the role is too small."),
              (status = 409, description = "The folder is not empty, or the catalogue of plugins has \
                this file."),
              (status = 412, description = "What is there is not what the caller takes it for.")))]
async fn remove(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Principal>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (path, terms) = (path(&uri)?, put::terms(&headers)?);
    if !terms.sums.is_empty() {
        let reason = "a checksum is for a file that comes: If-Match says which one is to be taken away";
        return Err(Problem::new(StatusCode::BAD_REQUEST, reason));
    }
    let alone = app.packages.catalogue.clone().lock_owned().await;
    if let Some(plugin) = app.store.plugins_of_file(&path.to_string()).await?.first() {
        let reason = format!("the plugin {plugin} is in this file: remove it from the catalogue first");
        return Err(Problem::new(StatusCode::CONFLICT, reason));
    }
    let removed = blocking(&app.packages, move |packages| {
        let _alone = alone;
        packages.remove(&path, &terms)?;
        Ok(path)
    });
    let path = removed.await?;
    tracing::info!(%path, by = &*who.name, "package removed");
    Ok(StatusCode::NO_CONTENT)
}

/// Whatever reads or writes the disk.
async fn blocking<T: Send + 'static>(
    packages: &Arc<Packages>,
    work: impl FnOnce(Arc<Packages>) -> Result<T, PackageError> + Send + 'static,
) -> Result<T, Problem> {
    let packages = packages.clone();
    Ok(aside(move || work(packages)).await?)
}

/// The checked path of a call.
fn path(uri: &Uri) -> Result<PackagePath, Problem> {
    let rest = uri.path().strip_prefix("/packages").unwrap_or_default();
    Ok(PackagePath::of_url(rest.strip_prefix('/').unwrap_or(rest))?)
}

impl From<PackageError> for Problem {
    fn from(error: PackageError) -> Problem {
        use PackageError as E;
        let status = match &error {
            E::Path(_) => StatusCode::BAD_REQUEST,
            E::NotFound(_) => StatusCode::NOT_FOUND,
            E::Link(_) | E::Special(_) => StatusCode::FORBIDDEN,
            E::IsFolder(_) | E::InTheWay(_) | E::NotEmpty(_) | E::TooMany { .. } => StatusCode::CONFLICT,
            E::Condition(_) => StatusCode::PRECONDITION_FAILED,
            E::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            E::Mismatch { .. } => return Problem::field("checksum", error.to_string()),
            E::Busy(reason) => return Problem::unavailable(reason),
            E::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            E::Denied(_) | E::Io(_) => {
                tracing::error!(%error, "packages: a call failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Problem::new(status, error.to_string())
    }
}
