//! Polaris.
