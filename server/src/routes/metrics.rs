//! What monitoring asks for.

use super::guard;
use crate::app::App;
use crate::metrics::scrape;
use crate::web::Peer;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Headers by which a proxy says that it asks for somebody else.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Counters and gauges in Prometheus' text format.
///
/// Whoever asks on the server's own machine needs no token.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics",
    security((), ("bearer" = [])),
    responses((status = 200, description = "All of them.", body = String, content_type = "text/plain")))]
pub async fn show(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, scrape::CONTENT_TYPE)], scrape::text(&app)).into_response()
}

/// The middleware before it: whoever asks on this machine itself needs no token.
pub async fn authenticate(app: State<Arc<App>>, request: Request, next: Next) -> Response {
    let here = request.extensions().get().is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback());
    let forwarded = FORWARDED.iter().any(|name| request.headers().contains_key(*name));
    let tried = request.headers().contains_key(header::AUTHORIZATION);
    if here && !forwarded && !tried {
        return next.run(request).await;
    }
    guard::guard(app, request, next).await
}
