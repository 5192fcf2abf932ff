//! `--enroll`: the exchange, and what of its answer is believed.

use super::host::node_name;
use crate::enroll::{self, Enroll};
use crate::reactor::{self, Clock, Reactor};
use crate::wire::enroll::Token;
use crate::wire::server_list::Server;
use std::path::Path;

/// Has the server sign a certificate for this host, and puts the host's identity into `dir`. The
/// host is to be called `name`, or as it calls itself where that is empty. Returns the host's id.
///
/// # Errors
/// Why not; `dir` is as it was.
pub fn enroll(server: &Server, token: &Token, dir: &Path, name: &str) -> Result<String, String> {
    enroll::room_for(dir).map_err(|e| e.to_string())?;
    let name = if name.is_empty() { node_name()? } else { name.to_owned() };
    let key = rcgen::KeyPair::generate().map_err(|e| e.to_string())?;
    let request = rcgen::CertificateParams::default().serialize_request(&key).and_then(|csr| csr.pem());
    let csr = request.map_err(|e| e.to_string())?;
    let mut machine = Enroll::new(server.clone(), token, csr, name);
    let reactor = Reactor::new(Clock::new(), Box::new(|| {}));
    reactor.and_then(|reactor| reactor.run(&mut machine)).map_err(|e| format!("the event loop: {e}"))?;
    let reply = machine.result.ok_or("the loop ended before the exchange did")?.map_err(|e| e.to_string())?;
    if reactor::fingerprint(&reply.ca) != Some(token.fingerprint) {
        return Err("the server sent another CA than the one that the token names".into());
    }
    reactor::identity_fits(&reply.cert, &key.serialize_pem(), &reply.hostname)
        .map_err(|reason| format!("the server sent a certificate that is not this host's: {reason}"))?;
    enroll::install(dir, &reply, &key.serialize_pem()).map_err(|e| e.to_string())?;
    Ok(reply.hostname)
}
