//! The plugin that knows the accounts of a host.
