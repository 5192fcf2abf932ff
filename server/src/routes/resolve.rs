//! Whom a request is for: the hosts that it names, and those that its expression selects.

use super::hosts::{Wanted, several, wanted};
use crate::app::App;
use crate::hosts::{Directory, Found, Host};
use crate::limits::{MAX_HOSTS_PER_REQUEST, MAX_LISTED_HOSTS, MAX_WORD_BYTES};
use crate::people::{Principal, Scope};
use crate::problem::Problem;
use crate::requests::Target;
use crate::targets;
use crate::unbroken::aside;
use std::collections::HashSet;
use std::sync::Arc;
use uuid::Uuid;

/// Hosts, each once: those that were named, in their order, then those that were selected, by name.
#[derive(Default)]
pub(super) struct Resolved {
    pub targets: Vec<Target>,
    /// As `targets`; `None` where there is no such host.
    pub hosts: Vec<Option<Arc<Host>>>,
}

/// Finds them. That there are none is not said here but by [`Resolved::check`]: a request that was
/// made before is known whomever its expression selects by now.
pub(super) async fn resolve(
    app: &Arc<App>,
    scope: &Scope,
    named: &[String],
    target: Option<&str>,
) -> Result<Resolved, Problem> {
    if named.is_empty() && target.is_none() {
        return Err(Problem::field("hosts", "hosts: name one at least, or give a target"));
    }
    let selected = match target {
        Some(target) => selected(app, scope, target).await?,
        None => Vec::new(),
    };
    let (mut resolved, mut seen) = (Resolved::default(), HashSet::new());
    let mut add = |target: Target, host| {
        if seen.insert(target.host.clone()) {
            resolved.targets.push(target);
            resolved.hosts.push(host);
        }
    };
    for (n, text) in named.iter().enumerate() {
        let host = find(&app.directory, scope, n, text)?;
        add(host.as_ref().map_or_else(|| Target { host: text.clone(), name: None }, |host| of(host)), host);
    }
    for host in selected {
        add(of(&host), Some(host));
    }
    Ok(resolved)
}

impl Resolved {
    /// Whether a request can be for so many.
    pub fn check(targets: &[Target]) -> Result<(), Problem> {
        match targets.len() {
            0 => Err(Problem::field("target", "target: it matches no host")),
            n if n > MAX_HOSTS_PER_REQUEST => {
                let reason = format!("at most {MAX_HOSTS_PER_REQUEST} hosts in one request, got {n}");
                Err(Problem::field("target", format!("target: {reason}")))
            }
            _ => Ok(()),
        }
    }
}

/// The hosts within the scope that the expression selects, by name. What hosts tell of themselves may
/// be long: no worker of the runtime is held up by it.
pub(super) async fn selected(app: &Arc<App>, scope: &Scope, target: &str) -> Result<Vec<Arc<Host>>, Problem> {
    let target = targets::Target::parse(target).map_err(|misread| {
        Problem::field("target", format!("target: {misread}")).at_column(misread.column)
    })?;
    let (app, scope) = (app.clone(), scope.clone());
    Ok(aside(move || app.directory.select(|host| target.matches(host) && scope.covers(host))).await)
}

/// All hosts within the scope, by name.
pub(super) async fn all(app: &Arc<App>, scope: &Scope) -> Vec<Arc<Host>> {
    if scope.is_whole() {
        return app.directory.list();
    }
    let (app, scope) = (app.clone(), scope.clone());
    aside(move || app.directory.select(|host| scope.covers(host))).await
}

/// The ids of the hosts within the scope, for what is looked up by them; `None`: all there are.
pub(super) async fn visible(app: &Arc<App>, scope: &Scope) -> Result<Option<Vec<Uuid>>, Problem> {
    if scope.is_whole() {
        return Ok(None);
    }
    let hosts: Vec<_> = all(app, scope).await.iter().map(|host| host.id).collect();
    match Some(hosts.len()).filter(|n| *n > MAX_LISTED_HOSTS) {
        None => Ok(Some(hosts)),
        Some(n) => {
            let reason = format!(
                "you are limited to {n} hosts, and at most {MAX_LISTED_HOSTS} can be listed: name one"
            );
            Err(Problem::forbidden(reason))
        }
    }
}

/// The ids of the hosts that a list is narrowed to by a host, by an expression, and by whom he sees who
/// asks; `None`: all there are.
pub(super) async fn listed(
    app: &Arc<App>,
    who: &Principal,
    host: Option<&str>,
    target: Option<&str>,
) -> Result<Option<Vec<Uuid>>, Problem> {
    let host = host.map(|text| wanted(app, who, text, Wanted::Field)).transpose()?;
    let target = match target {
        Some(target) => Some(selected(app, &who.scope, target).await?),
        None => None,
    };
    let target = target.map(|hosts| hosts.iter().map(|host| host.id).collect::<Vec<_>>());
    let hosts = match (host, target) {
        (None, None) => visible(app, &who.scope).await?,
        (None, target) => target,
        (Some(host), None) => Some(vec![host]),
        (Some(host), Some(target)) => Some(target.into_iter().filter(|id| *id == host).collect()),
    };
    if let Some(n) = hosts.as_ref().map(Vec::len).filter(|n| *n > MAX_LISTED_HOSTS) {
        let reason = format!("target: must select at most {MAX_LISTED_HOSTS} hosts here, got {n}");
        return Err(Problem::field("target", reason));
    }
    Ok(hosts)
}

fn find(directory: &Directory, scope: &Scope, n: usize, text: &str) -> Result<Option<Arc<Host>>, Problem> {
    let wrong = |reason: String| {
        let field = format!("hosts[{n}]");
        Err(Problem::field(&field, format!("{field}: {reason}")))
    };
    if text.is_empty() || text.len() > MAX_WORD_BYTES {
        return wrong(format!("must be 1 to {MAX_WORD_BYTES} bytes, got {}", text.len()));
    }
    match scope.find(directory, text) {
        Found::One(host) => Ok(Some(host)),
        Found::Nothing if scope.is_whole() => Ok(None),
        // Whether there is such a host is not said.
        Found::Nothing => {
            let texts: Vec<_> = scope.texts().collect();
            let reason = format!("hosts[{n}]: {text} is none of the hosts that you are limited to");
            Err(Problem::forbidden(format!("{reason}: those of {}", texts.join(", and of "))))
        }
        Found::Several(ids) => wrong(several(text, &ids)),
    }
}

fn of(host: &Host) -> Target {
    Target { host: host.id.to_string(), name: host.name() }
}
