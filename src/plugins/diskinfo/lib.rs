//! The plugin that knows what a host stores its data on: its block devices, and
//! what is mounted where and how full it is.

pub mod devices;
pub mod disk;
mod mountinfo;
pub mod mounts;

aspire_plugin::plugin! { "diskinfo",
    "disk", "block devices, and what is mounted and how full it is" => disk::answer;
}
