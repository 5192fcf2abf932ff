//! Whether the process lives, and whether it can do its work.

use crate::app::{App, STOPPING};
use crate::problem::Problem;
use axum::extract::State;
use std::sync::Arc;

pub async fn alive() -> &'static str {
    "ok"
}

pub async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    if app.is_stopping() {
        return Err(Problem::unavailable(STOPPING));
    }
    app.store.ping().await?;
    Ok("ok")
}
