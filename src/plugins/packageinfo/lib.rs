//! The plugin that knows what is installed on a host.

mod dpkg;
mod header;
pub mod package;
mod rpm;

aspire_plugin::plugin! { "packageinfo",
    "package", "what dpkg and rpm have installed" => package::answer;
}
