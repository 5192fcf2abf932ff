//! What hosts tell of themselves.

use super::LinkEnd;
use super::link::Link;
use crate::app::App;
use crate::hosts::Untaken;
use aspire_wire::{Facts, FrameError};
use std::sync::Arc;

/// Takes it into the directory. Of two links of one host the newest knows best.
pub fn take(app: &App, link: &Arc<Link>, told: &Facts) -> Result<(), LinkEnd> {
    let host = &link.host;
    if !app.hub.link(host.id).is_some_and(|newest| Arc::ptr_eq(&newest, link)) {
        tracing::debug!(host = %host.id, "facts of a replaced link passed over");
        return Ok(());
    }
    match app.directory.told(host, told) {
        Ok(()) => Ok(()),
        Err(Untaken::Wrong(reason)) => Err(FrameError::NotAnObject(format!("facts: {reason}")).into()),
        // It tells them again by its next link.
        Err(full @ Untaken::NoRoom) => {
            tracing::warn!(host = %host.id, reason = %full, "facts not taken");
            Ok(())
        }
    }
}
