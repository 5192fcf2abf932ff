//! What hosts tell of themselves.

use super::link::Link;
use crate::app::App;
use aspire_wire::Facts;
use std::sync::Arc;

/// Takes it into the directory. Of two links of one host the newest knows best.
pub fn take(app: &App, link: &Arc<Link>, told: &Facts) {
    let host = &link.host;
    if !app.hub.is_newest(link) {
        tracing::debug!(host = %host.id, "facts of a replaced link passed over");
        return;
    }
    // Where they are not taken the host is no worse off: it tells them again by its next link.
    if let Err(untaken) = app.directory.told(host, told) {
        tracing::warn!(host = %host.id, reason = %untaken, "facts not taken");
    }
}
