//! The boundary: loads a plugin and calls it. Somebody else's code runs here.

use super::Refusal;
use super::candidate::Candidate;
use crate::machine::Question;
use crate::wire::Retcode;
use aspire_plugin::abi::{Answer, QUERY, QueryFunction};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd as _;

/// What a plugin said.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub retcode: c_int,
    pub bytes: Vec<u8>,
    pub overflow: bool,
    most_bytes: usize,
}

/// Asks the plugin.
///
/// # Errors
/// It cannot be loaded.
pub(super) fn call(plugin: &Candidate, question: &Question) -> Result<Said, Refusal> {
    let refused =
        |reason: String| Refusal::new(Retcode::CouldNotStart, format!("{}: {reason}", plugin.name.display()));
    // The very file that was looked at, not whatever has its name by now.
    let path = format!("/proc/self/fd/{}", plugin.file.as_raw_fd());
    // SAFETY: its constructors run in this process, which was made for them alone.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    // Never unloaded: the process ends before it could matter.
    let library = ManuallyDrop::new(library.map_err(|error| refused(error.to_string()))?);
    // SAFETY: whoever exports this name with the descriptor's version keeps to cargo-plugin.h.
    let function = unsafe { library.get::<QueryFunction>(QUERY.as_bytes()) };
    let function = function.map_err(|error| refused(error.to_string()))?;
    let c_string = |text: &str| CString::new(text).map_err(|error| refused(error.to_string()));
    let (query, args) = (c_string(&question.query)?, c_string(&question.args)?);
    let mut said = Said { most_bytes: question.most_bytes, ..Said::default() };
    let answer = Answer { context: (&raw mut said).cast(), write };
    // SAFETY: as cargo-plugin.h has it; all that it is handed outlives the call.
    let retcode = unsafe { function(query.as_ptr(), args.as_ptr(), &raw const answer) };
    said.retcode = retcode;
    Ok(said)
}

extern "C" fn write(context: *mut c_void, bytes: *const c_char, length: usize) {
    if bytes.is_null() || length == 0 {
        return;
    }
    // SAFETY: the context is the one that `call` hands over, which waits for the plugin; the
    // bytes are the plugin's, as cargo-plugin.h has it.
    let (said, bytes) =
        unsafe { (&mut *context.cast::<Said>(), std::slice::from_raw_parts(bytes.cast::<u8>(), length)) };
    let room = said.most_bytes - said.bytes.len();
    said.overflow |= length > room;
    said.bytes.extend_from_slice(&bytes[..length.min(room)]);
}
