//! Whose requests somebody sees: everybody's or, where his hosts are limited, his own whose hosts are
//! all among these. A token that is limited further than its user does not read what he asked elsewhere.

use crate::app::App;
use crate::clock::EpochMs;
use crate::limits::OWN_REQUESTS_READ;
use crate::people::{Principal, Scope};
use crate::problem::Problem;
use crate::requests::Target;
use crate::store::StoreError;
use crate::store::own_requests::Own;
use crate::store::requests::Summary;
use crate::unbroken::aside;
use std::sync::Arc;
use uuid::Uuid;

/// Whether he sees what this one asked of these hosts then.
pub(super) async fn sees(
    app: &Arc<App>,
    who: &Principal,
    (by, created): (Option<&str>, EpochMs),
    targets: &[Target],
) -> bool {
    if who.scope.is_whole() {
        return true;
    }
    if !who.is_own(by, created) {
        return false;
    }
    let (app, scope, targets) = (app.clone(), who.scope.clone(), targets.to_vec());
    aside(move || covers(&app, &scope, &targets)).await
}

/// A page of those that he sees, the newest first; `None` where there is no request `before`.
pub(super) async fn page(
    app: &Arc<App>,
    who: &Principal,
    limit: u64,
    before: Option<&str>,
) -> Result<Option<Vec<Summary>>, StoreError> {
    if who.scope.is_whole() {
        return app.store.list_requests(limit, before).await;
    }
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut seen, mut before) = (Vec::new(), before.map(str::to_owned));
    loop {
        let rows = app.store.list_own_requests(OWN_REQUESTS_READ, before.as_deref(), own(who)).await?;
        let Some(rows) = rows else { return Ok(None) };
        let last = rows.last().map(|(summary, _)| summary.id.clone());
        let (app, scope) = (app.clone(), who.scope.clone());
        let covered = aside(move || {
            let covered = rows.into_iter().filter(|(_, targets)| covers(&app, &scope, targets));
            covered.map(|(summary, _)| summary).collect::<Vec<_>>()
        });
        seen.extend(covered.await);
        before = last;
        if before.is_none() || seen.len() >= most {
            seen.truncate(most);
            return Ok(Some(seen));
        }
    }
}

/// How many there are, or how many are his own.
pub(super) async fn count(app: &App, who: &Principal) -> Result<i64, Problem> {
    let own = (!who.scope.is_whole()).then(|| own(who));
    Ok(app.store.count_requests(own).await?)
}

fn own(who: &Principal) -> Own<'_> {
    Own { who: &who.name, since: who.since }
}

/// Whether each is a host that there is, and within the scope.
fn covers(app: &App, scope: &Scope, targets: &[Target]) -> bool {
    let host = |target: &Target| app.directory.by_id(Uuid::parse_str(&target.host).ok()?);
    targets.iter().all(|target| host(target).is_some_and(|host| scope.covers(&host)))
}
