//! The plugins that measure a host, under collectd's names. They are one library, which is installed
//! under the name of each: what they share is in memory once.

mod load;
mod settings;

aspire_plugin::metrics! { "hostmetrics",
    "load", "how many processes want to run" => load::Load::configure;
}
