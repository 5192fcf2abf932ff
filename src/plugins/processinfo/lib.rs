//! The plugin that knows what runs on a host.
