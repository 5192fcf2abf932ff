//! Enrolment: a token and a signing request become a host and its certificate,
//! or nothing at all.

use super::body::Typed;
use super::guard::of_nobody;
use super::tokens::secret_hash;
use crate::app::App;
use crate::clock;
use crate::hosts::{Greeting, Status, check_word};
use crate::openapi::shapes::{HostIdentity, NewHost};
use crate::people::note::Note;
use crate::pki::PkiError;
use crate::problem::Problem;
use crate::requests::Target;
use crate::store::hosts::HostRow;
use crate::store::tokens::TokenRefused;
use crate::unbroken::to_the_end;
use crate::web::Peer;
use aspire_wire::enroll::{ENROLL_PATH, EnrollReply, EnrollRequest};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;
use uuid::Uuid;

/// Enrols a host: its signing request becomes a certificate.
///
/// The one exchange of this port for which no client certificate is needed.
#[utoipa::path(post, path = "/agent/enroll", tag = "agents", security(()), request_body = NewHost,
    responses((status = 200, description = "The host's identity.", body = HostIdentity),
              (status = 403, description = "The token is unknown, used up or expired.")))]
pub async fn enroll(
    State(app): State<Arc<App>>,
    Peer(peer): Peer,
    Typed(request): Typed<EnrollRequest>,
) -> Result<Json<EnrollReply>, Problem> {
    let note = Note::new(app.audit.place()?, peer.ip(), "POST", ENROLL_PATH);
    let reply = try_enroll(&app, &note, request).await;
    match &reply {
        Ok(_) => note.end(StatusCode::OK.as_u16()),
        Err(problem) => of_nobody(&app, &note, problem.status()),
    }
    app.metrics.links.enrolment(reply.is_ok());
    reply.map(Json)
}

async fn try_enroll(app: &Arc<App>, note: &Note, request: EnrollRequest) -> Result<EnrollReply, Problem> {
    check_word(&request.name).map_err(|reason| Problem::field("name", format!("name: {reason}")))?;
    let now = clock::now();
    let token = app.store.find_token(&secret_hash(&request.token), now).await?.map_err(refused)?;
    let id = Uuid::new_v4();
    let days = app.config.agents.certificate_days;
    let signed = app.authority.sign_host(id, &request.csr, days).map_err(|error| match error {
        PkiError::BadRequest(_) => Problem::field("csr", error.to_string()),
        other => {
            tracing::error!(error = %other, "certificate not signed");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the certificate could not be signed")
        }
    })?;
    let row = HostRow {
        id,
        settings: token.settings.clone(),
        greeting: Greeting { name: request.name, ..Greeting::default() },
        status: Status::Unknown,
        certificate: Some(signed.parsed.certificate),
        last_seen: None,
        created: now,
    };
    note.what(format!("enrolled by the token {}", token.id));
    note.hosts(&[Target { host: id.to_string(), name: Some(row.greeting.name.clone()) }]);
    let app = app.clone();
    to_the_end(async move {
        app.store.enroll_host(&token, &row).await?.map_err(refused)?;
        tracing::info!(host = %id, name = row.greeting.name, token = token.id, "host enrolled");
        app.directory.insert(row);
        Ok(EnrollReply { hostname: id.to_string(), ca: app.authority.pem().to_owned(), cert: signed.pem })
    })
    .await
}

fn refused(reason: TokenRefused) -> Problem {
    tracing::info!(%reason, "enrolment refused");
    Problem::new(StatusCode::FORBIDDEN, reason.to_string())
}
