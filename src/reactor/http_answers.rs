//! Whether a web server answers, for [`crate::machine::Probe::Http`].

/// # Errors
/// Why it is not well.
pub(super) fn http_answers(url: &str) -> Result<(), String> {
    Err(format!("{url}: not built yet"))
}
