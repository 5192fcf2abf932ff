//! What holds for every call, on either listener: it has an id, it is counted
//! and logged at its end, its caller may make no more than so many, its body
//! has to come at some pace, and its answer tells a browser how to take it.

use super::body::{Accompanied, Companion, Paced};
use super::{Peer, headers, host};
use crate::app::App;
use crate::limits::MAX_REQUEST_ID_CHARS;
use crate::metrics::Metrics;
use crate::metrics::http::NO_ROUTE;
use crate::people::Principal;
use crate::problem::Problem;
use crate::throttle::limiter::Permit;
use crate::throttle::table;
use aspire_wire::boot::STATUS_PATH;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// The call's id, in its head and in its answer's.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of one call, for logs and problem documents: the caller's own where it is well-formed
/// (1 to [`MAX_REQUEST_ID_CHARS`] letters, digits and `-._`), else ours. An extension of every call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    fn of(headers: &HeaderMap) -> RequestId {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let told = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let told = told.filter(|id| (1..=MAX_REQUEST_ID_CHARS).contains(&id.len()) && id.bytes().all(sound));
        RequestId(told.map_or_else(|| Uuid::new_v4().simple().to_string().into(), Into::into))
    }
}

/// The middleware around everything.
pub async fn attend(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let mut call = Call::new(&app, &request, &id);
    request.extensions_mut().insert(id.clone());
    let mut response = match app.throttle.address(&call.method, call.route(), call.peer.ip()) {
        Ok(permit) => {
            call.permit = Some(permit);
            let body_bytes = table::body_bytes(&call.method, call.route());
            DefaultBodyLimit::max(body_bytes).apply(&mut request);
            let patience = app.config.web.pace.body;
            let paced = |body: Body| {
                if body.is_end_stream() { body } else { Body::new(Paced::new(body, patience)) }
            };
            next.run(request.map(paced)).await
        }
        Err(problem) => problem.into_response(),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let body = problem.answer(Some(&id.0)).into_body();
        response = response.map(|_| body);
    }
    headers::add(response.headers_mut(), app.config.web.tls.is_some());
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    call.answered(&response);
    response.map(|body| Body::new(Accompanied::new(body, call)))
}

/// The middleware of the web listener: the call is for this server. Where there is TLS, and it is
/// everywhere beyond loopback, the certificate says so: it has no stranger's name.
pub async fn for_us(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let config = &app.config.web;
    if config.tls.is_none()
        && let Err(problem) = host::check(request.uri(), request.headers(), &config.names)
    {
        return problem.into_response();
    }
    next.run(request).await
}

/// The middleware behind the guard: no principal makes too many calls, and who it was is known to
/// whoever counts them.
pub async fn of_principal(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(principal) = request.extensions().get::<Principal>().cloned() else {
        return next.run(request).await;
    };
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str);
    let mut response = match app.throttle.principal(request.method(), route, &principal) {
        Ok(permit) => next.run(request).await.map(|body| Body::new(Accompanied::new(body, permit))),
        Err(problem) => problem.into_response(),
    };
    response.extensions_mut().insert(principal);
    response
}

/// Until the last byte of the answer has left.
impl Companion for Permit {}

/// One call, from its head to the last byte of its answer; logged when it is dropped.
struct Call {
    app: Arc<App>,
    method: Method,
    route: Option<MatchedPath>,
    who: Option<Arc<str>>,
    peer: SocketAddr,
    id: RequestId,
    begun: Instant,
    status: Option<StatusCode>,
    bytes: u64,
    whole: bool,
    stream: bool,
    /// Logged as what changes something is. What each host tells every few minutes does not.
    noted: bool,
    permit: Option<Permit>,
}

impl Call {
    fn new(app: &Arc<App>, request: &Request, id: &RequestId) -> Call {
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let method = request.method().clone();
        let route: Option<MatchedPath> = request.extensions().get().cloned();
        Call {
            app: app.clone(),
            noted: !method.is_safe() && route.as_ref().is_none_or(|route| route.as_str() != STATUS_PATH),
            method,
            route,
            who: None,
            peer: request.extensions().get().map_or(nobody, |Peer(peer)| *peer),
            id: id.clone(),
            begun: Instant::now(),
            status: None,
            bytes: 0,
            whole: false,
            stream: false,
            permit: None,
        }
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str)
    }

    fn metrics(&self) -> &Metrics {
        &self.app.metrics
    }

    /// Whether it is logged, with how many before it were not: of nobody's that came to nothing anybody
    /// can make as many as he likes.
    fn logged(&self) -> Option<i64> {
        let of_nobody = self.who.is_none() && self.status.is_none_or(|status| !status.is_success());
        match (self.app.config.log.access, self.noted) {
            (true, _) => Some(0),
            (false, true) if of_nobody => self.app.refusals.take(),
            (false, noted) => noted.then_some(0),
        }
    }

    /// The head of the answer is there.
    fn answered(&mut self, response: &Response) {
        let status = response.status();
        self.status = Some(status);
        self.who = response.extensions().get().map(|principal: &Principal| principal.name.clone());
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS];
        self.noted |= status.is_server_error() || refused.contains(&status);
        let kind = response.headers().get(header::CONTENT_TYPE);
        self.stream = kind.is_some_and(|kind| kind == crate::routes::NDJSON);
        if self.stream {
            self.metrics().http.streams.inc();
        }
        self.metrics().http.answered(self.route(), &self.method, status, self.begun.elapsed());
    }
}

impl Companion for Call {
    fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    fn whole(&mut self) {
        self.whole = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.stream {
            self.metrics().http.streams.dec();
        }
        if self.status.is_none() {
            self.metrics().http.abandoned(self.route(), &self.method);
        }
        let Call { method, peer, id: RequestId(id), bytes, .. } = &*self;
        let (route, who) = (self.route(), self.who.as_deref());
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = self.status.map(|status| status.as_u16());
        // Of an answer that did not leave whole, or at all.
        let cut = (!self.whole).then_some(true);
        if let Some(passed_over) = self.logged() {
            let passed_over = Some(passed_over).filter(|calls| *calls > 0);
            let id = &**id;
            tracing::info!(%method, route, status, ms, bytes, cut, who, %peer, id, passed_over, "call");
        } else {
            tracing::debug!(%method, route, status, ms, bytes, cut, who, %peer, id = &**id, "call");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_where_it_is_well_formed() {
        let of = |text: &str| {
            let headers = [(REQUEST_ID, HeaderValue::from_str(text).unwrap())].into_iter().collect();
            RequestId::of(&headers).0
        };
        for fine in ["a", "0af7651916cd43dd8448eb211c80319c", "web-1_2.3", &"x".repeat(MAX_REQUEST_ID_CHARS)]
        {
            assert_eq!(&*of(fine), fine);
        }
        for not in ["", "a b", "x=y", "\u{e4}", "\"", &"x".repeat(MAX_REQUEST_ID_CHARS + 1)] {
            assert!(Uuid::parse_str(&of(not)).is_ok(), "{not:?}");
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
