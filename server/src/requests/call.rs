//! A request as its hosts get it.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

/// `body` holds the method and its parameters.
pub fn frame(id: &str, body: &Map<String, Value>) -> Bytes {
    #[derive(Serialize)]
    struct Frame<'a> {
        id: &'a str,
        #[serde(flatten)]
        body: &'a Map<String, Value>,
    }
    aspire_wire::frame::encode(&Frame { id, body }).into()
}
