//! How a link becomes its host's.

use super::hub::Registered;
use super::link::Link;
use crate::app::App;
use crate::hosts::Greeting;
use aspire_wire::session::Frame;
use std::sync::Arc;

/// Makes the link its host's. Whoever finds it sends behind `ready`: an agent takes nothing before.
pub fn enter(app: &App, link: &Arc<Link>, greeting: &Greeting) -> Registered {
    let host = &link.host;
    app.hub.register(link, app.config.agents.max_links, || {
        app.directory.online(host, greeting.clone());
        app.jobs.logs.link_ended(host.id);
        // Whoever revokes the host or stops the server after this look finds the link and ends it.
        if !host.is_revoked() && !app.is_stopping() {
            let held = host.state().facts.digests();
            let heartbeat = app.config.agents.heartbeat;
            link.push(&Frame::Ready { heartbeat, facts: Some(&held) });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::samples::{app, begun, host};
    use crate::requests::{Asked, ReplyTo};
    use bytes::Bytes;
    use std::net::SocketAddr;
    use tempfile::TempDir;

    #[tokio::test]
    async fn no_request_leaves_before_ready() {
        let dir = TempDir::new().unwrap();
        let app = app(&dir).await;
        for n in 0..100 {
            let id: Arc<str> = n.to_string().into();
            let to =
                ReplyTo::Live { request: begun(&app.requests, &id, 1), position: 0, asked: Asked::Request };
            let link = Arc::new(Link::new(host(3), SocketAddr::from(([127, 0, 0, 1], 1))));
            let request = Bytes::from_static(b"request\n");
            std::thread::scope(|scope| {
                let send = || app.hub.send(link.host.id, &id, &request, to.clone());
                scope.spawn(move || while send().is_err() {});
                assert!(matches!(enter(&app, &link, &Greeting::default()), Registered::Yes(None)));
                // Whoever had the link from the hub would find it, without a look at another thread.
                assert!(link.pop().unwrap().starts_with(b"{\"method\":\"ready\""));
            });
            assert_eq!(link.pop().unwrap(), request);
        }
    }
}
