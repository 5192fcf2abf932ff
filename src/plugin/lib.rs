//! What a plugin is made of: the interface of `cargo-plugin.h` ([`abi`]), and
//! what plugins in Rust have in common.
//!
//! A query is a function from its arguments to a JSON document or a
//! [`Failure`]; [`plugin!`] makes a shared library of some. They read the
//! system under a [`Root`], which tests put elsewhere.

pub mod abi;
pub mod args;
pub mod clock;
mod failure;
pub mod metrics;
mod root;
mod text;

pub use failure::Failure;
pub use root::Root;
pub use text::Text;

/// A query: from its arguments to a JSON document.
pub type Query = fn(args: &str) -> Result<String, Failure>;

/// The JSON document of an answer.
///
/// # Errors
/// The answer cannot be written as JSON, which is a defect of the plugin.
pub fn json(answer: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(answer).map_err(|error| Failure::broken(format!("the answer is no JSON: {error}")))
}
