//! `cargo-plugin.h` in Rust: what is exchanged between a plugin and its host.

use crate::{Failure, Query};
use aspire_wire::Retcode;
use std::ffi::{CStr, c_char, c_int, c_void};

/// The version of the interface.
pub const ABI: u32 = 1;
/// The name of the [`Descriptor`] among a plugin's symbols.
pub const DESCRIPTOR: &str = "cargo_plugin";
/// The name of the [`QueryFunction`].
pub const QUERY: &str = "cargo_plugin_query";

/// What a plugin is: `struct cargo_plugin`.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Descriptor {
    pub abi: u32,
    pub name: [u8; 32],
    pub version: [u8; 28],
    /// A line each: the query's name, a space, what it answers.
    pub queries: [u8; 1984],
}

/// Where an answer goes: `struct cargo_answer`.
#[derive(Debug)]
#[repr(C)]
pub struct Answer {
    pub context: *mut c_void,
    pub write: extern "C" fn(context: *mut c_void, bytes: *const c_char, length: usize),
}

/// `cargo_plugin_query`. Returns a retcode.
pub type QueryFunction = unsafe extern "C" fn(*const c_char, *const c_char, *const Answer) -> c_int;

impl Descriptor {
    /// Made while the plugin is compiled; what is too long stops that.
    pub const fn new(name: &str, version: &str, queries: &str) -> Self {
        Descriptor { abi: ABI, name: padded(name), version: padded(version), queries: padded(queries) }
    }
}

/// With at least one NUL after it.
const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    assert!(bytes.len() < N, "too long for the plugin's descriptor");
    let mut padded = [0; N];
    let mut place = 0;
    while place < bytes.len() {
        padded[place] = bytes[place];
        place += 1;
    }
    padded
}

/// Makes a plugin of queries.
///
/// ```
/// fn hello(args: &str) -> Result<String, aspire_plugin::Failure> {
///     aspire_plugin::args::none(args)?;
///     aspire_plugin::json(&"hello")
/// }
///
/// aspire_plugin::plugin! { "sample",
///     "hello", "a greeting" => hello;
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    ($name:literal, $($query:literal, $summary:literal => $answer:expr;)+) => {
        /// What this plugin is: see cargo-plugin.h.
        #[allow(non_upper_case_globals, reason = "the interface's name")]
        #[unsafe(no_mangle)]
        pub static cargo_plugin: $crate::abi::Descriptor = $crate::abi::Descriptor::new(
            $name,
            env!("CARGO_PKG_VERSION"),
            concat!($($query, " ", $summary, "\n"),+),
        );

        /// See cargo-plugin.h.
        ///
        /// # Safety
        /// The texts end with a NUL, and `answer` may be called while this runs.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn cargo_plugin_query(
            query: *const std::ffi::c_char,
            args: *const std::ffi::c_char,
            answer: *const $crate::abi::Answer,
        ) -> std::ffi::c_int {
            let known = |name: &str| -> Option<$crate::Query> {
                match name {
                    $($query => Some($answer),)+
                    _ => None,
                }
            };
            // SAFETY: the caller keeps to cargo-plugin.h.
            unsafe { $crate::abi::serve(query, args, answer, known) }
        }
    };
}

/// What [`plugin!`] makes of `cargo_plugin_query`.
///
/// # Safety
/// The texts end with a NUL, and `answer` may be called while this runs.
pub unsafe fn serve(
    query: *const c_char,
    args: *const c_char,
    answer: *const Answer,
    known: impl Fn(&str) -> Option<Query>,
) -> c_int {
    // SAFETY: as the caller promises.
    let (query, args, answer) = unsafe { (CStr::from_ptr(query), CStr::from_ptr(args), &*answer) };
    let (retcode, text) = match ask(query, args, known) {
        Ok(document) => (Retcode::NormalTermination, document),
        Err(Failure { retcode, reason }) => (retcode, reason),
    };
    (answer.write)(answer.context, text.as_ptr().cast(), text.len());
    c_int::from(retcode.code())
}

fn ask(query: &CStr, args: &CStr, known: impl Fn(&str) -> Option<Query>) -> Result<String, Failure> {
    let args = args.to_str().map_err(|error| Failure::invalid(format!("args: {error}")))?;
    let known = query.to_str().ok().and_then(known);
    let answer =
        known.ok_or_else(|| Failure::new(Retcode::UnknownMethod, "this plugin has no such query"))?;
    answer(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo(args: &str) -> Result<String, Failure> {
        match args {
            "" => Err(Failure::invalid("args: missing")),
            args => crate::json(&args),
        }
    }

    /// Through the interface: the retcode, and what was written.
    fn asked(query: &CStr, args: &CStr) -> (c_int, String) {
        extern "C" fn write(context: *mut c_void, bytes: *const c_char, length: usize) {
            // SAFETY: as `asked` and `serve` hand them over.
            let (text, bytes) = unsafe {
                (&mut *context.cast::<Vec<u8>>(), std::slice::from_raw_parts(bytes.cast::<u8>(), length))
            };
            text.extend_from_slice(bytes);
        }
        let mut text = Vec::<u8>::new();
        let answer = Answer { context: (&raw mut text).cast(), write };
        let known = |name: &str| (name == "echo").then_some(echo as Query);
        // SAFETY: the texts are C strings, and `text` outlives the call.
        let retcode = unsafe { serve(query.as_ptr(), args.as_ptr(), &raw const answer, known) };
        (retcode, String::from_utf8(text).unwrap())
    }

    #[test]
    fn an_answer_goes_through_the_interface_whole() {
        assert_eq!(asked(c"echo", c"a\"b"), (2, "\"a\\\"b\"".into()));
        assert_eq!(asked(c"echo", c""), (3021, "args: missing".into()));
        assert_eq!(asked(c"other", c""), (3022, "this plugin has no such query".into()));
        assert_eq!(asked(c"echo", c"\xff").0, 3021);
    }

    #[test]
    fn the_descriptor_is_as_large_as_the_header_says() {
        assert_eq!(size_of::<Descriptor>(), 2048);
        let made = Descriptor::new("sample", "1.2", "hello a greeting\n");
        assert!(made.queries.starts_with(b"hello a greeting\n\0"));
    }
}
