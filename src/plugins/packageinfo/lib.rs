//! The plugin that knows what is installed on a host.
