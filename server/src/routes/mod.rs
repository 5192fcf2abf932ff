//! What can be called, one file a noun: each parses, calls, and shows. No SQL.

mod access_tokens;
mod answer;
mod audit;
mod body;
mod boot;
mod cookie;
mod cron;
mod daemons;
mod enroll;
mod guard;
mod health;
mod history;
mod hosts;
mod jobs;
mod json;
mod metrics;
mod openapi;
mod packages;
mod plugins;
mod requests;
mod resolve;
mod rollout;
mod sessions;
mod sight;
mod tokens;
mod users;

use crate::app::App;
use crate::openapi::Document;
use crate::problem::Problem;
use crate::web::call;
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use std::sync::{Arc, LazyLock};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use answer::NDJSON;

/// The web listener's calls.
pub fn web(app: &Arc<App>) -> Router {
    let (guarded, _) = guarded().split_for_parts();
    let (packages, _) = packages::web().split_for_parts();
    let (metrics, _) = metrics().split_for_parts();
    let (open, _) = open().split_for_parts();
    let known_parameters = || from_fn(openapi::known_parameters);
    let router = guarded
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(known_parameters())
        .layer(from_fn_with_state(app.clone(), call::of_principal))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        // After the layer: these have their own.
        .merge(packages::guarded(app, packages))
        .merge(
            metrics
                .method_not_allowed_fallback(no_such_method)
                .layer(known_parameters())
                .layer(from_fn_with_state(app.clone(), metrics::authenticate)),
        )
        // After the layer: these alone answer without a token.
        .merge(open.method_not_allowed_fallback(no_such_method).layer(known_parameters()))
        .layer(from_fn_with_state(app.clone(), call::for_us));
    finish(router, app)
}

/// The short exchanges of the agents' port.
pub fn agents(app: &Arc<App>) -> Router {
    let (router, _) = exchanges().split_for_parts();
    let router = router
        .layer(from_fn(openapi::known_parameters))
        .merge(packages::agents())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(guard::known_host));
    finish(router, app)
}

/// All calls, described: they are the same in every server.
pub fn description() -> &'static Document {
    static DESCRIPTION: LazyLock<Document> = LazyLock::new(|| {
        let web = guarded().merge(packages::web()).merge(metrics()).merge(open());
        Document::new(&web.into_openapi(), &exchanges().into_openapi())
    });
    &DESCRIPTION
}

/// Calls for those whom [`guard::guard`] lets in.
fn guarded() -> OpenApiRouter<Arc<App>> {
    let api = OpenApiRouter::new()
        .routes(routes!(history::list, requests::create))
        .routes(routes!(history::show, history::cancel))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::output))
        .routes(routes!(cron::list))
        .routes(routes!(daemons::list))
        .routes(routes!(daemons::summary))
        .routes(routes!(hosts::list))
        .routes(routes!(hosts::show, hosts::change, hosts::revoke))
        .routes(routes!(daemons::of_host))
        .routes(routes!(daemons::show))
        .routes(routes!(plugins::list, plugins::create))
        .routes(routes!(plugins::show, plugins::remove))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
        .routes(routes!(sessions::login))
        .routes(routes!(sessions::logout))
        .routes(routes!(sessions::me))
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::change, users::remove))
        .routes(routes!(users::password))
        .routes(routes!(access_tokens::list, access_tokens::create))
        .routes(routes!(access_tokens::remove))
        .routes(routes!(audit::list))
        .merge(boot::web());
    OpenApiRouter::new().nest("/api/v1", api)
}

/// Calls for everybody.
fn open() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(openapi::document))
        .routes(routes!(openapi::page))
        .routes(routes!(openapi::style))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
}

/// What agents ask for, one answer a connection.
fn exchanges() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(enroll::enroll)).merge(boot::exchanges())
}

/// What [`metrics::authenticate`] guards.
fn metrics() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(metrics::show))
}

fn finish(router: Router<Arc<App>>, app: &Arc<App>) -> Router {
    router
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a call panicked; this is a defect of polaris");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a defect of polaris; its log says more")
                .into_response()
        }))
        .layer(from_fn_with_state(app.clone(), call::attend))
        .with_state(app.clone())
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not know {method}; see Allow", uri.path()))
}
