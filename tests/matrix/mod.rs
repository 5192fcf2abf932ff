//! Shapes of commands, what is wanted of each, and the passes that compare.

pub mod census;
pub mod cgroup;
pub mod emfile;
pub mod pass;
pub mod shape;
pub mod shapes;
