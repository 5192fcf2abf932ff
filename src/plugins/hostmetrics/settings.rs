//! What a plugin's table in nodus.conf says, by collectd's names of the options.

use aspire_plugin::Failure;
use serde::Deserialize;

/// Reads the settings of a plugin: a struct with `#[serde(rename_all = "PascalCase",
/// deny_unknown_fields, default)]`.
///
/// # Errors
/// 3021: the first option that is wrong.
pub fn read<'de, S: Deserialize<'de>>(settings: &'de str) -> Result<S, Failure> {
    serde_json::from_str(settings).map_err(|error| Failure::invalid(error.to_string()))
}
