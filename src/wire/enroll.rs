//! Enrolment: `POST /agent/enroll` on the agents' port, and the token that allows it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The path of the exchange.
pub const ENROLL_PATH: &str = "/agent/enroll";
/// The largest body either way, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// What an operator hands to a new host: a secret that the server knows, and
/// the SHA-256 of the DER of the CA's certificate, so that the host needs no
/// other trust. Printed as `SECRET.FINGERPRINT`, each in base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub secret: [u8; 32],
    pub fingerprint: [u8; 32],
}

/// The token is not one that Polaris printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token is damaged: it must be what `polarisctl token create` printed, whole")]
pub struct TokenError;

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Token, TokenError> {
        let (secret, fingerprint) = text.trim().split_once('.').ok_or(TokenError)?;
        let part = |text: &str| -> Result<[u8; 32], TokenError> {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError)?;
            bytes.try_into().map_err(|_| TokenError)
        };
        Ok(Token { secret: part(secret)?, fingerprint: part(fingerprint)? })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.secret_text(), URL_SAFE_NO_PAD.encode(self.fingerprint))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The part that the server checks, as it is sent.
    #[must_use]
    pub fn secret_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.secret)
    }
}

/// The body of the request.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrollRequest {
    /// [`Token::secret_text`].
    pub token: String,
    /// PKCS#10, PEM. Its subject does not matter: the server names the host.
    pub csr: String,
    /// The display name.
    #[serde(default)]
    pub name: String,
}

/// The body of the answer where it is 200; any other is a problem document (RFC 9457).
#[derive(Debug, Serialize, Deserialize)]
pub struct EnrollReply {
    /// The host id, also the certificate's common name.
    pub hostname: String,
    /// PEM.
    pub ca: String,
    /// PEM.
    pub cert: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_printing_and_nothing_else_passes() {
        let token = Token { secret: [7; 32], fingerprint: [200; 32] };
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
        for damaged in ["", ".", &text[1..], &text[..text.len() - 1], "a.b", &text.replace('.', "")] {
            assert_eq!(damaged.parse::<Token>(), Err(TokenError), "{damaged}");
        }
        assert!(!format!("{token:?}").contains(&token.secret_text()));
    }
}
