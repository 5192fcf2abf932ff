//! What can be called, one file a noun: each parses, calls, and shows. No SQL.

mod access_tokens;
mod audit;
mod body;
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
mod packages;
mod plugins;
mod requests;
mod resolve;
mod rollout;
mod sessions;
mod tokens;
mod users;

use crate::app::App;
use crate::problem::Problem;
use crate::web::call;
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;

pub use requests::NDJSON;

/// The web listener's calls.
pub fn web(app: &Arc<App>) -> Router {
    let api = Router::new()
        .route("/requests", get(history::list).post(requests::create))
        .route("/requests/{id}", get(history::show).delete(history::cancel))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{host}/{job}", get(jobs::show))
        .route("/jobs/{host}/{job}/output", get(jobs::output))
        .route("/cron", get(cron::list))
        .route("/daemons", get(daemons::list))
        .route("/daemons/summary", get(daemons::summary))
        .route("/hosts", get(hosts::list))
        .route("/hosts/{id}", get(hosts::show).patch(hosts::change).delete(hosts::revoke))
        .route("/hosts/{id}/daemons", get(daemons::of_host))
        .route("/hosts/{id}/daemons/{name}", get(daemons::show))
        .route("/plugins", get(plugins::list).post(plugins::create))
        .route("/plugins/{id}", get(plugins::show).delete(plugins::remove))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}", delete(tokens::remove))
        .route("/login", post(sessions::login))
        .route("/logout", post(sessions::logout))
        .route("/me", get(sessions::me))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{name}", get(users::show).patch(users::change).delete(users::remove))
        .route("/users/{name}/password", post(users::password))
        .route("/users/{name}/tokens", get(access_tokens::list).post(access_tokens::create))
        .route("/users/{name}/tokens/{token}", delete(access_tokens::remove))
        .route("/audit", get(audit::list));
    let router = Router::new()
        .nest("/api/v1", api)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(app.clone(), call::of_principal))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        // After the layer: it has its own, which asks for a password.
        .merge(packages::web(app))
        // After the layer: these two alone answer without a token.
        .route("/healthz", get(health::alive).fallback(no_such_method))
        .route("/readyz", get(health::ready).fallback(no_such_method))
        .route("/metrics", metrics(app))
        .layer(from_fn_with_state(app.clone(), call::for_us));
    finish(router, app)
}

/// The short exchanges of the agents' port.
pub fn agents(app: &Arc<App>) -> Router {
    let router = Router::new()
        .route(aspire_wire::enroll::ENROLL_PATH, post(enroll::enroll))
        .merge(packages::agents())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method);
    finish(router, app)
}

fn metrics(app: &Arc<App>) -> MethodRouter<Arc<App>> {
    let guarded = get(metrics::show).fallback(no_such_method);
    guarded.layer(from_fn_with_state(app.clone(), metrics::authenticate))
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
