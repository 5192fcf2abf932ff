//! Enrolment: a token and a signing request become a host and its certificate,
//! or nothing at all.

use super::body::Typed;
use super::tokens::secret_hash;
use crate::app::App;
use crate::clock;
use crate::hosts::{Greeting, Status, check_word};
use crate::pki::PkiError;
use crate::problem::Problem;
use crate::store::hosts::HostRow;
use crate::store::tokens::TokenRefused;
use crate::unbroken::to_the_end;
use aspire_wire::enroll::{EnrollReply, EnrollRequest};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::Arc;
use uuid::Uuid;

pub async fn enroll(
    State(app): State<Arc<App>>,
    Typed(request): Typed<EnrollRequest>,
) -> Result<Json<EnrollReply>, Problem> {
    let reply = try_enroll(&app, request).await;
    app.metrics.links.enrolment(reply.is_ok());
    reply.map(Json)
}

async fn try_enroll(app: &Arc<App>, request: EnrollRequest) -> Result<EnrollReply, Problem> {
    check_word(&request.name).map_err(|reason| Problem::field("name", format!("name: {reason}")))?;
    let now = clock::now();
    let token = app.store.find_token(&secret_hash(&request.token), now).await?.map_err(refused)?;
    let id = Uuid::new_v4();
    let cert = app.authority.sign_host(id, &request.csr).map_err(|error| match error {
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
        last_seen: None,
        created: now,
    };
    let app = app.clone();
    to_the_end(async move {
        app.store.enroll_host(&token, &row).await?.map_err(refused)?;
        tracing::info!(host = %id, name = row.greeting.name, token = token.id, "host enrolled");
        app.directory.insert(row);
        Ok(EnrollReply { hostname: id.to_string(), ca: app.authority.pem().to_owned(), cert })
    })
    .await
}

fn refused(reason: TokenRefused) -> Problem {
    tracing::info!(%reason, "enrolment refused");
    Problem::new(StatusCode::FORBIDDEN, reason.to_string())
}
