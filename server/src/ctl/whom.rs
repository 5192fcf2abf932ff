//! Whom a request is for, on the command line.

/// One of the two at least.
#[derive(Debug, Default, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Whom {
    /// On this host, by name or id; may be given many times
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// On the hosts that this expression selects, such as 'region == "cn-1" and facts.os.id == "debian"'
    #[arg(short = 't', long, value_name = "TARGET")]
    pub target: Option<String>,
}
