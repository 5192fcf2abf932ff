//! Renewal of a host's certificate, over its link.
//!
//! The server asks: `{"method":"renew"}`. The agent makes a new key and answers
//! `{"method":"renew","csr":"PEM"}`; the server signs it: `{"method":"renewed","cert":"PEM"}`. The agent
//! puts both into the place of the old ones, and says so: `{"method":"renewed"}`. Whoever cannot do its
//! part says `"error"` in the place of the value, and the old certificate stays.

use crate::FrameError;
use serde::{Deserialize, Serialize};

/// The longest signing request that is looked at, in bytes of PEM: one of a key on P-256 has 500.
pub const MAX_CSR_BYTES: usize = 16 * 1024;
/// The longest certificate that is looked at, in bytes of PEM.
pub const MAX_CERT_BYTES: usize = 64 * 1024;

/// `renew`: with neither field the server's wish, with one of them the agent's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Renew<'a> {
    /// PKCS#10, PEM. Its subject does not matter: the link says whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csr: Option<&'a str>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// `renewed`: the server's with a certificate, or with an error; the agent's with neither where all is
/// well, or with an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Renewed<'a> {
    /// PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<&'a str>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// What either side may say.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    csr: Option<String>,
    #[serde(default)]
    cert: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

/// The signing request in an agent's `renew`, or why it has none.
pub(crate) fn csr(line: &[u8]) -> Result<Result<String, String>, FrameError> {
    let Fields { csr, error, .. } = fields(line)?;
    one_of("renew: csr", csr, error)
}

/// The certificate in the server's `renewed`, or why it has none.
pub(crate) fn cert(line: &[u8]) -> Result<Result<String, String>, FrameError> {
    let Fields { cert, error, .. } = fields(line)?;
    one_of("renewed: cert", cert, error)
}

/// Whether all is well, as the agent's `renewed` has it, or why it is not.
pub(crate) fn done(line: &[u8]) -> Result<Result<(), String>, FrameError> {
    Ok(fields(line)?.error.map_or(Ok(()), Err))
}

fn fields(line: &[u8]) -> Result<Fields, FrameError> {
    serde_json::from_slice(line).map_err(|e| FrameError::NotAnObject(e.to_string()))
}

fn one_of(
    field: &str,
    value: Option<String>,
    error: Option<String>,
) -> Result<Result<String, String>, FrameError> {
    match (value, error) {
        (Some(value), None) => Ok(Ok(value)),
        (None, Some(error)) => Ok(Err(error)),
        _ => Err(FrameError::NotAnObject(format!("{field} or error, and not both"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode;
    use crate::session::{Frame, FromAgent, FromServer};

    #[test]
    fn what_each_side_says_the_other_understands() {
        let text = |frame| String::from_utf8(encode(&frame)).unwrap().trim_end().to_owned();
        let asked = text(Frame::Renew(Renew::default()));
        assert_eq!(asked, r#"{"method":"renew"}"#);
        assert!(matches!(FromServer::parse(asked.as_bytes()), Ok(FromServer::Renew)));

        for (csr, error) in [(Some("PEM"), None), (None, Some("no room"))] {
            let said = text(Frame::Renew(Renew { csr, error }));
            let Ok(FromAgent::Renew(heard)) = FromAgent::parse(said.as_bytes()) else { panic!("{said}") };
            assert_eq!(heard.as_deref(), csr.ok_or(error.unwrap_or_default().to_owned()).as_deref());
            let said = text(Frame::Renewed(Renewed { cert: csr, error }));
            let Ok(FromServer::Renewed(heard)) = FromServer::parse(said.as_bytes()) else { panic!("{said}") };
            assert_eq!(heard.as_deref(), csr.ok_or(error.unwrap_or_default().to_owned()).as_deref());
        }
        for (error, expected) in [(None, Ok(())), (Some("no room"), Err("no room".to_owned()))] {
            let said = text(Frame::Renewed(Renewed { cert: None, error }));
            let Ok(FromAgent::Renewed(heard)) = FromAgent::parse(said.as_bytes()) else { panic!("{said}") };
            assert_eq!(heard, expected);
        }
    }

    #[test]
    fn who_says_neither_or_both_breaks_the_protocol() {
        for line in [r#"{"method":"renew"}"#, r#"{"method":"renew","csr":"a","error":"b"}"#] {
            assert!(FromAgent::parse(line.as_bytes()).is_err(), "{line}");
        }
        for line in [
            r#"{"method":"renewed"}"#,
            r#"{"method":"renewed","cert":"a","error":"b"}"#,
            r#"{"method":"renewed","cert":1}"#,
        ] {
            assert!(FromServer::parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
