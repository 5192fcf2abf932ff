//! Short HTTP exchanges over a connection of the reactor: one request, one
//! answer, then the connection ends. RFC 9112, through httparse.

mod exchange;

pub use exchange::{Answered, Ask, Exchange, ExchangeError, Failure, Reason};

/// The longest status line and headers, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The status of an answer that has no body and need not say so.
const NO_CONTENT: u16 = 204;

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
    #[error("the server's answer comes in pieces (Transfer-Encoding); it must have a Content-Length")]
    InPieces,
    #[error("the server ended the connection in the middle of its answer")]
    CutShort,
}

/// Puts an answer together from what arrives.
#[derive(Debug)]
pub struct ResponseReader {
    received: Vec<u8>,
    most_bytes: usize,
}

impl ResponseReader {
    /// Of an answer whose body is at most this large.
    pub fn new(most_bytes: usize) -> Self {
        ResponseReader { received: Vec::new(), most_bytes }
    }

    /// Takes in what arrived; `Some` once the answer is whole.
    ///
    /// # Errors
    /// What arrived can not become an answer any more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Response>, HttpError> {
        if self.received.len() + bytes.len() > MAX_HEAD_BYTES + self.most_bytes {
            return Err(HttpError::TooLong);
        }
        self.received.extend_from_slice(bytes);
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            let httparse::Status::Complete(head) = response.parse(&self.received)? else {
                return if self.received.len() > MAX_HEAD_BYTES { Err(HttpError::TooLong) } else { Ok(None) };
            };
            let status = response.code.unwrap_or(0);
            if (100..200).contains(&status) {
                // Not yet the answer.
                self.received.drain(..head);
                continue;
            }
            let length = if status == NO_CONTENT { 0 } else { length(response.headers)? };
            if length > self.most_bytes {
                return Err(HttpError::TooLong);
            }
            let body = self.received.get(head..head + length);
            return Ok(body.map(|body| Response { status, body: body.to_vec() }));
        }
    }
}

fn length(headers: &[httparse::Header<'_>]) -> Result<usize, HttpError> {
    let of = |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    if of("transfer-encoding").next().is_some() {
        return Err(HttpError::InPieces);
    }
    let mut lengths = of("content-length").map(|header| {
        let text = header.value.trim_ascii();
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        // A number that is too large for us is as good as the largest.
        is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok()).map(|n| n.unwrap_or(usize::MAX))
    });
    let length = lengths.next().flatten().ok_or(HttpError::NoLength)?;
    if lengths.all(|other| other == Some(length)) { Ok(length) } else { Err(HttpError::NoLength) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::enroll::MAX_BODY_BYTES;
    use proptest::prelude::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\ncontent-length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_put_together_from_single_bytes() {
        let mut reader = ResponseReader::new(MAX_BODY_BYTES);
        let (last, first) = ANSWER.split_last().unwrap();
        for byte in first {
            assert_eq!(reader.push(&[*byte]), Ok(None));
        }
        assert_eq!(reader.push(&[*last]), Ok(Some(Response { status: 200, body: b"hello".to_vec() })));
    }

    #[test]
    fn an_answer_without_content_is_whole_and_one_before_the_answer_is_none() {
        let push = |bytes: &[u8]| ResponseReader::new(MAX_BODY_BYTES).push(bytes);
        let empty = Ok(Some(Response { status: 204, body: Vec::new() }));
        assert_eq!(push(b"HTTP/1.1 204 No Content\r\n\r\n"), empty);
        assert_eq!(push(b"HTTP/1.1 100 Continue\r\n\r\n"), Ok(None));
        let both = [b"HTTP/1.1 100 Continue\r\n\r\n".as_slice(), ANSWER].concat();
        assert_eq!(push(&both), Ok(Some(Response { status: 200, body: b"hello".to_vec() })));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let refused = |bytes: &[u8]| ResponseReader::new(MAX_BODY_BYTES).push(bytes).unwrap_err();
        assert!(matches!(refused(b"SSH-2.0-OpenSSH\r\n"), HttpError::Syntax(_)));
        assert_eq!(refused(b"HTTP/1.1 200 OK\r\n\r\nx"), HttpError::NoLength);
        assert_eq!(refused(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), HttpError::TooLong);
        assert_eq!(
            refused(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
            HttpError::TooLong
        );
        for odd in ["+5", "5, 5", "0x5", "", "5\r\nContent-Length: 6"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {odd}\r\n\r\nhello");
            assert_eq!(refused(head.as_bytes()), HttpError::NoLength, "{odd:?}");
        }
        let pieces = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello";
        assert_eq!(refused(pieces), HttpError::InPieces);
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &vec![b'x'; 17000]].concat();
        assert_eq!(refused(&endless), HttpError::TooLong);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = ResponseReader::new(MAX_BODY_BYTES);
            let _ = reader.push(b"HTTP/1.1 200 OK\r\n").and_then(|_| reader.push(&bytes));
        }
    }
}
