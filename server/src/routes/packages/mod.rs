//! `/packages/`: the document server. People and programs come by the web
//! listener, with a password or a token, hosts by the agents' port, with their
//! certificates.

mod index;
mod put;
mod send;

use super::guard;
use crate::agents::Caller;
use crate::app::App;
use crate::packages::{Found, PackageError, PackagePath, Packages};
use crate::people::Principal;
use crate::problem::Problem;
use crate::web::call;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Json, Router};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A file's checksum.
#[derive(Serialize)]
struct SumView {
    /// Below `/packages/`.
    path: String,
    /// Bytes.
    size: u64,
    /// Hexadecimal.
    sha256: String,
}

/// What people and programs may do.
pub fn web(app: &Arc<App>) -> Router<Arc<App>> {
    at_each_path(get(show).put(put::put).delete(remove))
        .method_not_allowed_fallback(super::no_such_method)
        .layer(from_fn_with_state(app.clone(), call::of_principal))
        .layer(from_fn_with_state(app.clone(), guard::authenticate))
        .layer(map_response(ask_for_password))
}

/// What hosts may do.
pub fn agents() -> Router<Arc<App>> {
    at_each_path(get(show_host))
}

fn at_each_path(methods: MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    Router::new()
        .route("/packages", methods.clone())
        .route("/packages/", methods.clone())
        .route("/packages/{*path}", methods)
}

/// So that browsers, wget and curl know that they may send a name and a password.
async fn ask_for_password(mut response: Response) -> Response {
    if response.status() == StatusCode::UNAUTHORIZED {
        let value = HeaderValue::from_static("Basic realm=\"polaris packages\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

/// A file, whole or in part, or the index of a folder.
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
    if caller.host().is_none() {
        let reason =
            "packages are for hosts that are enrolled here and were not revoked: show the certificate";
        return Err(Problem::new(StatusCode::FORBIDDEN, reason));
    }
    let busy = |_| Problem::unavailable("so many hosts fetch packages that no more can");
    let room = app.packages.downloads.clone().try_acquire_owned().map_err(busy)?;
    caller.takes_its_time();
    answer(&app.packages, &uri, &headers, Some(room)).await
}

async fn answer(
    packages: &Arc<Packages>,
    uri: &Uri,
    headers: &HeaderMap,
    room: Option<OwnedSemaphorePermit>,
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
            let _turn = packages.turn_to_sum().await;
            let (size, etag) = (file.size(), file.etag());
            let sum = blocking(packages, move |_| file.sum()).await?;
            let view = SumView { path: path.to_string(), size, sha256: sum.to_string() };
            Ok(([(header::ETAG, etag)], Json(view)).into_response())
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
async fn remove(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Principal>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (path, terms) = (path(&uri)?, put::terms(&headers)?);
    if let Some(plugin) = app.store.plugins_of_file(&path.to_string()).await?.first() {
        let reason = format!("the plugin {plugin} is in this file: remove it from the catalogue first");
        return Err(Problem::new(StatusCode::CONFLICT, reason));
    }
    let removed = blocking(&app.packages, move |packages| {
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
    let done = tokio::task::spawn_blocking(move || work(packages)).await;
    Ok(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?)
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
            E::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            E::Denied(_) | E::Io(_) => {
                tracing::error!(%error, "packages: a call failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Problem::new(status, error.to_string())
    }
}
