//! Renewal of the hosts' certificates by their links: when a third of its life is left, the agent is
//! asked for a signing request, which is signed for the host that the link is of. Each request is the
//! answer to one question, so that no agent has us sign as often as it likes.

use super::hub::Hub;
use super::link::Link;
use super::shown;
use crate::app::App;
use crate::clock::{self, EpochMs};
use crate::limits::{RENEWAL_PAUSE, RENEWAL_RETRY, RENEWAL_SWEEP, RENEWAL_UNANSWERED, RENEWALS_AT_ONCE};
use crate::pki::{Authority, Certificate, Parsed};
use aspire_wire::renewal::{MAX_CSR_BYTES, Renew, Renewed};
use aspire_wire::session::Frame;
use std::sync::Arc;
use std::time::Duration;

/// Where it stands with one link.
#[derive(Debug)]
pub struct Renewal {
    /// What the host shows on this link; `None` once the directory knows.
    shown: Option<Certificate>,
    /// From when on it is asked.
    due: EpochMs,
    /// It has been, and has not answered.
    is_asked: bool,
    /// What was signed, until the agent says that it is in its place.
    signed: Option<Box<Parsed>>,
}

/// Of a link that shows nothing, which there are in tests only.
impl Default for Renewal {
    fn default() -> Renewal {
        Renewal { shown: None, due: EpochMs::MAX, is_asked: false, signed: None }
    }
}

impl Renewal {
    /// Of a link that shows this.
    pub fn of(shown: Parsed) -> Renewal {
        Renewal { shown: Some(shown.certificate), due: shown.renewed_from, ..Renewal::default() }
    }

    /// Whether the agent is to be asked now, which it is then.
    fn ask(&mut self, now: EpochMs) -> bool {
        let is_due = self.due <= now;
        if is_due {
            self.is_asked = true;
            self.again(now, RENEWAL_UNANSWERED);
        }
        is_due
    }

    fn again(&mut self, now: EpochMs, after: Duration) {
        self.due = now + clock::ms(after);
    }
}

/// The link is up: what its host shows is known from now on, and renewed if it is time.
pub fn link_up(app: &App, link: &Arc<Link>) {
    let mut renewal = link.renewal();
    if let Some(certificate) = renewal.shown.take() {
        app.directory.certified(&link.host, certificate);
    }
    if renewal.ask(clock::now()) {
        link.push(&Frame::Renew(Renew::default()));
    }
}

/// Looks through the links each hour, for ever.
pub async fn keep_renewed(hub: &Hub) {
    loop {
        tokio::time::sleep(RENEWAL_SWEEP).await;
        let mut asked = 0;
        for link in hub.links() {
            if ask_if_due(&link, clock::now()) {
                asked += 1;
                if asked % RENEWALS_AT_ONCE == 0 {
                    tokio::time::sleep(RENEWAL_PAUSE).await;
                }
            }
        }
        tracing::debug!(asked, "links looked through for certificates to be renewed");
    }
}

/// Asks the link's agent, if it is time. Of the others none is woken.
fn ask_if_due(link: &Link, now: EpochMs) -> bool {
    let asked = link.renewal().ask(now);
    if asked && link.push_if_open(&Frame::Renew(Renew::default())) {
        link.wake();
    }
    asked
}

/// The agent sends a signing request, or says why not.
pub fn requested(app: &App, link: &Link, csr: Result<String, String>) {
    sign(&app.authority, app.config.agents.certificate_days, link, csr);
}

/// Signs what was asked for; what was not is passed over.
fn sign(authority: &Authority, days: u32, link: &Link, csr: Result<String, String>) {
    let mut renewal = link.renewal();
    let host = link.host.id;
    if !std::mem::take(&mut renewal.is_asked) {
        tracing::debug!(%host, "signing request that nobody asked for passed over");
        return;
    }
    let signed = csr.map_err(|reason| format!("the agent said: {}", shown(&reason))).and_then(|csr| {
        if csr.len() > MAX_CSR_BYTES {
            return Err(format!("csr: must be at most {MAX_CSR_BYTES} bytes, got {}", csr.len()));
        }
        let signed = authority.sign_host(host, &csr, days).map_err(|error| shown(&error.to_string()))?;
        // Last of all: whoever revokes it meanwhile ends the link before it says so.
        if link.host.is_revoked() { Err("this host was revoked".into()) } else { Ok(signed) }
    });
    match signed {
        Ok(signed) => {
            link.push_if_open(&Frame::Renewed(Renewed { cert: Some(&signed.pem), error: None }));
            renewal.signed = Some(Box::new(signed.parsed));
        }
        Err(reason) => {
            tracing::warn!(%host, reason, "certificate not renewed");
            link.push_if_open(&Frame::Renewed(Renewed { cert: None, error: Some(&reason) }));
            renewal.again(clock::now(), RENEWAL_RETRY);
        }
    }
}

/// The agent has put what was signed into its place, or could not.
pub fn done(app: &App, link: &Link, outcome: Result<(), String>) {
    let host = link.host.id;
    let mut renewal = link.renewal();
    match (renewal.signed.take(), outcome) {
        (None, _) => tracing::debug!(%host, "word on a certificate that was not signed passed over"),
        (Some(signed), Ok(())) => {
            let expires = clock::rfc3339(signed.certificate.expires);
            tracing::info!(%host, expires, "certificate renewed");
            renewal.due = signed.renewed_from;
            app.directory.certified(&link.host, signed.certificate);
        }
        (Some(_), Err(reason)) => {
            tracing::warn!(%host, reason = shown(&reason), "certificate not renewed");
            renewal.again(clock::now(), RENEWAL_RETRY);
        }
    }
}

#[cfg(test)]
#[path = "renewal_tests.rs"]
mod tests;
