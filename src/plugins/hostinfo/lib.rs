//! The plugin that knows what a host is.
