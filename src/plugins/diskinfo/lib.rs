//! The plugin that knows what a host stores its data on.
