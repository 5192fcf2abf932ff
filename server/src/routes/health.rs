//! Whether the process lives, and whether it can do its work.

use crate::app::{App, STOPPING};
use crate::problem::Problem;
use axum::extract::State;
use std::sync::Arc;

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, description = "It does.", body = String)))]
pub async fn alive() -> &'static str {
    "ok"
}

/// Whether it can do its work.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "It can.", body = String)))]
pub async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    if app.is_stopping() {
        return Err(Problem::unavailable(STOPPING));
    }
    app.store.ping().await?;
    Ok("ok")
}
