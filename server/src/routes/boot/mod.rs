//! Boot: what it is to do on hosts, what it tells of their agents, and its exchanges.

mod agents;
mod create;
pub mod exchange;
mod hosts;
mod jobs;

use crate::app::App;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// For people and programs.
pub fn web() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(jobs::list, create::create))
        .routes(routes!(jobs::show, jobs::cancel))
        .routes(routes!(agents::list))
        .routes(routes!(agents::summary))
        .routes(routes!(hosts::list))
}

/// For hosts.
pub fn exchanges() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(exchange::status)).routes(routes!(exchange::result))
}
