//! The plugin that knows what runs on a host.

mod entry;
mod host;
pub mod process;

aspire_plugin::plugin! { "processinfo",
    "process", "the processes that use most of the processor or of memory, or those asked for" =>
        process::answer;
}
