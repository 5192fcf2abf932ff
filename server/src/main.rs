//! `polaris`: the server.
fn main() {}
