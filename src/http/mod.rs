//! Short HTTP exchanges over a connection of the reactor: one request, one
//! answer, then the connection ends. RFC 9112, through httparse.

use crate::wire::enroll::MAX_BODY_BYTES;

/// The longest status line and headers, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// A POST of JSON, whole.
pub fn post_json(host: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nAccept: application/json, application/problem+json\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// An answer, whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// The server's answer is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("the server's answer is not HTTP: {0}")]
    Syntax(#[from] httparse::Error),
    #[error("the server's answer is too long")]
    TooLong,
    #[error("the server's answer has no Content-Length")]
    NoLength,
    #[error("the server ended the connection in the middle of its answer")]
    CutShort,
}

/// Puts an answer together from what arrives.
#[derive(Debug, Default)]
pub struct ResponseReader {
    received: Vec<u8>,
}

impl ResponseReader {
    /// Takes in what arrived; `Some` once the answer is whole.
    ///
    /// # Errors
    /// What arrived can not become an answer any more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Response>, HttpError> {
        if self.received.len() + bytes.len() > MAX_HEAD_BYTES + MAX_BODY_BYTES {
            return Err(HttpError::TooLong);
        }
        self.received.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(&self.received)? else {
            return if self.received.len() > MAX_HEAD_BYTES { Err(HttpError::TooLong) } else { Ok(None) };
        };
        let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.trim().parse::<usize>().ok());
        let length = length.ok_or(HttpError::NoLength)?;
        if length > MAX_BODY_BYTES {
            return Err(HttpError::TooLong);
        }
        let status = response.code.unwrap_or(0);
        let body = self.received.get(head..head + length);
        Ok(body.map(|body| Response { status, body: body.to_vec() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_put_together_from_single_bytes() {
        let mut reader = ResponseReader::default();
        let (last, first) = ANSWER.split_last().unwrap();
        for byte in first {
            assert_eq!(reader.push(&[*byte]), Ok(None));
        }
        assert_eq!(reader.push(&[*last]), Ok(Some(Response { status: 200, body: b"hello".to_vec() })));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let refused = |bytes: &[u8]| ResponseReader::default().push(bytes).unwrap_err();
        assert!(matches!(refused(b"SSH-2.0-OpenSSH\r\n"), HttpError::Syntax(_)));
        assert_eq!(refused(b"HTTP/1.1 200 OK\r\n\r\nx"), HttpError::NoLength);
        assert_eq!(refused(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), HttpError::TooLong);
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &vec![b'x'; 17000]].concat();
        assert_eq!(refused(&endless), HttpError::TooLong);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = ResponseReader::default();
            let _ = reader.push(b"HTTP/1.1 200 OK\r\n").and_then(|_| reader.push(&bytes));
        }
    }
}
