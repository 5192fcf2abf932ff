//! The plugin that knows what a host is: its kernel and distribution, its
//! processors and memory, its network, its clock, and the facts of these that
//! stay. A file each; `cpulist` and `netlink` are languages of the kernel's
//! that some of them read, `sys` the system call that nobody wraps.

pub mod cpu;
mod cpulist;
pub mod facts;
pub mod hardware;
pub mod kernel;
pub mod load;
pub mod memory;
pub mod net;
mod netlink;
pub mod os;
mod sys;
pub mod time;

aspire_plugin::plugin! { "hostinfo",
    "cpu", "processors: kind, topology, caches, flags" => cpu::answer;
    "facts", "what a host is, without what changes by itself" => facts::answer;
    "hardware", "maker, model and serial numbers, as the firmware tells them" => hardware::answer;
    "kernel", "the running kernel, its command line and modules" => kernel::answer;
    "load", "load averages, tasks and uptime" => load::answer;
    "memory", "memory, swap and huge pages" => memory::answer;
    "net", "interfaces, addresses, routes and listening sockets" => net::answer;
    "os", "the distribution, from os-release" => os::answer;
    "time", "clock, zone and state of synchronization" => time::answer;
}
