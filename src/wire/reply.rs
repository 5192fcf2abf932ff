//! Replies: what became of a request on one host.

use crate::head::Head;
use crate::{FrameError, Rejected, Retcode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An [`Outcome`] with the id of the request that it answers.
#[derive(Debug, Clone, Serialize)]
pub struct Reply {
    pub id: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a request on one host, whoever found out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    pub resp: Resp,
    /// A number, not a [`Retcode`], so that one which a newer peer knows passes through.
    pub retcode: u16,
    pub message: String,
    /// Why, in words for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Standard output, or the JSON value that the method answers with. Kept as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// How `data` and `stderr` are written; plain text where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exitcode: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Bytes of both streams that came after the limit and were thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Seconds that the command ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resp {
    Success,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Base64,
}

impl Outcome {
    /// The bare fact.
    #[must_use]
    pub fn new(retcode: Retcode) -> Self {
        Outcome {
            resp: if retcode.is_success() { Resp::Success } else { Resp::Failed },
            retcode: retcode.code(),
            message: retcode.message().to_owned(),
            detail: None,
            data: None,
            stderr: None,
            encoding: None,
            exitcode: None,
            signal: None,
            dropped: None,
            elapsed: None,
        }
    }

    #[must_use]
    pub fn with_detail(retcode: Retcode, detail: impl Into<String>) -> Self {
        Outcome { detail: Some(detail.into()), ..Outcome::new(retcode) }
    }

    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        self.data = Some(raw(data));
        self
    }

    /// Adds what a command wrote: as text where both streams are UTF-8, else both as base64.
    #[must_use]
    pub fn with_output(mut self, stdout: &[u8], stderr: &[u8]) -> Self {
        if let (Ok(out), Ok(err)) = (std::str::from_utf8(stdout), std::str::from_utf8(stderr)) {
            self.data = Some(raw(&out));
            self.stderr = Some(err.to_owned());
        } else {
            self.data = Some(raw(&STANDARD.encode(stdout)));
            self.stderr = Some(STANDARD.encode(stderr));
            self.encoding = Some(Encoding::Base64);
        }
        self
    }

    #[must_use]
    pub fn is_success(&self) -> bool {
        self.resp == Resp::Success
    }
}

impl Reply {
    #[must_use]
    pub fn new(id: impl Into<String>, outcome: Outcome) -> Self {
        Reply { id: id.into(), outcome }
    }

    pub(crate) fn from_head(head: &Head<'_>, line: &[u8]) -> Result<Reply, FrameError> {
        let id = head.id().ok_or_else(|| FrameError::NotAnObject("a reply without an id".into()))?;
        let outcome = serde_json::from_slice(line).map_err(|e| FrameError::NotAnObject(e.to_string()))?;
        Ok(Reply::new(id, outcome))
    }
}

impl From<Rejected> for Reply {
    fn from(rejected: Rejected) -> Reply {
        let outcome = Outcome::with_detail(rejected.error.retcode(), rejected.error.to_string());
        Reply::new(rejected.id, outcome)
    }
}

fn raw(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("strings and wire types always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::encode;

    fn json(reply: &Reply) -> String {
        String::from_utf8(encode(reply)).unwrap()
    }

    #[test]
    fn replies_look_as_in_the_seed() {
        let mut outcome = Outcome::new(Retcode::NormalTermination).with_output(b"xxxx", b"");
        assert_eq!(
            json(&Reply::new("xxxxxxx", outcome.clone())),
            "{\"id\":\"xxxxxxx\",\"resp\":\"success\",\"retcode\":2,\"message\":\"Normal termination\",\
             \"data\":\"xxxx\",\"stderr\":\"\"}\n"
        );
        outcome = Outcome::with_detail(Retcode::InvalidParams, "timeout: must be at least 1 second, got 0");
        assert_eq!(
            json(&Reply::new("xxxxxxx", outcome)),
            "{\"id\":\"xxxxxxx\",\"resp\":\"failed\",\"retcode\":3021,\"message\":\"Invalid params\",\
             \"detail\":\"timeout: must be at least 1 second, got 0\"}\n"
        );
    }

    #[test]
    fn output_that_is_not_text_arrives_whole() {
        let outcome = Outcome::new(Retcode::NormalTermination).with_output(b"\xff\x00", b"warn");
        assert_eq!(outcome.encoding, Some(Encoding::Base64));
        assert_eq!(outcome.data.unwrap().get(), "\"/wA=\"");
        assert_eq!(outcome.stderr.as_deref(), Some("d2Fybg=="));
    }

    #[test]
    fn the_largest_output_fits_into_a_frame() {
        let worst = vec![1u8; 65536];
        let outcome = Outcome::new(Retcode::NormalTermination).with_output(&worst, &worst);
        assert!(encode(&Reply::new("x".repeat(128), outcome)).len() < crate::MAX_FRAME_BYTES);
    }
}
